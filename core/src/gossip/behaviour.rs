//! The engine on a swarm.

use super::{
    engine::{CheckId, Config, Counts, Engine, Output, PublishError},
    handler::{Handler, Order, Told, Written},
    id::MessageId,
    links::{Change, Links, Used},
    pool::Checks,
    refused::Refused,
};
use crate::{
    pubsub::{Verdict, signed::SignedMessage},
    spare::Spare,
};
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm,
        NetworkBehaviour, NotifyHandler, THandler, THandlerOutEvent, ToSwarm,
        behaviour::ConnectionEstablished,
    },
};
use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// What gossip tells.
#[derive(Debug)]
pub(crate) enum Event {
    /// Messages of joined topics, with good signatures, each with who passed it
    /// on. They wait for verdicts.
    Deliver(Vec<(SignedMessage, PeerId)>),
    /// A peer has joined a topic of ours, or says so anew.
    Subscribed { peer: PeerId, topic: Arc<str> },
    /// A peer is among those who have joined a topic of ours, or is not any more.
    Peer { peer: PeerId, topic: Arc<str>, here: bool },
    /// There may be room for what there was none for.
    Room,
}

type Command = ToSwarm<Event, Order>;

/// Gossip, as a part of a swarm.
pub(crate) struct Behaviour {
    engine: Engine,
    epoch: Instant,
    timer: Pin<Box<Sleep>>,
    peers: HashMap<PeerId, Peer>,
    /// What the swarm is to do.
    commands: VecDeque<Command>,
    /// The frames that are being written.
    writing: Vec<Frame>,
    /// What is to be delivered.
    good: Vec<(SignedMessage, PeerId)>,
    /// Checks that are not begun.
    begun: Vec<(CheckId, SignedMessage)>,
    checks: Checks,
    refused: Refused,
    spare: Spare,
}

#[derive(Default)]
struct Peer {
    links: Links,
    /// Frames that were given to the connection in use, and what became of them.
    given: u64,
    written: Arc<Written>,
}

/// A frame that a connection was given.
struct Frame {
    peer: PeerId,
    number: u64,
    written: Arc<Written>,
    /// Whether the handler was asked to tell of it.
    asked: bool,
}

impl Frame {
    fn is_written(&self) -> bool {
        self.written.frames() >= self.number
    }
}

impl Behaviour {
    /// Gossip that refuses forgers by `refused`.
    pub(crate) fn new(config: Config, counts: Counts, refused: Refused) -> Self {
        let epoch = Instant::now();
        Self {
            engine: Engine::new(Duration::ZERO, config, counts, rand::random()),
            epoch,
            timer: Box::pin(sleep_until(epoch)),
            peers: HashMap::new(),
            commands: VecDeque::new(),
            writing: Vec::new(),
            good: Vec::new(),
            begun: Vec::new(),
            checks: Checks::new(),
            refused,
            spare: Spare::default(),
        }
    }

    /// The same, which uses these connections less, or not at all.
    pub(crate) fn without(self, spare: Spare) -> Self {
        Self { spare, ..self }
    }

    /// Joins a topic.
    pub(crate) fn join(&mut self, topic: &str) {
        self.engine.join(self.now(), topic);
    }

    /// Another receiver is in the place of a topic's.
    pub(crate) fn renew(&mut self, topic: &str) {
        self.engine.renew(topic);
    }

    /// What is said on a topic is to be there soon.
    pub(crate) fn quicken(&mut self, topic: &str) {
        self.engine.quicken(topic);
    }

    /// Leaves a topic.
    pub(crate) fn leave(&mut self, topic: &str) {
        self.engine.leave(self.now(), topic);
    }

    /// Publishes a message of this node's.
    pub(crate) fn publish(&mut self, message: SignedMessage) -> Result<usize, PublishError> {
        self.engine.publish(self.now(), message)
    }

    /// The same, unless something else would be lost by it.
    pub(crate) fn publish_if_room(
        &mut self,
        message: SignedMessage,
    ) -> Result<usize, PublishError> {
        // Who has taken all is not stuck.
        self.settle();
        self.engine.publish_if_room(self.now(), message)
    }

    /// The connected peers that have joined a topic of ours.
    pub(crate) fn subscribed(&self, topic: &str) -> impl Iterator<Item = PeerId> {
        self.engine.subscribed(topic)
    }

    /// Sends a message to one peer.
    pub(crate) fn tell(&mut self, peer: &PeerId, message: SignedMessage) {
        self.engine.tell(self.now(), peer, message);
    }

    /// Says what is thought of a message that was delivered.
    pub(crate) fn verdict(&mut self, id: &MessageId, verdict: Verdict) {
        self.engine.verdict(self.now(), id, verdict);
    }

    /// A peer runs a program of ours.
    pub(crate) fn is_ours(&mut self, id: &PeerId) {
        self.engine.is_ours(id);
    }

    /// The program at the other end of a connection is another run than that of
    /// the peer's older connections: closes those.
    pub(crate) fn restarted(&mut self, id: PeerId, newest: ConnectionId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let (change, older) = peer.links.restarted(newest);
        older.into_iter().for_each(|old| self.close(id, CloseConnection::One(old)));
        self.change(id, change);
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Another connection with a peer is used, or none.
    fn change(&mut self, id: PeerId, change: Change) {
        let now = self.now();
        if !matches!(change, Change::None) {
            self.writing.retain(|frame| frame.peer != id);
        }
        let used = match change {
            Change::None => return,
            Change::Disconnected => return self.engine.disconnected(now, &id),
            Change::Connected(used) => {
                self.engine.connected(now, id, used.outbound);
                used
            }
            Change::Replaced(used) => {
                tracing::debug!(peer = %id, "gossip uses another connection");
                self.engine.replaced(now, id, used.outbound);
                used
            }
        };
        let Used { id: connection, .. } = used;
        if let Some(peer) = self.peers.get_mut(&id) {
            (peer.given, peer.written) = (0, Arc::default());
            let written = peer.written.clone();
            self.commands.push_back(order(id, connection, Order::Use(written)));
        }
    }

    fn close(&mut self, peer_id: PeerId, connection: CloseConnection) {
        self.commands.push_back(ToSwarm::CloseConnection { peer_id, connection });
    }

    /// What the engine wants done; `None` if the swarm has no part in it.
    fn carry_out(&mut self, output: Output) -> Option<Command> {
        match output {
            Output::Send { peer, frame } => {
                let known = self.peers.get_mut(&peer)?;
                let used = known.links.used()?;
                known.given += 1;
                let (number, written) = (known.given, known.written.clone());
                self.writing.push(Frame { peer, number, written, asked: false });
                Some(order(peer, used, Order::Write(frame)))
            }
            Output::Verify { check, message } => {
                self.begun.push((check, message));
                None
            }
            Output::Deliver { message, from } => {
                self.good.push((message, from));
                None
            }
            Output::Subscribed { peer, topic } => {
                Some(ToSwarm::GenerateEvent(Event::Subscribed { peer, topic }))
            }
            Output::Peer { peer, topic, here } => {
                Some(ToSwarm::GenerateEvent(Event::Peer { peer, topic, here }))
            }
            Output::Room => Some(ToSwarm::GenerateEvent(Event::Room)),
            Output::Close { peer: peer_id, reason, refuse } => {
                tracing::debug!(peer = %peer_id, reason, refuse, "closing the connections of a peer");
                if refuse && let Some(peer) = self.peers.get(&peer_id) {
                    self.refused.refuse(peer_id, peer.links.networks());
                }
                Some(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::All })
            }
        }
    }

    /// Tells the engine whose frames are written; whether any is. Where it waits
    /// for that, the handler is to say so.
    fn settle(&mut self) -> bool {
        let before = self.writing.len();
        let (now, engine) = (self.now(), &mut self.engine);
        self.writing.retain_mut(|frame| {
            if !frame.asked && !frame.is_written() && engine.waits_for(&frame.peer) {
                frame.asked = true;
                frame.written.tell();
            }
            // It may have been written just before that.
            let is_written = frame.is_written();
            if is_written {
                engine.sent(now, &frame.peer);
            }
            !is_written
        });
        self.writing.len() < before
    }

    /// Waits for the engine's next turn. Ready if it has come.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let wake = self.epoch + self.engine.next_wake();
        if self.timer.deadline() != wake {
            self.timer.as_mut().reset(wake);
        }
        self.timer.as_mut().poll(cx)
    }
}

fn order(peer_id: PeerId, connection: ConnectionId, event: Order) -> Command {
    ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(connection), event }
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
        Ok(Handler::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            }) => {
                let now = self.now();
                let peer = self.peers.entry(peer_id).or_default();
                let spare = self.spare.kind(connection_id);
                let change = peer.links.opened(connection_id, endpoint, spare, now);
                self.change(peer_id, change);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                let Some(peer) = self.peers.get_mut(&peer_id) else { return };
                let change = peer.links.closed(connection_id);
                if peer.links.is_empty() {
                    self.peers.remove(&peer_id);
                }
                self.change(peer_id, change);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        id: PeerId,
        connection: ConnectionId,
        told: THandlerOutEvent<Self>,
    ) {
        let Some(peer) = self.peers.get(&id) else { return };
        let (now, is_used) = (self.now(), peer.links.used() == Some(connection));
        match told {
            // On whichever connection the peer has its stream.
            Told::Received(rpc) => self.engine.received(now, &id, *rpc),
            Told::Offended(offence) => self.engine.offended(now, &id, offence),
            Told::Open(version) if is_used => self.engine.negotiated(&id, version),
            Told::Unsupported if is_used => self.engine.disconnected(now, &id),
            Told::Failed(why) => {
                tracing::debug!(peer = %id, why, "a stream of gossip failed: closing its connection");
                self.close(id, CloseConnection::One(connection));
            }
            // Looked after at the next poll.
            Told::Open(_) | Told::Unsupported | Told::Written => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Command> {
        loop {
            if let Some(command) = self.commands.pop_front() {
                return Poll::Ready(command);
            }
            self.settle();
            let now = self.now();
            while let Some(output) = self.engine.poll(now) {
                if let Some(command) = self.carry_out(output) {
                    return Poll::Ready(command);
                }
            }
            if !self.good.is_empty() {
                let good = mem::take(&mut self.good);
                return Poll::Ready(ToSwarm::GenerateEvent(Event::Deliver(good)));
            }
            if !self.begun.is_empty() {
                self.checks.submit(self.begun.drain(..));
            }
            match self.checks.poll(cx) {
                Poll::Ready(results) => {
                    let now = self.now();
                    for (check, good) in results {
                        self.engine.verified(now, check, good);
                    }
                }
                Poll::Pending if self.poll_timer(cx).is_ready() => {}
                // The engine may have more for somebody since.
                Poll::Pending if self.settle() => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
