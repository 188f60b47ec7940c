//! The part in the swarm: asks the state machine, and closes what it says.

use super::{Refusal, Sizes, Slots};
use crate::host::ping::RoundTrips;
use crate::{
    metrics::{ByLabel, Metrics},
    prefix::Prefix,
};
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
    },
};
use prometheus_client::metrics::{family::Family, gauge::Gauge};
use std::{
    collections::{VecDeque, hash_map::RandomState},
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep};

/// How many more connections this node can make, for whoever wants to know.
#[derive(Clone, Debug, Default)]
pub(in crate::host) struct Room(Arc<AtomicUsize>);

impl Room {
    pub(in crate::host) fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is told of connections, whichever swarm they are in. Clones share it.
#[derive(Clone, Debug)]
pub(in crate::host) struct Tally {
    room: Room,
    refused: ByLabel,
    closed: ByLabel,
    taken: Family<[(&'static str, &'static str); 1], Gauge>,
}

impl Tally {
    pub(in crate::host) fn new(metrics: &Metrics) -> Self {
        let (refused, closed, taken) = (ByLabel::default(), ByLabel::default(), Family::default());
        metrics.register(
            "connections_refused",
            "Connections that were refused for want of a place, by reason",
            refused.clone(),
        );
        metrics.register(
            "connections_closed",
            "Connections that were closed to make place, by reason",
            closed.clone(),
        );
        metrics.register("connection_slots", "Connections, by kind", taken.clone());
        Self { room: Room::default(), refused, closed, taken }
    }

    pub(in crate::host) fn room(&self) -> Room {
        self.room.clone()
    }
}

/// Admits and closes connections.
pub(in crate::host) struct Behaviour {
    slots: Slots<ConnectionId, RandomState>,
    started: Instant,
    closing: VecDeque<(PeerId, ConnectionId)>,
    /// Rings when guests have to go.
    timer: Pin<Box<Sleep>>,
    round_trips: RoundTrips,
    tally: Tally,
}

impl Behaviour {
    pub(in crate::host) fn new(sizes: Sizes, round_trips: RoundTrips, tally: Tally) -> Self {
        let mut behaviour = Self {
            slots: Slots::new(sizes, RandomState::new()),
            started: Instant::now(),
            closing: VecDeque::new(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            round_trips,
            tally,
        };
        behaviour.note();
        behaviour
    }

    /// A peer was the first to bring a gossip message that was good.
    pub(in crate::host) fn brought(&mut self, peer: &PeerId) {
        let now = self.now();
        self.slots.brought(peer, now);
    }

    /// An exchange of peers with a peer is over.
    pub(in crate::host) fn exchanged(&mut self, peer: &PeerId) {
        let now = self.now();
        self.slots.exchanged(peer, now);
        self.note();
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Tells of the connections as they are now, and sets the timer.
    fn note(&mut self) {
        let taken = self.slots.taken();
        for (kind, n) in [
            ("inbound", taken.inbound),
            ("outbound", taken.outbound),
            ("guest", taken.guests),
            ("closing", taken.closing),
        ] {
            self.tally.taken.get_or_create(&[("kind", kind)]).set(n.try_into().unwrap_or(i64::MAX));
        }
        self.tally.room.0.store(self.slots.room(), Ordering::Relaxed);
        if let Some(due) = self.slots.next_due() {
            self.timer.as_mut().reset(self.started + due);
        }
    }

    fn refuse(&self, refusal: Refusal) -> ConnectionDenied {
        self.tally.refused.get_or_create(&[("reason", refusal.label())]).inc();
        ConnectionDenied::new(refusal)
    }

    fn close(&mut self, id: ConnectionId, reason: &'static str) {
        if let Some(peer) = self.slots.peer(id) {
            tracing::debug!(%peer, reason, "a connection is closed to make place");
            self.tally.closed.get_or_create(&[("reason", reason)]).inc();
            self.closing.push_back((peer, id));
        }
    }

    fn end(&mut self, id: ConnectionId) {
        self.slots.closed(id);
        self.note();
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let prefix = Prefix::of_incoming(local, remote);
        self.slots.incoming(id, prefix).map_err(|refusal| self.refuse(refusal))
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.slots.is_full() {
            for (id, peer) in self.slots.held_by_others() {
                if let Some(rtt) = self.round_trips.of(&peer) {
                    self.slots.answered(id, rtt);
                }
            }
        }
        let now = self.now();
        let admitted = self.slots.inbound(id, peer, Prefix::of_incoming(local, remote), now);
        let admitted = admitted.map_err(|refusal| self.refuse(refusal))?;
        if let Some(victim) = admitted.instead {
            self.close(victim, "replaced");
        }
        self.note();
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        _: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.slots.outgoing(id).map_err(|refusal| self.refuse(refusal))?;
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let now = self.now();
        self.slots.outbound(id, peer, now).map_err(|refusal| self.refuse(refusal))?;
        self.note();
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(event) => self.end(event.connection_id),
            FromSwarm::ListenFailure(event) => self.end(event.connection_id),
            FromSwarm::DialFailure(event) => self.end(event.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        while self.slots.next_due().is_some() && self.timer.as_mut().poll(cx).is_ready() {
            let now = self.now();
            for id in self.slots.due(now) {
                self.close(id, "guest");
            }
            self.note();
        }
        match self.closing.pop_front() {
            Some((peer_id, id)) => Poll::Ready(ToSwarm::CloseConnection {
                peer_id,
                connection: CloseConnection::One(id),
            }),
            None => Poll::Pending,
        }
    }
}
