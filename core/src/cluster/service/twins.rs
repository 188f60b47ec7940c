//! Whether another node uses this one's key: a copied image, a data directory on
//! two machines. Pure: times since the node started are arguments.

use std::{
    collections::{VecDeque, hash_map::RandomState},
    hash::BuildHasher,
    time::Duration,
};

/// Own heartbeats that are remembered.
const SENT: usize = 64;
/// What an earlier run of this node said may be under way for so long.
const SETTLED: Duration = Duration::from_secs(5);
/// The shortest time in which two heartbeats of the other one tell of it.
const LEAST: Duration = Duration::from_secs(10);
/// After so long without any, another one is news again.
const OVER: Duration = Duration::from_secs(600);

/// What a heartbeat in this node's name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// One that this node sent in this run, or older than all of those that it
    /// remembers.
    Own,
    /// Not one of this run, and newer than its first ones.
    Other,
    /// The second such in a short time: another node that runs now sends them.
    /// Comes once.
    Twin,
}

/// The own heartbeats, and those that are not.
#[derive(Debug, Default)]
pub(super) struct Twins {
    /// Numbers and hashes of what this node sent, the oldest first.
    sent: VecDeque<(u64, u64)>,
    hasher: RandomState,
    /// When one that is not from here was heard last, and the highest number.
    heard: Option<(Duration, u64)>,
    told: bool,
}

impl Twins {
    /// This node sent a heartbeat.
    pub(super) fn sent(&mut self, seq: u64, data: &[u8]) {
        if self.sent.len() == SENT {
            self.sent.pop_front();
        }
        self.sent.push_back((seq, self.hasher.hash_one(data)));
    }

    /// A heartbeat in this node's name was heard, which others had for `age`.
    pub(super) fn heard(
        &mut self,
        (seq, data): (u64, &[u8]),
        age: Duration,
        ttl: Duration,
        now: Duration,
    ) -> Whose {
        let hash = self.hasher.hash_one(data);
        let same = |(number, _): &&(u64, u64)| *number == seq;
        match self.sent.iter().find(same) {
            Some((_, sent)) if *sent == hash => return Whose::Own,
            Some(_) => {}
            // What is older than this run says nothing of who runs now.
            None if self.sent.front().is_some_and(|(first, _)| seq < *first) => return Whose::Own,
            None => {}
        }
        if now.checked_sub(age).is_none_or(|since| since < SETTLED) {
            return Whose::Other;
        }
        let before = self.heard.filter(|(at, _)| now.saturating_sub(*at) <= OVER);
        self.told &= before.is_some();
        // One that comes by several ways counts once.
        if before.is_some_and(|(_, highest)| seq <= highest) {
            return Whose::Other;
        }
        self.heard = Some((now, seq));
        let soon = (ttl * 2).max(LEAST);
        let again = before.is_some_and(|(at, _)| now.saturating_sub(at) <= soon);
        if again && !std::mem::replace(&mut self.told, true) {
            return Whose::Twin;
        }
        Whose::Other
    }

    /// Whether another node is known to use the key now.
    pub(super) fn is_known(&self, now: Duration) -> bool {
        self.told && self.heard.is_some_and(|(at, _)| now.saturating_sub(at) <= OVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn running() -> Twins {
        let mut twins = Twins::default();
        (0..10).for_each(|n| twins.sent(100 + 10 * n, b"mine"));
        twins
    }

    #[test]
    fn echoes_are_no_twin() {
        let mut twins = running();
        for (seq, at) in [(190, 20), (100, 21), (150, 22), (99, 23), (7, 24), (190, 25)] {
            assert_eq!(twins.heard((seq, b"mine"), secs(0), TTL, secs(at)), Whose::Own);
        }
        (0..SENT as u64).for_each(|n| twins.sent(1000 + n, b"mine"));
        assert_eq!(twins.sent.len(), SENT);
        assert_eq!(twins.heard((190, b"mine"), secs(0), TTL, secs(30)), Whose::Own);
        assert!(!twins.is_known(secs(70)));
    }

    #[test]
    fn the_second_in_two_ttls_tells_of_a_twin_once_until_it_is_over() {
        let mut twins = running();
        let mut hear = |seq, at| twins.heard((seq, b"other"), secs(1), TTL, secs(at));
        assert_eq!(hear(195, 20), Whose::Other);
        assert_eq!(hear(195, 21), Whose::Other, "the same");
        assert_eq!(hear(300, 41), Whose::Other, "too late");
        assert_eq!(hear(301, 61), Whose::Twin);
        assert_eq!(hear(302, 62), Whose::Other);
        assert_eq!(hear(303, 662), Whose::Other);
        assert_eq!(hear(304, 1300), Whose::Other);
        assert_eq!(hear(305, 1301), Whose::Twin);
        assert!(twins.is_known(secs(1901)) && !twins.is_known(secs(1902)));
    }

    #[test]
    fn a_number_of_ours_with_other_content_is_a_twins() {
        let mut twins = running();
        assert_eq!(twins.heard((110, b"other"), secs(0), TTL, secs(20)), Whose::Other);
        assert_eq!(twins.heard((120, b"other"), secs(0), TTL, secs(22)), Whose::Twin);
    }

    #[test]
    fn what_an_earlier_run_said_is_no_twin_also_if_the_clock_was_set_back() {
        let mut twins = running();
        // By gossip, and handed over by who had it before this run.
        for (seq, age, at) in [(500, 0, 1), (501, 0, 4), (502, 14, 15), (503, 60, 60), (504, 20, 9)]
        {
            assert_eq!(twins.heard((seq, b"mine"), secs(age), TTL, secs(at)), Whose::Other);
        }
        assert_eq!(twins.heard((505, b"mine"), secs(0), TTL, secs(61)), Whose::Other);
        assert!(!twins.is_known(secs(70)));
    }

    #[test]
    fn with_a_short_ttl_there_is_time_for_two() {
        let mut twins = Twins::default();
        assert_eq!(twins.heard((1, b""), secs(0), secs(1), secs(10)), Whose::Other);
        assert_eq!(twins.heard((2, b""), secs(0), secs(1), secs(20)), Whose::Twin);
    }
}
