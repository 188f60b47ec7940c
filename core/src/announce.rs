//! The addresses at which others reach a node although it cannot see them
//! itself: those of a port mapping (Docker's `-p`, Kubernetes, the NAT of a
//! cloud).

use crate::{Error, ErrorKind, Multiaddr, PeerId, Result};
use libp2p::multiaddr::Protocol;
use std::net::IpAddr;

/// The most addresses that a node announces: others dial no more of one peer's.
pub const MAX_ANNOUNCED: usize = 8;

const FORMS: &str = "write one such as /ip4/203.0.113.7/tcp/4001, \
    /ip4/203.0.113.7/udp/4001/quic-v1 or /dns/node.example.org/tcp/4001";

/// What a node announces beside what it finds, or alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Announced {
    /// Without `/p2p/<id>`, in the order given.
    pub(crate) addrs: Vec<Multiaddr>,
    /// Whether nothing else is told.
    pub(crate) only: bool,
}

impl Announced {
    /// Checks what the node `own` is to announce.
    ///
    /// # Errors
    /// `Address` if an address cannot be announced, `Config` if there are too
    /// many or none.
    pub(crate) fn new(addrs: &[Multiaddr], only: bool, own: PeerId) -> Result<Self> {
        if only && addrs.is_empty() {
            return Err(Error::config(
                "announce_only",
                only,
                "there is no address to announce: add one to `announce`, or leave it out",
            ));
        }
        let mut checked = Vec::new();
        for addr in addrs {
            let addr = check(addr, own)?;
            if !checked.contains(&addr) {
                checked.push(addr);
            }
        }
        if checked.len() > MAX_ANNOUNCED {
            let accepted = format!("others dial {MAX_ANNOUNCED} addresses of a peer at most");
            return Err(Error::config(
                "announce",
                format!("{} addresses", checked.len()),
                accepted,
            ));
        }
        Ok(Self { addrs: checked, only })
    }
}

/// The address without its own `/p2p/<id>`, if others can dial it.
fn check(addr: &Multiaddr, own: PeerId) -> Result<Multiaddr> {
    let refuse = |why: String| {
        // A name may hold anything.
        let shown: String = addr.to_string().chars().take(200).collect();
        Error::new(ErrorKind::Address, format!("announce: {shown:?}: {why}"))
    };
    let mut parts: Vec<Protocol<'_>> = addr.iter().collect();
    if let Some(Protocol::P2p(peer)) = parts.last() {
        if *peer != own {
            return Err(refuse(format!(
                "it names the peer {peer}, and this node is {own}: leave out /p2p/{peer}"
            )));
        }
        parts.pop();
    }
    let (host, transport) =
        parts.split_first().ok_or_else(|| refuse(format!("it is empty; {FORMS}")))?;
    check_host(host).map_err(&refuse)?;
    let port = match transport {
        [Protocol::Tcp(port)] | [Protocol::Udp(port), Protocol::QuicV1] => *port,
        [] => return Err(refuse(format!("it has no transport; {FORMS}"))),
        [Protocol::Udp(_)] => {
            return Err(refuse("UDP alone is no transport: add /quic-v1".into()));
        }
        _ => return Err(refuse(format!("nodes speak TCP and QUIC alone; {FORMS}"))),
    };
    if port == 0 {
        return Err(refuse(
            "nobody can dial port 0: write the port that is mapped to the node".into(),
        ));
    }
    Ok(parts.into_iter().collect())
}

/// Whether others can make something of an address's first part.
fn check_host(host: &Protocol<'_>) -> Result<(), String> {
    let ip: IpAddr = match host {
        Protocol::Ip4(ip) => (*ip).into(),
        Protocol::Ip6(ip) => (*ip).into(),
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => {
            let fits = (1..=253).contains(&name.len());
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if fits && name.chars().all(plain) {
                return Ok(());
            }
            return Err("a name has 1 to 253 letters, digits, hyphens and dots".into());
        }
        _ => return Err(format!("it does not begin with an IP address or a name; {FORMS}")),
    };
    let why = match ip {
        ip if ip.is_unspecified() => "every host takes it for itself",
        ip if ip.is_multicast() => "it is a multicast group's",
        IpAddr::V4(ip) if ip.is_broadcast() => "it is everybody's",
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            "a link-local address means nothing without the other's interface"
        }
        _ => return Ok(()),
    };
    Err(format!("{why}: write the address at which others reach the node"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(addrs: &[&str], only: bool, own: PeerId) -> Result<Announced> {
        let addrs: Vec<Multiaddr> = addrs.iter().map(|a| a.parse().unwrap()).collect();
        Announced::new(&addrs, only, own)
    }

    #[test]
    fn what_others_can_dial_is_announced_once_and_without_the_own_id() {
        let own = PeerId::random();
        let whole = format!("/ip4/203.0.113.7/tcp/4001/p2p/{own}");
        let given = [
            "/dns/node.example.org/udp/4001/quic-v1",
            &whole,
            "/ip4/203.0.113.7/tcp/4001",
            "/ip6/2001:db8::7/tcp/4001",
            "/ip4/127.0.0.1/tcp/4001",
        ];
        let announced = announced(&given, true, own).unwrap();
        let shown: Vec<String> = announced.addrs.iter().map(ToString::to_string).collect();
        assert_eq!(shown, [given[0], given[2], given[3], given[4]]);
        assert!(announced.only);
    }

    #[test]
    fn what_nobody_can_dial_is_refused_with_the_reason() {
        let (own, other) = (PeerId::random(), PeerId::random());
        let of_another = format!("/ip4/203.0.113.7/tcp/4001/p2p/{other}");
        let through = format!("/ip4/203.0.113.7/tcp/4001/p2p/{own}/p2p-circuit");
        let long = format!("/dns/{}/tcp/1", "x".repeat(254));
        for (addr, why) in [
            ("/ip4/203.0.113.7", "no transport"),
            ("/dns/node.example.org", "no transport"),
            ("/dnsaddr/example.org", "does not begin with"),
            ("/tcp/4001", "does not begin with"),
            ("/ip4/203.0.113.7/udp/4001", "add /quic-v1"),
            ("/ip4/203.0.113.7/tcp/4001/ws", "TCP and QUIC alone"),
            (&through, "TCP and QUIC alone"),
            (&of_another, "leave out /p2p/"),
            ("/ip4/0.0.0.0/tcp/4001", "takes it for itself"),
            ("/ip6/::/udp/4001/quic-v1", "takes it for itself"),
            ("/ip4/224.0.0.1/tcp/4001", "multicast"),
            ("/ip4/255.255.255.255/tcp/4001", "everybody's"),
            ("/ip6/fe80::1/tcp/4001", "link-local"),
            ("/ip4/203.0.113.7/tcp/0", "port 0"),
            (&long, "1 to 253"),
            ("/dns/a\u{1b}[2Jb/tcp/1", "1 to 253"),
        ] {
            let error = announced(&[addr], false, own).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Address, "{addr}");
            let message = error.message();
            assert!(
                message.starts_with("announce: ") && message.contains(why),
                "{addr}: {message}"
            );
            assert!(!message.contains('\u{1b}'), "{message:?}");
        }
        let empty = Announced::new(&[Multiaddr::empty()], false, own).unwrap_err();
        assert!(empty.message().contains("it is empty"), "{empty}");
    }

    #[test]
    fn none_alone_and_too_many_are_refused() {
        let own = PeerId::random();
        let error = announced(&[], true, own).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("announce_only"), "{error}");
        let addrs: Vec<String> =
            (0..=MAX_ANNOUNCED).map(|n| format!("/ip4/203.0.113.{n}/tcp/1")).collect();
        let addrs: Vec<&str> = addrs.iter().map(String::as_str).collect();
        assert!(announced(&addrs[1..], false, own).is_ok());
        let error = announced(&addrs, false, own).unwrap_err();
        assert!(error.message().contains("9 addresses"), "{error}");
    }
}
