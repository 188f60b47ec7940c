//! What others offer and this node lacks.

use super::{config, peer::PeerKey};
use crate::gossip::id::MessageId;
use smallvec::SmallVec;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// Ids that were asked for, one peer at a time.
#[derive(Default)]
pub(super) struct Wants {
    all: HashMap<MessageId, Want>,
}

struct Want {
    /// Who was asked, unless it has sent it.
    asked: Option<PeerKey>,
    until: Duration,
    /// Who else offers it.
    others: SmallVec<[PeerKey; 2]>,
}

/// Promises that were broken by now.
#[derive(Default)]
pub(super) struct Broken {
    /// By whom.
    pub(super) peers: SmallVec<[PeerKey; 4]>,
    /// Whom to ask for what now.
    pub(super) ask: BTreeMap<PeerKey, Vec<MessageId>>,
}

impl Wants {
    /// The most others that are remembered for an id.
    const OTHERS: usize = 8;

    /// A peer offers what this node lacks. Whether it is to be asked for it now.
    pub(super) fn offered(&mut self, now: Duration, id: &MessageId, peer: PeerKey) -> bool {
        if let Some(want) = self.all.get_mut(id) {
            if want.others.len() < Self::OTHERS
                && want.asked != Some(peer)
                && !want.others.contains(&peer)
            {
                want.others.push(peer);
            }
            return false;
        }
        if self.all.len() >= config::MAX_WANTS {
            return false;
        }
        let until = now + config::PROMISE;
        self.all.insert(id.clone(), Want { asked: Some(peer), until, others: SmallVec::new() });
        true
    }

    /// A peer offers what another one's copy of is under check: should that be
    /// bad, this peer is asked.
    pub(super) fn offered_meanwhile(&mut self, now: Duration, id: &MessageId, peer: PeerKey) {
        if self.offered(now, id, peer)
            && let Some(want) = self.all.get_mut(id)
        {
            want.asked = None;
            want.others.push(peer);
        }
    }

    /// A peer has sent it, or something under its id.
    pub(super) fn came(&mut self, id: &MessageId, peer: PeerKey) {
        if let Some(want) = self.all.get_mut(id)
            && want.asked == Some(peer)
        {
            want.asked = None;
        }
    }

    /// It is here, and good.
    pub(super) fn done(&mut self, id: &MessageId) {
        self.all.remove(id);
    }

    /// What came under this id was bad. Whom to ask for it now.
    pub(super) fn next(&mut self, now: Duration, id: &MessageId) -> Option<PeerKey> {
        let want = self.all.get_mut(id)?;
        if want.asked.is_some() {
            return None;
        }
        if want.others.is_empty() {
            self.all.remove(id);
            return None;
        }
        let peer = want.others.remove(0);
        (want.asked, want.until) = (Some(peer), now + config::PROMISE);
        Some(peer)
    }

    /// What did not come in its time, unless it is under check now.
    pub(super) fn broken(
        &mut self,
        now: Duration,
        mut under_check: impl FnMut(&MessageId) -> bool,
    ) -> Broken {
        let mut broken = Broken::default();
        self.all.retain(|id, want| {
            if now < want.until || under_check(id) {
                return true;
            }
            if let Some(peer) = want.asked.take()
                && !broken.peers.contains(&peer)
            {
                broken.peers.push(peer);
            }
            if want.others.is_empty() {
                return false;
            }
            let peer = want.others.remove(0);
            (want.asked, want.until) = (Some(peer), now + config::PROMISE);
            broken.ask.entry(peer).or_default().push(id.clone());
            true
        });
        // What is asked for doesn't depend on the order of a hash table.
        broken.peers.sort_unstable();
        broken.ask.values_mut().for_each(|ids| ids.sort_unstable());
        broken
    }

    /// Whether it is asked of somebody now.
    #[cfg(test)]
    pub(super) fn is_asked(&self, id: &MessageId) -> bool {
        self.all.get(id).is_some_and(|want| want.asked.is_some())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// A peer is gone: what it was asked for is asked of others at the next
    /// heartbeat, and not held against it.
    pub(super) fn gone(&mut self, peer: PeerKey) {
        self.all.retain(|_, want| {
            want.others.retain(|other| *other != peer);
            if want.asked == Some(peer) {
                (want.asked, want.until) = (None, Duration::ZERO);
            }
            want.asked.is_some() || !want.others.is_empty()
        });
    }
}
