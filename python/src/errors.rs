//! Errors of the facade as Python's exceptions. These are defined in Python,
//! because a class made here could not also derive from `ValueError` and its
//! like.

use casm_bindings::Error;
use pyo3::prelude::*;

/// What ends a call: an error of ours, or an exception of Python's.
pub(crate) enum Failure {
    Casm(Error),
    Python(PyErr),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Casm(error)
    }
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Casm(error) => raise(&error),
            Failure::Python(error) => error,
        }
    }
}

/// The exception for an error.
pub(crate) fn raise(error: &Error) -> PyErr {
    let exception = |py: Python<'_>| -> PyResult<PyErr> {
        let kinds = PyModule::import(py, "casm._errors")?.getattr("KINDS")?;
        let class = kinds.get_item(error.kind().name())?;
        Ok(PyErr::from_value(class.call1((error.message(),))?))
    };
    Python::attach(|py| exception(py).unwrap_or_else(|e| e))
}

/// Whether an exception is one of ours.
pub(crate) fn is_ours(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    let ours = PyModule::import(py, "casm._errors")?.getattr("CasmError")?;
    Ok(error.matches(py, ours)?)
}

/// Translates the error of a result.
pub(crate) trait OrRaise<T> {
    fn or_raise(self) -> PyResult<T>;
}

impl<T> OrRaise<T> for casm_bindings::Result<T> {
    fn or_raise(self) -> PyResult<T> {
        self.map_err(|e| raise(&e))
    }
}
