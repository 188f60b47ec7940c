//! What the engine knows of one peer.

use super::{config, offence::Record, outbox::Outbox, queues::Waiting};
use crate::gossip::id::MessageId;
use libp2p::PeerId;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

/// A peer while it is connected: never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PeerKey(pub(super) u64);

pub(super) struct Peer {
    pub(super) id: PeerId,
    /// Whether this node made the connection.
    pub(super) outbound: bool,
    /// Whether it can be told what is not wanted.
    pub(super) takes_idontwant: bool,
    /// Whether it has room for as many messages as come at a time.
    pub(super) takes_many: bool,
    /// What it has joined.
    pub(super) topics: Topics,
    pub(super) backoff: Backoffs,
    pub(super) record: Record,
    /// Nothing more is taken from it.
    pub(super) closing: bool,
    /// How many of its messages wait to be checked, and their bytes.
    pub(super) waiting: usize,
    pub(super) waiting_bytes: usize,
    pub(super) unwanted: Unwanted,
    /// How many ids it has offered since the last heartbeat.
    pub(super) offered: usize,
    /// What it has joined since then.
    pub(super) announced: BTreeSet<Arc<str>>,
    pub(super) outbox: Outbox,
    /// Whether a frame is being written.
    pub(super) under_way: bool,
    /// Whether what waits is to go soon.
    pub(super) hurry: bool,
    /// When the last one was begun.
    pub(super) begun: Duration,
    /// When the last one with messages went.
    pub(super) sent: Option<Duration>,
    /// When the next one goes.
    pub(super) due: Option<Duration>,
}

/// A time in which no link is to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    pub(super) until: Duration,
    /// Whether it was this node that said so.
    pub(super) ours: bool,
    /// Whether the peer has heard it on the connection that is used. If not, it
    /// may have restarted, and not know of it.
    pub(super) said: bool,
}

/// By topic.
pub(super) type Backoffs = BTreeMap<Arc<str>, Backoff>;

impl Peer {
    pub(super) fn new(id: PeerId, outbound: bool) -> Self {
        Self {
            id,
            outbound,
            takes_idontwant: false,
            takes_many: false,
            topics: Topics::default(),
            backoff: BTreeMap::new(),
            record: Record::default(),
            closing: false,
            waiting: 0,
            waiting_bytes: 0,
            unwanted: Unwanted::default(),
            offered: 0,
            announced: BTreeSet::new(),
            outbox: Outbox::default(),
            under_way: false,
            hurry: false,
            begun: Duration::ZERO,
            sent: None,
            due: None,
        }
    }

    /// Whether another message of so many bytes can wait in its queues.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let fits = self.waiting_bytes + bytes <= config::MAX_WAITING_BYTES || self.waiting == 0;
        self.waiting < config::MAX_WAITING && fits
    }

    /// A message of its queues waits no more.
    pub(super) fn waited(&mut self, waiting: Waiting) {
        self.waiting = self.waiting.saturating_sub(1);
        self.waiting_bytes = self.waiting_bytes.saturating_sub(waiting.bytes);
    }

    /// How many messages it is sent at a time.
    pub(super) fn at_a_time(&self) -> usize {
        if self.takes_many { usize::MAX } else { config::AT_A_TIME }
    }

    /// What was held against it, and the times in which no link is to be made with
    /// it, count on another connection too.
    pub(super) fn is_again(&mut self, record: Record, mut backoff: Backoffs) {
        backoff.values_mut().for_each(|backoff| backoff.said = false);
        (self.record, self.backoff) = (record, backoff);
    }

    /// Whether a message of so many bytes had better wait until there is room: not
    /// for who takes nothing.
    pub(super) fn is_crowded(&self, bytes: usize, now: Duration) -> bool {
        let is_stuck = self.under_way && now.saturating_sub(self.begun) >= config::STUCK;
        !is_stuck && self.outbox.is_crowded(bytes)
    }

    /// Whether a link must not be made yet.
    pub(super) fn backs_off(&self, topic: &str, now: Duration) -> bool {
        self.backoff.get(topic).is_some_and(|backoff| now < backoff.until)
    }
}

/// The topics of a peer.
#[derive(Default)]
pub(super) struct Topics {
    /// Each with whether the peer has said so on the connection that is used.
    names: BTreeMap<Arc<str>, bool>,
    bytes: usize,
}

impl Topics {
    /// Adds one. Whether that is news; `None` if it is too much.
    pub(super) fn join(&mut self, topic: Arc<str>) -> Option<bool> {
        let bytes = topic.len();
        let former = self.names.insert(topic, true);
        if former.is_none() {
            self.bytes += bytes;
        }
        let fits = self.names.len() <= config::MAX_TOPICS && self.bytes <= config::MAX_TOPIC_BYTES;
        fits.then_some(former != Some(true))
    }

    pub(super) fn leave(&mut self, topic: &str) {
        if self.names.remove(topic).is_some() {
            self.bytes -= topic.len();
        }
    }

    pub(super) fn contains(&self, topic: &str) -> bool {
        self.names.contains_key(topic)
    }

    /// The peer may have restarted: what it says next is news.
    pub(super) fn are_stale(&mut self) {
        self.names.values_mut().for_each(|said| *said = false);
    }
}

/// The messages that a peer does not want, for a few seconds.
#[derive(Default)]
pub(super) struct Unwanted {
    young: HashSet<MessageId>,
    old: HashSet<MessageId>,
    since: Duration,
}

impl Unwanted {
    /// Adds one; whether there was room for it.
    #[must_use]
    pub(super) fn insert(&mut self, id: MessageId) -> bool {
        let room = self.young.len() < config::MAX_UNWANTED;
        if room {
            self.young.insert(id);
        }
        room
    }

    pub(super) fn remove(&mut self, id: &MessageId) {
        self.young.remove(id);
        self.old.remove(id);
    }

    pub(super) fn contains(&self, id: &MessageId) -> bool {
        self.young.contains(id) || self.old.contains(id)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    pub(super) fn expire(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.since);
        if passed > config::UNWANTED {
            self.since = now;
            self.old = std::mem::take(&mut self.young);
        }
        // What was added then is older by now than it counts.
        if passed > 2 * config::UNWANTED {
            self.old.clear();
        }
    }
}
