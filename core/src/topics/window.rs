//! What was delivered last, so that what somebody plays again is not delivered
//! twice. Pure: the time is an argument.
//!
//! No order of numbers is assumed: those of some libraries are random.

use libp2p::PeerId;
use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map::RandomState},
    hash::BuildHasher,
    time::Duration,
};

/// How long a message is known again.
pub(super) const KEPT: Duration = Duration::from_secs(600);
/// The most messages that are known.
pub(super) const ROOM: usize = 65_536;
/// The most of one source.
pub(super) const SHARE: usize = 4096;

/// The sources and numbers of the messages that were delivered last on one topic:
/// [`ROOM`] in all, [`SHARE`] of a source, for [`KEPT`]; the oldest go first.
#[derive(Default)]
pub(super) struct Window {
    /// By keyed hashes of their ids, which take a third of the memory.
    sources: HashMap<u64, Source>,
    hasher: RandomState,
    /// Of all sources, in the order in which they came; also some that went with
    /// their source's share before.
    order: VecDeque<Entry>,
    next: u64,
    len: usize,
}

/// A message that is known, and its place in the order of all.
#[derive(Clone, Copy)]
struct Entry {
    at: Duration,
    source: u64,
    place: u64,
}

#[derive(Default)]
struct Source {
    numbers: HashSet<u64>,
    /// Numbers and their places, the oldest first.
    order: VecDeque<(u64, u64)>,
}

impl Window {
    /// Whether a message was delivered already.
    pub(super) fn contains(&mut self, source: &PeerId, number: u64, now: Duration) -> bool {
        self.expire(now);
        let source = self.sources.get(&self.hasher.hash_one(source));
        source.is_some_and(|source| source.numbers.contains(&number))
    }

    /// A message is delivered. False if it was already.
    pub(super) fn insert(&mut self, source: &PeerId, number: u64, now: Duration) -> bool {
        self.expire(now);
        let key = self.hasher.hash_one(source);
        let source = self.sources.entry(key).or_default();
        if !source.numbers.insert(number) {
            return false;
        }
        source.order.push_back((number, self.next));
        self.order.push_back(Entry { at: now, source: key, place: self.next });
        (self.next, self.len) = (self.next + 1, self.len + 1);
        if source.numbers.len() > SHARE {
            self.forget(key);
        }
        while self.len > ROOM {
            self.forget_oldest();
        }
        // What one source pushed out of its share, again and again.
        if self.order.len() > 2 * ROOM {
            let stands = |entry: &Entry| {
                let first = self.sources.get(&entry.source).and_then(|source| source.order.front());
                first.is_some_and(|(_, place)| *place <= entry.place)
            };
            self.order.retain(stands);
        }
        true
    }

    /// Forgets what is too old.
    fn expire(&mut self, now: Duration) {
        let old = |entry: &Entry| now.saturating_sub(entry.at) > KEPT;
        while self.order.front().is_some_and(old) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(Entry { source, place, .. }) = self.order.pop_front() else { return };
        let first = self.sources.get(&source).and_then(|source| source.order.front());
        if first.is_some_and(|(_, first)| *first == place) {
            self.forget(source);
        }
    }

    /// Forgets the oldest message of a source.
    fn forget(&mut self, key: u64) {
        let Some(source) = self.sources.get_mut(&key) else { return };
        let Some((number, _)) = source.order.pop_front() else { return };
        source.numbers.remove(&number);
        self.len -= 1;
        if source.numbers.is_empty() {
            self.sources.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(n: u64) -> PeerId {
        PeerId::from_bytes(&[&[0, 8], &n.to_be_bytes()[..]].concat()).unwrap()
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_message_is_known_for_ten_minutes_whatever_its_number() {
        let mut window = Window::default();
        for number in [u64::MAX, 0, 7] {
            assert!(window.insert(&peer(1), number, secs(0)));
            assert!(!window.insert(&peer(1), number, secs(1)));
        }
        assert!(window.insert(&peer(2), 7, secs(300)));
        assert!(window.contains(&peer(1), 0, secs(600)));
        assert!(!window.contains(&peer(1), 0, secs(601)));
        assert!(window.contains(&peer(2), 7, secs(900)));
        assert!(!window.contains(&peer(2), 7, secs(901)));
        assert!(window.sources.is_empty() && window.order.is_empty() && window.len == 0);
    }

    #[test]
    fn a_flood_of_one_source_pushes_out_its_own() {
        let mut window = Window::default();
        window.insert(&peer(1), 1, secs(0));
        let flood = 3 * ROOM as u64;
        for number in 0..flood {
            assert!(window.insert(&peer(2), number, secs(1)));
        }
        assert!(window.contains(&peer(1), 1, secs(1)));
        assert_eq!(window.len, 1 + SHARE);
        assert!(window.order.len() <= 2 * ROOM);
        let known = (0..flood).filter(|number| window.contains(&peer(2), *number, secs(1)));
        assert_eq!(known.collect::<Vec<_>>(), Vec::from_iter(flood - SHARE as u64..flood));
    }

    #[test]
    fn many_sources_share_the_room_and_the_oldest_go_first() {
        let mut window = Window::default();
        let all = ROOM as u64 + 1000;
        for n in 0..all {
            window.insert(&peer(n % 100), n, secs(0));
        }
        assert_eq!(window.len, ROOM);
        for n in 0..all {
            assert_eq!(window.contains(&peer(n % 100), n, secs(0)), n >= 1000, "{n}");
        }
        // Of sources that say one thing each, none stays beyond its time.
        for n in 0..all {
            window.insert(&peer(1000 + n), 0, secs(700));
        }
        assert_eq!((window.len, window.sources.len(), window.order.len()), (ROOM, ROOM, ROOM));
    }

    proptest! {
        /// Within its bounds it is a set of what came in the last ten minutes.
        #[test]
        fn it_is_a_set_of_the_last_ten_minutes(
            arrivals in prop::collection::vec((0..4_u64, 0..8_u64, 0..400_u64), 1..200),
        ) {
            let (mut window, mut now) = (Window::default(), secs(0));
            let mut model: HashMap<(u64, u64), Duration> = HashMap::new();
            for (source, number, pause) in arrivals {
                now += secs(pause);
                model.retain(|_, at| now - *at <= KEPT);
                let known = model.contains_key(&(source, number));
                prop_assert_eq!(window.contains(&peer(source), number, now), known);
                prop_assert_eq!(window.insert(&peer(source), number, now), !known);
                model.entry((source, number)).or_insert(now);
                prop_assert_eq!(window.len, model.len());
            }
        }
    }
}
