//! Who is connected to whom.

use rand::{Rng, RngExt, seq::index};
use std::time::Duration;

/// Connections that stay as they are: each node has some to random earlier
/// ones, so that with two or more no single crash cuts others off.
pub struct Graph {
    links: Vec<Vec<Link>>,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Who is at the other end.
    pub to: usize,
    /// What a copy takes at least.
    delay: Duration,
}

impl Graph {
    pub fn new(nodes: usize, degree: usize, rng: &mut impl Rng) -> Self {
        let mut links = vec![Vec::new(); nodes];
        for node in 1..nodes {
            for earlier in index::sample(rng, node, degree.min(node)) {
                let delay = Duration::from_micros(rng.random_range(1000..50_000));
                links[node].push(Link { to: earlier, delay });
                links[earlier].push(Link { to: node, delay });
            }
        }
        Self { links }
    }

    pub fn links(&self, node: usize) -> &[Link] {
        &self.links[node]
    }

    /// How long a copy is under way this time.
    pub fn delay(&self, from: usize, to: usize, rng: &mut impl Rng) -> Duration {
        let link = self.links[from].iter().find(|link| link.to == to);
        link.map_or(Duration::ZERO, |link| link.delay.mul_f64(rng.random_range(1.0..1.5)))
    }
}
