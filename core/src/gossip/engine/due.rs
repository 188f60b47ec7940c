//! When the engine has something to do if nothing happens: an idle node is to wake
//! the processor no more than it must.
//!
//! A heartbeat that is late is made up for before anything else that happens, so that
//! what it would only have tidied up can wait for that.

use super::{Engine, peer::PeerKey, topic::Topic};
use std::{sync::Arc, time::Duration};

/// How long the engine rests at most, and how long while there is something to tidy
/// up.
const REST: Duration = Duration::from_secs(3600);
const UNTIDY: Duration = Duration::from_secs(60);
/// Bytes of messages that are tidied up in their time.
const MUCH: usize = 64 << 10;
/// Young messages of which each is looked at, whether somebody lacks it.
const FEW: usize = 16;

impl Engine {
    /// Something has happened of which the next heartbeat makes something.
    pub(super) fn rouse(&mut self) {
        self.wakes = self.next_heartbeat;
    }

    /// Before anything that happens: makes up for a heartbeat that was left out.
    pub(super) fn catch_up(&mut self, now: Duration) {
        if now >= self.next_heartbeat {
            self.heartbeat(now);
        }
    }

    /// A message of a topic is kept that these have: to the others outside the mesh
    /// it is to be offered.
    pub(super) fn rouse_for_offers(&mut self, topic: &str, holders: &[PeerKey]) {
        if self.topics.get(topic).is_some_and(|topic| lack(topic, holders)) {
            self.rouse();
        }
    }

    /// Whether somebody outside the mesh may lack what is offered now.
    fn has_offers(&self, now: Duration) -> bool {
        let young = || self.store.young(now);
        let joined = || self.topics.iter().filter(|(_, topic)| topic.joined);
        if young().nth(FEW).is_some() {
            return joined().any(|(_, topic)| lack(topic, &[]));
        }
        young().any(|(message, holders)| {
            joined().any(|(name, topic)| message.is_of(name) && lack(topic, holders))
        })
    }

    /// After a heartbeat: when the next one is worth to wake up for.
    pub(super) fn rest(&mut self, now: Duration) {
        let busy = !self.wants.is_empty()
            || self.awaits_room
            || self.store.bytes() > MUCH
            || self.topics.values().any(|topic| topic.swap.is_some())
            || self.has_offers(now);
        let joined = self.topics.iter().filter(|(_, topic)| topic.joined);
        let tends = || joined.filter_map(|(name, topic)| self.tends_at(name, topic)).min();
        let untidy = !self.departed.is_empty()
            || self.topics.values().any(|topic| !topic.joined)
            || self.peers.values().any(|peer| !peer.backoff.is_empty());
        let rest = now + if untidy { UNTIDY } else { REST };
        let next = if busy { now } else { tends().map_or(rest, |tends| tends.min(rest)) };
        self.wakes = next.max(self.next_heartbeat);
    }

    /// When the links of a topic can be mended, if they are to be.
    fn tends_at(&self, name: &Arc<str>, topic: &Topic) -> Option<Duration> {
        let links = topic.mesh.len();
        if links > self.config.high {
            return Some(Duration::ZERO);
        }
        let few = links < self.config.low;
        let lacks_outbound = links > 0 && !topic.mesh.iter().any(|key| self.is_outbound(key));
        if !few && !lacks_outbound {
            return None;
        }
        let others = topic.subscribed.difference(&topic.mesh);
        let others = others.filter(|key| few || self.is_outbound(key));
        let open = others.filter_map(|key| self.peers.get(key)).filter(|peer| !peer.closing);
        open.map(|peer| peer.backoff.get(name).map_or(Duration::ZERO, |backoff| backoff.until))
            .min()
    }
}

/// Whether there are peers outside the mesh but for these.
fn lack(topic: &Topic, holders: &[PeerKey]) -> bool {
    topic.joined && topic.subscribed.difference(&topic.mesh).any(|key| !holders.contains(key))
}
