//! How a call is made.

use crate::errors::Result;
use casm_bindings::{Error, duration};
use std::future::Future;

/// Runs a call that waits, on the calling thread, for `timeout` seconds at
/// most.
pub(crate) fn block<T>(
    what: &str,
    future: impl Future<Output = casm_bindings::Result<T>>,
    timeout: Option<f64>,
) -> Result<T> {
    let timeout = timeout.map(|timeout| duration("timeout", timeout)).transpose()?;
    // A thread of these languages is not interrupted from outside.
    Ok(casm_bindings::block(what, future, timeout, || Ok::<(), Error>(()))?)
}

/// Runs a call that doesn't wait.
pub(crate) fn guard<T>(what: &str, call: impl FnOnce() -> casm_bindings::Result<T>) -> Result<T> {
    Ok(casm_bindings::guard(what, call)?)
}

/// A number of records, in 32 bits: a view never holds so many.
pub(crate) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
