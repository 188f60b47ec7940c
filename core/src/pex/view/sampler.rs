//! Which peers to keep, so that pushing cannot bias the choice.
//!
//! Each peer that is heard of competes in one slot, given by a secret hash of
//! its id, and the one with the least secret rank keeps it. How often a peer is
//! heard of doesn't matter, only whether it is: this is the min-wise sampling
//! of Brahms (Bortnikov et al., Computer Networks 2009), used as the view
//! itself with ranks that change in turn as in Basalt (Auvolat et al.,
//! Middleware 2021). That one hash gives all slots is one-permutation hashing
//! (Li, Owen, Zhang, NIPS 2012): a peer costs one comparison instead of one per
//! slot, and all slots converge that much faster.

use std::hash::{BuildHasher, Hash};

#[derive(Clone, Debug)]
pub(super) struct Sampler<H> {
    hasher: H,
    slots: u8,
    /// Ticks between two turns.
    pause: u32,
    ticks: u32,
}

impl<H: BuildHasher> Sampler<H> {
    pub(super) fn new(hasher: H, slots: usize, pause: u32) -> Self {
        Self { hasher, slots: slots.min(255) as u8, pause: pause.max(1), ticks: 0 }
    }

    /// The slot in which a peer competes.
    pub(super) fn slot(&self, id: impl Hash) -> u8 {
        let high = self.hasher.hash_one(id) >> 32;
        ((high * u64::from(self.slots)) >> 32) as u8
    }

    /// Where a peer stands in a slot: the least rank holds it.
    pub(super) fn rank(&self, id: impl Hash, slot: u8) -> u64 {
        // The hash is secret, so mixing it needs no key of its own.
        mix(self.hasher.hash_one(id) ^ mix(u64::from(self.epoch(slot))))
    }

    /// A tick has passed. Gives the slot whose ranks have changed.
    pub(super) fn tick(&mut self) -> Option<u8> {
        self.ticks = self.ticks.wrapping_add(1);
        let due = self.ticks.is_multiple_of(self.pause);
        due.then(|| ((self.turns().wrapping_sub(1)) % u32::from(self.slots)) as u8)
    }

    fn turns(&self) -> u32 {
        self.ticks / self.pause
    }

    /// How many times the ranks of a slot have changed.
    fn epoch(&self, slot: u8) -> u32 {
        let slots = u32::from(self.slots);
        (self.turns() + slots - 1 - u32::from(slot)) / slots
    }
}

/// The finaliser of SplitMix64 (Steele et al., OOPSLA 2014).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
