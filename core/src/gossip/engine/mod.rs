//! The protocol, pure: what comes in and the time go in, what is to be done
//! comes out. The node, the simulator and the fuzzers run the same type.
//!
//! - `config`: what it is told, and its bounds
//! - `peer`: what is known of one peer; `outbox`: what is due for it
//! - `mesh`: who has joined what, and the links between them; `rotate` replaces
//!   those that bring nothing
//! - `intake`: messages, from their arrival to the check of their signatures, and
//!   `relay`, from there to whom they are passed on; `queues`: those that wait,
//!   `checks`: all that are not known to be good yet, `known`: those that are
//! - `offers`: what is offered, asked for and not wanted; `store`: what can be
//!   asked for, `wants`: what was
//! - `due`: when there is something to do if nothing happens
//! - `offence`: what a peer does wrong; `departed`: what counts if it comes back
//! - `spare`: room that a burst took
//!
//! Every time is since one moment that the caller chooses.

mod checks;
mod config;
mod departed;
mod due;
mod intake;
mod known;
mod mesh;
mod offence;
mod offers;
mod outbox;
mod peer;
mod queues;
mod relay;
mod rotate;
mod spare;
mod store;
mod topic;
mod wants;

#[cfg(test)]
mod tests;

pub use checks::CheckId;
pub use config::Config;
pub(crate) use config::WINDOW;
pub use offence::Offence;

use super::{id::MessageId, wire::Rpc};
use crate::{metrics::ByLabel, pubsub::signed::SignedMessage};
use checks::Checks;
use departed::Departed;
use known::Known;
use libp2p::PeerId;
use peer::{Peer, PeerKey};
use prometheus_client::metrics::gauge::Gauge;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use relay::Awaiting;
use spare::Spare as _;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use store::Store;
use topic::Topic;
use wants::Wants;

/// What the engine wants done.
#[derive(Debug)]
pub enum Output {
    /// Write a frame (with its length before it) to a peer. There is one under
    /// way for a peer at a time: the next one follows [`Engine::sent`].
    Send {
        /// To whom.
        peer: PeerId,
        /// What.
        frame: Vec<u8>,
    },
    /// Check a signature, and say how that went with [`Engine::verified`].
    Verify {
        /// Which one.
        check: CheckId,
        /// What was signed.
        message: SignedMessage,
    },
    /// A message of a joined topic, once, with a good signature. It waits for
    /// [`Engine::verdict`], and 512 of a topic do at most.
    Deliver {
        /// The message.
        message: SignedMessage,
        /// Who passed it on.
        from: PeerId,
    },
    /// A peer has joined a topic of ours, or says so anew on a new connection.
    Subscribed {
        /// Who.
        peer: PeerId,
        /// What.
        topic: Arc<str>,
    },
    /// A peer is among those who have joined a topic of ours, or is not any more.
    Peer {
        /// Who.
        peer: PeerId,
        /// What.
        topic: Arc<str>,
        /// Whether it is.
        here: bool,
    },
    /// There may be room for what [`Engine::publish_if_room`] had none for.
    Room,
    /// Close the connections of a peer.
    Close {
        /// Whose.
        peer: PeerId,
        /// The offence that was too much.
        reason: &'static str,
        /// Whether to take none of it and of its network for [`REFUSED`].
        refuse: bool,
    },
}

/// For how long who has forged messages is not taken back.
pub const REFUSED: Duration = Duration::from_secs(300);

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Meshes, and offers between those who are in none together.
    V1_0,
    /// With back-offs.
    V1_1,
    /// A peer can say what it does not want.
    V1_2,
}

/// Why a message was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// There is nobody to send it to.
    #[error("no connected peer is subscribed to the topic")]
    NoPeers,
    /// What waits for a peer is to go first.
    #[error("too much waits to be sent")]
    NoRoom,
    /// Its encoding does not fit into a frame.
    #[error("the message is longer than 1 MiB")]
    TooLarge,
}

/// What the engine counts.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// What was refused or left out, by reason.
    pub(crate) refused: ByLabel,
    /// What a slow consumer lost, by queue.
    pub(crate) dropped: ByLabel,
    /// Ids that peers have offered, and asked for.
    pub(crate) ids: ByLabel,
    /// The links of all topics.
    pub(crate) links: Gauge,
}

/// Gossip of one node.
pub struct Engine {
    config: Config,
    counts: Counts,
    rng: ChaCha8Rng,
    keys: HashMap<PeerId, PeerKey>,
    peers: BTreeMap<PeerKey, Peer>,
    next_key: u64,
    topics: BTreeMap<Arc<str>, Topic>,
    known: Known,
    checks: Checks,
    departed: Departed,
    /// The topics of which checks are to be started next.
    turns: VecDeque<Arc<str>>,
    awaiting: HashMap<MessageId, Awaiting>,
    store: Store,
    wants: Wants,
    /// When which peer's next frame is due.
    due: BTreeSet<(Duration, PeerKey)>,
    /// When the last frame with messages went to anybody.
    flushed: Option<Duration>,
    outputs: VecDeque<Output>,
    next_heartbeat: Duration,
    /// When to wake up for it: later, while there is nothing to do.
    wakes: Duration,
    /// Whether somebody waits for room.
    awaits_room: bool,
}

impl Engine {
    /// An engine with no peers and no topics.
    pub fn new(now: Duration, config: Config, counts: Counts, seed: u64) -> Self {
        Self {
            config,
            counts,
            rng: ChaCha8Rng::seed_from_u64(seed),
            keys: HashMap::new(),
            peers: BTreeMap::new(),
            next_key: 0,
            topics: BTreeMap::new(),
            known: Known::default(),
            checks: Checks::default(),
            departed: Departed::default(),
            turns: VecDeque::new(),
            awaiting: HashMap::new(),
            store: Store::default(),
            wants: Wants::default(),
            due: BTreeSet::new(),
            flushed: None,
            outputs: VecDeque::new(),
            next_heartbeat: now + config::FIRST_HEARTBEAT,
            wakes: now + config::FIRST_HEARTBEAT,
            awaits_room: false,
        }
    }

    /// A connection with a peer that gossip is to use; `outbound` if this node
    /// made it.
    pub fn connected(&mut self, now: Duration, peer: PeerId, outbound: bool) {
        self.catch_up(now);
        if self.keys.contains_key(&peer) {
            return self.replaced(now, peer, outbound);
        }
        let key = PeerKey(self.next_key);
        self.next_key += 1;
        self.keys.insert(peer, key);
        let mut fresh = Peer::new(peer, outbound);
        if let Some(former) = self.departed.take(&peer) {
            fresh.is_again(former.record, former.backoff);
        }
        self.peers.insert(key, fresh);
        self.rouse();
        self.greet(now, key);
    }

    /// Another connection with a peer is used from now on. The peer may have
    /// restarted: it is greeted anew, and nothing of the links with it is left.
    pub fn replaced(&mut self, now: Duration, peer: PeerId, outbound: bool) {
        self.catch_up(now);
        let Some(&key) = self.keys.get(&peer) else { return self.connected(now, peer, outbound) };
        let Some(former) = self.peers.get_mut(&key) else { return };
        if let Some(due) = former.due.take() {
            self.due.remove(&(due, key));
        }
        let fresh = Peer::new(peer, outbound);
        let former = std::mem::replace(former, fresh);
        let Some(fresh) = self.peers.get_mut(&key) else { return };
        // What it has sent and done still counts, and it may not have restarted at
        // all.
        fresh.is_again(former.record, former.backoff);
        fresh.offered = former.offered;
        fresh.waiting = former.waiting;
        fresh.waiting_bytes = former.waiting_bytes;
        fresh.outbox = former.outbox.messages();
        fresh.takes_many = former.takes_many;
        fresh.topics = former.topics;
        fresh.topics.are_stale();
        // That a topic was left may not have been heard.
        for (topic, entry) in &self.topics {
            if !entry.joined && entry.until > now {
                fresh.outbox.subscription(topic, false);
            }
        }
        for topic in self.topics.values_mut() {
            topic.mesh.remove(&key);
        }
        self.rouse();
        self.greet(now, key);
        // Whether it has heard what it was asked for is not known.
        let ids = self.wants.again(key);
        self.ask(now, key, &ids);
    }

    /// The stream to a peer is open, in this version of the protocol.
    pub fn negotiated(&mut self, peer: &PeerId, version: Version) {
        if let Some(peer) = self.keys.get(peer).and_then(|key| self.peers.get_mut(key)) {
            peer.takes_idontwant = version >= Version::V1_2;
        }
    }

    /// A peer is one of ours: it has room for as many messages as come at a time.
    pub fn is_ours(&mut self, peer: &PeerId) {
        if let Some(peer) = self.keys.get(peer).and_then(|key| self.peers.get_mut(key)) {
            peer.takes_many = true;
        }
    }

    /// The last connection with a peer is closed, or it speaks no gossip.
    pub fn disconnected(&mut self, now: Duration, peer: &PeerId) {
        self.catch_up(now);
        let Some(key) = self.keys.remove(peer) else { return };
        let Some(peer) = self.peers.remove(&key) else { return };
        self.rouse();
        if let Some(due) = peer.due {
            self.due.remove(&(due, key));
        }
        for (topic, entry) in &mut self.topics {
            if entry.forget(key) && entry.joined {
                let (peer, topic) = (peer.id, topic.clone());
                self.outputs.push_back(Output::Peer { peer, topic, here: false });
            }
        }
        let Peer { id, mut record, backoff, .. } = peer;
        // Nobody is rid of a promise by going.
        if self.wants.gone(key) {
            self.count(Offence::Promise.label(), 1);
            record.add(now, Offence::Promise);
        }
        self.hand_over(now, key);
        let forgotten = self.departed.add(now, id, record, backoff);
        self.count_some("too-many-departed", forgotten);
        self.tell_of_room();
    }

    /// A frame came from a peer.
    pub fn received(&mut self, now: Duration, peer: &PeerId, rpc: Rpc) {
        self.catch_up(now);
        let Some(&key) = self.keys.get(peer) else { return };
        if self.peers.get(&key).is_none_or(|peer| peer.closing) {
            return;
        }
        if rpc.asks_for_something() {
            self.rouse();
        }
        for (reason, times) in rpc.refused {
            self.count(reason, times.into());
        }
        // Of a topic the last word in a frame counts.
        let subscriptions = rpc.subscriptions.into_iter();
        let subscriptions: BTreeMap<_, _> =
            subscriptions.map(|said| (said.topic, said.subscribe)).collect();
        for (topic, subscribe) in subscriptions {
            self.on_subscription(now, key, topic.into(), subscribe);
        }
        for topic in rpc.graft {
            self.on_graft(now, key, topic.into());
        }
        for prune in rpc.prune {
            self.on_prune(now, key, prune.topic.into(), prune.backoff);
        }
        self.count_ids("offered", rpc.ihave.iter().map(|(_, ids)| ids.len()).sum());
        self.count_ids("asked-for", rpc.iwant.len());
        for (topic, ids) in rpc.ihave {
            self.on_ihave(now, key, &topic, ids);
        }
        self.on_iwant(now, key, rpc.iwant);
        self.on_idontwant(now, key, rpc.idontwant);
        for message in rpc.messages {
            self.on_message(key, message);
        }
        self.start_checks();
    }

    /// A peer did what only whoever holds its streams can see.
    pub fn offended(&mut self, now: Duration, peer: &PeerId, offence: Offence) {
        self.catch_up(now);
        if let Some(&key) = self.keys.get(peer) {
            self.charge(now, key, offence);
        }
    }

    /// The frame that was under way to a peer is written.
    pub fn sent(&mut self, now: Duration, peer: &PeerId) {
        self.catch_up(now);
        let Some(&key) = self.keys.get(peer) else { return };
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.under_way = false;
            self.schedule(now, key);
            self.tell_of_room();
        }
    }

    /// Whether more is to go to a peer once the frame under way is written.
    pub fn waits_for(&self, peer: &PeerId) -> bool {
        let peer = self.keys.get(peer).and_then(|key| self.peers.get(key));
        peer.is_some_and(|peer| peer.under_way && !peer.outbox.is_empty())
    }

    /// What is to be done next. To be called until there is nothing, after
    /// anything else was.
    pub fn poll(&mut self, now: Duration) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        if now >= self.next_heartbeat {
            self.heartbeat(now);
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
        }
        while let Some(&(due, key)) = self.due.first()
            && due <= now
        {
            self.due.pop_first();
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            peer.due = None;
            let at_a_time = peer.at_a_time();
            if let Some((frame, has_messages)) = peer.outbox.frame(&peer.unwanted, at_a_time) {
                (peer.under_way, peer.begun) = (true, now);
                peer.hurry &= !peer.outbox.is_empty();
                if has_messages {
                    (peer.sent, self.flushed) = (Some(now), Some(now));
                }
                return Some(Output::Send { peer: peer.id, frame });
            }
        }
        None
    }

    /// When to call [`poll`](Self::poll) if nothing happens before.
    pub fn next_wake(&self) -> Duration {
        let due = self.due.first().map(|(due, _)| *due);
        due.map_or(self.wakes, |due| due.min(self.wakes))
    }

    /// Sees to it that what waits for a peer goes: at once if nothing went lately,
    /// else together with what comes within a moment, also for others, since each
    /// time the node wakes up for it costs as much as the frames do. There is no
    /// waiting once there is much.
    fn schedule(&mut self, now: Duration, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.under_way || peer.outbox.is_empty() {
            return;
        }
        let Config { pause, spacing, .. } = self.config;
        let after = |last: Option<Duration>, pause| last.map_or(now, |last| now.max(last + pause));
        let due = if peer.outbox.len() >= peer.at_a_time() {
            after(peer.sent, spacing)
        } else if peer.outbox.is_full() {
            now
        } else if peer.hurry {
            after(peer.sent, spacing)
        } else {
            after(self.flushed, pause)
        };
        match peer.due {
            Some(former) if former <= due => return,
            Some(former) => _ = self.due.remove(&(former, key)),
            None => {}
        }
        peer.due = Some(due);
        self.due.insert((due, key));
    }

    fn heartbeat(&mut self, now: Duration) {
        let late = now.saturating_sub(self.next_heartbeat);
        if late > config::HELD_UP {
            self.wants.held_up(late);
        }
        self.next_heartbeat = now + config::HEARTBEAT;
        self.known.expire(now);
        self.store.expire(now);
        self.checks.give_back();
        self.wants.give_back();
        self.awaiting.give_back();
        self.outputs.give_back();
        for peer in self.peers.values_mut() {
            peer.offered = 0;
            peer.announced.clear();
            peer.unwanted.expire(now);
            peer.backoff.retain(|_, backoff| now < backoff.until);
        }
        self.departed.expire(now);
        self.ask_others(now);
        self.tend_topics(now);
        let links: usize = self.topics.values().map(|topic| topic.mesh.len()).sum();
        self.counts.links.set(links.try_into().unwrap_or(i64::MAX));
        self.rest(now);
        // Who was waited for may be stuck.
        self.tell_of_room();
    }

    fn tell_of_room(&mut self) {
        if std::mem::take(&mut self.awaits_room) {
            self.outputs.push_back(Output::Room);
        }
    }

    /// Holds an offence against a peer.
    fn charge(&mut self, now: Duration, key: PeerKey, offence: Offence) {
        self.count(offence.label(), 1);
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.record.add(now, offence) && !peer.closing {
            peer.closing = true;
            let (peer, refuse) = (peer.id, peer.record.has_forged());
            self.outputs.push_back(Output::Close { peer, reason: offence.label(), refuse });
        }
    }

    /// Counts, if there is anything.
    fn count_some(&self, reason: &'static str, times: u64) {
        if times > 0 {
            self.count(reason, times);
        }
    }

    /// Counts ids, by what a peer says of them.
    fn count_ids(&self, what: &'static str, ids: usize) {
        if ids > 0 {
            self.counts.ids.get_or_create(&[("ids", what)]).inc_by(ids as u64);
        }
    }

    fn count(&self, reason: &'static str, times: u64) {
        self.counts.refused.get_or_create(&[("reason", reason)]).inc_by(times);
    }
}
