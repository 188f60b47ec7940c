//! The numbers of this node's own heartbeats: they follow the clock, and go up
//! also when it doesn't. Pure: the time is an argument, in nanoseconds since 1970.

use crate::cluster::table::Table;
use std::time::Duration;

/// How far ahead numbers are kept on the disk, so that it is written to once a
/// minute and not with each heartbeat.
const AHEAD: u64 = nanos(Duration::from_secs(120));
/// When so much of that is left, the next are kept.
const LEFT: u64 = AHEAD / 2;
/// How many numbers are kept at a time of a node whose clock is behind them: they
/// are counted one by one.
const COUNTED: u64 = 1 << 20;
/// Nobody with a right clock took a number that is so far ahead of it.
const TAKEN: u64 = nanos(Table::MAX_AHEAD);

/// The last number, and what is kept for the next run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    last: u64,
    kept: u64,
}

impl Numbers {
    /// Goes on after what an earlier run has kept; 0 if nothing was.
    pub(crate) const fn after(kept: u64) -> Self {
        Self { last: kept, kept }
    }

    /// The next number: the time, or one more than the last one if the clock is
    /// behind it. If it is far behind it, the last one was far ahead: nobody with
    /// a right clock took that, and so nobody waits for a higher one.
    pub(super) fn next(&mut self, time: u64) -> u64 {
        self.last = if self.last > time.saturating_add(TAKEN) {
            time
        } else {
            self.last.saturating_add(1).max(time)
        };
        self.last
    }

    /// A heartbeat of this node has a number that it has not given in this run:
    /// the next one must be higher, if others have taken that one. Whether it was
    /// not so already.
    pub(super) fn heard(&mut self, seq: u64, time: u64) -> bool {
        let higher = seq > self.last && seq <= time.saturating_add(TAKEN);
        if higher {
            self.last = seq;
        }
        higher
    }

    /// A higher number than any that will be given soon, if it is to be kept now.
    pub(crate) fn keep_now(&mut self, time: u64) -> Option<u64> {
        let enough = self.last.max(time.saturating_add(LEFT));
        let ahead = self.last.saturating_add(COUNTED).max(time.saturating_add(AHEAD));
        // Or the clock was set back by much: what is kept is of no use any more.
        let useless = self.kept > self.last.max(time).saturating_add(TAKEN);
        if self.kept > enough && !useless {
            return None;
        }
        self.kept = ahead;
        Some(ahead)
    }
}

const fn nanos(of: Duration) -> u64 {
    // Of constants below a day.
    of.as_secs() * 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: u64 = 1_000_000_000;
    const NOW: u64 = 1_800_000_000 * SEC;

    #[test]
    fn numbers_follow_the_clock_and_count_on_when_it_is_behind() {
        let mut numbers = Numbers::after(0);
        assert_eq!(numbers.next(NOW), NOW);
        assert_eq!(numbers.next(NOW + 3 * SEC), NOW + 3 * SEC);
        // Set back by 20 s, and by ten minutes; then right again.
        assert_eq!(numbers.next(NOW - 17 * SEC), NOW + 3 * SEC + 1);
        assert_eq!(numbers.next(NOW - 596 * SEC), NOW + 3 * SEC + 2);
        assert_eq!(numbers.next(NOW + 9 * SEC), NOW + 9 * SEC);
        // It was far ahead, where nobody followed, and is right again.
        let month = 30 * 86_400 * SEC;
        assert_eq!(numbers.next(NOW + month), NOW + month);
        assert_eq!(numbers.next(NOW + 12 * SEC), NOW + 12 * SEC);
        let mut last = Numbers::after(u64::MAX);
        assert_eq!((last.next(u64::MAX), last.next(NOW)), (u64::MAX, NOW));
    }

    #[test]
    fn what_was_heard_back_is_passed_unless_it_is_far_ahead() {
        let mut numbers = Numbers::after(0);
        numbers.next(NOW);
        assert!(!numbers.heard(NOW, NOW));
        assert!(!numbers.heard(NOW + 601 * SEC, NOW));
        assert!(numbers.heard(NOW + 600 * SEC, NOW));
        assert_eq!(numbers.next(NOW + SEC), NOW + 600 * SEC + 1);
    }

    #[test]
    fn what_is_kept_is_higher_than_what_was_given_and_is_seldom_written() {
        let (mut numbers, mut kept, mut written) = (Numbers::after(0), 0, 0);
        for second in 0..3600 {
            let time = NOW + second * SEC;
            let number = numbers.next(time);
            if let Some(ahead) = numbers.keep_now(time) {
                (kept, written) = (ahead, written + 1);
            }
            assert!(number < kept && kept <= time + AHEAD, "{second}");
        }
        assert!((50..=61).contains(&written), "{written}");
    }

    #[test]
    fn a_clock_that_is_behind_for_long_costs_no_writes() {
        let mut numbers = Numbers::after(NOW);
        let writes = |numbers: &mut Numbers, from: u64| {
            let each = (0..400).filter(|second| {
                let time = from + second * SEC;
                numbers.next(time);
                numbers.keep_now(time).is_some()
            });
            each.count()
        };
        assert_eq!(writes(&mut numbers, NOW - 500 * SEC), 1);
        // Far behind: what is kept is made good.
        let mut numbers = Numbers::after(NOW + 3600 * SEC);
        numbers.next(NOW);
        assert_eq!(numbers.keep_now(NOW), Some(NOW + AHEAD));
    }

    #[test]
    fn runs_that_end_soon_do_not_run_away_from_the_clock() {
        let mut kept = 0;
        for run in 0..10_000 {
            let (mut numbers, time) = (Numbers::after(kept), NOW + run * SEC / 10);
            assert!(numbers.next(time) > kept);
            kept = numbers.keep_now(time).unwrap_or(kept);
            assert!(kept <= time + AHEAD + run * COUNTED);
        }
        assert!(kept < NOW + 1000 * SEC + AHEAD + 60 * SEC);
    }
}
