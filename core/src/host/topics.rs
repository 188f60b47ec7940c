//! Joins gossip to the seam of `pubsub`: topics, messages and verdicts.

use super::next::{Came, Next};
use crate::{
    Error, ErrorKind, Result,
    gossip::{Event, Gossip, WINDOW, engine::PublishError},
    metrics::{Metrics, waiting},
    pubsub::{
        Outgoing, Received, Ticket, TopicCommand, TopicEvent, Verdict, signed::SignedMessage,
    },
    who::Who,
};
use futures::{StreamExt, ready, stream::FuturesUnordered};
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
/// Commands of one topic, of those, before others have their turn.
const TURN: usize = 8;

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
    /// Peers that have joined, as they came, of which the service is told as soon as
    /// it has time.
    untold: VecDeque<PeerId>,
    /// What there was no room for: what comes after it waits in its channel.
    held: Option<(Outgoing, mpsc::Receiver<Outgoing>)>,
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
    who: Who,
    metrics: Metrics,
}

impl Topics {
    pub(super) fn new(who: Who, metrics: Metrics) -> Self {
        Self {
            joined: HashMap::new(),
            turns: 0,
            commands: FuturesUnordered::new(),
            outgoing: FuturesUnordered::new(),
            asked: VecDeque::new(),
            who,
            metrics,
        }
    }

    /// Joins a topic. Peers that have joined it before are told of as those that
    /// come.
    pub(super) fn join(&mut self, gossip: &mut Gossip, topic: Arc<str>, ends: Ends) {
        gossip.join(&topic);
        if !ends.credits {
            gossip.quicken(&topic);
        }
        ends.peers.send_replace(gossip.subscribed(&topic).collect());
        if self.add(topic.clone(), ends) {
            gossip.renew(&topic);
        }
    }

    /// Whether the topic was there.
    fn add(&mut self, topic: Arc<str>, ends: Ends) -> bool {
        let Ends { commands, events, outgoing, peers, credits } = ends;
        self.metrics.watch_queue("topic", waiting(&events));
        self.turns += 1;
        let turn = self.turns;
        self.commands.push(Next::new(topic.clone(), turn, commands));
        self.outgoing.push(Next::new(topic.clone(), turn, outgoing));
        let (untold, held) = (VecDeque::new(), None);
        let joined = Joined { turn, events, peers, credits, untold, held };
        self.joined.insert(topic, joined).is_some()
    }

    /// Joins the topics in another swarm's gossip, where nobody is yet. What was held
    /// back for want of room in the last one goes back to where it came from.
    pub(super) fn join_again(&mut self, gossip: &mut Gossip) {
        for (topic, joined) in &mut self.joined {
            gossip.join(topic);
            if !joined.credits {
                gossip.quicken(topic);
            }
            joined.untold.clear();
            joined.peers.send_replace(gossip.subscribed(topic).collect());
            if let Some((outgoing, receiver)) = joined.held.take() {
                self.asked.push_back((topic.clone(), Asked::Publish(outgoing, receiver)));
            }
        }
    }

    /// Whether a topic is still that of the so-manieth join.
    fn is(&self, topic: &str, turn: u64) -> bool {
        self.joined.get(topic).is_some_and(|joined| joined.turn == turn)
    }

    /// Ready when there is something for [`next_asked`](Self::next_asked). Topics take
    /// turns: a busy one holds up none, nor do its commands what is published.
    pub(super) fn poll_asked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.asked.len() < TOGETHER {
            let (commands, outgoing) = (self.poll_commands(cx), self.poll_outgoing(cx));
            if commands.is_pending() && outgoing.is_pending() {
                break;
            }
        }
        if self.asked.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Takes some commands of one topic.
    fn poll_commands(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(came) = ready!(self.commands.poll_next_unpin(cx)) else { return Poll::Pending };
        let Came { topic, turn, mut receiver, mut item } = came;
        if !self.is(&topic, turn) {
            return Poll::Ready(());
        }
        if item.is_none() {
            self.asked.push_back((topic, Asked::Leave));
            return Poll::Ready(());
        }
        // With what else is there: to wait for it anew costs more.
        let mut left = TURN;
        while let Some(command) = item {
            self.asked.push_back((topic.clone(), Asked::Command(command)));
            left -= 1;
            item = (left > 0).then(|| receiver.try_recv().ok()).flatten();
        }
        self.commands.push(Next::new(topic, turn, receiver));
        Poll::Ready(())
    }

    /// Takes what one topic is to publish.
    fn poll_outgoing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(came) = ready!(self.outgoing.poll_next_unpin(cx)) else { return Poll::Pending };
        let Came { topic, turn, receiver, item } = came;
        if let Some(outgoing) = item.filter(|_| self.is(&topic, turn)) {
            self.asked.push_back((topic, Asked::Publish(outgoing, receiver)));
        }
        Poll::Ready(())
    }

    /// What is asked of any topic.
    pub(super) fn next_asked(&mut self) -> Option<(Arc<str>, Asked)> {
        self.asked.pop_front()
    }

    /// Whether who brings something good on a topic is better kept.
    pub(super) fn credits(&self, topic: &str) -> bool {
        self.joined.get(topic).is_some_and(|joined| joined.credits)
    }

    /// Carries it out. While the host is paused, nothing is published.
    pub(super) fn on_asked(
        &mut self,
        gossip: &mut Gossip,
        topic: Arc<str>,
        asked: Asked,
        paused: bool,
    ) {
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
                let published = match paused {
                    true => Err(Error::paused()),
                    false => outcome(gossip.publish(message)).map(drop),
                };
                // Who asked may have gone meanwhile; so below.
                let _ = reply.send(published);
            }
            Asked::Command(TopicCommand::Tell { peer, message }) => gossip.tell(&peer, message),
            Asked::Publish(outgoing, receiver) => {
                let Some(joined) = self.joined.get_mut(&topic) else { return };
                if paused {
                    let _ = outgoing.reply.send(Err(Error::paused()));
                    return self.outgoing.push(Next::new(topic, joined.turn, receiver));
                }
                match publish(gossip, outgoing) {
                    Some(outgoing) => joined.held = Some((outgoing, receiver)),
                    None => self.outgoing.push(Next::new(topic, joined.turn, receiver)),
                }
            }
        }
    }

    fn deliver(&mut self, gossip: &mut Gossip, message: SignedMessage, from: PeerId) {
        let id = message.id().clone();
        // Whatever the topic: neither delivered nor passed on.
        if let Err(stranger) = self.who.check(&message.source()) {
            let reason = [("reason", stranger.label())];
            self.metrics.gossip_refused.get_or_create(&reason).inc();
            return gossip.verdict(&id, Verdict::Ignore);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::swarm::tests::swarm;
    use futures::task::noop_waker_ref;
    use tokio::sync::oneshot;

    /// What others hold of a topic.
    struct Others {
        tell: mpsc::Sender<TopicCommand>,
        publish: mpsc::Sender<Outgoing>,
        told: mpsc::Receiver<TopicEvent>,
    }

    fn join(topics: &mut Topics, name: &str) -> Others {
        let (tell, commands) = mpsc::channel(64);
        let (publish, outgoing) = mpsc::channel(64);
        let (events, told) = mpsc::channel(2 * WINDOW);
        let ends =
            Ends { commands, events, outgoing, peers: watch::Sender::default(), credits: false };
        topics.add(name.into(), ends);
        Others { tell, publish, told }
    }

    fn message() -> SignedMessage {
        let source = PeerId::random().to_bytes();
        SignedMessage::new(&source, b"", &[0; 8], "casm", b"signature", None).unwrap()
    }

    fn report() -> TopicCommand {
        let received = Received { message: message(), from: PeerId::random() };
        TopicCommand::Report { ticket: received.ticket(), verdict: Verdict::Accept }
    }

    /// What is carried out in one step.
    fn step(topics: &mut Topics) -> Vec<(Arc<str>, bool)> {
        let mut cx = Context::from_waker(noop_waker_ref());
        if topics.poll_asked(&mut cx).is_pending() {
            return vec![];
        }
        let mut all = vec![];
        while let Some((topic, asked)) = topics.next_asked() {
            if let Asked::Publish(_, receiver) = asked {
                let turn = topics.joined[&topic].turn;
                topics.outgoing.push(Next::new(topic.clone(), turn, receiver));
                all.push((topic, true));
            } else {
                all.push((topic, false));
            }
        }
        all
    }

    #[test]
    fn topics_that_all_have_much_to_say_take_turns() {
        let mut topics = Topics::new(Who::default(), Metrics::default());
        let names = ["a", "b", "c", "d"];
        let others = names.map(|name| join(&mut topics, name));
        for other in &others {
            (0..3 * TURN).for_each(|_| assert!(other.tell.try_send(report()).is_ok()));
        }
        let (mut all, mut steps) = (vec![], 0);
        loop {
            let some = step(&mut topics);
            if some.is_empty() {
                break;
            }
            assert!(some.len() < TOGETHER + TURN + 1, "{}", some.len());
            all.extend(some.into_iter().map(|(topic, _)| topic.to_string()));
            steps += 1;
        }
        let turns = (0..3).flat_map(|_| names).flat_map(|name| [name; TURN]);
        assert_eq!(all, turns.collect::<Vec<_>>());
        assert_eq!(steps, 2);
        // From wherever it begins, each is found.
        for at in [2, 2, 0, 3, 1] {
            assert!(others[at].tell.try_send(report()).is_ok());
            assert_eq!(step(&mut topics), [(names[at].into(), false)]);
        }
        // One whose turn it was has left.
        topics.joined.remove("b");
        assert!(others[1].tell.try_send(report()).is_ok());
        assert!(others[0].tell.try_send(report()).is_ok());
        assert_eq!(step(&mut topics), [("a".into(), false)]);
    }

    #[test]
    fn commands_without_end_do_not_hold_up_what_is_published() {
        let mut topics = Topics::new(Who::default(), Metrics::default());
        let busy = join(&mut topics, "busy");
        let other = join(&mut topics, "other");
        for _ in 0..3 {
            let (reply, _outcome) = oneshot::channel();
            assert!(other.publish.try_send(Outgoing { message: message(), reply }).is_ok());
            while busy.tell.try_send(report()).is_ok() {}
            let some = step(&mut topics);
            assert!(some.len() >= TOGETHER && some.contains(&("other".into(), true)), "{some:?}");
        }
    }

    #[tokio::test]
    async fn what_waits_for_room_is_told_of_a_pause_and_what_comes_next_is_taken() {
        let mut topics = Topics::new(Who::default(), Metrics::default());
        let other = join(&mut topics, "a");
        let publish = || {
            let (reply, outcome) = oneshot::channel();
            assert!(other.publish.try_send(Outgoing { message: message(), reply }).is_ok());
            outcome
        };
        let next = |topics: &mut Topics| {
            let mut cx = Context::from_waker(noop_waker_ref());
            assert!(topics.poll_asked(&mut cx).is_ready());
            topics.next_asked().unwrap()
        };
        let waits = publish();
        let (_, Asked::Publish(outgoing, receiver)) = next(&mut topics) else { panic!() };
        topics.joined.get_mut("a").unwrap().held = Some((outgoing, receiver));
        let mut swarm = swarm();
        let gossip = &mut swarm.behaviour_mut().gossip;
        topics.join_again(gossip);
        let (topic, asked) = next(&mut topics);
        topics.on_asked(gossip, topic, asked, true);
        assert_eq!(waits.await.unwrap().unwrap_err().kind(), ErrorKind::Paused);
        let later = publish();
        let (topic, asked) = next(&mut topics);
        topics.on_asked(gossip, topic, asked, false);
        assert_eq!(later.await.unwrap().unwrap(), 0, "nobody is there");
    }

    #[test]
    fn of_peers_that_are_not_told_of_the_first_are_left_out() {
        let mut topics = Topics::new(Who::default(), Metrics::default());
        let mut others = join(&mut topics, "a");
        let joined = topics.joined.get_mut("a").unwrap();
        // There is room for these, and for all messages under way.
        let peers: Vec<_> = (0..2 * WINDOW + 10).map(|_| PeerId::random()).collect();
        let dropped = peers.iter().filter(|peer| joined.subscribed(**peer)).count();
        assert_eq!(dropped, 10);
        // Again is not twice.
        assert!(!joined.subscribed(peers[2 * WINDOW]));
        let mut heard = vec![];
        while let Ok(event) = others.told.try_recv() {
            let TopicEvent::Subscribed { peer } = event else { panic!("{event:?}") };
            heard.push(peer);
            joined.tell();
        }
        assert_eq!(heard, [&peers[..WINDOW], &peers[WINDOW + 10..]].concat());
    }
}
