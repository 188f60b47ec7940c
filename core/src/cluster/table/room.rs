//! Who makes room for whom, and how far.

use super::{Limits, Table};
use crate::LeaveReason;
use libp2p::PeerId;
use std::time::Duration;

/// Records of one kind, and the memory that they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Table {
    /// Whether strangers are kept more briefly: the table is over half full.
    pub(super) fn is_crowded(&self) -> bool {
        self.slots.len() > self.limits.records / 2 || self.bytes > self.limits.bytes / 2
    }

    /// Whether another record of this weight may be established.
    pub(super) fn may_establish(&self, weight: usize) -> bool {
        self.established.records < Limits::for_established(self.limits.records)
            && self.established.bytes + weight <= Limits::for_established(self.limits.bytes)
    }

    /// Whether a record may be held on the word of the peer alone.
    pub(super) fn may_hand_over(&self, by: &PeerId, weight: usize) -> bool {
        let share = self.provisional.share(by);
        share.records < Limits::for_one_peer(self.limits.records)
            && share.bytes + weight <= Limits::for_one_peer(self.limits.bytes)
    }

    /// Makes room for a new record. False if there is none even without any
    /// newcomer.
    pub(super) fn room_for_new(&mut self, now: Duration, weight: usize) -> bool {
        let bytes = self.limits.bytes + self.overdrawn(self.established.bytes);
        if self.established.records >= self.limits.records
            || self.established.bytes + weight > bytes
        {
            return false;
        }
        while self.bytes + weight > bytes || self.slots.len() >= self.limits.records {
            let Some(slot) = self.newcomers.pick(None) else { return false };
            self.remove(now, slot, LeaveReason::Expired);
        }
        true
    }

    /// Makes room for a record that weighs more than the one before it in its
    /// slot. False if it would be more than may be overdrawn.
    pub(super) fn room_to_grow(
        &mut self,
        now: Duration,
        slot: u32,
        (before, after): (usize, usize),
        established: bool,
    ) -> bool {
        let Some(growth) = after.checked_sub(before).filter(|growth| *growth > 0) else {
            return true;
        };
        let handed_by = self.entry(slot).and_then(|entry| entry.handed_by.clone());
        if handed_by.is_some_and(|by| {
            self.provisional.share(&by).bytes + growth > Limits::for_one_peer(self.limits.bytes)
        }) {
            return false;
        }
        let mut kept = self.established.bytes;
        if established {
            let counted = self.entry(slot).is_some_and(|entry| entry.established);
            kept += if counted { growth } else { after };
            let most = Limits::for_established(self.limits.bytes) + self.limits.overdraft();
            if kept > most {
                return false;
            }
        }
        let least = kept + if established { 0 } else { after };
        if least > self.limits.bytes + self.limits.overdraft() {
            return false;
        }
        let bytes = self.limits.bytes + self.overdrawn(kept);
        while self.bytes + growth > bytes {
            let Some(slot) = self.newcomers.pick(Some(slot)) else {
                return self.bytes + growth <= self.limits.bytes + self.limits.overdraft();
            };
            self.remove(now, slot, LeaveReason::Expired);
        }
        true
    }

    /// What the established have more than their share; it is not taken from the
    /// newcomers.
    fn overdrawn(&self, established: usize) -> usize {
        established.saturating_sub(Limits::for_established(self.limits.bytes))
    }
}
