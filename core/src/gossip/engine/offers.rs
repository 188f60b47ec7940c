//! What is offered, asked for and not wanted.

use super::{Engine, config, offence::Offence, peer::PeerKey, store::Asked, wants::Choice};
use crate::gossip::id::MessageId;
use libp2p::PeerId;
use rand::seq::SliceRandom as _;
use std::{sync::Arc, time::Duration};

impl Engine {
    /// Tells some peers outside the mesh what they may lack: in turn, so that up to
    /// three times as many hear of each message while it is offered. Besides, those
    /// whose links were refused: there may be nobody else from whom they hear.
    pub(super) fn offer(&mut self, now: Duration, topic: &Arc<str>) {
        let Some(entry) = self.topics.get_mut(topic) else { return };
        let outside = entry.subscribed.difference(&entry.mesh);
        let mut outside: Vec<_> = outside.map(|key| (entry.told.get(key), *key)).collect();
        outside.shuffle(&mut self.rng);
        outside.sort_by_key(|(told, _)| *told);
        let (told, others) = outside.split_at(outside.len().min(self.config.lazy));
        entry.refused.retain(|_, until| now < *until);
        let refused = others.iter().filter(|(_, key)| entry.refused.contains_key(key));
        let outside = told.iter().chain(refused.take(self.config.refused));
        let outside: Vec<_> = outside.map(|(_, key)| *key).collect();
        entry.told.extend(outside.iter().map(|key| (*key, now)));
        for key in outside {
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            let room = peer.outbox.room_for_offers();
            // What there is no room for is offered at its next turn.
            peer.outbox.ihave(topic, self.store.offer(now, topic, key, room));
            self.schedule(now, key);
        }
    }

    pub(super) fn on_ihave(
        &mut self,
        now: Duration,
        key: PeerKey,
        topic: &str,
        ids: Vec<MessageId>,
    ) {
        if self.topics.get(topic).is_none_or(|topic| !topic.joined) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let room = config::MAX_OFFERED.saturating_sub(peer.offered);
        let room = room.min(peer.outbox.room_for_asking());
        peer.offered += ids.len().min(room);
        if ids.len() > room {
            let left_out = ids.len() - room;
            self.count("too-many-offers", left_out as u64);
        }
        let (mut wanted, mut crowded) = (Vec::new(), 0);
        let choice = &mut Choice { rng: &mut self.rng, peers: &self.peers };
        for id in ids.into_iter().take(room) {
            if self.known.contains(&id) {
                self.store.has(&id, key);
            } else if self.checks.contains(&id) {
                self.wants.offered_meanwhile(now, &id, key, choice);
            } else {
                match self.wants.offered(now, &id, key, choice) {
                    Some(true) => wanted.push(id),
                    Some(false) => {}
                    None => crowded += 1,
                }
            }
        }
        crowded += std::mem::take(&mut self.wants.dropped);
        if !self.wants.is_empty() {
            self.rouse();
        }
        self.count_some("too-many-wanted", crowded);
        self.ask(now, key, &wanted);
    }

    /// The peers that were asked for a message, and have sent nothing under its id
    /// yet.
    pub fn asked(&self, id: &MessageId) -> impl Iterator<Item = PeerId> {
        self.wants.asked(id).filter_map(|key| self.peers.get(&key)).map(|peer| peer.id)
    }

    pub(super) fn ask(&mut self, now: Duration, key: PeerKey, ids: &[MessageId]) {
        if !ids.is_empty() {
            self.rouse();
        }
        if let Some(peer) = self.peers.get_mut(&key) {
            let left_out = peer.outbox.iwant(ids);
            // Of those it has promised nothing.
            for id in ids.iter().rev().take(left_out as usize) {
                self.wants.came(id, key);
            }
            self.count_some("too-many-asked", left_out);
            self.schedule(now, key);
        }
    }

    pub(super) fn on_iwant(&mut self, now: Duration, key: PeerKey, ids: Vec<MessageId>) {
        for id in ids {
            match self.store.asked(&id, key) {
                Asked::Unknown => self.count("asked-too-late", 1),
                Asked::Again => self.charge(now, key, Offence::Asked),
                Asked::Sent(message) => {
                    if let Some(peer) = self.peers.get_mut(&key) {
                        peer.unwanted.remove(&id);
                    }
                    self.send(now, key, message);
                }
            }
        }
    }

    pub(super) fn on_idontwant(&mut self, now: Duration, key: PeerKey, ids: Vec<MessageId>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.unwanted.expire(now);
        let mut left_out = 0;
        for id in ids {
            // Who doesn't want it has it.
            self.store.has(&id, key);
            left_out += u64::from(!peer.unwanted.insert(id));
        }
        self.count_some("too-many-unwanted", left_out);
    }

    /// Tells the mesh that a large message is here, and need not come again.
    pub(super) fn not_wanted(
        &mut self,
        now: Duration,
        topic: &str,
        id: &MessageId,
        from: &[PeerKey],
    ) {
        let Some(entry) = self.topics.get(topic) else { return };
        let mesh: Vec<_> = entry.mesh.iter().filter(|key| !from.contains(key)).copied().collect();
        for key in mesh {
            if let Some(peer) = self.peers.get_mut(&key).filter(|peer| peer.takes_idontwant) {
                let told = peer.outbox.idontwant(id);
                self.count_some("unwanted-not-told", (!told).into());
                self.schedule(now, key);
            }
        }
    }

    /// What was offered and did not come is asked of the next one.
    pub(super) fn ask_others(&mut self, now: Duration) {
        let choice = &mut Choice { rng: &mut self.rng, peers: &self.peers };
        let broken = self.wants.broken(now, choice, |id| self.checks.contains(id));
        for key in broken.peers {
            self.charge(now, key, Offence::Promise);
        }
        for (key, ids) in broken.ask {
            self.ask(now, key, &ids);
        }
    }

    /// What came under this id was bad: asks the next one who offered it.
    pub(super) fn ask_next(&mut self, now: Duration, id: &MessageId) {
        let choice = &mut Choice { rng: &mut self.rng, peers: &self.peers };
        if let Some(key) = self.wants.next(now, id, choice) {
            self.ask(now, key, std::slice::from_ref(id));
        }
    }
}
