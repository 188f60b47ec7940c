//! Records that stand on the word of one peer: it handed them over, and nobody
//! else has told of them yet.

use libp2p::PeerId;
use std::{collections::HashMap, sync::Arc};

/// What each peer has handed over that is not confirmed.
#[derive(Debug, Default)]
pub(super) struct Provisional(HashMap<Arc<PeerId>, Share>);

/// How much that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Provisional {
    pub(super) fn share(&self, by: &PeerId) -> Share {
        self.0.get(by).copied().unwrap_or_default()
    }

    /// The peer's id, once in memory for all of its records.
    pub(super) fn shared_id(&self, by: PeerId) -> Arc<PeerId> {
        self.0.get_key_value(&by).map_or_else(|| Arc::new(by), |(id, _)| id.clone())
    }

    pub(super) fn add(&mut self, by: Arc<PeerId>, bytes: usize) {
        let share = self.0.entry(by).or_default();
        share.records += 1;
        share.bytes += bytes;
    }

    pub(super) fn remove(&mut self, by: &PeerId, bytes: usize) {
        let Some(share) = self.0.get_mut(by) else { return };
        share.records -= 1;
        share.bytes -= bytes;
        if share.records == 0 {
            self.0.remove(by);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
