//! The client's part of AutoNAT v2: peers dial this node where it may be reached, and
//! tell. Their connections for that are known, so that nobody uses them.

use super::again::Again;
use crate::{
    nat::{Spoken, is_relayed},
    prefix::ip,
    spare::{Kind, Spare},
};
use libp2p::{
    Multiaddr, PeerId,
    autonat::v2::client,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
        behaviour::NewExternalAddrCandidate,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::IpAddr,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// How often addresses that are new are looked at.
pub(super) const TICK: Duration = Duration::from_millis(500);
/// For how long a peer that was asked may come.
const COMES: Duration = Duration::from_secs(15);
/// For how long there may be a result of an address.
const OPEN: Duration = Duration::from_secs(120);
/// For how long a connection may last by which something is tried, or seen.
const APART: Duration = Duration::from_secs(90);
/// Relays that are remembered as having seen this node.
const SHOWN: usize = 16;
/// Addresses that are tried, before this node moves.
const MOST: usize = 32;

/// Asks peers to dial this node.
pub(in crate::host) struct Probes {
    inner: client::Behaviour,
    /// Who was asked last, and when.
    asked: HashMap<PeerId, Instant>,
    tried: HashSet<Multiaddr>,
    /// Those of which there is no result yet, and since when.
    open: HashMap<Multiaddr, Instant>,
    /// Those at which this node was reached when they were tried last: the client tries
    /// none again by itself.
    reached: HashSet<Multiaddr>,
    /// Trying some of them again.
    again: Option<Again>,
    /// The connections that were made for that, or to be seen, and since when.
    apart: HashMap<ConnectionId, Instant>,
    /// The dials of such that are yet to be made.
    dials: VecDeque<DialOpts>,
    /// The relays that were to see this node.
    shown: VecDeque<PeerId>,
    /// Those of them that have done their work.
    over: Vec<(PeerId, ConnectionId)>,
    /// To whom this node has spoken.
    spoken: Spoken,
    started: Instant,
    /// Connections by which peers have come that were asked.
    came: HashSet<ConnectionId>,
    /// Those by which others have come while somebody was asked: a peer may dial under
    /// another name, as go-libp2p does. The nonce says who was asked.
    may_be: HashSet<ConnectionId>,
    /// Connected peers that dial for others.
    servers: HashSet<PeerId>,
    /// Whether the client has something to do beside its ticks: there are none while
    /// nothing is to be tried, or nobody tries it.
    stirred: bool,
    spare: Spare,
}

impl Probes {
    pub(super) fn new(spare: Spare) -> Self {
        let config = client::Config::default().with_probe_interval(TICK);
        let inner = client::Behaviour::new(rand::make_rng::<rand::rngs::StdRng>(), config);
        Self {
            inner,
            asked: HashMap::new(),
            tried: HashSet::new(),
            open: HashMap::new(),
            reached: HashSet::new(),
            again: None,
            apart: HashMap::new(),
            dials: VecDeque::new(),
            shown: VecDeque::new(),
            over: Vec::new(),
            spoken: Spoken::default(),
            started: Instant::now(),
            came: HashSet::new(),
            may_be: HashSet::new(),
            servers: HashSet::new(),
            stirred: false,
            spare,
        }
    }

    /// Whether a connected peer dials for others.
    pub(in crate::host) fn server(&mut self, peer: PeerId, serves: bool) {
        match serves {
            true => self.servers.insert(peer),
            false => self.servers.remove(&peer),
        };
    }

    /// Has an address tried. The client never forgets one, so that there are few. Whether
    /// this node was reached there before: then it is where it was.
    pub(in crate::host) fn try_addr(&mut self, addr: &Multiaddr) -> bool {
        if self.tried.len() < MOST && self.tried.insert(addr.clone()) {
            self.open.insert(addr.clone(), Instant::now());
            let candidate = NewExternalAddrCandidate { addr };
            self.inner.on_swarm_event(FromSwarm::NewExternalAddrCandidate(candidate));
        }
        self.reached.contains(addr)
    }

    /// Has a peer that dials for others, and is at an address, try these once more, if
    /// nothing is being tried. Whether they are.
    pub(in crate::host) fn try_again(
        &mut self,
        server: PeerId,
        at: Multiaddr,
        addrs: Vec<Multiaddr>,
    ) -> bool {
        let free = self.again.is_none() && self.open.is_empty();
        if free && !addrs.is_empty() {
            let again = Again::new(server, at, addrs);
            self.apart.insert(again.id(), Instant::now());
            self.again = Some(again);
        }
        free
    }

    /// Whether a connection was made to have something tried, from a port of its own.
    pub(in crate::host) fn is_again(&self, id: ConnectionId) -> bool {
        self.again.as_ref().is_some_and(|again| again.id() == id)
    }

    /// The connected peers that dial for others.
    pub(in crate::host) fn servers(&self) -> impl Iterator<Item = &PeerId> {
        self.servers.iter()
    }

    /// Has a relay see this node by a connection to an address of it, once.
    pub(in crate::host) fn be_seen(&mut self, relay: PeerId, at: Multiaddr) {
        if self.shown.contains(&relay) {
            return;
        }
        self.shown.push_back(relay);
        if self.shown.len() > SHOWN {
            self.shown.pop_front();
        }
        // From the port of the listener, which is to be seen.
        let always = PeerCondition::Always;
        let dial = DialOpts::peer_id(relay).addresses(vec![at]).condition(always).build();
        self.apart.insert(dial.connection_id(), Instant::now());
        self.dials.push_back(dial);
    }

    /// A peer has told by a connection where it sees this node.
    pub(in crate::host) fn seen(&mut self, peer: PeerId, id: ConnectionId) {
        let tries = self.is_again(id);
        if self.apart.contains_key(&id) && !tries && !self.over.contains(&(peer, id)) {
            self.over.push((peer, id));
        }
    }

    /// Connections that were made to have something tried, or to be seen, and are to close.
    pub(in crate::host) fn over(&mut self) -> &mut Vec<(PeerId, ConnectionId)> {
        &mut self.over
    }

    /// Those of them that are there for longer than they should, such as of a peer that
    /// doesn't say where it sees this node.
    pub(in crate::host) fn too_long(&self) -> Vec<ConnectionId> {
        let long = self.apart.iter().filter(|(_, since)| since.elapsed() >= APART);
        long.map(|(id, _)| *id).collect()
    }

    /// Whether there are such, or will be.
    pub(in crate::host) fn has_apart(&self) -> bool {
        !self.apart.is_empty()
    }

    /// Whether a connection was made to have something tried, or to be seen.
    pub(in crate::host) fn is_apart(&self, id: ConnectionId) -> bool {
        self.apart.contains_key(&id)
    }

    /// This node speaks to a peer at a host.
    pub(in crate::host) fn speaks(&mut self, peer: PeerId, host: Option<IpAddr>) {
        self.spoken.to(Some(peer), host, self.started.elapsed());
    }

    /// Whether a peer that comes from a host is one to whom this node hasn't spoken.
    pub(in crate::host) fn is_stranger(&self, peer: PeerId, host: IpAddr) -> bool {
        self.spoken.is_stranger(peer, host, self.started.elapsed())
    }

    /// This node is elsewhere: as many addresses again may be tried. What comes of those of
    /// before says nothing.
    pub(in crate::host) fn moved(&mut self) {
        self.open.clear();
        self.shown.clear();
        self.tried.clear();
        self.tried.extend(self.reached.iter().cloned());
    }

    /// Whether what the client says is of an address that was tried where this node is now.
    fn is_of_here(&self, said: &ToSwarm<client::Event, THandlerInEvent<Self>>) -> bool {
        match said {
            ToSwarm::GenerateEvent(event) => self.tried.contains(&event.tested_addr),
            ToSwarm::ExternalAddrConfirmed(addr) => self.tried.contains(addr),
            _ => true,
        }
    }

    /// Whether a peer has come by a connection to try whether this node can be reached.
    pub(in crate::host) fn has_come(&self, id: ConnectionId) -> bool {
        self.came.contains(&id)
    }

    fn ended(&mut self, id: ConnectionId) {
        self.came.remove(&id);
        self.may_be.remove(&id);
        self.spare.remove(id);
        if self.apart.remove(&id).is_some() {
            self.over.retain(|(_, over)| *over != id);
            if self.again.as_ref().is_some_and(|again| again.id() == id) {
                self.again_over();
            }
        }
    }

    /// What was to be tried again was, or can't be.
    fn again_over(&mut self) {
        let again = self.again.take();
        let made = again.filter(|again| self.apart.contains_key(&again.id()) && again.is_made());
        self.over.extend(made.map(|again| (again.server(), again.id())));
        // What was new meanwhile.
        self.stirred = true;
    }

    /// There is a result of an address.
    fn tried(&mut self, event: &client::Event) {
        self.open.remove(&event.tested_addr);
        match event.result {
            Ok(()) => self.reached.insert(event.tested_addr.clone()),
            Err(_) => self.reached.remove(&event.tested_addr),
        };
    }

    /// Goes on trying again.
    fn poll_again(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<client::Event, THandlerInEvent<Self>>> {
        let Some(again) = &mut self.again else { return Poll::Pending };
        let polled = again.poll(cx);
        if let Poll::Ready(ToSwarm::GenerateEvent(event)) = &polled {
            self.tried(event);
        }
        if polled.is_pending() && self.again.as_ref().is_some_and(Again::is_over) {
            self.again_over();
        }
        polled
    }

    /// A peer is asked, by one client or the other.
    fn asks(&mut self, peer: PeerId) {
        self.asked.retain(|_, asked| asked.elapsed() < COMES);
        self.asked.insert(peer, Instant::now());
    }
}

impl NetworkBehaviour for Probes {
    type ConnectionHandler = THandler<client::Behaviour>;
    type ToSwarm = client::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let may_come = |asked: &Instant| asked.elapsed() < COMES;
        match self.asked.get(&peer).is_some_and(may_come) {
            _ if is_relayed(local) => {}
            true => {
                self.came.insert(id);
                self.spare.insert(id, Kind::Passing);
            }
            false if self.asked.values().any(may_come) => drop(self.may_be.insert(id)),
            false => {}
        }
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        addrs: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let direct: Vec<_> = addrs.iter().filter(|addr| !is_relayed(addr)).collect();
        let peer = peer.filter(|_| !direct.is_empty());
        self.spoken.to(peer, direct.into_iter().filter_map(ip), self.started.elapsed());
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.apart.contains_key(&id) {
            self.spare.insert(id, Kind::Passing);
        }
        self.inner.handle_established_outbound_connection(id, peer, addr, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::NewExternalAddrCandidate(_) => return,
            FromSwarm::ConnectionEstablished(made)
                if self.apart.contains_key(&made.connection_id) =>
            {
                let id = made.connection_id;
                // Else it is there to be seen, or late.
                if let Some(again) = self.again.as_mut().filter(|again| again.id() == id) {
                    again.made(event);
                }
                return;
            }
            FromSwarm::ConnectionClosed(closed) => {
                if closed.remaining_established == 0 {
                    self.servers.remove(&closed.peer_id);
                    self.shown.retain(|relay| *relay != closed.peer_id);
                }
                let is_apart = self.apart.contains_key(&closed.connection_id);
                self.ended(closed.connection_id);
                // The client doesn't know it.
                if is_apart {
                    return;
                }
            }
            FromSwarm::ListenFailure(event) => self.ended(event.connection_id),
            FromSwarm::DialFailure(event) => self.ended(event.connection_id),
            _ => {}
        }
        self.stirred = true;
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        // What a peer brings by a connection that this node has made, or over a relay, or by
        // one that was there before, shows nothing.
        if event.is_right() && !self.came.contains(&id) && !self.may_be.contains(&id) {
            tracing::debug!(%peer, "a peer claims to have dialled this node, and has not");
            return;
        }
        let is_apart = self.apart.contains_key(&id);
        match &mut self.again {
            Some(again) if event.is_right() || again.id() == id => again.on_event(peer, id, event),
            // Late.
            _ if is_apart => {}
            _ => {
                self.stirred = true;
                self.inner.on_connection_handler_event(peer, id, event);
            }
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(opts) = self.dials.pop_front() {
            return Poll::Ready(ToSwarm::Dial { opts });
        }
        if let Poll::Ready(step) = self.poll_again(cx) {
            if let ToSwarm::NotifyHandler { peer_id, .. } = &step {
                self.asks(*peer_id);
            }
            return Poll::Ready(step);
        }
        // One client at a time: by what a peer comes doesn't show for which.
        let idle = self.open.is_empty() || self.servers.is_empty();
        if self.again.is_some() || (!self.stirred && idle) {
            return Poll::Pending;
        }
        let polled = loop {
            match self.inner.poll(cx) {
                Poll::Ready(said) if !self.is_of_here(&said) => {}
                polled => break polled,
            }
        };
        match &polled {
            Poll::Ready(ToSwarm::NotifyHandler { peer_id, .. }) => self.asks(*peer_id),
            Poll::Ready(ToSwarm::GenerateEvent(event)) => self.tried(event),
            Poll::Ready(_) => {}
            Poll::Pending => {
                self.stirred = false;
                // Of one whose peer went meanwhile there is no result.
                self.open.retain(|_, since| since.elapsed() < OPEN);
            }
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: usize) -> Multiaddr {
        format!("/ip4/8.8.8.8/tcp/{port}").parse().unwrap()
    }

    fn reached(tested_addr: &Multiaddr) -> ToSwarm<client::Event, THandlerInEvent<Probes>> {
        let (tested_addr, server) = (tested_addr.clone(), PeerId::random());
        let result = Ok(());
        ToSwarm::GenerateEvent(client::Event { tested_addr, bytes_sent: 0, server, result })
    }

    #[test]
    fn the_addresses_that_are_tried_are_bounded_and_as_many_again_after_a_move() {
        let mut probes = Probes::new(Spare::default());
        (1..1000).for_each(|port| assert!(!probes.try_addr(&addr(port))));
        assert_eq!((probes.tried.len(), probes.open.len()), (MOST, MOST));
        probes.moved();
        (1001..2000).for_each(|port| assert!(!probes.try_addr(&addr(port))));
        assert_eq!((probes.tried.len(), probes.open.len()), (MOST, MOST));
    }

    #[test]
    fn what_comes_of_addresses_of_before_a_move_says_nothing() {
        let mut probes = Probes::new(Spare::default());
        let (before, after) = (addr(1), addr(2));
        probes.try_addr(&before);
        assert!(probes.is_of_here(&reached(&before)));
        probes.moved();
        assert!(probes.open.is_empty(), "nothing is waited for");
        probes.try_addr(&after);
        for (addr, is_of_here) in [(&before, false), (&after, true)] {
            assert_eq!(probes.is_of_here(&reached(addr)), is_of_here);
            let confirmed = ToSwarm::ExternalAddrConfirmed(addr.clone());
            assert_eq!(probes.is_of_here(&confirmed), is_of_here);
        }
        // Who comes back to where it was reached is told that at once.
        probes.reached.insert(after.clone());
        probes.moved();
        assert!(probes.try_addr(&after) && !probes.open.contains_key(&after));
    }
}
