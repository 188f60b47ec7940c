//! The records of all peers: what enters, what is refused, what expires. Pure:
//! the time is an argument.
//!
//! - `arrival`: its input and output
//! - `deadlines`: what expires next; `detector`: when to give up on a peer
//! - `newcomers`: who makes room
//! - `remembered`: who is not to be resurrected

mod arrival;
mod deadlines;
mod detector;
#[cfg(test)]
mod flood_tests;
#[cfg(test)]
mod model_tests;
mod newcomers;
mod remembered;

pub use arrival::{Arrival, Difference, Limits, Now, Outcome, Via};
pub use detector::Detector;

use super::{
    heartbeat::Heartbeat,
    record::{Field, Record},
    snapshot::{Goodbye, Goodbyes, Proof, Snapshot, View},
};
use crate::LeaveReason;
use deadlines::Deadlines;
use libp2p::PeerId;
use newcomers::Newcomers;
use remembered::Remembered;
use std::{collections::HashMap, sync::Arc, time::Duration};

/// What the table knows of a record beside what readers see.
#[derive(Debug)]
struct Entry {
    deadline: Option<Duration>,
    since: Duration,
    established: bool,
    by_gossip: bool,
    weight: usize,
}

/// The records of all peers.
pub struct Table {
    own: PeerId,
    limits: Limits,
    detector: Detector,
    root: Arc<Snapshot>,
    slots: HashMap<PeerId, u32>,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    deadlines: Deadlines,
    newcomers: Newcomers,
    remembered: Remembered,
    bytes: usize,
    differences: Vec<Difference>,
}

impl Table {
    /// How far a sequence number, in nanoseconds since 1970, may be ahead of
    /// the clock.
    pub const MAX_AHEAD: Duration = Duration::from_secs(10 * 60);
    /// How long ago, beyond the patience with its TTL, a heartbeat may have been
    /// sent that introduces a peer by way of another: as far as clocks may differ.
    pub const MAX_BEHIND: Duration = Self::MAX_AHEAD;
    /// The longest signed message that is kept beside its record, in bytes.
    pub const MAX_SIGNED: usize = 8 << 10;
    /// Memory that a key takes in an index, in bytes.
    const KEY_WEIGHT: usize = 40;
    /// Memory that a record takes in the other structures, in bytes.
    const ENTRY_WEIGHT: usize = 400;

    /// An empty table of the node `own`. The seed decides who makes room in a
    /// full one.
    pub fn new(own: PeerId, limits: Limits, detector: Detector, seed: u64) -> Self {
        Self {
            own,
            limits,
            detector,
            root: Arc::default(),
            slots: HashMap::new(),
            entries: Vec::new(),
            free: Vec::new(),
            deadlines: Deadlines::default(),
            newcomers: Newcomers::new(seed),
            remembered: Remembered::new(limits.remembered),
            bytes: 0,
            differences: Vec::new(),
        }
    }

    /// A snapshot.
    pub fn view(&self) -> View {
        View(self.root.clone())
    }

    /// What changed since this was last called.
    pub fn take_differences(&mut self) -> Vec<Difference> {
        std::mem::take(&mut self.differences)
    }

    /// When the next record expires, or the next goodbye is forgotten.
    pub fn next_deadline(&self) -> Option<Duration> {
        [self.deadlines.next(), self.root.goodbyes.next_due()].into_iter().flatten().min()
    }

    /// Memory in use for records, signed messages and indexes, as estimated.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many departed peers are remembered.
    pub fn remembered(&self) -> usize {
        self.remembered.len()
    }

    /// Takes a heartbeat of another node, or refuses it.
    pub fn insert(&mut self, now: Now, arrival: Arrival<'_>) -> Outcome {
        let Arrival { peer, seq, .. } = arrival;
        if peer == self.own {
            // Numbers begin with the time at which a node starts.
            let own = self.record(&peer).map(Record::seq).filter(|own| *own != 0);
            let ahead = seq > own.unwrap_or(now.unix_nanos);
            return if ahead { Outcome::OwnAhead } else { Outcome::Own };
        }
        let ahead = u64::try_from(Self::MAX_AHEAD.as_nanos()).unwrap_or(u64::MAX);
        if seq > now.unix_nanos.saturating_add(ahead) {
            return Outcome::Future;
        }
        match self.slots.get(&peer) {
            Some(slot) => self.renew(now.elapsed, *slot, arrival),
            None => self.admit(now, arrival),
        }
    }

    /// Puts this node's own record in. It takes the place of the last one
    /// whatever its number, and doesn't expire.
    pub fn insert_own(&mut self, now: Now, seq: u64, beat: &Heartbeat, signed: &[u8]) {
        let ttl = beat.ttl.unwrap_or(Heartbeat::DEFAULT_TTL);
        let slot = self.slots.get(&self.own).copied();
        let record = self.next_record(slot, self.own, seq, ttl, beat);
        let entry = Entry {
            deadline: None,
            since: now.elapsed,
            established: true,
            by_gossip: true,
            weight: weight(&record, signed),
        };
        self.store(now.elapsed, slot, record, signed, entry);
    }

    /// Keeps this node's own goodbye, for others to have.
    pub fn leave(&mut self, now: Duration, seq: u64, beat: &Heartbeat, signed: &[u8]) {
        let ttl = self.record(&self.own).map_or(Duration::ZERO, Record::ttl);
        let (peer, from, via) = (self.own, self.own, Via::Gossip);
        self.keep_goodbye(now, Arrival { peer, seq, from, beat, signed, via }, ttl);
    }

    /// Removes the records whose time is over, and forgets such goodbyes.
    pub fn expire(&mut self, now: Duration) {
        if self.root.goodbyes.next_due().is_some_and(|due| due <= now) {
            Arc::make_mut(&mut self.root).goodbyes.expire(now);
        }
        while let Some(slot) = self.deadlines.due(now) {
            self.remove(now, slot, LeaveReason::Expired);
        }
    }

    /// A heartbeat of a peer that is in the table.
    fn renew(&mut self, now: Duration, slot: u32, arrival: Arrival<'_>) -> Outcome {
        let (Some(old), Some(entry)) = (
            self.root.slots.get(slot),
            self.entries.get_mut(slot as usize).and_then(Option::as_mut),
        ) else {
            return Outcome::Stale;
        };
        if arrival.seq == old.seq() && arrival.via == Via::Gossip && !entry.by_gossip {
            entry.by_gossip = true;
            return Outcome::Relayed;
        }
        if arrival.seq <= old.seq() {
            return Outcome::Stale;
        }
        let Some(ttl) = arrival.beat.ttl else {
            let last_ttl = old.ttl();
            self.remove_said(now, slot, arrival.seq, LeaveReason::Left);
            self.keep_goodbye(now, arrival, last_ttl);
            return Outcome::Left;
        };
        let (since, weight_before) = (entry.since, entry.weight);
        let established = entry.established || now.saturating_sub(since) >= self.limits.probation;
        let Some(deadline) = self.deadline(now, ttl, arrival.via) else { return Outcome::Late };
        let signed = kept(arrival.signed);
        let record = self.next_record(Some(slot), arrival.peer, arrival.seq, ttl, arrival.beat);
        let weight = weight(&record, signed);
        if weight > weight_before && !self.make_room(now, weight - weight_before, 0, Some(slot)) {
            return Outcome::Full;
        }
        let by_gossip = arrival.via == Via::Gossip;
        let entry = Entry { deadline: Some(deadline), since, established, by_gossip, weight };
        self.store(now, Some(slot), record, signed, entry)
    }

    /// A heartbeat of a peer that is not in the table.
    fn admit(&mut self, now: Now, arrival: Arrival<'_>) -> Outcome {
        let Now { elapsed: now, unix_nanos } = now;
        let departed = self.remembered.get(&arrival.peer, now);
        if departed.is_some_and(|departed| arrival.seq <= departed.seq) {
            let first = arrival.via == Via::Gossip
                && self.root.goodbyes.of(&arrival.peer).is_some_and(|goodbye| !goodbye.by_gossip)
                && Arc::make_mut(&mut self.root).goodbyes.gossiped(&arrival.peer, arrival.seq);
            return if first { Outcome::Relayed } else { Outcome::Replayed };
        }
        let established = departed.is_some_and(|departed| departed.established);
        let Some(ttl) = arrival.beat.ttl else {
            self.remembered.put(arrival.peer, arrival.seq, established, now);
            // Who says it itself may be in others' tables.
            if arrival.is_direct() || self.root.goodbyes.of(&arrival.peer).is_some() {
                self.keep_goodbye(now, arrival, Duration::ZERO);
            }
            return Outcome::Left;
        };
        let latest = Self::MAX_BEHIND.saturating_add(self.detector.patience(ttl));
        let is_old =
            |sent: Duration| Duration::from_nanos(unix_nanos).saturating_sub(sent) > latest;
        if !arrival.is_direct() && arrival.beat.sent_at.is_some_and(is_old) {
            return Outcome::Ghost;
        }
        let Some(deadline) = self.deadline(now, ttl, arrival.via) else { return Outcome::Late };
        let signed = kept(arrival.signed);
        let record = Record::new(arrival.peer, arrival.seq, ttl, arrival.beat);
        let weight = weight(&record, signed);
        if !self.make_room(now, weight, 1, None) {
            return Outcome::Full;
        }
        self.remembered.forget(&arrival.peer);
        if self.root.goodbyes.of(&arrival.peer).is_some() {
            Arc::make_mut(&mut self.root).goodbyes.forget(&arrival.peer);
        }
        let by_gossip = arrival.via == Via::Gossip;
        let entry = Entry { deadline: Some(deadline), since: now, established, by_gossip, weight };
        self.store(now, None, record, signed, entry)
    }

    /// Removes newcomers, one at random after the other, until there is room.
    /// False if there is none without touching the established.
    fn make_room(
        &mut self,
        now: Duration,
        bytes: usize,
        records: usize,
        keep: Option<u32>,
    ) -> bool {
        if bytes > self.limits.bytes || records > self.limits.records {
            return false;
        }
        while self.bytes > self.limits.bytes - bytes
            || self.slots.len() > self.limits.records - records
        {
            match self.newcomers.pick(keep) {
                Some(slot) => self.remove(now, slot, LeaveReason::Expired),
                None => return false,
            }
        }
        true
    }

    /// When a record is to be dropped; `None` if that is in the past.
    fn deadline(&self, now: Duration, ttl: Duration, via: Via) -> Option<Duration> {
        let patience = self.detector.patience(ttl);
        let age = match via {
            Via::Gossip => Duration::ZERO,
            Via::Exchange(age) => age,
        };
        Some(now.saturating_add(patience.checked_sub(age).filter(|left| !left.is_zero())?))
    }

    /// The record as the peer now says; shares what it can with the last one.
    fn next_record(
        &self,
        slot: Option<u32>,
        peer: PeerId,
        seq: u64,
        ttl: Duration,
        beat: &Heartbeat,
    ) -> Record {
        match slot.and_then(|slot| self.root.slots.get(slot)) {
            Some(old) if old.says(beat) => old.renewed(seq, ttl),
            _ => Record::new(peer, seq, ttl, beat),
        }
    }

    fn record(&self, peer: &PeerId) -> Option<&Record> {
        self.root.slots.get(*self.slots.get(peer)?)
    }

    /// Puts a record in its slot, or in a new one, and keeps everything in
    /// step.
    fn store(
        &mut self,
        now: Duration,
        slot: Option<u32>,
        record: Record,
        signed: &[u8],
        entry: Entry,
    ) -> Outcome {
        // What is left of its time tells for how long others had it.
        let age = entry.deadline.map_or(Duration::ZERO, |deadline| {
            let left = deadline.saturating_sub(now);
            self.detector.patience(record.ttl()).saturating_sub(left)
        });
        let root = Arc::make_mut(&mut self.root);
        let old = slot.and_then(|slot| root.slots.get(slot)).cloned();
        let slot = slot.or_else(|| self.free.pop()).unwrap_or_else(|| {
            self.entries.push(None);
            root.proofs.push_back(Proof::default());
            u32::try_from(self.entries.len() - 1).expect("limited far below 2^32")
        });
        let same_keys = old.as_ref().is_some_and(|old| old.same_keys(&record));
        if !same_keys && old.is_some() {
            root.indexes.iter_mut().for_each(|index| index.remove(slot, &root.slots));
        }
        root.slots.set(slot, Some(record.clone()));
        root.proofs.set(slot as usize, Proof { signed: signed.into(), received: now, age });
        if !same_keys {
            root.indexes.iter_mut().for_each(|index| index.insert(slot, &root.slots));
        }
        root.len += usize::from(old.is_none());

        self.slots.insert(record.peer(), slot);
        self.bytes += entry.weight;
        let before = self.entries[slot as usize].take();
        self.bytes -= before.as_ref().map_or(0, |before| before.weight);
        self.deadlines.set(slot, before.and_then(|before| before.deadline), entry.deadline);
        if entry.established {
            self.newcomers.remove(slot)
        } else {
            self.newcomers.insert(slot)
        }
        self.entries[slot as usize] = Some(entry);

        match old {
            None => {
                self.differences.push(Difference::Joined(record));
                Outcome::Joined
            }
            Some(old) if old.says_same(&record) => Outcome::Renewed,
            Some(old) => {
                self.differences.push(Difference::Updated { old, new: record });
                Outcome::Updated
            }
        }
    }

    /// Keeps a goodbye for as long as somebody may have the peer's record.
    fn keep_goodbye(&mut self, now: Duration, said: Arrival<'_>, last_ttl: Duration) {
        let age = match said.via {
            Via::Gossip => Duration::ZERO,
            Via::Exchange(age) => age,
        };
        let time = self.detector.patience(last_ttl).max(Goodbyes::LEAST);
        let signed = kept(said.signed);
        let Some(left) = time.checked_sub(age).filter(|left| !left.is_zero()) else { return };
        if signed.is_empty() {
            return;
        }
        Arc::make_mut(&mut self.root).goodbyes.put(Goodbye {
            peer: said.peer,
            seq: said.seq,
            signed: signed.into(),
            received: now,
            age,
            until: now.saturating_add(left),
            from: said.from,
            by_gossip: said.via == Via::Gossip,
        });
    }

    fn remove(&mut self, now: Duration, slot: u32, reason: LeaveReason) {
        let seq = self.root.slots.get(slot).map_or(0, Record::seq);
        self.remove_said(now, slot, seq, reason);
    }

    /// Removes a record, and remembers the number of the last that was heard.
    fn remove_said(&mut self, now: Duration, slot: u32, seq: u64, reason: LeaveReason) {
        let root = Arc::make_mut(&mut self.root);
        let record = root.slots.get(slot).cloned();
        let entry = self.entries.get_mut(slot as usize).and_then(Option::take);
        let (Some(record), Some(entry)) = (record, entry) else { return };
        root.indexes.iter_mut().for_each(|index| index.remove(slot, &root.slots));
        root.slots.set(slot, None);
        root.proofs.set(slot as usize, Proof::default());
        root.len -= 1;
        self.slots.remove(&record.peer());
        self.free.push(slot);
        self.deadlines.set(slot, entry.deadline, None);
        self.newcomers.remove(slot);
        self.bytes -= entry.weight;
        let established =
            entry.established || now.saturating_sub(entry.since) >= self.limits.probation;
        self.remembered.put(record.peer(), seq, established, now);
        self.differences.push(Difference::Left(record, reason));
    }
}

/// The signed message, unless it is too long to be kept.
fn kept(signed: &[u8]) -> &[u8] {
    if signed.len() <= Table::MAX_SIGNED { signed } else { &[] }
}

/// Bytes of memory that a record takes, as estimated.
fn weight(record: &Record, signed: &[u8]) -> usize {
    let keys: usize = Field::ALL.iter().map(|field| usize::from(record.keys(*field))).sum();
    record.weight() + signed.len() + keys * Table::KEY_WEIGHT + Table::ENTRY_WEIGHT
}
