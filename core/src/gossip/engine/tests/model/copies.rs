//! Messages, from their arrival to those they are passed on to.

use super::{Expected, Key, Model, SECOND, millis};
use crate::gossip::{SignedMessage, Verdict, engine::Offence, id::MessageId};
use libp2p::PeerId;
use std::{collections::BTreeSet, time::Duration};

/// A message that is not known to be good: one for each that differs.
pub(super) struct Copy {
    pub(super) message: SignedMessage,
    /// Who has sent just this, the first one first.
    senders: Vec<Key>,
    /// Whether its signature is being checked, or is about to be.
    started: bool,
    /// Whether the engine has said so.
    told: bool,
}

/// A good message, of which nobody has said yet what it is worth.
pub(super) struct Awaiting {
    message: SignedMessage,
    holders: BTreeSet<Key>,
}

/// One that was accepted or published, for a few seconds.
pub(super) struct Kept {
    pub(super) message: SignedMessage,
    pub(super) at: Duration,
    /// When it was kept last: it may have been before.
    pub(super) last: Duration,
    /// Who has it: it sent it, said so, or was sent it.
    pub(super) holders: BTreeSet<Key>,
    /// Who asked for it, once for each time.
    pub(super) asked: Vec<Key>,
    /// Who was offered it, once for each time.
    pub(super) offered: Vec<Key>,
    /// Who may have been sent it, or offered it on a connection that is gone.
    pub(super) maybe_told: BTreeSet<Key>,
}

/// One that was published: besides the mesh, some others get it.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) message: SignedMessage,
    /// Of whom some have to get it, and how many.
    pub(super) outside: BTreeSet<PeerId>,
    pub(super) least: usize,
    pub(super) got: usize,
    at: Duration,
}

impl Publication {
    /// A peer is gone, or has left the topic: it may have been one of them.
    pub(super) fn without(&mut self, id: PeerId) {
        if self.outside.remove(&id) {
            self.least = self.least.saturating_sub(1);
        }
    }
}

/// From this size on a message is not wanted twice.
const LARGE: usize = 1024;
/// Signatures under check.
const MAX_RUNNING: usize = 256;
/// Messages of a topic that are under check or wait for a verdict: fewer than so
/// many of all topics keep nobody waiting.
const WINDOW: usize = 512;
/// Who is remembered to have sent the same copy, besides the first one.
const MAX_SENDERS: usize = 1 + 64;

impl Model {
    pub(super) fn on_message(&mut self, id: PeerId, message: &SignedMessage) {
        if !self.is_joined(message.topic()) {
            return;
        }
        let key = self.peers[&id].key;
        self.came(message.id(), key);
        if self.knows(message.id()) {
            // If it waits to be sent to the peer, it need not go.
            self.need_not_go(id, message.id());
            return self.has(message.id(), key);
        }
        let of_id = |copy: &&mut Copy| copy.message.id() == message.id();
        if self.copies.iter_mut().filter(of_id).any(|copy| copy.senders.contains(&key)) {
            return;
        }
        match self.copies.iter_mut().find(|copy| copy.message.is_copy_of(message)) {
            Some(copy) if copy.senders.len() < MAX_SENDERS => copy.senders.push(key),
            Some(_) => {}
            None => {
                let (message, senders) = (message.clone(), vec![key]);
                self.copies.push(Copy { message, senders, started: false, told: false });
            }
        }
    }

    /// A peer has a message, or does not want it.
    pub(super) fn need_not_go(&mut self, id: PeerId, message: &MessageId) {
        self.peers.entry(id).and_modify(|peer| peer.due.need_not_go(message));
        let published = self.publications.iter_mut().filter(|one| one.message.id() == message);
        published.for_each(|one| one.least = 0);
    }

    /// The topic was left: nothing of it is looked at any more.
    pub(super) fn forget_waiting(&mut self, topic: &str) {
        self.copies.retain(|copy| copy.started || copy.message.topic() != topic);
        self.awaiting.retain(|awaiting| awaiting.message.topic() != topic);
    }

    /// Whether so much of a topic is looked at that more has to wait.
    fn is_crowded(&self) -> bool {
        self.copies.len() > MAX_RUNNING || self.copies.len() + self.awaiting.len() > WINDOW
    }

    /// A peer has a message that is known here.
    pub(super) fn has(&mut self, id: &MessageId, key: Key) {
        let of_id = |awaiting: &&mut Awaiting| awaiting.message.id() == id;
        let awaiting = self.awaiting.iter_mut().find(of_id);
        awaiting.into_iter().for_each(|awaiting| _ = awaiting.holders.insert(key));
        self.keeps(id, key);
    }

    /// The same, if it was accepted.
    pub(super) fn keeps(&mut self, id: &MessageId, key: Key) {
        let kept = self.store.iter_mut().find(|kept| kept.message.id() == id);
        kept.into_iter().for_each(|kept| _ = kept.holders.insert(key));
    }

    /// What only those have sent who are gone is not checked any more, if that has
    /// not begun.
    pub(super) fn sender_gone(&mut self, now: Duration) {
        let here: BTreeSet<_> = self.peers.values().map(|peer| peer.key).collect();
        let stays = |copy: &Copy| copy.started || copy.senders.iter().any(|key| here.contains(key));
        let gone: Vec<_> = self.copies.extract_if(.., |copy| !stays(copy)).collect();
        gone.iter().for_each(|copy| self.ask_next(now, copy.message.id()));
    }

    /// Checks that can begin do, unless which ones is for the engine to choose.
    pub(super) fn start_checks(&mut self) {
        if !self.is_crowded() {
            self.copies.iter_mut().for_each(|copy| copy.started = true);
        }
    }

    /// Whether it is known which checks are running.
    pub(super) fn all_started(&self) -> bool {
        self.copies.iter().all(|copy| copy.started)
    }

    /// The engine wants a signature checked.
    pub(super) fn on_verify(&mut self, message: &SignedMessage) {
        let waits = |copy: &&mut Copy| !copy.told && copy.message.is_copy_of(message);
        let copy = self.copies.iter_mut().find(waits);
        let copy = copy.expect("a copy is checked that nobody sent, or a second time");
        (copy.started, copy.told) = (true, true);
        assert!(self.copies.iter().filter(|copy| copy.told).count() <= MAX_RUNNING);
    }

    /// Whether nothing waits that could be checked.
    pub(super) fn assert_all_told(&self) {
        let told = self.copies.iter().filter(|copy| copy.told).count();
        let most = if self.is_crowded() { 0 } else { self.copies.len() };
        assert!(told >= most, "a copy is not checked");
    }

    pub(super) fn verified(&mut self, now: Duration, message: &SignedMessage, good: bool) {
        let found =
            self.copies.iter().position(|copy| copy.told && copy.message.is_copy_of(message));
        let copy = self.copies.swap_remove(found.expect("it was begun"));
        let id = message.id();
        if !good {
            if message.is_beyond_doubt() {
                let senders = copy.senders.iter();
                senders.for_each(|key| self.charge_key(now, *key, Offence::Signature));
            }
            if !self.is_under_check(id) {
                self.ask_next(now, id);
            }
            return;
        }
        if self.knows(id) || self.awaiting.iter().any(|awaiting| awaiting.message.id() == id) {
            return;
        }
        self.learn(now, id);
        self.is_here(id);
        self.copies.retain(|copy| copy.started || copy.message.id() != id);
        if message.encoded().len() >= LARGE {
            for to in self.mesh(message.topic()) {
                let peer = self.peers.get_mut(&to).expect("who is in the mesh is here");
                if peer.takes_idontwant && !copy.senders.contains(&peer.key) {
                    peer.due.idontwant.push(id.clone());
                }
            }
        }
        let here: BTreeSet<_> = copy.senders.iter().filter_map(|key| self.peer_of(*key)).collect();
        let from = if here.is_empty() { BTreeSet::from([message.source()]) } else { here };
        self.expected.push(Expected::Deliver { message: message.clone(), from });
        let holders = copy.senders.into_iter().collect();
        self.awaiting.push(Awaiting { message: message.clone(), holders });
    }

    pub(super) fn verdict(&mut self, now: Duration, id: &MessageId, verdict: Verdict) {
        let found = self.awaiting.iter().position(|awaiting| awaiting.message.id() == id);
        let Some(Awaiting { message, holders }) = found.map(|at| self.awaiting.swap_remove(at))
        else {
            return;
        };
        if verdict == Verdict::Accept && self.is_joined(message.topic()) {
            let mut to = self.mesh(message.topic());
            to.retain(|id| !holders.contains(&self.peers[id].key));
            self.pass_on(now, &message, &to, holders);
        }
    }

    fn pass_on(
        &mut self,
        now: Duration,
        message: &SignedMessage,
        to: &BTreeSet<PeerId>,
        mut holders: BTreeSet<Key>,
    ) {
        for id in to {
            holders.insert(self.peers[id].key);
            self.send(now, *id, message);
        }
        let former = self.store.iter().position(|kept| kept.message.id() == message.id());
        let at = former.map_or(now, |at| self.store.swap_remove(at).at);
        let (message, asked, offered) = (message.clone(), Vec::new(), Vec::new());
        let maybe_told = BTreeSet::new();
        let last = now;
        self.store.push(Kept { message, at, last, holders, asked, offered, maybe_told });
    }

    /// A message is due for a peer, unless the peer has said that it doesn't want it.
    fn send(&mut self, now: Duration, id: PeerId, message: &SignedMessage) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let certain = !peer.unwanted.iter().any(|(id, _)| id == message.id());
        if !peer.refuses(now, message.id()) {
            peer.due.message(now, message, certain);
        }
    }

    /// The node publishes. Whether there is anybody to publish to.
    pub(super) fn publish(&mut self, now: Duration, message: &SignedMessage) -> bool {
        let name = message.topic();
        let joined = self.is_joined(name);
        let mesh = if joined { self.mesh(name) } else { BTreeSet::new() };
        if !joined {
            let topic = self.topics.entry(name.into()).or_default();
            topic.until = topic.until.max(now + 60 * SECOND);
        }
        let outside: BTreeSet<_> = &self.subscribers(name) - &mesh;
        if mesh.is_empty() && outside.is_empty() {
            return false;
        }
        self.learn(now, message.id());
        self.is_here(message.id());
        let holders = BTreeSet::new();
        self.pass_on(now, message, &mesh, holders);
        let kept = self.store.last_mut().expect("it was kept");
        for id in &outside {
            let peer = self.peers.get_mut(id).expect("who is subscribed is here");
            peer.due.maybe_message(message);
            kept.maybe_told.insert(peer.key);
        }
        let more = self.config.degree.saturating_sub(mesh.len()).max(usize::from(joined));
        let wants = |id: &PeerId| !self.peers[id].unwanted.iter().any(|(id, _)| id == message.id());
        let least = if outside.iter().all(wants) { more.min(outside.len()) } else { 0 };
        let message = message.clone();
        self.publications.push(Publication { message, outside, least, got: 0, at: now });
        true
    }

    /// The node tells one peer.
    pub(super) fn tell(&mut self, now: Duration, id: PeerId, message: &SignedMessage) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if !peer.topics.contains_key(message.topic()) {
            return;
        }
        let key = peer.key;
        peer.due.message(now, message, !peer.unwanted.iter().any(|(id, _)| id == message.id()));
        self.learn(now, message.id());
        self.is_here(message.id());
        self.keeps(message.id(), key);
    }

    /// A peer asks for messages: it gets each three times.
    pub(super) fn on_iwant(&mut self, now: Duration, id: PeerId, ids: &[MessageId]) {
        for wanted in ids {
            let Some(peer) = self.peers.get_mut(&id) else { return };
            let key = peer.key;
            let kept = self.store.iter_mut().find(|kept| kept.message.id() == wanted);
            let Some(kept) = kept else { continue };
            if kept.asked.iter().filter(|by| **by == key).count() == 3 {
                self.charge(now, id, Offence::Asked);
                continue;
            }
            kept.asked.push(key);
            peer.unwanted.retain(|(id, _)| id != wanted);
            peer.due.message(now, &kept.message, true);
        }
    }

    /// What was published has gone to some outside the mesh, once it could.
    pub(super) fn assert_published(&mut self, now: Duration) {
        let peers = &mut self.peers;
        let all: Vec<_> = self.publications.iter().map(|one| one.message.clone()).collect();
        self.publications.retain(|one| {
            let waits = now <= one.at + millis(50)
                || one.outside.iter().any(|id| !peers[id].due.is_idle(now));
            if !waits {
                assert!(one.got >= one.least, "{:?} went to {} others", one.message, one.got);
                // Unless it was published once more since.
                let last = all.iter().filter(|message| **message == one.message).count() == 1;
                let idle = peers.values_mut().filter(|peer| last && peer.due.is_idle(now));
                idle.for_each(|peer| peer.due.no_more_of(&one.message));
            }
            waits
        });
    }
}
