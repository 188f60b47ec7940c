//! The network that an address belongs to: what one hand can hold many
//! addresses of, and is therefore counted as one.

use crate::nat::is_relayed;
use libp2p::{Multiaddr, multiaddr::Protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network of addresses: the /24 of a public IPv4 address, the /48 of a
/// public IPv6 address. Addresses that are not public (private, loopback,
/// link-local, shared by a provider's customers) each stand alone, since a
/// whole cluster may be in one network of them. All that have no IP address
/// are of one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(Option<IpAddr>);

impl Prefix {
    /// The network of an address of a connection.
    pub fn of(addr: &Multiaddr) -> Self {
        ip(addr).map_or(Self(None), Self::from)
    }

    /// The network of the peer at the other end of a connection: behind a relay it may
    /// be any.
    pub(crate) fn of_peer(addr: &Multiaddr) -> Self {
        match is_relayed(addr) {
            true => Self(None),
            false => Self::of(addr),
        }
    }

    /// Whether it is this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        self.0.is_some_and(|ip| ip.is_loopback())
    }
}

impl From<IpAddr> for Prefix {
    fn from(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        Self(Some(match ip {
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
}
