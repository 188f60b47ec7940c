//! The secret of a private cluster.

use crate::{call::guard, errors::Result};
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;

/// The pre-shared key of a private cluster, which nothing prints.
#[napi(js_name = "NativeSecret")]
pub struct Secret(pub(crate) casm_bindings::Secret);

#[napi]
impl Secret {
    #[napi]
    pub fn generate() -> Result<Self> {
        guard("generate", || casm_bindings::Secret::generate().map(Self))
    }

    #[napi]
    pub fn parse(file: Uint8Array) -> Result<Self> {
        guard("parse", || casm_bindings::Secret::parse(&file).map(Self))
    }

    #[napi]
    pub fn load(path: String) -> Result<Self> {
        guard("load", || casm_bindings::Secret::load(path).map(Self))
    }

    #[napi]
    pub fn save(&self, path: String) -> Result<()> {
        guard("save", || self.0.save(path))
    }

    #[napi(getter)]
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint()
    }
}
