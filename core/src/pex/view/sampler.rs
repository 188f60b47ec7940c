//! Which peers to keep, so that pushing cannot bias the choice.
//!
//! Each peer that is heard of competes in one slot, given by a secret hash of
//! its id, and the one with the least secret rank keeps it. How often a peer is
//! heard of doesn't matter, only whether it is: this is the min-wise sampling
//! of Brahms (Bortnikov et al., Computer Networks 2009), used as the view
//! itself with ranks that change now and then as in Basalt (Auvolat et al.,
//! Middleware 2021). That one hash gives all slots is one-permutation hashing
//! (Li, Owen, Zhang, NIPS 2012): a peer costs one comparison instead of one per
//! slot, and all slots converge that much faster.
//!
//! Who has many ids is heard of in every slot. So what ranks first is a peer's
//! network, as in Basalt, by a secret hash that is another one for each slot, and
//! only among the peers of a network the id: a network stands in a slot once,
//! however many peers it has there.

use super::{Gossip, Record, newer};
use rand::{Rng, seq::IndexedRandom};
use smallvec::{SmallVec, smallvec};
use std::hash::BuildHasher;

/// Ticks before the first change, so that much has been heard.
const WARM_UP: u32 = 64;

/// Ticks between two changes, until each slot has had its first.
const FIRST_PAUSE: u32 = 2;

/// Who will hold a slot, and its rank there.
#[derive(Clone, Debug)]
struct Successor<R> {
    rank: u32,
    gossip: Gossip<R>,
}

#[derive(Clone, Debug)]
pub(super) struct Sampler<R, H> {
    hasher: H,
    /// For each slot, who will hold it after its ranks change: the best of all
    /// that were heard of since they last did. So a slot never starts anew with
    /// the few that happen to be heard of first.
    next: SmallVec<[Option<Successor<R>>; 27]>,
    /// Ticks between two changes.
    pause: u32,
    /// Ticks until the next one.
    wait: u32,
    /// How many times all slots have had their turns, and the slot that has the
    /// next one.
    epoch: u32,
    turn: u32,
}

impl<R: Record, H: BuildHasher> Sampler<R, H> {
    pub(super) fn new(hasher: H, slots: usize, pause: u32) -> Self {
        let slots = slots.clamp(1, 255);
        Self {
            hasher,
            next: smallvec![None; slots],
            pause: pause.max(1),
            wait: WARM_UP,
            epoch: 0,
            turn: 0,
        }
    }

    /// The secret hash of a peer's id, which all the rest depends on.
    pub(super) fn key(&self, id: R::Id) -> u64 {
        self.hasher.hash_one(id)
    }

    /// The slot in which a peer competes.
    pub(super) fn slot(&self, key: u64) -> u8 {
        (((key >> 32) * self.next.len() as u64) >> 32) as u8
    }

    /// Where a peer stands in a slot: the least rank holds it.
    pub(super) fn rank(&self, record: &R, key: u64, slot: u8) -> u32 {
        self.rank_at(record, key, slot, self.epoch(slot))
    }

    fn rank_at(&self, record: &R, key: u64, slot: u8, epoch: u32) -> u32 {
        let own = rank_in(key, epoch);
        let networks = record.networks().map(|n| rank_in(self.hasher.hash_one((slot, n)), epoch));
        // The worst counts: what a peer merely says of itself doesn't help it.
        match networks.max() {
            Some(network) => (network & !OWN) | (own & OWN),
            None => own,
        }
    }

    /// A peer was heard of: it may be the next to hold its slot.
    pub(super) fn train(&mut self, heard: &Gossip<R>, key: u64, slot: u8) {
        let epoch = self.epoch(slot).wrapping_add(1);
        let Some(place) = self.next.get_mut(usize::from(slot)) else { return };
        let mut gossip = heard.clone();
        if let Some(next) = place
            && next.gossip.record.id() == heard.record.id()
        {
            if !newer(&mut next.gossip, gossip) {
                return;
            }
            gossip = next.gossip.clone();
            *place = None;
        }
        let rank = self.rank_at(&gossip.record, key, slot, epoch);
        match self.next.get_mut(usize::from(slot)) {
            Some(Some(next)) if rank >= next.rank => {}
            Some(place) => *place = Some(Successor { rank, gossip }),
            None => {}
        }
    }

    /// Something was found out of a peer.
    pub(super) fn met(&mut self, id: R::Id, (key, slot): (u64, u8), note: impl Fn(&mut R)) {
        let epoch = self.epoch(slot).wrapping_add(1);
        let next = self.next.get_mut(usize::from(slot));
        let Some(mut next) = next.and_then(|next| next.take_if(|n| n.gossip.record.id() == id))
        else {
            return;
        };
        note(&mut next.gossip.record);
        next.rank = self.rank_at(&next.gossip.record, key, slot, epoch);
        if let Some(place) = self.next.get_mut(usize::from(slot)) {
            *place = Some(next);
        }
    }

    /// Random ones of those who are to hold a slot next: like the holders, they
    /// aren't chosen by how often they were heard of.
    pub(super) fn successors(&self, many: usize, rng: &mut impl Rng) -> Vec<Gossip<R>> {
        let known: Vec<&Gossip<R>> = self.next.iter().flatten().map(|n| &n.gossip).collect();
        known.sample(rng, many).map(|&gossip| gossip.clone()).collect()
    }

    /// A peer is no candidate any more.
    pub(super) fn forget(&mut self, id: R::Id, slot: u8) {
        if let Some(next) = self.next.get_mut(usize::from(slot)) {
            next.take_if(|n| n.gossip.record.id() == id);
        }
    }

    /// Others are no candidates any more.
    pub(super) fn keep_only(&mut self, keep: impl Fn(R::Id) -> bool) {
        for next in &mut self.next {
            next.take_if(|n| !keep(n.gossip.record.id()));
        }
    }

    /// A tick has passed. Gives the slot whose ranks have changed, and who is
    /// now to hold it.
    pub(super) fn tick(&mut self) -> Option<(u8, Option<Gossip<R>>)> {
        for next in self.next.iter_mut().flatten() {
            next.gossip.hop = next.gossip.hop.saturating_add(1);
        }
        self.wait = self.wait.saturating_sub(1);
        if self.wait > 0 {
            return None;
        }
        let slot = self.turn;
        self.turn += 1;
        if self.turn as usize == self.next.len() {
            (self.epoch, self.turn) = (self.epoch.wrapping_add(1), 0);
        }
        self.wait = if self.epoch == 0 { FIRST_PAUSE.min(self.pause) } else { self.pause };
        let next = self.next.get_mut(slot as usize).and_then(Option::take);
        Some((slot as u8, next.map(|n| n.gossip)))
    }

    /// How many times the ranks of a slot have changed.
    fn epoch(&self, slot: u8) -> u32 {
        self.epoch.wrapping_add(u32::from(u32::from(slot) < self.turn))
    }
}

/// The part of a rank that an id decides where networks rank first. The rest
/// tells a million networks from each other.
const OWN: u32 = (1 << 12) - 1;

/// The key is secret, so that the generator which it seeds needs no other; each
/// epoch takes the next number of it.
fn rank_in(key: u64, epoch: u32) -> u32 {
    (mix(key.wrapping_add(STEP.wrapping_mul(epoch.into()))) >> 32) as u32
}

/// By which SplitMix64 goes on.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64 (Steele et al., OOPSLA 2014).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(STEP);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
