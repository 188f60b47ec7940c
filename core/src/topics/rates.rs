//! How many messages, and how many bytes, may come on a topic: what is more is
//! neither delivered nor relayed. Pure: the time is an argument.

use crate::spent::{Limit, Spent};
use libp2p::PeerId;
use lru::LruCache;
use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hash},
    time::Duration,
};

/// So much at once, and as much in each second.
const fn a_second(amount: f64) -> Limit {
    Limit { most: amount, a_second: amount }
}

const MIB: f64 = (1 << 20) as f64;
/// Messages and bytes of one source, of the peer that they come from, and of all.
const OF_SOURCE: (Limit, Limit) = (a_second(50_000.0), a_second(32.0 * MIB));
const OF_PEER: (Limit, Limit) = (a_second(100_000.0), a_second(64.0 * MIB));
const OF_ALL: (Limit, Limit) = (a_second(200_000.0), a_second(128.0 * MIB));

/// Sources, and peers that bring something, that are remembered: those that were
/// heard of longest ago are forgotten.
const MAX_SOURCES: usize = 16_384;
const MAX_PEERS: usize = 1024;

/// Which limit a message is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    PeerMessages,
    PeerBytes,
    SourceMessages,
    SourceBytes,
    Messages,
    Bytes,
}

impl Over {
    /// Its name as a metrics label.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::PeerMessages => "over-peer-messages",
            Self::PeerBytes => "over-peer-bytes",
            Self::SourceMessages => "over-source-messages",
            Self::SourceBytes => "over-source-bytes",
            Self::Messages => "over-messages",
            Self::Bytes => "over-bytes",
        }
    }
}

#[derive(Default)]
struct Both {
    messages: Spent,
    bytes: Spent,
}

impl Both {
    /// Pays for a message, if there is enough left; else says what there isn't.
    fn pay(
        &mut self,
        (messages, bytes): (Limit, Limit),
        len: usize,
        now: Duration,
        over: (Over, Over),
    ) -> Result<(), Over> {
        let len = len as f64;
        if self.messages.left(messages, now) < 1.0 {
            return Err(over.0);
        }
        if self.bytes.left(bytes, now) < len {
            return Err(over.1);
        }
        self.messages.spend(1.0);
        self.bytes.spend(len);
        Ok(())
    }
}

/// What was spent on one topic, by whom.
pub(super) struct Rates {
    /// By keyed hashes of their ids, which take a third of the memory.
    sources: LruCache<u64, Both>,
    peers: LruCache<u64, Both>,
    all: Both,
    hasher: RandomState,
}

impl Default for Rates {
    fn default() -> Self {
        // With a bound, the memory for all of them would be taken at once.
        let (sources, peers) = (LruCache::unbounded(), LruCache::unbounded());
        Self { sources, peers, all: Both::default(), hasher: RandomState::new() }
    }
}

impl Rates {
    /// A peer brings a message of so many bytes, whosever it is.
    ///
    /// # Errors
    /// The limit that it is over.
    pub(super) fn brings(&mut self, peer: &PeerId, len: usize, now: Duration) -> Result<(), Over> {
        let peer = of(&mut self.peers, self.hasher.hash_one(peer), MAX_PEERS);
        peer.pay(OF_PEER, len, now, (Over::PeerMessages, Over::PeerBytes))
    }

    /// A source says something new.
    ///
    /// # Errors
    /// The limit that it is over.
    pub(super) fn says(&mut self, source: &PeerId, len: usize, now: Duration) -> Result<(), Over> {
        let source = of(&mut self.sources, self.hasher.hash_one(source), MAX_SOURCES);
        source.pay(OF_SOURCE, len, now, (Over::SourceMessages, Over::SourceBytes))?;
        self.all.pay(OF_ALL, len, now, (Over::Messages, Over::Bytes))
    }
}

fn of<K: Hash + Eq, V: Default>(known: &mut LruCache<K, V>, key: K, most: usize) -> &mut V {
    if known.len() >= most && !known.contains(&key) {
        known.pop_lru();
    }
    known.get_or_insert_mut(key, V::default)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    #[test]
    fn a_flood_of_one_source_costs_another_nothing() {
        let (mut rates, flood, other) = (Rates::default(), PeerId::random(), PeerId::random());
        let mut taken = |now| (0..80_000).filter(|_| rates.says(&flood, 1, now).is_ok()).count();
        assert_eq!((taken(SEC), taken(SEC), taken(2 * SEC)), (50_000, 0, 50_000));
        assert_eq!(rates.says(&flood, 1, 2 * SEC), Err(Over::SourceMessages));
        assert_eq!(rates.says(&other, 1, 2 * SEC), Ok(()));
    }

    #[test]
    fn messages_and_bytes_are_counted_by_source_by_peer_and_in_all() {
        let mut rates = Rates::default();
        let (one, by, large) = (PeerId::random(), PeerId::random(), 1 << 20);
        let mut says = |source: &PeerId, len| rates.says(source, len, SEC);
        assert_eq!((0..100).filter(|_| says(&one, large).is_ok()).count(), 32);
        assert_eq!(says(&one, 1), Err(Over::SourceBytes));
        let all = (0..1000).filter(|_| says(&PeerId::random(), large).is_ok()).count();
        assert_eq!((all, says(&PeerId::random(), 1)), (96, Err(Over::Bytes)));
        let many = (0..300_000).filter(|_| says(&PeerId::random(), 0).is_ok()).count();
        assert_eq!(many, 200_000 - 128);
        assert_eq!(says(&PeerId::random(), 0), Err(Over::Messages));

        let mut brings = |len| rates.brings(&by, len, SEC);
        assert_eq!((0..100).filter(|_| brings(large).is_ok()).count(), 64);
        assert_eq!(brings(1), Err(Over::PeerBytes));
        assert_eq!((0..200_000).filter(|_| brings(0).is_ok()).count(), 100_000 - 64);
        assert_eq!(brings(0), Err(Over::PeerMessages));
        assert_eq!(rates.brings(&PeerId::random(), large, SEC), Ok(()));
    }

    #[test]
    fn those_who_are_remembered_are_bounded() {
        let mut rates = Rates::default();
        for _ in 0..MAX_SOURCES + 100 {
            let peer = PeerId::random();
            assert_eq!((rates.brings(&peer, 0, SEC), rates.says(&peer, 0, SEC)), (Ok(()), Ok(())));
        }
        assert_eq!((rates.sources.len(), rates.peers.len()), (MAX_SOURCES, MAX_PEERS));
    }
}
