//! Caches that are bounded, and small while little is in them.

use lru::LruCache;
use std::{hash::Hash, num::NonZeroUsize};

/// A cache of at most so many; what was used longest ago makes room. It takes the
/// memory of what is in it: made with a bound, it would take that of all at once.
pub(crate) fn cache<K: Hash + Eq, V>(most: NonZeroUsize) -> LruCache<K, V> {
    let mut cache = LruCache::unbounded();
    cache.resize(most);
    cache
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let mut cache = cache(NonZeroUsize::new(2).expect("not 0"));
        for (key, value) in [(1, 'a'), (2, 'b')] {
            assert_eq!(cache.get_or_insert(key, || value), &value);
        }
        assert_eq!(cache.get(&1), Some(&'a'));
        assert_eq!(cache.get_or_insert_mut(3, || 'c'), &'c');
        assert_eq!((cache.len(), cache.peek(&2), cache.peek(&1)), (2, None, Some(&'a')));
        cache.put(4, 'd');
        assert_eq!((cache.len(), cache.peek(&1)), (2, None));
    }
}
