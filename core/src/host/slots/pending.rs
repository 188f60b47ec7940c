//! Connections that are being set up: who began to connect has proved nothing
//! yet, and takes a place until the handshake has ended.

use super::Refusal;
use crate::prefix::Prefix;
use std::collections::BTreeMap;

/// Connections of one direction that are being set up.
#[derive(Debug)]
pub(super) struct Pending<Id> {
    most: usize,
    begun: BTreeMap<Id, Option<Prefix>>,
}

impl<Id: Ord> Pending<Id> {
    pub(super) const fn new(most: usize) -> Self {
        Self { most, begun: BTreeMap::new() }
    }

    /// Another begins. Below half any may; above it, a network has an eighth at
    /// most; the last quarter is for networks that have none.
    pub(super) fn begin(&mut self, id: Id, prefix: Option<Prefix>) -> Result<(), Refusal> {
        let n = self.begun.len();
        if n >= self.most {
            return Err(Refusal::Pending);
        }
        if prefix.is_some() && n >= self.most.div_ceil(2) {
            let held = self.begun.values().filter(|other| **other == prefix).count();
            let last = n >= self.most - self.most / 4;
            if held >= if last { 1 } else { (self.most / 8).max(1) } {
                return Err(Refusal::PendingShare);
            }
        }
        self.begun.insert(id, prefix);
        Ok(())
    }

    pub(super) fn end(&mut self, id: Id) {
        self.begun.remove(&id);
    }
}
