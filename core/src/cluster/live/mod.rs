//! Queries that go on: what they find now, then what changes. Pure: the views
//! and their differences are arguments. `hub`: where they and other readers
//! find the latest view.

mod hub;

pub(in crate::cluster) use hub::Said;
pub use hub::{Hub, LiveQuery};

use super::{
    query::Query,
    record::Record,
    snapshot::{Pages, View},
    table::Difference,
};
use libp2p::PeerId;
use std::collections::{HashMap, VecDeque};

/// What happens to the records that a query finds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A record that was found when the query began, or began again. All of these come
    /// before anything else.
    Current(Record),
    /// A record that is found from now on.
    Joined(Record),
    /// A record that is still found, and says something new.
    Updated(Record),
    /// A record that is found no more, as it was last.
    Left(Record),
    /// The consumer was too slow: the oldest changes are lost. Everything that is found
    /// now comes next, each as [`Current`](Self::Current), and then what changes.
    Dropped {
        /// How many.
        count: u64,
    },
}

/// One query that goes on, and what its consumer has still to be told.
#[derive(Debug)]
pub struct Live {
    query: Query,
    capacity: usize,
    current: std::vec::IntoIter<Record>,
    /// What it has found beside these.
    more: Option<Pages>,
    changes: VecDeque<Change>,
    dropped: u64,
    /// For a query with a limit, what it found last: one record more or less
    /// can move others over the limit.
    found: Option<HashMap<PeerId, Record>>,
}

impl Live {
    /// Changes that a consumer may lag behind before it loses the oldest.
    pub const CAPACITY: usize = 4096;

    /// Begins with what the query finds in a view.
    pub fn new(query: Query, capacity: usize, view: &View) -> Self {
        let mut live = Self {
            query,
            capacity: capacity.max(1),
            current: Vec::new().into_iter(),
            more: None,
            changes: VecDeque::new(),
            dropped: 0,
            found: None,
        };
        live.resync(view);
        live
    }

    /// Begins again: forgets what has not been taken yet, and has
    /// [`Change::Current`] for everything that the query finds in the view.
    pub fn resync(&mut self, view: &View) {
        self.found = self.query.limit.map(|_| by_peer(view.refs(&self.query)));
        self.current = Vec::new().into_iter();
        // Page by page: what a large view holds is not told in a moment, and nobody waits
        // for that.
        self.more = Some(Pages::new(view.clone(), self.query.clone()));
        self.changes.clear();
        self.dropped = 0;
    }

    /// Takes the differences that led from the last view to this one. Gives
    /// back how many changes were lost.
    pub fn apply(&mut self, view: &View, differences: &[Difference]) -> u64 {
        let before = self.dropped;
        let concerns = |d: &Difference| match d {
            Difference::Joined(new) => (false, self.query.matches(new)),
            Difference::Updated { old, new } => (self.query.matches(old), self.query.matches(new)),
            Difference::Left(old, _) => (self.query.matches(old), false),
        };
        let concerned: Vec<_> = differences
            .iter()
            .map(|d| (d, concerns(d)))
            .filter(|(_, found)| *found != (false, false))
            .collect();
        if concerned.is_empty() {
            return 0;
        }
        if self.found.is_some() {
            self.compare(view);
        } else {
            for (difference, found) in concerned {
                self.push(change(difference, found));
            }
        }
        self.dropped - before
    }

    /// How many changes wait to be taken, what was found at first left out.
    pub fn waiting(&self) -> usize {
        self.changes.len()
    }

    /// What the consumer is to be told next.
    pub fn pop(&mut self) -> Option<Change> {
        loop {
            if let Some(record) = self.current.next() {
                return Some(Change::Current(record));
            }
            let Some(more) = self.more.take() else { break };
            let (page, more) = more.turn();
            (self.current, self.more) = (page.into_iter(), more);
        }
        match std::mem::take(&mut self.dropped) {
            0 => self.changes.pop_front(),
            count => Some(Change::Dropped { count }),
        }
    }

    /// Compares what the query finds with what it found last.
    fn compare(&mut self, view: &View) {
        let now: Vec<_> = view.refs(&self.query).cloned().collect();
        let mut before = self.found.replace(by_peer(now.iter())).unwrap_or_default();
        for new in now {
            match before.remove(&new.peer()) {
                None => self.push(Change::Joined(new)),
                Some(old) if !old.says_same(&new) => self.push(Change::Updated(new)),
                Some(_) => {}
            }
        }
        let mut gone: Vec<_> = before.into_values().collect();
        gone.sort_by(|a, b| a.peer_text().cmp(b.peer_text()));
        for old in gone {
            self.push(Change::Left(old));
        }
    }

    fn push(&mut self, change: Change) {
        if self.changes.len() == self.capacity {
            self.changes.pop_front();
            self.dropped += 1;
        }
        self.changes.push_back(change);
    }
}

/// What a difference is to a query that finds the old and the new record, or
/// only one of them.
fn change(difference: &Difference, found: (bool, bool)) -> Change {
    match (difference, found) {
        (Difference::Updated { new, .. }, (true, true)) => Change::Updated(new.clone()),
        (Difference::Updated { old, .. } | Difference::Left(old, _), (true, _)) => {
            Change::Left(old.clone())
        }
        (Difference::Updated { new: record, .. }, _)
        | (Difference::Joined(record) | Difference::Left(record, _), _) => {
            Change::Joined(record.clone())
        }
    }
}

fn by_peer<'a>(records: impl Iterator<Item = &'a Record>) -> HashMap<PeerId, Record> {
    records.map(|record| (record.peer(), record.clone())).collect()
}

#[cfg(test)]
mod tests;
