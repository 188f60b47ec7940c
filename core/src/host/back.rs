//! Who is dialled again, without waiting for discovery: peers whose connections
//! were lost, when the node comes back from a pause, was held up, or its addresses
//! have changed. Pure: times are arguments.

use libp2p::{Multiaddr, PeerId};
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// Peers that are remembered, the last ones.
const MOST: usize = 32;
/// For how long one that was lost is dialled when something has changed.
const LATELY: Duration = Duration::from_secs(600);
/// After a change: when each is dialled, until it is connected. Changes come several
/// at a time, and the network may not be ready at once.
const TRIES: [Duration; 5] = [
    Duration::from_millis(10),
    Duration::from_millis(250),
    Duration::from_millis(600),
    Duration::from_millis(1200),
    Duration::from_millis(2500),
];
/// For how long after a change one that is lost is dialled at once: what the
/// other end gave up is noticed a moment later.
pub(super) const STIRRED: Duration = Duration::from_secs(5);

/// A peer that is to be connected again.
#[derive(Debug)]
struct Lost {
    peer: PeerId,
    /// Where this node had dialled it.
    addrs: Vec<Multiaddr>,
    since: Instant,
    /// When a change came, and how many of the tries since then are made.
    tries: Option<(Instant, usize)>,
}

impl Lost {
    fn due(&self) -> Option<Instant> {
        let (begun, made) = self.tries?;
        Some(begun + *TRIES.get(made)?)
    }
}

/// The peers that were lost.
#[derive(Debug, Default)]
pub(super) struct Back {
    lost: VecDeque<Lost>,
    stirred: Option<Instant>,
    /// Who was reached since the last change, by a dial of these, and when.
    reached: VecDeque<(PeerId, Instant)>,
}

impl Back {
    /// A peer is connected no more, or is not known to be.
    pub(super) fn lost(&mut self, peer: PeerId, addrs: Vec<Multiaddr>, now: Instant) {
        self.here(&peer);
        let soon = self.stirred.is_some_and(|at| now.saturating_duration_since(at) < STIRRED);
        let tries = soon.then_some((now, 0));
        self.lost.push_back(Lost { peer, addrs, since: now, tries });
        if self.lost.len() > MOST {
            self.lost.pop_front();
        }
    }

    /// A peer is connected, or not wanted.
    pub(super) fn here(&mut self, peer: &PeerId) {
        self.lost.retain(|lost| lost.peer != *peer);
    }

    /// Something has changed: those that were lost lately are dialled.
    pub(super) fn stir(&mut self, now: Instant) {
        self.stirred = Some(now);
        self.reached.clear();
        self.lost.retain(|lost| now.saturating_duration_since(lost.since) < LATELY);
        self.lost.iter_mut().for_each(|lost| lost.tries = Some((now, 0)));
    }

    /// When [`take`](Self::take) has somebody.
    pub(super) fn due(&self) -> Option<Instant> {
        self.lost.iter().filter_map(Lost::due).min()
    }

    /// Whether a dial was begun before the last change.
    pub(super) fn is_of_before(&self, begun: Instant) -> bool {
        self.stirred.is_some_and(|at| begun < at)
    }

    /// A peer answered a dial of `begun`. Whether that is the first since the last
    /// change: of several dials that were under way together one is enough.
    pub(super) fn reached(&mut self, peer: PeerId, begun: Instant, now: Instant) -> bool {
        if self.reached.iter().any(|(reached, at)| *reached == peer && *at >= begun) {
            return false;
        }
        self.reached.retain(|(reached, _)| *reached != peer);
        self.reached.push_back((peer, now));
        if self.reached.len() > MOST {
            self.reached.pop_front();
        }
        true
    }

    /// A peer is connected no more.
    pub(super) fn gone(&mut self, peer: &PeerId) {
        self.reached.retain(|(reached, _)| reached != peer);
    }

    /// Whom to dial now, the last that was lost first, and where it was dialled
    /// before; no more than `most`.
    pub(super) fn take(&mut self, most: usize, now: Instant) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let mut taken = Vec::new();
        for lost in self.lost.iter_mut().rev() {
            let due = lost.due().is_some_and(|due| due <= now);
            let Some((_, made)) = lost.tries.as_mut().filter(|_| due) else { continue };
            if taken.len() < most {
                *made += 1;
                taken.push((lost.peer, lost.addrs.clone()));
            } else {
                // There are others enough.
                lost.tries = None;
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(back: &mut Back, n: usize, now: Instant) -> Vec<PeerId> {
        let peers: Vec<_> = (0..n).map(|_| PeerId::random()).collect();
        peers.iter().for_each(|peer| back.lost(*peer, Vec::new(), now));
        peers
    }

    fn ids(taken: Vec<(PeerId, Vec<Multiaddr>)>) -> Vec<PeerId> {
        taken.into_iter().map(|(peer, _)| peer).collect()
    }

    #[test]
    fn who_was_lost_is_dialled_after_a_change_a_few_times_until_it_is_here() {
        let (mut back, start) = (Back::default(), Instant::now());
        let peers = lost(&mut back, 2, start);
        assert_eq!((back.due(), back.take(8, start)), (None, vec![]), "nothing has changed");
        back.stir(start);
        let first = start + TRIES[0];
        assert_eq!((back.due(), back.take(8, start)), (Some(first), vec![]));
        assert_eq!(ids(back.take(8, first)), [peers[1], peers[0]]);
        assert_eq!((back.due(), back.take(8, first)), (Some(start + TRIES[1]), vec![]));
        back.here(&peers[1]);
        let mut dials = 0;
        while let Some(due) = back.due() {
            dials += back.take(8, due).len();
        }
        assert_eq!(dials, TRIES.len() - 1);
        // The next change.
        back.stir(start + LATELY - TRIES[0]);
        assert_eq!(ids(back.take(8, start + LATELY)), [peers[0]]);
        back.stir(start + LATELY);
        assert_eq!(back.due(), None, "too long ago");
    }

    #[test]
    fn who_is_lost_right_after_a_change_is_dialled_at_once() {
        let (mut back, start) = (Back::default(), Instant::now());
        back.stir(start);
        let now = start + STIRRED - Duration::from_millis(1);
        let peers = lost(&mut back, 1, now);
        assert_eq!(ids(back.take(8, now + TRIES[0])), peers);
        lost(&mut back, 1, start + STIRRED);
        assert_eq!(back.take(8, start + STIRRED + TRIES[0]), []);
    }

    #[test]
    fn of_dials_that_are_under_way_together_one_is_enough() {
        let (mut back, start) = (Back::default(), Instant::now());
        let (one, other) = (PeerId::random(), PeerId::random());
        let at = |n: usize| start + TRIES[n];
        back.stir(start);
        assert!(back.reached(one, at(0), at(2)) && back.reached(other, at(0), at(2)));
        assert!(!back.reached(one, at(1), at(3)) && !back.reached(one, at(2), at(3)));
        // One that was begun after that was begun for a reason.
        assert!(back.reached(one, at(3), at(4)));
        // What was reached is gone, or it was before the last change.
        back.gone(&one);
        assert!(back.reached(one, at(0), at(4)));
        assert!(!back.is_of_before(at(0)));
        back.stir(at(4));
        assert!(back.is_of_before(at(3)) && !back.is_of_before(at(4)));
        assert!(back.reached(one, at(4), at(4)));
        (0..2 * MOST).for_each(|_| assert!(back.reached(PeerId::random(), start, start)));
        assert_eq!(back.reached.len(), MOST);
    }

    #[test]
    fn few_are_remembered_and_fewer_dialled() {
        let (mut back, start) = (Back::default(), Instant::now());
        let peers = lost(&mut back, 2 * MOST, start);
        let first = start + TRIES[0];
        back.stir(start);
        let last: Vec<_> = peers.iter().rev().take(3).copied().collect();
        assert_eq!(ids(back.take(3, first)), last);
        back.stir(start);
        assert_eq!(back.take(usize::MAX, first).len(), MOST);
    }
}
