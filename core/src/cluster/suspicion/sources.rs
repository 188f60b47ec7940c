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
/// Messages of all who are not established, which a new node passes on: nobody counts
/// what those say, but the new node can't know who they are to others.
const OF_UNPROVEN: Limit = Limit { most: 32.0, a_second: 16.0 };
/// So long after a source's last message an older number is taken from it: it may have
/// set its clock. What somebody plays again says nothing of numbers that came since.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// Sources that are remembered: those that were heard of longest ago are forgotten.
const MAX_SOURCES: NonZeroUsize = NonZeroUsize::new(16_384).expect("not 0");

#[derive(Default)]
struct Source {
    seq: u64,
    said: Duration,
    spent: Spent,
}

/// Who has accused others lately.
pub(super) struct Sources {
    /// By keyed hashes of their ids, which take a third of the memory.
    sources: LruCache<u64, Source>,
    all: Spent,
    unproven: Spent,
    hasher: RandomState,
}

impl Default for Sources {
    fn default() -> Self {
        let sources = cache(MAX_SOURCES);
        let (all, unproven) = (Spent::default(), Spent::default());
        Self { sources, all, unproven, hasher: RandomState::new() }
    }
}

impl Sources {
    /// A source, established or not, says something with this number.
    ///
    /// # Errors
    /// Why that is not taken, as a metrics label. What somebody plays again costs its
    /// source nothing.
    pub(super) fn says(
        &mut self,
        source: &PeerId,
        seq: u64,
        established: bool,
        now: Duration,
    ) -> Result<(), &'static str> {
        let source = self.hasher.hash_one(source);
        let source = self.sources.get_or_insert_mut(source, Source::default);
        if seq <= source.seq && now < source.said.saturating_add(FORGOTTEN) {
            return Err("refused-replayed");
        }
        let (all, limit) = match established {
            true => (&mut self.all, OF_ALL),
            false => (&mut self.unproven, OF_UNPROVEN),
        };
        if all.left(limit, now) < 1.0 || !source.spent.one(OF_SOURCE, now) {
            return Err("refused-over-rate");
        }
        all.spend(1.0);
        (source.seq, source.said) = (seq, now);
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
                sources.says(&source, seq, true, now).is_ok()
            };
            (0..9).filter(says).count()
        };
        assert_eq!([SEC, SEC * 2, SEC * 3].map(|now| taken(&mut sources, now)), [3, 1, 1]);
        for _ in 0..100 {
            assert_eq!(sources.says(&source, 1, true, SEC * 4), Err("refused-replayed"));
        }
        assert_eq!(taken(&mut sources, SEC * 4), 1);
        let other = PeerId::random();
        assert_eq!(sources.says(&other, 1, true, SEC * 4), Ok(()));
    }

    #[test]
    fn all_together_and_those_who_are_remembered_are_bounded() {
        let mut sources = Sources::default();
        let mut taken = |established, now| {
            let says = |_: &i32| sources.says(&PeerId::random(), 1, established, now).is_ok();
            (0..20_000).filter(says).count()
        };
        // Of whom nothing is known takes nothing from others.
        assert_eq!((taken(false, SEC), taken(true, SEC)), (32, 2048));
        assert_eq!((taken(false, SEC * 2), taken(true, SEC * 2)), (16, 1024));
        assert_eq!(sources.sources.len(), MAX_SOURCES.get());
    }

    #[test]
    fn a_clock_that_was_ahead_is_forgotten() {
        let (mut sources, source) = (Sources::default(), PeerId::random());
        assert_eq!(sources.says(&source, u64::MAX, true, SEC), Ok(()));
        let later = SEC + FORGOTTEN;
        let before = later - Duration::from_nanos(1);
        assert_eq!(sources.says(&source, 7, true, before), Err("refused-replayed"));
        assert_eq!(sources.says(&source, 7, true, later), Ok(()));
        assert_eq!(sources.says(&source, 7, true, later), Err("refused-replayed"));
    }
}
