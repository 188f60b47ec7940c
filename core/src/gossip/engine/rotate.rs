//! Links that bring next to nothing are replaced, one at a time, where the mesh
//! brings too little.
//!
//! A full mesh takes nobody in. So peers that hold their links and pass nothing
//! on would have a node for good: what others publish would come by offers alone.
//! It is the opportunistic grafting of gossipsub 1.1, but by first copies alone,
//! since there is no score. Who floods with messages that are accepted can make
//! its links seem better than they are.

use super::{Engine, config, peer::PeerKey, topic::Swap};
use rand::{RngExt as _, seq::SliceRandom as _};
use std::{sync::Arc, time::Duration};

impl Engine {
    /// When the links of a topic are judged next: not at the same time everywhere.
    pub(super) fn next_judgement(&mut self, now: Duration) -> Duration {
        now + config::JUDGED.mul_f64(self.rng.random_range(0.75..1.25))
    }

    /// Ends a replacement that was begun, or begins one if it is time for it.
    pub(super) fn rotate(&mut self, now: Duration, topic: &Arc<str>) {
        let Some(entry) = self.topics.get_mut(topic) else { return };
        if let Some(Swap { old, new }) = entry.swap.take() {
            // Unless the new one has refused.
            if entry.mesh.contains(&old) && entry.mesh.contains(&new) {
                self.prune(now, old, topic, self.config.backoff);
            }
            return;
        }
        if now < entry.judged {
            return;
        }
        let next = self.next_judgement(now);
        let Some(entry) = self.topics.get_mut(topic) else { return };
        entry.judged = next;
        let worst = entry.worst_link(now);
        entry.firsts.clear();
        let Some(old) = worst.filter(|_| entry.mesh.len() <= self.config.high) else { return };
        let open = self.topics[topic].subscribed.iter();
        let open = open.filter(|key| self.may_graft(now, **key, topic));
        let mut open: Vec<PeerKey> = open.copied().collect();
        open.shuffle(&mut self.rng);
        // Whom this node chose is the least likely to be one of many in one hand.
        let chosen = open.iter().find(|key| self.is_outbound(key)).copied();
        let Some(new) = chosen.or_else(|| open.first().copied()) else { return };
        // Nor does one who came by itself take the place of one that was chosen.
        if self.is_outbound(&old) && !self.is_outbound(&new) {
            return;
        }
        self.graft(now, new, topic);
        if let Some(entry) = self.topics.get_mut(topic) {
            entry.swap = Some(Swap { old, new });
        }
    }
}
