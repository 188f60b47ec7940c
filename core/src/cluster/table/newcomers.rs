//! The records that are not established: they make room when the table is full.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;

/// A set of slots of which one can be drawn at random. In a flood of
/// identities, each newcomer, honest or not, has the same chance to stay.
#[derive(Debug)]
pub(super) struct Newcomers {
    slots: Vec<u32>,
    places: HashMap<u32, usize>,
    rng: ChaCha8Rng,
}

impl Newcomers {
    pub(super) fn new(seed: u64) -> Self {
        Self { slots: Vec::new(), places: HashMap::new(), rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    pub(super) fn insert(&mut self, slot: u32) {
        if let std::collections::hash_map::Entry::Vacant(place) = self.places.entry(slot) {
            place.insert(self.slots.len());
            self.slots.push(slot);
        }
    }

    pub(super) fn remove(&mut self, slot: u32) {
        if let Some(place) = self.places.remove(&slot) {
            self.slots.swap_remove(place);
            if let Some(moved) = self.slots.get(place) {
                self.places.insert(*moved, place);
            }
        }
    }

    /// One of them, but not `keep`.
    pub(super) fn pick(&mut self, keep: Option<u32>) -> Option<u32> {
        let kept = keep.and_then(|keep| self.places.get(&keep).copied());
        let choices = self.slots.len().checked_sub(usize::from(kept.is_some()))?;
        if choices == 0 {
            return None;
        }
        let place = self.rng.random_range(0..choices);
        // Of the places that are left when the kept one is skipped.
        self.slots.get(place + usize::from(kept.is_some_and(|kept| place >= kept))).copied()
    }
}
