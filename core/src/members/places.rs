//! Whose questions are answered: so many at a time, and so many in a second. The time
//! is an argument.

use crate::{
    PeerId,
    cache::cache,
    spent::{Limit, Spent},
};
use lru::LruCache;
use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Questions that are answered at a time, and those of one peer.
const AT_ONCE: usize = 64;
const OF_PEER: usize = 2;
/// Questions of one peer, and the signatures in them: a newcomer asks for the
/// certificates of all, and whoever compares long lists asks often, and tells much.
const PACE: Limit = Limit { most: 1024.0, a_second: 64.0 };
/// Peers of whom it is known what they have asked: the last.
const MAX_PEERS: NonZeroUsize = NonZeroUsize::new(4096).expect("not 0");

/// The places.
pub(super) struct Places(Mutex<Taken>);

struct Taken {
    of_peer: HashMap<PeerId, usize>,
    all: usize,
    spent: LruCache<PeerId, Spent>,
}

impl Default for Places {
    fn default() -> Self {
        let (of_peer, spent) = (HashMap::new(), cache(MAX_PEERS));
        Self(Mutex::new(Taken { of_peer, all: 0, spent }))
    }
}

/// One of them, until it is dropped.
pub(super) struct Place<'a> {
    places: &'a Places,
    peer: PeerId,
}

impl Places {
    /// A place for a peer's question, if there is one.
    pub(super) fn take(&self, peer: PeerId, now: Duration) -> Option<Place<'_>> {
        let mut taken = self.taken();
        let of_peer = taken.of_peer.get(&peer).copied().unwrap_or(0);
        if taken.all >= AT_ONCE || of_peer >= OF_PEER {
            return None;
        }
        if !taken.spent.get_or_insert_mut(peer, Spent::default).one(PACE, now) {
            return None;
        }
        taken.all += 1;
        taken.of_peer.insert(peer, of_peer + 1);
        Some(Place { places: self, peer })
    }

    /// What the lock guards is whole at every moment at which a panic could strike.
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// Has the peer pay for more: it asks nothing until that has come back.
    pub(super) fn pay(&self, signatures: usize) {
        let mut taken = self.places.taken();
        taken.spent.get_or_insert_mut(self.peer, Spent::default).spend(signatures as f64);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        if let Some(of_peer) = taken.of_peer.get_mut(&self.peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                taken.of_peer.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_has_few_places_and_asks_so_often_and_many_have_no_more_than_there_are() {
        let (places, peer) = (Places::default(), PeerId::random());
        let at = Duration::from_secs;
        let held: Vec<_> = (0..5).filter_map(|_| places.take(peer, at(0))).collect();
        assert_eq!(held.len(), OF_PEER);
        drop(held);
        let asked = (0..10_000).filter(|_| places.take(peer, at(0)).is_some()).count();
        assert_eq!(asked, PACE.most as usize - OF_PEER);
        let asked = (0..10_000).filter(|_| places.take(peer, at(2)).is_some()).count();
        assert_eq!(asked, 2 * PACE.a_second as usize);
        if let Some(place) = places.take(peer, at(3)) {
            place.pay(1000);
        }
        assert!(places.take(peer, at(15)).is_none() && places.take(peer, at(60)).is_some());
        let all: Vec<_> = (0..100).filter_map(|_| places.take(PeerId::random(), at(2))).collect();
        assert_eq!(all.len(), AT_ONCE);
        drop(all);
        let taken = places.taken();
        assert_eq!((taken.all, taken.of_peer.len()), (0, 0));
    }
}
