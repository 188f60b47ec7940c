//! The peers that discovery has found, so that each is told of once. Pure.

use crate::{Multiaddr, PeerId, PeerInfo, cache::cache};
use lru::LruCache;
use std::{collections::BTreeMap, num::NonZeroUsize};

/// Peers that are remembered, each with the source that led to it.
const MOST: NonZeroUsize = NonZeroUsize::new(4096).expect("not 0");
/// Addresses that are remembered of one; more than an answer can hold.
const ADDRS: usize = 256;

/// What was told.
pub(super) struct Told(LruCache<(String, PeerId), Addrs>);

#[derive(Default)]
struct Addrs {
    last: Vec<Multiaddr>,
    /// All that were told: who is asked over one network and over another
    /// answers with other addresses of the same, in turn.
    ever: Vec<Multiaddr>,
}

impl Told {
    pub(super) fn new() -> Self {
        Self(cache(MOST))
    }

    /// Notes that a source led to a peer. Whether that is to be told: the peer
    /// is new, or one of its addresses is.
    pub(super) fn is_new(&mut self, source: &str, peer: &PeerInfo) -> bool {
        let key = (source.to_owned(), peer.id);
        let known = self.0.contains(&key);
        let told = self.0.get_or_insert_mut(key, Addrs::default);
        told.last.clone_from(&peer.addrs);
        let mut new = peer.addrs.clone();
        new.retain(|addr| !told.ever.contains(addr));
        if new.is_empty() {
            return !known;
        }
        if told.ever.len() + new.len() > ADDRS {
            told.ever.clone_from(&peer.addrs);
        } else {
            told.ever.extend(new);
        }
        true
    }

    /// Of each source the peers that it led to lately, the last one first, and
    /// not many.
    pub(super) fn last(&self) -> BTreeMap<String, Vec<PeerInfo>> {
        const EACH: usize = 4;
        let mut found: BTreeMap<String, Vec<PeerInfo>> = BTreeMap::new();
        for ((source, id), addrs) in self.0.iter() {
            let peers = found.entry(source.clone()).or_default();
            if peers.len() < EACH {
                peers.push(PeerInfo { id: *id, addrs: addrs.last.clone() });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: PeerId, ports: &[usize]) -> PeerInfo {
        let addr = |port| format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap();
        PeerInfo { id, addrs: ports.iter().map(addr).collect() }
    }

    #[test]
    fn a_peer_is_told_once_of_each_source_and_again_with_an_address_that_was_not() {
        let (mut told, id) = (Told::new(), PeerId::random());
        for (source, ports, new) in [
            ("a", &[1, 2][..], true),
            ("a", &[1, 2], false),
            // In another order, or some of them, as another network sees them.
            ("a", &[2, 1], false),
            ("a", &[2], false),
            ("a", &[3, 1], true),
            ("a", &[1, 2], false),
            ("b", &[1, 2], true),
            ("c", &[], true),
            ("c", &[], false),
        ] {
            assert_eq!(told.is_new(source, &peer(id, ports)), new, "{source} {ports:?}");
        }
        assert!(told.is_new("a", &peer(PeerId::random(), &[1])));
        assert_eq!(told.last()["a"][1], peer(id, &[1, 2]), "as it was last");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut told, id) = (Told::new(), PeerId::random());
        for port in 0..3 * ADDRS {
            assert!(told.is_new("a", &peer(id, &[port])));
        }
        assert!(told.0.iter().all(|(_, addrs)| addrs.ever.len() <= ADDRS));
        for _ in 0..MOST.get() + 1 {
            told.is_new("a", &peer(PeerId::random(), &[1]));
        }
        assert_eq!(told.0.len(), MOST.get());
    }
}
