//! What several sources give, taken in turns: one that gives without end delays
//! the others by one item each. Pure.

use rand::{Rng, RngExt};
use std::collections::VecDeque;

/// Items that wait, by source.
#[derive(Debug)]
pub(super) struct Turns<K, T>(VecDeque<(K, VecDeque<T>)>);

impl<K, T> Default for Turns<K, T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<K: PartialEq, T> Turns<K, T> {
    /// The most sources of which something waits.
    const SOURCES: usize = 1024;
    /// The most items of one source that wait.
    const EACH: usize = 16;

    /// Adds an item, or drops it if too many of its source wait.
    pub(super) fn push(&mut self, source: K, item: T, rng: &mut impl Rng) {
        if let Some((_, items)) = self.0.iter_mut().find(|(known, _)| *known == source) {
            if items.len() < Self::EACH {
                items.push_back(item);
            }
            return;
        }
        let items = VecDeque::from([item]);
        match self.0.len() {
            // Whoever makes sources up pushes out his own.
            Self::SOURCES => self.0[rng.random_range(0..Self::SOURCES)] = (source, items),
            _ => self.0.push_back((source, items)),
        }
    }

    /// The item whose turn it is.
    pub(super) fn first(&self) -> Option<&T> {
        self.0.front().and_then(|(_, items)| items.front())
    }

    /// Takes it.
    pub(super) fn pop(&mut self) -> Option<T> {
        let (source, mut items) = self.0.pop_front()?;
        let item = items.pop_front();
        if !items.is_empty() {
            self.0.push_back((source, items));
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn one_source_delays_another_by_one_item() {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let mut turns = Turns::default();
        (0..1000).for_each(|i| turns.push('a', i, rng));
        turns.push('b', -1, rng);
        turns.push('b', -2, rng);
        turns.push('c', -3, rng);
        assert_eq!(turns.first(), Some(&0));
        let order: Vec<i32> = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(order[..6], [0, -1, -3, 1, -2, 2]);
        assert_eq!(order.len(), 3 + Turns::<char, i32>::EACH);
        assert_eq!(turns.first(), None);
    }

    #[test]
    fn the_number_of_sources_is_bounded() {
        let rng = &mut ChaCha8Rng::seed_from_u64(2);
        let mut turns = Turns::default();
        (0..5000).for_each(|i| turns.push(i, i, rng));
        assert_eq!(std::iter::from_fn(|| turns.pop()).count(), Turns::<i32, i32>::SOURCES);
    }
}
