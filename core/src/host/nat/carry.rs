//! What is decided of NATs and relays, carried out in the task of the host.

use super::{Asked, BehaviourEvent, LONGEST, Probes, Watched};
use crate::{
    dials::{Hearing, sensible},
    host::{
        connected::{Connected, Direction},
        listen::is_quic,
        swarm::HostSwarm,
        task::Task,
    },
    nat::{Wish, Witness, is_relayed, likely},
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
use std::{net::IpAddr, time::Duration};
use tokio::time::Instant;

/// What a peer speaks that dials others to tell whether they can be reached.
const DIALS_BACK: StreamProtocol = StreamProtocol::new("/libp2p/autonat/2/dial-request");
/// How long a connection lasts by which it is tried whether a peer can be reached.
const PROBE: Duration = Duration::from_secs(15);
/// When it is tried again whether this node can be reached: within the last half of this
/// time. And when its router may have another address, or one peer alone denies it.
const AGAIN: Duration = Duration::from_secs(30 * 60);
const SOON: Duration = Duration::from_secs(60);
/// Addresses that are tried then.
const AT_ONCE: usize = 8;
/// Addresses that are told of one relay.
const PER_RELAY: usize = 3;

impl Task {
    /// A peer has said what it speaks, and where it sees this node.
    pub(in crate::host) fn peer_says(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        speaks: &[StreamProtocol],
        observed: &Multiaddr,
        listens: &[Multiaddr],
    ) {
        let direct = self.connected.direct(&peer, id).filter(|_| self.nat.uses);
        let Some((at, direction)) = direct else { return };
        let now = self.nat.now();
        let relays = speaks.contains(&relay::HOP_PROTOCOL_NAME);
        match relays {
            true => self.nat.seek.offers(peer, &at, now),
            false => self.nat.seek.gone(&peer),
        }
        let behaviour = &mut self.swarm.behaviour_mut().nat;
        if let Some(probes) = behaviour.probes.as_mut() {
            if direction == Direction::Outbound {
                // It is asked by such connections alone, and says so by no other.
                probes.server(peer, speaks.contains(&DIALS_BACK));
                probes.speaks(peer, ip(&at));
            }
            probes.seen(peer, id);
            if relays && direction == Direction::Outbound {
                self.be_seen(peer, &at, listens);
            }
        }
        // What makes no sense where the peer is makes none here.
        let hearing = Hearing::new(ip(&at), &[]);
        let observed = sensible(std::slice::from_ref(observed), hearing, &Default::default());
        let observed = observed.first().filter(|addr| addr.len() <= LONGEST);
        let probes = self.swarm.behaviour().nat.probes.as_ref();
        let is_again = probes.is_some_and(|probes| probes.is_again(id));
        let mut addrs = match (observed, direction) {
            // By which the peer got in.
            (Some(addr), Direction::Inbound) => [addr.clone()].into_iter().collect(),
            (Some(addr), Direction::Outbound) => likely(addr, self.swarm.listeners()),
            (None, _) => return self.nat.tell(),
        };
        // From another port than that at which it listens, for certain.
        if is_again && addrs.len() > 1 {
            addrs.pop();
        }
        for addr in addrs {
            self.may_be_reached(&addr, Prefix::of(&at), relays);
        }
        self.nat.tell();
    }

    /// A relay sees this node by one transport. It is to see it by the other one as well,
    /// where both have it: another node may be seen by that alone, and the two can't punch
    /// then. (By a connection of a moment.)
    fn be_seen(&mut self, relay: PeerId, at: &Multiaddr, listens: &[Multiaddr]) {
        let listened = |addr: &Multiaddr| {
            let near = |addr: &Multiaddr| ip(addr).map(|ip| (ip.is_ipv4(), ip.is_loopback()));
            self.swarm.listeners().any(|own| {
                !is_relayed(own) && is_quic(own) == is_quic(addr) && near(own) == near(addr)
            })
        };
        let other = |addr: &&Multiaddr| {
            let one = std::slice::from_ref(*addr);
            ip(addr) == ip(at)
                && is_quic(addr) != is_quic(at)
                && !is_relayed(addr)
                && self.recipe.dials(addr)
                && listened(addr)
                && !sensible(one, Hearing::new(ip(at), &[]), &Default::default()).is_empty()
        };
        let Some(other) = listens.iter().find(other).cloned() else { return };
        if let Some(probes) = self.swarm.behaviour_mut().nat.probes.as_mut() {
            probes.be_seen(relay, other);
        }
        self.nat.look_soon();
    }

    /// A peer of a network, perhaps a relay, sees this node at an address, or so it seems.
    fn may_be_reached(&mut self, addr: &Multiaddr, by: Prefix, relays: bool) {
        let now = self.nat.now();
        if !self.nat.candidates.seen(addr, by, now) {
            return;
        }
        tracing::debug!(%addr, "this node may be reached there");
        let behaviour = &mut self.swarm.behaviour_mut().nat;
        let before = behaviour.probes.as_mut().is_some_and(|probes| probes.try_addr(addr));
        // Those that punch with this node are told what relays see, and of that nothing
        // that makes no sense where they are.
        let far = !ip(addr).is_some_and(|ip| ip.is_loopback());
        let public = ip(addr).is_some_and(is_public);
        if far && relays && (public || !self.nat.candidates.has_public()) {
            behaviour.may_be_at(addr);
        }
        if before {
            self.nat.known.dialled(addr, true, now);
            self.swarm.add_external_address(addr.clone());
        } else if public && self.nat.known.is_reached() {
            // The router may have another address than before.
            self.nat.again_within(SOON);
        }
    }

    /// The address by which this node listens at a relay is another, or gone.
    pub(in crate::host) fn at_relay(
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
    pub(in crate::host) fn left_by_relay(&mut self, listener: ListenerId, why: &str) -> bool {
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
    pub(in crate::host) fn path_opened(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        end: &ConnectedPoint,
    ) {
        let behaviour = &self.swarm.behaviour().nat;
        let is_try = behaviour.answers.as_ref().is_some_and(|answers| answers.has_made(id));
        let probes = behaviour.probes.as_ref();
        if is_try {
            return self.nat.look_soon();
        } else if probes.is_some_and(|probes| probes.has_come(id) || probes.is_apart(id)) {
            return;
        }
        let from =
            Some(end.get_remote_address()).filter(|_| end.is_listener() && !end.is_relayed());
        if let (Some(probes), Some(from)) = (probes, from.and_then(ip))
            && probes.is_stranger(peer, from)
        {
            let now = self.nat.now();
            self.nat.known.came(from, now);
            self.nat.tell();
        }
        self.nat.opened(peer, id, end);
    }

    /// An own address has come, or is gone.
    pub(in crate::host) fn nat_moved(&mut self, gone: Option<&Multiaddr>) {
        let gone = gone.and_then(ip).filter(|ip| !ip.is_loopback());
        if let Some(gone) = gone {
            let stale: Vec<Multiaddr> = self.swarm.external_addresses().cloned().collect();
            for addr in stale.iter().filter(|addr| !is_relayed(addr) && may_be_gone(addr, gone)) {
                self.not_reached(addr);
            }
            if let Some(probes) = self.swarm.behaviour_mut().nat.probes.as_mut() {
                probes.moved();
            }
            let now = self.nat.now();
            self.nat.known.gone(|addr| may_be_gone(addr, gone), now);
            self.nat.candidates.clear();
            self.nat.tell();
        }
        if self.nat.relays && self.recipe.announced.addrs.is_empty() {
            tell_clients(&mut self.swarm);
        }
    }

    /// Nobody is told any more that this node is reached at an address, unless it was said.
    fn not_reached(&mut self, addr: &Multiaddr) {
        let said = [&self.recipe.announced.addrs, &self.nat.known.mapped];
        if !said.iter().any(|addrs| addrs.contains(addr)) {
            self.swarm.remove_external_address(addr);
        }
    }

    /// Has it tried again whether this node can be reached, or where that is denied, if
    /// it is; and forgets what nobody has tried or told for long.
    pub(in crate::host) fn try_again(&mut self) {
        let now = self.nat.now();
        self.nat.again = None;
        self.nat.again_within(AGAIN);
        for addr in self.nat.known.forget(now) {
            self.not_reached(&addr);
        }
        self.nat.candidates.forget(now);
        let mut addrs: Vec<Multiaddr> = self.nat.known.reached().cloned().collect();
        for addr in self.nat.candidates.again() {
            if !addrs.contains(addr) {
                addrs.push(addr.clone());
            }
        }
        let Some(probes) = self.swarm.behaviour_mut().nat.probes.as_mut() else { return };
        let at = |server: &PeerId| Some((*server, dialled(&self.connected, server)?));
        let mut servers: Vec<(PeerId, Multiaddr)> = probes.servers().filter_map(at).collect();
        let random = |n: usize| rand::rng().random_range(0..n);
        let asked = if self.nat.known.is_denied() {
            self.nat.again_within(SOON);
            let of = |(peer, at): &(PeerId, Multiaddr)| Witness::new(*peer, Some(at));
            let witnesses: Vec<Witness> = servers.iter().map(of).collect();
            self.nat.known.ask_another(&witnesses, now, random)
        } else {
            (!servers.is_empty()).then(|| (random(servers.len()), addrs))
        };
        if let Some((which, mut addrs)) = asked {
            addrs.truncate(AT_ONCE);
            let (server, at) = servers.swap_remove(which);
            tracing::debug!(%server, ?addrs, "trying again whether this node can be reached");
            // Something is being tried now.
            if !probes.try_again(server, at, addrs) {
                self.nat.again_within(SOON);
            }
        }
        self.nat.tell();
    }

    /// Asks relays, and closes what is no longer needed.
    pub(in crate::host) fn look(&mut self) {
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
        if self.nat.again.is_some_and(|at| at <= now) {
            self.try_again();
        }
        let streams = &self.recipe.streams;
        let over = self.swarm.behaviour_mut().nat.probes.as_mut().map(Probes::over);
        let over: Vec<_> = over
            .into_iter()
            .flat_map(|over| over.extract_if(.., |(peer, id)| !streams.is_used(peer, *id)))
            .collect();
        let long = self.swarm.behaviour().nat.probes.as_ref().map(Probes::too_long);
        for id in over.into_iter().map(|(_, id)| id).chain(long.into_iter().flatten()) {
            self.swarm.close_connection(id);
        }
        let behaviour = &self.swarm.behaviour().nat;
        let tries = behaviour.answers.as_ref().is_some_and(Watched::has_any)
            || behaviour.probes.as_ref().is_some_and(Probes::has_apart);
        if self.nat.paths.has_spare() || tries {
            self.nat.look_soon();
        }
        // It may be time for another relay.
        self.nat.tell();
        while let Some(wish) = self.next_relay() {
            self.ask_relay(wish);
        }
    }

    fn next_relay(&mut self) -> Option<Wish> {
        let now = self.nat.now();
        let mut seek = std::mem::take(&mut self.nat.seek);
        let random = |n| rand::rng().random_range(0..n);
        let most = self.nat.relays_wanted();
        let wish = seek.next(most, |addr| self.nat.serves(addr), now, random);
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

    pub(in crate::host) fn on_nat(&mut self, event: BehaviourEvent) {
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
            BehaviourEvent::Relay(event) => {
                let is_here = |peer: &PeerId| self.nat.paths.is_direct(peer);
                self.nat.counts.serves(&event, is_here);
            }
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
                let now = self.nat.now();
                let at = dialled(&self.connected, &event.server);
                let by = Witness::new(event.server, at.as_ref());
                if !self.nat.known.says(by, addr, reached, now) {
                    tracing::debug!(%addr, "it was reached there before: another is asked");
                    self.nat.again_within(SOON);
                } else if !reached {
                    self.not_reached(addr);
                }
                self.nat.again_within(AGAIN);
                self.nat.look_soon();
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

/// Where this node has dialled a peer directly, to which it is still connected.
fn dialled(connected: &Connected, peer: &PeerId) -> Option<Multiaddr> {
    let (_, dialled) = connected.with_peer(peer);
    dialled.into_iter().find(|addr| !is_relayed(addr))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_was_dialled_is_doubted_when_an_own_address_is_gone_that_it_may_depend_on() {
        let gone = |text: &str| ip(&addr(&format!("{text}/tcp/1"))).unwrap();
        let (v4, v6) = (addr("/ip4/8.8.8.8/tcp/1"), addr("/ip6/2001:db8::1/tcp/1"));
        for (own, of_v4, of_v6) in [
            ("/ip4/192.168.1.2", true, false),
            ("/ip6/2001:db8::1", false, true),
            ("/ip6/2001:db8::2", false, false),
        ] {
            let doubted = (may_be_gone(&v4, gone(own)), may_be_gone(&v6, gone(own)));
            assert_eq!(doubted, (of_v4, of_v6), "{own}");
        }
    }
}
