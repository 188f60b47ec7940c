//! The highest sequence numbers of peers that have left, so that replays of
//! what they once said cannot bring them back.

use libp2p::PeerId;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// Remembers a bounded number of peers for a bounded time. Those that were
/// known for long are the last to be forgotten early.
#[derive(Debug)]
pub(super) struct Remembered {
    limit: usize,
    next_turn: u64,
    peers: HashMap<PeerId, Departed>,
    /// In the order of leaving: strangers, and those that were known for long.
    turns: [BTreeMap<u64, PeerId>; 2],
}

/// What is remembered of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Departed {
    /// Its highest sequence number.
    pub(super) seq: u64,
    /// Whether it was known for long.
    pub(super) established: bool,
    until: Duration,
    turn: u64,
}

impl Remembered {
    /// How long a number is remembered: a clock that was set back must not shut
    /// a node out for ever.
    pub(super) const TIME: Duration = Duration::from_secs(24 * 60 * 60);

    pub(super) fn new(limit: usize) -> Self {
        Self { limit, next_turn: 0, peers: HashMap::new(), turns: Default::default() }
    }

    pub(super) fn get(&self, peer: &PeerId, now: Duration) -> Option<Departed> {
        self.peers.get(peer).copied().filter(|departed| departed.until > now)
    }

    pub(super) fn put(&mut self, peer: PeerId, seq: u64, established: bool, now: Duration) {
        self.forget(&peer);
        self.forget_expired(now);
        while self.peers.len() >= self.limit {
            let [strangers, known] = &self.turns;
            let known = known.values().next().filter(|_| established);
            match strangers.values().next().or(known).copied() {
                Some(oldest) => self.forget(&oldest),
                // A stranger doesn't displace one that was known for long.
                None => return,
            }
        }
        let turn = self.next_turn;
        self.next_turn += 1;
        let until = now.saturating_add(Self::TIME);
        self.peers.insert(peer, Departed { seq, established, until, turn });
        self.turns[usize::from(established)].insert(turn, peer);
    }

    pub(super) fn forget(&mut self, peer: &PeerId) {
        if let Some(departed) = self.peers.remove(peer) {
            self.turns[usize::from(departed.established)].remove(&departed.turn);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    fn forget_expired(&mut self, now: Duration) {
        for class in 0..self.turns.len() {
            while let Some(oldest) = self.turns[class].values().next().copied()
                && self.get(&oldest, now).is_none()
            {
                self.forget(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_forgotten_first_and_never_displace_the_known() {
        let peers: Vec<_> = (0..4).map(|_| PeerId::random()).collect();
        let mut remembered = Remembered::new(2);
        let has = |r: &Remembered, i: usize| r.get(&peers[i], Duration::ZERO).is_some();
        remembered.put(peers[0], 1, true, Duration::ZERO);
        remembered.put(peers[1], 1, false, Duration::ZERO);
        remembered.put(peers[2], 1, true, Duration::ZERO);
        assert!(has(&remembered, 0) && !has(&remembered, 1) && has(&remembered, 2));
        remembered.put(peers[3], 1, false, Duration::ZERO);
        assert!(!has(&remembered, 3) && remembered.len() == 2);
        remembered.put(peers[3], 1, true, Duration::ZERO);
        assert!(!has(&remembered, 0) && has(&remembered, 3));
    }

    #[test]
    fn a_day_later_all_is_forgotten() {
        let (a, b) = (PeerId::random(), PeerId::random());
        let mut remembered = Remembered::new(10);
        remembered.put(a, 1, true, Duration::ZERO);
        assert!(remembered.get(&a, Remembered::TIME - Duration::from_secs(1)).is_some());
        assert_eq!(remembered.get(&a, Remembered::TIME), None);
        remembered.put(b, 1, false, Remembered::TIME);
        assert_eq!(remembered.len(), 1);
    }
}
