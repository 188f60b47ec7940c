//! A host that can't be reached from everywhere, and one that helps such hosts: carries
//! out what `nat` decides.
//!
//! `behaviour` is what speaks of it in the swarm: libp2p's relay, hole punching (DCUtR)
//! and AutoNAT v2. `client`, `watched` and `probes` wrap those of them that do what
//! others tell them, within `bounds`. `upnp` has the network's gateway map ports.
//! `metrics` counts.

mod behaviour;
mod bounds;
mod client;
mod metrics;
mod probes;
mod upnp;
mod watched;

pub(super) use behaviour::{Behaviour, BehaviourEvent};
pub(super) use bounds::Bounds;
use client::Client;
use metrics::Counts;
use probes::Probes;
use upnp::Upnp;
use watched::Watched;

use super::{swarm::HostSwarm, task::Task};
use crate::{
    Event,
    announce::Announced,
    dials::{Hearing, Said, sensible},
    event::EventBus,
    metrics::{ByLabel, Metrics},
    nat::{
        Assessment, Candidates, Change, Path, Paths, Reachability, Seek, Wish, is_relayed, relay_of,
    },
    prefix::{Prefix, ip, is_public},
};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    core::{ConnectedPoint, transport::ListenerId},
    multiaddr::Protocol,
    relay,
    swarm::ConnectionId,
};
use rand::RngExt;
use std::{collections::HashMap, net::IpAddr, time::Duration};
use tokio::{sync::watch, time::Instant};

/// What a peer speaks that dials others to tell whether they can be reached.
const DIALS_BACK: StreamProtocol = StreamProtocol::new("/libp2p/autonat/2/dial-request");
/// How often is looked whether connections that are to close can.
const LOOK: Duration = Duration::from_millis(500);
/// How long a connection lasts by which it is tried whether a peer can be reached.
const PROBE: Duration = Duration::from_secs(15);
/// Bytes of the longest address of a relay that is told: others are no longer.
const LONGEST: usize = 128;
/// Addresses that are told of one relay.
const PER_RELAY: usize = 3;

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
    asked: HashMap<ListenerId, Asked>,
    started: Instant,
    look: Option<Instant>,
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
        let known = Assessment::new(announced.addrs.clone());
        Self {
            own,
            uses: uses && !relays,
            relays,
            candidates: Candidates::default(),
            told: watch::Sender::new(known.now()),
            known,
            seek: Seek::default(),
            paths: Paths::new(own),
            asked: HashMap::new(),
            started: Instant::now(),
            look: None,
            short: watch::Sender::new(false),
            events,
            counts: Counts::new(metrics),
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

    /// Whether a relay at an address is of use.
    fn serves(&self, relay: &Multiaddr) -> bool {
        self.uses
            && !self.known.is_public()
            && (ip(relay).is_some_and(is_public) || !self.known.is_reached())
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits until [`Task::look`] has something to do.
    pub(super) async fn due(&self) {
        let seek = self.seek.due().filter(|_| self.uses && !self.known.is_public());
        let seek = seek.map(|due| self.started + due);
        match self.look.into_iter().chain(seek).min() {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Looks soon.
    fn look_soon(&mut self) {
        self.look.get_or_insert_with(|| Instant::now() + LOOK);
    }

    /// Tells what has changed.
    fn tell(&mut self) {
        let short = self.uses && !self.known.is_public() && self.seek.is_short();
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
        self.changed(peer, change);
    }

    /// A connection has closed.
    pub(super) fn closed(&mut self, peer: PeerId, id: ConnectionId) {
        let change = self.paths.closed(&peer, id);
        if !self.paths.is_direct(&peer) {
            self.seek.gone(&peer);
        }
        self.changed(peer, change);
        self.tell();
    }

    /// Another swarm is used from now on.
    pub(super) fn replaced(&mut self) {
        self.paths.clear();
        self.asked.clear();
        self.seek = Seek::default();
        self.counts.nothing_served();
        self.counts.relayed(0);
        self.known.mapped.clear();
        self.moved();
    }

    fn moved(&mut self) {
        self.candidates.clear();
        self.known.gone(|_| true);
        self.known.relayed = self.relayed();
        self.tell();
    }
}

impl Task {
    /// A peer has said what it speaks, and where it sees this node.
    pub(super) fn peer_says(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        speaks: &[StreamProtocol],
        observed: &Multiaddr,
    ) {
        let Some(at) = self.connected.direct(&peer, id).filter(|_| self.nat.uses) else { return };
        let now = self.nat.now();
        match speaks.contains(&relay::HOP_PROTOCOL_NAME) {
            true => self.nat.seek.offers(peer, &at, now),
            false => self.nat.seek.gone(&peer),
        }
        let behaviour = &mut self.swarm.behaviour_mut().nat;
        if let Some(probes) = behaviour.probes.as_mut() {
            probes.server(peer, speaks.contains(&DIALS_BACK));
        }
        // What makes no sense where the peer is makes none here.
        let hearing = Hearing::new(ip(&at), &[]);
        let observed = sensible(std::slice::from_ref(observed), hearing, &Default::default());
        if let Some(addr) = observed.first()
            && self.nat.candidates.seen(addr, Prefix::of(&at))
        {
            tracing::debug!(%peer, %addr, "this node may be reached there");
            let before = behaviour.probes.as_mut().is_some_and(|probes| probes.try_addr(addr));
            // Those that punch with this node are told what the relay sees. They don't dial
            // what makes no sense where they are, nor what comes with it.
            let far = !ip(addr).is_some_and(|ip| ip.is_loopback());
            let public = ip(addr).is_some_and(is_public);
            let relays = speaks.contains(&relay::HOP_PROTOCOL_NAME);
            if far && relays && (public || !self.nat.candidates.has_public()) {
                behaviour.may_be_at(addr);
            }
            if before {
                self.nat.known.dialled(addr, true);
                self.swarm.add_external_address(addr.clone());
            }
        }
        self.nat.tell();
    }

    /// The address by which this node listens at a relay is another, or gone.
    pub(super) fn at_relay(
        &mut self,
        listener: ListenerId,
        addr: &Multiaddr,
        is_there: bool,
    ) -> bool {
        let Some(asked) = self.nat.asked.get_mut(&listener) else { return false };
        let addr = without_own(addr, self.nat.own);
        if !is_there {
            asked.addrs.retain(|known| *known != addr);
        } else if asked.addrs.len() < PER_RELAY
            && !asked.addrs.contains(&addr)
            && asked.may_be_at(&addr)
        {
            asked.addrs.push(addr);
        }
        self.relays_changed();
        true
    }

    /// A relay no longer takes what is for this node.
    pub(super) fn left_by_relay(&mut self, listener: ListenerId, why: &str) -> bool {
        let Some(asked) = self.nat.asked.remove(&listener) else { return false };
        tracing::debug!(relay = %asked.relay, why, "a relay doesn't take what is for this node");
        self.nat.counts.reservation(if asked.held { "ended" } else { "refused" });
        let now = self.nat.now();
        self.nat.seek.refused(&asked.relay, now);
        self.relays_changed();
        true
    }

    fn relays_changed(&mut self) {
        self.nat.known.relayed = self.nat.relayed();
        self.nat.tell();
        if self.book.is_at_relays(&self.nat.known.relayed) {
            self.book.changed();
        }
    }

    /// A connection was made. One by which it is tried whether a node can be reached is
    /// nothing else, and closed in time.
    pub(super) fn path_opened(&mut self, peer: PeerId, id: ConnectionId, end: &ConnectedPoint) {
        let behaviour = &self.swarm.behaviour().nat;
        let is_try = behaviour.answers.as_ref().is_some_and(|answers| answers.has_made(id));
        if is_try {
            self.nat.look_soon();
        } else if !behaviour.probes.as_ref().is_some_and(|probes| probes.has_come(id)) {
            self.nat.opened(peer, id, end);
        }
    }

    /// An own address has come, or is gone.
    pub(super) fn nat_moved(&mut self, gone: Option<&Multiaddr>) {
        let gone = gone.and_then(ip).filter(|ip| !ip.is_loopback());
        if let Some(gone) = gone {
            let stale: Vec<Multiaddr> = self.swarm.external_addresses().cloned().collect();
            let (announced, mapped) = (&self.recipe.announced.addrs, &self.nat.known.mapped);
            let stays = |addr| {
                is_relayed(addr)
                    || announced.contains(addr)
                    || mapped.contains(addr)
                    || !may_be_gone(addr, gone)
            };
            for addr in stale.iter().filter(|addr| !stays(addr)) {
                self.swarm.remove_external_address(addr);
            }
            if let Some(probes) = self.swarm.behaviour_mut().nat.probes.as_mut() {
                probes.moved();
            }
            self.nat.known.gone(|addr| may_be_gone(addr, gone));
            self.nat.candidates.clear();
            self.nat.tell();
        }
        if self.nat.relays && self.recipe.announced.addrs.is_empty() {
            tell_clients(&mut self.swarm);
        }
    }

    /// Asks relays, and closes what is no longer needed.
    pub(super) fn look(&mut self) {
        let now = self.nat.now();
        self.nat.look = None;
        let streams = &self.recipe.streams;
        for id in self.nat.paths.close(|peer, id| streams.is_used(peer, id), now) {
            tracing::debug!(%id, "closing a connection: there is a direct one");
            self.swarm.close_connection(id);
        }
        let answers = self.swarm.behaviour().nat.answers.as_ref();
        let before = Instant::now().checked_sub(PROBE);
        let over = answers.zip(before).map(|(answers, before)| answers.over(None, before));
        for id in over.into_iter().flatten() {
            self.swarm.close_connection(id);
        }
        let answers = self.swarm.behaviour().nat.answers.as_ref();
        if self.nat.paths.has_spare() || answers.is_some_and(Watched::has_any) {
            self.nat.look_soon();
        }
        while let Some(wish) = self.next_relay() {
            self.ask_relay(wish);
        }
    }

    fn next_relay(&mut self) -> Option<Wish> {
        let now = self.nat.now();
        let mut seek = std::mem::take(&mut self.nat.seek);
        let random = |n| rand::rng().random_range(0..n);
        let wish = seek.next(|addr| self.nat.serves(addr), now, random);
        if wish.is_none() {
            // None of those that are due serves now; that may change.
            seek.later(now);
        }
        self.nat.seek = seek;
        wish
    }

    fn ask_relay(&mut self, Wish { relay, addr }: Wish) {
        let at = addr.with(Protocol::P2p(relay)).with(Protocol::P2pCircuit);
        match self.swarm.listen_on(at.clone()) {
            Ok(listener) => {
                tracing::debug!(%relay, "asking a relay to take what is for this node");
                self.nat.asked.insert(listener, Asked { relay, addrs: vec![at], held: false });
            }
            Err(error) => {
                tracing::debug!(%relay, %error, "a relay can't be asked");
                let now = self.nat.now();
                self.nat.seek.refused(&relay, now);
            }
        }
    }

    pub(super) fn on_nat(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Client(relay::client::Event::ReservationReqAccepted {
                relay_peer_id: relay,
                renewal,
                ..
            }) => {
                if !renewal {
                    tracing::info!(%relay, "a relay takes what is for this node");
                    self.nat.counts.reservation("accepted");
                }
                self.nat.seek.accepted(&relay);
                let asked = self.nat.asked.values_mut().filter(|asked| asked.relay == relay);
                asked.for_each(|asked| asked.held = true);
                self.relays_changed();
            }
            BehaviourEvent::Client(_) => {}
            BehaviourEvent::Relay(event) => self.nat.counts.serves(&event),
            BehaviourEvent::Punch(event) => {
                let peer = event.remote_peer_id;
                self.nat.counts.punched(event.result.is_ok());
                match event.result {
                    Ok(_) => tracing::debug!(%peer, "a direct connection was made through a NAT"),
                    Err(error) => tracing::debug!(%peer, %error, "no direct connection"),
                }
            }
            BehaviourEvent::Probes(event) => {
                let (addr, reached) = (&event.tested_addr, event.result.is_ok());
                tracing::debug!(%addr, reached, by = %event.server, "it was tried to reach this node");
                self.nat.counts.probed(reached);
                self.nat.known.dialled(addr, reached);
                self.nat.tell();
            }
            BehaviourEvent::Answers(event) => {
                let answers = self.swarm.behaviour().nat.answers.as_ref();
                let over = answers.map(|a| a.over(Some(&event.client), self.nat.started));
                for id in over.into_iter().flatten() {
                    self.swarm.close_connection(id);
                }
            }
            BehaviourEvent::Upnp(event) => self.on_upnp(event),
        }
    }
}

/// The address without `/p2p/<id>` of this node.
fn without_own(addr: &Multiaddr, own: PeerId) -> Multiaddr {
    let mut addr = addr.clone();
    if addr.iter().last() == Some(Protocol::P2p(own)) {
        addr.pop();
    }
    addr
}

/// Whether others may no longer reach this node at an address when an own one is gone:
/// of IPv4 that may be behind any NAT, of IPv6 behind none.
fn may_be_gone(addr: &Multiaddr, gone: IpAddr) -> bool {
    ip(addr).is_some_and(|ip| match gone {
        IpAddr::V4(_) => ip.is_ipv4(),
        IpAddr::V6(_) => ip == gone,
    })
}

/// Has the clients of this relay be told where it is: at its addresses, without those of
/// loopback if there are others.
fn tell_clients(swarm: &mut HostSwarm) {
    let loopback = |addr: &Multiaddr| ip(addr).is_some_and(|ip| ip.is_loopback());
    let mut own: Vec<Multiaddr> = swarm.listeners().filter(|a| !is_relayed(a)).cloned().collect();
    if own.iter().any(|addr| !loopback(addr)) {
        own.retain(|addr| !loopback(addr));
    }
    let known: Vec<Multiaddr> = swarm.external_addresses().cloned().collect();
    for addr in known.iter().filter(|addr| loopback(addr) && !own.contains(addr)) {
        swarm.remove_external_address(addr);
    }
    own.into_iter().filter(|addr| !known.contains(addr)).for_each(|addr| {
        swarm.add_external_address(addr);
    });
}
