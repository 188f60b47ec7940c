//! The connections with a peer, some over a relay and some direct. When a direct one is
//! there, those over a relay go as soon as nothing is under way on them; and of two
//! direct ones that were made at once through two NATs one goes.

use libp2p::PeerId;
use smallvec::SmallVec;
use std::{collections::HashMap, time::Duration};

/// For how long nothing may be under way on a connection before it is closed: what was
/// written has to arrive.
pub(crate) const QUIET: Duration = Duration::from_secs(3);

/// A connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<Id> {
    pub(crate) id: Id,
    /// Whether it leads over a relay.
    pub(crate) relayed: bool,
    /// Whether it was made while there was one over a relay: through a NAT, probably.
    punched: bool,
    /// Since when nothing is under way on it.
    quiet: Option<Duration>,
}

impl<Id> Path<Id> {
    pub(crate) fn new(id: Id, relayed: bool) -> Self {
        Self { id, relayed, punched: false, quiet: None }
    }
}

/// How a peer is connected now, if that has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Over a relay alone.
    Relayed,
    /// Directly, after it was not.
    Direct,
}

/// The connections by peer, the oldest first.
#[derive(Debug)]
pub(crate) struct Paths<Id> {
    own: PeerId,
    peers: HashMap<PeerId, SmallVec<[Path<Id>; 1]>>,
}

impl<Id: Copy + Eq> Paths<Id> {
    /// Those of this node.
    pub(crate) fn new(own: PeerId) -> Self {
        Self { own, peers: HashMap::new() }
    }

    /// A connection was made.
    pub(crate) fn opened(&mut self, peer: PeerId, path: Path<Id>) -> Option<Change> {
        let paths = self.peers.entry(peer).or_default();
        let (first, direct) = (paths.is_empty(), paths.iter().any(|path| !path.relayed));
        let punched = !path.relayed && paths.iter().any(|path| path.relayed);
        paths.push(Path { punched, ..path });
        match path.relayed {
            true => first.then_some(Change::Relayed),
            false => (!first && !direct).then_some(Change::Direct),
        }
    }

    /// A connection has closed.
    pub(crate) fn closed(&mut self, peer: &PeerId, id: Id) -> Option<Change> {
        let paths = self.peers.get_mut(peer)?;
        let direct = |paths: &[Path<Id>]| paths.iter().any(|path| !path.relayed);
        let was = direct(paths);
        paths.retain(|path| path.id != id);
        if paths.is_empty() {
            self.peers.remove(peer);
            return None;
        }
        (was && !direct(paths)).then_some(Change::Relayed)
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.peers.clear();
    }

    /// Whether a peer is connected directly.
    pub(crate) fn is_direct(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|paths| paths.iter().any(|path| !path.relayed))
    }

    /// How many peers are connected over a relay alone.
    pub(crate) fn relayed(&self) -> usize {
        self.peers.values().filter(|paths| paths.iter().all(|path| path.relayed)).count()
    }

    /// Whether some of them are to close.
    pub(crate) fn has_spare(&self) -> bool {
        self.peers.iter().any(|(peer, paths)| spare(&self.own, peer, paths).next().is_some())
    }

    /// The connections to close now: those to close on which nothing is under way.
    pub(crate) fn close(
        &mut self,
        is_used: impl Fn(&PeerId, Id) -> bool,
        now: Duration,
    ) -> Vec<Id> {
        let mut close = Vec::new();
        for (peer, paths) in &mut self.peers {
            let spare: SmallVec<[Id; 2]> = spare(&self.own, peer, paths).collect();
            for path in paths.iter_mut().filter(|path| spare.contains(&path.id)) {
                match (is_used(peer, path.id), path.quiet) {
                    (true, _) => path.quiet = None,
                    (false, None) => path.quiet = Some(now),
                    (false, Some(since)) if now.saturating_sub(since) >= QUIET => {
                        close.push(path.id);
                    }
                    (false, Some(_)) => {}
                }
            }
        }
        close
    }
}

/// Those that are to close: which are relayed beside a direct one, and, at the end with
/// the lower id (else each end might close another), which both ends have made through
/// a NAT beside an older one.
fn spare<Id: Copy>(own: &PeerId, peer: &PeerId, paths: &[Path<Id>]) -> impl Iterator<Item = Id> {
    let oldest = paths.iter().position(|path| !path.relayed);
    let decides = own < peer;
    paths.iter().enumerate().filter_map(move |(i, path)| {
        let oldest = oldest?;
        (path.relayed || (decides && path.punched && i > oldest)).then_some(path.id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAYED: bool = true;

    /// Two peers, the lower id first.
    fn two() -> (PeerId, PeerId) {
        let (a, b) = (PeerId::random(), PeerId::random());
        (a.min(b), a.max(b))
    }

    fn relayed(id: u32) -> Path<u32> {
        Path::new(id, RELAYED)
    }

    fn direct(id: u32) -> Path<u32> {
        Path::new(id, !RELAYED)
    }

    #[test]
    fn it_is_told_when_a_peer_is_relayed_and_when_it_is_direct() {
        let (own, peer) = two();
        let mut paths = Paths::new(own);
        assert_eq!(paths.opened(peer, relayed(1)), Some(Change::Relayed));
        assert_eq!(paths.opened(peer, relayed(2)), None);
        assert_eq!((paths.relayed(), paths.has_spare()), (1, false));
        assert_eq!(paths.opened(peer, direct(3)), Some(Change::Direct));
        assert_eq!((paths.relayed(), paths.has_spare()), (0, true));
        assert_eq!(paths.opened(peer, direct(4)), None);
        assert_eq!((paths.closed(&peer, 3), paths.closed(&peer, 1)), (None, None));
        assert_eq!(paths.closed(&peer, 4), Some(Change::Relayed));
        assert_eq!((paths.closed(&peer, 2), paths.closed(&peer, 2)), (None, None));
        assert_eq!(paths.opened(peer, direct(5)), None, "it was so from the first");
        assert_eq!(paths.opened(peer, relayed(6)), None);
    }

    #[test]
    fn what_is_relayed_closes_when_nothing_was_under_way_on_it_for_a_moment() {
        let (own, peer) = two();
        let mut paths = Paths::new(own);
        paths.opened(peer, relayed(1));
        assert!(paths.close(|_, _| false, QUIET).is_empty(), "there is no other");
        paths.opened(peer, direct(2));
        let second = Duration::from_secs(1);
        assert!(paths.close(|_, _| false, second).is_empty());
        assert!(paths.close(|_, _| true, QUIET + second).is_empty());
        assert!(paths.close(|_, _| false, 2 * QUIET).is_empty());
        assert_eq!(paths.close(|_, _| false, 3 * QUIET), [1]);
    }

    #[test]
    fn of_two_that_were_punched_the_younger_closes_at_one_end_alone() {
        let (low, high) = two();
        for (own, peer, expected) in [(low, high, vec![3]), (high, low, vec![])] {
            let mut paths = Paths::new(own);
            paths.opened(peer, relayed(1));
            paths.opened(peer, direct(2));
            paths.opened(peer, direct(3));
            paths.closed(&peer, 1);
            assert_eq!(paths.has_spare(), !expected.is_empty());
            paths.close(|_, _| false, Duration::ZERO);
            assert_eq!(paths.close(|_, _| false, QUIET), expected);
        }
    }
}
