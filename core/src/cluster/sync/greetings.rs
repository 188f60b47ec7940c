//! With whom to exchange soon: each once, at its time. Pure.

use libp2p::PeerId;
use std::collections::{BTreeSet, HashMap};
use tokio::time::Instant;

/// How many wait at most; a node has fewer connections.
const MAX: usize = 1024;

/// The peers that wait.
#[derive(Default)]
pub(super) struct Greetings {
    due: BTreeSet<(Instant, PeerId)>,
    /// When each is due, and since when it waits.
    peers: HashMap<PeerId, (Instant, Instant)>,
}

impl Greetings {
    /// Has a peer wait, unless it does, or too many do.
    pub(super) fn put(&mut self, peer: PeerId, due: Instant, now: Instant) {
        if self.peers.len() < MAX && !self.peers.contains_key(&peer) {
            self.due.insert((due, peer));
            self.peers.insert(peer, (due, now));
        }
    }

    /// Has a peer wait no more.
    pub(super) fn remove(&mut self, peer: &PeerId) -> Option<Instant> {
        let (due, since) = self.peers.remove(peer)?;
        self.due.remove(&(due, *peer));
        Some(since)
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// A peer that is due, and since when it waited.
    pub(super) fn take(&mut self, now: Instant) -> Option<(PeerId, Instant)> {
        let (_, peer) = *self.due.first().filter(|(due, _)| *due <= now)?;
        Some((peer, self.remove(&peer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_waits_once_and_not_too_many_do() {
        let (mut greetings, now) = (Greetings::default(), Instant::now());
        let later = now + Duration::from_secs(2);
        let (one, other) = (PeerId::random(), PeerId::random());
        greetings.put(one, later, now);
        greetings.put(one, now, now);
        greetings.put(other, now, now);
        assert_eq!(greetings.next(), Some(now));
        assert_eq!(greetings.take(now), Some((other, now)));
        assert_eq!(greetings.take(now), None);
        assert_eq!(greetings.take(later), Some((one, now)));
        (0..2 * MAX).for_each(|_| greetings.put(PeerId::random(), now, now));
        assert_eq!((greetings.peers.len(), greetings.due.len()), (MAX, MAX));
        while let Some((peer, _)) = greetings.take(now) {
            assert_eq!(greetings.remove(&peer), None);
        }
        assert!(greetings.peers.is_empty() && greetings.next().is_none());
    }
}
