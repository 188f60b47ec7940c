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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{
        Arrival, Detector, Heartbeat, Now, Outcome, Query, Roles, Via, snapshot::Proof,
    };
    use std::sync::Arc;

    const UNIX: u64 = 1_000_000_000_000_000_000;

    /// A table in which as many places are taken as it has by default. There is nothing
    /// in them: to put so many records in order takes a while.
    fn taken(limits: Limits) -> Table {
        let mut table = Table::new(PeerId::random(), limits, Detector::default(), 1);
        let root = Arc::make_mut(&mut table.root);
        for slot in (0..).take(Limits::default().records) {
            root.slots.set(slot, None);
            root.proofs.push_back(Proof::default());
            table.entries.push(None);
            table.slots.insert(PeerId::random(), slot);
        }
        table
    }

    #[test]
    fn a_table_takes_more_records_than_by_default_if_it_is_told_to() {
        let insert = |table: &mut Table, peer: PeerId, seq: u64| {
            let beat = Heartbeat {
                server: 1,
                ttl: Some(Heartbeat::DEFAULT_TTL),
                host: "h".into(),
                meta: vec![],
                sent_at: None,
                addrs: Default::default(),
            };
            let (via, roles) = (Via::Gossip, Roles::NONE);
            let arrival = Arrival { peer, seq, from: peer, beat: &beat, signed: &[1], via, roles };
            table.insert(Now { elapsed: Duration::ZERO, unix_nanos: UNIX }, arrival)
        };
        let usual = Limits::default();
        assert_eq!(insert(&mut taken(usual), PeerId::random(), UNIX), Outcome::Full);

        let mut table = taken(Limits { records: 2 * usual.records, ..usual });
        let peers: Vec<_> = (0..300).map(|_| PeerId::random()).collect();
        for peer in &peers {
            assert_eq!(insert(&mut table, *peer, UNIX), Outcome::Joined);
            assert_eq!(insert(&mut table, *peer, UNIX + 1), Outcome::Renewed);
        }
        assert_eq!(table.len(), usual.records + 300);
        let view = table.view();
        assert!(peers.iter().all(|peer| view.get(peer).is_some_and(|r| r.seq() == UNIX + 1)));
        assert_eq!((view.iter(Query::all()).count(), view.signed().count()), (300, 300));
    }
}
