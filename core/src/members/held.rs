//! Messages that wait until the certificate of their source is here.

use crate::PeerId;
use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

/// How long a message waits.
pub const HOLD: Duration = Duration::from_secs(2);
/// How many of those that one peer has passed on wait, and how many in all, of one
/// topic.
pub const OF_PEER: usize = 64;
pub const IN_ALL: usize = 256;
/// How many bytes they have together: one message always finds room.
pub const BYTES: usize = 4 << 20;

/// They are in the order in which they came, and so in that of their deadlines.
#[derive(Debug)]
pub struct Held<T> {
    items: VecDeque<Item<T>>,
    of_peer: HashMap<PeerId, usize>,
    bytes: usize,
}

#[derive(Debug)]
struct Item<T> {
    source: PeerId,
    from: PeerId,
    until: Duration,
    bytes: usize,
    what: T,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), of_peer: HashMap::new(), bytes: 0 }
    }
}

impl<T> Held<T> {
    /// Holds a message of so many bytes of a source that a peer has passed on.
    ///
    /// # Errors
    /// The message, if there is no room for it.
    pub fn hold(
        &mut self,
        now: Duration,
        (source, from): (PeerId, PeerId),
        bytes: usize,
        what: T,
    ) -> Result<(), T> {
        let of_peer = self.of_peer.get(&from).copied().unwrap_or(0);
        let full = self.items.len() >= IN_ALL || (self.bytes > 0 && self.bytes + bytes > BYTES);
        if of_peer >= OF_PEER || full {
            return Err(what);
        }
        self.of_peer.insert(from, of_peer + 1);
        self.bytes += bytes;
        self.items.push_back(Item { source, from, until: now + HOLD, bytes, what });
        Ok(())
    }

    /// Takes out what is decided, in the order in which it came. What has waited long
    /// enough is decided too.
    pub fn decided<D>(
        &mut self,
        now: Duration,
        mut decide: impl FnMut(&PeerId) -> Option<D>,
    ) -> Vec<(T, Option<D>)> {
        let mut decided = Vec::new();
        for item in std::mem::take(&mut self.items) {
            let decision = decide(&item.source);
            if decision.is_none() && now < item.until {
                self.items.push_back(item);
                continue;
            }
            self.bytes -= item.bytes;
            if let Some(of_peer) = self.of_peer.get_mut(&item.from) {
                *of_peer -= 1;
                if *of_peer == 0 {
                    self.of_peer.remove(&item.from);
                }
            }
            decided.push((item.what, decision));
        }
        decided
    }

    /// When the first of them has waited long enough.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.items.front().map(|item| item.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_is_decided_comes_in_its_order_and_what_is_not_comes_when_its_time_is_over() {
        let mut held = Held::default();
        let (a, b, from) = (PeerId::random(), PeerId::random(), PeerId::random());
        for (ms, source, what) in [(0, a, 1), (10, b, 2), (20, a, 3)] {
            held.hold(at(ms), (source, from), 1, what).unwrap();
        }
        assert_eq!(held.next_deadline(), Some(HOLD));
        let known = held.decided(at(30), |source| (*source == a).then_some("known"));
        assert_eq!(known, [(1, Some("known")), (3, Some("known"))]);
        assert_eq!(held.next_deadline(), Some(at(10) + HOLD));
        assert!(held.decided(at(9) + HOLD, |_| None::<()>).is_empty());
        assert_eq!(held.decided(at(10) + HOLD, |_| None::<()>), [(2, None)]);
        assert!(held.items.is_empty() && held.of_peer.is_empty());
    }

    #[test]
    fn one_peer_cannot_fill_it_nor_many_beyond_its_bound() {
        let mut held = Held::default();
        let (source, from) = (PeerId::random(), PeerId::random());
        for n in 0..OF_PEER {
            held.hold(at(0), (source, from), 1, n).unwrap();
        }
        assert_eq!(held.hold(at(0), (source, from), 1, 7), Err(7));
        for n in OF_PEER..IN_ALL {
            held.hold(at(0), (source, PeerId::random()), 1, n).unwrap();
        }
        assert_eq!(held.hold(at(0), (source, PeerId::random()), 1, 7), Err(7));
        assert_eq!(held.decided(at(0), |_| Some(())).len(), IN_ALL);
        held.hold(at(0), (source, from), 1, 7).unwrap();
    }

    #[test]
    fn large_messages_have_so_much_room_together_and_one_always_finds_some() {
        let (mut held, who) = (Held::default(), (PeerId::random(), PeerId::random()));
        held.hold(at(0), who, 2 * BYTES, 1).unwrap();
        assert_eq!(held.hold(at(0), who, 1, 2), Err(2));
        held.decided(at(0), |_| Some(()));
        for n in 0..4 {
            held.hold(at(0), who, BYTES / 4, n).unwrap();
        }
        assert_eq!(held.hold(at(0), who, 1, 5), Err(5));
        held.decided(at(0), |_| Some(()));
        assert_eq!(held.bytes, 0);
    }
}
