//! The thread of a node's callbacks, which Python makes.
//!
//! A thread that is in Python when the program ends is ended by Python from
//! within, in a way that no Rust function on its stack would survive. So none
//! is there while a callback runs: the thread asks for work, and does it in
//! Python.

use casm_bindings::reenter;
use pyo3::{prelude::*, types::PyList};
use std::{
    cell::RefCell,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
};

/// A call to make: for the items of a subscription (`delivery`, `callback`,
/// `items`), or once with a result (None, `done`, `arguments`).
pub(crate) type Work = (Py<PyAny>, Py<PyAny>, Py<PyAny>);

thread_local! {
    /// What the job that runs on this thread wants to be done.
    static WORK: RefCell<Vec<Work>> = const { RefCell::new(Vec::new()) };
}

/// Leaves work to the thread that runs the job that calls this.
pub(crate) fn hand_over(work: Work) {
    WORK.with_borrow_mut(|list| list.push(work));
}

/// Where a node's thread gets its work.
#[pyclass(frozen, module = "casm._casm")]
pub(crate) struct Driver(Mutex<casm_bindings::Driver>);

#[pymethods]
impl Driver {
    /// Waits for work; None when there will be no more.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        loop {
            // Until the work is handed over: what is made or dropped meanwhile may
            // run some Python, in which the thread could be ended.
            let (job, _reentry) = py.detach(|| {
                // Held by the one thread that drives.
                let job = self.0.lock().unwrap_or_else(PoisonError::into_inner).next_job();
                (job, reenter())
            });
            let Some(job) = job else { return Ok(None) };
            // A job that panics leaves no work, and the next is done.
            let _ = catch_unwind(AssertUnwindSafe(job));
            let work = WORK.with_borrow_mut(mem::take);
            if !work.is_empty() {
                return PyList::new(py, work).map(Some);
            }
        }
    }
}

/// Starts a thread that does the work of this driver.
pub(crate) fn start(py: Python<'_>, driver: casm_bindings::Driver) -> PyResult<()> {
    let run = py.import("casm._callbacks")?.getattr("run")?;
    let driver = Py::new(py, Driver(Mutex::new(driver)))?;
    py.import("_thread")?.call_method1("start_new_thread", (run, (driver,)))?;
    Ok(())
}
