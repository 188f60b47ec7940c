//! The crate `moka`, as far as `hickory-resolver` uses it: a bounded cache of answers, each
//! with a time after which it is gone. `[patch.crates-io]` in the workspace puts it in that
//! crate's place.
//!
//! There is one lock, and what was used longest ago goes first. A resolver asks it twice
//! for each name that it looks up, so that there is nothing to be gained by more.

pub mod sync;

use std::time::{Duration, Instant};

/// For how long an entry is kept.
pub trait Expiry<K, V> {
    /// From when it is new; without an end if this says nothing.
    fn expire_after_create(&self, _key: &K, _value: &V, _now: Instant) -> Option<Duration> {
        None
    }

    /// From when another value takes the place of one that had so long left; the same if
    /// nothing else is said.
    fn expire_after_update(
        &self,
        _key: &K,
        _value: &V,
        _now: Instant,
        left: Option<Duration>,
    ) -> Option<Duration> {
        left
    }
}
