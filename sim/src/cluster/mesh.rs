//! Gossipsub's mesh: the links that carry every heartbeat.

use casm::mesh::{BACKOFF, DEGREE, HIGH, LAZY, LOW};
use rand::{Rng, seq::IndexedRandom};
use std::{collections::HashMap, time::Duration};

/// What gossip knows of one node's peers.
#[derive(Clone, Default)]
struct Peers {
    connected: Vec<usize>,
    mesh: Vec<usize>,
    backoff: HashMap<usize, Duration>,
}

/// The mesh of all nodes.
pub struct Mesh(Vec<Peers>);

impl Mesh {
    pub fn new(nodes: usize) -> Self {
        Self(vec![Peers::default(); nodes])
    }

    pub fn connect(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            self.0[from].connected.push(to);
        }
    }

    /// One end finds that the connection is gone.
    pub fn disconnect(&mut self, node: usize, gone: usize) {
        let peers = &mut self.0[node];
        peers.connected.retain(|peer| *peer != gone);
        peers.mesh.retain(|peer| *peer != gone);
        peers.backoff.remove(&gone);
    }

    /// A node loses all it knew; the others find that in their own time.
    pub fn forget(&mut self, node: usize) {
        self.0[node] = Peers::default();
    }

    pub fn connected(&self, node: usize) -> &[usize] {
        &self.0[node].connected
    }

    pub fn of(&self, node: usize) -> &[usize] {
        &self.0[node].mesh
    }

    /// What a node does once a second: it grafts links if it has too few, and
    /// prunes some if it has too many.
    pub fn maintain(&mut self, node: usize, now: Duration, rng: &mut impl Rng) {
        self.0[node].backoff.retain(|_, until| *until > now);
        let peers = &self.0[node];
        if peers.mesh.len() < LOW {
            let free: Vec<usize> = peers
                .connected
                .iter()
                .filter(|peer| !peers.mesh.contains(peer) && !peers.backoff.contains_key(peer))
                .copied()
                .collect();
            let wanted = DEGREE - peers.mesh.len();
            for peer in free.sample(rng, wanted).copied().collect::<Vec<_>>() {
                self.graft(node, peer, now);
            }
        } else if peers.mesh.len() > HIGH {
            let surplus = peers.mesh.len() - HIGH;
            for peer in peers.mesh.sample(rng, surplus).copied().collect::<Vec<_>>() {
                self.prune(node, peer, now);
            }
        }
    }

    /// Peers that are told in this second of what they may lack.
    pub fn gossip_to(&self, node: usize, rng: &mut impl Rng) -> Vec<usize> {
        let peers = &self.0[node];
        let outside = peers.connected.iter().filter(|peer| !peers.mesh.contains(peer));
        let outside: Vec<usize> = outside.copied().collect();
        outside.sample(rng, LAZY).copied().collect()
    }

    fn graft(&mut self, node: usize, peer: usize, now: Duration) {
        let other = &mut self.0[peer];
        // One that does not see the connection any more, or not yet, says
        // nothing; one that has enough says no.
        if !other.connected.contains(&node) {
            return;
        }
        let refused = other.mesh.len() >= HIGH || other.backoff.contains_key(&node);
        if refused && !other.mesh.contains(&node) {
            self.0[node].backoff.insert(peer, now + BACKOFF);
            return;
        }
        for (from, to) in [(node, peer), (peer, node)] {
            if !self.0[from].mesh.contains(&to) {
                self.0[from].mesh.push(to);
            }
        }
    }

    fn prune(&mut self, node: usize, peer: usize, now: Duration) {
        for (from, to) in [(node, peer), (peer, node)] {
            self.0[from].mesh.retain(|other| *other != to);
            self.0[from].backoff.insert(to, now + BACKOFF);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn star(leaves: usize) -> Mesh {
        let mut mesh = Mesh::new(leaves + 1);
        (1..=leaves).for_each(|leaf| mesh.connect(0, leaf));
        mesh
    }

    #[test]
    fn degrees_stay_in_their_bounds_and_links_have_two_ends() {
        let mut rng = crate::rng::stream(1, 0, 0);
        let mut mesh = star(40);
        for second in 0..200 {
            (0..=40).for_each(|n| mesh.maintain(n, Duration::from_secs(second), &mut rng));
            assert!(mesh.of(0).len() <= HIGH, "{second}: {:?}", mesh.of(0));
            for node in 0..=40 {
                assert!(mesh.of(node).iter().all(|peer| mesh.of(*peer).contains(&node)));
            }
        }
        assert!(mesh.of(0).len() >= LOW);
        // Those that are left out are told of what they lack.
        let told = mesh.gossip_to(0, &mut rng);
        assert!(told.len() >= LAZY && told.iter().all(|leaf| !mesh.of(0).contains(leaf)));
    }

    #[test]
    fn a_peer_that_is_gone_is_replaced() {
        let mut rng = crate::rng::stream(1, 0, 0);
        let mut mesh = star(8);
        mesh.maintain(0, Duration::ZERO, &mut rng);
        assert_eq!(mesh.of(0).len(), DEGREE);
        for gone in mesh.of(0).to_vec().into_iter().take(2) {
            mesh.disconnect(0, gone);
        }
        mesh.maintain(0, Duration::from_secs(1), &mut rng);
        assert_eq!(mesh.of(0).len(), DEGREE);
        assert_eq!(mesh.connected(0).len(), 6);
    }
}
