//! Whether the node was held up: its process stopped, its machine asleep, or so
//! busy that it came to nothing. Pure: both clocks are arguments.
//!
//! A process that is stopped sees its monotonic clock go on: it does late what was
//! due. While a machine sleeps, that clock stands still on most systems, and the
//! wall clock has moved more than it. (So it has when somebody sets it forward: it
//! costs nothing to look after the connections then.)

use crate::cluster::table::Now;
use std::time::Duration;

/// When the clocks were looked at last.
#[derive(Debug)]
pub(super) struct Gaps(Now);

impl Gaps {
    pub(super) const fn new(now: Now) -> Self {
        Self(now)
    }

    /// For how long the node was held up before `now`, if it meant to look at the
    /// clocks at `due` at the latest.
    pub(super) fn look(&mut self, now: Now, due: Option<Duration>) -> Duration {
        let last = std::mem::replace(&mut self.0, now);
        let late =
            due.map_or(Duration::ZERO, |due| now.elapsed.saturating_sub(due.max(last.elapsed)));
        let moved = Duration::from_nanos(now.unix_nanos.saturating_sub(last.unix_nanos));
        let asleep = moved.saturating_sub(now.elapsed.saturating_sub(last.elapsed));
        late.max(asleep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIX: u64 = 1_800_000_000_000_000_000;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// So many milliseconds after the beginning, on each clock.
    fn at(elapsed: u64, wall: u64) -> Now {
        Now { elapsed: ms(elapsed), unix_nanos: UNIX + wall * 1_000_000 }
    }

    #[test]
    fn a_process_that_was_stopped_does_late_what_was_due() {
        let mut gaps = Gaps::new(at(0, 0));
        assert_eq!(gaps.look(at(3000, 3000), Some(ms(3000))), ms(0));
        assert_eq!(gaps.look(at(3500, 3500), Some(ms(6000))), ms(0), "something else came before");
        // Stopped for five minutes, half a second later.
        assert_eq!(gaps.look(at(304_000, 304_000), Some(ms(6000))), ms(298_000));
        // What is still due from before was due when it was looked last.
        assert_eq!(gaps.look(at(304_010, 304_010), Some(ms(6000))), ms(10));
        assert_eq!(gaps.look(at(900_000, 900_000), None), ms(0), "nothing was due");
    }

    #[test]
    fn a_machine_that_slept_has_moved_its_wall_clock_alone() {
        let mut gaps = Gaps::new(at(0, 0));
        assert_eq!(gaps.look(at(3000, 303_000), Some(ms(3000))), ms(300_000));
        assert_eq!(gaps.look(at(6000, 306_000), Some(ms(6000))), ms(0));
        // Where the monotonic clock goes on in sleep, it is told once too.
        assert_eq!(gaps.look(at(106_000, 406_000), Some(ms(9000))), ms(97_000));
        // A clock that is set back is no sleep, nor one that is slewed.
        assert_eq!(gaps.look(at(109_000, 0), Some(ms(109_000))), ms(0));
        assert_eq!(gaps.look(at(112_000, 3001), Some(ms(112_000))), ms(1));
    }
}
