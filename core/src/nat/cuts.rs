//! Relays over which connections with a peer don't last: one may say that it gives much,
//! and end them at once. Another way to that peer is better, if there is one.

use crate::cache::cache;
use libp2p::PeerId;
use lru::LruCache;
use std::{collections::HashMap, hash::Hash, num::NonZeroUsize, time::Duration};

/// A connection that ends sooner has not lasted: peers that were just connected seldom go.
const SOON: Duration = Duration::from_secs(60);
/// How often in a row.
const TIMES: u32 = 3;
/// For how long that is remembered after the last time.
const LATELY: Duration = Duration::from_secs(600);
/// Relays and peers of which it is remembered.
const MOST: NonZeroUsize = NonZeroUsize::new(256).expect("not 0");

/// A relay, and a peer that is reached over it. Not the relay alone: a peer that comes and
/// goes must not keep others from theirs.
type Way = (PeerId, PeerId);

/// The relayed connections that are there, and the ways on which they don't last. Times
/// are since it was made.
#[derive(Debug)]
pub(crate) struct Cuts<Id> {
    open: HashMap<Id, (Way, Duration)>,
    /// How often in a row, and when last.
    cut: LruCache<Way, (u32, Duration)>,
}

impl<Id: Copy + Eq + Hash> Default for Cuts<Id> {
    fn default() -> Self {
        Self { open: HashMap::new(), cut: cache(MOST) }
    }
}

impl<Id: Copy + Eq + Hash> Cuts<Id> {
    /// A connection was made over a relay.
    pub(crate) fn opened(&mut self, id: Id, relay: PeerId, peer: PeerId, now: Duration) {
        self.open.insert(id, ((relay, peer), now));
    }

    /// A connection has closed, as this node or the peer wanted it or not. Whether it was
    /// cut, and the relay if that is by now one over which they don't last.
    pub(crate) fn closed(&mut self, id: Id, wanted: bool, now: Duration) -> (bool, Option<PeerId>) {
        let Some((way, since)) = self.open.remove(&id) else { return (false, None) };
        if wanted {
            return (false, None);
        }
        if now.saturating_sub(since) >= SOON {
            self.cut.pop(&way);
            return (false, None);
        }
        let before = self.cut.get(&way).filter(|(_, last)| now.saturating_sub(*last) < LATELY);
        let times = before.map_or(0, |(times, _)| *times).saturating_add(1);
        self.cut.put(way, (times, now));
        (true, (times == TIMES).then_some(way.0))
    }

    /// Whether connections with a peer don't last over a relay.
    pub(crate) fn is_cut(&self, relay: PeerId, peer: PeerId, now: Duration) -> bool {
        let known = self.cut.peek(&(relay, peer));
        known.is_some_and(|(times, last)| *times >= TIMES && now.saturating_sub(*last) < LATELY)
    }

    /// All connections are gone.
    pub(crate) fn clear(&mut self) {
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ids<const N: usize>() -> [PeerId; N] {
        [(); N].map(|()| PeerId::random())
    }

    #[test]
    fn a_relay_that_cuts_three_times_is_known_for_a_while_and_for_that_peer() {
        let (mut cuts, [relay, peer, other]) = (Cuts::default(), ids());
        let mut now = Duration::ZERO;
        let mut ends = |cuts: &mut Cuts<u8>, after, wanted| {
            cuts.opened(1, relay, peer, now);
            now += after;
            let ended = cuts.closed(1, wanted, now);
            (ended, cuts.is_cut(relay, peer, now))
        };
        assert_eq!(ends(&mut cuts, SECOND, false), ((true, None), false));
        assert_eq!(ends(&mut cuts, SECOND, true), ((false, None), false));
        assert_eq!(ends(&mut cuts, SECOND, false), ((true, None), false));
        assert_eq!(ends(&mut cuts, SECOND, false), ((true, Some(relay)), true));
        assert_eq!(ends(&mut cuts, SECOND, false), ((true, None), true), "it is told once");
        assert!(!cuts.is_cut(relay, other, 4 * SECOND) && !cuts.is_cut(other, peer, 4 * SECOND));
        assert!(!cuts.is_cut(relay, peer, 5 * SECOND + LATELY));
        // One that lasts makes up for them.
        assert_eq!(ends(&mut cuts, SOON, false), ((false, None), false));
        for _ in 0..TIMES - 1 {
            assert_eq!(ends(&mut cuts, SECOND, false), ((true, None), false));
        }
        assert_eq!(cuts.closed(1, false, LATELY), (false, None), "it is closed already");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut cuts = Cuts::default();
        for _ in 0..1000 {
            let [relay, peer] = ids();
            cuts.opened(1, relay, peer, Duration::ZERO);
            cuts.closed(1, false, SECOND);
        }
        assert_eq!((cuts.cut.len(), cuts.open.len()), (MOST.get(), 0));
        let [relay, peer] = ids();
        cuts.opened(1, relay, peer, Duration::ZERO);
        cuts.clear();
        assert!(cuts.open.is_empty());
    }
}
