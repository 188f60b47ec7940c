//! What counts of peers that are gone should they come back: what they have done,
//! and until when no link is to be made with them.

use super::{config, offence::Record, peer::Backoffs};
use crate::cache::cache;
use libp2p::PeerId;
use lru::LruCache;
use std::time::Duration;

/// Peers that are gone; those are forgotten first that went first.
pub(super) struct Departed(LruCache<PeerId, Left>);

/// What is remembered of one.
pub(super) struct Left {
    pub(super) record: Record,
    pub(super) backoff: Backoffs,
    until: Duration,
}

impl Default for Departed {
    fn default() -> Self {
        Self(cache(config::MAX_DEPARTED))
    }
}

impl Departed {
    /// A peer is gone. Gives back how many others are forgotten for want of room.
    #[must_use]
    pub(super) fn add(
        &mut self,
        now: Duration,
        peer: PeerId,
        record: Record,
        mut backoff: Backoffs,
    ) -> u64 {
        backoff.retain(|_, backoff| now < backoff.until);
        let until =
            backoff.values().map(|backoff| backoff.until).fold(record.until(), Duration::max);
        if until <= now {
            return 0;
        }
        let out = self.0.push(peer, Left { record, backoff, until });
        u64::from(out.is_some_and(|(out, _)| out != peer))
    }

    /// It is back.
    pub(super) fn take(&mut self, peer: &PeerId) -> Option<Left> {
        self.0.pop(peer)
    }

    /// Forgets those who went first, if nothing of what is remembered counts now.
    pub(super) fn expire(&mut self, now: Duration) {
        while self.0.peek_lru().is_some_and(|(_, left)| left.until <= now) {
            self.0.pop_lru();
        }
    }

    /// Whether nobody is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
