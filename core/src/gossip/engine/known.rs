//! The messages that are known to be good: what has one of their ids is no news.

use crate::gossip::id::MessageId;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// Ids that were forgotten before their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Forgotten {
    /// For want of room.
    pub(super) of_all: u64,
    /// Because their source has its share.
    pub(super) of_source: u64,
}

/// Ids, each kept for a time, and none pushed out by another source's flood
/// while there is room.
///
/// An id is kept as a hash of 64 bits that nobody else can foresee: with all
/// room taken, one message in 10^14 is wrongly held for known.
#[derive(Default)]
pub(super) struct Known {
    hashes: RandomState,
    ids: HashSet<Hash>,
    /// In the order of their times; also some that were forgotten before.
    order: VecDeque<Entry>,
    /// The ids of each source, the oldest first.
    sources: HashMap<Hash, VecDeque<Hash>>,
}

type Hash = u64;

struct Entry {
    at: Duration,
    id: Hash,
    source: Hash,
}

impl Known {
    /// How long an id is known again: longer than a busy node lags behind. An
    /// older copy is checked once more, and is stale to the topic's service.
    pub(super) const KEPT: Duration = Duration::from_secs(30);
    /// The most ids.
    pub(super) const ROOM: usize = 65_536;
    /// The most of one source.
    pub(super) const SHARE: usize = Self::ROOM / 8;

    pub(super) fn contains(&self, id: &MessageId) -> bool {
        self.ids.contains(&self.hashes.hash_one(id))
    }

    /// Learns an id; says how many were forgotten for it.
    #[must_use]
    pub(super) fn insert(&mut self, now: Duration, id: &MessageId) -> Forgotten {
        let mut forgotten = Forgotten::default();
        let source = self.hashes.hash_one(id.source());
        let id = self.hashes.hash_one(id);
        if !self.ids.insert(id) {
            return forgotten;
        }
        let of_source = self.sources.entry(source).or_default();
        of_source.push_back(id);
        if of_source.len() > Self::SHARE
            && let Some(oldest) = of_source.pop_front()
        {
            self.ids.remove(&oldest);
            forgotten.of_source = 1;
        }
        self.order.push_back(Entry { at: now, id, source });
        while self.ids.len() > Self::ROOM {
            self.forget_oldest();
            forgotten.of_all = 1;
        }
        // What one source pushed out of its share, again and again.
        if self.order.len() > 2 * Self::ROOM {
            self.order.retain(|entry| self.ids.contains(&entry.id));
        }
        forgotten
    }

    /// Forgets what is too old.
    pub(super) fn expire(&mut self, now: Duration) {
        let old = |entry: &Entry| now.saturating_sub(entry.at) > Self::KEPT;
        while self.order.front().is_some_and(old) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(Entry { id, source, .. }) = self.order.pop_front() else { return };
        // Forgotten and learnt again: it is the younger entry's.
        let Some(of_source) = self.sources.get_mut(&source) else { return };
        if of_source.front() != Some(&id) {
            return;
        }
        of_source.pop_front();
        self.ids.remove(&id);
        if of_source.is_empty() {
            self.sources.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(source: u8, number: u64) -> MessageId {
        MessageId::new(&[source; 38], number.to_be_bytes())
    }

    #[test]
    fn an_id_is_known_for_its_time() {
        let mut known = Known::default();
        let learn = |known: &mut Known, secs, id| {
            assert_eq!(known.insert(Duration::from_secs(secs), &id), Forgotten::default());
        };
        learn(&mut known, 0, id(1, 1));
        learn(&mut known, 1, id(1, 2));
        learn(&mut known, 20, id(1, 1));
        known.expire(Known::KEPT + Duration::from_millis(1));
        assert!(!known.contains(&id(1, 1)) && known.contains(&id(1, 2)));
        known.expire(2 * Known::KEPT);
        assert!(known.ids.is_empty() && known.sources.is_empty() && known.order.is_empty());
    }

    #[test]
    fn a_flood_of_one_source_pushes_out_its_own() {
        let mut known = Known::default();
        let mut forgotten = known.insert(Duration::ZERO, &id(1, 1)).of_source;
        for number in 0..3 * Known::ROOM as u64 {
            forgotten += known.insert(Duration::from_secs(1), &id(2, number)).of_source;
        }
        assert_eq!(forgotten, (3 * Known::ROOM - Known::SHARE) as u64);
        assert!(known.contains(&id(1, 1)));
        assert_eq!(known.ids.len(), 1 + Known::SHARE);
        assert!(known.order.len() <= 2 * Known::ROOM);
        assert!(known.contains(&id(2, 3 * Known::ROOM as u64 - 1)));
        known.expire(Duration::from_secs(40));
        assert!(known.ids.is_empty() && known.sources.is_empty(), "{}", known.ids.len());
    }

    #[test]
    fn many_sources_share_the_room() {
        let mut known = Known::default();
        let mut forgotten = 0;
        for number in 0..2 * Known::ROOM as u64 {
            forgotten += known.insert(Duration::from_secs(1), &id(number as u8, number)).of_all;
        }
        assert_eq!(forgotten, Known::ROOM as u64);
        assert_eq!(known.ids.len(), Known::ROOM);
        assert_eq!(known.sources.values().map(VecDeque::len).sum::<usize>(), Known::ROOM);
    }
}
