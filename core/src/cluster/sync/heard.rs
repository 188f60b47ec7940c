//! What was heard of peers that are gone and is not kept, as far as comparisons speak
//! of it: goodbyes, and what others still have of a peer that was removed here. Nobody
//! hands it here again, and nobody is asked for it again.

use super::items::ShortId;
use crate::cache::cache;
use lru::LruCache;
use std::{num::NonZeroUsize, time::Duration};

/// How many are remembered, and for how long: partners keep a goodbye for 1.25
/// times a TTL, which is seldom longer.
const MAX: NonZeroUsize = NonZeroUsize::new(8192).expect("not 0");
const TIME: Duration = Duration::from_secs(10 * 60);

/// Numbers by the ids of their peers, the oldest out first.
pub(super) struct Heard(LruCache<ShortId, (u64, Duration)>);

impl Default for Heard {
    fn default() -> Self {
        Self(cache(MAX))
    }
}

impl Heard {
    pub(super) fn note(&mut self, id: ShortId, seq: u64, now: Duration) {
        let seq = self.get(&id, now).map_or(seq, |known| known.max(seq));
        self.0.put(id, (seq, now.saturating_add(TIME)));
        while self.0.peek_lru().is_some_and(|(_, (_, until))| *until <= now) {
            self.0.pop_lru();
        }
    }

    pub(super) fn get(&self, id: &ShortId, now: Duration) -> Option<u64> {
        self.0.peek(id).filter(|(_, until)| *until > now).map(|(seq, _)| *seq)
    }

    pub(super) fn all(&self, now: Duration) -> Vec<(ShortId, u64)> {
        let good = self.0.iter().filter(|(_, (_, until))| *until > now);
        good.map(|(id, (seq, _))| (*id, *seq)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_number_is_remembered_for_a_while_and_few_are() {
        let mut heard = Heard::default();
        heard.note(1, 7, Duration::ZERO);
        heard.note(1, 5, Duration::ZERO);
        assert_eq!(heard.get(&1, Duration::ZERO), Some(7));
        assert_eq!((heard.get(&1, TIME), heard.all(TIME)), (None, vec![]));
        let later = Duration::from_secs(1);
        (2..MAX.get() as u64 + 2).for_each(|id| heard.note(id, id, later));
        assert_eq!(heard.all(later).len(), MAX.get());
        assert_eq!(heard.get(&1, later), None);
        heard.note(1, 1, TIME + later);
        assert_eq!(heard.0.len(), 1);
    }
}
