//! The client's part of relays, which notes the connections over those that give little.

use crate::{
    nat::{is_relayed, is_thin, relay_of},
    spare::{Kind, Spare},
};
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    relay::client,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
    },
};
use std::{
    collections::{HashMap, HashSet},
    task::{Context, Poll},
};

/// Peers that come over such a relay of whom that is noted until they are connected.
const MOST: usize = 256;

/// The client.
pub(in crate::host) struct Client {
    inner: client::Behaviour,
    /// Relays that give little, as they said last, while they are connected.
    thin: HashSet<PeerId>,
    /// Who comes over a relay, and whether that gives little.
    coming: HashMap<PeerId, bool>,
    spare: Spare,
}

impl Client {
    pub(super) fn new(inner: client::Behaviour, spare: Spare) -> Self {
        Self { inner, thin: HashSet::new(), coming: HashMap::new(), spare }
    }

    fn note(&mut self, event: &client::Event) {
        use client::Event::*;
        let (ReservationReqAccepted { limit, .. }
        | OutboundCircuitEstablished { limit, .. }
        | InboundCircuitEstablished { limit, .. }) = event;
        let limit = limit.as_ref();
        let bytes = limit.and_then(|limit| limit.data_in_bytes());
        let thin = is_thin(bytes, limit.and_then(|limit| limit.duration()));
        match event {
            InboundCircuitEstablished { src_peer_id, .. } => {
                if self.coming.len() < MOST {
                    self.coming.insert(*src_peer_id, thin);
                }
            }
            ReservationReqAccepted { relay_peer_id, .. }
            | OutboundCircuitEstablished { relay_peer_id, .. } => {
                match thin {
                    true => self.thin.insert(*relay_peer_id),
                    false => self.thin.remove(relay_peer_id),
                };
            }
        }
    }
}

impl NetworkBehaviour for Client {
    type ConnectionHandler = THandler<client::Behaviour>;
    type ToSwarm = client::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if is_relayed(local) && self.coming.remove(&peer).unwrap_or_default() {
            self.spare.insert(id, Kind::Thin);
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
        if relay_of(addr).is_some_and(|relay| self.thin.contains(&relay)) {
            self.spare.insert(id, Kind::Thin);
        }
        self.inner.handle_established_outbound_connection(id, peer, addr, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::ConnectionClosed(event) => {
                self.spare.remove(event.connection_id);
                if event.remaining_established == 0 {
                    self.thin.remove(&event.peer_id);
                }
            }
            FromSwarm::ListenFailure(event) => self.spare.remove(event.connection_id),
            FromSwarm::DialFailure(event) => self.spare.remove(event.connection_id),
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
        if let Poll::Ready(ToSwarm::GenerateEvent(event)) = &polled {
            self.note(event);
        }
        polled
    }
}
