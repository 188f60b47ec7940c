//! What the engine knows of one topic.

use super::{config, peer::PeerKey, queues::Queues};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A topic that this node has joined, had joined, or publishes on.
#[derive(Default)]
pub(super) struct Topic {
    pub(super) joined: bool,
    /// Whether what is said there waits for little more.
    pub(super) quick: bool,
    /// Until when it is remembered if it is not joined.
    pub(super) until: Duration,
    /// The connected peers that have joined it.
    pub(super) subscribed: BTreeSet<PeerKey>,
    /// Those with whom messages are exchanged whole.
    pub(super) mesh: BTreeSet<PeerKey>,
    /// Since when, also if the peer has taken the link back and made it again.
    pub(super) since: BTreeMap<PeerKey, Duration>,
    /// Good messages that each peer was the first to bring, since the links were
    /// judged.
    pub(super) firsts: BTreeMap<PeerKey, u64>,
    /// When they are judged next.
    pub(super) judged: Duration,
    /// A link that is being replaced.
    pub(super) swap: Option<Swap>,
    /// When who was last told what is here.
    pub(super) told: BTreeMap<PeerKey, Duration>,
    /// Those whose links were refused because there were enough, and until when they
    /// are thought to have too few.
    pub(super) refused: BTreeMap<PeerKey, Duration>,
    /// Those to whom is published without having joined.
    pub(super) fanout: BTreeSet<PeerKey>,
    /// Until when they stay the same.
    pub(super) fanout_until: Duration,
    /// What waits to be checked.
    pub(super) queues: Queues,
    /// Whether the topic waits for its turn.
    pub(super) in_line: bool,
    /// Messages that are under check, or wait for a verdict.
    pub(super) busy: usize,
}

/// A new link that takes the place of an old one, if it is taken.
#[derive(Clone, Copy)]
pub(super) struct Swap {
    pub(super) old: PeerKey,
    pub(super) new: PeerKey,
}

impl Topic {
    /// A link with a peer is made.
    pub(super) fn link(&mut self, now: Duration, key: PeerKey) {
        self.mesh.insert(key);
        self.refused.remove(&key);
        self.since.entry(key).or_insert(now);
    }

    /// This node takes a link back.
    pub(super) fn unlink(&mut self, key: PeerKey) {
        self.mesh.remove(&key);
        self.since.remove(&key);
    }

    /// A peer was the first to bring a good message.
    pub(super) fn brought(&mut self, key: PeerKey) {
        *self.firsts.entry(key).or_default() += 1;
    }

    /// The link that brought the least, and not as much as a quarter of what came
    /// for each; if an eighth of all came first from outside the mesh, by offers. A
    /// new link is not judged.
    ///
    /// As long as the mesh brings what there is, links that bring nothing stay:
    /// messages may all go the other way.
    pub(super) fn worst_link(&self, now: Duration) -> Option<PeerKey> {
        let is_old = |key: &&PeerKey| {
            self.since.get(key).is_some_and(|since| now.saturating_sub(*since) >= config::PROVEN)
        };
        let brought = |key: &PeerKey| self.firsts.get(key).copied().unwrap_or(0);
        let all: u64 = self.firsts.values().sum();
        let by_links: u64 = self.mesh.iter().map(brought).sum();
        let worst = self.mesh.iter().filter(is_old).min_by_key(|key| brought(key))?;
        let lacks = all > 0 && (all - by_links) * 8 >= all;
        (lacks && brought(worst) * 4 * (self.mesh.len() as u64) < all).then_some(*worst)
    }

    /// A peer has left the topic. Whether it was there.
    pub(super) fn left(&mut self, key: PeerKey) -> bool {
        self.mesh.remove(&key);
        self.fanout.remove(&key);
        self.refused.remove(&key);
        self.subscribed.remove(&key)
    }

    /// A peer is gone. Whether it was there.
    pub(super) fn forget(&mut self, key: PeerKey) -> bool {
        self.told.remove(&key);
        self.since.remove(&key);
        self.firsts.remove(&key);
        self.left(key)
    }
}
