//! What the engine knows of one topic.

use super::peer::PeerKey;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A topic that this node has joined, had joined, or publishes on.
#[derive(Default)]
pub(super) struct Topic {
    pub(super) joined: bool,
    /// Until when it is remembered if it is not joined.
    pub(super) until: Duration,
    /// The connected peers that have joined it.
    pub(super) subscribed: BTreeSet<PeerKey>,
    /// Those with whom messages are exchanged whole.
    pub(super) mesh: BTreeSet<PeerKey>,
    /// When who was last told what is here.
    pub(super) told: BTreeMap<PeerKey, Duration>,
    /// Those to whom is published without having joined.
    pub(super) fanout: BTreeSet<PeerKey>,
    /// Until when they stay the same.
    pub(super) fanout_until: Duration,
}

impl Topic {
    /// A peer has left the topic.
    pub(super) fn left(&mut self, key: PeerKey) {
        self.subscribed.remove(&key);
        self.mesh.remove(&key);
        self.fanout.remove(&key);
    }

    /// A peer is gone.
    pub(super) fn forget(&mut self, key: PeerKey) {
        self.left(key);
        self.told.remove(&key);
    }
}
