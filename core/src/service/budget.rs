//! The bytes of requests and answers that a node holds for others.

use libp2p::PeerId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What all peers together may have a node hold, and what one may.
const ALL: usize = 64 << 20;
const OF_PEER: usize = 16 << 20;
/// So much is for whoever comes. Of the rest each peer has an equal share, at least
/// as if there were so many of them: so a few who hold much shut nobody out.
const FREE: usize = ALL / 2;
const FEW: usize = 8;

/// Bytes that are held, by peer. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    /// This node itself, which holds what it likes.
    own: PeerId,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    peers: HashMap<PeerId, usize>,
}

impl Budget {
    pub(super) fn new(own: PeerId) -> Self {
        Self { own, held: Arc::default() }
    }

    /// Holds a request, if there is room for it.
    pub(super) fn hold(&self, peer: PeerId, bytes: usize) -> Option<Share> {
        let counted = if peer == self.own { 0 } else { bytes };
        let mut held = self.lock();
        let of_peer = held.of(&peer) + counted;
        if of_peer > OF_PEER || held.all + counted > FREE && of_peer > held.share(&peer) {
            return None;
        }
        held.add(peer, counted);
        drop(held);
        Some(Share { budget: self.clone(), peer, bytes: counted })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn of(&self, peer: &PeerId) -> usize {
        self.peers.get(peer).copied().unwrap_or(0)
    }

    /// What a peer may hold when much is held.
    fn share(&self, peer: &PeerId) -> usize {
        let peers = self.peers.len() + usize::from(!self.peers.contains_key(peer));
        (ALL - FREE) / peers.max(FEW)
    }

    fn add(&mut self, peer: PeerId, bytes: usize) {
        if bytes > 0 {
            self.all += bytes;
            *self.peers.entry(peer).or_default() += bytes;
        }
    }

    fn sub(&mut self, peer: PeerId, bytes: usize) {
        self.all = self.all.saturating_sub(bytes);
        if let Some(of_peer) = self.peers.get_mut(&peer) {
            *of_peer = of_peer.saturating_sub(bytes);
            if *of_peer == 0 {
                self.peers.remove(&peer);
            }
        }
    }
}

/// Bytes that are held until this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Budget,
    peer: PeerId,
    bytes: usize,
}

impl Share {
    /// Holds the answer instead of the request. It is there already, so that it is
    /// held though its peer has much, as long as all have not too much: then it must
    /// be let go, and this is false.
    #[must_use = "what is not held must be let go"]
    pub(super) fn set(&mut self, bytes: usize) -> bool {
        let bytes = if self.peer == self.budget.own { 0 } else { bytes };
        let mut held = self.budget.lock();
        held.sub(self.peer, self.bytes);
        let of_peer = held.of(&self.peer) + bytes;
        let holds = held.all + bytes <= ALL || of_peer <= held.share(&self.peer);
        self.bytes = if holds { bytes } else { 0 };
        held.add(self.peer, self.bytes);
        holds
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.lock().sub(self.peer, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn budget() -> (Budget, PeerId, PeerId) {
        let own = PeerId::random();
        (Budget::new(own), own, PeerId::random())
    }

    #[test]
    fn one_peer_takes_no_more_than_its_part_and_few_no_more_than_half_and_their_shares() {
        let (budget, _, peer) = budget();
        let mut one = budget.hold(peer, 8 * MIB).unwrap();
        let two = budget.hold(peer, 8 * MIB).unwrap();
        assert!(budget.hold(peer, 1).is_none());
        assert!(one.set(0));
        assert!(budget.hold(peer, 8 * MIB).is_some());
        assert!(one.set(20 * MIB));
        assert!(budget.hold(peer, 0).is_none(), "an answer has its room all the same");
        let others: Vec<_> =
            (0..40).filter_map(|_| budget.hold(PeerId::random(), OF_PEER)).collect();
        assert_eq!(others.len(), 0, "from half of it on there are shares");
        let others: Vec<_> = (0..8).map_while(|_| budget.hold(PeerId::random(), 4 * MIB)).collect();
        assert_eq!(others.len(), 7);
        drop((one, two, others));
        let held = budget.lock();
        assert!(held.all == 0 && held.peers.is_empty());
    }

    /// They were counted and never checked, and shut all others out.
    #[test]
    fn answers_that_nobody_takes_are_bounded_and_shut_nobody_out() {
        let (budget, own, peer) = budget();
        let mut untaken: Vec<_> = (0..200).map(|_| budget.hold(peer, 0).unwrap()).collect();
        let held = untaken.iter_mut().map(|answer| answer.set(MIB)).filter(|held| *held).count();
        assert_eq!(held, 64);
        assert!(budget.hold(peer, 0).is_none());
        for other in [PeerId::random(), own] {
            let mut request = budget.hold(other, MIB).unwrap();
            assert!(request.set(MIB));
        }
        // This node itself is not counted at all.
        let all: Vec<_> = (0..100).map(|_| budget.hold(own, MIB).unwrap()).collect();
        assert_eq!(budget.lock().all, 64 * MIB);
        drop((untaken, all));
        assert_eq!(budget.lock().all, 0);
    }

    #[test]
    fn with_many_peers_shares_are_smaller_and_there_always_is_one() {
        let (budget, ..) = budget();
        let many: Vec<_> = (0..1000).map(|_| (PeerId::random(), MIB)).collect();
        let held: Vec<_> = many.iter().filter_map(|(peer, n)| budget.hold(*peer, *n)).collect();
        assert_eq!(held.len(), 32, "what is full is half, and shares are below a MiB");
        assert!(budget.hold(PeerId::random(), (ALL - FREE) / 33).is_some());
    }
}
