//! What the table knows of who is suspected to be gone, and of who suspects others.

use super::{Table, entry::Entry};
use crate::{LeaveReason, cluster::record::Record};
use libp2p::PeerId;
use std::time::Duration;

/// What is known of a peer in the table, to whom somebody suspects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The number of its last heartbeat.
    pub seq: u64,
    /// Whether that said when it was sent, as those of Go's nodes don't: who says so
    /// answers when it is suspected.
    pub answers: bool,
    /// Whether it has been there for long.
    pub established: bool,
}

/// What those who suspect each other are told of the table: the simulator, of one that
/// is smaller than a [`Table`].
pub trait Knows {
    /// What is known of a peer, if it is in the table.
    fn known(&self, peer: &PeerId) -> Option<Known>;
    /// How many records there are, the own one included.
    fn records(&self) -> usize;
    /// How long a peer must have been there to be established.
    fn probation(&self) -> Duration;
}

impl Knows for Table {
    fn known(&self, peer: &PeerId) -> Option<Known> {
        Self::known(self, peer)
    }

    fn records(&self) -> usize {
        self.len()
    }

    fn probation(&self) -> Duration {
        self.limits.probation
    }
}

impl Table {
    /// What is known of a peer, if it is in the table.
    pub fn known(&self, peer: &PeerId) -> Option<Known> {
        let slot = *self.slots.get(peer)?;
        let (record, entry) = (self.root.slots.get(slot)?, self.entry(slot)?);
        let Entry { answers, established, .. } = *entry;
        Some(Known { seq: record.seq(), answers, established })
    }

    /// How many records there are, the own one included.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Removes a peer whose neighbours say that it has crashed, if nothing newer than
    /// this number is known of it. Whether it was there; with a higher number it comes
    /// back at once.
    pub fn fail(&mut self, now: Duration, peer: &PeerId, seq: u64) -> bool {
        let Some(slot) = self.slots.get(peer).copied().filter(|_| *peer != self.own) else {
            return false;
        };
        let is_last = self.root.slots.get(slot).map(Record::seq) == Some(seq);
        if is_last {
            self.remove(now, slot, LeaveReason::Failed);
        }
        is_last
    }
}
