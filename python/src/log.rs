//! Log records, handed to Python's logging.

use crate::{call::detach, driver, errors::OrRaise, node::close_at_exit};
use casm_bindings::{Dispatcher, LogLevel, LogRecord};
use pyo3::prelude::*;
use std::sync::{Arc, mpsc};

/// Calls ``emit(level, name, message)`` with CASM's log records of this level
/// and worse, on a thread of their own.
#[pyfunction]
pub(crate) fn forward_logs(py: Python<'_>, level: &str, emit: Py<PyAny>) -> PyResult<()> {
    let level = LogLevel::parse(level).or_raise()?;
    close_at_exit(py)?;
    let (dispatcher, driver) = Dispatcher::driven();
    driver::start(py, driver)?;
    let emit = Arc::new(emit);
    let sink = move |records: Vec<LogRecord>| {
        let emit = emit.clone();
        let (done, handed_over) = mpsc::channel();
        dispatcher.submit(Box::new(move || {
            // None while Python is shutting down.
            Python::try_attach(|py| {
                for record in records {
                    let name = record.target.replace("::", ".");
                    let arguments = (number(record.level), name, record.message);
                    match arguments.into_pyobject(py) {
                        Ok(arguments) => driver::hand_over((
                            py.None(),
                            emit.clone_ref(py),
                            arguments.into_any().unbind(),
                        )),
                        Err(error) => error.write_unraisable(py, None),
                    }
                }
            });
            let _ = done.send(());
        }));
        // No more than two batches are under way.
        let _ = handed_over.recv();
    };
    detach(py, || casm_bindings::forward_logs(level, sink)).or_raise()
}

/// The level in Python's logging.
fn number(level: LogLevel) -> u8 {
    match level {
        LogLevel::Off => 100,
        LogLevel::Error => 40,
        LogLevel::Warn => 30,
        LogLevel::Info => 20,
        LogLevel::Debug => 10,
        LogLevel::Trace => 5,
    }
}
