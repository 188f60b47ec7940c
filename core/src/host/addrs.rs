//! Where the node can be reached, and the signed record that says so.

use crate::{
    Result,
    announce::Announced,
    event::{Event, EventBus},
    nat::is_relayed,
    record::{SignedRecord, unix_nanos},
};
use libp2p::{Multiaddr, Swarm, identity::Keypair, multiaddr::Protocol, swarm::NetworkBehaviour};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// Keeps the list of addresses and the record in step with the swarm.
pub(super) struct AddressBook {
    key: Keypair,
    addrs: watch::Sender<Arc<[Multiaddr]>>,
    own: watch::Sender<Arc<[Multiaddr]>>,
    record: watch::Sender<SignedRecord>,
    announced: Announced,
    /// Where relays take what is for the node.
    relayed: Vec<Multiaddr>,
    events: EventBus,
    /// When to look again, if something has changed.
    due: Option<Instant>,
}

/// Changes that come within this time of each other are one: an interface that
/// comes up may have hundreds of addresses, and libp2p tells of each alone.
const MOMENT: Duration = Duration::from_millis(100);

type Watches = (AddressBook, watch::Receiver<Arc<[Multiaddr]>>, watch::Receiver<SignedRecord>);

impl AddressBook {
    pub(super) fn new<B: NetworkBehaviour>(
        key: Keypair,
        swarm: &Swarm<B>,
        announced: Announced,
        events: EventBus,
        least_seq: u64,
    ) -> Result<Watches> {
        let now = current(swarm, &announced, &[]);
        let record = SignedRecord::sign(&key, &now, unix_nanos().max(least_seq))?;
        let (record, record_watch) = watch::channel(record);
        let (addrs, addrs_watch) = watch::channel(Arc::from(now));
        let own = watch::Sender::new(own(swarm));
        let relayed = Vec::new();
        let book = Self { key, addrs, own, record, announced, relayed, events, due: None };
        Ok((book, addrs_watch, record_watch))
    }

    /// Notes that the swarm's addresses may have changed: they are
    /// [due](Self::due) in a moment.
    pub(super) fn changed(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + MOMENT);
    }

    /// Notes where relays take what is for the node. Whether that has changed.
    pub(super) fn is_at_relays(&mut self, addrs: &[Multiaddr]) -> bool {
        let changed = self.relayed != addrs;
        self.relayed = addrs.to_vec();
        changed
    }

    /// Waits until it is time for a [refresh](Self::refresh).
    pub(super) async fn due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Looks at the swarm's addresses again, and signs a new record if they
    /// have changed.
    pub(super) fn refresh<B: NetworkBehaviour>(&mut self, swarm: &Swarm<B>) {
        if self.is_new(swarm) {
            self.announce();
        }
    }

    /// The same after a pause, when listeners are told in any case.
    pub(super) fn resumed<B: NetworkBehaviour>(&mut self, swarm: &Swarm<B>) {
        self.is_new(swarm);
        self.announce();
    }

    /// Signs a new record if the addresses have changed. Whether they have.
    fn is_new<B: NetworkBehaviour>(&mut self, swarm: &Swarm<B>) -> bool {
        self.due = None;
        self.own.send_replace(own(swarm));
        let now = current(swarm, &self.announced, &self.relayed);
        if now[..] == self.addrs.borrow()[..] {
            return false;
        }
        let seq = unix_nanos().max(self.record.borrow().seq().saturating_add(1));
        match SignedRecord::sign(&self.key, &now, seq) {
            Ok(record) => self.record.send_replace(record),
            Err(error) => {
                tracing::error!(%error, "the addresses could not be signed");
                return false;
            }
        };
        self.addrs.send_replace(Arc::from(now));
        true
    }

    /// The node's own addresses, also those of which others are not told.
    pub(super) fn own(&self) -> watch::Receiver<Arc<[Multiaddr]>> {
        self.own.subscribe()
    }

    /// Tells listeners the current addresses.
    pub(super) fn announce(&self) {
        let record = self.record.borrow();
        let peer = record.peer();
        let addrs =
            self.addrs.borrow().iter().map(|a| a.clone().with(Protocol::P2p(peer))).collect();
        self.events.emit(Event::Listening { peer, addrs });
    }
}

fn own<B: NetworkBehaviour>(swarm: &Swarm<B>) -> Arc<[Multiaddr]> {
    let addrs = swarm.external_addresses().chain(swarm.listeners());
    // A relay's address is not this node's.
    addrs.filter(|addr| !is_relayed(addr)).cloned().collect()
}

/// The node's addresses, the most useful first: those that are announced, then
/// public ones, those at relays, those of the network, then loopback.
fn current<B: NetworkBehaviour>(
    swarm: &Swarm<B>,
    announced: &Announced,
    relayed: &[Multiaddr],
) -> Vec<Multiaddr> {
    // What the relay says of its own addresses is looked at first.
    let found = swarm.external_addresses().chain(swarm.listeners());
    let found = found.filter(|addr| !announced.only && !is_relayed(addr));
    let mut found: Vec<Multiaddr> = found.chain(relayed).cloned().collect();
    found.sort_by_cached_key(rank);
    found.dedup();
    found.retain(|addr| rank(addr).0 < UNUSABLE && !announced.addrs.contains(addr));
    announced.addrs.iter().cloned().chain(found).collect()
}

const UNUSABLE: u8 = 4;

/// How useful an address is to somebody else, the least number first; the text
/// makes the order stable.
fn rank(addr: &Multiaddr) -> (u8, u8, String) {
    let network = match addr.iter().next() {
        Some(Protocol::Ip4(ip)) if ip.is_loopback() => 3,
        Some(Protocol::Ip4(ip)) if ip.is_link_local() => 2,
        Some(Protocol::Ip4(ip)) if ip.is_private() => 1,
        Some(Protocol::Ip6(ip)) if ip.is_loopback() => 3,
        // Means nothing without the asker's own zone.
        Some(Protocol::Ip6(ip)) if ip.is_unicast_link_local() => UNUSABLE,
        Some(Protocol::Ip6(ip)) if ip.is_unique_local() => 1,
        _ => 0,
    };
    let transport = match () {
        () if is_relayed(addr) => 2,
        () => u8::from(addr.iter().any(|p| matches!(p, Protocol::QuicV1))),
    };
    (network, transport, addr.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_useful_address_comes_first() {
        let mut addrs: Vec<Multiaddr> = [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/10.0.0.1/udp/1/quic-v1",
            "/ip4/9.9.9.9/tcp/1/p2p/12D3KooWA9dYi62ZA3MmUSTmG4sYX2uXgV4E1RuXmytJN7qkgUt5/p2p-circuit",
            "/ip6/fe80::1/tcp/1",
            "/ip4/10.0.0.1/tcp/1",
            "/ip4/8.8.8.8/tcp/1",
        ]
        .map(|a| a.parse().unwrap())
        .into();
        addrs.sort_by_cached_key(rank);
        let order: Vec<String> = addrs.iter().map(ToString::to_string).collect();
        assert_eq!(
            order,
            [
                "/ip4/8.8.8.8/tcp/1",
                "/ip4/9.9.9.9/tcp/1/p2p/12D3KooWA9dYi62ZA3MmUSTmG4sYX2uXgV4E1RuXmytJN7qkgUt5/p2p-circuit",
                "/ip4/10.0.0.1/tcp/1",
                "/ip4/10.0.0.1/udp/1/quic-v1",
                "/ip4/127.0.0.1/tcp/1",
                "/ip6/fe80::1/tcp/1",
            ]
        );
        assert_eq!(rank(&addrs[5]).0, UNUSABLE);
    }
}
