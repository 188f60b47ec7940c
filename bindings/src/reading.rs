//! Reading many records, as every language does that goes over a view.

use crate::Record;
use rustc_hash::FxHasher;
use std::{
    hash::{Hash, Hasher},
    hint::black_box,
};

/// Records that are brought near together.
pub const TOGETHER: usize = 32;

/// Brings records into the processor's cache. Each lies somewhere else in
/// memory, and its text somewhere else again. In these short loops the processor
/// waits for many of them at once; in that of the program, it would wait for
/// each. More than [`TOGETHER`] are too many.
pub fn bring_near(records: &[Record]) {
    for record in records {
        black_box(record.server());
    }
    for record in records {
        let first = |text: &str| text.as_bytes().first().copied();
        black_box((first(record.peer_text()), record.fields().next().and_then(first)));
    }
}

/// A quick hash of what a peer says of itself, to find those that say the same.
/// Who wants to can make two that differ meet.
pub fn hash_fields(record: &Record) -> u64 {
    let mut hasher = FxHasher::default();
    record.fields().for_each(|field| field.hash(&mut hasher));
    hasher.finish()
}
