//! Which record is due next, without looking at all of them.

use std::{collections::BTreeSet, time::Duration};

/// Deadlines by slot, ordered by time.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeSet<(Duration, u32)>);

impl Deadlines {
    /// Moves a slot's deadline from an old time, if it had one, to a new one.
    pub(super) fn set(&mut self, slot: u32, old: Option<Duration>, new: Option<Duration>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.0.remove(&(old, slot));
        }
        if let Some(new) = new {
            self.0.insert((new, slot));
        }
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Duration> {
        self.0.first().map(|(time, _)| *time)
    }

    /// A slot whose deadline has come. It stays until it is unset.
    pub(super) fn due(&self, now: Duration) -> Option<u32> {
        self.0.first().filter(|(time, _)| *time <= now).map(|(_, slot)| *slot)
    }
}
