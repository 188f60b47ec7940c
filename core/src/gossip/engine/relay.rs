//! Messages, from the check of their signatures to whom they are passed on.

use super::{
    CheckId, Engine, Output, PublishError, checks::Check, config, known::Forgotten,
    offence::Offence, peer::PeerKey,
};
use crate::{
    gossip::{id::MessageId, wire::MAX_MESSAGE},
    pubsub::{Verdict, signed::SignedMessage},
};
use rand::seq::SliceRandom as _;
use smallvec::SmallVec;
use std::time::Duration;

/// A good message whose receiver has not said yet what it thinks of it.
pub(super) struct Awaiting {
    pub(super) message: SignedMessage,
    /// Who brought it first, and whether it had been asked for it.
    first: (PeerKey, bool),
    holders: SmallVec<[PeerKey; 8]>,
}

impl Engine {
    /// Publishes a message, which is signed already, as its own or another
    /// node's. To how many peers.
    ///
    /// # Errors
    /// If it is too long, or there is nobody to send it to.
    pub fn publish(
        &mut self,
        now: Duration,
        message: SignedMessage,
    ) -> Result<usize, PublishError> {
        let to = self.recipients(now, &message)?;
        Ok(self.publish_to(now, message, to))
    }

    /// The same, unless so much waits for one of those peers that something would
    /// be lost: then [`Output::Room`] says when to try again. Peers that take
    /// nothing are not waited for.
    ///
    /// # Errors
    /// `NoRoom`, and as of [`publish`](Self::publish).
    pub fn publish_if_room(
        &mut self,
        now: Duration,
        message: SignedMessage,
    ) -> Result<usize, PublishError> {
        let to = self.recipients(now, &message)?;
        let bytes = message.encoded().len();
        let is_crowded = |key| self.peers.get(key).is_some_and(|peer| peer.is_crowded(bytes, now));
        if to.iter().any(is_crowded) {
            self.awaits_room = true;
            // Should they get stuck, it is heartbeats that tell of room.
            self.rouse();
            return Err(PublishError::NoRoom);
        }
        Ok(self.publish_to(now, message, to))
    }

    /// To whom a message of this node's goes.
    fn recipients(
        &mut self,
        now: Duration,
        message: &SignedMessage,
    ) -> Result<Vec<PeerKey>, PublishError> {
        self.catch_up(now);
        if message.encoded().len() > MAX_MESSAGE {
            return Err(PublishError::TooLarge);
        }
        let topic = message.topic();
        let to = match self.topics.get(topic).filter(|topic| topic.joined) {
            Some(entry) => {
                let mut to: Vec<_> = entry.mesh.iter().copied().collect();
                // One more at least: who is in the mesh may keep it to itself.
                let more = self.config.degree.saturating_sub(to.len()).max(1);
                let outside = entry.subscribed.difference(&entry.mesh).copied();
                let mut outside: Vec<_> = outside.collect();
                outside.shuffle(&mut self.rng);
                // First of all one that this node chose.
                if let Some(chosen) = outside.iter().position(|key| self.is_outbound(key)) {
                    outside.swap(0, chosen);
                }
                to.extend(outside.iter().take(more));
                to
            }
            None => self.fanout(now, topic),
        };
        if to.is_empty() { Err(PublishError::NoPeers) } else { Ok(to) }
    }

    fn publish_to(&mut self, now: Duration, message: SignedMessage, to: Vec<PeerKey>) -> usize {
        let count = to.len();
        self.know(now, message.id());
        self.wants.done(message.id());
        self.pass_on(now, message, to, SmallVec::new());
        count
    }

    /// Sends a message to one peer, if it is subscribed to the topic.
    pub fn tell(&mut self, now: Duration, peer: &libp2p::PeerId, message: SignedMessage) {
        self.catch_up(now);
        let Some(&key) = self.keys.get(peer) else { return };
        let is_subscribed = |peer: &super::Peer| peer.topics.contains(message.topic());
        if message.encoded().len() > MAX_MESSAGE || !self.peers.get(&key).is_some_and(is_subscribed)
        {
            return;
        }
        self.know(now, message.id());
        self.wants.done(message.id());
        self.store.has(message.id(), key);
        self.send(now, key, message);
    }

    /// A peer has a message that is known here.
    pub(super) fn has(&mut self, id: &MessageId, key: PeerKey) {
        if let Some(awaiting) = self.awaiting.get_mut(id)
            && !awaiting.holders.contains(&key)
        {
            awaiting.holders.push(key);
        }
        // It may be there from before it was forgotten, and came once more.
        self.store.has(id, key);
    }

    /// A signature was checked.
    pub fn verified(&mut self, now: Duration, check: CheckId, good: bool) {
        self.catch_up(now);
        if let Some(check) = self.checks.remove(check) {
            match good {
                true => self.on_good(now, check),
                false => self.on_bad(now, check),
            }
        }
        self.start_checks();
    }

    fn on_bad(&mut self, now: Duration, check: Check) {
        if check.message.is_beyond_doubt() {
            // Each has handed on what it should have checked.
            for key in check.also.into_iter().chain([check.by]) {
                self.charge(now, key, Offence::Signature);
            }
        } else {
            self.count("unverifiable", 1);
        }
        let id = check.message.id();
        if !self.checks.contains(id) {
            self.ask_next(now, id);
        }
        self.done_with(check.message.topic());
    }

    fn on_good(&mut self, now: Duration, check: Check) {
        let Check { message, by, asked, also, .. } = check;
        let id = message.id().clone();
        // One that waits for its verdict for long is not known any more.
        if self.known.contains(&id) || self.awaiting.contains_key(&id) {
            // Its source has signed two under one number: the first one counts.
            self.count("number-used-twice", 1);
            return self.done_with(message.topic());
        }
        self.know(now, &id);
        self.wants.done(&id);
        for copy in self.checks.waiting(&id) {
            // It is passed over when its turn comes.
            self.checks.remove(copy);
        }
        let mut holders: SmallVec<[PeerKey; 8]> = also.into_iter().collect();
        holders.push(by);
        if message.encoded().len() >= config::LARGE {
            self.not_wanted(now, message.topic(), &id, &holders);
        }
        // Of those who sent it, one who is still here.
        let here = holders.iter().rev().find_map(|key| self.peers.get(key));
        let from = here.map_or_else(|| message.source(), |peer| peer.id);
        let first = (by, asked);
        self.awaiting.insert(id, Awaiting { message: message.clone(), first, holders });
        self.outputs.push_back(Output::Deliver { message, from });
    }

    /// What the receiver of a message thinks of it.
    pub fn verdict(&mut self, now: Duration, id: &MessageId, verdict: Verdict) {
        self.catch_up(now);
        let Some(Awaiting { message, first, holders }) = self.awaiting.remove(id) else { return };
        self.done_with(message.topic());
        self.start_checks();
        if verdict != Verdict::Accept {
            return;
        }
        let Some(entry) = self.topics.get_mut(message.topic()).filter(|topic| topic.joined) else {
            return;
        };
        let (first, asked) = first;
        // Who is not in the mesh and sends unasked may want to seem of more use.
        if asked || entry.mesh.contains(&first) {
            entry.brought(first);
        }
        let to = entry.mesh.iter().filter(|key| !holders.contains(key)).copied().collect();
        self.pass_on(now, message, to, holders);
    }

    fn pass_on(
        &mut self,
        now: Duration,
        message: SignedMessage,
        to: Vec<PeerKey>,
        mut holders: SmallVec<[PeerKey; 8]>,
    ) {
        let id = message.id().clone();
        for key in to {
            let unwanted = |peer: &super::Peer| peer.unwanted.contains(&id);
            if !self.peers.get(&key).is_some_and(unwanted) {
                self.send(now, key, message.clone());
            }
            holders.push(key);
        }
        self.rouse_for_offers(message.topic(), &holders);
        let forgotten = self.store.insert(now, message, holders);
        self.count_some("too-many-kept", forgotten);
    }

    /// An id is known to be good.
    fn know(&mut self, now: Duration, id: &MessageId) {
        let Forgotten { of_all, of_source } = self.known.insert(now, id);
        self.count_some("too-many-known", of_all);
        self.count_some("too-many-known-of-source", of_source);
    }

    pub(super) fn send(&mut self, now: Duration, key: PeerKey, message: SignedMessage) {
        let quick = self.topics.get(message.topic()).is_some_and(|topic| topic.quick);
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.hurry |= quick;
        let lost = peer.outbox.message(message);
        if lost > 0 {
            self.counts.dropped.get_or_create(&[("queue", "connection")]).inc_by(lost);
        }
        self.schedule(now, key);
    }
}
