//! Who is connected to whom.

use rand::{RngExt, rngs::Xoshiro256PlusPlus};

/// The most connections of a node.
const MOST: usize = 24;

/// The peers of each node: it has connected to so many random ones, and has those
/// besides that have connected to it, up to 24 in all.
pub fn links(nodes: usize, degree: usize, rng: &mut Xoshiro256PlusPlus) -> Vec<Vec<usize>> {
    let mut links = vec![Vec::new(); nodes];
    for node in 0..nodes {
        let mut dialled = 0;
        // Small clusters have not so many who have room.
        for _ in 0..20 * degree {
            let peer = rng.random_range(0..nodes);
            let has_room = links[peer].len() < MOST && links[node].len() < MOST;
            if dialled < degree && peer != node && has_room && !links[node].contains(&peer) {
                links[node].push(peer);
                links[peer].push(node);
                dialled += 1;
            }
        }
    }
    links
}
