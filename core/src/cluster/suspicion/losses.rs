//! Whom a node has lost lately, beside its neighbours. Pure: the time is an argument.

use libp2p::PeerId;
use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

/// Whoever lost over half of its neighbours within this time waits until one of the
/// others has answered.
const LATELY: Duration = Duration::from_secs(10);
/// Peers that are remembered as lost: more than a node has neighbours.
const MOST: usize = 1024;

/// The neighbours, and those that were lost lately. Nothing here takes long, however
/// many are lost at once: that is when the network went away.
#[derive(Debug, Default)]
pub(super) struct Losses {
    neighbours: HashSet<PeerId>,
    lost: HashSet<PeerId>,
    /// The same, in their order.
    order: VecDeque<(Duration, PeerId)>,
    /// How many are neighbours still, and lost.
    both: usize,
}

impl Losses {
    /// A peer is a neighbour.
    pub(super) fn came(&mut self, peer: PeerId) {
        if self.neighbours.insert(peer) && self.lost.contains(&peer) {
            self.both += 1;
        }
    }

    /// A peer is none any more.
    pub(super) fn went(&mut self, peer: &PeerId) {
        if self.neighbours.remove(peer) && self.lost.contains(peer) {
            self.both -= 1;
        }
    }

    /// A peer is lost. Whether with it more are than are left, lately.
    pub(super) fn lose(&mut self, now: Duration, peer: PeerId) -> bool {
        while let Some((at, first)) = self.order.front().copied()
            && at.saturating_add(LATELY) < now
        {
            self.order.pop_front();
            self.found(&first);
        }
        if self.lost.len() >= MOST || !self.lost.insert(peer) {
            return false;
        }
        self.order.push_back((now, peer));
        self.both += usize::from(self.neighbours.contains(&peer));
        self.lost.len() > self.neighbours.len() - self.both
    }

    /// A peer is not lost.
    pub(super) fn lives(&mut self, peer: &PeerId) {
        if self.found(peer) {
            self.order.retain(|(_, other)| other != peer);
        }
    }

    fn found(&mut self, peer: &PeerId) -> bool {
        let was_lost = self.lost.remove(peer);
        if was_lost && self.neighbours.contains(peer) {
            self.both -= 1;
        }
        was_lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn it_counts_as_one_would_by_looking_at_all_of_them() {
        let peers: Vec<_> = (0..12).map(|_| PeerId::random()).collect();
        for seed in 0..200 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (mut losses, mut now) = (Losses::default(), Duration::ZERO);
            let (mut here, mut lost) = (HashSet::new(), Vec::<(Duration, PeerId)>::new());
            for step in 0..200 {
                let peer = peers[rng.random_range(0..peers.len())];
                now += Duration::from_millis(rng.random_range(0..2000));
                match rng.random_range(0..4) {
                    0 => {
                        here.insert(peer);
                        losses.came(peer);
                    }
                    1 => {
                        here.remove(&peer);
                        losses.went(&peer);
                    }
                    2 => {
                        lost.retain(|(_, other)| *other != peer);
                        losses.lives(&peer);
                    }
                    _ => {
                        lost.retain(|(at, _)| *at + LATELY >= now);
                        let new = !lost.iter().any(|(_, other)| *other == peer);
                        lost.extend(new.then_some((now, peer)));
                        let is_lost = |peer: &&PeerId| lost.iter().any(|(_, p)| p == *peer);
                        let left = here.iter().filter(|peer| !is_lost(peer)).count();
                        let too_many = new && lost.len() > left;
                        assert_eq!(losses.lose(now, peer), too_many, "seed {seed}, step {step}");
                    }
                }
            }
        }
    }
}
