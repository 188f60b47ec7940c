//! A host that can't be reached from everywhere, and one that helps such hosts: carries
//! out what `nat` decides.
//!
//! `carry` does that, in the task of the host.
//! `behaviour` is what speaks of it in the swarm: libp2p's relay, hole punching (DCUtR)
//! and AutoNAT v2. `client`, `watched` and `probes` (and `again`) wrap those of them
//! that do what others tell them, within `bounds`, and `patient` what would ask too
//! early. `upnp` has the network's gateway map ports. `metrics` counts.

mod again;
mod behaviour;
mod bounds;
mod carry;
mod client;
mod metrics;
mod patient;
mod probes;
mod upnp;
mod watched;

pub(super) use behaviour::{Behaviour, BehaviourEvent};
pub(super) use bounds::Bounds;
use client::Client;
use metrics::Counts;
use patient::Patient;
use probes::Probes;
use upnp::Upnp;
use watched::Watched;

use crate::{
    Event,
    announce::Announced,
    dials::{Hearing, Said, sensible},
    event::EventBus,
    metrics::{ByLabel, Metrics},
    nat::{Assessment, Candidates, Change, Cuts, Path, Paths, Reachability, Seek, relay_of},
    prefix::{ip, is_public},
};
use libp2p::{
    Multiaddr, PeerId,
    core::{ConnectedPoint, transport::ListenerId},
    swarm::ConnectionId,
};
use std::{collections::HashMap, time::Duration};
use tokio::{sync::watch, time::Instant};

/// How often is looked whether connections that are to close can.
const LOOK: Duration = Duration::from_millis(500);
/// Bytes of the longest address of a relay that is told: others are no longer.
const LONGEST: usize = 128;

/// A relay that was asked to take what is for this node.
#[derive(Debug)]
struct Asked {
    relay: PeerId,
    /// Where it is, as this node and as the relay itself says.
    addrs: Vec<Multiaddr>,
    held: bool,
}

impl Asked {
    /// Whether a relay is believed that it is at an address: in a network from where this
    /// node is connected to it privately it may have any public one, else that alone.
    fn may_be_at(&self, addr: &Multiaddr) -> bool {
        let (Some(at), Some(says)) = (self.addrs.first().and_then(ip), ip(addr)) else {
            return false;
        };
        let one = std::slice::from_ref(addr);
        (says == at || (is_public(says) && !is_public(at)))
            && relay_of(addr) == Some(self.relay)
            && addr.len() <= LONGEST
            && !sensible(one, Hearing::from(Said::Public), &ByLabel::default()).is_empty()
    }
}

/// What a host knows of it. Times are since `started`.
pub(super) struct Nat {
    own: PeerId,
    /// Whether it uses relays when it has to.
    uses: bool,
    /// Whether it is one.
    relays: bool,
    candidates: Candidates,
    known: Assessment,
    seek: Seek,
    paths: Paths<ConnectionId>,
    cuts: Cuts<ConnectionId>,
    asked: HashMap<ListenerId, Asked>,
    started: Instant,
    look: Option<Instant>,
    /// When it is tried again whether this node can be reached.
    again: Option<Duration>,
    told: watch::Sender<Reachability>,
    /// Whether it is to be connected to relays.
    short: watch::Sender<bool>,
    events: EventBus,
    counts: Counts,
}

impl Nat {
    pub(super) fn new(
        own: PeerId,
        (uses, relays): (bool, bool),
        announced: &Announced,
        events: EventBus,
        metrics: &Metrics,
    ) -> Self {
        let (known, counts) = (Assessment::new(announced.addrs.clone()), Counts::new(metrics));
        counts.reach(known.now().reach);
        Self {
            own,
            uses: uses && !relays,
            relays,
            candidates: Candidates::default(),
            told: watch::Sender::new(known.now()),
            known,
            seek: Seek::default(),
            paths: Paths::new(own),
            cuts: Cuts::default(),
            asked: HashMap::new(),
            started: Instant::now(),
            look: None,
            again: None,
            short: watch::Sender::new(false),
            events,
            counts,
        }
    }

    /// Whether others can reach this node, and where.
    pub(super) fn reachability(&self) -> watch::Receiver<Reachability> {
        self.told.subscribe()
    }

    /// Whether this node is to connect to relays that it knows of.
    pub(super) fn is_short(&self) -> watch::Receiver<bool> {
        self.short.subscribe()
    }

    /// The addresses at relays, of which others are told.
    fn relayed(&self) -> Vec<Multiaddr> {
        let mut addrs: Vec<_> =
            self.asked.values().filter(|asked| asked.held).flat_map(|a| a.addrs.clone()).collect();
        addrs.sort_unstable();
        addrs.dedup();
        addrs
    }

    /// Whether a peer is a relay by which this node is, or may be, reached.
    pub(super) fn is_relay(&self, peer: &PeerId) -> bool {
        self.uses && self.seek.is_known(peer)
    }

    /// Whether a relay at an address is of use.
    fn serves(&self, relay: &Multiaddr) -> bool {
        self.uses && (ip(relay).is_some_and(is_public) || !self.known.is_reached())
    }

    /// How many relays are wanted now.
    fn relays_wanted(&self) -> usize {
        let (most, from) = self.known.relays();
        if self.uses && from <= self.now() { most } else { 0 }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits until [`Task::look`] has something to do.
    pub(super) async fn due(&self) {
        let (most, from) = self.known.relays();
        let seek = self.seek.due(most).filter(|_| self.uses).map(|due| due.max(from));
        // Then it may be short of relays.
        let doubted = (most > 0 && from > self.now()).then_some(from);
        let due = seek.into_iter().chain(doubted).chain(self.again).map(|due| self.started + due);
        match self.look.into_iter().chain(due).min() {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Has it tried again whether this node can be reached, after half this time or a
    /// little more, if that is not to be sooner.
    fn again_within(&mut self, time: Duration) {
        let at = self.now() + time.mul_f64(rand::random_range(0.5..1.0));
        self.again = Some(self.again.map_or(at, |again| again.min(at)));
    }

    /// Looks soon.
    fn look_soon(&mut self) {
        self.look.get_or_insert_with(|| Instant::now() + LOOK);
    }

    /// Tells what has changed.
    fn tell(&mut self) {
        let short = self.seek.is_short(self.relays_wanted());
        self.short.send_if_modified(|was| std::mem::replace(was, short) != short);
        let now = self.known.now();
        if *self.told.borrow() == now {
            return;
        }
        self.counts.reach(now.reach);
        self.told.send_replace(now.clone());
        self.events.emit(Event::ReachabilityChanged { reachability: now });
    }

    fn changed(&mut self, peer: PeerId, change: Option<Change>) {
        self.counts.relayed(self.paths.relayed());
        match change {
            Some(Change::Relayed) => self.events.emit(Event::Relayed { peer }),
            Some(Change::Direct) => self.events.emit(Event::Direct { peer }),
            None => {}
        }
        if self.paths.has_spare() {
            self.look_soon();
        }
    }

    /// A connection was made.
    fn opened(&mut self, peer: PeerId, id: ConnectionId, end: &ConnectedPoint) {
        let change = self.paths.opened(peer, Path::new(id, end.is_relayed()));
        let (ConnectedPoint::Dialer { address: at, .. }
        | ConnectedPoint::Listener { local_addr: at, .. }) = end;
        if let Some(relay) = relay_of(at) {
            self.cuts.opened(id, relay, peer, self.now());
        }
        self.changed(peer, change);
    }

    /// A connection has closed: this node wanted it, or not.
    pub(super) fn closed(&mut self, peer: PeerId, id: ConnectionId, wanted: bool) {
        // Beside a direct one it is the peer that may have closed it.
        self.ended(peer, id, wanted || self.paths.is_direct(&peer));
        let change = self.paths.closed(&peer, id);
        if !self.paths.is_direct(&peer) {
            self.seek.gone(&peer);
        }
        self.changed(peer, change);
        self.tell();
    }

    /// A connection has closed, or is given up.
    pub(super) fn ended(&mut self, peer: PeerId, id: ConnectionId, wanted: bool) {
        let (cut, relay) = self.cuts.closed(id, wanted, self.now());
        if cut {
            self.counts.cut();
        }
        if let Some(relay) = relay {
            tracing::info!(%relay, %peer, "connections over a relay don't last: to this peer it \
                is used if there is no other way");
        }
    }

    /// Leaves out the addresses of a peer over relays over which connections with it don't
    /// last, if there are others.
    pub(super) fn prefer_lasting(&self, peer: PeerId, addrs: [&mut Vec<Multiaddr>; 2]) {
        let now = self.now();
        let lasts = |addr: &Multiaddr| {
            !relay_of(addr).is_some_and(|relay| self.cuts.is_cut(relay, peer, now))
        };
        if addrs.iter().any(|addrs| addrs.iter().any(lasts)) {
            addrs.into_iter().for_each(|addrs| addrs.retain(lasts));
        }
    }

    /// Another swarm is used from now on.
    pub(super) fn replaced(&mut self) {
        self.paths.clear();
        self.cuts.clear();
        self.asked.clear();
        self.seek.clear();
        self.counts.nothing_served();
        self.counts.relayed(0);
        self.known.mapped.clear();
        self.moved();
    }

    fn moved(&mut self) {
        self.candidates.clear();
        let now = self.now();
        self.known.gone(|_| true, now);
        self.again = None;
        self.known.relayed = self.relayed();
        self.tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_relay_is_at_its_own_address_and_names_nobody_elses() {
        let relay = PeerId::random();
        let over = |at: &str, relay: PeerId| addr(&format!("{at}/p2p/{relay}/p2p-circuit"));
        let asked = |at| Asked { relay, addrs: vec![over(at, relay)], held: true };
        let (public, private) = (asked("/ip4/8.8.8.8/tcp/1"), asked("/ip4/10.0.0.1/tcp/1"));
        for (at, of_public, of_private) in [
            ("/ip4/8.8.8.8/udp/1/quic-v1", true, true),
            ("/ip4/9.9.9.9/tcp/25", false, true),
            ("/ip4/10.0.0.2/tcp/1", false, false),
            ("/ip4/8.8.8.8/udp/53", false, false),
            ("/dns/example.org/tcp/1", false, false),
        ] {
            assert_eq!(public.may_be_at(&over(at, relay)), of_public, "{at}");
            assert_eq!(private.may_be_at(&over(at, relay)), of_private, "{at}");
        }
        assert!(!public.may_be_at(&over("/ip4/8.8.8.8/tcp/1", PeerId::random())));
        let long = format!("/ip4/8.8.8.8/tcp/1/dns/{}", "x".repeat(150));
        assert!(!public.may_be_at(&over(&long, relay)));
    }
}
