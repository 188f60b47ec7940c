//! The secret of a private cluster.

use crate::errors::OrRaise;
use pyo3::prelude::*;
use std::path::PathBuf;

/// The pre-shared key of a private cluster, which nothing prints.
#[pyclass(frozen, module = "casm")]
pub(crate) struct Secret {
    pub(crate) secret: casm_bindings::Secret,
}

#[pymethods]
impl Secret {
    /// Makes a new secret.
    #[staticmethod]
    fn generate() -> PyResult<Self> {
        casm_bindings::Secret::generate().map(|secret| Self { secret }).or_raise()
    }

    /// Reads what a ``swarm.key`` file holds, in base16, base64 or bin.
    #[staticmethod]
    fn parse(file: &[u8]) -> PyResult<Self> {
        casm_bindings::Secret::parse(file).map(|secret| Self { secret }).or_raise()
    }

    /// Reads a ``swarm.key`` file.
    #[staticmethod]
    fn load(path: PathBuf) -> PyResult<Self> {
        casm_bindings::Secret::load(path).map(|secret| Self { secret }).or_raise()
    }

    /// Writes a new ``swarm.key`` file that only its owner may read. A file that
    /// exists is not overwritten.
    fn save(&self, path: PathBuf) -> PyResult<()> {
        self.secret.save(path).or_raise()
    }

    /// 32 hex digits that tell secrets apart, and say nothing of them.
    #[getter]
    fn fingerprint(&self) -> String {
        self.secret.fingerprint()
    }

    fn __repr__(&self) -> String {
        format!("<Secret {}>", self.fingerprint())
    }
}
