//! What one peer says alone against what was so before: that this node is no longer
//! reached at an address. Whoever this node has dialled may be asked, and may lie.

use crate::prefix::Prefix;
use libp2p::{Multiaddr, PeerId};
use std::{collections::BTreeMap, time::Duration};

/// For how long others alone are asked whether it is so. If none has said anything by
/// then, such as where there is no other, the word of the first counts when it says so
/// once more.
const ALONE: Duration = Duration::from_secs(180);

/// A peer that dials this node to tell whether it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Witness {
    peer: PeerId,
    /// Its network; none if that isn't known.
    network: Option<Prefix>,
}

impl Witness {
    /// A peer that is at an address, if it is known at which.
    pub(crate) fn new(peer: PeerId, at: Option<&Multiaddr>) -> Self {
        Self { peer, network: at.map(Prefix::of) }
    }

    /// Whether they are of two networks, for certain.
    fn is_apart(&self, other: &Self) -> bool {
        self.network.zip(other.network).is_some_and(|(one, other)| one != other)
    }
}

/// Who said first that this node is not reached at an address, and when.
#[derive(Clone, Copy, Debug)]
struct Denial {
    by: Witness,
    at: Duration,
}

impl Denial {
    fn is_long(&self, now: Duration) -> bool {
        now.saturating_sub(self.at) >= ALONE
    }

    /// Whether it counts if a peer says the same.
    fn holds(&self, says: &Witness, now: Duration) -> bool {
        says.peer != self.by.peer || self.is_long(now)
    }
}

/// The addresses at which this node was reached, and one peer says otherwise.
#[derive(Debug, Default)]
pub(crate) struct Denied(BTreeMap<Multiaddr, Denial>);

impl Denied {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets the others.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Multiaddr) -> bool) {
        self.0.retain(|addr, _| keep(addr));
    }

    /// A peer says that this node is not reached at an address. Whether that counts.
    pub(crate) fn says(&mut self, by: Witness, addr: &Multiaddr, now: Duration) -> bool {
        if let Some(denial) = self.0.get(addr) {
            return denial.holds(&by, now);
        }
        self.0.insert(addr.clone(), Denial { by, at: now });
        false
    }

    /// Which of these is to be asked next, and of which addresses: best one of another
    /// network than who has denied them, else another peer. `random` chooses.
    pub(crate) fn next(
        &self,
        servers: &[Witness],
        now: Duration,
        random: impl FnOnce(usize) -> usize,
    ) -> Option<(usize, Vec<Multiaddr>)> {
        let first = *self.0.values().min_by_key(|denial| denial.at)?;
        // Whether it is worse than others; none if it is not to be asked.
        let worse = |server: &Witness| match first.is_long(now) {
            // Those that are better have had the time to say something.
            true => Some(false),
            false => first.holds(server, now).then(|| !server.is_apart(&first.by)),
        };
        let best = servers.iter().filter_map(worse).min()?;
        let is_best = |n: &usize| worse(&servers[*n]) == Some(best);
        let mut may: Vec<usize> = (0..servers.len()).filter(is_best).collect();
        let which = may.swap_remove(random(may.len()));
        let asked =
            |denial: &Denial| denial.by.peer == first.by.peer && denial.holds(&servers[which], now);
        let addrs = self.0.iter().filter(|(_, denial)| asked(denial));
        Some((which, addrs.map(|(addr, _)| addr.clone()).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    fn addr(port: u16) -> Multiaddr {
        format!("/ip4/8.8.8.8/tcp/{port}").parse().unwrap()
    }

    fn at(host: &str) -> Witness {
        Witness::new(PeerId::random(), Some(&format!("/ip4/{host}/tcp/1").parse().unwrap()))
    }

    #[test]
    fn another_is_asked_best_of_another_network() {
        let (liar, near, far) = (at("1.1.1.1"), at("1.1.1.2"), at("9.9.9.9"));
        let unknown = Witness::new(PeerId::random(), None);
        let mut denied = Denied::default();
        assert_eq!(denied.next(&[liar, far], NOW, |_| 0), None);
        assert!(!denied.says(liar, &addr(1), NOW) && !denied.says(liar, &addr(2), 2 * NOW));
        let both = vec![addr(1), addr(2)];
        for (servers, asked) in [
            (&[liar, near, far][..], Some(2)),
            (&[unknown, liar, far], Some(2)),
            (&[liar, near], Some(1)),
            (&[unknown, liar], Some(0)),
            (&[liar], None),
            (&[], None),
        ] {
            let next = denied.next(servers, 3 * NOW, |n| n - 1);
            assert_eq!(next, asked.map(|n| (n, both.clone())), "{servers:?}");
        }
        assert!(denied.says(near, &addr(1), 3 * NOW), "also if no better one was there");
    }

    #[test]
    fn who_says_it_alone_is_asked_again_and_counts_after_a_while() {
        let (only, mute) = (at("1.1.1.1"), at("9.9.9.9"));
        let mut denied = Denied::default();
        assert!(!denied.says(only, &addr(1), NOW) && !denied.says(only, &addr(2), 2 * NOW));
        let before = ALONE - NOW + NOW / 2;
        assert!(!denied.says(only, &addr(1), before), "it has said that before");
        assert_eq!(denied.next(&[only], before, |_| 0), None);
        assert_eq!(denied.next(&[mute, only], before, |n| n - 1).unwrap().0, 0);
        // Also where another is there that says nothing.
        let after = NOW + ALONE;
        assert_eq!(denied.next(&[mute, only], after, |n| n - 1), Some((1, vec![addr(1)])));
        assert_eq!(denied.next(&[mute, only], after, |_| 0).unwrap(), (0, vec![addr(1), addr(2)]));
        assert!(denied.says(only, &addr(1), after) && !denied.says(only, &addr(2), after));
    }

    #[test]
    fn what_others_deny_is_asked_of_others() {
        let (one, other) = (at("1.1.1.1"), at("9.9.9.9"));
        let mut denied = Denied::default();
        assert!(!denied.says(one, &addr(1), NOW) && !denied.says(other, &addr(2), 2 * NOW));
        assert_eq!(denied.next(&[one, other], 3 * NOW, |_| 0), Some((1, vec![addr(1)])));
        denied.retain(|denied| *denied != addr(1));
        assert_eq!(denied.next(&[one, other], 3 * NOW, |_| 0), Some((0, vec![addr(2)])));
        denied.retain(|_| false);
        assert!(denied.is_empty());
    }
}
