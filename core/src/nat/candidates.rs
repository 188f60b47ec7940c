//! Where others see this node: the addresses at which it may be reached.

use crate::prefix::{Prefix, ip, is_public};
use libp2p::Multiaddr;
use smallvec::SmallVec;

/// Addresses that are remembered.
const MOST: usize = 32;
/// Addresses of which one network alone may tell: peers can make up as many as they
/// like.
const ALONE: usize = 4;
/// Networks that are remembered of an address.
const WITNESSES: usize = 4;

/// The addresses, those that were told last at the end.
#[derive(Debug, Default)]
pub(crate) struct Candidates(Vec<Seen>);

#[derive(Debug)]
struct Seen {
    addr: Multiaddr,
    by: SmallVec<[Prefix; 1]>,
}

impl Candidates {
    /// A peer of a network sees this node at an address. Whether that is news, and
    /// worth something.
    pub(crate) fn seen(&mut self, addr: &Multiaddr, by: Prefix) -> bool {
        if let Some(known) = self.0.iter_mut().find(|seen| seen.addr == *addr) {
            if !known.by.contains(&by) && known.by.len() < WITNESSES {
                known.by.push(by);
            }
            return false;
        }
        let alone = |seen: &Seen| seen.by.len() == 1;
        if self.0.iter().filter(|seen| alone(seen) && seen.by[0] == by).count() >= ALONE {
            return false;
        }
        if self.0.len() >= MOST {
            let Some(doubtful) = self.0.iter().position(alone) else { return false };
            self.0.remove(doubtful);
        }
        self.0.push(Seen { addr: addr.clone(), by: [by].into_iter().collect() });
        true
    }

    /// Whether a public address is among them.
    pub(crate) fn has_public(&self) -> bool {
        self.0.iter().any(|seen| ip(&seen.addr).is_some_and(is_public))
    }

    /// Forgets all of them: this node is elsewhere.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn network(n: u8) -> Prefix {
        Prefix::of(&addr(&format!("/ip4/8.8.{n}.8/tcp/1")))
    }

    #[test]
    fn one_network_tells_of_few_addresses_and_pushes_nothing_out() {
        let mut candidates = Candidates::default();
        let at = |n: usize| addr(&format!("/ip4/9.9.9.9/tcp/{n}"));
        assert!(candidates.seen(&at(1), network(1)));
        assert!(!candidates.seen(&at(1), network(1)) && !candidates.seen(&at(1), network(2)));
        let liar = network(9);
        assert_eq!((2..100).filter(|n| candidates.seen(&at(*n), liar)).count(), ALONE);
        // Of many networks that each say something else, what one alone says goes.
        for n in 10..200 {
            candidates.seen(&at(usize::from(n)), network(n));
        }
        assert_eq!(candidates.0.len(), MOST);
        assert_eq!(candidates.0[0].addr, at(1), "two networks have told of it");
        assert!(candidates.has_public());
        candidates.clear();
        assert!(candidates.seen(&addr("/ip4/10.0.0.1/tcp/1"), liar) && !candidates.has_public());
    }
}
