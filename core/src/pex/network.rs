//! The networks of a peer, for the view's choice: what one hand can hold many
//! ids in.

use crate::prefix::{Prefix, ip, is_public};
use libp2p::Multiaddr;
use std::net::IpAddr;

/// The networks in which a peer with these addresses counts: those of its public
/// IPv4 addresses, else of its public IPv6 addresses, else its one private
/// address that is likeliest to tell it from others. All that name no IP address
/// are of one network: a name costs nothing. A peer that has loopback addresses
/// alone counts alone: it is one of this machine's.
///
/// Beside these it counts in the network from which it was met, as far as that
/// tells peers from each other: what it says of itself is only its word.
pub(super) fn networks(addrs: &[Multiaddr], met: Option<Prefix>) -> impl Iterator<Item = Prefix> {
    let nameless = addrs.iter().all(|addr| ip(addr).is_none());
    let least = addrs.iter().filter_map(|addr| kind(ip(addr)?)).min();
    let every = least.is_some_and(|kind| kind <= PUBLIC6);
    addrs
        .iter()
        .filter(move |addr| least.is_some() && ip(addr).and_then(kind) == least)
        .map(Prefix::of)
        .take(if every { usize::MAX } else { 1 })
        .chain(nameless.then(|| Prefix::of(&Multiaddr::empty())))
        .chain(met.filter(|met| !met.is_loopback()))
}

/// The last kind of which all addresses count.
const PUBLIC6: u8 = 1;

/// The least kind counts. Container engines give every host the same addresses
/// in 172.16.0.0/12, from its beginning on.
fn kind(addr: IpAddr) -> Option<u8> {
    match addr {
        addr if addr.is_loopback() || addr.is_unspecified() => None,
        IpAddr::V4(_) if is_public(addr) => Some(0),
        IpAddr::V6(_) if is_public(addr) => Some(PUBLIC6),
        IpAddr::V4(addr) => Some(match addr.octets() {
            [192, 168, ..] => 2,
            [10, ..] => 3,
            [172, ..] => 5,
            _ => 6,
        }),
        IpAddr::V6(_) => Some(4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(addrs: &[&str]) -> Vec<Prefix> {
        let addrs: Vec<Multiaddr> = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
        networks(&addrs, None).collect()
    }

    #[test]
    fn a_peer_counts_where_it_was_met_too_and_names_are_one_network() {
        let addrs = |addrs: &[&str]| -> Vec<Multiaddr> {
            addrs.iter().map(|addr| addr.parse().unwrap()).collect()
        };
        let from = |ip: &str| Some(Prefix::from(ip.parse::<IpAddr>().unwrap()));
        let all = |list: &[&str], met| networks(&addrs(list), met).collect::<Vec<_>>();
        let claimed = "/ip4/8.8.8.8/tcp/1";
        assert_eq!(
            all(&[claimed], from("9.9.9.9")),
            [from("8.8.8.1"), from("9.9.9.1")].map(Option::unwrap)
        );
        assert_eq!(all(&[claimed], from("127.0.0.1")), [from("8.8.8.1").unwrap()]);
        assert_eq!(all(&["/ip4/127.0.0.1/tcp/1"], from("127.0.0.1")), []);
        let names = all(&["/dns/a/tcp/1"], None);
        assert_eq!(names.len(), 1);
        assert_eq!(all(&["/dns/b.c/udp/1/quic-v1", "/dns4/d/tcp/1"], None), names);
        assert_eq!(all(&[], None), names);
        assert_eq!(all(&[], from("9.9.9.9")), [names[0], from("9.9.9.1").unwrap()]);
    }

    #[test]
    fn a_peer_counts_in_its_public_networks_or_else_alone() {
        let public = of(&["/ip4/8.8.8.8/tcp/1"]);
        assert_eq!(public.len(), 1);
        for same in [
            &["/ip4/8.8.8.9/udp/5/quic-v1"][..],
            &["/ip4/10.0.0.1/tcp/1", "/ip4/8.8.8.8/tcp/1", "/ip6/2001:db8::1/tcp/1"],
            &["/ip4/127.0.0.1/tcp/1", "/ip4/8.8.8.77/tcp/1", "/dns/a.b/tcp/1"],
        ] {
            assert_eq!(of(same), public, "{same:?}");
        }
        // Whoever says that it has several is ranked by the worst of them.
        assert_eq!(of(&["/ip4/8.8.8.8/tcp/1", "/ip4/9.9.9.9/tcp/1"]).len(), 2);
        assert_eq!(of(&["/ip6/2001:db8::1/tcp/1"]), of(&["/ip6/2001:db8:0:5::9/tcp/1"]));

        // On a LAN each host is one, whatever else all of them have.
        let lan = of(&["/ip4/172.17.0.1/tcp/1", "/ip4/192.168.1.2/tcp/1", "/ip6/fd00::2/tcp/1"]);
        assert_eq!(lan, of(&["/ip4/192.168.1.2/tcp/9"]));
        assert_ne!(lan, of(&["/ip4/172.17.0.1/tcp/1", "/ip4/192.168.1.3/tcp/1"]));
        assert_eq!(of(&["/ip4/172.18.0.1/tcp/1", "/ip4/10.1.0.3/tcp/1"]).len(), 1);

        for alone in [&["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1"][..], &["/ip4/127.0.0.1/tcp/2"]] {
            assert!(of(alone).is_empty(), "{alone:?}");
        }
    }
}
