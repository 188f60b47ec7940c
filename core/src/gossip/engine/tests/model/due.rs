//! What is owed to a peer, and the frames in which it goes: nothing that is not
//! owed, and all of it in time.

use super::{Model, body, millis};
use crate::gossip::{
    SignedMessage,
    id::MessageId,
    wire::{Prune, Rpc},
};
use libp2p::PeerId;
use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

/// Within what time all that is due has gone, if nothing else is being written.
const SOON: Duration = millis(50);
/// Messages that a stranger is sent at a time.
const AT_A_TIME: usize = 24;

/// An offer that can be made, or has to.
struct Offer {
    at: Duration,
    topic: String,
    id: MessageId,
    certain: bool,
}

/// What is due for a peer, each with since when.
pub(super) struct Due {
    under_way: bool,
    /// Since when nothing has been under way.
    free: Duration,
    subscriptions: Vec<(Duration, String, bool)>,
    /// Links that are made, or taken back for so long.
    links: Vec<(Duration, String, Option<Duration>)>,
    pub(super) asks: Vec<(Duration, MessageId)>,
    offers: Vec<Offer>,
    pub(super) idontwant: Vec<MessageId>,
    /// In order, and whether it has to go.
    messages: VecDeque<(Duration, SignedMessage, bool)>,
    /// What may go once besides.
    maybe: Vec<SignedMessage>,
    /// The topics that it was told were joined.
    told: BTreeSet<String>,
}

impl Due {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            under_way: false,
            free: now,
            subscriptions: Vec::new(),
            links: Vec::new(),
            asks: Vec::new(),
            offers: Vec::new(),
            idontwant: Vec::new(),
            messages: VecDeque::new(),
            maybe: Vec::new(),
            told: BTreeSet::new(),
        }
    }

    /// Another connection: messages that waited go on it, nothing else does. Gives
    /// back the offers that are lost.
    pub(super) fn another_connection(&mut self, now: Duration) -> Vec<(String, MessageId)> {
        let fresh = Self::new(now);
        let Self { messages, maybe, offers, .. } = std::mem::replace(self, fresh);
        (self.messages, self.maybe) = (messages, maybe);
        offers.into_iter().map(|offer| (offer.topic, offer.id)).collect()
    }

    pub(super) fn subscription(&mut self, now: Duration, topic: &str, joined: bool) {
        self.subscriptions.retain(|(_, of, _)| of != topic);
        self.subscriptions.push((now, topic.into(), joined));
    }

    /// Of a link the last word counts.
    pub(super) fn link(&mut self, now: Duration, topic: &str, prune: Option<Duration>) {
        self.no_link(topic);
        self.links.push((now, topic.into(), prune));
    }

    /// The peer itself has made a link: there is nothing left to say.
    pub(super) fn no_link(&mut self, topic: &str) {
        self.links.retain(|(_, of, _)| of != topic);
    }

    /// The peer has taken a link back, or has left the topic.
    pub(super) fn no_graft(&mut self, topic: &str) {
        self.links.retain(|(_, of, prune)| of != topic || prune.is_some());
    }

    pub(super) fn message(&mut self, now: Duration, message: &SignedMessage, certain: bool) {
        self.messages.push_back((now, message.clone(), certain));
    }

    /// The peer does not want it.
    pub(super) fn need_not_go(&mut self, id: &MessageId) {
        let due = self.messages.iter_mut().filter(|(_, message, _)| message.id() == id);
        due.for_each(|(.., certain)| *certain = false);
    }

    pub(super) fn maybe_message(&mut self, message: &SignedMessage) {
        self.maybe.push(message.clone());
    }

    pub(super) fn no_more_of(&mut self, message: &SignedMessage) {
        self.maybe.retain(|of| of != message);
    }

    /// An offer can be made, or has to, of what is kept since some time; `again` if
    /// an earlier one may wait besides.
    pub(super) fn offer(
        &mut self,
        now: Duration,
        (topic, id, since): (&str, &MessageId, Duration),
        certain: bool,
        again: bool,
    ) {
        let same = |offer: &&mut Offer| offer.at > since && offer.topic == topic && offer.id == *id;
        let waits = self.offers.iter_mut().filter(same).count();
        if waits <= usize::from(again) {
            let (topic, id) = (topic.into(), id.clone());
            self.offers.push(Offer { at: now, topic, id, certain });
        } else if let Some(offer) = self.offers.iter_mut().find(same)
            && certain
            && !offer.certain
        {
            (offer.at, offer.certain) = (now, true);
        }
    }

    /// What could be offered before and was not, was not to be.
    pub(super) fn old_offers(&mut self, now: Duration) {
        if !self.under_way && self.free + SOON < now {
            self.offers.retain(|offer| offer.certain || offer.at + SOON >= now);
        }
    }

    /// Whether nothing was under way at a time, nor a moment before.
    pub(super) fn was_free(&self, at: Duration) -> bool {
        self.free + SOON < at
    }

    /// Whether all messages have gone.
    pub(super) fn is_idle(&self, now: Duration) -> bool {
        let waits = self.messages.iter().any(|(.., certain)| *certain);
        !self.under_way && self.was_free(now) && !waits
    }
}

/// Takes out of a list what is due, which has to be there.
fn take<T: std::fmt::Debug>(due: &mut Vec<T>, what: impl Fn(&T) -> bool, said: &str) -> T {
    let at = due.iter().position(what);
    due.remove(at.unwrap_or_else(|| panic!("{said}, and only {due:?} is due")))
}

impl Model {
    pub(super) fn written(&mut self, now: Duration, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            (peer.due.under_way, peer.due.free) = (false, now);
        }
    }

    /// The engine has a frame written.
    pub(super) fn on_frame(&mut self, now: Duration, id: PeerId, frame: &[u8]) {
        let peer = self.peers.get_mut(&id).expect("a frame goes to who is connected");
        assert!(!peer.due.under_way, "a second frame before the first is written");
        peer.due.under_way = true;
        let rpc = Rpc::decode(body(frame)).expect("a frame is readable");
        assert!(rpc.refused.is_empty() && rpc != Rpc::default(), "{rpc:?}");
        let messages = rpc.messages.iter().map(|message| message.encoded().len() + 4);
        let messages: usize = messages.sum();
        assert!(frame.len() <= 56 << 10 || rpc.messages.len() == 1, "{} bytes", frame.len());
        assert!(frame.len() <= 15_000 + messages, "too much control");
        let most = if peer.ours { 500 } else { AT_A_TIME };
        assert!(rpc.messages.len() <= most, "{} messages", rpc.messages.len());
        for said in rpc.subscriptions {
            let (_, topic, joined) =
                take(&mut peer.due.subscriptions, |(_, of, _)| *of == said.topic, "a subscription");
            assert_eq!(said.subscribe, joined, "{topic}");
            match joined {
                true => peer.due.told.insert(topic),
                false => peer.due.told.remove(&topic),
            };
        }
        let (grafts, prunes) = (rpc.graft.into_iter(), rpc.prune.into_iter());
        let words = grafts.map(|topic| (topic, None));
        let words = words.chain(prunes.map(|Prune { topic, backoff }| (topic, backoff)));
        for (topic, prune) in words {
            let peer = self.peers.get_mut(&id).expect("it is there");
            let is_due = |(_, of, word): &(_, String, _)| *of == topic && *word == prune;
            take(&mut peer.due.links, is_due, "a link");
            let linked = self.topics.get(&topic).is_some_and(|topic| topic.mesh.contains(&id));
            assert_eq!(linked, prune.is_none(), "a link that is otherwise");
            assert!(!linked || peer.due.told.contains(&topic), "a link before the topic");
        }
        for wanted in rpc.iwant {
            let peer = self.peers.get_mut(&id).expect("it is there");
            take(&mut peer.due.asks, |(_, id)| *id == wanted, "a message is asked for");
        }
        assert!(rpc.idontwant.len() <= 10);
        for unwanted in rpc.idontwant {
            let peer = self.peers.get_mut(&id).expect("it is there");
            take(&mut peer.due.idontwant, |id| *id == unwanted, "a message is not wanted");
        }
        for (topic, ids) in rpc.ihave {
            for offered in ids {
                let peer = self.peers.get_mut(&id).expect("it is there");
                let is_due = |offer: &Offer| offer.topic == topic && offer.id == offered;
                // One that has to be made, if there is one.
                let mut due: Vec<_> = peer.due.offers.extract_if(.., |of| is_due(of)).collect();
                due.sort_by_key(|offer| !offer.certain);
                assert!(!due.is_empty(), "{id} is offered {offered:?} of {topic}");
                let since = due.remove(0).at;
                peer.due.offers.append(&mut due);
                self.on_offered(now, id, &topic, &offered, since);
            }
        }
        rpc.messages.iter().for_each(|message| self.on_sent(now, id, message));
    }

    /// A message is in a frame: all that was due before it has gone, but for what is
    /// not wanted.
    fn on_sent(&mut self, now: Duration, id: PeerId, message: &SignedMessage) {
        let peer = self.peers.get_mut(&id).expect("it is there");
        assert!(!peer.refuses(now, message.id()), "{message:?} is not wanted");
        let due = &mut peer.due;
        let before = due.messages.iter().take_while(|(_, of, certain)| !certain && of != message);
        let before = before.count();
        let found = due.messages.get(before).filter(|(_, of, _)| of == message);
        let certain = found.map(|(.., certain)| *certain);
        let maybe = due.maybe.iter().position(|maybe| maybe == message);
        if certain == Some(false) {
            // If that had not to go, it may be a later one of the same.
            let mut later = due.messages.iter_mut().filter(|(_, of, due)| *due && of == message);
            later.next().into_iter().for_each(|(.., certain)| *certain = false);
        }
        match (certain, maybe) {
            (Some(true), _) | (_, None) => {
                assert!(certain.is_some(), "{message:?} is sent to {id}, and is not due there");
                due.messages.remove(before);
            }
            (_, Some(maybe)) => {
                due.maybe.remove(maybe);
                let published = self.publications.iter_mut().filter(|one| one.message == *message);
                published.for_each(|one| one.got += 1);
            }
        }
    }

    /// Whether all has gone that was due.
    pub(super) fn assert_nothing_overdue(&self, now: Duration) {
        for (id, peer) in self.peers.iter().filter(|(_, peer)| !peer.due.under_way) {
            let due = &peer.due;
            let late = |at: Duration| now > at.max(due.free) + SOON;
            let subscription = due.subscriptions.iter().find(|(at, ..)| late(*at));
            assert!(subscription.is_none(), "{id} is not told of {subscription:?}");
            let link = due.links.iter().find(|(at, ..)| late(*at));
            assert!(link.is_none(), "{id} is not told of the link {link:?}");
            let ask = due.asks.iter().find(|(at, id)| late(*at) && !self.knows(id));
            assert!(ask.is_none(), "{id} is not asked for {ask:?}");
            let offer = due.offers.iter().find(|offer| offer.certain && late(offer.at));
            assert!(offer.is_none(), "{id} is not offered {:?}", offer.map(|offer| &offer.id));
            let first = due.messages.iter().find(|(.., certain)| *certain);
            let backlog = due.messages.len() > AT_A_TIME;
            if let Some((at, message, _)) = first.filter(|_| !backlog) {
                assert!(!late(*at), "{id} is not sent {message:?}");
            }
        }
    }
}
