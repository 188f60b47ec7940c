//! For how long a peer has been there, and how well it kept its word.

use std::time::Duration;

/// What was heard of a peer, and what it left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    since: Duration,
    /// When it was heard of last.
    pub(super) last: Duration,
    heard: u32,
    missed: u32,
    /// Whether it has once been there for long, with most of its heartbeats.
    pub(super) proven: bool,
}

impl Standing {
    /// A peer that is heard of for the first time; `proven` if it was before it
    /// left.
    pub(super) fn new(now: Duration, proven: bool) -> Self {
        Self { since: now, last: now, heard: 1, missed: 0, proven }
    }

    /// The peer is heard of again, so many numbers after the last time. Its TTL
    /// says how many heartbeats were due since then, three or four in each
    /// ([`Pace`](super::super::Pace)); but none was missed that it never sent: some
    /// pause longer, as Go's nodes do, and count up all the same.
    pub(super) fn hear(mut self, now: Duration, ttl: Duration, numbers: u64) -> Self {
        let pause = (ttl * 3 / 10).max(Duration::from_millis(1));
        let gap = now.saturating_sub(self.last).saturating_add(pause / 2);
        let due = u64::try_from(gap.as_nanos() / pause.as_nanos()).unwrap_or(u64::MAX);
        let missed = due.min(numbers).saturating_sub(1);
        self.missed = self.missed.saturating_add(u32::try_from(missed).unwrap_or(u32::MAX));
        self.heard = self.heard.saturating_add(1);
        self.last = now;
        self
    }

    /// From when it was heard of first until it was last.
    pub(super) fn time_there(&self) -> Duration {
        self.last.saturating_sub(self.since)
    }

    /// Whether it has been there for so long with two thirds of its heartbeats.
    pub(super) fn has_lasted(&self, now: Duration, probation: Duration) -> bool {
        now.saturating_sub(self.since) >= probation && self.heard / 2 >= self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);
    const PROBATION: Duration = Duration::from_secs(600);

    /// The standing after ten minutes of a peer that is heard of at this pace,
    /// and whose numbers go up by so much each time.
    fn after(pause_ms: u64, numbers: u64) -> bool {
        let (mut now, mut standing) = (Duration::ZERO, Standing::new(Duration::ZERO, false));
        while now < PROBATION {
            assert!(!standing.has_lasted(now, PROBATION));
            now += Duration::from_millis(pause_ms);
            standing = standing.hear(now, TTL, numbers);
        }
        standing.has_lasted(now, PROBATION)
    }

    #[test]
    fn two_thirds_of_what_a_peer_sends_are_enough_and_less_is_not() {
        // All; every second one, which is a half; two of three would do.
        assert!(after(3000, 1) && after(3300, 1) && after(2700, 1));
        assert!(!after(6000, 2));
        let mut standing = Standing::new(Duration::ZERO, false);
        for third in (1..400).filter(|n| n % 3 != 0) {
            let numbers = if third % 3 == 1 { 2 } else { 1 };
            standing = standing.hear(Duration::from_secs(3) * third, TTL, numbers);
        }
        assert!(standing.has_lasted(Duration::from_secs(1200), PROBATION));
        // At Go's pace none is left out; one in three of those is too few.
        assert!(after(7500, 1));
        assert!(!after(12_000, 3));
        // After a restart the numbers jump, and the time says what was missed.
        assert!(after(3000, 1 << 40));
        assert!(!after(9000, 1 << 40));
    }
}
