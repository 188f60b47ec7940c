//! A cache that is shared by threads.

use crate::Expiry;
use lru::LruCache;
use std::{
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// A cache. Clones share it.
pub struct Cache<K, V>(Arc<Shared<K, V>>);

struct Shared<K, V> {
    /// The most entries.
    most: u64,
    expiry: Option<Box<dyn Expiry<K, V> + Send + Sync>>,
    entries: Mutex<LruCache<K, Kept<V>>>,
}

struct Kept<V> {
    value: V,
    /// When it is gone.
    end: Option<Instant>,
}

impl<V> Kept<V> {
    fn is_over(&self, now: Instant) -> bool {
        self.end.is_some_and(|end| end <= now)
    }
}

/// What a cache is to be.
pub struct CacheBuilder<K, V> {
    most: u64,
    expiry: Option<Box<dyn Expiry<K, V> + Send + Sync>>,
}

impl<K, V> CacheBuilder<K, V> {
    /// How many entries it holds at most; else as many as come.
    pub fn max_capacity(self, most: u64) -> Self {
        Self { most, ..self }
    }

    /// For how long it holds each; else for good.
    pub fn expire_after(self, expiry: impl Expiry<K, V> + Send + Sync + 'static) -> Self {
        Self { expiry: Some(Box::new(expiry)), ..self }
    }
}

impl<K: Hash + Eq, V> CacheBuilder<K, V> {
    /// The cache, with no entry in it.
    pub fn build(self) -> Cache<K, V> {
        let Self { most, expiry } = self;
        // Room is made as entries come, not for as many as there may be.
        Cache(Arc::new(Shared { most, expiry, entries: Mutex::new(LruCache::unbounded()) }))
    }
}

impl<K, V> Clone for Cache<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("max_capacity", &self.0.most).finish_non_exhaustive()
    }
}

impl<K, V> Cache<K, V> {
    /// A cache that is to be built.
    pub fn builder() -> CacheBuilder<K, V> {
        CacheBuilder { most: u64::MAX, expiry: None }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<K, Kept<V>>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// The value of a key, unless its time is over.
    pub fn get(&self, key: &K) -> Option<V> {
        self.get_at(key, Instant::now())
    }

    fn get_at(&self, key: &K, now: Instant) -> Option<V> {
        let mut entries = self.lock();
        if entries.peek(key).is_some_and(|kept| kept.is_over(now)) {
            entries.pop(key);
        }
        entries.get(key).map(|kept| kept.value.clone())
    }

    /// Gives a key a value.
    pub fn insert(&self, key: K, value: V) {
        self.insert_at(key, Instant::now(), |_| value);
    }

    fn insert_at(&self, key: K, now: Instant, value: impl FnOnce(Option<Entry<V>>) -> V) -> V {
        let mut entries = self.lock();
        let was = entries.pop(&key).filter(|kept| !kept.is_over(now));
        let left = was.as_ref().map(|kept| kept.end.map(|end| end - now));
        let value = value(was.map(|kept| Entry(kept.value)));
        let expiry = self.0.expiry.as_ref();
        let time = expiry.and_then(|expiry| match left {
            Some(left) => expiry.expire_after_update(&key, &value, now, left),
            None => expiry.expire_after_create(&key, &value, now),
        });
        let end = time.and_then(|time| now.checked_add(time));
        entries.put(key, Kept { value: value.clone(), end });
        if entries.len() as u64 > self.0.most {
            entries.pop_lru();
        }
        value
    }

    /// The place of a key.
    pub fn entry(&self, key: K) -> Place<'_, K, V> {
        Place { cache: self, key }
    }

    /// Drops the value of a key.
    pub fn invalidate(&self, key: &K) {
        self.lock().pop(key);
    }

    /// Drops all values.
    pub fn invalidate_all(&self) {
        self.lock().clear();
    }
}

/// The place of a key in a cache.
pub struct Place<'a, K, V> {
    cache: &'a Cache<K, V>,
    key: K,
}

impl<K: Hash + Eq, V: Clone> Place<'_, K, V> {
    /// Gives the key the value that `value` makes of the one it has, and tells it.
    pub fn and_upsert_with(self, value: impl FnOnce(Option<Entry<V>>) -> V) -> Entry<V> {
        Entry(self.cache.insert_at(self.key, Instant::now(), value))
    }
}

/// A value in a cache.
#[derive(Clone, Debug)]
pub struct Entry<V>(V);

impl<V> Entry<V> {
    /// The value.
    pub fn value(&self) -> &V {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A value is for how many seconds it is kept.
    struct Seconds;

    impl Expiry<&'static str, u64> for Seconds {
        fn expire_after_create(&self, _: &&str, value: &u64, _: Instant) -> Option<Duration> {
            Some(Duration::from_secs(*value))
        }
    }

    fn cache(most: u64) -> Cache<&'static str, u64> {
        Cache::builder().max_capacity(most).expire_after(Seconds).build()
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let (cache, now) = (cache(2), Instant::now());
        for key in ["a", "b"] {
            cache.insert(key, 60);
        }
        assert_eq!(cache.get_at(&"a", now), Some(60));
        cache.insert("c", 60);
        let kept = ["a", "b", "c"].map(|key| cache.clone().get_at(&key, now).is_some());
        assert_eq!(kept, [true, false, true]);
        cache.invalidate(&"a");
        assert_eq!((cache.get_at(&"a", now), cache.get_at(&"c", now)), (None, Some(60)));
        cache.invalidate_all();
        assert_eq!(cache.get_at(&"c", now), None);
    }

    #[test]
    fn nothing_is_held_where_there_is_no_room() {
        let cache = cache(0);
        cache.insert("a", 60);
        assert_eq!((cache.get(&"a"), cache.lock().len()), (None, 0));
    }

    #[test]
    fn an_entry_is_gone_when_its_time_is_over() {
        let (cache, start) = (cache(8), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        cache.insert_at("a", start, |_| 10);
        assert_eq!((cache.get_at(&"a", at(9)), cache.get_at(&"a", at(10))), (Some(10), None));
        assert_eq!(cache.lock().len(), 0);
        // Another value has the time that the first had left, if no other is said.
        cache.insert_at("b", start, |was| was.map_or(10, |_| 99));
        cache.insert_at("b", at(5), |was| was.map_or(99, |was| was.value() + 20));
        assert_eq!((cache.get_at(&"b", at(9)), cache.get_at(&"b", at(10))), (Some(30), None));
        // One whose time was over is as good as none.
        cache.insert_at("c", start, |_| 1);
        cache.insert_at("c", at(1), |was| was.map_or(2, |_| 99));
        assert_eq!(cache.get_at(&"c", at(2)), Some(2));
        assert_eq!(cache.entry("d").and_upsert_with(|was| was.map_or(7, |_| 8)).value(), &7);
        assert_eq!(cache.entry("d").and_upsert_with(|was| was.map_or(7, |_| 8)).value(), &8);
    }
}
