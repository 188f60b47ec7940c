//! Who has joined what, and the links between them.

use super::{
    Engine, Output, config,
    offence::Offence,
    peer::{Backoff, PeerKey},
    topic::Topic,
};
use libp2p::PeerId;
use rand::seq::{IteratorRandom as _, SliceRandom as _};
use std::{sync::Arc, time::Duration};

impl Engine {
    /// Joins a topic.
    pub fn join(&mut self, now: Duration, topic: &str) {
        self.catch_up(now);
        let topic: Arc<str> = topic.into();
        let subscribed = self.peers.iter().filter(|(_, peer)| peer.topics.contains(&topic));
        let subscribed = subscribed.map(|(key, _)| *key).collect();
        let judged = self.next_judgement(now);
        let entry = self.topics.entry(topic.clone()).or_default();
        if entry.joined {
            return;
        }
        self.wakes = self.next_heartbeat;
        (entry.joined, entry.judged, entry.swap) = (true, judged, None);
        entry.firsts.clear();
        entry.subscribed = subscribed;
        entry.fanout.clear();
        for subscriber in &entry.subscribed {
            if let Some(peer) = self.peers.get(subscriber) {
                let (peer, topic) = (peer.id, topic.clone());
                self.outputs.push_back(Output::Subscribed { peer, topic });
            }
        }
        self.announce(now, &topic, true);
        self.tend(now, &topic);
    }

    /// What is said on a topic, which is joined, is to be there soon: it waits for
    /// more no longer than what is sent to a stranger does.
    pub fn quicken(&mut self, topic: &str) {
        if let Some(entry) = self.topics.get_mut(topic) {
            entry.quick = true;
        }
    }

    /// Leaves a topic.
    pub fn leave(&mut self, now: Duration, topic: &str) {
        self.catch_up(now);
        let Some((topic, entry)) = self.topics.get_key_value(topic) else { return };
        if !entry.joined {
            return;
        }
        let (topic, mesh) = (topic.clone(), entry.mesh.clone());
        self.rouse();
        for key in mesh {
            self.prune(now, key, &topic, config::LEFT_BACKOFF);
        }
        if let Some(entry) = self.topics.get_mut(&topic) {
            (entry.joined, entry.until) = (false, now + config::LEFT);
        }
        // Who joins it again is told who is there then.
        self.outputs
            .retain(|output| !matches!(output, Output::Peer { topic: of, .. } if *of == topic));
        self.forget_waiting(&topic);
        self.announce(now, &topic, false);
        self.limit_topics();
    }

    /// The peers with whom messages of a topic are exchanged whole.
    pub fn mesh(&self, topic: &str) -> impl Iterator<Item = PeerId> {
        let mesh = self.topics.get(topic).into_iter().flat_map(|topic| &topic.mesh);
        mesh.filter_map(|key| self.peers.get(key)).map(|peer| peer.id)
    }

    /// The connected peers that have joined a topic that this node has joined.
    pub fn subscribed(&self, topic: &str) -> impl Iterator<Item = PeerId> {
        let joined = self.topics.get(topic).filter(|topic| topic.joined);
        let keys = joined.into_iter().flat_map(|topic| &topic.subscribed);
        keys.filter_map(|key| Some(self.peers.get(key)?.id))
    }

    /// Tells a peer what this node has joined.
    pub(super) fn greet(&mut self, now: Duration, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        for (topic, entry) in &self.topics {
            if entry.joined {
                peer.outbox.subscription(topic, true);
            }
        }
        self.schedule(now, key);
    }

    fn announce(&mut self, now: Duration, topic: &Arc<str>, joined: bool) {
        let keys: Vec<_> = self.peers.keys().copied().collect();
        for key in keys {
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.outbox.subscription(topic, joined);
            }
            self.schedule(now, key);
        }
    }

    pub(super) fn on_subscription(
        &mut self,
        now: Duration,
        key: PeerKey,
        topic: Arc<str>,
        joins: bool,
    ) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if !joins {
            peer.topics.leave(&topic);
            peer.outbox.no_graft(&topic);
            let peer = peer.id;
            if let Some(entry) = self.topics.get_mut(&topic)
                && entry.left(key)
                && entry.joined
            {
                self.outputs.push_back(Output::Peer { peer, topic, here: false });
            }
            return;
        }
        let Some(is_news) = peer.topics.join(topic.clone()) else {
            return self.charge(now, key, Offence::Topics);
        };
        let Some(entry) = self.topics.get_mut(&topic) else { return };
        if entry.subscribed.insert(key) && entry.joined {
            let (peer, topic) = (peer.id, topic.clone());
            self.outputs.push_back(Output::Peer { peer, topic, here: true });
        }
        // Its turn comes after those who are here already.
        entry.told.entry(key).or_insert(now);
        if !entry.joined {
            return;
        }
        if is_news && peer.announced.insert(topic.clone()) {
            let peer = peer.id;
            self.outputs.push_back(Output::Subscribed { peer, topic: topic.clone() });
        }
        let entry = &self.topics[&topic];
        if entry.mesh.len() < self.config.low && self.may_graft(now, key, &topic) {
            self.graft(now, key, &topic);
        }
    }

    pub(super) fn on_graft(&mut self, now: Duration, key: PeerKey, topic: Arc<str>) {
        let Some(entry) = self.topics.get(&topic) else {
            // Whoever makes up topics gets no answer, as in Go.
            return self.count("graft-of-unknown-topic", 1);
        };
        if !entry.joined {
            // It has not heard yet that the topic was left.
            return;
        }
        if entry.mesh.contains(&key) {
            return;
        }
        let full = entry.mesh.len() >= self.config.high;
        let Some(peer) = self.peers.get_mut(&key) else { return };
        // A link that the peer itself took back may come early by as much as
        // its word was under way.
        let backoff = peer.backoff.get(&topic).copied();
        let early = backoff.filter(|b| b.ours && now + config::SLACK < b.until);
        if let Some(early) = early {
            self.prune(now, key, &topic, self.config.backoff);
            if early.said {
                return self.charge(now, key, Offence::Graft);
            }
            self.refused(now, key, &topic);
            return self.count("graft-in-former-backoff", 1);
        }
        if full && !peer.outbound {
            self.refused(now, key, &topic);
            return self.prune(now, key, &topic, self.config.backoff);
        }
        peer.backoff.remove(&topic);
        peer.outbox.no_link(&topic);
        if let Some(entry) = self.topics.get_mut(&topic) {
            entry.link(now, key);
        }
    }

    /// A peer that may have nobody else is refused a link: it is offered all there
    /// is.
    fn refused(&mut self, now: Duration, key: PeerKey, topic: &Arc<str>) {
        if let Some(entry) = self.topics.get_mut(topic) {
            entry.refused.insert(key, now + self.config.backoff);
        }
    }

    pub(super) fn on_prune(
        &mut self,
        now: Duration,
        key: PeerKey,
        topic: Arc<str>,
        backoff: Option<Duration>,
    ) {
        let Some(entry) = self.topics.get_mut(&topic) else {
            return self.charge(now, key, Offence::Prune);
        };
        entry.mesh.remove(&key);
        let backoff = backoff.unwrap_or(self.config.backoff).min(config::MAX_BACKOFF);
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.outbox.no_graft(&topic);
            let stands = peer.backoff.get(&topic).is_some_and(|b| b.ours && now < b.until);
            if !stands {
                let until = now + backoff;
                peer.backoff.insert(topic, Backoff { until, ours: false, said: true });
            }
        }
    }

    /// Whether a link with a peer can be asked for.
    pub(super) fn may_graft(&self, now: Duration, key: PeerKey, topic: &Arc<str>) -> bool {
        self.peers.get(&key).is_some_and(|peer| !peer.closing && !peer.backs_off(topic, now))
            && self.topics.get(topic).is_some_and(|entry| !entry.mesh.contains(&key))
    }

    pub(super) fn graft(&mut self, now: Duration, key: PeerKey, topic: &Arc<str>) {
        if let Some(entry) = self.topics.get_mut(topic) {
            entry.link(now, key);
        }
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.outbox.link(topic, None);
        }
        self.schedule(now, key);
    }

    pub(super) fn prune(
        &mut self,
        now: Duration,
        key: PeerKey,
        topic: &Arc<str>,
        backoff: Duration,
    ) {
        if let Some(entry) = self.topics.get_mut(topic) {
            entry.unlink(key);
        }
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.outbox.link(topic, Some(backoff));
            let until = now + backoff;
            peer.backoff.insert(topic.clone(), Backoff { until, ours: true, said: true });
        }
        self.schedule(now, key);
    }

    /// Looks after all topics: their links, and what is offered.
    pub(super) fn tend_topics(&mut self, now: Duration) {
        self.topics.retain(|_, topic| {
            if topic.fanout_until <= now {
                topic.fanout.clear();
            }
            topic.joined || topic.until > now || topic.fanout_until > now
        });
        let joined = self.topics.iter().filter(|(_, topic)| topic.joined);
        let joined: Vec<_> = joined.map(|(topic, _)| topic.clone()).collect();
        for topic in joined {
            self.rotate(now, &topic);
            self.tend(now, &topic);
            self.offer(now, &topic);
        }
    }

    /// Makes links where there are too few, and takes some back where there are
    /// too many.
    fn tend(&mut self, now: Duration, topic: &Arc<str>) {
        let Some(entry) = self.topics.get(topic) else { return };
        let links = entry.mesh.len();
        // One more while one is replaced.
        if links > self.config.high + usize::from(entry.swap.is_some()) {
            return self.thin(now, topic);
        }
        let few = links < self.config.low;
        // One that this node chose itself: who connects to it can't be all it hears.
        let lacks_outbound = links > 0 && !entry.mesh.iter().any(|key| self.is_outbound(key));
        if !few && !lacks_outbound {
            return;
        }
        let open = entry.subscribed.iter().filter(|key| self.may_graft(now, **key, topic));
        let mut open: Vec<_> = open.copied().collect();
        open.shuffle(&mut self.rng);
        if lacks_outbound && let Some(outbound) = open.iter().position(|key| self.is_outbound(key))
        {
            open.swap(0, outbound);
        } else if !few {
            return;
        }
        open.truncate(if few { self.config.degree.saturating_sub(links) } else { 1 });
        for key in open {
            self.graft(now, key, topic);
        }
    }

    pub(super) fn is_outbound(&self, key: &PeerKey) -> bool {
        self.peers.get(key).is_some_and(|peer| peer.outbound)
    }

    fn thin(&mut self, now: Duration, topic: &Arc<str>) {
        let Some(entry) = self.topics.get(topic) else { return };
        let mut links: Vec<_> = entry.mesh.iter().copied().collect();
        links.shuffle(&mut self.rng);
        if let Some(outbound) = links.iter().position(|key| self.is_outbound(key)) {
            links.swap(0, outbound);
        }
        for key in links.split_off(self.config.high) {
            self.prune(now, key, topic, self.config.backoff);
        }
    }

    /// The peers to whom is published on a topic that this node has not joined.
    pub(super) fn fanout(&mut self, now: Duration, topic: &str) -> Vec<PeerKey> {
        let topic: Arc<str> = topic.into();
        if !self.topics.contains_key(&topic) {
            let subscribed = self.peers.iter().filter(|(_, peer)| peer.topics.contains(&topic));
            let subscribed = subscribed.map(|(key, _)| *key).collect();
            let fanout_until = now + config::FANOUT;
            let entry = Topic { subscribed, fanout_until, ..Topic::default() };
            self.topics.insert(topic.clone(), entry);
            self.limit_topics();
        }
        let Some(entry) = self.topics.get_mut(&topic) else { return Vec::new() };
        entry.fanout_until = now + config::FANOUT;
        let missing = self.config.degree.saturating_sub(entry.fanout.len());
        let others = entry.subscribed.iter().filter(|key| !entry.fanout.contains(key));
        let more = others.copied().sample(&mut self.rng, missing);
        entry.fanout.extend(more);
        entry.fanout.iter().copied().collect()
    }

    /// Forgets topics that are not joined, if they are too many: those first
    /// that would be forgotten first.
    fn limit_topics(&mut self) {
        let loose = || self.topics.iter().filter(|(_, topic)| !topic.joined);
        if loose().count() <= config::MAX_LOOSE_TOPICS {
            return;
        }
        let first = loose().min_by_key(|(_, topic)| topic.until.max(topic.fanout_until));
        if let Some(topic) = first.map(|(topic, _)| topic.clone()) {
            self.topics.remove(&topic);
            self.count("too-many-loose-topics", 1);
        }
    }
}
