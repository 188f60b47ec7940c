//! Gossipsub, told of a peer's restart.
//!
//! Gossipsub greets a peer on its first connection only, and keeps what it
//! knows of the peer until the last one closes. A peer that restarts (or lost
//! the connection without this side noticing) comes back on a second
//! connection while the first still looks alive: it would not be told the
//! subscriptions, and messages for it would go into the dead connection. So a
//! connection that comes while older ones exist replaces them in gossipsub's
//! eyes.

use super::swarm::Gossipsub;
use crate::metrics::Metrics;
use libp2p::{
    Multiaddr, PeerId,
    core::{ConnectedPoint, Endpoint, transport::PortUse},
    gossipsub,
    swarm::{
        CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm,
        NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        behaviour::ConnectionEstablished,
    },
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    ops::{Deref, DerefMut},
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// Connections in opposite directions that are made within this time of each
/// other are taken for those of two peers that dialled each other at once.
/// Should it be a restart after all, identify tells ([`Renewing::on_restart`]),
/// or that the older connection fails its ping.
const SIMULTANEOUS: Duration = Duration::from_millis(500);

struct Live {
    id: ConnectionId,
    endpoint: ConnectedPoint,
    since: Instant,
}

/// What a connection tells gossipsub.
type FromConnection = THandlerOutEvent<Gossipsub>;

/// Gossipsub that forgets a peer's older connections when a new one comes. It
/// also counts the messages that gossipsub refuses by itself.
pub(super) struct Renewing {
    gossipsub: Gossipsub,
    /// The connections that gossipsub knows.
    live: HashMap<PeerId, Vec<Live>>,
    /// Those that it takes for closed, and that are not.
    retired: HashMap<PeerId, HashSet<ConnectionId>>,
    closing: VecDeque<(PeerId, ConnectionId)>,
    metrics: Metrics,
}

impl Renewing {
    pub(super) fn new(gossipsub: Gossipsub, metrics: Metrics) -> Self {
        Self {
            gossipsub,
            live: HashMap::new(),
            retired: HashMap::new(),
            closing: VecDeque::new(),
            metrics,
        }
    }

    /// The peer at the other end of a connection restarted: closes the older
    /// ones. True if the connection itself has to close too, since gossipsub
    /// doesn't know that it leads to somebody who was not greeted yet.
    pub(super) fn on_restart(&mut self, peer: PeerId, newest: ConnectionId) -> bool {
        let live = self.live.get(&peer).map_or(&[][..], |live| live);
        let ungreeted = live.len() > 1 || live.iter().any(|connection| connection.id != newest);
        let retired = self.retired.get(&peer).into_iter().flatten().copied();
        let all = live.iter().map(|connection| connection.id).chain(retired);
        let closing = all.filter(|id| ungreeted || *id != newest).map(|id| (peer, id));
        self.closing.extend(closing);
        ungreeted
    }

    /// Retires a peer's connections, if a new one means that it restarted.
    fn before_connection(&mut self, peer: PeerId, we_dialled: bool) {
        let crossed = |live: &Live| {
            live.endpoint.is_dialer() != we_dialled && live.since.elapsed() < SIMULTANEOUS
        };
        if self.live.get(&peer).is_none_or(|all| all.iter().any(crossed)) {
            return;
        }
        tracing::debug!(%peer, "a new connection replaces those that the peer seems to have lost");
        let mut old = self.live.remove(&peer).unwrap_or_default();
        while let Some(connection) = old.pop() {
            self.retired.entry(peer).or_default().insert(connection.id);
            self.gossipsub.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id: peer,
                connection_id: connection.id,
                endpoint: &connection.endpoint,
                cause: None,
                remaining_established: old.len(),
            }));
        }
    }

    fn on_established(&mut self, event: ConnectionEstablished<'_>) {
        let live = self.live.entry(event.peer_id).or_default();
        let other_established = live.len();
        live.push(Live {
            id: event.connection_id,
            endpoint: event.endpoint.clone(),
            since: Instant::now(),
        });
        self.gossipsub.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            other_established,
            ..event
        }));
    }

    fn on_closed(&mut self, event: ConnectionClosed<'_>) {
        let peer = event.peer_id;
        if let Some(retired) = self.retired.get_mut(&peer)
            && retired.remove(&event.connection_id)
        {
            if retired.is_empty() {
                self.retired.remove(&peer);
            }
            return;
        }
        let live = self.live.entry(peer).or_default();
        let first = live.first().is_some_and(|connection| connection.id == event.connection_id);
        live.retain(|connection| connection.id != event.connection_id);
        let remaining_established = live.len();
        if first {
            // Of two that seemed to cross, the older goes: if the peer was in
            // fact restarted, it was not greeted on the younger. Starting
            // afresh is what serves both.
            self.closing.extend(live.iter().map(|connection| (peer, connection.id)));
        }
        if remaining_established == 0 {
            self.live.remove(&peer);
            // A connection that gossipsub doesn't know is of no use alone.
            let retired = self.retired.get(&peer).into_iter().flatten();
            self.closing.extend(retired.map(|id| (peer, *id)));
        }
        self.gossipsub.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            remaining_established,
            ..event
        }));
    }
}

/// The metrics label of a refusal, whose type gossipsub keeps to itself.
fn label(error: &str) -> &'static str {
    match error {
        "InvalidSignature" => "bad-signature",
        "EmptySequenceNumber" | "InvalidSequenceNumber" => "bad-sequence-number",
        "InvalidPeerId" => "bad-source",
        "MessageSizeTooLargeForTopic" => "too-large",
        _ => "malformed",
    }
}

impl Deref for Renewing {
    type Target = Gossipsub;

    fn deref(&self) -> &Gossipsub {
        &self.gossipsub
    }
}

impl DerefMut for Renewing {
    fn deref_mut(&mut self) -> &mut Gossipsub {
        &mut self.gossipsub
    }
}

impl NetworkBehaviour for Renewing {
    type ConnectionHandler = <Gossipsub as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = gossipsub::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.before_connection(peer, false);
        self.gossipsub.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.before_connection(peer, true);
        self.gossipsub.handle_established_outbound_connection(id, peer, addr, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => self.on_established(event),
            FromSwarm::ConnectionClosed(event) => self.on_closed(event),
            event => self.gossipsub.on_swarm_event(event),
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        if let FromConnection::Message { invalid_messages, .. } = &event {
            for (_, error) in invalid_messages {
                let reason = [("reason", label(&format!("{error:?}")))];
                self.metrics.gossip_refused.get_or_create(&reason).inc();
            }
        }
        // Also from a retired connection: if it lives, the peer may send on it.
        self.gossipsub.on_connection_handler_event(peer, id, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer_id, id)) = self.closing.pop_front() {
            return Poll::Ready(ToSwarm::CloseConnection {
                peer_id,
                connection: CloseConnection::One(id),
            });
        }
        self.gossipsub.poll(cx)
    }
}
