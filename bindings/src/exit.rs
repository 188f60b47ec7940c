//! The end of a program, seen from threads that a language may not let back in.

use crate::runtime;
use std::{
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering, fence},
    },
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

/// The thread that ends the program, once it does.
static ENDS: OnceLock<ThreadId> = OnceLock::new();

/// Says that this thread is ending the program, and waits, for so long at most,
/// until no other is on its way back into the language.
pub(crate) fn begin(most: Duration) {
    ENDS.get_or_init(|| thread::current().id());
    // Either a thread that comes back sees what was said, or it is seen here.
    fence(Ordering::SeqCst);
    let begun = Instant::now();
    while runtime::process().reentries.load(Ordering::SeqCst) > 0 && begun.elapsed() < most {
        thread::sleep(Duration::from_millis(1));
    }
}

/// For a thread that goes back into the language from one of our functions.
/// Python ends a thread that comes back while the program ends by unwinding its
/// stack, and that stack has our functions on it. So if another thread is ending
/// the program, this one stays here for ever; if not, the end waits until what is
/// given back is dropped, which is when the thread is back.
pub fn reenter() -> Reentry {
    loop {
        let count = &runtime::process().reentries;
        count.fetch_add(1, Ordering::SeqCst);
        let reentry = Reentry(count);
        fence(Ordering::SeqCst);
        if ENDS.get().is_none_or(|thread| *thread == thread::current().id()) {
            return reentry;
        }
        drop(reentry);
        thread::park();
    }
}

/// A thread that is on its way back into the language.
pub struct Reentry(&'static AtomicUsize);

impl Drop for Reentry {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
