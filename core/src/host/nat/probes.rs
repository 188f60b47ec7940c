//! The client's part of AutoNAT v2: peers dial this node where it may be reached, and
//! tell. Their connections for that are known, so that nobody uses them.

use crate::{
    nat::is_relayed,
    spare::{Kind, Spare},
};
use libp2p::{
    Multiaddr, PeerId,
    autonat::v2::client,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, behaviour::NewExternalAddrCandidate,
    },
};
use std::{
    collections::{HashMap, HashSet},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// How often addresses that are new are looked at.
const TICK: Duration = Duration::from_millis(500);
/// For how long a peer that was asked may come.
const COMES: Duration = Duration::from_secs(15);
/// For how long there may be a result of an address.
const OPEN: Duration = Duration::from_secs(120);
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
    /// Those at which this node was reached once: the client tries none again.
    reached: HashSet<Multiaddr>,
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

    /// This node is elsewhere: as many addresses again may be tried. What comes of those of
    /// before says nothing.
    pub(in crate::host) fn moved(&mut self) {
        self.open.clear();
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

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, addr, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::NewExternalAddrCandidate(_) => return,
            FromSwarm::ConnectionClosed(event) => {
                self.ended(event.connection_id);
                if event.remaining_established == 0 {
                    self.servers.remove(&event.peer_id);
                }
            }
            FromSwarm::ListenFailure(event) => self.ended(event.connection_id),
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
        self.stirred = true;
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if !self.stirred && (self.open.is_empty() || self.servers.is_empty()) {
            return Poll::Pending;
        }
        let polled = loop {
            match self.inner.poll(cx) {
                Poll::Ready(said) if !self.is_of_here(&said) => {}
                polled => break polled,
            }
        };
        match &polled {
            Poll::Ready(ToSwarm::NotifyHandler { peer_id, .. }) => {
                self.asked.retain(|_, asked| asked.elapsed() < COMES);
                self.asked.insert(*peer_id, Instant::now());
            }
            Poll::Ready(ToSwarm::GenerateEvent(event)) => {
                self.open.remove(&event.tested_addr);
                if event.result.is_ok() {
                    self.reached.insert(event.tested_addr.clone());
                }
            }
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
