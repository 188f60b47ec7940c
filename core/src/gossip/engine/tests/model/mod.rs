//! A naive model of the engine: what the protocol
//! (<https://github.com/libp2p/specs/tree/master/pubsub/gossipsub>) and decision 25
//! say that it has to do. Plain lists, looked through from the start; nothing of
//! the engine's code. Every input goes to both, and what comes out is held against
//! what the model says: what has to come, what may, and what must not.
//!
//! Some things are the engine's to choose, and are taken from it if they are within
//! the rules: with whom it makes and ends links at a heartbeat, whom it offers
//! what is new, and which of several it asks next.
//!
//! - `checked`: the engine, with the model beside it
//! - `links`: topics, subscriptions, the mesh; `copies`: messages, from their
//!   arrival to those they are passed on to; `offers`: IHAVE, IWANT, IDONTWANT;
//!   `blame`: offences
//! - `due`: what is owed to a peer, and the frames in which it goes
//! - `dice`, `world`: what happens, by chance
//!
//! The fuzz target `gossip_engine` is compiled of these files too: they use what is
//! public of `crate::gossip`, and nothing else.

mod blame;
mod checked;
mod copies;
mod dice;
mod due;
mod links;
mod offers;
mod world;

pub use dice::Bytes;
pub use world::World;

use crate::gossip::{SignedMessage, engine::Config, id::MessageId};
use copies::{Awaiting, Copy, Kept, Publication};
use libp2p::PeerId;
use links::Topic;
use offers::Want;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A connection, and those that take its place: never given twice.
type Key = u64;

const SECOND: Duration = Duration::from_secs(1);
const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A frame without its length.
fn body(frame: &[u8]) -> &[u8] {
    &frame[frame.iter().take_while(|byte| **byte > 0x7f).count() + 1..]
}

/// What the node has to say at once to whoever runs the engine.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Deliver { message: SignedMessage, from: BTreeSet<PeerId> },
    Subscribed { peer: PeerId, topic: String },
    Close { peer: PeerId, reason: &'static str, refuse: bool },
}

/// What is known of a peer.
struct Peer {
    key: Key,
    outbound: bool,
    takes_idontwant: bool,
    ours: bool,
    /// What it has joined, and whether it has said so on this connection.
    topics: BTreeMap<String, bool>,
    /// What it has joined since the last heartbeat.
    announced: BTreeSet<String>,
    /// When there is to be no link.
    backoff: Backoffs,
    offences: Vec<blame::Charge>,
    closing: bool,
    /// What it does not want, since when.
    unwanted: Vec<(MessageId, Duration)>,
    due: due::Due,
}

/// Until when there is to be no link with a peer on a topic, whether this node said
/// so, and whether it did on the connection that is used.
type Backoffs = BTreeMap<String, (Duration, bool, bool)>;

/// What the node ought to know.
struct Model {
    config: Config,
    peers: BTreeMap<PeerId, Peer>,
    next_key: Key,
    /// What counts of those who are gone.
    departed: BTreeMap<PeerId, (Vec<blame::Charge>, Backoffs)>,
    topics: BTreeMap<String, Topic>,
    /// Good ids, since when.
    known: Vec<(MessageId, Duration)>,
    copies: Vec<Copy>,
    awaiting: Vec<Awaiting>,
    store: Vec<Kept>,
    wants: Vec<Want>,
    publications: Vec<Publication>,
    expected: Vec<Expected>,
    heartbeat: Duration,
    next_heartbeat: Duration,
    /// Whom it told of a topic since the last heartbeat.
    told: BTreeSet<(String, PeerId)>,
}

impl Model {
    fn new(now: Duration, config: Config) -> Self {
        Self {
            config,
            peers: BTreeMap::new(),
            next_key: 0,
            departed: BTreeMap::new(),
            topics: BTreeMap::new(),
            known: Vec::new(),
            copies: Vec::new(),
            awaiting: Vec::new(),
            store: Vec::new(),
            wants: Vec::new(),
            publications: Vec::new(),
            expected: Vec::new(),
            heartbeat: now,
            next_heartbeat: now + millis(100),
            told: BTreeSet::new(),
        }
    }

    fn connected(&mut self, now: Duration, id: PeerId, outbound: bool) {
        if self.peers.contains_key(&id) {
            return self.replaced(now, id, outbound);
        }
        let (offences, mut backoff) = self.departed.remove(&id).unwrap_or_default();
        backoff.values_mut().for_each(|(.., said)| *said = false);
        let peer = Peer {
            key: self.next_key,
            outbound,
            takes_idontwant: false,
            ours: false,
            topics: BTreeMap::new(),
            announced: BTreeSet::new(),
            backoff,
            offences,
            closing: false,
            unwanted: Vec::new(),
            due: due::Due::new(now),
        };
        self.next_key += 1;
        self.peers.insert(id, peer);
        self.greet(now, id, false);
    }

    /// What it has sent and done still counts; what it was told is told anew, and
    /// it is in no mesh.
    fn replaced(&mut self, now: Duration, id: PeerId, outbound: bool) {
        let Some(peer) = self.peers.get_mut(&id) else { return self.connected(now, id, outbound) };
        peer.outbound = outbound;
        peer.takes_idontwant = false;
        peer.topics.values_mut().for_each(|said| *said = false);
        peer.announced.clear();
        peer.backoff.values_mut().for_each(|(.., said)| *said = false);
        peer.closing = false;
        peer.unwanted.clear();
        let key = peer.key;
        for (_, id) in peer.due.another_connection(now) {
            self.store.iter_mut().filter(|kept| *kept.message.id() == id).for_each(|kept| {
                kept.maybe_told.insert(key);
            });
        }
        for topic in self.topics.values_mut() {
            topic.mesh.remove(&id);
        }
        self.greet(now, id, true);
        self.asked_anew(now, key);
    }

    fn disconnected(&mut self, now: Duration, id: PeerId) {
        let Some(mut peer) = self.peers.remove(&id) else { return };
        for topic in self.topics.values_mut() {
            topic.mesh.remove(&id);
        }
        self.publications.iter_mut().for_each(|one| one.without(id));
        if self.offerer_gone(peer.key) {
            peer.offences.push((now, 5.0, false));
        }
        let offences = if blame::sum(now, &peer.offences) > 1.0 { peer.offences } else { vec![] };
        self.departed.insert(id, (offences, peer.backoff));
        self.sender_gone(now);
    }

    fn peer_of(&self, key: Key) -> Option<PeerId> {
        self.peers.iter().find(|(_, peer)| peer.key == key).map(|(id, _)| *id)
    }

    fn knows(&self, id: &MessageId) -> bool {
        self.known.iter().any(|(known, _)| known == id)
    }

    fn learn(&mut self, now: Duration, id: &MessageId) {
        if !self.knows(id) {
            self.known.push((id.clone(), now));
        }
    }

    fn is_under_check(&self, id: &MessageId) -> bool {
        self.copies.iter().any(|copy| copy.message.id() == id)
    }

    /// What a heartbeat does before the meshes are looked after.
    fn beat(&mut self, now: Duration) {
        let late = now - self.next_heartbeat;
        if late > SECOND {
            // The node was held up, and not those who promised something.
            self.wants.iter_mut().for_each(|want| want.last_longer(late));
        }
        (self.heartbeat, self.next_heartbeat) = (now, now + SECOND);
        self.told.clear();
        // In whole seconds.
        self.known.retain(|(_, at)| now.as_secs() - at.as_secs() <= 30);
        self.store.retain(|kept| now - kept.at <= 7 * SECOND);
        self.peers.values_mut().for_each(|peer| peer.announced.clear());
        self.ask_others(now);
        for topic in self.topics.values_mut().filter(|topic| !topic.joined) {
            topic.forgotten = topic.until <= now;
        }
        self.topics.retain(|_, topic| topic.joined || !topic.forgotten);
    }
}
