//! How often a node says that it lives.

use rand::{Rng, RngExt as _};
use std::time::Duration;

/// The pace of a node's own heartbeats: pauses that are uniform between 4/15
/// and 5/15 of the TTL, so that three follow within a TTL whatever the chance,
/// and nodes that start together drift apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace;

impl Pace {
    /// The pause until the next heartbeat.
    pub fn pause(self, ttl: Duration, rng: &mut impl Rng) -> Duration {
        ttl.mul_f64(rng.random_range(4.0..5.0) / 15.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    #[test]
    fn three_heartbeats_fit_in_a_ttl_and_four_hardly() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let ttl = Duration::from_secs(10);
        let pauses: Vec<_> = (0..3000).map(|_| Pace.pause(ttl, &mut rng)).collect();
        for three in pauses.windows(3) {
            assert!(three.iter().sum::<Duration>() <= ttl);
        }
        let mean = pauses.iter().sum::<Duration>() / 3000;
        assert!((mean.as_secs_f64() - 3.0).abs() < 0.05, "{mean:?}");
        assert!(pauses.iter().min() < Some(&Duration::from_millis(2700)));
    }
}
