//! What others offer and this node lacks.

use super::{config, peer::PeerKey, spare::Spare};
use crate::gossip::id::MessageId;
use smallvec::SmallVec;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// Ids that were asked for: of the first who offers one at once, and then of the
/// others in turn, since who offers first may want to keep it back.
#[derive(Default)]
pub(super) struct Wants {
    all: HashMap<MessageId, Want>,
    /// How many there are because of whom.
    of: HashMap<PeerKey, usize>,
}

struct Want {
    /// Who offered it first.
    by: PeerKey,
    /// By when it has to send it, unless it did, or was not asked.
    promised: Option<Duration>,
    /// When the next one is asked.
    next: Duration,
    /// Who else offers it, and since when.
    others: SmallVec<[(PeerKey, Duration); 2]>,
    /// Whether it is asked of somebody now.
    asked: bool,
}

/// Promises that were broken by now.
#[derive(Default)]
pub(super) struct Broken {
    /// By whom.
    pub(super) peers: SmallVec<[PeerKey; 4]>,
    /// Whom to ask for what now.
    pub(super) ask: BTreeMap<PeerKey, Vec<MessageId>>,
}

impl Want {
    /// The next one to ask. Who has offered it long ago may not have it any more.
    fn take(&mut self, now: Duration) -> Option<PeerKey> {
        let offered = |since: Duration| now.saturating_sub(since) < config::OFFER_HOLDS;
        self.others.retain(|(_, since)| offered(*since));
        if self.others.is_empty() {
            return None;
        }
        (self.next, self.asked) = (now + config::ASK_NEXT, true);
        Some(self.others.remove(0).0)
    }
}

impl Spare for Wants {
    fn give_back(&mut self) {
        self.all.give_back();
    }
}

impl Wants {
    /// The most others that are remembered for an id.
    const OTHERS: usize = 8;

    /// A peer offers what this node lacks. Whether it is to be asked for it now;
    /// `None` if there is no room for what it offers.
    pub(super) fn offered(&mut self, now: Duration, id: &MessageId, peer: PeerKey) -> Option<bool> {
        if let Some(want) = self.all.get_mut(id) {
            let is_known = want.by == peer || want.others.iter().any(|(other, _)| *other == peer);
            if !is_known && want.others.len() < Self::OTHERS {
                want.others.push((peer, now));
            }
            return Some(false);
        }
        let of = self.of.entry(peer).or_default();
        if self.all.len() >= config::MAX_WANTS || *of >= config::MAX_WANTS_OF_PEER {
            return None;
        }
        *of += 1;
        let (promised, next) = (Some(now + config::PROMISE), now + config::ASK_NEXT);
        let others = SmallVec::new();
        self.all.insert(id.clone(), Want { by: peer, promised, next, others, asked: true });
        Some(true)
    }

    /// A peer offers what another one's copy of is under check: should that be
    /// bad, this peer is asked.
    pub(super) fn offered_meanwhile(&mut self, now: Duration, id: &MessageId, peer: PeerKey) {
        if self.offered(now, id, peer) == Some(true)
            && let Some(want) = self.all.get_mut(id)
        {
            (want.promised, want.asked) = (None, false);
            want.others.push((peer, now));
        }
    }

    /// A peer has sent it, or something under its id.
    pub(super) fn came(&mut self, id: &MessageId, peer: PeerKey) {
        if let Some(want) = self.all.get_mut(id)
            && want.by == peer
        {
            want.promised = None;
        }
    }

    /// It is here, and good.
    pub(super) fn done(&mut self, id: &MessageId) {
        if let Some(want) = self.all.remove(id) {
            less(&mut self.of, want.by);
        }
    }

    /// What came under this id was bad. Whom to ask for it now.
    pub(super) fn next(&mut self, now: Duration, id: &MessageId) -> Option<PeerKey> {
        self.all.get_mut(id)?.take(now)
    }

    /// What did not come in its time, unless it is under check now.
    pub(super) fn broken(
        &mut self,
        now: Duration,
        mut under_check: impl FnMut(&MessageId) -> bool,
    ) -> Broken {
        let (mut broken, of) = (Broken::default(), &mut self.of);
        self.all.retain(|id, want| {
            if under_check(id) {
                return true;
            }
            if want.promised.is_some_and(|until| now >= until) {
                want.promised = None;
                if !broken.peers.contains(&want.by) {
                    broken.peers.push(want.by);
                }
            }
            if now >= want.next {
                match want.take(now) {
                    Some(peer) => broken.ask.entry(peer).or_default().push(id.clone()),
                    None if want.promised.is_none() => {
                        less(of, want.by);
                        return false;
                    }
                    None => {}
                }
            }
            true
        });
        // What is asked for doesn't depend on the order of a hash table.
        broken.peers.sort_unstable();
        broken.ask.values_mut().for_each(|ids| ids.sort_unstable());
        broken
    }

    /// A peer is gone: what it was asked for is not held against it, and asked of
    /// others at the next heartbeat.
    pub(super) fn gone(&mut self, peer: PeerKey) {
        let of = &mut self.of;
        self.all.retain(|_, want| {
            want.others.retain(|(other, _)| *other != peer);
            if want.by == peer {
                (want.promised, want.next, want.asked) = (None, Duration::ZERO, false);
            }
            let stays = want.promised.is_some() || !want.others.is_empty();
            if !stays {
                less(of, want.by);
            }
            stays
        });
    }

    /// Whether it is asked of somebody now.
    #[cfg(test)]
    pub(super) fn is_asked(&self, id: &MessageId) -> bool {
        self.all.get(id).is_some_and(|want| want.asked)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.of.values().sum::<usize>(), self.all.len());
        self.all.len()
    }
}

fn less(of: &mut HashMap<PeerKey, usize>, peer: PeerKey) {
    if let Some(count) = of.get_mut(&peer) {
        *count -= 1;
        if *count == 0 {
            of.remove(&peer);
        }
    }
}
