//! The records of all peers: what enters, what is refused, what expires. Pure:
//! the time is an argument.
//!
//! - `arrival`: its input and output; `limits`: what it may hold
//! - `entry`: what it knows of a record; `deadlines`: what expires next; `detector`: when to give up on a peer
//! - `standing`: who is established; `held`: how many count for the pace
//! - `newcomers` and `room`: who makes room
//! - `provisional`: what stands on the word of one peer
//! - `suspects`: who is suspected to have crashed
//! - `remembered`: who is not to be resurrected; `roles`: what changes with a peer's roles

mod arrival;
mod deadlines;
mod detector;
mod entry;
#[cfg(test)]
mod flood_tests;
mod held;
mod limits;
#[cfg(test)]
mod model_tests;
mod newcomers;
mod provisional;
mod remembered;
mod roles;
mod room;
mod standing;
mod suspects;

pub use arrival::{Arrival, Difference, Now, Outcome, Via};
pub use detector::Detector;
pub use held::Held;
pub use limits::Limits;
pub use suspects::{Known, Knows};

use super::{
    heartbeat::Heartbeat,
    record::Record,
    roles::Roles,
    snapshot::{Goodbye, Goodbyes, Proof, Snapshot, View},
};
use crate::LeaveReason;
use deadlines::Deadlines;
use entry::{Entry, kept, weight};
use libp2p::PeerId;
use newcomers::Newcomers;
use provisional::Provisional;
use remembered::Remembered;
use room::Sum;
use standing::Standing;
use std::{collections::HashMap, sync::Arc, time::Duration};

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
    /// Deadlines that hold only while the table is crowded.
    caps: Deadlines,
    newcomers: Newcomers,
    remembered: Remembered,
    provisional: Provisional,
    established: Sum,
    held: Held,
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
            caps: Deadlines::default(),
            newcomers: Newcomers::new(seed),
            remembered: Remembered::new(limits.remembered),
            provisional: Provisional::default(),
            established: Sum::default(),
            held: Held::default(),
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
        let cap = self.caps.next().filter(|_| self.is_crowded());
        let goodbye = self.root.goodbyes.next_due();
        [self.deadlines.next(), cap, goodbye].into_iter().flatten().min()
    }

    /// Memory in use for records, signed messages and indexes, as estimated.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many departed peers are remembered.
    pub fn remembered(&self) -> usize {
        self.remembered.len()
    }

    /// The TTL of a peer's record, if it is in the table.
    pub fn ttl_of(&self, peer: &PeerId) -> Option<Duration> {
        self.record(peer).map(Record::ttl)
    }

    /// The last number that is known of a peer, be it in the table or departed.
    pub fn last_seq(&self, peer: &PeerId, now: Duration) -> Option<u64> {
        let record = self.record(peer).map(Record::seq);
        record.or_else(|| self.remembered.get(peer, now).map(|departed| departed.seq))
    }

    /// Takes a heartbeat of another node, or refuses it.
    pub fn insert(&mut self, now: Now, arrival: Arrival<'_>) -> Outcome {
        let Arrival { peer, seq, .. } = arrival;
        if peer == self.own {
            return Outcome::Own;
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
    pub fn insert_own(
        &mut self,
        now: Now,
        seq: u64,
        (beat, signed): (&Heartbeat, &[u8]),
        roles: &Roles,
    ) {
        let ttl = beat.ttl.unwrap_or(Heartbeat::DEFAULT_TTL);
        let slot = self.slots.get(&self.own).copied();
        let record = self.next_record(slot, self.own, seq, ttl, beat).with_roles(roles);
        let entry = Entry {
            deadline: None,
            standing: Standing::new(now.elapsed, true),
            established: true,
            paced: ttl <= Self::MAX_PACED,
            by_gossip: true,
            answers: true,
            handed_by: None,
            weight: weight(&record, signed),
        };
        self.store(now.elapsed, slot, record, signed, entry);
    }

    /// Keeps this node's own goodbye, for others to have.
    pub fn leave(&mut self, now: Duration, seq: u64, beat: &Heartbeat, signed: &[u8]) {
        let ttl = self.record(&self.own).map_or(Duration::ZERO, Record::ttl);
        let (peer, from, via, roles) = (self.own, self.own, Via::Gossip, Roles::NONE);
        self.keep_goodbye(now, Arrival { peer, seq, from, beat, signed, via, roles }, ttl);
    }

    /// This node is back after its goodbye: nobody is to have that any more.
    pub fn came_back(&mut self) {
        if self.root.goodbyes.of(&self.own).is_some() {
            Arc::make_mut(&mut self.root).goodbyes.forget(&self.own);
        }
    }

    /// Removes the records whose time is over, and forgets such goodbyes.
    pub fn expire(&mut self, now: Duration) {
        if self.root.goodbyes.next_due().is_some_and(|due| due <= now) {
            Arc::make_mut(&mut self.root).goodbyes.expire(now);
        }
        while let Some(slot) = self.deadlines.due(now) {
            self.remove(now, slot, LeaveReason::Expired);
        }
        // Once there is room again, strangers are kept as long as they ask.
        while self.is_crowded()
            && let Some(slot) = self.caps.due(now)
        {
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
        let (old_seq, old_ttl) = (old.seq(), old.ttl());
        let by_gossip = arrival.via == Via::Gossip;
        if arrival.seq >= old_seq
            && let Some(by) = entry.handed_by.take_if(|by| by_gossip || **by != arrival.from)
        {
            self.provisional.remove(&by, entry.weight);
        }
        if arrival.seq == old_seq && by_gossip && !entry.by_gossip {
            entry.by_gossip = true;
            return Outcome::Relayed;
        }
        if arrival.seq <= old_seq {
            return Outcome::Stale;
        }
        let Some(ttl) = arrival.beat.ttl else {
            self.remove_said(now, slot, arrival.seq, LeaveReason::Left);
            self.keep_goodbye(now, arrival, old_ttl);
            return Outcome::Left;
        };
        let (was_established, before) = (entry.established, entry.weight);
        let (mut standing, handed_by) = (entry.standing, entry.handed_by.clone());
        let Some(deadline) = self.deadline(now, ttl, arrival.via) else { return Outcome::Late };
        standing = standing.hear(now, old_ttl, arrival.seq - old_seq);
        // With a long TTL hardly any heartbeat is due in that time.
        let probation = self.limits.probation.max(ttl);
        standing.proven |= handed_by.is_none() && standing.has_lasted(now, probation);
        let signed = kept(arrival.signed);
        let mut record = self.next_record(Some(slot), arrival.peer, arrival.seq, ttl, arrival.beat);
        record = record.with_roles(arrival.roles);
        let mut proof = signed;
        let mut after = weight(&record, signed);
        let proven = standing.proven && handed_by.is_none();
        let mut established = was_established || (proven && self.may_establish(after));
        let fits = self.room_to_grow(now, slot, (before, after), established);
        if !fits && let Some(old) = self.root.slots.get(slot) {
            // Without what was signed: it says something else.
            (record, proof) = (old.renewed(arrival.seq, ttl).with_roles(arrival.roles), &[]);
            after = weight(&record, proof);
            established = was_established || (proven && self.may_establish(after));
        }
        let entry = Entry {
            deadline: Some(deadline),
            standing,
            established,
            paced: ttl <= Self::MAX_PACED,
            by_gossip,
            answers: arrival.beat.sent_at.is_some(),
            handed_by,
            weight: after,
        };
        let outcome = self.store(now, Some(slot), record, proof, entry);
        if fits { outcome } else { Outcome::NoRoom }
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
        let proven = departed.is_some_and(|departed| departed.established);
        let Some(ttl) = arrival.beat.ttl else {
            self.remembered.put(arrival.peer, arrival.seq, proven, now);
            // Who says it itself may be in others' tables.
            if arrival.is_direct() || self.root.goodbyes.of(&arrival.peer).is_some() {
                self.keep_goodbye(now, arrival, Duration::ZERO);
            }
            return Outcome::Left;
        };
        if !arrival.is_direct() && Self::is_ghost(self.detector, arrival.beat, ttl, unix_nanos) {
            return Outcome::Ghost;
        }
        let Some(deadline) = self.deadline(now, ttl, arrival.via) else { return Outcome::Late };
        let signed = kept(arrival.signed);
        let record = Record::new(arrival.peer, arrival.seq, ttl, arrival.beat);
        let record = record.with_roles(arrival.roles);
        let weight = weight(&record, signed);
        let by_gossip = arrival.via == Via::Gossip;
        let provisional = !by_gossip && !arrival.is_direct();
        if provisional && !self.may_hand_over(&arrival.from, weight) {
            return Outcome::Share;
        }
        if !self.room_for_new(now, weight) {
            return Outcome::Full;
        }
        self.remembered.forget(&arrival.peer);
        if self.root.goodbyes.of(&arrival.peer).is_some() {
            Arc::make_mut(&mut self.root).goodbyes.forget(&arrival.peer);
        }
        let entry = Entry {
            deadline: Some(deadline),
            standing: Standing::new(now, proven),
            established: proven && !provisional && self.may_establish(weight),
            paced: ttl <= Self::MAX_PACED,
            by_gossip,
            answers: arrival.beat.sent_at.is_some(),
            handed_by: provisional.then(|| self.provisional.shared_id(arrival.from)),
            weight,
        };
        self.store(now, None, record, signed, entry)
    }

    /// Whether a heartbeat with this TTL was sent so long ago that its peer is gone,
    /// unless it says otherwise itself.
    pub(in crate::cluster) fn is_ghost(
        detector: Detector,
        beat: &Heartbeat,
        ttl: Duration,
        unix_nanos: u64,
    ) -> bool {
        let latest = Self::MAX_BEHIND.saturating_add(detector.patience(ttl));
        let age = |sent| Duration::from_nanos(unix_nanos).saturating_sub(sent);
        beat.sent_at.is_some_and(|sent| age(sent) > latest)
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
        root.prove(slot, Proof { signed: signed.into(), received: now, age });
        if !same_keys {
            root.indexes.iter_mut().for_each(|index| index.insert(slot, &root.slots));
        }
        root.len += usize::from(old.is_none());

        self.slots.insert(record.peer(), slot);
        self.change_entry(slot, Some(entry));

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

    /// Removes what is known of a peer, as if it had left. What it says later brings it
    /// back.
    pub fn put_out(&mut self, now: Duration, peer: &PeerId) {
        if let Some(slot) = self.slots.get(peer).filter(|_| *peer != self.own) {
            self.remove(now, *slot, LeaveReason::Left);
        }
        if self.root.goodbyes.of(peer).is_some() {
            Arc::make_mut(&mut self.root).goodbyes.forget(peer);
        }
    }

    fn remove(&mut self, now: Duration, slot: u32, reason: LeaveReason) {
        let seq = self.root.slots.get(slot).map_or(0, Record::seq);
        self.remove_said(now, slot, seq, reason);
    }

    /// Removes a record, and remembers the number of the last that was heard.
    fn remove_said(&mut self, now: Duration, slot: u32, seq: u64, reason: LeaveReason) {
        let record = self.root.slots.get(slot).cloned();
        let (Some(record), Some(entry)) = (record, self.entry(slot)) else { return };
        let proven = entry.standing.proven;
        let root = Arc::make_mut(&mut self.root);
        root.indexes.iter_mut().for_each(|index| index.remove(slot, &root.slots));
        root.slots.set(slot, None);
        root.prove(slot, Proof::default());
        root.len -= 1;
        self.slots.remove(&record.peer());
        self.free.push(slot);
        self.change_entry(slot, None);
        self.remembered.put(record.peer(), seq, proven, now);
        self.differences.push(Difference::Left(record, reason));
    }
}
