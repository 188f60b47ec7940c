//! Which relays are asked to take what is for a node that can't be reached itself: up
//! to two, so that one may go.

use libp2p::{Multiaddr, PeerId};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// Relays that are remembered when they have gone.
const KNOWN: usize = 16;
/// For how long after a relay is known it is waited for somebody to reach this node
/// directly, so that it needs none.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1500);
/// After this time a relay that refused is asked again; twice as long each time, up to
/// the last.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// What a relay is to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It may be asked from then on.
    Free(Duration),
    Asked,
    /// It takes what is for this node.
    Held,
}

#[derive(Debug)]
struct Offer {
    /// Where this node is connected to it.
    addr: Multiaddr,
    state: State,
    refused: u32,
}

/// A relay that is to be asked, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) relay: PeerId,
    pub(crate) addr: Multiaddr,
}

/// The connected peers that offer to relay. Times are since it was made.
#[derive(Debug, Default)]
pub(crate) struct Seek {
    offers: BTreeMap<PeerId, Offer>,
    /// Those that have offered it, also before they went, the last at the end.
    known: VecDeque<PeerId>,
}

impl Seek {
    /// A connected peer offers to relay.
    pub(crate) fn offers(&mut self, relay: PeerId, addr: &Multiaddr, now: Duration) {
        if !self.known.contains(&relay) {
            self.known.push_back(relay);
            if self.known.len() > KNOWN {
                self.known.pop_front();
            }
        }
        self.offers.entry(relay).or_insert_with(|| Offer {
            addr: addr.clone(),
            state: State::Free(now + PATIENCE),
            refused: 0,
        });
    }

    /// Whether a peer is a relay, or was one when it was connected last.
    pub(crate) fn is_known(&self, relay: &PeerId) -> bool {
        self.known.contains(relay)
    }

    /// None is connected.
    pub(crate) fn clear(&mut self) {
        self.offers.clear();
    }

    /// It no longer does, or is no longer connected. What it had taken on ends by
    /// itself.
    pub(crate) fn gone(&mut self, relay: &PeerId) {
        self.offers.remove(relay);
    }

    /// It takes what is for this node, now or still.
    pub(crate) fn accepted(&mut self, relay: &PeerId) {
        if let Some(offer) = self.offers.get_mut(relay) {
            (offer.state, offer.refused) = (State::Held, 0);
        }
    }

    /// It doesn't, or no longer.
    pub(crate) fn refused(&mut self, relay: &PeerId, now: Duration) {
        if let Some(offer) = self.offers.get_mut(relay) {
            let pause = RETRY.0 * 2u32.saturating_pow(offer.refused.min(16));
            offer.state = State::Free(now + pause.min(RETRY.1));
            offer.refused += 1;
        }
    }

    /// The next relay to ask, of those that serve the purpose, if fewer than `most` are
    /// used; then it is asked. `random` chooses.
    pub(crate) fn next(
        &mut self,
        most: usize,
        serves: impl Fn(&Multiaddr) -> bool,
        now: Duration,
        random: impl FnOnce(usize) -> usize,
    ) -> Option<Wish> {
        if self.used() >= most {
            return None;
        }
        let free = |offer: &Offer| matches!(offer.state, State::Free(at) if at <= now);
        let mut may: Vec<_> =
            self.offers.iter_mut().filter(|(_, o)| free(o) && serves(&o.addr)).collect();
        if may.is_empty() {
            return None;
        }
        let (relay, offer) = may.swap_remove(random(may.len()));
        offer.state = State::Asked;
        Some(Wish { relay: *relay, addr: offer.addr.clone() })
    }

    /// None of those that might be asked now serves the purpose: they are looked at again
    /// later.
    pub(crate) fn later(&mut self, now: Duration) {
        for offer in self.offers.values_mut() {
            if matches!(offer.state, State::Free(at) if at <= now) {
                offer.state = State::Free(now + RETRY.0);
            }
        }
    }

    /// When [`next`](Self::next) may have another.
    pub(crate) fn due(&self, most: usize) -> Option<Duration> {
        let at = |offer: &Offer| match offer.state {
            State::Free(at) => Some(at),
            _ => None,
        };
        self.offers.values().filter_map(at).min().filter(|_| self.used() < most)
    }

    /// Whether more relays are wanted than are known that don't refuse.
    pub(crate) fn is_short(&self, most: usize) -> bool {
        self.offers.values().filter(|offer| offer.refused == 0).count() < most
    }

    fn used(&self) -> usize {
        self.offers.values().filter(|o| !matches!(o.state, State::Free(_))).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn addr(n: usize) -> Multiaddr {
        format!("/ip4/8.8.8.{n}/tcp/1").parse().unwrap()
    }

    fn all(_: &Multiaddr) -> bool {
        true
    }

    #[test]
    fn two_relays_are_used_and_another_one_when_one_goes() {
        let mut seek = Seek::default();
        assert!(seek.is_short(2) && seek.due(2).is_none());
        let relays: Vec<PeerId> = (1..=3)
            .map(|n| {
                let relay = PeerId::random();
                seek.offers(relay, &addr(n), Duration::ZERO);
                relay
            })
            .collect();
        assert_eq!(seek.due(2), Some(PATIENCE));
        assert_eq!(seek.next(2, all, PATIENCE / 2, |_| 0), None, "somebody may reach it yet");
        let one = seek.next(2, all, PATIENCE, |n| n - 1).unwrap();
        assert_eq!(seek.next(2, |_| false, PATIENCE, |_| 0), None, "none serves the purpose");
        let two = seek.next(2, all, PATIENCE, |_| 0).unwrap();
        assert_ne!(one, two);
        assert_eq!((seek.next(2, all, PATIENCE, |_| 0), seek.due(2)), (None, None));
        [&one, &two].iter().for_each(|wish| seek.accepted(&wish.relay));
        // Told again by identify, it stays what it is.
        seek.offers(one.relay, &one.addr, 5 * SECOND);
        assert_eq!(seek.next(2, all, 9 * SECOND, |_| 0), None);
        seek.gone(&one.relay);
        assert!(seek.is_known(&one.relay) && !seek.is_known(&PeerId::random()));
        let third = seek.next(2, all, 9 * SECOND, |_| 0).unwrap();
        assert!(relays.contains(&third.relay) && third != one && third != two);
    }

    #[test]
    fn who_refuses_is_asked_less_and_less_often() {
        let (mut seek, relay) = (Seek::default(), PeerId::random());
        seek.offers(relay, &addr(1), Duration::ZERO);
        let mut now = PATIENCE;
        for pause in [5, 10, 20, 40, 80, 160, 320, 600, 600] {
            assert_eq!(seek.next(2, all, now, |_| 0).unwrap().relay, relay);
            seek.refused(&relay, now);
            now += pause * SECOND;
            assert_eq!(seek.due(2), Some(now));
        }
        seek.next(2, all, now, |_| 0).unwrap();
        seek.accepted(&relay);
        // It lapsed.
        seek.refused(&relay, now);
        assert_eq!(seek.due(2), Some(now + 5 * SECOND));
        seek.offers(PeerId::random(), &addr(2), now);
        assert!(seek.is_short(2), "one of the two refuses");
    }
}
