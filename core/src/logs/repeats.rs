//! An end to repetition: what is logged of one kind again and again is counted
//! instead.

use std::{collections::HashMap, hash::Hash, time::Duration};

/// Lets a number of each kind pass in a time, and counts the others. Pure: it is
/// told the time, as what has passed since some beginning.
///
/// A kind is a place in a program, so that their number is bounded.
#[derive(Debug)]
pub struct Repeats<K> {
    most: u32,
    time: Duration,
    kinds: HashMap<K, Kind>,
}

#[derive(Debug)]
struct Kind {
    since: Duration,
    passed: u32,
    left_out: u64,
}

impl<K: Clone + Eq + Hash> Repeats<K> {
    /// So many of a kind pass in this time, from the first of them on.
    pub fn new(most: u32, time: Duration) -> Self {
        Self { most, time, kinds: HashMap::new() }
    }

    /// Whether one more of this kind is to be told; if not, it is counted.
    pub fn admit(&mut self, kind: &K, now: Duration) -> bool {
        if !self.kinds.contains_key(kind) {
            let new = Kind { since: now, passed: 0, left_out: 0 };
            self.kinds.insert(kind.clone(), new);
        }
        let Some(kind) = self.kinds.get_mut(kind) else { return true };
        if now.saturating_sub(kind.since) >= self.time {
            // What was left out before is told by `ended`.
            (kind.since, kind.passed) = (now, 0);
        }
        let admitted = kind.passed < self.most;
        if admitted {
            kind.passed += 1;
        } else {
            kind.left_out += 1;
        }
        admitted
    }

    /// How many were left out of the kinds whose time has passed: they are told
    /// once.
    pub fn ended(&mut self, now: Duration) -> Vec<(K, u64)> {
        let time = self.time;
        self.take(|kind| now.saturating_sub(kind.since) >= time)
    }

    /// The same of all kinds: at the end.
    pub fn rest(&mut self) -> Vec<(K, u64)> {
        self.take(|_| true)
    }

    fn take(&mut self, of: impl Fn(&Kind) -> bool) -> Vec<(K, u64)> {
        let kinds = self.kinds.iter_mut().filter(|(_, kind)| kind.left_out > 0 && of(kind));
        kinds.map(|(name, kind)| (name.clone(), std::mem::take(&mut kind.left_out))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_first_of_a_kind_pass_and_the_others_are_counted() {
        let mut repeats = Repeats::new(10, MINUTE);
        let flood: Vec<_> = (0..2273).map(|n| n * Duration::from_millis(50)).collect();
        let mut told = 0;
        let mut left_out = 0;
        for now in flood {
            told += u64::from(repeats.admit(&"slow", now));
            left_out += repeats.ended(now).iter().map(|(_, count)| count).sum::<u64>();
        }
        // 114 s: two times ten.
        assert_eq!(told, 20);
        let rest = repeats.rest();
        assert_eq!(left_out + rest[0].1, 2273 - told);
        assert!(repeats.rest().is_empty(), "they are told once");
    }

    #[test]
    fn kinds_are_apart_and_rare_ones_always_pass() {
        let mut repeats = Repeats::new(1, MINUTE);
        assert!(repeats.admit(&"a", Duration::ZERO) && repeats.admit(&"b", Duration::ZERO));
        assert!(!repeats.admit(&"a", MINUTE / 2));
        assert!(repeats.ended(MINUTE / 2).is_empty());
        assert!(repeats.admit(&"b", MINUTE));
        assert_eq!(repeats.ended(MINUTE), [("a", 1)]);
    }
}
