//! The public keys of sources, decoded.
//!
//! An Ed25519 key is a point of a curve, of which the wire has one coordinate:
//! finding the other one takes an eighth of the time of checking a signature.

use super::signed::inline_key;
use libp2p::{PeerId, identity::PublicKey};
use lru::LruCache;
use std::sync::{Mutex, PoisonError};

/// Keys that are kept: a few hundred bytes each.
const CAPACITY: usize = 1024;

/// The keys of the sources that were last verified, as far as their ids hold
/// them. A key that comes beside the id is decoded each time, so that what is
/// kept never decides whether a message is good.
pub(crate) struct Keys(Mutex<LruCache<PeerId, PublicKey>>);

impl Default for Keys {
    fn default() -> Self {
        // With a bound, the memory for all of them would be taken at once.
        Self(Mutex::new(LruCache::unbounded()))
    }
}

impl Keys {
    /// The key in a peer's id, if there is one.
    pub(crate) fn of(&self, peer: &PeerId) -> Option<PublicKey> {
        if let Some(key) = self.kept().get(peer) {
            return Some(key.clone());
        }
        inline_key(peer)
    }

    /// Keeps the key in a peer's id, which has signed something.
    pub(crate) fn keep(&self, peer: PeerId, key: PublicKey) {
        let mut kept = self.kept();
        kept.put(peer, key);
        if kept.len() > CAPACITY {
            kept.pop_lru();
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, LruCache<PeerId, PublicKey>> {
        // A panic under the lock could cost some of what is kept at most.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::identity::Keypair;

    #[test]
    fn the_keys_that_were_last_used_are_kept() {
        let keys = Keys::default();
        let peers: Vec<_> = (0..=CAPACITY)
            .map(|_| Keypair::generate_ed25519().public())
            .map(|key| (key.to_peer_id(), key))
            .collect();
        for (peer, key) in &peers {
            assert_eq!(keys.of(peer).as_ref(), Some(key));
            keys.keep(*peer, key.clone());
            keys.of(&peers[0].0);
        }
        let kept = keys.kept();
        assert_eq!(kept.len(), CAPACITY);
        assert!(kept.contains(&peers[0].0) && !kept.contains(&peers[1].0));
    }
}
