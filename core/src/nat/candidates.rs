//! Where others see this node: the addresses at which it may be reached.

use crate::prefix::{Prefix, ip, is_public};
use libp2p::{Multiaddr, multiaddr::Protocol};
use smallvec::SmallVec;
use std::{net::IpAddr, time::Duration};

/// Addresses that are remembered.
const MOST: usize = 32;
/// Addresses of which one network alone may tell: peers can make up as many as they
/// like.
const ALONE: usize = 8;
/// Ports of this node with which an address is tried that somebody sees.
const PORTS: usize = 2;
/// For how long what was told last of an address says something. (What peers are to each
/// other they tell every five minutes, or every hour.)
const OLD: Duration = Duration::from_secs(2 * 3600);
/// Networks that are remembered of an address.
const WITNESSES: usize = 4;

/// Where this node may be reached that listens at these addresses, if a peer that it has
/// dialled sees it at this one, the likeliest first. The dial may have gone out from
/// another port than those at which it listens: since the port was in use, or would
/// have been. Nobody gets in there; at the port at which it listens, if that is the same
/// outside, as at most routers.
pub(crate) fn likely<'a>(
    seen: &Multiaddr,
    listens: impl Iterator<Item = &'a Multiaddr>,
) -> SmallVec<[Multiaddr; 3]> {
    let mut likely = SmallVec::new();
    let Some((at, by, port)) = place(seen) else { return likely };
    for addr in listens {
        let Some((own, kind, listened)) = place(addr) else { continue };
        if kind != by || own.is_ipv4() != at.is_ipv4() || own.is_loopback() != at.is_loopback() {
            continue;
        }
        if listened == port {
            return [seen.clone()].into_iter().collect();
        }
        let here: Multiaddr =
            std::iter::once(Protocol::from(at)).chain(addr.iter().skip(1)).collect();
        if likely.len() < PORTS && !likely.contains(&here) {
            likely.push(here);
        }
    }
    likely.push(seen.clone());
    likely
}

/// The parts of an address of TCP or QUIC: where, whether by QUIC, and the port.
fn place(addr: &Multiaddr) -> Option<(IpAddr, bool, u16)> {
    let mut parts = addr.iter().skip(1);
    match (parts.next()?, parts.next(), parts.next()) {
        (Protocol::Tcp(port), None, None) => Some((ip(addr)?, false, port)),
        (Protocol::Udp(port), Some(Protocol::QuicV1), None) => Some((ip(addr)?, true, port)),
        _ => None,
    }
}

/// The addresses, those that were told last at the end.
#[derive(Debug, Default)]
pub(crate) struct Candidates(Vec<Seen>);

#[derive(Debug)]
struct Seen {
    addr: Multiaddr,
    by: SmallVec<[Prefix; 1]>,
    /// When somebody told of it last.
    at: Duration,
}

impl Candidates {
    /// A peer of a network sees this node at an address. Whether that is news, and
    /// worth something.
    pub(crate) fn seen(&mut self, addr: &Multiaddr, by: Prefix, now: Duration) -> bool {
        if let Some(known) = self.0.iter_mut().find(|seen| seen.addr == *addr) {
            known.at = now;
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
        self.0.push(Seen { addr: addr.clone(), by: [by].into_iter().collect(), at: now });
        true
    }

    /// Forgets those of which nobody tells any more.
    pub(crate) fn forget(&mut self, now: Duration) {
        self.0.retain(|seen| now.saturating_sub(seen.at) < OLD);
    }

    /// Those to try again: public ones, or all if there are none; the last first.
    pub(crate) fn again(&self) -> impl Iterator<Item = &Multiaddr> {
        let all = !self.has_public();
        let public = |addr: &Multiaddr| ip(addr).is_some_and(is_public);
        self.0.iter().rev().map(|seen| &seen.addr).filter(move |addr| all || public(addr))
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

    const NOW: Duration = Duration::from_secs(1);

    fn network(n: u8) -> Prefix {
        Prefix::of(&addr(&format!("/ip4/8.8.{n}.8/tcp/1")))
    }

    #[test]
    fn where_a_dial_came_from_tells_where_this_node_listens_outside() {
        let listens: Vec<Multiaddr> = [
            "/ip4/127.0.0.1/tcp/4001",
            "/ip4/192.168.1.2/tcp/4002",
            "/ip4/192.168.1.2/udp/4003/quic-v1",
            "/ip4/10.0.0.2/tcp/4002",
            "/ip6/2001:db8::1/tcp/4004",
            "/ip4/8.8.8.8/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit",
        ]
        .map(addr)
        .into();
        for (seen, expected) in [
            ("/ip4/9.9.9.9/tcp/50000", &["/ip4/9.9.9.9/tcp/4002", "/ip4/9.9.9.9/tcp/50000"][..]),
            ("/ip4/9.9.9.9/tcp/4002", &["/ip4/9.9.9.9/tcp/4002"]),
            (
                "/ip4/9.9.9.9/udp/50000/quic-v1",
                &["/ip4/9.9.9.9/udp/4003/quic-v1", "/ip4/9.9.9.9/udp/50000/quic-v1"],
            ),
            ("/ip4/127.0.0.1/tcp/50000", &["/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.1/tcp/50000"]),
            ("/ip6/2001:db8::9/udp/1/quic-v1", &["/ip6/2001:db8::9/udp/1/quic-v1"]),
            ("/dns/example.org/tcp/1", &[]),
        ] {
            let expected: Vec<_> = expected.iter().map(|text| addr(text)).collect();
            assert_eq!(*likely(&addr(seen), listens.iter()), expected, "{seen}");
        }
    }

    #[test]
    fn one_network_tells_of_few_addresses_and_pushes_nothing_out() {
        let mut candidates = Candidates::default();
        let at = |n: usize| addr(&format!("/ip4/9.9.9.9/tcp/{n}"));
        assert!(candidates.seen(&at(1), network(1), NOW));
        assert!(
            !candidates.seen(&at(1), network(1), NOW) && !candidates.seen(&at(1), network(2), NOW)
        );
        let liar = network(9);
        assert_eq!((2..100).filter(|n| candidates.seen(&at(*n), liar, NOW)).count(), ALONE);
        // Of many networks that each say something else, what one alone says goes.
        for n in 10..200 {
            candidates.seen(&at(usize::from(n)), network(n), NOW);
        }
        assert_eq!(candidates.0.len(), MOST);
        assert_eq!(candidates.0[0].addr, at(1), "two networks have told of it");
        assert!(candidates.has_public());
        candidates.clear();
        assert!(
            candidates.seen(&addr("/ip4/10.0.0.1/tcp/1"), liar, NOW) && !candidates.has_public()
        );
    }
    #[test]
    fn addresses_of_which_nobody_tells_any_more_are_forgotten() {
        let (public, home) = (addr("/ip4/9.9.9.9/tcp/1"), addr("/ip4/10.0.0.1/tcp/1"));
        let mut candidates = Candidates::default();
        candidates.seen(&public, network(1), NOW);
        candidates.seen(&home, network(2), NOW);
        assert!(candidates.again().eq([&public]), "all others are near");
        candidates.seen(&home, network(2), 2 * NOW);
        candidates.forget(NOW + OLD);
        assert!(candidates.again().eq([&home]));
    }
}
