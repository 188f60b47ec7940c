//! How often, and how much, a source may say: what is more is not passed on.
//! Pure: the time is an argument.

use crate::{
    cache::cache,
    cluster::heartbeat::Heartbeat,
    spent::{Limit, Spent},
};
use libp2p::PeerId;
use lru::LruCache;
use std::{
    collections::hash_map::RandomState, hash::BuildHasher, num::NonZeroUsize, time::Duration,
};

/// Heartbeats that a source may send at once.
const BURST: f64 = 8.0;
/// Of these, what this node sends at once itself: on their way they may come
/// closer together.
const OWN_BURST: f64 = 6.0;
/// Heartbeats that a source may send in a TTL, and at least in a second.
const IN_TTL: f64 = 5.0;
const IN_SECOND: f64 = 1.0;

const MIB: f64 = (1 << 20) as f64;
/// Bytes of heartbeats that are not ours (Go's grow with every one): of a source,
/// of the peer that they come from, and of all.
const OF_SOURCE: Limit = Limit { most: 2.0 * MIB, a_second: (160 << 10) as f64 };
const OF_PEER: Limit = Limit { most: 4.0 * MIB, a_second: MIB };
const OF_ALL: Limit = Limit { most: 8.0 * MIB, a_second: 4.0 * MIB };
/// Of all, what those may spend that are larger than ours get: a few peers with
/// large ones, each with what a peer may bring, must leave something for small ones.
const OF_LARGE: Limit = Limit { most: 6.0 * MIB, a_second: 3.0 * MIB };

/// Sources, and peers that bring something, that are remembered: those that were
/// heard of longest ago are forgotten.
const MAX_SOURCES: NonZeroUsize = NonZeroUsize::new(65_536).expect("not 0");
const MAX_PEERS: NonZeroUsize = NonZeroUsize::new(4096).expect("not 0");

/// Which limit a heartbeat is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Too many of its source.
    Rate,
    /// Too many bytes of its source.
    SourceBytes,
    /// Too many bytes by way of the peer that brought it.
    PeerBytes,
    /// Too many bytes in all.
    Bytes,
}

impl Over {
    /// Its name as a metrics label.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Rate => "over-rate",
            Self::SourceBytes => "over-source-bytes",
            Self::PeerBytes => "over-peer-bytes",
            Self::Bytes => "over-bytes",
        }
    }
}

#[derive(Default)]
struct Source {
    heartbeats: Spent,
    bytes: Spent,
}

/// What was spent by whom.
pub(super) struct Rates {
    /// By keyed hashes of their ids, which take a third of the memory.
    sources: LruCache<u64, Source>,
    peers: LruCache<u64, Spent>,
    all: Spent,
    large: Spent,
    own: Spent,
    hasher: RandomState,
}

impl Default for Rates {
    fn default() -> Self {
        let (sources, peers) = (cache(MAX_SOURCES), cache(MAX_PEERS));
        let [all, large, own] = [Spent::default(); 3];
        Self { sources, peers, all, large, own, hasher: RandomState::new() }
    }
}

impl Rates {
    /// A source sends a heartbeat; its last one had this TTL, if it is known.
    ///
    /// # Errors
    /// The limit that it is over.
    pub(super) fn heartbeat(
        &mut self,
        source: &PeerId,
        ttl: Option<Duration>,
        now: Duration,
    ) -> Result<(), Over> {
        let may = self.source(source).heartbeats.one(beats(BURST, ttl), now);
        may.then_some(()).ok_or(Over::Rate)
    }

    /// Whether a source may send a heartbeat, without that it does.
    ///
    /// # Errors
    /// The limit that it is over.
    pub(super) fn may_send(
        &mut self,
        source: &PeerId,
        ttl: Option<Duration>,
        now: Duration,
    ) -> Result<(), Over> {
        let left = self.source(source).heartbeats.left(beats(BURST, ttl), now);
        (left >= 1.0).then_some(()).ok_or(Over::Rate)
    }

    /// A source sends so many bytes, by way of a peer. If one of them has not
    /// enough left, none of them pays.
    ///
    /// # Errors
    /// The limit that it is over.
    pub(super) fn bytes(
        &mut self,
        source: &PeerId,
        from: &PeerId,
        len: usize,
        now: Duration,
    ) -> Result<(), Over> {
        let from = self.hasher.hash_one(from);
        let is_large = len > Heartbeat::MAX_OURS;
        let len = len as f64;
        if self.source(source).bytes.left(OF_SOURCE, now) < len {
            return Err(Over::SourceBytes);
        }
        if self.peers.get_or_insert_mut(from, Spent::default).left(OF_PEER, now) < len {
            return Err(Over::PeerBytes);
        }
        let of_large = self.large.left(OF_LARGE, now);
        if self.all.left(OF_ALL, now) < len || (is_large && of_large < len) {
            return Err(Over::Bytes);
        }
        self.source(source).bytes.spend(len);
        self.peers.get_or_insert_mut(from, Spent::default).spend(len);
        self.all.spend(len);
        if is_large {
            self.large.spend(len);
        }
        Ok(())
    }

    /// This node sends a heartbeat now, if others take it.
    ///
    /// # Errors
    /// When they will.
    pub(super) fn own(&mut self, ttl: Duration, now: Duration) -> Result<(), Duration> {
        let limit = beats(OWN_BURST, Some(ttl));
        let may = self.own.one(limit, now);
        // Not a moment too soon, for want of a fraction.
        may.then_some(()).ok_or_else(|| self.own.next(limit, now) + Duration::from_millis(1))
    }

    fn source(&mut self, source: &PeerId) -> &mut Source {
        self.sources.get_or_insert_mut(self.hasher.hash_one(source), Source::default)
    }
}

/// How many heartbeats a node with this TTL may send.
fn beats(most: f64, ttl: Option<Duration>) -> Limit {
    let ttl = ttl.map_or(Heartbeat::MAX_TTL, |ttl| ttl.max(Heartbeat::MIN_TTL));
    Limit { most, a_second: (IN_TTL / ttl.as_secs_f64()).max(IN_SECOND) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    #[test]
    fn a_source_has_a_burst_and_then_what_its_ttl_gives() {
        for (ttl, a_second) in [(1, 5), (2, 2), (5, 1), (10, 1), (86_400, 1)] {
            let (mut rates, source) = (Rates::default(), PeerId::random());
            let ttl = Some(Duration::from_secs(ttl));
            let mut taken = |seconds: u64| {
                let now = SEC * u32::try_from(seconds).unwrap();
                (0..100).filter(|_| rates.heartbeat(&source, ttl, now).is_ok()).count()
            };
            assert_eq!((taken(0), taken(1)), (8, a_second), "{ttl:?}");
            assert_eq!(taken(1000), 8);
        }
    }

    #[test]
    fn a_flood_of_one_source_costs_another_nothing() {
        let (mut rates, flood, honest) = (Rates::default(), PeerId::random(), PeerId::random());
        let (mut flooded, mut refused) = (0, 0);
        for ms in 0..20_000 {
            let now = Duration::from_millis(ms);
            flooded += usize::from(rates.heartbeat(&flood, None, now).is_ok());
            // Three in a TTL of ten seconds.
            if ms % 3300 == 0 {
                refused += usize::from(rates.heartbeat(&honest, Some(SEC * 10), now).is_err());
            }
        }
        assert_eq!((flooded, refused), (8 + 19, 0));
    }

    #[test]
    fn the_own_pace_is_within_what_others_take() {
        for ttl in [1, 2, 10] {
            let (mut rates, ttl) = (Rates::default(), SEC * ttl);
            let (mut now, mut sent) = (Duration::ZERO, 0);
            while now < SEC * 60 {
                match rates.own(ttl, now) {
                    Ok(()) => {
                        sent += 1;
                        // Late by chance, and the next one is not.
                        let late = Duration::from_millis(400 * (sent % 2));
                        let source = PeerId::from_bytes(&[0, 0]).unwrap();
                        assert_eq!(rates.heartbeat(&source, Some(ttl), now + late), Ok(()));
                    }
                    Err(next) => now = next,
                }
            }
            let most = 60.0 * (5.0 / ttl.as_secs_f64()).max(1.0);
            assert!(sent as f64 > most && sent as f64 <= most + 7.0, "{sent} at {ttl:?}");
        }
    }

    #[test]
    fn bytes_are_counted_by_source_by_peer_and_in_all() {
        let mut rates = Rates::default();
        let (one, by) = (PeerId::random(), PeerId::random());
        let large = 1 << 20;
        let now = Duration::ZERO;
        assert_eq!(rates.bytes(&one, &by, large, now), Ok(()));
        assert_eq!(rates.bytes(&one, &by, large, now), Ok(()));
        assert_eq!(rates.bytes(&one, &PeerId::random(), 1, now), Err(Over::SourceBytes));
        let mut other = |by: &PeerId, now| rates.bytes(&PeerId::random(), by, large, now);
        assert_eq!((other(&by, now), other(&by, now)), (Ok(()), Ok(())));
        assert_eq!(other(&by, now), Err(Over::PeerBytes));
        assert_eq!(other(&by, SEC), Ok(()));
        assert_eq!(other(&by, SEC), Err(Over::PeerBytes));
        let all = (0..100).filter(|_| other(&PeerId::random(), SEC).is_ok()).count();
        // Of six at once two were left, to which one second gave three, of which one
        // is spent.
        assert_eq!(all, 4);
        assert_eq!(other(&PeerId::random(), SEC), Err(Over::Bytes));
        // Of eight, with small ones.
        let mut small = || {
            let (source, by) = (PeerId::random(), PeerId::random());
            rates.bytes(&source, &by, Heartbeat::MAX_OURS, SEC)
        };
        assert_eq!((0..1000).filter(|_| small().is_ok()).count(), 3 << 6);
        assert_eq!(small(), Err(Over::Bytes));
        assert_eq!(rates.bytes(&one, &by, 160 << 10, SEC * 2), Ok(()));
    }

    #[test]
    fn large_ones_leave_room_for_small_ones() {
        let mut rates = Rates::default();
        let [go, flooders @ ..] = [0; 5].map(|_| PeerId::random());
        let mut flooded = 0;
        for ms in (0..20_000).step_by(10) {
            let now = Duration::from_millis(ms);
            // Each its share and more, of sources that nobody has heard of.
            for by in &flooders {
                let large = Heartbeat::MAX_OURS + 1;
                flooded += usize::from(rates.bytes(&PeerId::random(), by, large, now).is_ok());
            }
            if ms % 1000 == 0 {
                assert_eq!(rates.bytes(&go, &go, Heartbeat::MAX_OURS, now), Ok(()), "{now:?}");
            }
        }
        let most = OF_LARGE.most + 20.0 * OF_LARGE.a_second;
        assert!(flooded as f64 > 0.9 * most / Heartbeat::MAX_OURS as f64, "{flooded}");
    }

    #[test]
    fn those_who_are_remembered_are_bounded() {
        let mut rates = Rates::default();
        for n in 0..MAX_SOURCES.get() as u64 + 100 {
            let id = [&[0, 8], &n.to_be_bytes()[..]].concat();
            let peer = PeerId::from_bytes(&id).unwrap();
            assert_eq!(rates.heartbeat(&peer, None, SEC), Ok(()));
            assert_eq!(rates.bytes(&peer, &peer, 0, SEC), Ok(()));
        }
        assert_eq!((rates.sources.len(), rates.peers.len()), (MAX_SOURCES.get(), MAX_PEERS.get()));
    }
}
