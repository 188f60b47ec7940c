//! Joins gossip to the seam of `pubsub`: topics, messages and verdicts.

use crate::{
    Error, ErrorKind, Result,
    gossip::{Event, Gossip, WINDOW, engine::PublishError},
    metrics::{Metrics, waiting},
    pubsub::{Received, Ticket, TopicCommand, TopicEvent, Verdict, signed::SignedMessage},
};
use libp2p::PeerId;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::mpsc::{
    self,
    error::{TryRecvError, TrySendError},
};

struct Joined {
    commands: mpsc::Receiver<TopicCommand>,
    events: mpsc::Sender<TopicEvent>,
    /// Peers that have joined, of which the service is told as soon as it has time.
    untold: BTreeSet<PeerId>,
}

impl Joined {
    /// Tells of peers as long as there is room for all messages that gossip has
    /// under way: those are never left out.
    fn tell(&mut self) {
        while self.events.capacity() > WINDOW
            && let Some(peer) = self.untold.pop_first()
        {
            // A service that is gone need not know.
            let _ = self.events.try_send(TopicEvent::Subscribed { peer });
        }
    }
}

/// The topics that services have joined.
pub(super) struct Topics {
    joined: HashMap<Arc<str>, Joined>,
    metrics: Metrics,
}

impl Topics {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { joined: HashMap::new(), metrics }
    }

    /// Joins a topic. Peers that have joined it before are told of as those that
    /// come.
    pub(super) fn join(
        &mut self,
        gossip: &mut Gossip,
        topic: Arc<str>,
        commands: mpsc::Receiver<TopicCommand>,
        events: mpsc::Sender<TopicEvent>,
    ) {
        gossip.join(&topic);
        self.metrics.watch_queue("topic", waiting(&events));
        self.joined.insert(topic, Joined { commands, events, untold: BTreeSet::new() });
    }

    /// The next command of any topic. A topic whose handle was dropped comes
    /// with none.
    pub(super) fn poll_command(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<(Arc<str>, Option<TopicCommand>)> {
        for (topic, joined) in &mut self.joined {
            if let Poll::Ready(command) = joined.commands.poll_recv(cx) {
                return Poll::Ready((topic.clone(), command));
            }
        }
        Poll::Pending
    }

    /// The same if there is one at once.
    pub(super) fn next_command(&mut self) -> Option<(Arc<str>, Option<TopicCommand>)> {
        self.joined.iter_mut().find_map(|(topic, joined)| match joined.commands.try_recv() {
            Ok(command) => Some((topic.clone(), Some(command))),
            Err(TryRecvError::Disconnected) => Some((topic.clone(), None)),
            Err(TryRecvError::Empty) => None,
        })
    }

    pub(super) fn on_command(
        &mut self,
        gossip: &mut Gossip,
        topic: &str,
        command: Option<TopicCommand>,
    ) {
        // Whoever says something has taken something in.
        if let Some(joined) = self.joined.get_mut(topic) {
            joined.tell();
        }
        match command {
            None => {
                self.joined.remove(topic);
                gossip.leave(topic);
            }
            Some(TopicCommand::Report { ticket: Ticket { id, .. }, verdict }) => {
                gossip.verdict(&id, verdict);
            }
            Some(TopicCommand::Publish { message, reply }) => {
                // Who asked may have gone meanwhile.
                let _ = reply.send(outcome(gossip.publish(message)));
            }
            Some(TopicCommand::Tell { peer, message }) => gossip.tell(&peer, message),
        }
    }

    fn deliver(&mut self, gossip: &mut Gossip, message: SignedMessage, from: PeerId) {
        let id = message.id().clone();
        let Some(joined) = self.joined.get(message.topic()) else {
            return gossip.verdict(&id, Verdict::Ignore);
        };
        let received = TopicEvent::Received(Received { message, from });
        if let Err(error) = joined.events.try_send(received) {
            // There is room for all that gossip has under way.
            if let TrySendError::Full(_) = error {
                self.metrics.dropped.get_or_create(&[("queue", "topic")]).inc();
            }
            gossip.verdict(&id, Verdict::Ignore);
        }
    }

    pub(super) fn on_event(&mut self, gossip: &mut Gossip, event: Event) {
        match event {
            Event::Deliver(messages) => {
                messages.into_iter().for_each(|(m, from)| self.deliver(gossip, m, from));
            }
            Event::Subscribed { peer, topic } => {
                if let Some(joined) = self.joined.get_mut(&topic) {
                    joined.untold.insert(peer);
                    joined.tell();
                    if joined.untold.len() > WINDOW {
                        joined.untold.pop_last();
                        self.metrics.dropped.get_or_create(&[("queue", "topic")]).inc();
                    }
                }
            }
        }
    }
}

fn outcome(published: Result<(), PublishError>) -> Result<()> {
    published.map_err(|error| {
        let kind = match error {
            PublishError::NoPeers => ErrorKind::Unreachable,
            PublishError::TooLarge => ErrorKind::TooLarge,
        };
        Error::new(kind, error.to_string())
    })
}
