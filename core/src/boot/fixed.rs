//! Peers whose place is known: static addresses, and names to resolve.

use super::{
    PeerSink,
    addr::Family,
    crawl::{Targets, crawl},
    desk::Desk,
};
use crate::{Error, ErrorKind, Multiaddr, Namespace, PeerId, PeerInfo, Result};
use hickory_resolver::{TokioResolver, config::LookupIpStrategy, proto::rr::RData};
use libp2p::multiaddr::Protocol;
use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

/// A cause of trouble.
const UNRESOLVED: &str = "unresolved";
/// The most addresses that are taken from a name.
const MAX_ADDRS: usize = 256;
/// How deep `dnsaddr` records may point to each other.
const MAX_DEPTH: usize = 3;
/// The most `dnsaddr` names that are looked up for one address.
const MAX_LOOKUPS: usize = 16;

fn resolver(family: Family) -> Result<TokioResolver> {
    let failed = |error| {
        Error::new(
            ErrorKind::Io,
            format!("the system's name servers are not known: {error}: see /etc/resolv.conf"),
        )
    };
    let mut builder = TokioResolver::builder_tokio().map_err(failed)?;
    builder.options_mut().ip_strategy = match family {
        Family::Any => LookupIpStrategy::Ipv4AndIpv6,
        Family::V4 => LookupIpStrategy::Ipv4Only,
        Family::V6 => LookupIpStrategy::Ipv6Only,
    };
    builder.build().map_err(failed)
}

fn unresolved(name: &str, error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::NotFound, format!("the name {name:?} does not resolve: {error}"))
}

/// Every address of a name.
pub(crate) async fn resolve(name: &str, family: Family) -> Result<Vec<IpAddr>> {
    // Addresses need no server.
    let found = resolver(family)?.lookup_ip(name).await.map_err(|error| unresolved(name, error))?;
    let meant = |ip: &IpAddr| match family {
        Family::Any => true,
        Family::V4 => ip.is_ipv4(),
        Family::V6 => ip.is_ipv6(),
    };
    let mut ips: Vec<IpAddr> = found.iter().filter(meant).take(MAX_ADDRS).collect();
    ips.sort_unstable();
    ips.dedup();
    if ips.is_empty() {
        return Err(unresolved(name, "it has no address of the family asked for"));
    }
    Ok(ips)
}

/// Asks every address of a name, resolving it again and again, until the sink
/// is closed.
pub(crate) async fn ask_name(
    desk: Arc<Desk>,
    (name, family, port): (String, Family, u16),
    rate: NonZeroU32,
    namespace: Namespace,
    sink: PeerSink,
) {
    const MAX_PAUSE: Duration = Duration::from_secs(10);
    let mut pause = Duration::from_secs(2);
    let mut reported = false;
    loop {
        match resolve(&name, family).await {
            Ok(ips) => {
                sink.is_over(UNRESOLVED);
                let (v4, v6): (Vec<_>, Vec<_>) = ips.into_iter().partition(IpAddr::is_ipv4);
                let ask = |ips: Vec<IpAddr>| {
                    let list = ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
                    let (desk, namespace) = (Arc::clone(&desk), namespace.clone());
                    let search = crawl(desk, Targets::List(list), rate, namespace, sink.clone());
                    tokio::time::timeout(pause, search)
                };
                tokio::join!(ask(v4), ask(v6), tokio::time::sleep(pause)).2;
            }
            Err(error) => {
                sink.fails(UNRESOLVED, &error);
                // Once: a name may come into being later.
                if !std::mem::replace(&mut reported, true) {
                    sink.error(error).await;
                }
                tokio::time::sleep(pause).await;
            }
        }
        pause = (pause * 3 / 2).min(MAX_PAUSE);
    }
}

/// Gives a static peer, or those that a `dnsaddr` name lists
/// (<https://github.com/multiformats/multiaddr/blob/master/protocols/DNSADDR.md>).
pub(crate) async fn known(peer: Option<PeerId>, addr: Multiaddr, sink: PeerSink) {
    let named = matches!(addr.iter().next(), Some(Protocol::Dnsaddr(_)));
    if let (false, Some(id)) = (named, peer) {
        return sink.found(PeerInfo { id, addrs: vec![addr] }).await;
    }
    match resolve_dnsaddr(&addr, peer).await {
        Ok(peers) => {
            sink.is_over(UNRESOLVED);
            for peer in peers {
                sink.found(peer).await;
            }
        }
        Err(error) => {
            sink.fails(UNRESOLVED, &error);
            sink.error(error).await;
        }
    }
}

async fn resolve_dnsaddr(addr: &Multiaddr, peer: Option<PeerId>) -> Result<Vec<PeerInfo>> {
    let resolver = resolver(Family::Any)?;
    let mut peers: Vec<PeerInfo> = Vec::new();
    let mut names =
        vec![(name_of(addr).ok_or_else(|| unresolved(&addr.to_string(), "no name"))?, 0)];
    let mut lookups = 0;
    while let Some((name, depth)) = names.pop() {
        lookups += 1;
        if lookups > MAX_LOOKUPS {
            break;
        }
        let found = match resolver.txt_lookup(format!("_dnsaddr.{name}")).await {
            Ok(found) => found,
            Err(error) if depth == 0 => return Err(unresolved(&name, error)),
            Err(_) => continue,
        };
        for record in found.answers().iter().take(MAX_ADDRS) {
            let RData::TXT(txt) = &record.data else { continue };
            let Some(mut addr) = parse_dnsaddr(&txt.to_string()) else { continue };
            if let Some(next) = name_of(&addr) {
                let other = matches!((addr.iter().last(), peer), (Some(Protocol::P2p(id)), Some(peer)) if id != peer);
                if depth < MAX_DEPTH && !other {
                    names.push((next, depth + 1));
                }
                continue;
            }
            let Some(Protocol::P2p(id)) = addr.pop() else { continue };
            if peer.is_some_and(|peer| peer != id) || addr.is_empty() {
                continue;
            }
            match peers.iter_mut().find(|known| known.id == id) {
                Some(known) => known.addrs.push(addr),
                None => peers.push(PeerInfo { id, addrs: vec![addr] }),
            }
        }
    }
    if peers.is_empty() {
        return Err(unresolved(
            &addr.to_string(),
            "no TXT record `dnsaddr=/…/p2p/<peer id>` at `_dnsaddr.NAME`",
        ));
    }
    Ok(peers)
}

fn name_of(addr: &Multiaddr) -> Option<String> {
    match addr.iter().next() {
        Some(Protocol::Dnsaddr(name)) => Some(name.into_owned()),
        _ => None,
    }
}

fn parse_dnsaddr(text: &str) -> Option<Multiaddr> {
    text.trim_matches('"').strip_prefix("dnsaddr=")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dnsaddr_records_are_read() {
        let addr = "/ip4/10.0.0.1/tcp/1";
        assert_eq!(parse_dnsaddr(&format!("dnsaddr={addr}")), addr.parse().ok());
        assert_eq!(parse_dnsaddr("v=spf1 -all"), None);
        assert_eq!(parse_dnsaddr("dnsaddr=nonsense"), None);
    }
}
