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

    fn addrs(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
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
