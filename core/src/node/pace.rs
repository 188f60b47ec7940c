//! When a node looks for peers, and when it has found enough. Pure.

use crate::power::Profile;
use rand::{Rng, RngExt};
use std::time::Duration;
use tokio::time::Instant;

/// Peers that it did not know of, with which a content node ends a search: they
/// join their cluster to its own.
const STRANGERS: usize = 2;
/// The most connections of such searches that a node keeps: nobody else gives
/// them up.
pub(super) const KEPT: usize = 8;
/// The first pause between searches of a node that has no peer. They grow up to that
/// of the profile.
const ALONE: Duration = Duration::from_millis(500);
/// The pause of a node that has peers, but fewer than it wants: there may be no
/// more of them.
const FEW: Duration = Duration::from_secs(60);
/// The pause of one that has lost some, and knows of others.
const LOST: Duration = Duration::from_secs(10);
/// The pause of a node that has just lost its last peer, growing while those that
/// it finds close their connections again at once.
const DESERTED: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(15));
/// A connection that lasts for so long was none of those.
const STEADY: Duration = Duration::from_secs(10);
/// The longest pause of a node that has peers enough.
const CONTENT: Duration = Duration::from_secs(24 * 60 * 60);

/// What a node has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// Connected peers.
    pub(super) connected: usize,
    /// Members of its cluster that it knows, itself included.
    pub(super) view: usize,
    /// What it wants.
    pub(super) profile: Profile,
}

/// What a search is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Connections, to whomever.
    Peers,
    /// Connections to peers that are not in the view: of a cluster of the same
    /// name that formed apart.
    Strangers,
}

impl Goal {
    pub(super) fn of(standing: Standing) -> Self {
        if standing.connected < standing.profile.wanted { Self::Peers } else { Self::Strangers }
    }

    /// How long a search goes on.
    pub(super) fn time(self, profile: &Profile) -> Duration {
        match self {
            Self::Peers => profile.search,
            Self::Strangers => Duration::from_secs(10),
        }
    }

    /// How many connections are missing, if this node made `made` in this search.
    /// Answers don't count: anybody can give them.
    pub(super) fn missing(self, standing: Standing, made: usize) -> usize {
        match self {
            Self::Peers => standing.profile.wanted.saturating_sub(standing.connected),
            Self::Strangers => STRANGERS.saturating_sub(made),
        }
    }
}

/// When the next search is due.
#[derive(Debug)]
pub(super) struct Pace {
    /// The end of the last search.
    searched: Instant,
    /// When a connection was lost first since then.
    lost: Option<Instant>,
    alone: Duration,
    /// When the last peer was lost last, and the pause after that.
    deserted: Option<(Instant, Duration)>,
    /// Nodes that start or lose a peer together must not search in step.
    jitter: f64,
}

impl Pace {
    pub(super) fn new(now: Instant, rng: &mut impl Rng) -> Self {
        Self { searched: now, lost: None, alone: ALONE, deserted: None, jitter: jitter(rng) }
    }

    /// A search has ended.
    pub(super) fn searched(&mut self, standing: Standing, now: Instant, rng: &mut impl Rng) {
        self.alone = match standing.connected {
            0 => (self.alone * standing.profile.growth).min(standing.profile.alone),
            _ => ALONE,
        };
        (self.searched, self.lost, self.jitter) = (now, None, jitter(rng));
    }

    /// The node is in another network than before: it looks again at once.
    pub(super) fn moved(&mut self) {
        self.alone = ALONE;
    }

    /// A connection was lost.
    pub(super) fn lost(&mut self, now: Instant) {
        self.lost.get_or_insert(now);
    }

    /// The last peer was lost: for how long to wait until the next search.
    pub(super) fn deserted(&mut self, now: Instant, rng: &mut impl Rng) -> Duration {
        let pause = match self.deserted {
            Some((at, pause)) if now - at < STEADY + 2 * pause => (pause * 2).min(DESERTED.1),
            _ => DESERTED.0,
        };
        self.deserted = Some((now, pause));
        pause.mul_f64(jitter(rng))
    }

    /// When to search next, as things stand.
    pub(super) fn due(&self, standing: Standing) -> Instant {
        let Standing { connected, view, profile: Profile { wanted, seeks, .. } } = standing;
        let after = |pause: Duration| self.searched + pause.mul_f64(self.jitter);
        match (connected, self.lost) {
            (0, Some(lost)) => lost,
            (0, None) => after(self.alone),
            (_, Some(lost)) if connected < wanted && view > connected + 1 => {
                let lost = lost + LOST.mul_f64(self.jitter);
                if seeks { lost.min(after(FEW)) } else { lost }
            }
            _ if !seeks => after(CONTENT),
            _ if connected < wanted => after(FEW),
            // All nodes of a cluster together search once in 7 s, whatever its
            // size; of two clusters, the smaller finds the larger.
            _ => {
                let size = (view / wanted).max(1).try_into().unwrap_or(u32::MAX);
                after(FEW.checked_mul(size).unwrap_or(CONTENT).min(CONTENT))
            }
        }
    }
}

/// Uniform between a half and one and a half.
pub(super) fn jitter(rng: &mut impl Rng) -> f64 {
    rng.random_range(0.5..1.5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Power;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn standing(connected: usize, view: usize) -> Standing {
        Standing { connected, view, profile: Power::Normal.profile() }
    }

    /// The shortest and the longest pause until the next search, in seconds.
    fn pauses(connected: usize, view: usize, lost: Option<u64>) -> (u64, u64) {
        let (rng, now) = (&mut ChaCha8Rng::seed_from_u64(1), Instant::now());
        let pauses = (0..1000).map(|_| {
            let mut pace = Pace::new(now, rng);
            pace.searched(standing(connected, view), now, rng);
            if let Some(after) = lost {
                pace.lost(now + Duration::from_secs(after));
            }
            (pace.due(standing(connected, view)) - now).as_secs()
        });
        let pauses: Vec<u64> = pauses.collect();
        (*pauses.iter().min().unwrap(), *pauses.iter().max().unwrap())
    }

    #[test]
    fn a_node_searches_for_ever_and_rarer_the_larger_its_view() {
        assert_eq!(pauses(8, 9, None), (30, 89));
        let (least, most) = pauses(500, 1000, None);
        assert!(least >= 30 * 125 && most < 90 * 125 && most > 80 * 125, "{least} to {most}");
        let day = CONTENT.as_secs();
        let (least, most) = pauses(500, 131_072, None);
        assert!(least >= day / 2 && most < day * 3 / 2 && most > day, "{least} to {most}");
        assert_eq!(pauses(8, usize::MAX, None), (least, most));
        assert_eq!(pauses(3, 4, None), (30, 89));
    }

    #[test]
    fn a_node_that_loses_peers_searches_soon_if_it_knows_of_others() {
        // The last one: at once.
        assert_eq!(pauses(0, 9, Some(3)), (3, 3));
        assert_eq!(pauses(1, 9, Some(3)), (8, 17));
        // No later than without a loss.
        assert_eq!(pauses(1, 9, Some(1000)), (30, 89));
        // There is nobody else, or there are enough left.
        assert_eq!(pauses(1, 2, Some(3)), (30, 89));
        assert_eq!(pauses(8, 10, Some(3)), (30, 89));
        // It was content, and the loss is long ago: a search is due.
        let (rng, now) = (&mut ChaCha8Rng::seed_from_u64(2), Instant::now());
        let mut pace = Pace::new(now, rng);
        pace.searched(standing(8, 1000), now, rng);
        (0..7).for_each(|i| pace.lost(now + Duration::from_secs(100 + i)));
        let due = pace.due(standing(1, 1000)) - now;
        assert!(due < Duration::from_secs(116), "{due:?}");
    }

    #[test]
    fn a_node_without_peers_searches_with_growing_pauses() {
        let (rng, now) = (&mut ChaCha8Rng::seed_from_u64(3), Instant::now());
        let mut pace = Pace::new(now, rng);
        let mut pause = |pace: &mut Pace, connected| {
            pace.searched(standing(connected, 1), now, rng);
            pace.due(standing(0, 1)) - now
        };
        let pauses: Vec<Duration> = (0..20).map(|_| pause(&mut pace, 0)).collect();
        assert!(pauses[0] < Duration::from_millis(1500), "{pauses:?}");
        assert!(
            pauses[19] > Duration::from_secs(7)
                && pauses[19] < Power::Normal.profile().alone * 3 / 2,
            "{pauses:?}"
        );
        assert!(pause(&mut pace, 1) < Duration::from_secs(1));
    }

    #[test]
    fn a_node_whose_peers_leave_it_at_once_searches_rarer() {
        let (rng, mut now) = (&mut ChaCha8Rng::seed_from_u64(4), Instant::now());
        let mut pace = Pace::new(now, rng);
        let mut pauses = Vec::new();
        for _ in 0..20 {
            pauses.push(pace.deserted(now, rng));
            now += pauses[pauses.len() - 1] + Duration::from_secs(1);
        }
        assert!(pauses[0] < Duration::from_millis(75), "{pauses:?}");
        assert!(pauses[10..].iter().all(|pause| *pause > Duration::from_secs(7)), "{pauses:?}");
        now += 4 * DESERTED.1;
        assert!(pace.deserted(now, rng) < Duration::from_millis(75));
    }

    #[test]
    fn connections_end_a_search_and_not_answers() {
        assert_eq!(Goal::of(standing(7, 8)), Goal::Peers);
        assert_eq!(Goal::of(standing(8, 9)), Goal::Strangers);
        let missing = |goal: Goal, connected, made| goal.missing(standing(connected, 1), made);
        assert_eq!((missing(Goal::Peers, 0, 0), missing(Goal::Peers, 5, 99)), (8, 3));
        assert_eq!(missing(Goal::Peers, 9, 0), 0);
        assert_eq!((missing(Goal::Strangers, 99, 0), missing(Goal::Strangers, 99, 2)), (2, 0));
    }

    #[test]
    fn with_low_power_who_has_a_peer_looks_for_no_more_and_who_has_none_ever_rarer() {
        let (rng, now) = (&mut ChaCha8Rng::seed_from_u64(5), Instant::now());
        let low = |connected, view| Standing {
            profile: Power::Low.profile(),
            ..standing(connected, view)
        };
        let mut pace = Pace::new(now, rng);
        for (connected, view) in [(1, 2), (2, 100), (3, 4), (8, 9)] {
            pace.searched(low(connected, view), now, rng);
            assert!(pace.due(low(connected, view)) - now >= CONTENT / 2, "{connected}");
        }
        // It has lost one, and knows others.
        pace.lost(now);
        assert!(pace.due(low(2, 9)) - now < 2 * LOST);
        assert!(pace.due(low(3, 9)) - now >= CONTENT / 2);
        let pauses: Vec<Duration> = (0..20)
            .map(|_| {
                pace.searched(low(0, 1), now, rng);
                pace.due(low(0, 1)) - now
            })
            .collect();
        assert!(pauses[0] < 6 * ALONE, "{pauses:?}");
        assert!(pauses[19] >= Power::Low.profile().alone / 2, "{pauses:?}");
        pace.moved();
        pace.searched(low(0, 1), now, rng);
        assert!(pace.due(low(0, 1)) - now < 6 * ALONE);
    }
}
