//! Topics: who has joined them, and the links of the mesh.

use super::{Expected, Model, Peer, SECOND};
use crate::gossip::engine::Offence;
use libp2p::PeerId;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A topic that this node has joined, has left lately, or publishes on.
#[derive(Default)]
pub(super) struct Topic {
    pub(super) joined: bool,
    /// When it was left.
    pub(super) left: Option<Duration>,
    /// Until when it is remembered if it is not joined.
    pub(super) until: Duration,
    pub(super) forgotten: bool,
    /// When a link was last replaced, or the topic joined.
    judged: Duration,
    /// Whether one is being replaced.
    swaps: bool,
    /// Who may have been refused a link, and until when it has more offers for that.
    pub(super) refused: BTreeMap<PeerId, Duration>,
    pub(super) mesh: BTreeSet<PeerId>,
}

impl Peer {
    fn backs_off(&self, topic: &str, now: Duration) -> bool {
        self.backoff.get(topic).is_some_and(|(until, ..)| now < *until)
    }
}

impl Model {
    pub(super) fn is_joined(&self, topic: &str) -> bool {
        self.topics.get(topic).is_some_and(|topic| topic.joined)
    }

    pub(super) fn mesh(&self, topic: &str) -> BTreeSet<PeerId> {
        self.topics.get(topic).map(|topic| topic.mesh.clone()).unwrap_or_default()
    }

    pub(super) fn subscribers(&self, topic: &str) -> BTreeSet<PeerId> {
        let all = self.peers.iter().filter(|(_, peer)| peer.topics.contains_key(topic));
        all.map(|(id, _)| *id).collect()
    }

    /// A new connection is told what this node has joined; one in the place of
    /// another also what it has left since.
    pub(super) fn greet(&mut self, now: Duration, id: PeerId, again: bool) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        for (name, topic) in &self.topics {
            let left_lately = again && topic.left.is_some_and(|at| now < at + 60 * SECOND);
            if topic.joined || left_lately {
                peer.due.subscription(now, name, topic.joined);
            }
        }
    }

    pub(super) fn join(&mut self, now: Duration, name: &str) {
        if self.is_joined(name) {
            return;
        }
        let topic = self.topics.entry(name.into()).or_default();
        (topic.joined, topic.judged, topic.swaps) = (true, now, false);
        for (id, peer) in &mut self.peers {
            peer.due.subscription(now, name, true);
            if peer.topics.contains_key(name) {
                self.expected.push(Expected::Subscribed { peer: *id, topic: name.into() });
            }
        }
    }

    pub(super) fn leave(&mut self, now: Duration, name: &str) {
        if !self.is_joined(name) {
            return;
        }
        for id in self.mesh(name) {
            self.unlink(now, id, name, 10 * SECOND);
        }
        let topic = self.topics.entry(name.into()).or_default();
        (topic.joined, topic.left) = (false, Some(now));
        topic.until = topic.until.max(now + 60 * SECOND);
        self.forget_waiting(name);
        self.peers.values_mut().for_each(|peer| peer.due.subscription(now, name, false));
    }

    pub(super) fn on_subscription(&mut self, now: Duration, id: PeerId, name: &str, joins: bool) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if !joins {
            peer.topics.remove(name);
            peer.due.no_graft(name);
            let published = self.publications.iter_mut().filter(|one| one.message.topic() == name);
            published.for_each(|one| one.without(id));
            return self.topics.get_mut(name).map_or((), |topic| _ = topic.mesh.remove(&id));
        }
        let is_news = peer.topics.insert(name.into(), true) != Some(true);
        if peer.topics.len() > 1000 || peer.topics.keys().map(String::len).sum::<usize>() > 65_536 {
            return self.charge(now, id, Offence::Topics);
        }
        let Some(topic) = self.topics.get(name).filter(|topic| topic.joined) else { return };
        if is_news && peer.announced.insert(name.into()) {
            self.expected.push(Expected::Subscribed { peer: id, topic: name.into() });
        }
        if topic.mesh.len() < self.config.low && self.may_link(now, id, name) {
            self.link(now, id, name);
        }
    }

    pub(super) fn on_graft(&mut self, now: Duration, id: PeerId, name: &str) {
        let Some(topic) = self.topics.get_mut(name).filter(|topic| topic.joined) else { return };
        if topic.mesh.contains(&id) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let backoff = peer.backoff.get(name).copied();
        // A second early is none too early: some count in seconds.
        let early = backoff.filter(|(until, ours, _)| *ours && now + SECOND < *until);
        topic.refused.insert(id, now + self.config.backoff);
        if early.is_some() || topic.mesh.len() >= self.config.high && !peer.outbound {
            self.unlink(now, id, name, self.config.backoff);
            // One that has restarted knows of none.
            if early.is_some_and(|(.., said)| said) {
                self.charge(now, id, Offence::Graft);
            }
        } else {
            topic.mesh.insert(id);
            peer.backoff.remove(name);
            peer.due.no_link(name);
        }
    }

    pub(super) fn on_prune(&mut self, now: Duration, id: PeerId, name: &str, of: Option<Duration>) {
        let Some(topic) = self.topics.get_mut(name) else {
            return self.charge(now, id, Offence::Prune);
        };
        topic.mesh.remove(&id);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.due.no_graft(name);
        let until = now + of.unwrap_or(self.config.backoff).min(3600 * SECOND);
        // What this node said stands.
        if !peer.backoff.get(name).is_some_and(|(until, ours, _)| *ours && now < *until) {
            peer.backoff.insert(name.into(), (until, false, true));
        }
    }

    fn may_link(&self, now: Duration, id: PeerId, name: &str) -> bool {
        let peer = &self.peers[&id];
        !peer.closing && !peer.backs_off(name, now) && !self.topics[name].mesh.contains(&id)
    }

    fn link(&mut self, now: Duration, id: PeerId, name: &str) {
        self.topics.entry(name.into()).or_default().mesh.insert(id);
        self.peers.entry(id).and_modify(|peer| peer.due.link(now, name, None));
    }

    fn unlink(&mut self, now: Duration, id: PeerId, name: &str, backoff: Duration) {
        self.topics.entry(name.into()).or_default().mesh.remove(&id);
        self.peers.entry(id).and_modify(|peer| {
            peer.due.link(now, name, Some(backoff));
            peer.backoff.insert(name.into(), (now + backoff, true, true));
        });
    }

    /// The engine has looked after its links: whether it did so within the rules.
    pub(super) fn tended(&mut self, now: Duration, name: &str, after: &BTreeSet<PeerId>) {
        let before = self.mesh(name);
        let may = |id: &PeerId| self.may_link(now, *id, name);
        let open: BTreeSet<_> = self.subscribers(name).into_iter().filter(may).collect();
        let chosen = |of: &BTreeSet<PeerId>| of.iter().any(|id| self.peers[id].outbound);
        let (low, high, degree) = (self.config.low, self.config.high, self.config.degree);
        let (made, ended): (BTreeSet<_>, BTreeSet<_>) = (after - &before, &before - after);
        assert!(made.is_subset(&open), "a link is made with whom it must not be");
        // One that brings nothing may be replaced, once a minute or so: first there
        // is a new one, and a second later not the old one any more.
        let topic = self.topics.entry(name.into()).or_default();
        let may_swap = now >= topic.judged + 45 * SECOND;
        let (swap, swapped) = (usize::from(may_swap), usize::from(topic.swaps));
        topic.swaps = may_swap && !made.is_empty();
        let stays = &before - &ended;
        if before.len() > high + swapped {
            assert!(made.len() <= swap && after.len() <= high + swap, "{} left", after.len());
        } else {
            // Or the new one has refused, and others came meanwhile.
            let may_thin = before.len() > high && after.len() >= degree;
            assert!(ended.len() <= swapped || may_thin, "a link is ended without need");
            let few = before.len() < low + swapped;
            let most = if few { degree.saturating_sub(stays.len()) } else { 1 };
            assert!(made.len() <= most + swap, "links are made without need");
            let lacks = few || may_swap || !chosen(&stays);
            assert!(lacks || made.is_empty(), "a link is made without need");
            let enough = if may_swap { low } else { degree };
            let enough = enough.min(stays.len() + open.len());
            assert!(before.len() >= low || after.len() >= enough, "of {} open ones", open.len());
            if made.len() > most {
                topic.judged = now;
            }
        }
        assert!(chosen(after) || !chosen(&before), "no link left that this node chose");
        if !before.is_empty() && before.len() <= high && !chosen(&before) && chosen(&open) {
            assert!(chosen(after), "no link with a peer that this node chose");
        }
        made.iter().for_each(|id| self.link(now, *id, name));
        ended.iter().for_each(|id| self.unlink(now, *id, name, self.config.backoff));
    }
}
