//! The bytes of requests and answers that a node holds for others.

use libp2p::PeerId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What all peers together may have a node hold, and what one may.
const ALL: usize = 64 << 20;
const OF_PEER: usize = 16 << 20;

/// Bytes that are held, by peer. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    all: usize,
    peers: HashMap<PeerId, usize>,
}

impl Budget {
    /// Holds a request, if there is room for it.
    pub(super) fn hold(&self, peer: PeerId, bytes: usize) -> Option<Share> {
        let mut held = self.lock();
        let of_peer = held.peers.get(&peer).copied().unwrap_or(0);
        if held.all + bytes > ALL || of_peer + bytes > OF_PEER {
            return None;
        }
        held.add(peer, bytes);
        drop(held);
        Some(Share { budget: self.clone(), peer, bytes })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn add(&mut self, peer: PeerId, bytes: usize) {
        self.all += bytes;
        *self.peers.entry(peer).or_default() += bytes;
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
    /// Holds the answer instead of the request. It is there, so that there is
    /// always room for it; but then none for further requests, perhaps.
    pub(super) fn set(&mut self, bytes: usize) {
        let mut held = self.budget.lock();
        held.sub(self.peer, self.bytes);
        held.add(self.peer, bytes);
        self.bytes = bytes;
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

    #[test]
    fn one_peer_takes_no_more_than_its_part_and_all_no_more_than_there_is() {
        let (budget, peer) = (Budget::default(), PeerId::random());
        let mut one = budget.hold(peer, 8 << 20).unwrap();
        let two = budget.hold(peer, 8 << 20).unwrap();
        assert!(budget.hold(peer, 1).is_none());
        one.set(0);
        assert!(budget.hold(peer, 8 << 20).is_some());
        one.set(20 << 20);
        assert!(budget.hold(peer, 0).is_none(), "an answer has its room all the same");
        let others: Vec<_> = (0..4).map_while(|_| budget.hold(PeerId::random(), OF_PEER)).collect();
        assert_eq!(others.len(), 2);
        drop((one, two, others));
        let held = budget.lock();
        assert!(held.all == 0 && held.peers.is_empty());
    }
}
