//! The TTL that a node announces: so long that the whole cluster stays within its
//! budget of heartbeats. Pure: what the table holds, and the time, are arguments.
//!
//! Three to four heartbeats go out in a TTL, each after 0.3 of it on average. So with
//! a TTL of 10/3 · N ÷ budget, N nodes send as many a second as the budget has.

use crate::cluster::{
    heartbeat::Heartbeat,
    table::{Held, Table},
};
use std::time::Duration;

/// Decides which TTL the next heartbeat announces.
///
/// A longer one at once, whenever the cluster would otherwise be over its budget. A
/// shorter one only after a minute in which it was well within it, and then the
/// longest that this minute asked for: a cluster that comes apart and together again
/// finds its nodes as they were. Neither is a reason to send a heartbeat: where many
/// nodes see the same at once, all of them would.
#[derive(Clone, Debug)]
pub struct Stretch {
    configured: Duration,
    /// Heartbeats of the whole cluster a second; `None`: the TTL stays the configured
    /// one.
    budget: Option<u32>,
    held: Held,
    announced: Duration,
    /// Since when less would do all the time, and the most of that.
    low: Option<(Duration, Duration)>,
}

impl Stretch {
    /// Strangers can stretch it so far, whoever is established: who they are costs
    /// them nothing.
    pub const STRANGERS: Duration = Duration::from_secs(60);
    /// By how much they can stretch what the established ask for.
    const TIMES: u64 = 2;
    /// The longest to which a TTL is stretched. It holds the usual budget of 150 up to
    /// 27,000 nodes.
    pub const MOST: Duration = Table::MAX_PACED;
    /// For how long less must do before less is announced.
    pub const LOW: Duration = Duration::from_secs(60);

    /// For a node with this configured TTL, which is alone.
    pub fn new(configured: Duration, budget: Option<u32>) -> Self {
        let held = Held { records: 1, established: 1 };
        let mut new = Self { configured, budget, held, announced: configured, low: None };
        new.announced = new.wanted();
        new
    }

    /// The TTL that is announced.
    pub const fn announced(&self) -> Duration {
        self.announced
    }

    /// Another TTL is configured: it holds from now on, and is stretched from there.
    pub fn configure(&mut self, ttl: Duration) {
        self.configured = ttl;
        (self.announced, self.low) = (self.wanted(), None);
    }

    /// The table holds so much now. What changes shows in the next heartbeat.
    pub fn see(&mut self, held: Held, now: Duration) {
        self.held = held;
        let wanted = self.wanted();
        let is_low = wanted < self.announced / 5 * 4 || wanted == self.configured;
        self.low = if is_low && wanted < self.announced {
            let (since, most) = self.low.unwrap_or((now, wanted));
            Some((since, most.max(wanted)))
        } else {
            None
        };
    }

    /// A heartbeat goes out now: the TTL that it announces.
    pub fn announce(&mut self, now: Duration) -> Duration {
        self.announced = self.announced.max(self.wanted());
        if let Some((_, most)) =
            self.low.take_if(|(since, _)| now.saturating_sub(*since) >= Self::LOW)
        {
            self.announced = most;
        }
        self.announced
    }

    /// The TTL with which the cluster would be just within its budget, as far as it may
    /// be stretched.
    fn wanted(&self) -> Duration {
        let Some(budget) = self.budget else { return self.configured };
        let Held { records, established } = self.held;
        let strangers = ttl_of(established, Self::TIMES, budget).max(Self::STRANGERS);
        let wanted = ttl_of(records, 1, budget).min(strangers).min(Self::MOST);
        wanted.max(self.configured)
    }
}

/// The TTL with which so many nodes, so many times over, send as many heartbeats as the
/// budget has: rounded up to a millisecond, as heartbeats say it.
fn ttl_of(nodes: usize, times: u64, budget: u32) -> Duration {
    let nodes = u64::try_from(nodes).unwrap_or(u64::MAX).saturating_mul(times);
    let ms = nodes.saturating_mul(10_000).div_ceil(u64::from(budget.max(1)).saturating_mul(3));
    Duration::from_millis(ms).min(Heartbeat::MAX_TTL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    const TTL: Duration = Duration::from_secs(10);
    const BUDGET: Option<u32> = Some(150);

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    const fn held(records: usize, established: usize) -> Held {
        Held { records, established }
    }

    /// What the first heartbeat announces of a node that comes to a table that holds so
    /// much.
    fn first(configured: Duration, budget: Option<u32>, held: Held) -> f64 {
        let mut stretch = Stretch::new(configured, budget);
        stretch.see(held, Duration::ZERO);
        stretch.announce(Duration::ZERO).as_secs_f64()
    }

    #[test]
    fn the_ttl_grows_with_the_cluster_up_to_ten_minutes() {
        let all = |n| first(TTL, BUDGET, held(n, n));
        for (n, ttl) in [
            // All have longer ones, this node too.
            (0, 10.0),
            (1, 10.0),
            (45, 10.0),
            (450, 10.0),
            (451, 10.023),
            (1000, 22.223),
            (10_000, 222.223),
            (27_000, 600.0),
            (27_001, 600.0),
            (131_072, 600.0),
        ] {
            assert_eq!(all(n), ttl, "{n} nodes");
        }
        assert_eq!(first(TTL, None, held(131_072, 131_072)), 10.0, "with a fixed pace");
    }

    #[test]
    fn any_budget_is_kept_up_to_ten_minutes_and_no_configured_ttl_is_shortened() {
        let all = |budget, n| first(TTL, Some(budget), held(n, n));
        assert_eq!((all(1, 1), all(1, 6), all(1, 180), all(1, 1000)), (10.0, 20.0, 600.0, 600.0));
        assert_eq!((all(100_000, 131_072), all(10_000, 131_072)), (10.0, 43.691));
        for (configured, ttl) in [(1, 22.223), (22, 22.223), (23, 23.0), (900, 900.0)] {
            assert_eq!(first(secs(configured), BUDGET, held(1000, 1000)), ttl);
        }
        assert_eq!(first(secs(900), BUDGET, held(131_072, 131_072)), 900.0);
        assert_eq!(first(Heartbeat::MAX_TTL, Some(1), held(131_072, 131_072)), 86_400.0);
        assert_eq!(first(Heartbeat::MIN_TTL, BUDGET, held(45, 45)), 1.0);
    }

    #[test]
    fn strangers_stretch_it_to_a_minute_or_to_twice_what_the_established_need() {
        let flood = |established| first(TTL, BUDGET, held(131_072, established));
        assert_eq!((flood(1), flood(100), flood(1350)), (60.0, 60.0, 60.0));
        assert_eq!((flood(2000), flood(10_000), flood(13_500)), (88.889, 444.445, 600.0));
        // What is configured stays all the same.
        assert_eq!(first(secs(90), BUDGET, held(131_072, 100)), 90.0);
        assert_eq!(first(secs(900), BUDGET, held(131_072, 100)), 900.0);
    }

    #[test]
    fn it_grows_at_once_and_shrinks_after_a_minute_to_the_most_that_this_asked_for() {
        let mut stretch = Stretch::new(TTL, BUDGET);
        stretch.see(held(1000, 1000), secs(1));
        assert_eq!((stretch.announced(), stretch.announce(secs(1)).as_millis()), (TTL, 22_223));
        // A tenth less is no reason.
        stretch.see(held(900, 900), secs(2));
        assert_eq!(stretch.announce(secs(300)).as_millis(), 22_223);
        stretch.see(held(700, 700), secs(300));
        stretch.see(held(10, 10), secs(310));
        assert_eq!(stretch.announce(secs(359)).as_millis(), 22_223);
        assert_eq!(stretch.announce(secs(360)).as_millis(), 15_556);
        stretch.see(held(10, 10), secs(361));
        assert_eq!(stretch.announce(secs(420)).as_millis(), 15_556);
        assert_eq!((stretch.announce(secs(421)), stretch.announced()), (TTL, TTL));
        // It goes all the way back, also if that is little.
        stretch.see(held(455, 455), secs(430));
        assert_eq!(stretch.announce(secs(430)).as_millis(), 10_112);
        stretch.see(held(450, 450), secs(431));
        assert_eq!(stretch.announce(secs(491)), TTL);
    }

    #[test]
    fn a_cluster_that_comes_and_goes_changes_nothing() {
        let mut stretch = Stretch::new(TTL, BUDGET);
        for minute in 0..60 {
            for (at, n) in [(0, 1000), (5, 10), (40, 500), (50, 950)] {
                let now = secs(minute * 60 + at);
                stretch.see(held(n, n), now);
                assert_eq!(stretch.announce(now).as_millis(), 22_223, "{now:?}");
            }
        }
    }

    #[test]
    fn what_is_configured_anew_holds_at_once_and_is_stretched_from_there() {
        let mut stretch = Stretch::new(TTL, BUDGET);
        stretch.configure(secs(30));
        assert_eq!(stretch.announced(), secs(30));
        stretch.configure(secs(5));
        assert_eq!(stretch.announced(), secs(5));
        stretch.see(held(1000, 1000), secs(1));
        assert_eq!(stretch.announce(secs(1)).as_millis(), 22_223);
        for (configured, announced) in [(10, 22_223), (20, 22_223), (40, 40_000), (1, 22_223)] {
            stretch.configure(secs(configured));
            assert_eq!(stretch.announced().as_millis(), announced);
        }
        let mut fixed = Stretch::new(TTL, None);
        fixed.see(held(1000, 1000), secs(1));
        fixed.configure(secs(5));
        assert_eq!(fixed.announce(secs(2)), secs(5));
    }

    /// The same in words: never more heartbeats than the budget, as far as strangers and
    /// the longest TTL let it; never less than configured; never longer than what the
    /// last minutes asked for.
    #[test]
    fn the_budget_is_kept_whatever_comes_and_goes() {
        for seed in 0..300 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let budget = *[1, 15, 150, 1500, 100_000].get(seed as usize % 5).unwrap();
            let configured = *[1, 10, 60, 100, 900].get(seed as usize / 5 % 5).unwrap();
            let mut stretch = Stretch::new(secs(configured), Some(budget));
            let (mut now, mut last) = (Duration::ZERO, secs(configured));
            let mut wanted: Vec<(Duration, f64)> = Vec::new();
            for _ in 0..400 {
                let records = 2_usize.pow(rng.random_range(0..17)) + rng.random_range(0..10);
                let established = rng.random_range(1..=records);
                let needs = |n: usize| n as f64 / 0.3 / f64::from(budget);
                let most = (configured as f64).max(60.0).max(needs(2 * established));
                let most = most.min(600.0).max(configured as f64);
                wanted.push((now, needs(records).clamp(configured as f64, most)));
                stretch.see(held(records, established), now);
                if rng.random_bool(0.3) {
                    let announced = stretch.announce(now).as_secs_f64();
                    let (_, least) = wanted.last().unwrap();
                    assert!(announced >= least - 1e-9, "seed {seed}: {announced} {least}");
                    // It shrinks only when all of a minute asked for less, or for what is
                    // configured.
                    let mut lately = wanted.iter().filter(|(at, _)| now <= *at + secs(60));
                    let much = (last.as_secs_f64() * 0.81).max(configured as f64 + 0.001);
                    let high = lately.any(|(_, wanted)| *wanted >= much);
                    let shrinks = announced < last.as_secs_f64();
                    assert!(!(shrinks && high), "seed {seed} at {now:?}");
                    last = stretch.announced();
                    let highest = wanted.iter().map(|(_, wanted)| *wanted).fold(0.0, f64::max);
                    assert!(announced <= highest + 0.001, "seed {seed}");
                }
                now += Duration::from_millis(rng.random_range(10..40_000));
            }
        }
    }
}
