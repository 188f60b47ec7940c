//! Streams for CASM's own protocols, opened and accepted by name.
//!
//! `handler` is the part in each connection, with which its streams end
//! (`ending`). Streams that come in wait in a
//! queue for each protocol; those that find it full are closed and counted, so
//! that a burst costs a bounded amount of memory and is seen. Streams that go
//! out wait for each other only until they are asked for: a peer that doesn't
//! answer for one holds up no other.

mod ending;
mod handler;

use crate::{
    Error, ErrorKind, Result,
    metrics::Metrics,
    nat::is_relayed,
    spare::{Kind, Spare},
};
use ending::Line;
pub(crate) use ending::{OfConnection, Stream};
use handler::Handler;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
    },
};
use prometheus_client::metrics::{counter::Counter, family::Family};
use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// How long a stream may take to open.
const OPEN: Duration = Duration::from_secs(10);
/// Streams of one protocol that may wait until they are taken.
const INCOMING: usize = 64;
/// Streams that may wait until a connection asks for them.
const OPENING: usize = 32;

/// A handle to the streams of a host. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    state: Arc<Mutex<State>>,
    /// Counts what found the queue full.
    refused: Family<[(&'static str, String); 1], Counter>,
}

#[derive(Debug)]
struct State {
    accepting: HashMap<StreamProtocol, mpsc::Sender<Waiting>>,
    /// The keys of `accepting`, which every connection asks for again and again.
    protocols: Arc<[StreamProtocol]>,
    /// Connections by peer, the oldest first.
    connections: HashMap<PeerId, Vec<Connection>>,
}

/// A connection, as far as streams are concerned.
#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    rank: Rank,
    asking: Asking,
    line: Line,
}

/// Which connection a stream is opened on, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Direct,
    Relayed,
    Passing,
}

/// A stream that waits to be taken. On the heap: a channel holds room for 32 from
/// its beginning.
type Waiting = Box<(PeerId, Stream)>;

/// A stream that is asked for.
#[derive(Debug)]
struct Open {
    protocol: StreamProtocol,
    reply: Reply,
}

/// Where a connection is asked for streams. On the heap, as [`Waiting`].
type Asking = mpsc::Sender<Box<Open>>;

pub(in crate::host) type Reply = oneshot::Sender<Result<Stream, Refusal>>;

/// Why a stream does not open.
#[derive(Debug)]
pub(in crate::host) enum Refusal {
    /// The peer doesn't speak the protocol.
    Unsupported,
    /// Something else.
    Failed(String),
}

impl Streams {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let refused = Family::default();
        metrics.register(
            "streams_refused",
            "Streams that came while too many waited for their service, by protocol",
            refused.clone(),
        );
        let state =
            State { accepting: HashMap::new(), protocols: [].into(), connections: HashMap::new() };
        Self { state: Arc::new(Mutex::new(state)), refused }
    }

    /// The part of a swarm, in which some connections are not to be used.
    pub(super) fn behaviour(&self, spare: Spare) -> Behaviour {
        Behaviour { streams: self.clone(), made: None, spare }
    }

    /// Opens a stream to a connected peer, on its newest connection, of those that lead
    /// over no relay if there are any.
    ///
    /// # Errors
    /// `Protocol` if the peer doesn't speak it, `Unreachable` if the stream
    /// cannot be opened, `Timeout` after 10 s.
    pub(super) async fn open(&self, peer: PeerId, protocol: StreamProtocol) -> Result<Stream> {
        let best = |all: &Vec<Connection>| {
            all.iter().rev().min_by_key(|connection| connection.rank).map(|c| c.asking.clone())
        };
        let opening = self.lock().connections.get(&peer).and_then(best);
        let Some(opening) = opening else {
            return Err(unreachable(format!("no connection to {peer}: connect to it first")));
        };
        let (reply, answer) = oneshot::channel();
        let open = Box::new(Open { protocol: protocol.clone(), reply });
        let opened = tokio::time::timeout(OPEN, async {
            // A connection that closes drops what it was asked for.
            opening.send(open).await.ok()?;
            answer.await.ok()
        });
        match opened.await {
            Ok(Some(Ok(stream))) => Ok(stream),
            Ok(Some(Err(Refusal::Unsupported))) => {
                Err(Error::new(ErrorKind::Protocol, format!("{peer} does not speak {protocol}")))
            }
            Ok(Some(Err(Refusal::Failed(why)))) => {
                Err(unreachable(format!("no stream for {protocol} to {peer}: {why}")))
            }
            Ok(None) => Err(unreachable(format!(
                "no stream for {protocol} to {peer}: the connection has closed"
            ))),
            Err(_) => Err(Error::new(
                ErrorKind::Timeout,
                format!("{peer} did not open a stream for {protocol} within 10 s"),
            )),
        }
    }

    /// Takes the incoming streams of a protocol, until what is given back is
    /// dropped.
    ///
    /// # Errors
    /// `Busy` if somebody takes them already.
    pub(super) fn accept(&self, protocol: StreamProtocol) -> Result<Incoming> {
        let mut state = self.lock();
        if state.accepting.contains_key(&protocol) {
            let message = format!("the protocol {protocol} is served already");
            return Err(Error::new(ErrorKind::Busy, message));
        }
        let (sender, receiver) = mpsc::channel(INCOMING);
        state.accepting.insert(protocol.clone(), sender);
        state.list();
        drop(state);
        Ok(Incoming { receiver, protocol, streams: self.clone() })
    }

    /// Whether a connection has streams.
    pub(super) fn is_used(&self, peer: &PeerId, id: ConnectionId) -> bool {
        let state = self.lock();
        let connection =
            state.connections.get(peer).and_then(|all| all.iter().find(|c| c.id == id));
        connection.is_some_and(|connection| {
            connection.line.is_used()
                || connection.asking.capacity() < connection.asking.max_capacity()
        })
    }

    /// Forgets the connections: the swarm that had them is gone.
    pub(super) fn clear(&self) {
        self.lock().connections.clear();
    }

    /// Hands over a stream that came in.
    fn came_in(&self, peer: PeerId, protocol: StreamProtocol, stream: Stream) {
        let sender = self.lock().accepting.get(&protocol).cloned();
        // Nobody takes it any more: it closes, as if it had come a little later.
        let Some(sender) = sender else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = sender.try_send(Box::new((peer, stream))) {
            tracing::debug!(%peer, %protocol, "too many streams wait: this one is closed");
            self.refused.get_or_create(&[("protocol", protocol.to_string())]).inc();
        }
    }

    /// The protocols that are accepted.
    fn protocols(&self) -> Arc<[StreamProtocol]> {
        Arc::clone(&self.lock().protocols)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn list(&mut self) {
        self.protocols = self.accepting.keys().cloned().collect();
    }
}

fn unreachable(message: String) -> Error {
    Error::new(ErrorKind::Unreachable, message)
}

/// The incoming streams of one protocol.
#[derive(Debug)]
pub(crate) struct Incoming {
    receiver: mpsc::Receiver<Waiting>,
    protocol: StreamProtocol,
    streams: Streams,
}

impl Incoming {
    /// The protocol.
    pub(crate) fn protocol(&self) -> &StreamProtocol {
        &self.protocol
    }
}

impl futures::Stream for Incoming {
    type Item = (PeerId, Stream);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(cx).map(|waiting| waiting.map(|waiting| *waiting))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let mut state = self.streams.lock();
        state.accepting.remove(&self.protocol);
        state.list();
    }
}

/// The part in the swarm.
pub(super) struct Behaviour {
    streams: Streams,
    /// The connection that is being made: another behaviour may refuse it yet.
    made: Option<Connection>,
    spare: Spare,
}

impl Behaviour {
    fn handler(&mut self, id: ConnectionId, peer: PeerId, addr: &Multiaddr) -> Handler {
        let (asking, opens) = mpsc::channel(OPENING);
        let rank = match () {
            () if self.spare.kind(id) == Some(Kind::Passing) => Rank::Passing,
            () if is_relayed(addr) => Rank::Relayed,
            () => Rank::Direct,
        };
        let line = Line::default();
        self.made = Some(Connection { id, rank, asking, line: line.clone() });
        Handler::new((peer, addr), opens, line, self.streams.clone())
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = std::convert::Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(id, peer, if is_relayed(local) { local } else { remote }))
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(id, peer, addr))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                let made = self.made.take().filter(|c| c.id == event.connection_id);
                let mut state = self.streams.lock();
                let all = state.connections.entry(event.peer_id).or_default();
                all.extend(made);
                if all.iter().any(|connection| connection.rank == Rank::Direct) {
                    let relayed = all.iter().filter(|c| c.rank == Rank::Relayed);
                    relayed.for_each(|connection| connection.line.is_stale());
                }
            }
            FromSwarm::ConnectionClosed(event) => {
                let mut state = self.streams.lock();
                if let Some(all) = state.connections.get_mut(&event.peer_id) {
                    all.retain(|connection| connection.id != event.connection_id);
                    if all.is_empty() {
                        state.connections.remove(&event.peer_id);
                    }
                }
            }
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

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}
