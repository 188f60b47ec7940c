//! The network that an address belongs to: what one hand can hold many
//! addresses of, and is therefore counted as one.

use crate::nat::{is_relayed, relay_of};
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network of addresses: the /24 of a public IPv4 address, the /48 of a
/// public IPv6 address. Addresses that are not public (private, loopback,
/// link-local, shared by a provider's customers) each stand alone, since a
/// whole cluster may be in one network of them. All that have no IP address
/// are of one network. Those who come over a relay are of that one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(Network);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Network {
    Nowhere,
    Of(IpAddr),
    /// Behind a relay.
    Over(PeerId),
    /// Behind a relay that has dialled this node: where it is, is known, and no name.
    OverOneOf(IpAddr),
}

impl Prefix {
    /// The network of an address of a connection.
    pub fn of(addr: &Multiaddr) -> Self {
        ip(addr).map_or(Self(Network::Nowhere), Self::from)
    }

    /// The network from which somebody connects to this node, by both ends. Who comes
    /// over a relay has no address: the relay answers for all that it brings. It is one
    /// that this node has asked to, so that nobody can be at as many as he likes.
    pub(crate) fn of_incoming(local: &Multiaddr, remote: &Multiaddr) -> Self {
        if !is_relayed(local) {
            return Self::of(remote);
        }
        Self(match (relay_of(local), Self::of(local).0) {
            (Some(relay), _) => Network::Over(relay),
            (None, Network::Of(ip)) => Network::OverOneOf(ip),
            (None, nowhere) => nowhere,
        })
    }

    /// The network of the peer at the other end of a connection: behind a relay it may
    /// be any.
    pub(crate) fn of_peer(addr: &Multiaddr) -> Self {
        match is_relayed(addr) {
            true => Self(Network::Nowhere),
            false => Self::of(addr),
        }
    }

    /// Whether it is this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        matches!(self.0, Network::Of(ip) if ip.is_loopback())
    }
}

impl From<IpAddr> for Prefix {
    fn from(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        Self(Network::Of(match ip {
            _ if !is_public(ip) => ip,
            IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & (u32::MAX << 8)).into(),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 80)).into(),
        }))
    }
}

/// The IP address at which an address begins, an IPv4 one as such also where it
/// is written as an IPv6 one.
pub(crate) fn ip(addr: &Multiaddr) -> Option<IpAddr> {
    match addr.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(ip.into()),
        Some(Protocol::Ip6(ip)) => Some(IpAddr::V6(ip).to_canonical()),
        _ => None,
    }
}

/// Whether an address can be reached from anywhere, as far as it shows.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && b & 0xc0 == 64;
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || shared)
        }
        IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_go_by_network_and_others_stand_alone() {
        let of = |addr: &str| Prefix::of(&addr.parse().unwrap());
        for (one, other, same) in [
            ("/ip4/8.8.8.8/tcp/1", "/ip4/8.8.8.9/udp/2/quic-v1", true),
            ("/ip4/8.8.8.8/tcp/1", "/ip4/8.8.9.8/tcp/1", false),
            ("/ip4/8.8.8.8/tcp/1", "/ip6/::ffff:8.8.8.1/tcp/1", true),
            ("/ip6/2001:db8:1::1/tcp/1", "/ip6/2001:db8:1:ff::2/tcp/1", true),
            ("/ip6/2001:db8:1::1/tcp/1", "/ip6/2001:db8:2::1/tcp/1", false),
            ("/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.2/tcp/1", false),
            ("/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2", true),
            ("/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.2/tcp/1", false),
            ("/ip4/100.64.0.1/tcp/1", "/ip4/100.64.0.2/tcp/1", false),
            ("/ip4/100.128.0.1/tcp/1", "/ip4/100.128.0.2/tcp/1", true),
            ("/ip4/169.254.0.1/tcp/1", "/ip4/169.254.0.2/tcp/1", false),
            ("/ip6/fd00::1/tcp/1", "/ip6/fd00::2/tcp/1", false),
            ("/ip6/fe80::1/tcp/1", "/ip6/fe80::2/tcp/1", false),
            ("/ip6/::1/tcp/1", "/ip6/::1/tcp/2", true),
            ("/dns/a/tcp/1", "/dns/b/tcp/1", true),
        ] {
            assert_eq!(of(one) == of(other), same, "{one} {other}");
        }
    }

    #[test]
    fn who_comes_over_a_relay_is_of_its_network_wherever_that_is() {
        let [relay, other] = [(); 2].map(|()| PeerId::random());
        let of = |local: &str, remote: &str| {
            Prefix::of_incoming(&local.parse().unwrap(), &remote.parse().unwrap())
        };
        let stranger = || format!("/p2p/{}", PeerId::random());
        let over = |at: &str| of(&format!("{at}/p2p-circuit"), &stranger());
        let here = over(&format!("/ip4/8.8.8.8/tcp/1/p2p/{relay}"));
        assert_eq!(here, over(&format!("/ip4/8.8.8.8/tcp/1/p2p/{relay}")), "whoever it is");
        assert_eq!(here, over(&format!("/ip6/2001:db8::1/udp/1/quic-v1/p2p/{relay}")));
        assert_ne!(here, over(&format!("/ip4/8.8.8.8/tcp/1/p2p/{other}")));
        // One that has dialled this node, beside others there.
        assert_eq!(over("/ip4/8.8.8.8/tcp/1"), over("/ip4/8.8.8.9/tcp/2"));
        assert_ne!(over("/ip4/8.8.8.8/tcp/1"), over("/ip4/8.8.9.8/tcp/1"));
        // The relay itself is where it is.
        let direct = of("/ip4/10.0.0.1/tcp/1", "/ip4/8.8.8.8/tcp/1");
        assert_eq!(direct, Prefix::of(&"/ip4/8.8.8.8/tcp/2".parse().unwrap()));
        assert!(direct != here && direct != over("/ip4/8.8.8.8/tcp/1"));
    }
}
