//! What the table knows of a record beside what readers see, and its sums.

use super::{Limits, Standing, Table};
use crate::cluster::record::{Field, Record};
use libp2p::PeerId;
use std::{sync::Arc, time::Duration};

/// Memory that a key takes in an index, in bytes.
const KEY_WEIGHT: usize = 40;
/// Memory that a record takes in the other structures, in bytes.
const ENTRY_WEIGHT: usize = 432;

/// What the table knows of a record beside what readers see.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) deadline: Option<Duration>,
    pub(super) standing: Standing,
    /// One that makes no room for others.
    pub(super) established: bool,
    /// Whether its TTL is one with which it has to go on sending.
    pub(super) paced: bool,
    pub(super) by_gossip: bool,
    /// Whether its last heartbeat said when it was sent.
    pub(super) answers: bool,
    /// On whose word alone it is there.
    pub(super) handed_by: Option<Arc<PeerId>>,
    pub(super) weight: usize,
}

impl Entry {
    /// When it is dropped while the table is crowded, if that is before its own
    /// deadline: a newcomer soon, and one of the established after as long as it
    /// has been there. Else a few heartbeats would buy a place for a day.
    fn cap(&self) -> Option<Duration> {
        let there = self.standing.time_there();
        let time = if self.established { there } else { Duration::ZERO };
        let cap = self.standing.last.saturating_add(time.max(Limits::NEWCOMER_TIME));
        Some(cap).filter(|cap| self.deadline.is_some_and(|own| *cap < own))
    }
}

impl Table {
    pub(super) fn entry(&self, slot: u32) -> Option<&Entry> {
        self.entries.get(slot as usize)?.as_ref()
    }

    /// Puts an entry in the place of the one before, and keeps the sums and the
    /// deadlines in step with it.
    pub(super) fn change_entry(&mut self, slot: u32, new: Option<Entry>) {
        let place = &mut self.entries[slot as usize];
        let old = std::mem::replace(place, new);
        let new = place.as_ref();
        let deadline = |entry: Option<&Entry>| entry.and_then(|entry| entry.deadline);
        let cap = |entry: Option<&Entry>| entry.and_then(Entry::cap);
        self.deadlines.set(slot, deadline(old.as_ref()), deadline(new));
        self.caps.set(slot, cap(old.as_ref()), cap(new));
        if let Some(new) = new {
            self.held.add(new);
            self.bytes += new.weight;
            if new.established {
                self.established.records += 1;
                self.established.bytes += new.weight;
            }
            if let Some(by) = &new.handed_by {
                self.provisional.add(by.clone(), new.weight);
            }
        }
        if let Some(old) = old {
            self.held.remove(&old);
            self.bytes -= old.weight;
            if old.established {
                self.established.records -= 1;
                self.established.bytes -= old.weight;
            }
            if let Some(by) = &old.handed_by {
                self.provisional.remove(by, old.weight);
            }
        }
        match new {
            Some(new) if !new.established => self.newcomers.insert(slot),
            _ => self.newcomers.remove(slot),
        }
    }
}

/// The signed message, unless it is too long to be kept.
pub(super) fn kept(signed: &[u8]) -> &[u8] {
    if signed.len() <= Table::MAX_SIGNED { signed } else { &[] }
}

/// Bytes of memory that a record takes, as estimated: what a peer can have it take.
/// Roles are left out, up to 2 KiB for each record. Who signs certificates decides on
/// them, and they are never left away for want of room.
pub(super) fn weight(record: &Record, signed: &[u8]) -> usize {
    let said = Field::ALL.iter().filter(|field| **field != Field::Role);
    let keys: usize = said.map(|field| usize::from(record.keys(*field))).sum();
    record.weight() + signed.len() + keys * KEY_WEIGHT + ENTRY_WEIGHT
}
