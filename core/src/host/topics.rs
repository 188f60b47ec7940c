//! Joins gossip to the seam of `pubsub`: topics, messages and verdicts.

use super::next::{Came, Next};
use crate::{
    Error, ErrorKind, Result,
    gossip::{Event, Gossip, WINDOW, engine::PublishError},
    metrics::{Metrics, waiting},
    pubsub::{
        Outgoing, Received, Ticket, TopicCommand, TopicEvent, Verdict, signed::SignedMessage,
    },
};
use futures::{StreamExt, stream::FuturesUnordered};
use libp2p::PeerId;
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    watch,
};

/// What is asked of topics and carried out in one step.
const TOGETHER: usize = 64;

/// The host's ends of a topic's channels.
pub(super) struct Ends {
    pub(super) commands: mpsc::Receiver<TopicCommand>,
    pub(super) events: mpsc::Sender<TopicEvent>,
    pub(super) outgoing: mpsc::Receiver<Outgoing>,
    pub(super) peers: watch::Sender<BTreeSet<PeerId>>,
    /// Whether peers say little there, as heartbeats: then who is the first to bring
    /// something good is better kept. Else they say what they like, and soon.
    pub(super) credits: bool,
}

struct Joined {
    /// How often topics were joined before it: a topic may be joined anew before its
    /// former handle is known to be gone.
    turn: u64,
    events: mpsc::Sender<TopicEvent>,
    peers: watch::Sender<BTreeSet<PeerId>>,
    credits: bool,
    /// Peers that have joined, of which the service is told as soon as it has time.
    untold: BTreeSet<PeerId>,
    /// What there was no room for: what comes after it waits in its channel.
    held: Option<(Outgoing, mpsc::Receiver<Outgoing>)>,
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

/// What is asked of a topic.
pub(super) enum Asked {
    Command(TopicCommand),
    /// Publish; what comes next from where this came.
    Publish(Outgoing, mpsc::Receiver<Outgoing>),
    /// Its handle was dropped.
    Leave,
}

/// The topics that services have joined. Only those of which something comes are
/// looked at.
pub(super) struct Topics {
    joined: HashMap<Arc<str>, Joined>,
    turns: u64,
    commands: FuturesUnordered<Next<TopicCommand>>,
    outgoing: FuturesUnordered<Next<Outgoing>>,
    asked: VecDeque<(Arc<str>, Asked)>,
    metrics: Metrics,
}

impl Topics {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            joined: HashMap::new(),
            turns: 0,
            commands: FuturesUnordered::new(),
            outgoing: FuturesUnordered::new(),
            asked: VecDeque::new(),
            metrics,
        }
    }

    /// Joins a topic. Peers that have joined it before are told of as those that
    /// come.
    pub(super) fn join(&mut self, gossip: &mut Gossip, topic: Arc<str>, ends: Ends) {
        let Ends { commands, events, outgoing, peers, credits } = ends;
        gossip.join(&topic);
        if !credits {
            gossip.quicken(&topic);
        }
        peers.send_replace(gossip.subscribed(&topic).collect());
        self.metrics.watch_queue("topic", waiting(&events));
        self.turns += 1;
        let turn = self.turns;
        self.commands.push(Next::new(topic.clone(), turn, commands));
        self.outgoing.push(Next::new(topic.clone(), turn, outgoing));
        let (untold, held) = (BTreeSet::new(), None);
        let joined = Joined { turn, events, peers, credits, untold, held };
        if self.joined.insert(topic.clone(), joined).is_some() {
            gossip.renew(&topic);
        }
    }

    /// Whether a topic is still that of the so-manieth join.
    fn is(&self, topic: &str, turn: u64) -> bool {
        self.joined.get(topic).is_some_and(|joined| joined.turn == turn)
    }

    /// Ready when there is something for [`next_asked`](Self::next_asked).
    pub(super) fn poll_asked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.asked.len() < TOGETHER
            && let Poll::Ready(Some(came)) = self.commands.poll_next_unpin(cx)
        {
            let Came { topic, turn, mut receiver, mut item } = came;
            if !self.is(&topic, turn) {
                continue;
            }
            if item.is_none() {
                self.asked.push_back((topic, Asked::Leave));
                continue;
            }
            // With what else is there: to wait for it anew costs more.
            while let Some(command) = item {
                self.asked.push_back((topic.clone(), Asked::Command(command)));
                let room = self.asked.len() < TOGETHER;
                item = room.then(|| receiver.try_recv().ok()).flatten();
            }
            self.commands.push(Next::new(topic, turn, receiver));
        }
        while self.asked.len() < TOGETHER
            && let Poll::Ready(Some(came)) = self.outgoing.poll_next_unpin(cx)
        {
            let Came { topic, turn, receiver, item } = came;
            if let Some(outgoing) = item.filter(|_| self.is(&topic, turn)) {
                self.asked.push_back((topic, Asked::Publish(outgoing, receiver)));
            }
        }
        if self.asked.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// What is asked of any topic.
    pub(super) fn next_asked(&mut self) -> Option<(Arc<str>, Asked)> {
        self.asked.pop_front()
    }

    /// Whether who brings something good on a topic is better kept.
    pub(super) fn credits(&self, topic: &str) -> bool {
        self.joined.get(topic).is_some_and(|joined| joined.credits)
    }

    pub(super) fn on_asked(&mut self, gossip: &mut Gossip, topic: Arc<str>, asked: Asked) {
        // Whoever says something has taken something in.
        if let Some(joined) = self.joined.get_mut(&topic) {
            joined.tell();
        }
        match asked {
            Asked::Leave => {
                self.joined.remove(&topic);
                gossip.leave(&topic);
            }
            Asked::Command(TopicCommand::Report { ticket: Ticket { id, .. }, verdict }) => {
                gossip.verdict(&id, verdict);
            }
            Asked::Command(TopicCommand::Publish { message, reply }) => {
                // Who asked may have gone meanwhile.
                let _ = reply.send(outcome(gossip.publish(message)).map(drop));
            }
            Asked::Command(TopicCommand::Tell { peer, message }) => gossip.tell(&peer, message),
            Asked::Publish(outgoing, receiver) => {
                let Some(joined) = self.joined.get_mut(&topic) else { return };
                match publish(gossip, outgoing) {
                    Some(outgoing) => joined.held = Some((outgoing, receiver)),
                    None => self.outgoing.push(Next::new(topic, joined.turn, receiver)),
                }
            }
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
            Event::Peer { peer, topic, here } => {
                if let Some(joined) = self.joined.get(&topic) {
                    joined.peers.send_if_modified(|peers| match here {
                        true => peers.insert(peer),
                        false => peers.remove(&peer),
                    });
                }
            }
            Event::Room => self.on_room(gossip),
        }
    }

    /// Publishes what is held, as far as there is room now.
    fn on_room(&mut self, gossip: &mut Gossip) {
        for (topic, joined) in &mut self.joined {
            let Some((outgoing, receiver)) = joined.held.take() else { continue };
            match publish(gossip, outgoing) {
                Some(outgoing) => joined.held = Some((outgoing, receiver)),
                None => self.outgoing.push(Next::new(topic.clone(), joined.turn, receiver)),
            }
        }
    }
}

/// Publishes, if somebody still waits for that. Gives back what there is no room
/// for.
fn publish(gossip: &mut Gossip, outgoing: Outgoing) -> Option<Outgoing> {
    let Outgoing { message, reply } = outgoing;
    if reply.is_closed() {
        return None;
    }
    let published = match gossip.publish_if_room(message.clone()) {
        Err(PublishError::NoRoom) => return Some(Outgoing { message, reply }),
        Err(PublishError::NoPeers) => Ok(0),
        other => outcome(other),
    };
    // Who asked may have gone meanwhile.
    let _ = reply.send(published);
    None
}

fn outcome(published: Result<usize, PublishError>) -> Result<usize> {
    published.map_err(|error| {
        let kind = match error {
            PublishError::NoPeers => ErrorKind::Unreachable,
            PublishError::NoRoom => ErrorKind::Busy,
            PublishError::TooLarge => ErrorKind::TooLarge,
        };
        Error::new(kind, error.to_string())
    })
}
