//! How often a node says that it lives. Pure: the time, and chance, are arguments.

use crate::cluster::table::Detector;
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

/// The TTLs that others may still go by, of what this node has announced.
///
/// A heartbeat that announces a longer TTL may be lost on its way to some: they go by
/// the one before until its time is over, and would take a node for gone that sends
/// the next one late. So the pace follows the shortest of all those TTLs.
#[derive(Clone, Debug, Default)]
pub struct Relied {
    /// TTLs, and until when others may go by each: both grow from one to the next.
    ttls: Vec<(Duration, Duration)>,
}

impl Relied {
    /// How many are told apart.
    const MOST: usize = 16;

    /// A heartbeat has announced this TTL. Gives the TTL by which the next one is due.
    pub fn announced(&mut self, ttl: Duration, now: Duration) -> Duration {
        let until = now.saturating_add(Detector::default().patience(ttl));
        // Who has heard the heartbeat goes by it, and for who hasn't a longer one that
        // is over sooner makes no difference.
        self.ttls.retain(|(other, end)| *end > now && (*other < ttl || *end > until));
        let place = self.ttls.partition_point(|(other, _)| *other < ttl);
        self.ttls.insert(place, (ttl, until));
        if self.ttls.len() > Self::MOST {
            let (_, until) = self.ttls.remove(1);
            self.ttls[0].1 = until;
        }
        self.ttls[0].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn three_heartbeats_fit_in_a_ttl_and_four_hardly() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let ttl = Duration::from_secs(10);
        let pauses: Vec<_> = (0..3000).map(|_| Pace.pause(ttl, &mut rng)).collect();
        for three in pauses.windows(3) {
            assert!(three.iter().sum::<Duration>() <= ttl);
        }
        let mean = pauses.iter().sum::<Duration>() / 3000;
        assert!((mean.as_secs_f64() - 3.0).abs() < 0.05, "{mean:?}");
        assert!(pauses.iter().min() < Some(&Duration::from_millis(2700)));
    }

    #[test]
    fn the_pace_slows_down_when_nobody_goes_by_the_shorter_ttl_any_more() {
        let (mut relied, secs) = (Relied::default(), Duration::from_secs);
        assert_eq!(relied.announced(secs(10), secs(0)), secs(10));
        for now in [3, 6, 9, 12] {
            assert_eq!(relied.announced(secs(60), secs(now)), secs(10), "after {now} s");
        }
        // 12.5 s after it was announced last.
        assert_eq!(relied.announced(secs(60), secs(15)), secs(60));
        // A shorter one holds at once.
        assert_eq!(relied.announced(secs(20), secs(30)), secs(20));
        assert_eq!(relied.ttls.len(), 2);
    }

    /// Whatever is announced and whenever: as long as somebody may go by a TTL, the pace
    /// is no slower than that, so that three heartbeats follow within it.
    #[test]
    fn three_heartbeats_follow_each_one_within_the_ttl_that_it_announced() {
        for seed in 0..500 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (mut relied, mut now) = (Relied::default(), Duration::ZERO);
            let mut sent: Vec<(Duration, Duration)> = Vec::new();
            let mut ttl = Duration::from_secs(10);
            for _ in 0..300 {
                if rng.random_bool(0.4) {
                    ttl = Duration::from_millis(rng.random_range(1000..600_000));
                }
                sent.push((now, ttl));
                let pace = relied.announced(ttl, now);
                assert!(relied.ttls.len() <= Relied::MOST, "seed {seed}");
                assert!(pace <= ttl, "seed {seed}");
                for (at, ttl) in &sent {
                    let over = *at + *ttl * 5 / 4 <= now;
                    assert!(over || pace <= *ttl, "seed {seed}: {pace:?} at {now:?}");
                }
                let pause = Pace.pause(pace, &mut rng);
                // A change goes at once.
                now += if rng.random_bool(0.2) { pause.mul_f64(rng.random()) } else { pause };
            }
            for (n, (at, ttl)) in sent.iter().enumerate() {
                let third = sent.get(n + 3);
                assert!(third.is_none_or(|(third, _)| *third - *at <= *ttl), "seed {seed}");
            }
        }
    }
}
