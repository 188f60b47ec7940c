//! Where a record stands in the order of a query, and how to go on from there.

use crate::cluster::{
    query::{Index, Query, Select},
    record::{Field, Record},
};

/// Where a record stands in the order of a query: the key under which it is
/// met, then its peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    key: String,
    peer: String,
}

impl Position {
    /// Where the query meets a record; `None` if it doesn't.
    pub(super) fn of(query: &Query, record: &Record) -> Option<Self> {
        let range = query.range()?;
        let keys = (0..record.keys(range.field)).map(|nth| record.key(range.field, nth));
        let met = keys.filter(|key| range.contains(key.as_bytes()));
        let key = if query.reverse { met.max() } else { met.min() }?;
        Some(Self { key: key.into(), peer: record.peer_text().into() })
    }

    /// Whether a record comes after this position.
    pub(super) fn is_before(&self, query: &Query, record: &Record) -> bool {
        Self::of(query, record).is_some_and(|other| match query.reverse {
            false => other > *self,
            true => other < *self,
        })
    }

    /// A query that finds what the query finds after this position, and before
    /// it as little as can be. It has no limit.
    pub(super) fn rest_of(&self, query: &Query) -> Query {
        let select = match &query.select {
            Select::Match { .. } => query.select.clone(),
            Select::All | Select::From(_) => {
                let field = query.range().map_or(Field::Peer, |range| range.field);
                Select::From(Index::new(field, self.key.clone()))
            }
        };
        Query { select, limit: None, ..query.clone() }
    }
}
