//! Whether the peer at the other end of a connection still answers, and how
//! soon: libp2p's ping, `/ipfs/ping/1.0.0`.
//!
//! `pace` decides when to ask and when to give up, `exchange` puts one ping on a
//! stream and answers those of others, `handler` is the part in each connection.
//! Unlike libp2p's own, the first ping without an answer counts, a peer that
//! doesn't speak ping is known to live by its saying so, one that pings by itself is not
//! pinged, and all connections can be checked at once. Long before a connection is given
//! up it is told whose are all silent.

mod exchange;
mod handler;
mod pace;
#[cfg(test)]
mod tests;

use handler::{Handler, Told, Want};
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

/// Whether pings are so far apart because each of them wakes up two machines.
pub(in crate::host) fn is_seldom(interval: Duration) -> bool {
    interval >= pace::SPARING
}

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

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host) enum Event {
    /// A connection was given up.
    Failed(Failed),
    /// A peer has not answered for a while, on any of its connections.
    Late(PeerId),
    /// It has not answered in time.
    Silent(PeerId),
    /// It answers again.
    Answers(PeerId),
}

/// A connection was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    Arc<Mutex<HashMap<PeerId, BTreeMap<ConnectionId, RoundTrip>>>>,
);

/// How long it took, and when it began.
type RoundTrip = (Duration, Instant);

impl RoundTrips {
    /// The latest one of a peer: of several connections, of the best. `None`
    /// until the first answer, and of a peer that doesn't speak ping.
    pub(in crate::host) fn of(&self, peer: &PeerId) -> Option<Duration> {
        self.lock().get(peer)?.values().map(|(time, _)| *time).min()
    }

    /// When the last ping was sent that was answered, if that was not before this time.
    pub(in crate::host) fn since(&self, time: Instant) -> Option<Instant> {
        let peers = self.lock();
        let sent = peers.values().flat_map(BTreeMap::values).map(|(_, sent)| *sent);
        sent.filter(|sent| *sent >= time).max()
    }

    /// Forgets all of them: there are no connections any more.
    pub(in crate::host) fn clear(&self) {
        self.lock().clear();
    }

    fn took(&self, peer: PeerId, connection: ConnectionId, time: Duration) {
        let now = Instant::now();
        let round_trip = (time, now.checked_sub(time).unwrap_or(now));
        self.lock().entry(peer).or_default().insert(connection, round_trip);
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

    fn lock(&self) -> MutexGuard<'_, HashMap<PeerId, BTreeMap<ConnectionId, RoundTrip>>> {
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
    connections: HashMap<ConnectionId, Connection>,
    /// The connections of which something is wanted.
    wanted: Vec<(ConnectionId, Want)>,
    failed: VecDeque<Failed>,
    told: VecDeque<Event>,
    waker: Option<Waker>,
}

impl Behaviour {
    pub(in crate::host) fn new(interval: Duration, round_trips: RoundTrips) -> Self {
        Self {
            interval,
            epoch: Instant::now(),
            round_trips,
            connections: HashMap::new(),
            wanted: Vec::new(),
            failed: VecDeque::new(),
            told: VecDeque::new(),
            waker: None,
        }
    }

    /// Checks all connections now, with less patience than usual.
    pub(in crate::host) fn check(&mut self) {
        self.want(Want::Check);
    }

    /// Pings on all connections now.
    pub(in crate::host) fn ask(&mut self) {
        self.want(Want::Ask);
    }

    fn want(&mut self, want: Want) {
        // What was wanted before of one that is there is wanted still.
        let seldom = std::mem::take(&mut self.wanted).into_iter();
        let seldom = seldom.filter(|(_, want)| matches!(want, Want::Seldom(_)));
        self.wanted = self.connections.keys().map(|id| (*id, want)).chain(seldom).collect();
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    /// Pings so seldom on a connection from now on: its peer runs on a battery.
    pub(in crate::host) fn spare(&mut self, connection: ConnectionId, interval: Duration) {
        if let Some(known) = self.connections.get(&connection) {
            let interval = if known.listener { pace::of_listener(interval) } else { interval };
            self.wanted.push((connection, Want::Seldom(interval)));
            self.waker.take().into_iter().for_each(Waker::wake);
        }
    }

    /// How a peer is, on the best of its connections.
    fn best(&self, peer: &PeerId) -> Option<State> {
        self.connections.values().filter(|known| known.peer == *peer).map(|known| known.state).min()
    }

    /// A connection is so from now on.
    fn becomes(&mut self, peer: PeerId, connection: ConnectionId, state: State) {
        let before = self.best(&peer);
        if let Some(known) = self.connections.get_mut(&connection) {
            known.state = state;
        }
        self.compare(peer, before);
    }

    /// Tells of a peer if it is not as before.
    fn compare(&mut self, peer: PeerId, before: Option<State>) {
        match (self.best(&peer), before) {
            (Some(now), Some(before)) if now != before => self.told.push_back(match now {
                State::Fine => Event::Answers(peer),
                State::Late => Event::Late(peer),
                State::Silent => Event::Silent(peer),
            }),
            _ => {}
        }
    }
}

/// What is known of a connection.
struct Connection {
    peer: PeerId,
    state: State,
    /// Whether the peer made it.
    listener: bool,
}

/// How a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Fine,
    Late,
    Silent,
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

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
                let before = self.best(&event.peer_id);
                let (peer, listener) = (event.peer_id, event.endpoint.is_listener());
                let connection = Connection { peer, state: State::Fine, listener };
                self.connections.insert(event.connection_id, connection);
                self.compare(event.peer_id, before);
            }
            FromSwarm::ConnectionClosed(event) => {
                // If those that are left are silent, that was told, or is when they are
                // given up: one that was made to find that out goes at once.
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
        if !self.connections.contains_key(&connection) {
            return;
        }
        match event {
            Told::Answered(time) => self.round_trips.took(peer, connection, time),
            Told::Relieved => self.becomes(peer, connection, State::Fine),
            Told::Late => self.becomes(peer, connection, State::Late),
            Told::Silent => self.becomes(peer, connection, State::Silent),
            Told::Failed(why) => {
                if why == Failure::Silent {
                    self.becomes(peer, connection, State::Silent);
                }
                self.failed.push_back(Failed { peer, connection, why });
            }
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(failed) = self.failed.pop_front() {
            self.told.push_back(Event::Failed(failed));
            return Poll::Ready(ToSwarm::CloseConnection {
                peer_id: failed.peer,
                connection: CloseConnection::One(failed.connection),
            });
        }
        if let Some(event) = self.told.pop_front() {
            return Poll::Ready(ToSwarm::GenerateEvent(event));
        }
        while let Some((connection, event)) = self.wanted.pop() {
            // It may have closed meanwhile.
            if let Some(known) = self.connections.get(&connection) {
                return Poll::Ready(ToSwarm::NotifyHandler {
                    peer_id: known.peer,
                    handler: NotifyHandler::One(connection),
                    event,
                });
            }
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
