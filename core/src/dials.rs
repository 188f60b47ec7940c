//! Which of the addresses that others tell of a peer are dialled: those that
//! make sense from where they came, and few. What a person configured is dialled
//! as it is.
//!
//! Whoever tells a node where a peer is has it open connections: to ports of its
//! own machine, to its private network, to names that it looks up, to whom the
//! teller wants to be flooded. A peer on this machine may tell of its loopback
//! addresses, and one of a private network of private addresses. From afar,
//! private addresses make sense in ranges in which this node is itself: two
//! nodes in one network may know each other through a public one alone. A peer
//! has one name, which may stand for private addresses if this node has any.

use crate::{
    boot::Family,
    metrics::ByLabel,
    nat::relay_of,
    prefix::{ip, is_public},
};
use libp2p::{Multiaddr, multiaddr::Protocol};
use std::{borrow::Cow, net::IpAddr};

/// The most addresses of a peer that are dialled at once.
pub(crate) const MOST: usize = 8;

/// Where it was said, the farthest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Said {
    /// Anywhere.
    Public,
    /// In a private network.
    Private,
    /// On this machine.
    Machine,
}

impl Said {
    /// Where a packet from this address was sent, at a node with these addresses.
    pub(crate) fn of(source: IpAddr, own: &[Multiaddr]) -> Self {
        let source = source.to_canonical();
        match () {
            () if source.is_loopback() => Self::Machine,
            () => match (is_public(source), own.iter().any(|own| ip(own) == Some(source))) {
                (false, true) => Self::Machine,
                // The address may be that of a router before both.
                (false, false) | (true, true) => Self::Private,
                (true, false) => Self::Public,
            },
        }
    }
}

/// Private ranges, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ranges(u8);

impl Ranges {
    fn of(ip: IpAddr) -> Self {
        let range = match ip.to_canonical() {
            ip if ip.is_loopback() || ip.is_unspecified() || is_public(ip) => return Self(0),
            IpAddr::V6(ip) => u8::from(ip.is_unique_local()),
            IpAddr::V4(ip) => match ip.octets()[0] {
                10 => 2,
                172 => 3,
                192 => 4,
                100 => 5,
                _ => 6,
            },
        };
        Self(1 << range)
    }
}

/// From where a node hears something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hearing {
    from: Said,
    /// Where the node has private addresses itself.
    near: Ranges,
}

impl From<Said> for Hearing {
    fn from(from: Said) -> Self {
        Self { from, near: Ranges::default() }
    }
}

impl Hearing {
    /// What came from these addresses, at a node with those.
    pub(crate) fn new(sources: impl IntoIterator<Item = IpAddr>, own: &[Multiaddr]) -> Self {
        let from = sources.into_iter().map(|source| Said::of(source, own)).max();
        let near = own.iter().filter_map(ip).fold(0, |near, ip| near | Ranges::of(ip).0);
        Self { from: from.unwrap_or(Said::Public), near: Ranges(near) }
    }

    /// What a name stands for, which whoever keeps the name says, anywhere: if
    /// this node is in a private network, the name may be for there.
    pub(crate) fn by_name(own: &[Multiaddr]) -> Self {
        let far = Self::new([], own);
        match far.near == Ranges::default() {
            true => far,
            false => Self { from: Said::Private, ..far },
        }
    }

    /// What a record says, which anybody may have handed on from anywhere. A node
    /// that can be reached from this machine alone looks for others there.
    pub(crate) fn by_record(own: &[Multiaddr]) -> Self {
        let near = |addr: &Multiaddr| ip(addr).is_some_and(|ip| ip.is_loopback());
        match !own.is_empty() && own.iter().all(near) {
            true => Said::Machine.into(),
            false => Self::by_name(own),
        }
    }

    fn is_private_sensible(self, ip: IpAddr) -> bool {
        self.from >= Said::Private || self.near.0 & Ranges::of(ip).0 != 0
    }
}

/// The name at which an address begins.
pub(crate) fn name<'a>(addr: &'a Multiaddr) -> Option<(Cow<'a, str>, Family)> {
    match addr.iter().next()? {
        Protocol::Dns(name) => Some((name, Family::Any)),
        Protocol::Dns4(name) => Some((name, Family::V4)),
        Protocol::Dns6(name) => Some((name, Family::V6)),
        _ => None,
    }
}

/// Why an address that was told is not dialled, as a metrics label; `None` if it
/// is.
fn doubt(addr: &Multiaddr, from: Hearing) -> Option<&'static str> {
    let mut parts = addr.iter();
    match parts.next() {
        Some(Protocol::Ip4(_) | Protocol::Ip6(_)) => {}
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)) => {}
        Some(Protocol::Dnsaddr(_)) => return Some("name"),
        _ => return Some("useless"),
    }
    let port = match (parts.next(), parts.next()) {
        (Some(Protocol::Tcp(port)), None | Some(Protocol::P2p(_))) => port,
        (Some(Protocol::Udp(port)), Some(Protocol::QuicV1)) => port,
        _ => 0,
    };
    // Over one relay, whose name is known.
    let circuits = addr.iter().filter(|part| *part == Protocol::P2pCircuit).count();
    if port == 0 || circuits > 1 || (circuits == 1 && relay_of(addr).is_none()) {
        return Some("useless");
    }
    if name(addr).is_some() {
        return None;
    }
    let ip = ip(addr).filter(|ip| {
        let nowhere = match ip {
            IpAddr::V4(ip) => ip.is_broadcast(),
            // Means nothing without the teller's own zone.
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        !nowhere && !ip.is_unspecified() && !ip.is_multicast()
    });
    match ip {
        None => Some("useless"),
        Some(ip) if ip.is_loopback() => (from.from < Said::Machine).then_some("loopback"),
        Some(ip) if !is_public(ip) => (!from.is_private_sensible(ip)).then_some("private"),
        Some(_) => None,
    }
}

/// Those of a peer's addresses, told there, that may be dialled. The others are
/// counted by reason.
pub(crate) fn sensible(addrs: &[Multiaddr], from: Hearing, skipped: &ByLabel) -> Vec<Multiaddr> {
    let mut kept: Vec<Multiaddr> = Vec::new();
    // The same name may stand for several transports.
    let the_name = addrs.iter().find_map(name);
    for addr in addrs {
        let other = name(addr).is_some_and(|name| the_name.as_ref() != Some(&name));
        let reason = doubt(addr, from)
            .or(other.then_some("name"))
            .or((kept.len() >= MOST).then_some("too-many"));
        match reason {
            Some(reason) => drop(skipped.get_or_create(&[("reason", reason)]).inc()),
            None if kept.contains(addr) => {}
            None => kept.push(addr.clone()),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(list: &[&str]) -> Vec<Multiaddr> {
        list.iter().map(|addr| addr.parse().unwrap()).collect()
    }

    #[test]
    fn where_something_was_said_shows_from_its_source() {
        let own = addrs(&["/ip4/10.0.0.5/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip4/8.8.8.8/tcp/1"]);
        for (source, from) in [
            ("127.0.0.9", Said::Machine),
            ("::1", Said::Machine),
            ("10.0.0.5", Said::Machine),
            ("::ffff:10.0.0.5", Said::Machine),
            ("8.8.8.8", Said::Private),
            ("10.0.0.6", Said::Private),
            ("172.17.0.2", Said::Private),
            ("fd00::1", Said::Private),
            ("fe80::1", Said::Private),
            ("8.8.8.9", Said::Public),
            ("2001:db8::1", Said::Public),
        ] {
            assert_eq!(Said::of(source.parse().unwrap(), &own), from, "{source}");
        }
    }

    #[test]
    fn addresses_that_make_no_sense_from_there_are_skipped_and_counted() {
        let told = addrs(&[
            "/ip4/8.8.8.8/tcp/1",
            "/ip6/2001:db8::1/udp/1/quic-v1",
            "/dns/example.org/tcp/1",
            "/dns/example.org/udp/1/quic-v1",
            "/ip4/10.0.0.1/tcp/1",
            "/ip6/fd00::1/tcp/1",
            "/ip4/127.0.0.1/tcp/22",
            "/ip6/::1/tcp/22",
            "/ip6/::ffff:127.0.0.1/tcp/22",
            "/dns4/other.example.org/tcp/1",
            "/dnsaddr/example.org",
            "/dns/example.org/udp/53",
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/224.0.0.1/udp/1/quic-v1",
            "/ip4/255.255.255.255/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/ip4/8.8.8.8/tcp/0",
            "/ip4/8.8.8.8/udp/53",
            "/ip4/8.8.8.8/tcp/1/ws",
            "/ip4/8.8.8.8/tcp/1/p2p-circuit",
            "/p2p/12D3KooWA9dYi62ZA3MmUSTmG4sYX2uXgV4E1RuXmytJN7qkgUt5/p2p-circuit",
            "/ip4/8.8.8.8/tcp/1/p2p/12D3KooWA9dYi62ZA3MmUSTmG4sYX2uXgV4E1RuXmytJN7qkgUt5/p2p-circuit/p2p-circuit",
        ]);
        for (from, kept, loopback, private) in
            [(Said::Public, 4, 3, 2), (Said::Private, 6, 3, 0), (Said::Machine, 9, 0, 0)]
        {
            let skipped = ByLabel::default();
            // Of those that make sense, the last may be too many.
            let most = kept.min(MOST);
            assert_eq!(sensible(&told, from.into(), &skipped), told[..most], "{from:?}");
            let count = |reason| skipped.get_or_create(&[("reason", reason)]).get();
            assert_eq!((count("loopback"), count("private")), (loopback, private), "{from:?}");
            assert_eq!(
                (count("name"), count("useless"), count("too-many") as usize),
                (2, 11, kept - most)
            );
        }
    }

    #[test]
    fn over_a_relay_is_dialled_what_would_be_without() {
        let over = |relay| {
            let peer = "12D3KooWA9dYi62ZA3MmUSTmG4sYX2uXgV4E1RuXmytJN7qkgUt5";
            format!("{relay}/p2p/{peer}/p2p-circuit").parse().unwrap()
        };
        let told: Vec<Multiaddr> = vec![
            over("/ip4/8.8.8.8/tcp/1"),
            over("/ip4/8.8.8.8/udp/1/quic-v1"),
            over("/ip4/10.0.0.1/tcp/1"),
            over("/ip4/127.0.0.1/tcp/1"),
        ];
        for (from, kept) in [(Said::Public, 2), (Said::Private, 3), (Said::Machine, 4)] {
            assert_eq!(sensible(&told, from.into(), &ByLabel::default()), told[..kept], "{from:?}");
        }
    }

    #[test]
    fn of_many_addresses_the_first_are_dialled() {
        let many: Vec<Multiaddr> =
            (1..=64).map(|port| format!("/ip4/8.8.8.8/tcp/{port}").parse().unwrap()).collect();
        let skipped = ByLabel::default();
        assert_eq!(sensible(&many, Said::Public.into(), &skipped), many[..MOST]);
        assert_eq!(skipped.get_or_create(&[("reason", "too-many")]).get(), 56);
    }

    #[test]
    fn private_addresses_told_from_afar_make_sense_where_the_node_is_itself() {
        let told = addrs(&[
            "/ip4/192.168.7.7/tcp/1",
            "/ip4/10.9.9.9/tcp/1",
            "/ip4/172.17.0.3/tcp/1",
            "/ip4/100.64.0.1/tcp/1",
            "/ip4/169.254.169.254/tcp/1",
            "/ip6/fd00::1/tcp/1",
            "/ip4/127.0.0.1/tcp/1",
        ]);
        let afar = || ["8.8.8.8".parse().unwrap()];
        for (own, kept) in [
            (&["/ip4/192.168.1.5/tcp/1", "/ip4/127.0.0.1/tcp/1"][..], vec![0]),
            (&["/ip4/10.0.0.5/tcp/1", "/ip6/fd12::1/tcp/1"], vec![1, 5]),
            (&["/ip4/172.17.0.2/tcp/1", "/dns/example.org/tcp/1"], vec![2]),
            (&["/ip4/9.9.9.9/tcp/1", "/ip6/2001:db8::1/tcp/1", "/ip6/::1/tcp/1"], vec![]),
        ] {
            let kept: Vec<Multiaddr> = kept.into_iter().map(|i: usize| told[i].clone()).collect();
            let hearing = Hearing::new(afar(), &addrs(own));
            assert_eq!(sensible(&told, hearing, &ByLabel::default()), kept, "{own:?}");
        }
        // A record may be of any network, if this node is in one; and of this machine
        // if this node is for nobody else.
        for (own, kept) in [
            (&["/ip4/192.168.1.5/tcp/1", "/ip4/127.0.0.1/tcp/1"][..], &told[..6]),
            (&["/ip4/9.9.9.9/tcp/1", "/ip4/127.0.0.1/tcp/1"], &[]),
            (&["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1"], &told[..]),
            (&[], &[]),
        ] {
            let hearing = Hearing::by_record(&addrs(own));
            assert_eq!(sensible(&told, hearing, &ByLabel::default()), kept, "{own:?}");
        }
        // Whoever comes through the router before both is near, not here.
        let hearing = Hearing::new(afar(), &addrs(&["/ip4/8.8.8.8/tcp/1"]));
        assert_eq!(sensible(&told, hearing, &ByLabel::default()), told[..6]);
    }
}
