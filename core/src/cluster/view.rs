//! Snapshots of the table, and what can be asked of them.

use super::{
    index::{Ordered, Postings},
    query::{Field, Query, Select},
    record::Record,
};
use imbl::Vector;
use libp2p::PeerId;
use std::{fmt, sync::Arc, time::Duration};

/// An immutable snapshot of the cluster view: it stays as it was, whatever the
/// cluster does. Clones are cheap.
#[derive(Clone)]
pub struct View(pub(super) Arc<Snapshot>);

/// All records and their indexes, in persistent structures.
#[derive(Clone)]
pub(super) struct Snapshot {
    pub(super) len: usize,
    pub(super) slots: Vector<Option<Slot>>,
    pub(super) indexes: [Ordered; Field::ALL.len()],
}

/// A record, and what proves it.
#[derive(Clone)]
pub(super) struct Slot {
    pub(super) record: Record,
    /// The message as its peer signed it; empty if it is not kept.
    pub(super) signed: Arc<[u8]>,
    pub(super) received: Duration,
}

/// A record in a form that another node can verify.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// The peer.
    pub peer: PeerId,
    /// The sequence number.
    pub seq: u64,
    /// When the record was received, on the clock of the table.
    pub received: Duration,
    /// The pubsub message as it was signed, in its protobuf encoding.
    pub message: &'a [u8],
}

impl Default for Snapshot {
    fn default() -> Self {
        Self { len: 0, slots: Vector::new(), indexes: Field::ALL.map(Ordered::new) }
    }
}

impl Snapshot {
    fn index(&self, field: Field) -> &Ordered {
        // In the order of `Field::ALL`, which is that of declaration.
        &self.indexes[field as usize]
    }

    pub(super) fn slot(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(slot as usize).and_then(Option::as_ref)
    }
}

impl View {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The record of a peer.
    pub fn get(&self, peer: &PeerId) -> Option<Record> {
        self.lookup(&Query::matching(super::Index::peer(peer)))
    }

    /// The first record that the query finds.
    pub fn lookup(&self, query: &Query) -> Option<Record> {
        self.refs(query).next().cloned()
    }

    /// How many records the query finds.
    pub fn count(&self, query: &Query) -> usize {
        match (&query.select, &query.to) {
            (Select::All, None) => self.len().min(query.limit.unwrap_or(usize::MAX)),
            _ => self.refs(query).count(),
        }
    }

    /// The records that the query finds, in its order.
    pub fn iter(&self, query: Query) -> impl Iterator<Item = Record> + use<'_> {
        let hits = Hits::new(&self.0, &query);
        let mut state = (query, hits);
        std::iter::from_fn(move || state.1.next(&state.0).cloned())
    }

    /// The same without cloning the records.
    pub fn refs<'a>(&'a self, query: &'a Query) -> impl Iterator<Item = &'a Record> {
        let mut hits = Hits::new(&self.0, query);
        std::iter::from_fn(move || hits.next(query))
    }

    /// The signed heartbeats of all records, those left out whose signature is
    /// not kept.
    pub fn signed(&self) -> impl Iterator<Item = Signed<'_>> {
        self.0.slots.iter().flatten().filter(|slot| !slot.signed.is_empty()).map(Slot::signed)
    }

    /// The signed heartbeat of one peer, if it is kept.
    pub fn signed_of(&self, peer: &PeerId) -> Option<Signed<'_>> {
        let query = Query::matching(super::Index::peer(peer));
        let posting = self.0.index(Field::Peer).range(query.range()?).next()?;
        self.0.slot(posting.slot()).filter(|slot| !slot.signed.is_empty()).map(Slot::signed)
    }
}

impl Slot {
    fn signed(&self) -> Signed<'_> {
        Signed {
            peer: self.record.peer(),
            seq: self.record.seq(),
            received: self.received,
            message: &self.signed,
        }
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.refs(&Query::all())).finish()
    }
}

/// What a query has still to give.
struct Hits<'a> {
    snapshot: &'a Snapshot,
    postings: Option<Postings<'a>>,
    left: usize,
    /// Whether a record can be met under more than one key.
    repeats: bool,
}

impl<'a> Hits<'a> {
    fn new(snapshot: &'a Snapshot, query: &Query) -> Self {
        let range = query.range();
        Self {
            snapshot,
            postings: range.map(|range| snapshot.index(range.field).range(range)),
            left: query.limit.unwrap_or(usize::MAX),
            repeats: range.is_some_and(|r| r.field == Field::Meta && !r.is_single()),
        }
    }

    fn next(&mut self, query: &Query) -> Option<&'a Record> {
        self.left = self.left.checked_sub(1)?;
        let postings = self.postings.as_mut()?;
        loop {
            let posting = if query.reverse { postings.next_back() } else { postings.next() }?;
            let record = &self.snapshot.slot(posting.slot())?.record;
            if !self.repeats || is_first(query, record, posting.key()) {
                return Some(record);
            }
        }
    }
}

/// Whether this is the first of a record's keys that the query meets.
fn is_first(query: &Query, record: &Record, key: &str) -> bool {
    record.keys(Field::Meta) == 1
        || query.range().is_some_and(|range| {
            !record.fields().any(|other| {
                (if query.reverse { other > key } else { other < key })
                    && range.contains(other.as_bytes())
            })
        })
}
