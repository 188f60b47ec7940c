//! A node's identity.

use crate::errors::OrRaise;
use casm_bindings::Keypair;
use pyo3::prelude::*;
use std::path::PathBuf;

/// A node's identity: an ed25519 key, or whatever a key file holds.
#[pyclass(frozen, module = "casm")]
pub(crate) struct Key {
    pub(crate) key: Keypair,
}

#[pymethods]
impl Key {
    /// Makes a fresh key.
    #[staticmethod]
    fn generate() -> PyResult<Self> {
        Ok(Self { key: casm_bindings::generate_key().or_raise()? })
    }

    /// Reads a key file.
    #[staticmethod]
    fn load(path: PathBuf) -> PyResult<Self> {
        Ok(Self { key: casm_bindings::load_key(path).or_raise()? })
    }

    /// Writes a new key file that only its owner may read. A file that exists
    /// is not overwritten.
    fn save(&self, path: PathBuf) -> PyResult<()> {
        casm_bindings::save_key(path, &self.key).or_raise()
    }

    /// The id of the peer that has this key.
    #[getter]
    fn peer(&self) -> String {
        self.key.public().to_peer_id().to_base58()
    }

    fn __repr__(&self) -> String {
        // The key itself is a secret.
        format!("<Key of {}>", self.peer())
    }
}
