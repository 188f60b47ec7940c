//! Which connections to make and to give up: enough with random members of the
//! view for gossip's mesh never to starve, and not more than that.
//!
//! The decision is a function of (state, what is connected, time, random
//! source); the service carries it out.

use super::config::Config;
use libp2p::PeerId;
use rand::{Rng, RngExt, seq::SliceRandom};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The pause after a first failed dial, and the longest one.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// A connection that lasted less counts as a dial that failed, but for that the peer is
/// there: so often at most. (A relay may cut what it relays, again and again.)
const SHORT: (Duration, u32) = (Duration::from_secs(60), 6);

/// Keeps the connections of peer exchange. Times are since it was made.
#[derive(Debug)]
pub struct Keeper {
    low: usize,
    high: usize,
    /// Dials that failed in a row, and when the next may be.
    failed: BTreeMap<PeerId, (u32, Duration)>,
    /// Since when peers are connected.
    since: BTreeMap<PeerId, Duration>,
    dialing: BTreeSet<PeerId>,
    /// Connections that were made for peer exchange, the oldest first: only
    /// these are given up.
    opened: Vec<PeerId>,
}

/// What to do now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Peers to dial.
    pub dial: Vec<PeerId>,
    /// Peers whose connections to close.
    pub close: Vec<PeerId>,
}

impl Keeper {
    /// A keeper of no connections.
    pub fn new(config: &Config) -> Self {
        Self {
            low: config.min_connections,
            high: config.max_connections,
            failed: BTreeMap::new(),
            since: BTreeMap::new(),
            dialing: BTreeSet::new(),
            opened: Vec::new(),
        }
    }

    /// A connection was made on our initiative.
    pub fn opened(&mut self, peer: PeerId) {
        self.dialing.remove(&peer);
        if !self.opened.contains(&peer) {
            self.opened.push(peer);
        }
    }

    /// A peer that was to be dialled is known to live.
    pub fn reached(&mut self, peer: PeerId) {
        self.dialing.remove(&peer);
    }

    /// A peer is connected, whoever dialled.
    pub fn connected(&mut self, peer: PeerId, now: Duration) {
        self.since.insert(peer, now);
    }

    /// A peer is connected no more. Whoever else was connected to it is so now too:
    /// they don't all come back at once. And if that didn't last, then later each time.
    pub fn lost(&mut self, peer: PeerId, now: Duration, rng: &mut impl Rng) {
        let lasted = self.since.remove(&peer).map(|since| now.saturating_sub(since));
        let (failures, next) = self.failed.entry(peer).or_default();
        match lasted {
            Some(lasted) if lasted < SHORT.0 => *failures += u32::from(*failures < SHORT.1),
            // It is left alone already.
            None if *next > now => return,
            _ => *failures = 0,
        }
        *next = now + pause(*failures).mul_f64(rng.random_range(0.5..1.0));
    }

    /// A dial failed: the peer is left alone for a time that doubles, and is
    /// jittered so that peers which lost the same one don't come back together.
    pub fn failed(&mut self, peer: PeerId, now: Duration, rng: &mut impl Rng) {
        self.dialing.remove(&peer);
        let (failures, next) = self.failed.entry(peer).or_default();
        *failures = failures.saturating_add(1);
        *next = now + pause(*failures).mul_f64(rng.random_range(0.5..1.0));
    }

    /// When there is more to do, if nothing happens: some are left alone until then.
    pub fn due(
        &self,
        view: &[PeerId],
        connected: &BTreeSet<PeerId>,
        now: Duration,
    ) -> Option<Duration> {
        let have = view.iter().filter(|p| connected.contains(p)).count() + self.dialing.len();
        if have >= self.low {
            return None;
        }
        let others = view.iter().filter(|p| !connected.contains(p) && !self.dialing.contains(p));
        others.map(|peer| self.failed.get(peer).map_or(now, |(_, next)| *next)).min()
    }

    /// What to do, given the peers of the view and all that are connected;
    /// `room` is how many more connections this node may make.
    pub fn work(
        &mut self,
        view: &[PeerId],
        connected: &BTreeSet<PeerId>,
        room: usize,
        now: Duration,
        rng: &mut impl Rng,
    ) -> Work {
        let members: BTreeSet<PeerId> = view.iter().copied().collect();
        self.failed.retain(|peer, (_, next)| members.contains(peer) || *next > now);
        self.opened.retain(|peer| connected.contains(peer));
        self.since.retain(|peer, _| members.contains(peer) || connected.contains(peer));

        let have = view.iter().filter(|p| connected.contains(p)).count() + self.dialing.len();
        let mut dial: Vec<PeerId> = view
            .iter()
            .copied()
            .filter(|p| !connected.contains(p) && !self.dialing.contains(p))
            .filter(|p| self.failed.get(p).is_none_or(|(_, next)| *next <= now))
            .collect();
        dial.shuffle(rng);
        dial.truncate(self.low.saturating_sub(have).min(room));
        self.dialing.extend(&dial);

        let mut close = Vec::new();
        let over = self.opened.len().saturating_sub(self.high);
        // Those that are no longer in the view go first, then the oldest.
        for in_view in [false, true] {
            for peer in &self.opened {
                if close.len() < over && members.contains(peer) == in_view {
                    close.push(*peer);
                }
            }
        }
        Work { dial, close }
    }
}

/// The longest pause after so many failures in a row.
fn pause(failures: u32) -> Duration {
    PAUSE.0.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(PAUSE.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn peers(n: usize) -> Vec<PeerId> {
        (0..n).map(|_| PeerId::random()).collect()
    }

    fn keeper(low: usize, high: usize) -> Keeper {
        Keeper::new(&Config { min_connections: low, max_connections: high, ..Config::default() })
    }

    #[test]
    fn it_dials_up_to_the_low_number_and_not_beyond_the_limits() {
        let rng = &mut rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let (view, none) = (peers(20), BTreeSet::new());
        let mut keeper = keeper(8, 12);
        let first = keeper.work(&view, &none, 3, Duration::ZERO, rng);
        assert_eq!((first.dial.len(), first.close.len()), (3, 0));
        let second = keeper.work(&view, &none, 100, Duration::ZERO, rng);
        assert_eq!(second.dial.len(), 5, "three are on their way");
        assert!(second.dial.iter().all(|p| !first.dial.contains(p)));
        let connected: BTreeSet<_> = first.dial.iter().chain(&second.dial).copied().collect();
        connected.iter().for_each(|p| keeper.opened(*p));
        let third = keeper.work(&view, &connected, 100, Duration::ZERO, rng);
        assert_eq!(third, Work::default());
    }

    #[test]
    fn a_peer_that_fails_is_left_alone_for_longer_and_longer() {
        let rng = &mut rand_chacha::ChaCha8Rng::seed_from_u64(2);
        let (view, none) = (peers(1), BTreeSet::new());
        let mut keeper = keeper(1, 2);
        let (mut dials, mut now) = (0, Duration::ZERO);
        while now < Duration::from_secs(3600) {
            if !keeper.work(&view, &none, 9, now, rng).dial.is_empty() {
                dials += 1;
                keeper.failed(view[0], now, rng);
            }
            now += Duration::from_millis(100);
        }
        // 0.5 to 1 times 1, 2, 4 … 256, then 300 s.
        assert!((18..=36).contains(&dials), "{dials} dials in an hour");
    }

    #[test]
    fn a_peer_whose_connections_do_not_last_is_left_alone_for_longer_and_longer() {
        let rng = &mut rand_chacha::ChaCha8Rng::seed_from_u64(6);
        let (view, none) = (peers(1), BTreeSet::new());
        // How often it is dialled in ten minutes, if each connection lasts so long.
        let mut dials = |lasts: Duration| {
            let mut keeper = keeper(1, 2);
            let (mut dials, mut now, end) = (0, Duration::ZERO, Duration::from_secs(600));
            while now < end {
                if keeper.work(&view, &none, 9, now, rng).dial.is_empty() {
                    now += Duration::from_millis(100);
                    continue;
                }
                dials += 1;
                keeper.connected(view[0], now);
                keeper.opened(view[0]);
                now += lasts;
                keeper.lost(view[0], now, rng);
            }
            dials
        };
        // 0.5 to 1 times 1, 2, 4 … 16, then 32 s.
        let (short, long) = (dials(Duration::from_secs(2)), dials(SHORT.0));
        assert!((20..=40).contains(&short), "{short}");
        // 0.5 to 1 s each time.
        assert!((9..=10).contains(&long), "{long}");
    }

    #[test]
    fn it_says_when_there_is_more_to_do() {
        let rng = &mut rand_chacha::ChaCha8Rng::seed_from_u64(5);
        let (view, none) = (peers(3), BTreeSet::new());
        let mut keeper = keeper(2, 4);
        assert_eq!(keeper.due(&view, &none, Duration::ZERO), Some(Duration::ZERO));
        let dialled = keeper.work(&view, &none, 9, Duration::ZERO, rng).dial;
        assert_eq!(keeper.due(&view, &none, Duration::ZERO), None, "two are on their way");
        let connected = BTreeSet::from([dialled[0]]);
        keeper.opened(dialled[0]);
        for peer in view.iter().filter(|peer| **peer != dialled[0]) {
            keeper.failed(*peer, Duration::ZERO, rng);
        }
        let due = keeper.due(&view, &connected, Duration::ZERO).unwrap();
        let early = keeper.work(&view, &connected, 9, due - Duration::from_millis(1), rng);
        assert_eq!(
            (early.dial.len(), keeper.work(&view, &connected, 9, due, rng).dial.len()),
            (0, 1)
        );
        let both = BTreeSet::from([view[0], view[1]]);
        assert_eq!(keeper.due(&view, &both, due), None);
    }

    #[test]
    fn a_lost_peer_is_not_dialled_at_once_and_others_are() {
        let rng = &mut rand_chacha::ChaCha8Rng::seed_from_u64(4);
        let (view, none) = (peers(2), BTreeSet::new());
        let mut keeper = keeper(2, 4);
        keeper.lost(view[0], Duration::ZERO, rng);
        assert_eq!(keeper.work(&view, &none, 9, Duration::ZERO, rng).dial, [view[1]]);
        assert_eq!(keeper.work(&view, &none, 9, Duration::from_millis(400), rng).dial, []);
        assert_eq!(keeper.work(&view, &none, 9, Duration::from_secs(1), rng).dial, [view[0]]);
    }

    #[test]
    fn too_many_connections_are_given_up_those_outside_the_view_first() {
        let rng = &mut rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let all = peers(10);
        let mut keeper = keeper(2, 6);
        all.iter().for_each(|p| keeper.opened(*p));
        let foreign = PeerId::random();
        let mut connected: BTreeSet<_> = all.iter().copied().collect();
        connected.insert(foreign);
        let work = keeper.work(&all[3..], &connected, 9, Duration::ZERO, rng);
        assert_eq!(work.close, [all[0], all[1], all[2], all[3]]);
        connected.retain(|p| !work.close.contains(p));
        assert!(keeper.work(&all[3..], &connected, 9, Duration::ZERO, rng).close.is_empty());
    }
}
