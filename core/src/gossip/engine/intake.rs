//! Messages, from their arrival to the check of their signatures.
//!
//! What the service of a topic has no time for yet waits here, unchecked: that
//! much of a topic is under check or waits for a verdict, and no more. So a flood
//! costs who brings it: what its queue has no room for is not known, and comes
//! again with another's copy, or is asked for when it is offered.

use super::{
    CheckId, Engine, Output,
    checks::Copy,
    config,
    peer::{Peer, PeerKey},
    queues::Waiting,
};
use crate::pubsub::signed::SignedMessage;
use std::time::Duration;

impl Engine {
    pub(super) fn on_message(&mut self, key: PeerKey, message: SignedMessage) {
        if self.topics.get(message.topic()).is_none_or(|topic| !topic.joined) {
            return self.count("topic-not-joined", 1);
        }
        let id = message.id();
        let asked = self.wants.came(id, key);
        if self.known.contains(id) {
            self.has(id, key);
            // Both had it at about the same time.
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.outbox.withdraw(id);
            }
            return;
        }
        let bytes = message.encoded().len();
        let check = match self.checks.compare(&message, key) {
            Copy::Refused => return self.count("second-copy", 1),
            // It is taken in already: its turn comes the sooner.
            copy @ (Copy::Same { waits } | Copy::Crowded { waits }) => {
                if matches!(copy, Copy::Crowded { .. }) {
                    self.count("too-many-senders", 1);
                }
                match waits {
                    Some(check) if self.peer_has_room(key, bytes) => check,
                    _ => return,
                }
            }
            Copy::New if self.make_room(key, bytes) => self.checks.add(message.clone(), key, asked),
            Copy::New => return self.count("too-many-waiting", 1),
        };
        self.queue(message.topic(), key, Waiting { check, bytes });
    }

    fn peer_has_room(&self, key: PeerKey, bytes: usize) -> bool {
        self.peers.get(&key).is_some_and(|peer| peer.has_room(bytes))
    }

    /// Whether another message of a peer can wait. If there is too much in all,
    /// who has the most waiting loses what he sent last.
    fn make_room(&mut self, key: PeerKey, bytes: usize) -> bool {
        if !self.peer_has_room(key, bytes) {
            return false;
        }
        while !self.checks.has_room(bytes) {
            let waiting = |peer: &Peer| peer.waiting_bytes;
            let most = self.peers.iter().max_by_key(|(_, peer)| waiting(peer));
            let Some((&most, peer)) = most else { return false };
            let own = self.peers.get(&key).map_or(0, waiting);
            if most == key || waiting(peer) <= own + bytes {
                return false;
            }
            self.drop_last(most);
        }
        true
    }

    /// Takes the last message out of the longest queue of a peer.
    fn drop_last(&mut self, key: PeerKey) {
        let topics = self.topics.values_mut();
        let longest = topics.max_by_key(|topic| topic.queues.len(key));
        let last = longest.and_then(|topic| topic.queues.pop_last(key));
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Some(last) = last else {
            (peer.waiting, peer.waiting_bytes) = (0, 0);
            return;
        };
        peer.waited(last);
        if self.checks.unqueued(last.check) {
            self.checks.remove(last.check);
            self.count("too-many-waiting", 1);
        }
    }

    fn queue(&mut self, topic: &str, key: PeerKey, waiting: Waiting) {
        let Some((topic, _)) = self.topics.get_key_value(topic) else { return };
        let topic = topic.clone();
        let Some(entry) = self.topics.get_mut(&topic) else { return };
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.waiting += 1;
        peer.waiting_bytes += waiting.bytes;
        self.checks.queued(waiting.check);
        entry.queues.push(key, waiting);
        if !entry.in_line {
            entry.in_line = true;
            self.turns.push_back(topic);
        }
    }

    /// Starts checks: of each topic in turn, if its service keeps up; and there,
    /// of each forwarding peer in turn.
    pub(super) fn start_checks(&mut self) {
        while self.checks.is_idle()
            && let Some(topic) = self.turns.pop_front()
        {
            let Some(entry) = self.topics.get_mut(&topic) else { continue };
            // It stands in the line again after a verdict.
            entry.in_line = false;
            if entry.busy >= config::WINDOW {
                continue;
            }
            while let Some((key, waiting)) = entry.queues.next() {
                if let Some(peer) = self.peers.get_mut(&key) {
                    peer.waited(waiting);
                }
                let check = waiting.check;
                if let Some(message) = self.checks.start(check) {
                    entry.queues.pass(key);
                    entry.busy += 1;
                    self.outputs.push_back(Output::Verify { check, message });
                    break;
                }
            }
            if !entry.queues.is_empty() {
                entry.in_line = true;
                self.turns.push_back(topic);
            }
        }
    }

    /// A message of a topic is done with.
    pub(super) fn done_with(&mut self, topic: &str) {
        let Some(entry) = self.topics.get_mut(topic) else { return };
        entry.busy = entry.busy.saturating_sub(1);
        if !entry.in_line && !entry.queues.is_empty() {
            entry.in_line = true;
            self.turns.push_back(topic.into());
        }
    }

    /// A peer is gone, and with it its queues: what waits in no other one waits in
    /// that of who else sent it, if there is room.
    pub(super) fn hand_over(&mut self, now: Duration, gone: PeerKey) {
        let mut left = Vec::new();
        for (name, topic) in &mut self.topics {
            let waiting = topic.queues.remove(gone).into_iter();
            left.extend(waiting.map(|waiting| (name.clone(), waiting)));
        }
        for (topic, waiting) in left {
            let Waiting { check, .. } = waiting;
            if !self.checks.unqueued(check) {
                continue;
            }
            // None of those whose queue is full: the next that they send has its room.
            let has_room = |key: &PeerKey| self.peer_has_room(*key, waiting.bytes);
            let other = self
                .checks
                .get(check)
                .and_then(|check| check.also.iter().rev().copied().find(has_room));
            match other {
                Some(other) => self.queue(&topic, other, waiting),
                None => self.forget_check(now, check),
            }
        }
        self.start_checks();
    }

    fn forget_check(&mut self, now: Duration, check: CheckId) {
        if let Some(check) = self.checks.remove(check) {
            self.ask_next(now, check.message.id());
        }
    }

    /// Another receiver is in the place of a topic's: what the former one was given
    /// gets no verdict any more.
    pub fn renew(&mut self, topic: &str) {
        let before = self.awaiting.len();
        self.awaiting.retain(|_, awaiting| awaiting.message.topic() != topic);
        for _ in self.awaiting.len()..before {
            self.done_with(topic);
        }
        self.start_checks();
    }

    /// A topic was left: nothing of it is looked at any more.
    pub(super) fn forget_waiting(&mut self, topic: &str) {
        let before = self.awaiting.len();
        self.awaiting.retain(|_, awaiting| awaiting.message.topic() != topic);
        let Some(entry) = self.topics.get_mut(topic) else { return };
        // Those that are under check still count.
        entry.busy = entry.busy.saturating_sub(before - self.awaiting.len());
        for (key, waiting) in entry.queues.take() {
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.waited(waiting);
            }
            if self.checks.unqueued(waiting.check) {
                self.checks.remove(waiting.check);
            }
        }
    }
}
