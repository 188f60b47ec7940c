//! What is offered, asked for and not wanted.

use super::{Key, Model, Peer, SECOND, millis};
use crate::gossip::{engine::Offence, id::MessageId};
use libp2p::PeerId;
use std::{collections::BTreeSet, time::Duration};

/// What others offer and this node lacks.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) id: MessageId,
    /// Who offered it first.
    by: Key,
    /// Who was asked and has sent nothing under the id, and by when it has to.
    promised: Vec<(Key, Duration)>,
    /// When the next one is asked.
    next: Duration,
    /// Who else offers it, since when.
    others: Vec<(Key, Duration)>,
    /// When and how many of them were asked that the engine is to choose.
    asking: Option<(Duration, usize)>,
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
                let mut known = want.others.iter().chain(&want.promised);
                let is_known = want.by == key || known.any(|(by, _)| *by == key);
                if !is_known && want.others.len() < MAX_OTHERS {
                    want.others.push((key, now));
                }
                continue;
            }
            let (promised, others) = match under_check {
                // Asked should that be bad.
                true => (vec![], vec![(key, now)]),
                false => (vec![(key, now + 3 * SECOND)], vec![]),
            };
            let (wanted, next) = (offered.clone(), now + millis(700));
            let asking = None;
            self.wants.push(Want { id: wanted, by: key, promised, next, others, asking });
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
        let kept = self.wants.iter_mut().find(|want| want.id == *id);
        kept.into_iter().for_each(|want| want.promised.retain(|(by, _)| *by != key));
    }

    /// The message is here.
    pub(super) fn is_here(&mut self, id: &MessageId) {
        self.wants.retain(|want| want.id != *id);
    }

    /// What came was bad: the next who offered it is asked.
    pub(super) fn ask_next(&mut self, now: Duration, id: &MessageId) {
        let want = self.wants.iter_mut().find(|want| want.id == *id);
        want.into_iter().for_each(|want| _ = want.take(now));
    }

    /// Whom the engine has asked of those whom it could: who that is, is left to
    /// chance, but those come first that this node chose.
    pub(super) fn on_asked(&mut self, asked: impl Fn(&MessageId) -> BTreeSet<PeerId>) {
        let peers = &mut self.peers;
        for want in &mut self.wants {
            let Some((at, count)) = want.asking.take() else { continue };
            let asked = asked(&want.id);
            let by = |key: Key| peers.iter().find(|(_, peer)| peer.key == key).expect("is here");
            let is_asked = |(key, _): &(Key, Duration)| asked.contains(by(*key).0);
            let is_chosen = |(key, _): &(Key, Duration)| by(*key).1.outbound;
            let others = want.others.iter().copied();
            let (next, left): (Vec<_>, Vec<_>) = others.partition(|of| is_asked(of));
            assert_eq!(next.len(), count, "{:?} is asked of {asked:?}", want.id);
            assert!(next.iter().all(is_chosen) || !left.iter().any(is_chosen), "of others first");
            want.others = left;
            for (key, _) in next {
                want.promised.push((key, at + 3 * SECOND));
                let peer = peers.values_mut().find(|peer| peer.key == key).expect("is here");
                peer.due.asks.push((at, want.id.clone()));
            }
        }
    }

    /// What did not come is asked of the next one, and held against who promised it.
    pub(super) fn ask_others(&mut self, now: Duration) {
        let mut broken = BTreeSet::new();
        let under_check: BTreeSet<_> =
            self.copies.iter().map(|copy| copy.message.id().clone()).collect();
        self.wants.retain_mut(|want| {
            if under_check.contains(&want.id) {
                return true;
            }
            let over = want.promised.extract_if(.., |(_, until)| now >= *until);
            broken.extend(over.map(|(key, _)| key));
            now < want.next || want.take(now) || !want.promised.is_empty()
        });
        broken.into_iter().for_each(|key| self.charge_key(now, key, Offence::Promise));
    }

    /// A peer is gone. Whether it was asked for anything that has not come.
    pub(super) fn offerer_gone(&mut self, key: Key) -> bool {
        let mut owed = false;
        self.wants.retain_mut(|want| {
            want.others.retain(|(other, _)| *other != key);
            let owes = want.promised.extract_if(.., |(by, _)| *by == key).count() > 0;
            owed |= owes;
            if owes || want.by == key {
                want.next = Duration::ZERO;
            }
            !want.promised.is_empty() || !want.others.is_empty()
        });
        owed
    }

    /// On another connection a peer is asked anew for what it has promised.
    pub(super) fn asked_anew(&mut self, now: Duration, key: Key) {
        let mut ask = Vec::new();
        for want in &mut self.wants {
            want.others.retain(|(other, _)| *other != key);
            if want.promised.iter().any(|(by, _)| *by == key) {
                ask.push(want.id.clone());
            }
        }
        ask.iter().for_each(|id| self.ask(now, key, id));
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
    /// after it has asked for it, twice at the most.
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
            let most = 1 + kept.asked.iter().filter(|by| **by == key).count().min(2);
            assert!(times <= most, "{of:?} is offered {times} times");
        }
    }
}

impl Want {
    pub(super) fn last_longer(&mut self, time: Duration) {
        let all = self.promised.iter_mut().chain(&mut self.others);
        all.for_each(|(_, at)| *at += time);
    }

    /// Asks one who offered it in the last three seconds, and was not asked. Whether
    /// there is one.
    fn take(&mut self, now: Duration) -> bool {
        self.others.retain(|(_, since)| now.saturating_sub(*since) < 3 * SECOND);
        let asking = self.asking.map_or(0, |(_, count)| count);
        let asks = asking < self.others.len();
        if asks {
            (self.asking, self.next) = (Some((now, asking + 1)), now + millis(700));
        }
        asks
    }
}
