//! How calls wait: blocking without the interpreter lock, or with a callback
//! for asyncio.

use crate::{
    driver,
    errors::{Failure, OrRaise, raise},
};
use casm_bindings::{Dispatcher, Result, duration, reenter};
use pyo3::prelude::*;
use std::{future::Future, time::Duration};

/// How many seconds a call waits if nothing else is said.
pub(crate) const DEFAULT_TIMEOUT: f64 = casm_bindings::DEFAULT_TIMEOUT.as_secs_f64();

/// Runs a call that doesn't wait.
pub(crate) fn guard<T>(what: &str, call: impl FnOnce() -> Result<T>) -> PyResult<T> {
    casm_bindings::guard(what, call).or_raise()
}

/// Waits for a future. Other Python threads run meanwhile, and signals are
/// looked for.
pub(crate) fn block<T: Send>(
    py: Python<'_>,
    what: &str,
    future: impl Future<Output = Result<T>> + Send,
    timeout: Option<f64>,
) -> PyResult<T> {
    let timeout = seconds("timeout", timeout)?;
    let check = || {
        let _reentry = reenter();
        match Python::try_attach(|py| py.check_signals()) {
            Some(checked) => checked.map_err(Failure::Python),
            None => Ok(()),
        }
    };
    Ok(detach(py, || casm_bindings::block(what, future, timeout, check))?)
}

/// Runs something without the interpreter lock.
pub(crate) fn detach<T: Send>(py: Python<'_>, call: impl FnOnce() -> T + Send) -> T {
    let (result, reentry) = py.detach(|| (call(), reenter()));
    // This thread has the lock again.
    drop(reentry);
    result
}

/// An optional time span in seconds.
pub(crate) fn seconds(field: &str, value: Option<f64>) -> PyResult<Option<Duration>> {
    value.map(|value| duration(field, value)).transpose().or_raise()
}

/// A call that goes on in the background.
#[pyclass(frozen, module = "casm._casm")]
pub(crate) struct Pending(casm_bindings::Pending);

#[pymethods]
impl Pending {
    /// Calls it off. Its result may be on its way already.
    fn cancel(&self, py: Python<'_>) {
        detach(py, || self.0.cancel());
    }
}

/// Starts a call in the background. `done(result, None)` or
/// `done(None, exception)` is called on the dispatcher's thread.
pub(crate) fn spawn<T: Send + 'static>(
    what: &'static str,
    dispatcher: &Dispatcher,
    future: impl Future<Output = Result<T>> + Send + 'static,
    done: Py<PyAny>,
    convert: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
) -> PyResult<Pending> {
    let finish = move |result: Result<T>| {
        // None while Python is shutting down: then nobody is there to be told.
        Python::try_attach(|py| {
            let outcome = match result {
                Ok(value) => convert(py, value),
                Err(error) => Err(raise(&error)),
            };
            let arguments = match outcome {
                Ok(value) => (value, py.None()),
                Err(error) => (py.None(), error.into_value(py).into_any()),
            };
            match arguments.into_pyobject(py) {
                Ok(arguments) => {
                    driver::hand_over((py.None(), done, arguments.into_any().unbind()))
                }
                Err(error) => error.write_unraisable(py, None),
            }
        });
    };
    casm_bindings::spawn(what, dispatcher, future, None, finish).map(Pending).or_raise()
}
