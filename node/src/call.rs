//! How calls wait: in the background, with a number under which the result is
//! handed over.

use crate::{
    errors::{OrThrow, Result},
    port::{Shared, Work, hand_over},
};
use napi_derive::napi;
use std::{future::Future, sync::Arc, time::Duration};

/// Runs a call that doesn't wait.
pub(crate) fn guard<T>(what: &str, call: impl FnOnce() -> casm_bindings::Result<T>) -> Result<T> {
    casm_bindings::guard(what, call).or_throw()
}

/// A time span that JavaScript gives in milliseconds.
pub(crate) fn duration(field: &str, ms: f64) -> casm_bindings::Result<Duration> {
    casm_bindings::duration(field, ms / 1000.0).map_err(|_| wrong(field, ms))
}

/// The same of how long a call may take: nothing is the default, infinity no limit.
pub(crate) fn time_limit(ms: Option<f64>) -> casm_bindings::Result<Option<Duration>> {
    let seconds = ms.map(|ms| ms / 1000.0);
    casm_bindings::time_limit("timeout", seconds)
        .map_err(|_| wrong("timeout", ms.unwrap_or_default()))
}

fn wrong(field: &str, ms: f64) -> casm_bindings::Error {
    casm_bindings::Error::config(field, ms, "give a time span in milliseconds, from 0 up")
}

/// A call that goes on in the background.
#[napi]
pub struct Pending(casm_bindings::Pending);

#[napi]
impl Pending {
    /// Calls it off: its result is a `Cancelled`, unless there is one already.
    #[napi]
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

/// Starts a call in the background. Its result is handed over under `id`, as
/// `convert` says.
pub(crate) fn spawn<T: Send + 'static>(
    what: &'static str,
    port: &Arc<Shared>,
    id: u32,
    future: impl Future<Output = casm_bindings::Result<T>> + Send + 'static,
    convert: impl FnOnce(T) -> Work + Send + 'static,
) -> Result<Pending> {
    let done = move |result| {
        let work = match result {
            Ok(value) => convert(value),
            Err(error) => {
                Work { error: Some(casm_bindings::Error::into(error)), ..Work::default() }
            }
        };
        hand_over(Work { id, ..work });
    };
    guard(what, || casm_bindings::spawn(what, &port.dispatcher(), future, None, done).map(Pending))
}

/// A call that gives nothing back.
pub(crate) fn spawn_unit(
    what: &'static str,
    port: &Arc<Shared>,
    id: u32,
    future: impl Future<Output = casm_bindings::Result<()>> + Send + 'static,
) -> Result<Pending> {
    spawn(what, port, id, future, |()| Work::default())
}
