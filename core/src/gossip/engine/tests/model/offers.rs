//! What is offered, asked for and not wanted.

use super::{Key, Model, Peer, SECOND, millis};
use crate::gossip::{engine::Offence, id::MessageId};
use libp2p::PeerId;
use std::{collections::BTreeSet, time::Duration};

/// What others offer and this node lacks.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) id: MessageId,
    /// Who offered it first, and by when it has to send something under the id, if
    /// it was asked and has not.
    by: Key,
    promised: Option<Duration>,
    /// When the next one is asked.
    next: Duration,
    /// Who else offers it, since when.
    others: Vec<(Key, Duration)>,
}

/// The others that are remembered.
const MAX_OTHERS: usize = 8;

impl Peer {
    /// It has said in the last three seconds that it does not want a message.
    pub(super) fn refuses(&self, now: Duration, id: &MessageId) -> bool {
        self.unwanted.iter().any(|(of, at)| of == id && now - *at <= 3 * SECOND)
    }
}

impl Model {
    pub(super) fn on_ihave(&mut self, now: Duration, id: PeerId, topic: &str, ids: &[MessageId]) {
        if !self.is_joined(topic) {
            return;
        }
        let key = self.peers[&id].key;
        for offered in ids {
            if self.knows(offered) {
                self.keeps(offered, key);
                continue;
            }
            let under_check = self.is_under_check(offered);
            if let Some(want) = self.wants.iter_mut().find(|want| want.id == *offered) {
                let is_known = want.by == key || want.others.iter().any(|(by, _)| *by == key);
                if !is_known && want.others.len() < MAX_OTHERS {
                    want.others.push((key, now));
                }
                continue;
            }
            let (promised, others) = match under_check {
                // Asked should that be bad.
                true => (None, vec![(key, now)]),
                false => (Some(now + 3 * SECOND), vec![]),
            };
            let (wanted, next) = (offered.clone(), now + millis(700));
            self.wants.push(Want { id: wanted, by: key, promised, next, others });
            if !under_check {
                self.ask(now, key, offered);
            }
        }
    }

    fn ask(&mut self, now: Duration, key: Key, id: &MessageId) {
        if let Some(peer) = self.peers.values_mut().find(|peer| peer.key == key) {
            peer.due.asks.push((now, id.clone()));
        }
    }

    /// A peer has sent something under an id.
    pub(super) fn came(&mut self, id: &MessageId, key: Key) {
        let kept = self.wants.iter_mut().find(|want| want.id == *id && want.by == key);
        kept.into_iter().for_each(|want| want.promised = None);
    }

    /// The message is here.
    pub(super) fn is_here(&mut self, id: &MessageId) {
        self.wants.retain(|want| want.id != *id);
    }

    /// What came was bad: the next who offered it is asked.
    pub(super) fn ask_next(&mut self, now: Duration, id: &MessageId) {
        let Some(want) = self.wants.iter_mut().find(|want| want.id == *id) else { return };
        if let Some(key) = want.take(now) {
            self.ask(now, key, id);
        }
    }

    /// What did not come is asked of the next one, and held against who promised it.
    pub(super) fn ask_others(&mut self, now: Duration) {
        let (mut broken, mut ask) = (BTreeSet::new(), Vec::new());
        let under_check: BTreeSet<_> =
            self.copies.iter().map(|copy| copy.message.id().clone()).collect();
        self.wants.retain_mut(|want| {
            if under_check.contains(&want.id) {
                return true;
            }
            if want.promised.is_some_and(|until| now >= until) {
                want.promised = None;
                broken.insert(want.by);
            }
            if now < want.next {
                return true;
            }
            match want.take(now) {
                Some(key) => ask.push((key, want.id.clone())),
                None => return want.promised.is_some(),
            }
            true
        });
        broken.into_iter().for_each(|key| self.charge_key(now, key, Offence::Promise));
        ask.into_iter().for_each(|(key, id)| self.ask(now, key, &id));
    }

    /// A peer is gone: what it was asked for is not held against it.
    pub(super) fn offerer_gone(&mut self, key: Key) {
        self.wants.retain_mut(|want| {
            want.others.retain(|(other, _)| *other != key);
            if want.by == key {
                (want.promised, want.next) = (None, Duration::ZERO);
            }
            want.promised.is_some() || !want.others.is_empty()
        });
    }

    pub(super) fn on_idontwant(&mut self, now: Duration, id: PeerId, ids: &[MessageId]) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let key = peer.key;
        peer.unwanted.retain(|(id, at)| !ids.contains(id) && now - *at <= 8 * SECOND);
        peer.unwanted.extend(ids.iter().map(|id| (id.clone(), now)));
        ids.iter().for_each(|of| self.need_not_go(id, of));
        ids.iter().for_each(|id| self.keeps(id, key));
    }

    /// What can be offered at a heartbeat. If there are no more to tell than are
    /// told at a time, it has to be.
    pub(super) fn may_offer(&mut self, now: Duration) {
        for peer in self.peers.values_mut() {
            peer.due.old_offers(now);
        }
        let joined = self.topics.iter().filter(|(_, topic)| topic.joined);
        for (name, topic) in joined {
            let outside: BTreeSet<_> = &self.subscribers(name) - &topic.mesh;
            for kept in self.store.iter().filter(|kept| kept.message.topic() == name) {
                if !(millis(100)..=millis(3300)).contains(&(now - kept.at)) {
                    continue;
                }
                for id in &outside {
                    let peer = self.peers.get_mut(id).expect("who is subscribed is here");
                    let asked = kept.asked.contains(&peer.key);
                    let has = kept.holders.contains(&peer.key);
                    let told =
                        kept.offered.contains(&peer.key) || kept.maybe_told.contains(&peer.key);
                    if !has || asked {
                        let all = outside.len() <= self.config.lazy;
                        let certain = all && !asked && !told;
                        let what = (name.as_str(), kept.message.id(), kept.last);
                        peer.due.offer(now, what, certain, asked || told);
                    }
                }
            }
        }
    }

    /// An offer went to a peer, which is told of each message once; and once more
    /// if it has asked for it.
    pub(super) fn on_offered(
        &mut self,
        now: Duration,
        id: PeerId,
        topic: &str,
        of: &MessageId,
        since: Duration,
    ) {
        let peer = &self.peers[&id];
        if peer.due.was_free(self.heartbeat) {
            self.told.insert((topic.into(), id));
            let told = self.told.iter().filter(|(of, _)| of == topic).count();
            let refused = self
                .topics
                .get(topic)
                .map_or(0, |topic| topic.refused.values().filter(|until| now < **until).count());
            assert!(told <= self.config.lazy + refused, "{told} peers are told at a heartbeat");
        }
        let key = peer.key;
        let Some(kept) = self.store.iter_mut().find(|kept| kept.message.id() == of) else {
            let waited = now - since > 3 * SECOND;
            return assert!(waited, "{of:?} is offered, and not there any more");
        };
        // One that has waited since it was kept before says nothing of this.
        if since > kept.last {
            kept.offered.push(key);
            let times = kept.offered.iter().filter(|by| **by == key).count();
            let most = if kept.asked.contains(&key) { 2 } else { 1 };
            assert!(times <= most, "{of:?} is offered {times} times");
        }
    }
}

impl Want {
    /// Who offered it in the last three seconds, and was not asked.
    fn take(&mut self, now: Duration) -> Option<Key> {
        self.others.retain(|(_, since)| now - *since < 3 * SECOND);
        let next = (!self.others.is_empty()).then(|| self.others.remove(0).0)?;
        self.next = now + millis(700);
        Some(next)
    }
}
