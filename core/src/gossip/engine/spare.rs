//! Room that a burst took, given back when it is over: when a node joins, all
//! that a cluster has to say comes at once.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::Hash,
};

/// What may have far more room than it needs.
pub(super) trait Spare {
    /// Gives back what is more than four times what is needed.
    fn give_back(&mut self);
}

/// How much room to leave, if there is too much.
fn enough(len: usize, capacity: usize) -> Option<usize> {
    (capacity > 16 && capacity > 4 * len).then_some(2 * len)
}

impl<K: Eq + Hash, V> Spare for HashMap<K, V> {
    fn give_back(&mut self) {
        if let Some(room) = enough(self.len(), self.capacity()) {
            self.shrink_to(room);
        }
    }
}

impl<T: Eq + Hash> Spare for HashSet<T> {
    fn give_back(&mut self) {
        if let Some(room) = enough(self.len(), self.capacity()) {
            self.shrink_to(room);
        }
    }
}

impl<T> Spare for VecDeque<T> {
    fn give_back(&mut self) {
        if let Some(room) = enough(self.len(), self.capacity()) {
            self.shrink_to(room);
        }
    }
}
