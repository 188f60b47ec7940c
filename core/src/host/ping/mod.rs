//! Whether the peer at the other end of a connection still answers, and how
//! soon: libp2p's ping, `/ipfs/ping/1.0.0`.
//!
//! `pace` decides when to ask and when to give up, `exchange` puts one ping on a
//! stream and answers those of others, `handler` is the part in each connection.
//! Unlike libp2p's own, the first ping without an answer counts, a peer that
//! doesn't speak ping is known to live by its saying so, and all connections can
//! be checked at once.

mod exchange;
mod handler;
mod pace;
#[cfg(test)]
mod tests;

use handler::Handler;
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour,
        NotifyHandler, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};
use pace::Pace;
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::time::Instant;

/// Why a connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host) enum Failure {
    /// No answer came in time.
    Silent,
    /// Something else came back than was sent.
    Wrong,
}

impl Failure {
    /// The metrics label.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Wrong => "wrong-answer",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "no answer to a ping",
            Self::Wrong => "a wrong answer to a ping",
        })
    }
}

/// A connection was given up.
#[derive(Clone, Copy, Debug)]
pub(in crate::host) struct Failed {
    /// The peer at its other end.
    pub(in crate::host) peer: PeerId,
    /// Which.
    pub(in crate::host) connection: ConnectionId,
    /// Why.
    pub(in crate::host) why: Failure,
}

/// The latest round-trip times of the connected peers. Clones share them.
#[derive(Clone, Debug, Default)]
pub(in crate::host) struct RoundTrips(
    Arc<Mutex<HashMap<PeerId, BTreeMap<ConnectionId, Duration>>>>,
);

impl RoundTrips {
    /// The latest one of a peer: of several connections, of the best. `None`
    /// until the first answer, and of a peer that doesn't speak ping.
    pub(in crate::host) fn of(&self, peer: &PeerId) -> Option<Duration> {
        self.lock().get(peer)?.values().min().copied()
    }

    /// Forgets all of them: there are no connections any more.
    pub(in crate::host) fn clear(&self) {
        self.lock().clear();
    }

    fn took(&self, peer: PeerId, connection: ConnectionId, time: Duration) {
        self.lock().entry(peer).or_default().insert(connection, time);
    }

    fn closed(&self, peer: &PeerId, connection: ConnectionId) {
        let mut peers = self.lock();
        if let Some(connections) = peers.get_mut(peer) {
            connections.remove(&connection);
            if connections.is_empty() {
                peers.remove(peer);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PeerId, BTreeMap<ConnectionId, Duration>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part in the swarm. It closes the connections that fail, and says so.
pub(in crate::host) struct Behaviour {
    /// From an answer to the next ping.
    interval: Duration,
    /// When it began.
    epoch: Instant,
    round_trips: RoundTrips,
    connections: HashMap<ConnectionId, PeerId>,
    /// The connections that are yet to be told to check.
    checking: Vec<ConnectionId>,
    failed: VecDeque<Failed>,
    told: VecDeque<Failed>,
    waker: Option<Waker>,
}

impl Behaviour {
    pub(in crate::host) fn new(interval: Duration, round_trips: RoundTrips) -> Self {
        Self {
            interval,
            epoch: Instant::now(),
            round_trips,
            connections: HashMap::new(),
            checking: Vec::new(),
            failed: VecDeque::new(),
            told: VecDeque::new(),
            waker: None,
        }
    }

    /// Checks all connections now, with less patience than usual.
    pub(in crate::host) fn check(&mut self) {
        self.checking = self.connections.keys().copied().collect();
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Failed;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let interval = pace::of_listener(self.interval);
        Ok(Handler::new(Pace::new(interval, Instant::now())))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(Pace::new(self.interval, Instant::now()).together(self.epoch)))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                self.connections.insert(event.connection_id, event.peer_id);
            }
            FromSwarm::ConnectionClosed(event) => {
                self.connections.remove(&event.connection_id);
                self.round_trips.closed(&event.peer_id, event.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {
            Ok(time) if self.connections.contains_key(&connection) => {
                self.round_trips.took(peer, connection, time);
            }
            Ok(_) => {}
            Err(why) => self.failed.push_back(Failed { peer, connection, why }),
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(failed) = self.failed.pop_front() {
            self.told.push_back(failed);
            return Poll::Ready(ToSwarm::CloseConnection {
                peer_id: failed.peer,
                connection: CloseConnection::One(failed.connection),
            });
        }
        if let Some(failed) = self.told.pop_front() {
            return Poll::Ready(ToSwarm::GenerateEvent(failed));
        }
        while let Some(connection) = self.checking.pop() {
            // It may have closed meanwhile.
            if let Some(&peer_id) = self.connections.get(&connection) {
                return Poll::Ready(ToSwarm::NotifyHandler {
                    peer_id,
                    handler: NotifyHandler::One(connection),
                    event: handler::Check,
                });
            }
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
