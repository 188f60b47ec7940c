//! The public keys of sources, decoded.
//!
//! An Ed25519 key is a point of a curve, of which the wire has one coordinate:
//! finding the other one takes an eighth of the time of checking a signature.

use super::signed::inline_key;
use crate::{cache::cache, process::PerProcess};
use libp2p::{PeerId, identity::PublicKey, multihash::Multihash};
use lru::LruCache;
use std::{
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Parts of what is kept, so that threads seldom wait for each other.
const SHARDS: usize = 16;
/// Keys that are kept in each: a few hundred bytes each.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(256).expect("not 0");

/// The keys of the sources that were last verified, as far as their ids hold
/// them. A key that comes beside the id is decoded each time, so that what is
/// kept never decides whether a message is good.
pub struct Keys([Mutex<Shard>; SHARDS]);

type Shard = LruCache<PeerId, PublicKey>;

impl Default for Keys {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::new(cache(CAPACITY))))
    }
}

impl Keys {
    /// Those of all nodes of this process.
    pub fn shared() -> &'static Self {
        static SHARED: PerProcess<Keys> = PerProcess::new();
        SHARED.get()
    }

    /// The key in a peer's id, if there is one.
    pub(crate) fn of(&self, peer: &PeerId) -> Option<PublicKey> {
        if let Some(key) = self.shard(peer).get(peer) {
            return Some(key.clone());
        }
        inline_key(peer)
    }

    /// Keeps the key in a peer's id, which has signed something.
    pub(crate) fn keep(&self, peer: PeerId, key: PublicKey) {
        self.shard(&peer).put(peer, key);
    }

    /// The part in which a peer's key is kept: the last byte of an id is as good
    /// as random.
    fn shard(&self, peer: &PeerId) -> MutexGuard<'_, Shard> {
        let id: &Multihash<64> = peer.as_ref();
        let last = id.digest().last().copied().unwrap_or(0);
        let shard = &self.0[usize::from(last) % SHARDS];
        // A panic under the lock could cost some of what is kept at most.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::identity::Keypair;

    #[test]
    fn the_keys_that_were_last_used_are_kept() {
        let keys = Keys::default();
        let new = || Keypair::generate_ed25519().public();
        let mine = new();
        let peer = mine.to_peer_id();
        let others = (0..).map(|_| new()).map(|key| (key.to_peer_id(), key));
        // Those that would take its place.
        let beside = others.filter(|(other, _)| {
            other.to_bytes().last().map(|b| b % 16) == peer.to_bytes().last().map(|b| b % 16)
        });
        keys.keep(peer, mine.clone());
        let others: Vec<_> = beside.take(CAPACITY.get()).collect();
        for (other, key) in &others {
            assert_eq!(keys.of(other).as_ref(), Some(key));
            keys.keep(*other, key.clone());
            assert_eq!(keys.of(&peer).as_ref(), Some(&mine));
        }
        let kept = keys.shard(&peer);
        assert_eq!(kept.len(), CAPACITY.get());
        assert!(kept.contains(&peer) && !kept.contains(&others[0].0));
    }
}
