//! Joins gossipsub to the seam of `pubsub`: topics, messages and verdicts.

use super::swarm::Gossipsub;
use crate::{
    Error, ErrorKind, Result,
    metrics::{Metrics, waiting},
    pubsub::{Received, Ticket, TopicCommand, TopicEvent, Verdict, signed::SignedMessage},
};
use libp2p::gossipsub::{
    self, DataTransform, IdentTopic, Message, MessageAcceptance, MessageId, PublishError,
    RawMessage, TopicHash,
};
use std::{
    collections::HashMap,
    io,
    task::{Context, Poll},
};
use tokio::sync::mpsc::{self, error::TrySendError};

/// Gossipsub gives the application no signature. It passes here before that is
/// lost: what becomes the message's data is the whole signed message.
///
/// Gossipsub lets a message through that has none of source, sequence number
/// and signature, or an empty one: it is refused here.
#[derive(Clone)]
pub(super) struct KeepSigned {
    pub(super) metrics: Metrics,
}

impl KeepSigned {
    fn refuse(&self, reason: &'static str) -> io::Error {
        self.metrics.gossip_refused.get_or_create(&[("reason", reason)]).inc();
        io::Error::new(io::ErrorKind::InvalidData, reason)
    }
}

impl DataTransform for KeepSigned {
    fn inbound_transform(&self, raw: RawMessage) -> io::Result<Message> {
        let (source, sequence_number) = (raw.source, raw.sequence_number);
        let number = sequence_number.ok_or_else(|| self.refuse("bad-sequence-number"))?;
        let signed = SignedMessage {
            from: source.ok_or_else(|| self.refuse("bad-source"))?.to_bytes(),
            data: raw.data,
            seqno: number.to_be_bytes().to_vec(),
            topic: raw.topic.as_str().to_owned(),
            signature: raw.signature.ok_or_else(|| self.refuse("bad-signature"))?,
            key: raw.key,
        };
        Ok(Message { source, data: signed.encode(), sequence_number, topic: raw.topic })
    }

    fn outbound_transform(&self, _: &TopicHash, data: Vec<u8>) -> io::Result<Vec<u8>> {
        Ok(data)
    }
}

struct Joined {
    topic: IdentTopic,
    commands: mpsc::Receiver<TopicCommand>,
    events: mpsc::Sender<TopicEvent>,
}

/// The topics that services have joined.
pub(super) struct Topics {
    joined: HashMap<TopicHash, Joined>,
    metrics: Metrics,
}

impl Topics {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { joined: HashMap::new(), metrics }
    }

    pub(super) fn join(
        &mut self,
        gossipsub: &mut Gossipsub,
        topic: IdentTopic,
        commands: mpsc::Receiver<TopicCommand>,
        events: mpsc::Sender<TopicEvent>,
    ) {
        if let Err(error) = gossipsub.subscribe(&topic) {
            return tracing::error!(%topic, %error, "the topic could not be joined");
        }
        // Peers that came before the subscription are news to the service.
        let hash = topic.hash();
        if gossipsub.all_peers().any(|(_, topics)| topics.contains(&&hash)) {
            let _ = events.try_send(TopicEvent::Subscribed);
        }
        self.metrics.watch_queue("topic", waiting(&events));
        self.joined.insert(hash, Joined { topic, commands, events });
    }

    /// The next command of any topic. A topic whose handle was dropped comes
    /// with none.
    pub(super) fn poll_command(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<(TopicHash, Option<TopicCommand>)> {
        for (hash, joined) in &mut self.joined {
            if let Poll::Ready(command) = joined.commands.poll_recv(cx) {
                return Poll::Ready((hash.clone(), command));
            }
        }
        Poll::Pending
    }

    pub(super) fn on_command(
        &mut self,
        gossipsub: &mut Gossipsub,
        hash: TopicHash,
        command: Option<TopicCommand>,
    ) {
        match command {
            None => {
                if let Some(joined) = self.joined.remove(&hash) {
                    gossipsub.unsubscribe(&joined.topic);
                }
            }
            Some(TopicCommand::Report { ticket, verdict }) => report(gossipsub, &ticket, verdict),
            Some(TopicCommand::Publish { data, reply }) => {
                let published = gossipsub.publish(hash, data);
                // Who asked may have gone meanwhile.
                let _ = reply.send(outcome(published));
            }
        }
    }

    pub(super) fn on_event(&mut self, gossipsub: &mut Gossipsub, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let ticket = Ticket { id: message_id, from: propagation_source };
                let Some((hash, received)) = received(message, ticket.clone()) else {
                    return report(gossipsub, &ticket, Verdict::Reject);
                };
                let delivered = match self.joined.get(&hash) {
                    Some(joined) => {
                        let sent = joined.events.try_send(TopicEvent::Received(received));
                        if let Err(TrySendError::Full(_)) = sent {
                            self.metrics.dropped.get_or_create(&[("queue", "topic")]).inc();
                        }
                        sent.is_ok()
                    }
                    None => false,
                };
                if !delivered {
                    report(gossipsub, &ticket, Verdict::Ignore);
                }
            }
            gossipsub::Event::Subscribed { topic, .. } => {
                if let Some(joined) = self.joined.get(&topic) {
                    // A full queue holds messages enough to wake the service.
                    let _ = joined.events.try_send(TopicEvent::Subscribed);
                }
            }
            gossipsub::Event::SlowPeer { peer_id, failed_messages: failed } => {
                let lost = failed.priority + failed.non_priority;
                tracing::debug!(peer = %peer_id, lost, "a peer takes messages too slowly");
                let dropped = self.metrics.dropped.get_or_create(&[("queue", "connection")]);
                dropped.inc_by(lost as u64);
            }
            _ => {}
        }
    }
}

fn received(message: Message, ticket: Ticket) -> Option<(TopicHash, Received)> {
    let signed = SignedMessage::decode(&message.data).ok()?;
    let received = Received {
        source: message.source?,
        seq: message.sequence_number?,
        data: signed.data,
        signed: message.data,
        ticket,
    };
    Some((message.topic, received))
}

fn report(gossipsub: &mut Gossipsub, ticket: &Ticket, verdict: Verdict) {
    let acceptance = match verdict {
        Verdict::Accept => MessageAcceptance::Accept,
        Verdict::Ignore => MessageAcceptance::Ignore,
        Verdict::Reject => MessageAcceptance::Reject,
    };
    gossipsub.report_message_validation_result(&ticket.id, &ticket.from, acceptance);
}

/// The sequence number stands at the end of the message id.
fn outcome(published: Result<MessageId, PublishError>) -> Result<u64> {
    match published {
        Ok(id) => {
            id.0.last_chunk()
                .map(|seq| u64::from_be_bytes(*seq))
                .ok_or_else(|| Error::new(ErrorKind::Internal, "a message id without a number"))
        }
        Err(PublishError::NoPeersSubscribedToTopic) => {
            Err(Error::new(ErrorKind::Unreachable, "no connected peer is subscribed to the topic"))
        }
        Err(PublishError::AllQueuesFull(n)) => {
            Err(Error::new(ErrorKind::Busy, format!("the queues of all {n} peers are full")))
        }
        Err(PublishError::MessageTooLarge) => {
            Err(Error::new(ErrorKind::TooLarge, "the message is longer than 1 MiB"))
        }
        Err(e) => Err(Error::new(ErrorKind::Internal, format!("not published: {e}"))),
    }
}
