//! The seam between the services and gossipsub: all that they know of it is a
//! [`Topic`] to publish on, and what it receives with a verdict to give.

pub(crate) mod keys;
pub(crate) mod signed;

use crate::{Result, ask::ask};
use libp2p::{PeerId, gossipsub::MessageId};
use tokio::sync::{mpsc, oneshot};

/// What a receiver thinks of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Good: relay it.
    Accept,
    /// Neither good nor bad: don't relay it.
    Ignore,
    /// Bad: don't relay it, and think less of who sent it.
    Reject,
}

/// A message whose signature has been verified.
#[derive(Debug)]
pub(crate) struct Received {
    /// Who published it.
    pub(crate) source: PeerId,
    /// Its sequence number.
    pub(crate) seq: u64,
    /// What was published.
    pub(crate) data: Vec<u8>,
    /// The message as it was signed, in its protobuf encoding: what another
    /// node needs to verify it for itself.
    pub(crate) signed: Vec<u8>,
    /// What a verdict refers to.
    pub(crate) ticket: Ticket,
}

/// Identifies a received message towards gossipsub.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) id: MessageId,
    pub(crate) from: PeerId,
}

/// What happens on a topic.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every event is a message")]
pub(crate) enum TopicEvent {
    /// A message arrived, and waits for its verdict.
    Received(Received),
    /// A connected peer joined the topic.
    Subscribed,
}

/// What a topic asks of the task that owns gossipsub.
#[derive(Debug)]
pub(crate) enum TopicCommand {
    /// Publish, and give back the sequence number. Fails with
    /// [`ErrorKind::Unreachable`](crate::ErrorKind::Unreachable) while no
    /// connected peer is subscribed.
    Publish { data: Vec<u8>, reply: oneshot::Sender<Result<u64>> },
    /// Report a verdict.
    Report { ticket: Ticket, verdict: Verdict },
}

/// One subscribed topic. Dropping it leaves the topic.
#[derive(Debug)]
pub(crate) struct Topic {
    commands: mpsc::Sender<TopicCommand>,
    events: mpsc::Receiver<TopicEvent>,
}

impl Topic {
    /// A topic over these channels; the other ends belong to the host (or to a
    /// test).
    pub(crate) fn new(
        commands: mpsc::Sender<TopicCommand>,
        events: mpsc::Receiver<TopicEvent>,
    ) -> Self {
        Self { commands, events }
    }

    /// What happens next on the topic; `None` after the host has closed.
    pub(crate) async fn next(&mut self) -> Option<TopicEvent> {
        self.events.recv().await
    }

    /// Publishes, and gives back the message's sequence number.
    ///
    /// # Errors
    /// `Unreachable` while nobody is subscribed; `Closed` after the host has
    /// closed.
    pub(crate) async fn publish(&self, data: Vec<u8>) -> Result<u64> {
        ask(&self.commands, |reply| TopicCommand::Publish { data, reply }).await?
    }

    /// Gives a verdict. Every received message gets one.
    pub(crate) async fn report(&self, ticket: Ticket, verdict: Verdict) {
        // A closed host has no more use for verdicts.
        let _ = self.commands.send(TopicCommand::Report { ticket, verdict }).await;
    }
}
