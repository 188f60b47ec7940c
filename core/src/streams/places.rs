//! How many streams a program may have.

use crate::{
    PeerId,
    metrics::{ByLabel, Metrics},
    prefix::Prefix,
};
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Who opened a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Side {
    /// This node did.
    Opened,
    /// The peer did.
    Accepted,
}

/// The places for streams. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Places {
    taken: Arc<Mutex<Taken>>,
    refused: ByLabel,
}

#[derive(Debug, Default)]
struct Taken {
    of_peer: HashMap<(PeerId, Side), usize>,
    /// Of those that peers opened.
    of_network: HashMap<Prefix, usize>,
    accepted: usize,
}

/// A place, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    peer: PeerId,
    network: Option<Prefix>,
    side: Side,
}

impl Places {
    /// Streams with one peer, opened by either side.
    pub(super) const OF_PEER: usize = 64;
    /// Streams that peers opened: each may hold 256 KiB that nobody reads.
    const ACCEPTED: usize = 2048;
    /// Those of one network when half of them are taken.
    const OF_NETWORK: usize = Self::ACCEPTED / 8;

    pub(super) fn new(metrics: &Metrics) -> Self {
        let refused = ByLabel::default();
        metrics.register(
            "byte_streams_refused",
            "Streams of the program that peers opened and that were reset, by reason",
            refused.clone(),
        );
        Self { taken: Arc::default(), refused }
    }

    /// Takes a place, if there is one.
    pub(super) fn take(&self, peer: PeerId, network: Option<Prefix>, side: Side) -> Option<Place> {
        let mut taken = self.lock();
        let of_peer = taken.of_peer.get(&(peer, side)).copied().unwrap_or(0);
        let of_network = network.and_then(|network| taken.of_network.get(&network)).copied();
        let crowded = taken.accepted >= Self::ACCEPTED / 2;
        let reason = match side {
            _ if of_peer >= Self::OF_PEER => "peer",
            Side::Accepted if taken.accepted >= Self::ACCEPTED => "all",
            Side::Accepted if crowded && of_network >= Some(Self::OF_NETWORK) => "network",
            _ => {
                taken.of_peer.insert((peer, side), of_peer + 1);
                if side == Side::Accepted {
                    taken.accepted += 1;
                    if let Some(network) = network {
                        *taken.of_network.entry(network).or_default() += 1;
                    }
                }
                return Some(Place { places: self.clone(), peer, network, side });
            }
        };
        drop(taken);
        if side == Side::Accepted {
            tracing::debug!(%peer, reason, "too many streams: this one is reset");
            self.refused.get_or_create(&[("reason", reason)]).inc();
        }
        None
    }

    /// Counts what was refused, by reason.
    #[cfg(test)]
    pub(super) fn refused(&self) -> &ByLabel {
        &self.refused
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        less(&mut taken.of_peer, (self.peer, self.side));
        if self.side == Side::Accepted {
            taken.accepted = taken.accepted.saturating_sub(1);
            if let Some(network) = self.network {
                less(&mut taken.of_network, network);
            }
        }
    }
}

/// One less; none are not kept.
fn less<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(n: u8) -> Option<Prefix> {
        Some(Prefix::of(&format!("/ip4/8.8.{n}.8/tcp/1").parse().unwrap()))
    }

    #[test]
    fn a_peer_has_so_many_in_each_direction() {
        let places = Places::new(&Metrics::default());
        let (peer, other) = (PeerId::random(), PeerId::random());
        let take = |side| places.take(peer, network(1), side);
        for side in [Side::Opened, Side::Accepted] {
            let mut taken: Vec<Place> = (0..64).map(|_| take(side).unwrap()).collect();
            assert!(take(side).is_none());
            assert!(places.take(other, network(1), side).is_some());
            taken.pop();
            assert!(take(side).is_some());
        }
        assert_eq!(places.refused.get_or_create(&[("reason", "peer")]).get(), 1);
        let taken = places.lock();
        assert!(taken.of_peer.is_empty() && taken.of_network.is_empty() && taken.accepted == 0);
    }

    #[test]
    fn many_peers_of_one_network_leave_places_for_others() {
        let places = Places::new(&Metrics::default());
        let all: Vec<Place> = (0..4000)
            .filter_map(|_| places.take(PeerId::random(), network(1), Side::Accepted))
            .collect();
        assert_eq!(all.len(), Places::ACCEPTED / 2);
        let mut others: Vec<Place> = (0..4000)
            .filter_map(|_| places.take(PeerId::random(), network(2), Side::Accepted))
            .collect();
        assert_eq!(others.len(), Places::OF_NETWORK);
        // What this node opens is its own business.
        assert!(places.take(PeerId::random(), network(1), Side::Opened).is_some());
        for n in 3..30 {
            let more =
                (0..64).filter_map(|_| places.take(PeerId::random(), network(n), Side::Accepted));
            others.extend(more);
        }
        assert_eq!(all.len() + others.len(), Places::ACCEPTED);
    }
}
