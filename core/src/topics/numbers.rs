//! The numbers of this node's own messages. Pure: the time is an argument, in
//! nanoseconds since 1970.
//!
//! A source has one row of numbers for all its topics and its heartbeats: to
//! gossip, two messages of one source under one number are the same.

use std::sync::atomic::{AtomicU64, Ordering};

/// How close to the last number the time of a heartbeat is moved behind it.
const NEAR: u64 = 1_000_000;

/// The last number that this node gave, to whatever.
#[derive(Debug, Default)]
pub(crate) struct Numbers(AtomicU64);

impl Numbers {
    /// A number for a message: the time, or one more than the last one.
    pub(crate) fn next(&self, time: u64) -> u64 {
        let next = |last: u64| last.saturating_add(1).max(time);
        let last =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        next(last.unwrap_or_else(|last| last))
    }

    /// A heartbeat has this number.
    pub(crate) fn given(&self, number: u64) {
        self.0.fetch_max(number, Ordering::Relaxed);
    }

    /// The time for who gives numbers by it: no number of a message's.
    pub(crate) fn beside(&self, time: u64) -> u64 {
        let last = self.0.load(Ordering::Relaxed);
        if last >= time && last - time < NEAR { last.saturating_add(1) } else { time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_given_twice_whatever_the_clock_does() {
        let numbers = Numbers::default();
        let mut given: Vec<u64> = [100, 100, 100, 50, 101, 200].map(|now| numbers.next(now)).into();
        assert_eq!(given, [100, 101, 102, 103, 104, 200]);
        // A heartbeat at the same moment.
        let beat = numbers.beside(200);
        numbers.given(beat);
        given.extend([beat, numbers.next(200)]);
        assert_eq!(given[6..], [201, 202]);
        // The clock was set back: heartbeats follow it.
        assert_eq!(numbers.beside(200 + 2 * NEAR), 200 + 2 * NEAR);
        numbers.given(5 * NEAR);
        assert_eq!(numbers.beside(NEAR), NEAR);
        assert_eq!(numbers.next(NEAR), 5 * NEAR + 1);
    }
}
