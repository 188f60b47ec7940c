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

use super::{Gossip, Record, newer};
use std::hash::BuildHasher;

#[derive(Clone, Debug)]
pub(super) struct Sampler<R, H> {
    hasher: H,
    /// For each slot, who will hold it after its ranks change: the best of all
    /// that were heard of since they last did. So a slot never starts anew with
    /// the few that happen to be heard of first.
    next: Vec<Option<Gossip<R>>>,
    /// Ticks between two changes.
    pause: u32,
    ticks: u32,
}

impl<R: Record, H: BuildHasher> Sampler<R, H> {
    pub(super) fn new(hasher: H, slots: usize, pause: u32) -> Self {
        let slots = slots.clamp(1, 255);
        Self { hasher, next: vec![None; slots], pause: pause.max(1), ticks: 0 }
    }

    /// The slot in which a peer competes.
    pub(super) fn slot(&self, id: R::Id) -> u8 {
        let high = self.hasher.hash_one(id) >> 32;
        ((high * self.next.len() as u64) >> 32) as u8
    }

    /// Where a peer stands in a slot: the least rank holds it.
    pub(super) fn rank(&self, id: R::Id, slot: u8) -> u64 {
        self.rank_in(id, self.epoch(slot))
    }

    /// A peer was heard of: it may be the next to hold its slot.
    pub(super) fn train(&mut self, heard: &Gossip<R>, slot: u8) {
        let epoch = self.epoch(slot).wrapping_add(1);
        let id = heard.record.id();
        let best = match self.next.get(usize::from(slot)) {
            Some(Some(next)) if next.record.id() != id => {
                self.rank_in(id, epoch) < self.rank_in(next.record.id(), epoch)
            }
            _ => true,
        };
        match self.next.get_mut(usize::from(slot)) {
            Some(Some(next)) if next.record.id() == id => newer(next, heard.clone()),
            Some(next) if best => *next = Some(heard.clone()),
            _ => {}
        }
    }

    /// A peer is no candidate any more.
    pub(super) fn forget(&mut self, id: R::Id, slot: u8) {
        if let Some(next) = self.next.get_mut(usize::from(slot)) {
            next.take_if(|g| g.record.id() == id);
        }
    }

    /// A tick has passed. Gives the slot whose ranks have changed, and who is
    /// now to hold it.
    pub(super) fn tick(&mut self) -> Option<(u8, Option<Gossip<R>>)> {
        self.ticks = self.ticks.wrapping_add(1);
        for next in self.next.iter_mut().flatten() {
            next.hop = next.hop.saturating_add(1);
        }
        let slots = self.next.len() as u32;
        let turns = self.ticks / self.pause;
        if !self.ticks.is_multiple_of(self.pause) || turns <= slots {
            return None;
        }
        let slot = (turns - 1) % slots;
        Some((slot as u8, self.next.get_mut(slot as usize).and_then(Option::take)))
    }

    fn rank_in(&self, id: R::Id, epoch: u32) -> u64 {
        // The hash is secret, so mixing it needs no key of its own.
        mix(self.hasher.hash_one(id) ^ mix(u64::from(epoch)))
    }

    /// How many times the ranks of a slot have changed: the slots in turn, the
    /// first time when all have heard enough.
    fn epoch(&self, slot: u8) -> u32 {
        let slots = self.next.len() as u32;
        let turns = self.ticks / self.pause;
        ((turns + slots - 1 - u32::from(slot)) / slots).saturating_sub(1)
    }
}

/// The finaliser of SplitMix64 (Steele et al., OOPSLA 2014).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
