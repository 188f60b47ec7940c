//! Bounds on dials that follow from what a peer wants dialled: to punch through its NAT,
//! or to tell it whether it can be reached.

use crate::{
    dials::sensible,
    host::{budget::Budget, connected::Connected},
    metrics::ByLabel,
    prefix::ip,
};
use libp2p::{Multiaddr, PeerId};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::time::Instant;

/// Addresses that are dialled at once: as many as libp2p keeps to be told to others.
const MOST: usize = 20;
/// Hosts that they may be of.
const HOSTS: usize = 4;

/// What may be dialled for peers. Clones share it.
#[derive(Clone)]
pub(in crate::host) struct Bounds {
    connected: Connected,
    skipped: ByLabel,
    budget: Arc<Mutex<Budget>>,
    started: Instant,
}

impl Bounds {
    pub(in crate::host) fn new(connected: Connected, skipped: ByLabel) -> Self {
        Self { connected, skipped, budget: Arc::default(), started: Instant::now() }
    }

    /// Which of these addresses are dialled since a peer wants it, the last that it names
    /// first, as it has learnt those last: few, of few hosts, sensible from where the peer
    /// is, and not too often.
    pub(super) fn choose(&self, peer: &PeerId, addrs: &[Multiaddr]) -> Vec<Multiaddr> {
        let hearing = self.connected.hears(peer, &[]);
        let now = self.started.elapsed();
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut chosen, mut hosts) = (Vec::new(), HashSet::new());
        for addr in addrs.iter().rev().take(MOST) {
            let one = std::slice::from_ref(addr);
            if sensible(one, hearing, &self.skipped).is_empty() {
                continue;
            }
            let host = ip(addr);
            let why = match () {
                () if hosts.len() >= HOSTS && !hosts.contains(&host) => "too-many",
                () if !budget.take(addr, now) => "often",
                () => {
                    hosts.insert(host);
                    chosen.push(addr.clone());
                    continue;
                }
            };
            self.skipped.get_or_create(&[("reason", why)]).inc();
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::{
        core::{ConnectedPoint, Endpoint, transport::PortUse},
        swarm::ConnectionId,
    };

    const RELAY: &str = "p2p/12D3KooWA9dYi62ZA3MmUSTmG4sYX2uXgV4E1RuXmytJN7qkgUt5";

    fn addrs(list: &[&str]) -> Vec<Multiaddr> {
        list.iter().map(|addr| addr.parse().unwrap()).collect()
    }

    /// What may be dialled for a peer that is connected from there.
    fn from(at: &str) -> (Bounds, PeerId) {
        let (connected, peer) = (Connected::default(), PeerId::random());
        let (role, port_use) = (Endpoint::Dialer, PortUse::Reuse);
        let point =
            ConnectedPoint::Dialer { address: at.parse().unwrap(), role_override: role, port_use };
        connected.opened(peer, ConnectionId::new_unchecked(1), &point);
        (Bounds::new(connected, ByLabel::default()), peer)
    }

    #[test]
    fn what_makes_no_sense_from_where_the_peer_is_is_not_dialled() {
        let [public, circuit, private, here] = [
            "/ip4/8.8.8.8/tcp/4001".to_owned(),
            // A relay of this machine may have it from anywhere.
            format!("/ip4/127.0.0.1/tcp/4001/{RELAY}/p2p-circuit"),
            "/ip4/10.0.0.7/tcp/4001".to_owned(),
            "/ip4/127.0.0.1/tcp/4001".to_owned(),
        ];
        for (wants, of_public, of_private, of_here) in [
            ("/ip4/8.8.8.8/udp/4001/quic-v1", true, true, true),
            ("/ip4/10.0.0.8/tcp/22", false, true, true),
            ("/ip4/127.0.0.1/tcp/22", false, false, true),
            ("/ip6/::1/tcp/22", false, false, true),
            ("/ip4/8.8.8.8/udp/53", false, false, false),
            ("/ip4/8.8.8.8/tcp/0", false, false, false),
            ("/ip4/224.0.0.1/tcp/1", false, false, false),
            ("/ip6/fe80::1/tcp/1", false, false, false),
            ("/dnsaddr/example.org", false, false, false),
        ] {
            for (at, may) in [
                (&public, of_public),
                (&circuit, of_public),
                (&private, of_private),
                (&here, of_here),
            ] {
                let wanted = addrs(&[wants, "/ip4/9.9.9.9/tcp/1"]);
                let (bounds, peer) = from(at);
                let chosen = bounds.choose(&peer, &wanted);
                assert_eq!(chosen.contains(&wanted[0]), may, "{wants} from {at}");
                assert!(chosen.contains(&wanted[1]), "what comes with {wants} from {at}");
            }
        }
    }

    #[test]
    fn few_addresses_of_few_hosts_are_dialled_and_none_too_often() {
        let ports = |hosts: u8, n: usize| -> Vec<Multiaddr> {
            let host = |i: usize| i % usize::from(hosts) + 1;
            (0..n)
                .map(|i| format!("/ip4/8.8.{}.8/tcp/{}", host(i), i + 1).parse().unwrap())
                .collect()
        };
        for (hosts, n, dialled) in [(1, MOST, MOST), (1, MOST + 1, MOST), (4, 8, 8), (5, 5, 4)] {
            let (bounds, peer) = from("/ip4/8.8.8.8/tcp/4001");
            let chosen = bounds.choose(&peer, &ports(hosts, n));
            assert_eq!(chosen.len(), dialled, "{n} addresses of {hosts} hosts");
        }
        // Whoever wants it.
        let (bounds, peer) = from("/ip4/8.8.8.8/tcp/4001");
        let victim = addrs(&["/ip4/9.9.9.9/tcp/443"]);
        assert_eq!((0..100).filter(|_| !bounds.choose(&peer, &victim).is_empty()).count(), 8);
        assert!(bounds.clone().choose(&PeerId::random(), &victim).is_empty());
        let often = bounds.skipped.get_or_create(&[("reason", "often")]).get();
        assert_eq!(often, 93);
    }

    #[test]
    fn what_makes_no_sense_or_is_too_much_is_left_out_and_the_rest_dialled() {
        let bounds = Bounds::new(Connected::default(), ByLabel::default());
        let peer = PeerId::random();
        let stale =
            addrs(&["/ip4/192.168.1.2/tcp/4001", "/ip4/127.0.0.1/tcp/1", "/ip4/8.8.1.1/tcp/1"]);
        let hosts = ["8.8.2.2", "8.8.3.3", "8.8.4.4", "8.8.5.5"];
        let now =
            addrs(&hosts.map(|host| format!("/ip4/{host}/tcp/4001")).each_ref().map(|s| &**s));
        let mut expected = now.clone();
        expected.reverse();
        assert_eq!(bounds.choose(&peer, &[&stale[..], &now].concat()), expected);
        // Of one host two transports count once.
        let both = addrs(&["/ip4/8.8.6.6/tcp/1", "/ip4/8.8.6.6/udp/1/quic-v1"]);
        assert_eq!(bounds.choose(&peer, &both).len(), 2);
        assert_eq!(bounds.choose(&peer, &stale[..2]), []);
        let many: Vec<Multiaddr> = (1..=99)
            .map(|port| format!("/ip4/9.9.9.9/tcp/{}", 4000 + port).parse().unwrap())
            .collect();
        assert_eq!(bounds.choose(&peer, &many).len(), MOST);
        let tries = (0..99).filter(|_| !bounds.choose(&peer, &now[..1]).is_empty()).count();
        assert!(tries < 20, "{tries}");
    }
}
