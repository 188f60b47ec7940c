//! A node's identity.

use crate::{call::guard, errors::Result};
use casm_bindings::Keypair;
use napi_derive::napi;

/// A node's identity: an ed25519 key, or whatever a key file holds.
#[napi(js_name = "NativeKey")]
pub struct Key(pub(crate) Keypair);

#[napi]
impl Key {
    #[napi]
    pub fn generate() -> Result<Self> {
        guard("generate", || casm_bindings::generate_key().map(Self))
    }

    #[napi]
    pub fn load(path: String) -> Result<Self> {
        guard("load", || casm_bindings::load_key(path).map(Self))
    }

    #[napi]
    pub fn save(&self, path: String) -> Result<()> {
        guard("save", || casm_bindings::save_key(path, &self.0))
    }

    #[napi(getter)]
    pub fn peer(&self) -> String {
        self.0.public().to_peer_id().to_base58()
    }
}
