//! What a peer says of itself, as a dict.

use casm_bindings::{Record, hash_fields};
use pyo3::{prelude::*, types::PyDict};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Dicts that are kept. Many nodes of a cluster say the same of themselves, and
/// to copy a dict takes a quarter of the time of making one.
const SLOTS: usize = 256;

/// The most fields of a dict that is kept.
const MOST_FIELDS: usize = 16;

struct Slot {
    /// The hash of what was asked for last: only what is asked for again is
    /// worth keeping.
    last: u64,
    kept: Option<Kept>,
}

struct Kept {
    /// Of the fields that are in the dict.
    record: Record,
    dict: Py<PyDict>,
}

static SLOT: Mutex<[Slot; SLOTS]> = Mutex::new([const { Slot { last: 0, kept: None } }; SLOTS]);

/// A dict of the caller's own.
pub(crate) fn dict<'py>(py: Python<'py>, record: &Record) -> PyResult<Bound<'py, PyDict>> {
    if record.fields().len() > MOST_FIELDS {
        return make(py, record);
    }
    let hash = hash_fields(record);
    let (kept, again) = {
        let mut slots = slots();
        let slot = slot(&mut slots, hash);
        let kept = slot.kept.as_ref().filter(|kept| kept.record.fields().eq(record.fields()));
        let kept = kept.map(|kept| kept.dict.clone_ref(py));
        (kept, std::mem::replace(&mut slot.last, hash) == hash)
    };
    // No lock is held here: Python may run anything while it makes a dict.
    if let Some(kept) = kept {
        return kept.bind(py).copy();
    }
    let dict = make(py, record)?;
    if again {
        let kept = Kept { record: record.clone(), dict: dict.copy()?.unbind() };
        let old = slot(&mut slots(), hash).kept.replace(kept);
        drop(old);
    }
    Ok(dict)
}

fn make<'py>(py: Python<'py>, record: &Record) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (key, value) in record.meta().iter() {
        dict.set_item(key, value)?;
    }
    Ok(dict)
}

fn slots() -> MutexGuard<'static, [Slot; SLOTS]> {
    SLOT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn slot(slots: &mut [Slot; SLOTS], hash: u64) -> &mut Slot {
    &mut slots[(hash % SLOTS as u64) as usize]
}
