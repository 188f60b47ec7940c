//! How often somebody may accuse others. Pure: the time is an argument.

use crate::{
    cache::cache,
    spent::{Limit, Spent},
};
use libp2p::PeerId;
use lru::LruCache;
use std::{
    collections::hash_map::RandomState, hash::BuildHasher, num::NonZeroUsize, time::Duration,
};

/// One message a second; on their way they may come closer together.
const OF_SOURCE: Limit = Limit { most: 3.0, a_second: 1.0 };
/// Messages of all.
const OF_ALL: Limit = Limit { most: 2048.0, a_second: 1024.0 };
/// Sources that are remembered: those that were heard of longest ago are forgotten.
const MAX_SOURCES: NonZeroUsize = NonZeroUsize::new(16_384).expect("not 0");

#[derive(Default)]
struct Source {
    seq: u64,
    spent: Spent,
}

/// Who has accused others lately.
pub(super) struct Sources {
    /// By keyed hashes of their ids, which take a third of the memory.
    sources: LruCache<u64, Source>,
    all: Spent,
    hasher: RandomState,
}

impl Default for Sources {
    fn default() -> Self {
        let sources = cache(MAX_SOURCES);
        Self { sources, all: Spent::default(), hasher: RandomState::new() }
    }
}

impl Sources {
    /// A source says something, with this number.
    ///
    /// # Errors
    /// Why that is not taken, as a metrics label. What somebody plays again costs its
    /// source nothing.
    pub(super) fn says(
        &mut self,
        source: &PeerId,
        seq: u64,
        now: Duration,
    ) -> Result<(), &'static str> {
        let source = self.hasher.hash_one(source);
        let source = self.sources.get_or_insert_mut(source, Source::default);
        if seq <= source.seq {
            return Err("refused-replayed");
        }
        if self.all.left(OF_ALL, now) < 1.0 || !source.spent.one(OF_SOURCE, now) {
            return Err("refused-over-rate");
        }
        source.seq = seq;
        self.all.spend(1.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    #[test]
    fn a_source_has_one_message_a_second_and_replays_cost_it_nothing() {
        let (mut sources, source) = (Sources::default(), PeerId::random());
        let mut seq = 0;
        let mut taken = |sources: &mut Sources, now| {
            let says = |_: &i32| {
                seq += 1;
                sources.says(&source, seq, now).is_ok()
            };
            (0..9).filter(says).count()
        };
        assert_eq!([SEC, SEC * 2, SEC * 3].map(|now| taken(&mut sources, now)), [3, 1, 1]);
        for _ in 0..100 {
            assert_eq!(sources.says(&source, 1, SEC * 4), Err("refused-replayed"));
        }
        assert_eq!(taken(&mut sources, SEC * 4), 1);
        let other = PeerId::random();
        assert_eq!(sources.says(&other, 1, SEC * 4), Ok(()));
    }

    #[test]
    fn all_together_and_those_who_are_remembered_are_bounded() {
        let mut sources = Sources::default();
        let says = |_: &i32| sources.says(&PeerId::random(), 1, SEC).is_ok();
        assert_eq!((0..40_000).filter(says).count(), 2048);
        assert_eq!(sources.sources.len(), MAX_SOURCES.get());
    }
}
