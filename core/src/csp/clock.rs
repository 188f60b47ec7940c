//! The clock that the machines are told, and the task that calls them in time.

use crate::scope::Scope;
use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, sleep_until},
};

/// Time since some moment, and when to be called.
#[derive(Debug)]
pub(super) struct Clock {
    base: Instant,
    /// When the task will look, if at all.
    next: Mutex<Option<Duration>>,
    sooner: Notify,
}

impl Clock {
    pub(super) fn new() -> Self {
        // Not zero: what has never been is long ago.
        let base = Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or_else(Instant::now);
        Self { base, next: Mutex::new(None), sooner: Notify::new() }
    }

    pub(super) fn now(&self) -> Duration {
        self.base.elapsed()
    }

    /// A deadline, so far from now.
    pub(super) fn deadline(&self, timeout: Option<Duration>) -> Option<Duration> {
        // Too far away to be one.
        timeout.and_then(|timeout| self.now().checked_add(timeout))
    }

    /// What there is to do is due at this time.
    pub(super) fn is_due_at(&self, at: Option<Duration>) {
        let Some(at) = at else { return };
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_none_or(|next| at < next) {
            *next = Some(at);
            drop(next);
            self.sooner.notify_one();
        }
    }

    fn take_next(&self) -> Option<Duration> {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that is to be called in time.
pub(super) trait Timed: Sized + Send + Sync + 'static {
    fn clock(&self) -> &Clock;
    /// Does what is due. It tells the clock what is next.
    fn tick(self: &Arc<Self>);
}

/// Calls it in time, for as long as anybody uses it.
pub(super) fn keep<T: Timed>(timed: &Arc<T>, scope: &Scope, runtime: &Handle) {
    let weak = Arc::downgrade(timed);
    let _context = runtime.enter();
    scope.spawn(run(weak));
}

async fn run<T: Timed>(weak: Weak<T>) {
    // Whether it still exists is looked at now and then.
    const LOOK: Duration = Duration::from_secs(60);
    loop {
        let Some(timed) = weak.upgrade() else { return };
        let clock = timed.clock();
        let next = clock.take_next().map(|next| clock.base + next);
        let look = Instant::now() + LOOK;
        let is_next = next.is_some_and(|next| next <= look);
        let at = next.map_or(look, |next| next.min(look));
        let waited = tokio::select! {
            () = sleep_until(at) => true,
            () = clock.sooner.notified() => false,
        };
        if waited && is_next {
            *clock.next.lock().unwrap_or_else(PoisonError::into_inner) = None;
            timed.tick();
        }
    }
}
