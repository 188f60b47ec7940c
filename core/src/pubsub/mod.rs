//! The seam between the services and gossip: all that they know of it is a
//! [`Topic`] to publish on, and what it receives with a verdict to give; and a
//! [`Publisher`] for what may wait until there is room.

pub(crate) mod fields;
pub mod keys;
pub mod signed;

use crate::{Result, ask::ask, gossip::id::MessageId, members::Vetting};
use libp2p::PeerId;
use signed::SignedMessage;
use std::collections::BTreeSet;
use tokio::sync::{mpsc, oneshot, watch};

/// What a receiver thinks of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Good: relay it.
    Accept,
    /// Neither good nor bad: don't relay it.
    Ignore,
    /// Bad: don't relay it. Nothing is held against who passed it on: it may be of
    /// another make, and have relayed it unread.
    Reject,
}

/// A message whose signature has been verified.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// The message, as any other node can verify it.
    pub(crate) message: SignedMessage,
    /// Who passed it on.
    pub(crate) from: PeerId,
}

impl Received {
    /// What a verdict refers to.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket { id: self.message.id().clone(), from: self.from }
    }
}

/// Identifies a received message towards gossip.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) id: MessageId,
    pub(crate) from: PeerId,
}

/// What happens on a topic.
#[derive(Debug)]
pub(crate) enum TopicEvent {
    /// A message arrived, and waits for its verdict.
    Received(Received),
    /// A connected peer joined the topic, or says so on a new connection.
    Subscribed {
        /// Who.
        peer: PeerId,
    },
}

/// What a topic asks of the task that owns gossip.
#[derive(Debug)]
pub(crate) enum TopicCommand {
    /// Publish. Fails with [`ErrorKind::Unreachable`](crate::ErrorKind::Unreachable)
    /// while no connected peer is subscribed.
    Publish { message: SignedMessage, reply: oneshot::Sender<Result<()>> },
    /// Send to one peer.
    Tell { peer: PeerId, message: SignedMessage },
    /// Report a verdict.
    Report { ticket: Ticket, verdict: Verdict },
}

/// A message that is published when there is room for it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) message: SignedMessage,
    /// Is told to how many peers it went. Without a receiver, it isn't published.
    pub(crate) reply: oneshot::Sender<Result<usize>>,
}

/// Publishes on a topic what may wait for room, and knows who has joined it.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    outgoing: mpsc::Sender<Outgoing>,
    peers: watch::Receiver<BTreeSet<PeerId>>,
}

impl Publisher {
    /// A publisher over these channels; the other ends belong to the host.
    pub(crate) fn new(
        outgoing: mpsc::Sender<Outgoing>,
        peers: watch::Receiver<BTreeSet<PeerId>>,
    ) -> Self {
        Self { outgoing, peers }
    }

    /// Publishes a message of this node's, and says to how many peers it went: to
    /// none if nobody is subscribed. Waits while so much waits for one of them that
    /// something would be lost. Called off, nothing is published.
    ///
    /// # Errors
    /// `TooLarge` above 1 MiB; `Closed` after the host has closed.
    pub(crate) async fn publish(&self, message: SignedMessage) -> Result<usize> {
        ask(&self.outgoing, |reply| Outgoing { message, reply }).await?
    }

    /// The connected peers that have joined the topic.
    pub(crate) fn peers(&self) -> watch::Receiver<BTreeSet<PeerId>> {
        self.peers.clone()
    }
}

/// One subscribed topic. Dropping it leaves the topic.
#[derive(Debug)]
pub(crate) struct Topic {
    commands: mpsc::Sender<TopicCommand>,
    events: mpsc::Receiver<TopicEvent>,
    /// Where members have certificates.
    vetting: Option<Vetting>,
}

impl Topic {
    /// A topic over these channels; the other ends belong to the host (or to a
    /// test).
    pub(crate) fn new(
        commands: mpsc::Sender<TopicCommand>,
        events: mpsc::Receiver<TopicEvent>,
    ) -> Self {
        Self { commands, events, vetting: None }
    }

    /// The same, of which messages of members alone come.
    pub(crate) fn vetted(self, vetting: Option<Vetting>) -> Self {
        Self { vetting, ..self }
    }

    /// What happens next on the topic; `None` after the host has closed.
    pub(crate) async fn next(&mut self) -> Option<TopicEvent> {
        let Some(vetting) = &mut self.vetting else { return self.events.recv().await };
        // Whoever waits for this may give it up at any await: nothing is lost by that.
        loop {
            if let Some(received) = vetting.next() {
                return Some(TopicEvent::Received(received));
            }
            tokio::select! {
                biased;
                // A closed host has no more use for verdicts.
                room = self.commands.reserve(), if vetting.has_refused() => {
                    let verdict = Verdict::Ignore;
                    let refused = vetting.next_refused().map(|ticket| (ticket, room));
                    if let Some((ticket, Ok(room))) = refused {
                        room.send(TopicCommand::Report { ticket, verdict });
                    }
                }
                () = vetting.changed() => vetting.decide(),
                event = self.events.recv() => match event? {
                    TopicEvent::Received(received) => vetting.take(received),
                    event @ TopicEvent::Subscribed { .. } => return Some(event),
                },
            }
        }
    }

    /// Publishes a message, which is of this topic, and signed and numbered by
    /// its source: this node, or another whose message came some other way.
    ///
    /// # Errors
    /// `Unreachable` while nobody is subscribed, `TooLarge` above 1 MiB; `Closed`
    /// after the host has closed.
    pub(crate) async fn publish(&self, message: SignedMessage) -> Result<()> {
        ask(&self.commands, |reply| TopicCommand::Publish { message, reply }).await?
    }

    /// Sends such a message to one peer, which passes it on if it is news to it.
    /// It is lost if the peer is not connected.
    pub(crate) async fn tell(&self, peer: PeerId, message: SignedMessage) {
        // A closed host sends no more.
        let _ = self.commands.send(TopicCommand::Tell { peer, message }).await;
    }

    /// Gives a verdict. Every received message gets one.
    pub(crate) async fn report(&self, ticket: Ticket, verdict: Verdict) {
        // A closed host has no more use for verdicts.
        let _ = self.commands.send(TopicCommand::Report { ticket, verdict }).await;
    }
}
