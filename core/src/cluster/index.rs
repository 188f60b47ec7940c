//! The ordered index of one field, in a persistent structure: a clone is a
//! snapshot that later changes leave alone.

use super::{
    query::{Field, KeyRange},
    record::Record,
};
use imbl::{OrdSet, ordset::RangedIter, shared_ptr::DefaultSharedPtr};
use std::{borrow::Borrow, cmp::Ordering, ops::Bound};

/// One key of one record. Postings order by key, then by peer.
#[derive(Clone)]
pub(super) struct Posting {
    record: Record,
    field: Field,
    nth: u16,
    slot: u32,
}

impl Posting {
    /// Where the record's latest version is.
    pub(super) fn slot(&self) -> u32 {
        self.slot
    }

    pub(super) fn key(&self) -> &str {
        self.record.key(self.field, self.nth)
    }
}

/// The keys of one field.
#[derive(Clone)]
pub(super) struct Ordered {
    field: Field,
    postings: OrdSet<Posting>,
}

impl Ordered {
    pub(super) fn new(field: Field) -> Self {
        Self { field, postings: OrdSet::new() }
    }

    pub(super) fn insert(&mut self, record: &Record, slot: u32) {
        for nth in 0..record.keys(self.field) {
            let field = self.field;
            self.postings.insert(Posting { record: record.clone(), field, nth, slot });
        }
    }

    pub(super) fn remove(&mut self, record: &Record, slot: u32) {
        for nth in 0..record.keys(self.field) {
            let field = self.field;
            self.postings.remove(&Posting { record: record.clone(), field, nth, slot });
        }
    }

    /// The postings in a range, from both ends.
    pub(super) fn range(&self, range: KeyRange<'_>) -> Postings<'_> {
        let low = Edge { range, side: Ordering::Less };
        let high = Edge { range, side: Ordering::Greater };
        let (low, high): (&dyn Place, &dyn Place) = (&low, &high);
        self.postings.range::<_, dyn Place + '_>((Bound::Excluded(low), Bound::Excluded(high)))
    }
}

pub(super) type Postings<'a> = RangedIter<'a, Posting, DefaultSharedPtr>;

/// Something that has a place among the postings: one of them, or an end of a
/// range.
trait Place {
    fn place(&self) -> Ref<'_>;
}

enum Ref<'a> {
    Posting(&'a Posting),
    Edge(&'a Edge<'a>),
}

/// What lies just before, or just after, all postings of a range.
struct Edge<'q> {
    range: KeyRange<'q>,
    side: Ordering,
}

impl Edge<'_> {
    fn cmp(&self, posting: &Posting) -> Ordering {
        self.range.position(posting.key().as_bytes()).reverse().then(self.side)
    }
}

impl Place for Posting {
    fn place(&self) -> Ref<'_> {
        Ref::Posting(self)
    }
}

impl Place for Edge<'_> {
    fn place(&self) -> Ref<'_> {
        Ref::Edge(self)
    }
}

impl<'a> Borrow<dyn Place + 'a> for Posting {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.place(), other.place()) {
            (Ref::Posting(a), Ref::Posting(b)) => {
                let by_peer = || a.record.peer_text().cmp(b.record.peer_text());
                a.key().cmp(b.key()).then_with(by_peer)
            }
            (Ref::Edge(a), Ref::Posting(b)) => a.cmp(b),
            (Ref::Posting(a), Ref::Edge(b)) => b.cmp(a).reverse(),
            (Ref::Edge(a), Ref::Edge(b)) => a.side.cmp(&b.side),
        }
    }
}

impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for dyn Place + '_ {}

impl Ord for Posting {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b): (&dyn Place, &dyn Place) = (self, other);
        a.cmp(b)
    }
}

impl PartialOrd for Posting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Posting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Posting {}
