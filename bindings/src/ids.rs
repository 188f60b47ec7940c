//! Peer ids as text, which is long in the making: those of whom much comes are kept.

use crate::runtime;
use casm::PeerId;
use lru::LruCache;
use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

/// So many are kept.
const KEPT: NonZeroUsize = NonZeroUsize::new(64).expect("not 0");

/// Those of a process.
pub(crate) struct Ids(Mutex<LruCache<PeerId, Arc<str>>>);

impl Default for Ids {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KEPT)))
    }
}

/// A peer's id, as it is written.
pub fn id_text(peer: &PeerId) -> Arc<str> {
    let mut ids = runtime::process().ids.0.lock().unwrap_or_else(PoisonError::into_inner);
    ids.get_or_insert(*peer, || peer.to_base58().into()).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_what_it_is_also_when_it_was_asked_before() {
        let peers: Vec<_> = (0..2 * KEPT.get()).map(|_| PeerId::random()).collect();
        for peer in peers.iter().chain(&peers).chain(peers.last()) {
            assert_eq!(*id_text(peer), *peer.to_base58());
        }
    }
}
