//! The end of a program, seen from threads that a language may not let back in.

use std::{
    sync::OnceLock,
    thread::{self, ThreadId},
};

/// The thread that ends the program, once it does.
static ENDS: OnceLock<ThreadId> = OnceLock::new();

/// Says that this thread is ending the program.
pub(crate) fn begin() {
    ENDS.get_or_init(|| thread::current().id());
}

/// Stays here for ever if another thread is ending the program. Python ends a
/// thread that comes back to it then by unwinding its stack, and that stack has
/// our functions on it.
pub(crate) fn stay_if_ending() {
    while ENDS.get().is_some_and(|thread| *thread != thread::current().id()) {
        thread::park();
    }
}
