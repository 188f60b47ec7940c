//! A behaviour of libp2p that dials where others tell it to: what it dials is looked at
//! first, and known from then on.

use super::Bounds;
use crate::spare::{Kind, Spare};
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};
use std::{
    collections::{HashMap, HashSet},
    task::{Context, Poll},
};
use tokio::time::Instant;

/// Dials that a peer may want while it is connected, to punch through its NAT.
const MOST: u32 = 32;

/// Why a dial is not made.
#[derive(Debug, thiserror::Error)]
#[error("addresses that a peer told are not dialled: too many, too often, or not from there")]
struct NotDialled;

/// The behaviour, whose dials are bounded.
pub(in crate::host) struct Watched<B> {
    pub(super) inner: B,
    dials: HashSet<ConnectionId>,
    /// Connections that it has made, until they close, with whom and when.
    made: HashMap<ConnectionId, (PeerId, Instant)>,
    /// How many dials each peer wanted that is connected.
    wanted: HashMap<PeerId, u32>,
    bounds: Bounds,
    /// Where they are noted, if nobody else is to use them.
    spare: Option<Spare>,
}

impl<B> Watched<B> {
    pub(super) fn new(inner: B, bounds: Bounds) -> Self {
        Self {
            inner,
            dials: HashSet::new(),
            made: HashMap::new(),
            wanted: HashMap::new(),
            bounds,
            spare: None,
        }
    }

    /// One whose connections nobody else is to use.
    pub(super) fn apart(inner: B, bounds: Bounds, spare: Spare) -> Self {
        Self { spare: Some(spare), ..Self::new(inner, bounds) }
    }

    /// The connections that it has made with a peer, or before a time.
    pub(super) fn over(&self, peer: Option<&PeerId>, before: Instant) -> Vec<ConnectionId> {
        let over = |(with, since): &(PeerId, Instant)| peer == Some(with) || *since < before;
        self.made.iter().filter(|(_, made)| over(made)).map(|(id, _)| *id).collect()
    }

    /// Whether it has made a connection that is there.
    pub(super) fn has_made(&self, id: ConnectionId) -> bool {
        self.made.contains_key(&id)
    }

    /// Whether it has made connections that are there.
    pub(super) fn has_any(&self) -> bool {
        !self.made.is_empty()
    }
}

impl<B> Watched<B> {
    fn ended(&mut self, id: ConnectionId) {
        self.dials.remove(&id);
        self.made.remove(&id);
        self.spare.iter().for_each(|spare| spare.remove(id));
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Watched<B> {
    type ConnectionHandler = B::ConnectionHandler;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addrs: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.dials.contains(&id) && !peer.is_some_and(|peer| self.bounds.may(&peer, addrs)) {
            return Err(ConnectionDenied::new(NotDialled));
        }
        self.inner.handle_pending_outbound_connection(id, peer, addrs, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.dials.contains(&id)
            && let Some(spare) = &self.spare
        {
            spare.insert(id, Kind::Passing);
        }
        self.inner.handle_established_outbound_connection(id, peer, addr, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            // What others see is looked at first: see `Nat::seen`.
            FromSwarm::NewExternalAddrCandidate(_) => return,
            FromSwarm::ConnectionEstablished(event) => {
                let id = event.connection_id;
                let is_own = self.dials.remove(&id);
                self.made.extend(is_own.then(|| (id, (event.peer_id, Instant::now()))));
            }
            FromSwarm::ConnectionClosed(event) => {
                self.ended(event.connection_id);
                if event.remaining_established == 0 {
                    self.wanted.remove(&event.peer_id);
                }
            }
            FromSwarm::DialFailure(event) => self.ended(event.connection_id),
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        let polled = self.inner.poll(cx);
        let Poll::Ready(ToSwarm::Dial { opts }) = &polled else { return polled };
        self.dials.insert(opts.connection_id());
        if self.spare.is_none()
            && let Some(peer) = opts.get_peer_id()
        {
            let wanted = self.wanted.entry(peer).or_default();
            *wanted += 1;
            // libp2p remembers each, and asks for three at most.
            if *wanted > MOST {
                self.dials.remove(&opts.connection_id());
                let connection = CloseConnection::All;
                return Poll::Ready(ToSwarm::CloseConnection { peer_id: peer, connection });
            }
        }
        polled
    }
}
