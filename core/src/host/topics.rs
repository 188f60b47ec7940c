//! Joins gossip to the seam of `pubsub`: topics, messages and verdicts.

use crate::{
    Error, ErrorKind, Result,
    gossip::{Event, Gossip, WINDOW, engine::PublishError},
    metrics::{Metrics, waiting},
    pubsub::{Received, Ticket, TopicCommand, TopicEvent, Verdict, signed::SignedMessage},
};
use libp2p::PeerId;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
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
    /// Peers that have joined, as they came, of which the service is told as soon as
    /// it has time.
    untold: VecDeque<PeerId>,
}

impl Joined {
    /// A peer has joined. Whether one was left out for it: who came first, since a
    /// peer can choose its id.
    fn subscribed(&mut self, peer: PeerId) -> bool {
        if !self.untold.contains(&peer) {
            self.untold.push_back(peer);
        }
        self.tell();
        self.untold.len() > WINDOW && self.untold.pop_front().is_some()
    }

    /// Tells of peers as long as there is room for all messages that gossip has
    /// under way: those are never left out.
    fn tell(&mut self) {
        while self.events.capacity() > WINDOW
            && let Some(peer) = self.untold.pop_front()
        {
            // A service that is gone need not know.
            let _ = self.events.try_send(TopicEvent::Subscribed { peer });
        }
    }
}

/// The topics that services have joined.
pub(super) struct Topics {
    joined: BTreeMap<Arc<str>, Joined>,
    /// The one of which the last command was: those behind it are next.
    last: Option<Arc<str>>,
    metrics: Metrics,
}

impl Topics {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { joined: BTreeMap::new(), last: None, metrics }
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
        self.joined.insert(topic, Joined { commands, events, untold: VecDeque::new() });
    }

    /// Joins the topics in another swarm's gossip.
    pub(super) fn join_again(&self, gossip: &mut Gossip) {
        self.joined.keys().for_each(|topic| gossip.join(topic));
    }

    /// The next command of any topic. A topic whose handle was dropped comes
    /// with none.
    pub(super) fn poll_command(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<(Arc<str>, Option<TopicCommand>)> {
        let found = self.in_turn(|joined| match joined.commands.poll_recv(cx) {
            Poll::Ready(command) => Some(command),
            Poll::Pending => None,
        });
        found.map_or(Poll::Pending, Poll::Ready)
    }

    /// The same if there is one at once.
    pub(super) fn next_command(&mut self) -> Option<(Arc<str>, Option<TopicCommand>)> {
        self.in_turn(|joined| match joined.commands.try_recv() {
            Ok(command) => Some(Some(command)),
            Err(TryRecvError::Disconnected) => Some(None),
            Err(TryRecvError::Empty) => None,
        })
    }

    /// The first topic that has something, after the one that had last: a busy one
    /// holds up none.
    fn in_turn<T>(
        &mut self,
        mut has: impl FnMut(&mut Joined) -> Option<T>,
    ) -> Option<(Arc<str>, T)> {
        let after = self.last.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let mut look = |(topic, joined): (&Arc<str>, &mut Joined)| {
            has(joined).map(|found| (topic.clone(), found))
        };
        let mut behind = self.joined.range_mut::<Arc<str>, _>((after, Bound::Unbounded));
        let mut found = behind.find_map(&mut look);
        if found.is_none()
            && let Some(last) = self.last.take()
        {
            found = self.joined.range_mut::<Arc<str>, _>(..=last).find_map(&mut look);
        }
        if let Some((topic, _)) = &found {
            self.last = Some(topic.clone());
        }
        found
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
                if let Some(joined) = self.joined.get_mut(&topic)
                    && joined.subscribed(peer)
                {
                    self.metrics.dropped.get_or_create(&[("queue", "topic")]).inc();
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::noop_waker_ref;

    fn joined() -> (Joined, mpsc::Sender<TopicCommand>, mpsc::Receiver<TopicEvent>) {
        let (tell, commands) = mpsc::channel(64);
        let (events, told) = mpsc::channel(2 * WINDOW);
        (Joined { commands, events, untold: VecDeque::new() }, tell, told)
    }

    fn report() -> TopicCommand {
        let message = SignedMessage::new(
            &PeerId::random().to_bytes(),
            b"",
            &[0; 8],
            "casm",
            b"signature",
            None,
        );
        let received = Received { message: message.unwrap(), from: PeerId::random() };
        TopicCommand::Report { ticket: received.ticket(), verdict: Verdict::Accept }
    }

    #[test]
    fn topics_that_all_have_much_to_say_take_turns() {
        let mut topics = Topics::new(Metrics::default());
        let names = ["a", "b", "c", "d"];
        let tells = names.map(|name| {
            let (joined, tell, _) = joined();
            topics.joined.insert(name.into(), joined);
            tell
        });
        for tell in &tells {
            (0..8).for_each(|_| assert!(tell.try_send(report()).is_ok()));
        }
        let mut cx = Context::from_waker(noop_waker_ref());
        for round in 0..8 {
            for name in names {
                let next = match round % 2 {
                    0 => topics.next_command(),
                    _ => match topics.poll_command(&mut cx) {
                        Poll::Ready(next) => Some(next),
                        Poll::Pending => None,
                    },
                };
                assert_eq!(&*next.unwrap().0, name, "in round {round}");
            }
        }
        assert!(topics.next_command().is_none() && topics.poll_command(&mut cx).is_pending());
        // From wherever it begins, each is found.
        for at in [2, 2, 0, 3, 1] {
            assert!(tells[at].try_send(report()).is_ok());
            assert_eq!(&*topics.next_command().unwrap().0, names[at]);
        }
        // One whose turn it was has left.
        topics.joined.remove("b");
        assert!(tells[0].try_send(report()).is_ok());
        assert_eq!(&*topics.next_command().unwrap().0, "a");
    }

    #[test]
    fn of_peers_that_are_not_told_of_the_first_are_left_out() {
        let (mut joined, _tell, mut told) = joined();
        // There is room for these, and for all messages under way.
        let peers: Vec<_> = (0..2 * WINDOW + 10).map(|_| PeerId::random()).collect();
        let dropped = peers.iter().filter(|peer| joined.subscribed(**peer)).count();
        assert_eq!(dropped, 10);
        // Again is not twice.
        assert!(!joined.subscribed(peers[2 * WINDOW]));
        let mut heard = vec![];
        while let Ok(event) = told.try_recv() {
            let TopicEvent::Subscribed { peer } = event else { panic!("{event:?}") };
            heard.push(peer);
            joined.tell();
        }
        assert_eq!(heard, [&peers[..WINDOW], &peers[WINDOW + 10..]].concat());
    }
}
