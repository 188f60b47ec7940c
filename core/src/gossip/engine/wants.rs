//! What others offer and this node lacks.

use super::{
    config,
    peer::{Peer, PeerKey},
    spare::Spare,
};
use crate::gossip::id::MessageId;
use rand::seq::IteratorRandom as _;
use rand_chacha::ChaCha8Rng;
use smallvec::SmallVec;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

/// Ids that were asked for: of the first who offers one at once, and then of the
/// others one by one, since who offers first may want to keep it back. By chance,
/// since several who offer first may be in one hand; and first of those that this
/// node chose.
#[derive(Default)]
pub(super) struct Wants {
    all: HashMap<MessageId, Want>,
    /// Those that there are because of whom.
    of: BTreeMap<PeerKey, BTreeSet<MessageId>>,
    /// Those that had to go for others, until they are counted.
    pub(super) dropped: u64,
}

struct Want {
    /// Who offered it first.
    by: PeerKey,
    /// Who was asked and sent nothing under the id, and by when it has to.
    promised: SmallVec<[(PeerKey, Duration); 1]>,
    /// When the next one is asked.
    next: Duration,
    /// Who else offers it, and since when.
    others: Others,
    /// Whether it is asked of somebody now.
    asked: bool,
}

type Others = SmallVec<[(PeerKey, Duration); 2]>;

/// Promises that were broken by now.
#[derive(Default)]
pub(super) struct Broken {
    /// By whom.
    pub(super) peers: BTreeSet<PeerKey>,
    /// Whom to ask for what now.
    pub(super) ask: BTreeMap<PeerKey, Vec<MessageId>>,
}

/// How one of several is chosen.
pub(super) struct Choice<'a> {
    pub(super) rng: &'a mut ChaCha8Rng,
    pub(super) peers: &'a BTreeMap<PeerKey, Peer>,
}

impl Choice<'_> {
    fn is_outbound(&self, key: PeerKey) -> bool {
        self.peers.get(&key).is_some_and(|peer| peer.outbound)
    }

    /// The place of one by chance, of those that this node chose or of the rest.
    fn one(&mut self, others: &Others, outbound: bool) -> Option<usize> {
        let of = others.iter().enumerate();
        let of = of.filter(|(_, (key, _))| self.is_outbound(*key) == outbound);
        let places: SmallVec<[usize; Wants::OTHERS]> = of.map(|(place, _)| place).collect();
        places.into_iter().choose(self.rng)
    }
}

impl Want {
    /// Another one offers it too.
    fn also(&mut self, now: Duration, peer: PeerKey, choice: &mut Choice<'_>) {
        let mut known = self.others.iter().chain(&self.promised);
        if self.by == peer || known.any(|(other, _)| *other == peer) {
            return;
        }
        if self.others.len() < Wants::OTHERS {
            return self.others.push((peer, now));
        }
        // Who came first has no right to its place, unless this node chose it.
        let mut place = choice.one(&self.others, false);
        if place.is_none() && choice.is_outbound(peer) {
            place = choice.one(&self.others, true);
        }
        if let Some(place) = place {
            self.others[place] = (peer, now);
        }
    }

    /// The next one to ask. Who has offered it long ago may not have it any more.
    fn take(&mut self, now: Duration, choice: &mut Choice<'_>) -> Option<PeerKey> {
        let offered = |since: Duration| now.saturating_sub(since) < config::OFFER_HOLDS;
        self.others.retain(|(_, since)| offered(*since));
        let place = choice.one(&self.others, true).or_else(|| choice.one(&self.others, false))?;
        let (peer, _) = self.others.remove(place);
        self.promised.push((peer, now + config::PROMISE));
        (self.next, self.asked) = (now + config::ASK_NEXT, true);
        Some(peer)
    }

    /// A peer has to send nothing any more. Whether it had to.
    fn is_free(&mut self, peer: PeerKey) -> bool {
        let before = self.promised.len();
        self.promised.retain(|(of, _)| *of != peer);
        self.promised.len() < before
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
    pub(super) fn offered(
        &mut self,
        now: Duration,
        id: &MessageId,
        peer: PeerKey,
        choice: &mut Choice<'_>,
    ) -> Option<bool> {
        if let Some(want) = self.all.get_mut(id) {
            want.also(now, peer, choice);
            return Some(false);
        }
        if !self.make_room(peer) {
            return None;
        }
        self.of.entry(peer).or_default().insert(id.clone());
        let (promised, next) = ([(peer, now + config::PROMISE)].into(), now + config::ASK_NEXT);
        let others = SmallVec::new();
        self.all.insert(id.clone(), Want { by: peer, promised, next, others, asked: true });
        Some(true)
    }

    /// Whether another one can be there because of a peer. If there are too many in
    /// all, who has the most loses one.
    fn make_room(&mut self, peer: PeerKey) -> bool {
        let own = self.of.get(&peer).map_or(0, BTreeSet::len);
        if own >= config::MAX_WANTS_OF_PEER {
            return false;
        }
        if self.all.len() < config::MAX_WANTS {
            return true;
        }
        let most = self.of.values_mut().max_by_key(|ids| ids.len());
        let Some(most) = most.filter(|most| most.len() > own + 1) else { return false };
        if let Some(id) = most.pop_last() {
            self.all.remove(&id);
            self.dropped += 1;
        }
        true
    }

    /// A peer offers what another one's copy of is under check: should that be
    /// bad, this peer is asked.
    pub(super) fn offered_meanwhile(
        &mut self,
        now: Duration,
        id: &MessageId,
        peer: PeerKey,
        choice: &mut Choice<'_>,
    ) {
        if self.offered(now, id, peer, choice) == Some(true)
            && let Some(want) = self.all.get_mut(id)
        {
            want.asked = false;
            want.promised.clear();
            want.others.push((peer, now));
        }
    }

    /// A peer has sent it, or something under its id. Whether it was asked.
    pub(super) fn came(&mut self, id: &MessageId, peer: PeerKey) -> bool {
        self.all.get_mut(id).is_some_and(|want| want.is_free(peer))
    }

    /// It is here, and good.
    pub(super) fn done(&mut self, id: &MessageId) {
        if let Some(want) = self.all.remove(id) {
            less(&mut self.of, want.by, id);
        }
    }

    /// What came under this id was bad. Whom to ask for it now.
    pub(super) fn next(
        &mut self,
        now: Duration,
        id: &MessageId,
        choice: &mut Choice<'_>,
    ) -> Option<PeerKey> {
        self.all.get_mut(id)?.take(now, choice)
    }

    /// What did not come in its time, unless it is under check now.
    pub(super) fn broken(
        &mut self,
        now: Duration,
        choice: &mut Choice<'_>,
        mut under_check: impl FnMut(&MessageId) -> bool,
    ) -> Broken {
        let (mut broken, mut next) = (Broken::default(), Vec::new());
        for (id, want) in &mut self.all {
            if under_check(id) {
                continue;
            }
            want.promised.retain(|(peer, until)| {
                let holds = now < *until;
                if !holds {
                    broken.peers.insert(*peer);
                }
                holds
            });
            let is_over = want.promised.is_empty() || !want.others.is_empty();
            if now >= want.next && is_over {
                next.push(id.clone());
            }
        }
        // Who is asked doesn't depend on the order of a hash table.
        next.sort_unstable();
        for id in next {
            let Some(want) = self.all.get_mut(&id) else { continue };
            match want.take(now, choice) {
                Some(peer) => broken.ask.entry(peer).or_default().push(id),
                None if want.promised.is_empty() => self.done(&id),
                None => {}
            }
        }
        broken
    }

    /// A peer is gone: what it was asked for is asked of others at the next
    /// heartbeat. Whether there was anything.
    pub(super) fn gone(&mut self, peer: PeerKey) -> bool {
        let (mut owed, of) = (false, &mut self.of);
        self.all.retain(|id, want| {
            want.others.retain(|(other, _)| *other != peer);
            let was_asked = want.is_free(peer);
            owed |= was_asked;
            if was_asked || want.by == peer {
                (want.next, want.asked) = (Duration::ZERO, false);
            }
            let stays = !want.promised.is_empty() || !want.others.is_empty();
            if !stays {
                less(of, want.by, id);
            }
            stays
        });
        owed
    }

    /// Another connection with a peer is used. What it has promised holds, and has
    /// to be asked for anew; what it offers besides it may not have any more.
    pub(super) fn again(&mut self, peer: PeerKey) -> Vec<MessageId> {
        let mut ask = Vec::new();
        for (id, want) in &mut self.all {
            want.others.retain(|(other, _)| *other != peer);
            if want.promised.iter().any(|(of, _)| *of == peer) {
                ask.push(id.clone());
            }
        }
        ask.sort_unstable();
        ask
    }

    /// This node itself was held up for so long: what came meanwhile is still to be
    /// looked at.
    pub(super) fn held_up(&mut self, late: Duration) {
        for want in self.all.values_mut() {
            let times = want.promised.iter_mut().chain(&mut want.others);
            times.for_each(|(_, time)| *time += late);
        }
    }

    /// Who was asked for it, and has sent nothing under its id.
    pub(super) fn asked(&self, id: &MessageId) -> impl Iterator<Item = PeerKey> {
        let want = self.all.get(id).into_iter();
        want.flat_map(|want| &want.promised).map(|(peer, _)| *peer)
    }

    /// Whether it is asked of somebody now.
    #[cfg(test)]
    pub(super) fn is_asked(&self, id: &MessageId) -> bool {
        self.all.get(id).is_some_and(|want| want.asked)
    }

    /// Whether nothing is wanted.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.of.values().map(BTreeSet::len).sum::<usize>(), self.all.len());
        assert!(self.of.values().all(|ids| !ids.is_empty()));
        self.all.len()
    }
}

fn less(of: &mut BTreeMap<PeerKey, BTreeSet<MessageId>>, peer: PeerKey, id: &MessageId) {
    if let Some(ids) = of.get_mut(&peer) {
        ids.remove(id);
        if ids.is_empty() {
            of.remove(&peer);
        }
    }
}
