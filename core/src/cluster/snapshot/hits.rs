//! What a query finds in a snapshot, one record after the other, or page by page.

use super::{
    index::Cursor,
    tree::{Id, Keys},
    view::{Snapshot, View},
};
use crate::cluster::{
    query::Query,
    record::{Field, Record},
};

/// Records that are looked up together at most.
const AHEAD: usize = 16;

/// What a query has still to give.
pub(super) struct Hits<'a> {
    keys: Keys<'a>,
    cursor: Option<Cursor<'a>>,
    left: usize,
    /// Whether a record can be met under more than one key.
    repeats: bool,
    /// Records that were looked up together, the next one last: they lie anywhere
    /// in memory, and so the processor waits for several at a time.
    ahead: [Option<(&'a Record, u16)>; AHEAD],
    /// How many of them are left, and how many the next look takes.
    waiting: usize,
    many: usize,
    /// The last entry that the cursor gave.
    last: Option<Id>,
}

impl<'a> Hits<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, query: &Query) -> Self {
        let (range, slots) = (query.range(), &snapshot.slots);
        Self {
            keys: Keys { slots, field: range.map_or(Field::Peer, |range| range.field) },
            cursor: range.map(|r| snapshot.index(r.field).range(r, query.reverse, slots)),
            left: query.limit.unwrap_or(usize::MAX),
            repeats: range.is_some_and(|r| r.field.is_many() && !r.is_single()),
            ahead: [None; AHEAD],
            waiting: 0,
            many: 1,
            last: None,
        }
    }

    /// How many it gives.
    pub(super) fn count(mut self, query: &Query) -> usize {
        match &self.cursor {
            Some(cursor) if !self.repeats => cursor.left().min(self.left),
            _ => std::iter::from_fn(|| self.next(query)).count(),
        }
    }

    /// Goes on where a page ended.
    fn resume(snapshot: &'a Snapshot, query: &Query, page: &PageEnd) -> Self {
        let mut hits = Self::new(snapshot, query);
        let index = snapshot.index(hits.keys.field);
        hits.cursor = Some(index.after(page.last, page.entries, query.reverse, &snapshot.slots));
        (hits.left, hits.many) = (page.left, AHEAD);
        hits
    }

    pub(super) fn next(&mut self, query: &Query) -> Option<&'a Record> {
        self.left = self.left.checked_sub(1)?;
        loop {
            if self.waiting == 0 {
                self.look_ahead()?;
            }
            self.waiting -= 1;
            let (record, nth) = self.ahead[self.waiting]?;
            if !self.repeats || is_first(query, record, (self.keys.field, nth)) {
                return Some(record);
            }
        }
    }

    /// Looks up the next records: more each time, since many want only one.
    fn look_ahead(&mut self) -> Option<()> {
        let cursor = self.cursor.as_mut()?;
        self.waiting = self.many.min(cursor.left());
        self.many = (self.many * 2).min(AHEAD);
        for place in self.ahead[..self.waiting].iter_mut().rev() {
            let id = cursor.next()?;
            self.last = Some(id);
            *place = self.keys.slots.get(id.slot).map(|record| (record, id.nth));
        }
        (self.waiting > 0).then_some(())
    }
}

/// Whether this is the first of a record's keys that the query meets.
fn is_first(query: &Query, record: &Record, (field, nth): (Field, u16)) -> bool {
    let (keys, key) = (record.keys(field), record.key(field, nth));
    keys == 1
        || query.range().is_some_and(|range| {
            !(0..keys).map(|nth| record.key(field, nth)).any(|other| {
                (if query.reverse { other > key } else { other < key })
                    && range.contains(other.as_bytes())
            })
        })
}

/// What a query finds in a view, page by page: none takes long, however much it finds.
#[derive(Debug)]
pub(in crate::cluster) struct Pages {
    view: View,
    query: Query,
    /// Where the last page ended.
    end: Option<PageEnd>,
}

#[derive(Debug)]
struct PageEnd {
    last: Id,
    /// Entries of the index that follow.
    entries: usize,
    /// Records that the query may still find.
    left: usize,
}

/// Records of a page, and some more: as many as are looked up together.
const PAGE: usize = 256;

impl Pages {
    pub(in crate::cluster) fn new(view: View, query: Query) -> Self {
        Self { view, query, end: None }
    }

    /// The next page, and the pages after it, if there are any.
    pub(in crate::cluster) fn turn(mut self) -> (Vec<Record>, Option<Self>) {
        let mut hits = match &self.end {
            None => Hits::new(&self.view.0, &self.query),
            Some(end) => Hits::resume(&self.view.0, &self.query, end),
        };
        let mut page = Vec::new();
        // What was looked up is taken as well: the next page begins behind it.
        while page.len() < PAGE || hits.waiting > 0 {
            let Some(record) = hits.next(&self.query) else { return (page, None) };
            page.push(record.clone());
        }
        let left = hits.left;
        let entries = hits.cursor.as_ref().map_or(0, Cursor::left);
        let end = hits.last.map(|last| PageEnd { last, entries, left });
        self.end = end.filter(|end| end.entries > 0 && end.left > 0);
        let more = self.end.is_some().then_some(self);
        (page, more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{
        Arrival, Detector, Heartbeat, Index, Limits, Now, Roles, Table, Via, server_of,
    };
    use libp2p::PeerId;
    use std::time::Duration;

    fn view(records: usize) -> View {
        let mut table = Table::new(PeerId::random(), Limits::default(), Detector::default(), 1);
        for i in 0..records {
            let peer = PeerId::random();
            let beat = Heartbeat {
                server: server_of(&peer),
                ttl: Some(Duration::from_secs(60)),
                host: format!("host-{i:05}"),
                meta: vec![format!("a=1.{}", i % 7), format!("a=2.{i}"), format!("b={i}")],
                sent_at: None,
                addrs: Default::default(),
            };
            let (seq, via, roles) = (1 + i as u64, Via::Gossip, Roles::NONE);
            let arrival = Arrival { peer, seq, from: peer, beat: &beat, signed: &[], via, roles };
            let now = Now { elapsed: Duration::ZERO, unix_nanos: 1 << 60 };
            assert!(table.insert(now, arrival).is_accepted());
        }
        table.view()
    }

    #[test]
    fn pages_are_what_the_query_finds_at_once() {
        for records in [0, 1, 255, 256, 257, 1000] {
            let view = view(records);
            let queries = [
                Query::all(),
                Query::all().reverse(),
                Query::from(Index::host("host-00100")).to(Index::host("host-00900")),
                Query::from(Index::host("host-00900")).to(Index::host("host-00100")).reverse(),
                // Each record under two keys.
                Query::matching(Index::meta("a", "")).prefix(),
                Query::matching(Index::meta("a", "")).prefix().reverse().limit(700),
                Query::all().limit(0),
                Query::all().limit(256),
                Query::all().limit(300),
            ];
            for query in queries {
                let all: Vec<_> = view.iter(query.clone()).map(|r| r.peer()).collect();
                let (mut paged, mut next) = (vec![], Some(Pages::new(view.clone(), query.clone())));
                while let Some(pages) = next {
                    let (page, more) = pages.turn();
                    assert!(page.len() < PAGE + AHEAD, "{}", page.len());
                    paged.extend(page.iter().map(Record::peer));
                    next = more;
                }
                assert_eq!(paged, all, "{records} records, {query:?}");
                assert_eq!(view.count(&query), all.len(), "{records} records, {query:?}");
            }
        }
    }
}
