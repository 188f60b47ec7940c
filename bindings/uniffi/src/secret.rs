//! The secret of a private cluster.

use crate::{call::guard, errors::Result};

/// The pre-shared key of a private cluster, which nothing prints.
#[derive(uniffi::Object)]
pub struct Secret(pub(crate) casm_bindings::Secret);

#[uniffi::export]
impl Secret {
    /// A new secret.
    #[uniffi::constructor]
    pub fn generate() -> Result<Self> {
        guard("generate", || casm_bindings::Secret::generate().map(Self))
    }

    /// What a `swarm.key` file holds, in base16, base64 or bin.
    #[uniffi::constructor]
    pub fn parse(file: Vec<u8>) -> Result<Self> {
        guard("parse", || casm_bindings::Secret::parse(&file).map(Self))
    }

    /// The secret in a `swarm.key` file.
    #[uniffi::constructor]
    pub fn load(path: String) -> Result<Self> {
        guard("load", || casm_bindings::Secret::load(path).map(Self))
    }

    /// Writes it into a new file, which only its owner can read.
    pub fn save(&self, path: String) -> Result<()> {
        guard("save", || self.0.save(path))
    }

    /// 32 hex digits that tell secrets apart, and say nothing of them.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint()
    }
}
