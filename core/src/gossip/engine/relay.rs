//! Messages, from their arrival to whom they are passed on.

use super::{
    CheckId, Engine, Output, PublishError,
    checks::{Check, Copy},
    config,
    offence::Offence,
    peer::PeerKey,
};
use crate::{
    gossip::{id::MessageId, wire::MAX_MESSAGE},
    pubsub::{Verdict, signed::SignedMessage},
};
use rand::seq::SliceRandom as _;
use smallvec::SmallVec;
use std::{collections::VecDeque, time::Duration};

/// A good message whose receiver has not said yet what it thinks of it.
pub(super) struct Awaiting {
    message: SignedMessage,
    holders: SmallVec<[PeerKey; 8]>,
}

impl Engine {
    /// The most messages that wait for a verdict. Those before are forgotten.
    const AWAITING: usize = 16_384;

    /// Publishes a message, which is signed already, as its own or another
    /// node's.
    ///
    /// # Errors
    /// If it is too long, or there is nobody to send it to.
    pub fn publish(&mut self, now: Duration, message: SignedMessage) -> Result<(), PublishError> {
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
        if to.is_empty() {
            return Err(PublishError::NoPeers);
        }
        self.known.insert(now, message.id());
        self.wants.done(message.id());
        self.pass_on(now, message, to, SmallVec::new());
        Ok(())
    }

    /// Sends a message to one peer, if it is subscribed to the topic.
    pub fn tell(&mut self, now: Duration, peer: &libp2p::PeerId, message: SignedMessage) {
        let Some(&key) = self.keys.get(peer) else { return };
        let is_subscribed = |peer: &super::Peer| peer.topics.contains(message.topic());
        if message.encoded().len() > MAX_MESSAGE || !self.peers.get(&key).is_some_and(is_subscribed)
        {
            return;
        }
        self.known.insert(now, message.id());
        self.store.has(message.id(), key);
        self.send(now, key, message);
    }

    pub(super) fn on_message(&mut self, key: PeerKey, message: SignedMessage) {
        if self.topics.get(message.topic()).is_none_or(|topic| !topic.joined) {
            return self.count("topic-not-joined", 1);
        }
        let id = message.id();
        self.wants.came(id, key);
        if self.known.contains(id) {
            self.has(id, key);
            return;
        }
        match self.checks.compare(&message, key) {
            Copy::Same => return,
            Copy::Refused => return self.count("second-copy", 1),
            Copy::New => {}
        }
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let bytes = message.encoded().len();
        let fits = peer.waiting.len() < config::MAX_WAITING
            && (peer.waiting_bytes + bytes <= config::MAX_WAITING_BYTES || peer.waiting.is_empty())
            && self.checks.has_room(bytes);
        if !fits {
            return self.count("too-many-waiting", 1);
        }
        if peer.waiting.is_empty() {
            self.turns.push_back(key);
        }
        peer.waiting.push_back(self.checks.add(message, key));
        peer.waiting_bytes += bytes;
    }

    /// A peer has a message that is known here.
    fn has(&mut self, id: &MessageId, key: PeerKey) {
        match self.awaiting.get_mut(id) {
            Some(awaiting) if !awaiting.holders.contains(&key) => awaiting.holders.push(key),
            _ => self.store.has(id, key),
        }
    }

    /// Starts checks, one of each forwarding peer in turn.
    pub(super) fn start_checks(&mut self) {
        while self.checks.is_idle()
            && let Some(key) = self.turns.pop_front()
        {
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            let Some(check) = peer.waiting.pop_front() else { continue };
            if !peer.waiting.is_empty() {
                self.turns.push_back(key);
            }
            if let Some(message) = self.checks.start(check) {
                peer.waiting_bytes = peer.waiting_bytes.saturating_sub(message.encoded().len());
                self.outputs.push_back(Output::Verify { check, message });
            }
        }
    }

    /// What a peer that is gone has sent waits in the queues of others who sent
    /// the same.
    pub(super) fn hand_over(&mut self, now: Duration, waiting: VecDeque<CheckId>) {
        for check in waiting {
            let id = self.checks.id_of(check);
            match self.checks.hand_over(check, |key| self.peers.contains_key(&key)) {
                Some((key, bytes)) => {
                    let Some(peer) = self.peers.get_mut(&key) else { continue };
                    if peer.waiting.is_empty() {
                        self.turns.push_back(key);
                    }
                    // Over its bound, if need be: each was sent by this peer too.
                    peer.waiting.push_back(check);
                    peer.waiting_bytes += bytes;
                }
                None => {
                    if let Some(id) = id {
                        self.ask_next(now, &id);
                    }
                }
            }
        }
        self.start_checks();
    }

    /// A signature was checked.
    pub fn verified(&mut self, now: Duration, check: CheckId, good: bool) {
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
    }

    fn on_good(&mut self, now: Duration, check: Check) {
        let Check { message, by, also, .. } = check;
        let id = message.id().clone();
        if self.known.contains(&id) {
            // Its source has signed two under one number: the first one counts.
            return self.count("number-used-twice", 1);
        }
        self.known.insert(now, &id);
        self.wants.done(&id);
        for copy in self.checks.waiting(&id) {
            if let Some(copy) = self.checks.remove(copy)
                && let Some(peer) = self.peers.get_mut(&copy.by)
            {
                let bytes = copy.message.encoded().len();
                peer.waiting_bytes = peer.waiting_bytes.saturating_sub(bytes);
            }
        }
        let mut holders: SmallVec<[PeerKey; 8]> = also.into_iter().collect();
        holders.push(by);
        if message.encoded().len() >= config::LARGE {
            self.not_wanted(now, message.topic(), &id, &holders);
        }
        // Of those who sent it, one who is still here.
        let here = holders.iter().rev().find_map(|key| self.peers.get(key));
        let from = here.map_or_else(|| message.source(), |peer| peer.id);
        self.await_verdict(id, Awaiting { message: message.clone(), holders });
        self.outputs.push_back(Output::Deliver { message, from });
    }

    fn await_verdict(&mut self, id: MessageId, awaiting: Awaiting) {
        if self.awaiting.len() >= Self::AWAITING {
            self.count("verdict-overdue", self.awaiting.len() as u64);
            self.awaiting.clear();
        }
        self.awaiting.insert(id, awaiting);
    }

    /// What the receiver of a message thinks of it.
    pub fn verdict(&mut self, now: Duration, id: &MessageId, verdict: Verdict) {
        let Some(Awaiting { message, holders }) = self.awaiting.remove(id) else { return };
        if verdict != Verdict::Accept {
            return;
        }
        let Some(entry) = self.topics.get(message.topic()).filter(|topic| topic.joined) else {
            return;
        };
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
        self.store.insert(now, message, holders);
    }

    pub(super) fn send(&mut self, now: Duration, key: PeerKey, message: SignedMessage) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let lost = peer.outbox.message(message);
        if lost > 0 {
            self.counts.dropped.get_or_create(&[("queue", "connection")]).inc_by(lost);
        }
        self.schedule(now, key);
    }
}
