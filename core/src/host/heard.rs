//! Dials that follow from what others have told.

use super::budget::{Budget, port};
use crate::{cache::cache, dials::MOST, metrics::ByLabel, nat::relay_of, prefix::ip};
use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};
use lru::LruCache;
use std::{collections::HashMap, net::IpAddr, num::NonZeroUsize};
use tokio::time::Instant;

/// Peers whose own word on their addresses is remembered.
const MAX_TOLD: NonZeroUsize = NonZeroUsize::new(100).expect("not 0");

/// Peers of which it is known that they are at an address.
const MAX_THERE: NonZeroUsize = NonZeroUsize::new(1024).expect("not 0");

/// What is known of addresses by hearsay, and what dialling it has cost.
pub(super) struct Heard {
    /// Where peers that were connected said they are, as far as it is sensible.
    told: LruCache<PeerId, Vec<Multiaddr>>,
    /// Who was found where. To dial them there costs nothing: else whoever tells
    /// that others are there, who don't exist, would keep them from being dialled.
    there: LruCache<(PeerId, (IpAddr, u16)), ()>,
    budget: Budget,
    /// What is being dialled.
    dialled: HashMap<ConnectionId, Dialled>,
    started: Instant,
    skipped: ByLabel,
}

struct Dialled {
    peer: PeerId,
    addrs: Vec<Multiaddr>,
    paid: Vec<Multiaddr>,
}

/// Addresses that are dialled now.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub(super) addrs: Vec<Multiaddr>,
    /// Those of them that took from the budget.
    paid: Vec<Multiaddr>,
}

impl Heard {
    pub(super) fn new(skipped: ByLabel) -> Self {
        let (told, there) = (cache(MAX_TOLD), cache(MAX_THERE));
        let (budget, dialled) = (Budget::default(), HashMap::new());
        Self { told, there, budget, dialled, started: Instant::now(), skipped }
    }

    /// A peer said where it is.
    pub(super) fn told(&mut self, peer: PeerId, addrs: Vec<Multiaddr>) {
        self.told.put(peer, addrs);
    }

    /// Where a peer said it is.
    pub(super) fn of(&mut self, peer: &PeerId) -> &[Multiaddr] {
        self.told.get(peer).map_or(&[], |addrs| addrs)
    }

    /// Those of a peer's addresses that are dialled now, and paid for.
    pub(super) fn choose(&mut self, peer: &PeerId, addrs: Vec<Multiaddr>) -> Chosen {
        let now = self.started.elapsed();
        let mut chosen = Chosen::default();
        for addr in addrs {
            if chosen.addrs.contains(&addr) {
                continue;
            }
            // Over a relay that is known to be there nobody else is dialled.
            let whose = relay_of(&addr).unwrap_or(*peer);
            let there = port(&addr).is_some_and(|at| self.there.contains(&(whose, at)));
            let reason = match () {
                () if chosen.addrs.len() >= MOST => "too-many",
                () if there => {
                    chosen.addrs.push(addr);
                    continue;
                }
                () if self.budget.take(&addr, now) => {
                    chosen.paid.push(addr.clone());
                    chosen.addrs.push(addr);
                    continue;
                }
                () => "often",
            };
            self.skipped.get_or_create(&[("reason", reason)]).inc();
        }
        chosen
    }

    /// These are being dialled.
    pub(super) fn dialled(&mut self, connection: ConnectionId, peer: PeerId, chosen: Chosen) {
        let Chosen { addrs, paid } = chosen;
        if !addrs.is_empty() {
            self.dialled.insert(connection, Dialled { peer, addrs, paid });
        }
    }

    /// A peer answered at an address, also where another was looked for.
    pub(super) fn is_at(&mut self, peer: PeerId, addr: &Multiaddr) {
        if let Some(at) = port(addr) {
            self.there.put((peer, at), ());
        }
    }

    /// A dial has ended: if it reached the peer, what it took of the same host
    /// is given back.
    pub(super) fn ended(&mut self, connection: ConnectionId, reached: Option<&Multiaddr>) {
        let Some(Dialled { peer, addrs, paid }) = self.dialled.remove(&connection) else { return };
        match reached.and_then(ip) {
            Some(host) => {
                let same = paid.iter().filter(|addr| ip(addr) == Some(host));
                same.for_each(|addr| self.budget.give_back(addr));
            }
            None => addrs.iter().filter_map(port).for_each(|at| {
                self.there.pop(&(peer, at));
            }),
        }
    }

    /// For tests: some time passes.
    #[cfg(test)]
    fn pass(&mut self, time: std::time::Duration) {
        self.started -= time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(host: &str, n: usize) -> Vec<Multiaddr> {
        (1..=n).map(|port| format!("/ip4/{host}/tcp/{port}").parse().unwrap()).collect()
    }

    #[test]
    fn a_victim_among_good_addresses_costs_what_it_costs() {
        let mut heard = Heard::new(ByLabel::default());
        let mut victim = 0;
        for n in 0..100 {
            let told = [addrs("9.9.9.9", 1), addrs("8.8.8.8", 64)].concat();
            let peer = PeerId::random();
            let chosen = heard.choose(&peer, told);
            assert!(chosen.addrs.len() <= MOST);
            let at_victim = chosen.addrs.iter().filter(|addr| addr.to_string().contains("8.8.8.8"));
            victim += at_victim.count();
            // The peer itself is there each time.
            let connection = ConnectionId::new_unchecked(n);
            let reached = chosen.addrs[0].clone();
            assert_eq!(reached, addrs("9.9.9.9", 1)[0]);
            heard.dialled(connection, peer, chosen);
            heard.ended(connection, Some(&reached));
        }
        assert_eq!(victim, 32);
        assert_eq!(heard.choose(&PeerId::random(), addrs("8.8.8.8", 1)).addrs, []);
        heard.pass(std::time::Duration::from_secs(60));
        assert_eq!(heard.choose(&PeerId::random(), addrs("8.8.8.8", 1)).addrs.len(), 1);
        assert!(heard.dialled.is_empty());
    }

    #[test]
    fn lies_about_an_address_keep_nobody_from_who_is_there() {
        let mut heard = Heard::new(ByLabel::default());
        let (honest, at) = (PeerId::random(), addrs("8.8.8.8", 1));
        let mut n = 0;
        let mut dial = |heard: &mut Heard, peer| {
            let chosen = heard.choose(&peer, at.clone());
            n += 1;
            let dialled = chosen.addrs.len();
            heard.dialled(ConnectionId::new_unchecked(n), peer, chosen);
            (ConnectionId::new_unchecked(n), dialled)
        };
        for i in 0..100 {
            let (connection, dialled) = dial(&mut heard, PeerId::random());
            assert_eq!(dialled, usize::from(i < 8));
            heard.ended(connection, None);
            // Who answered instead.
            if dialled > 0 {
                heard.is_at(honest, &at[0]);
            }
        }
        let (connection, dialled) = dial(&mut heard, honest);
        assert_eq!(dialled, 1);
        // Gone: as any other from now on.
        heard.ended(connection, None);
        assert_eq!(dial(&mut heard, honest).1, 0);
    }

    #[test]
    fn those_who_are_known_to_be_there_are_bounded() {
        let mut heard = Heard::new(ByLabel::default());
        for _ in 0..5000 {
            heard.is_at(PeerId::random(), &addrs("8.8.8.8", 1)[0]);
        }
        assert_eq!(heard.there.len(), MAX_THERE.get());
    }
}
