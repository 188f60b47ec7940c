//! A node's identity.

use crate::{call::guard, errors::Result};
use casm_bindings::Keypair;

/// A node's identity: an ed25519 key, or whatever a key file holds.
#[derive(uniffi::Object)]
pub struct Key(pub(crate) Keypair);

#[uniffi::export]
impl Key {
    /// A fresh ed25519 key.
    #[uniffi::constructor]
    pub fn generate() -> Result<Self> {
        guard("generate", || casm_bindings::generate_key().map(Self))
    }

    /// The key in a file.
    #[uniffi::constructor]
    pub fn load(path: String) -> Result<Self> {
        guard("load", || casm_bindings::load_key(path).map(Self))
    }

    /// Writes it into a new file, which only its owner can read.
    pub fn save(&self, path: String) -> Result<()> {
        guard("save", || casm_bindings::save_key(path, &self.0))
    }

    /// The id of a node that has this key.
    pub fn peer(&self) -> String {
        self.0.public().to_peer_id().to_base58()
    }
}
