//! Snapshots of the table, and what can be asked of them.

use super::{
    goodbyes::{Goodbye, Goodbyes},
    hits::Hits,
    index::Ordered,
    slots::Slots,
};
use crate::cluster::{
    query::{Index, Query},
    record::{Field, Record},
};
use imbl::Vector;
use libp2p::PeerId;
use std::{fmt, sync::Arc, time::Duration};

/// An immutable snapshot of the cluster view: it stays as it was, whatever the
/// cluster does. Clones are cheap.
#[derive(Clone)]
pub struct View(pub(in crate::cluster) Arc<Snapshot>);

/// All records and their indexes, in persistent structures.
#[derive(Clone)]
pub(in crate::cluster) struct Snapshot {
    pub(in crate::cluster) len: usize,
    pub(in crate::cluster) slots: Slots,
    pub(in crate::cluster) proofs: Vector<Proof>,
    /// Bytes of the signed messages of all records.
    pub(in crate::cluster) signed_bytes: usize,
    pub(in crate::cluster) indexes: [Ordered; Field::ALL.len()],
    pub(in crate::cluster) goodbyes: Goodbyes,
}

/// What proves the record in a slot.
#[derive(Clone, Default)]
pub(in crate::cluster) struct Proof {
    /// The message as its peer signed it; empty if it is not kept.
    pub(in crate::cluster) signed: Arc<[u8]>,
    pub(in crate::cluster) received: Duration,
    /// For how long others had had it then.
    pub(in crate::cluster) age: Duration,
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
    /// For how long other nodes had had it then: zero if it came by gossip.
    pub age: Duration,
    /// The pubsub message as it was signed, in its protobuf encoding.
    pub message: &'a [u8],
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            len: 0,
            slots: Slots::default(),
            proofs: Vector::new(),
            signed_bytes: 0,
            indexes: Field::ALL.map(Ordered::new),
            goodbyes: Goodbyes::default(),
        }
    }
}

impl Snapshot {
    pub(super) fn index(&self, field: Field) -> &Ordered {
        // In the order of `Field::ALL`, which is that of declaration.
        &self.indexes[field as usize]
    }

    /// A peer's record and its slot.
    fn find(&self, peer: &PeerId) -> Option<(u32, &Record)> {
        let query = Query::matching(Index::peer(peer));
        self.index(Field::Peer).first(query.range()?, &self.slots)
    }

    /// Puts what proves the record in a slot in its place.
    pub(in crate::cluster) fn prove(&mut self, slot: u32, proof: Proof) {
        self.signed_bytes += proof.signed.len();
        let old = self.proofs.set(slot as usize, proof);
        self.signed_bytes -= old.signed.len();
    }

    fn signed(&self, slot: u32, record: &Record) -> Option<Signed<'_>> {
        let proof = self.proofs.get(slot as usize)?;
        (!proof.signed.is_empty()).then(|| Signed {
            peer: record.peer(),
            seq: record.seq(),
            received: proof.received,
            age: proof.age,
            message: &proof.signed,
        })
    }
}

impl View {
    /// How many handles keep this snapshot.
    #[cfg(test)]
    pub(crate) fn strong_count(&self) -> usize {
        Arc::strong_count(&self.0)
    }

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
        self.0.find(peer).map(|(_, record)| record.clone())
    }

    /// The first record that the query finds.
    pub fn lookup(&self, query: &Query) -> Option<Record> {
        match query.range() {
            // The usual case, without looking for the other end of the range.
            Some(range) if !query.reverse && query.limit != Some(0) => {
                let first = self.0.index(range.field).first(range, &self.0.slots);
                first.map(|(_, record)| record.clone())
            }
            _ => self.refs(query).next().cloned(),
        }
    }

    /// How many records the query finds.
    pub fn count(&self, query: &Query) -> usize {
        Hits::new(&self.0, query).count(query)
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
        let slots = (0..).take(self.0.proofs.len());
        slots.filter_map(|slot| self.0.signed(slot, self.0.slots.get(slot)?))
    }

    /// The bytes of all these messages.
    pub(in crate::cluster) fn signed_bytes(&self) -> usize {
        self.0.signed_bytes
    }

    /// The message that proves the record of one peer; empty if it is not kept.
    pub(in crate::cluster) fn signed_bytes_of(&self, peer: &PeerId) -> Arc<[u8]> {
        let proof = self.0.find(peer).and_then(|(slot, _)| self.0.proofs.get(slot as usize));
        proof.map(|proof| proof.signed.clone()).unwrap_or_default()
    }

    /// The signed heartbeat of one peer, if it is kept.
    pub fn signed_of(&self, peer: &PeerId) -> Option<Signed<'_>> {
        let (slot, record) = self.0.find(peer)?;
        self.0.signed(slot, record)
    }

    /// Of whom the view knows what number: its records, and the goodbyes that
    /// are kept. No peer is there twice.
    pub(in crate::cluster) fn known(&self) -> impl Iterator<Item = (PeerId, u64)> {
        let goodbyes = &self.0.goodbyes;
        let slots = (0..).take(self.0.proofs.len());
        let records = slots.filter_map(|slot| self.0.slots.get(slot));
        // Usually there are none, and then nobody is looked up.
        let some = goodbyes.after(0).next().is_some();
        let is_over = move |peer: &PeerId| some && goodbyes.of(peer).is_some();
        let said = records.filter(move |r| r.seq() > 0 && !is_over(&r.peer()));
        let left = goodbyes.after(0).map(|(_, goodbye)| (goodbye.peer, goodbye.seq));
        said.map(|record| (record.peer(), record.seq())).chain(left)
    }

    /// The number of what was last heard from a peer, as far as that is known.
    pub(in crate::cluster) fn last_seq(&self, peer: &PeerId) -> Option<u64> {
        let goodbye = self.0.goodbyes.of(peer).map(|goodbye| goodbye.seq);
        goodbye.or_else(|| self.0.find(peer).map(|(_, record)| record.seq()))
    }

    /// The signed message of one peer, be it a goodbye, if it is kept.
    pub(in crate::cluster) fn proof_of(&self, peer: &PeerId) -> Option<Signed<'_>> {
        self.0.goodbyes.of(peer).map(Signed::from).or_else(|| self.signed_of(peer))
    }

    /// The goodbyes that are kept.
    pub(in crate::cluster) fn goodbyes(&self) -> &Goodbyes {
        &self.0.goodbyes
    }
}

impl<'a> From<&'a Goodbye> for Signed<'a> {
    fn from(goodbye: &'a Goodbye) -> Self {
        let Goodbye { peer, seq, received, age, .. } = *goodbye;
        Self { peer, seq, received, age, message: &goodbye.signed }
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.refs(&Query::all())).finish()
    }
}
