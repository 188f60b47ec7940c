//! What a table may hold, and who gets how much of it.

use crate::{Error, Result};
use std::time::Duration;

/// What a table may hold, and how it treats strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most records, 16 to 16,777,216. Default 131,072.
    pub records: usize,
    /// The most bytes of memory for records, signed messages and indexes, as
    /// estimated; at least 1 MiB. Default 256 MiB. Peers that are in the table
    /// and say more than before may overdraw it by a sixteenth.
    pub bytes: usize,
    /// The most departed peers whose sequence numbers are remembered, from 1
    /// up. Default 65,536.
    pub remembered: usize,
    /// How long a peer must have been there, with at least two thirds of its
    /// heartbeats, to be established; its TTL if that is longer. In a full table a new peer takes the place
    /// of one that is not; the established stay. Default 10 minutes.
    pub probation: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            records: 1 << 17,
            bytes: 256 << 20,
            remembered: 1 << 16,
            probation: Duration::from_secs(600),
        }
    }
}

impl Limits {
    /// How long a newcomer is kept without hearing from it while the table is
    /// over half full, whatever its TTL; and one of the established at least.
    pub(super) const NEWCOMER_TIME: Duration = Duration::from_secs(15 * 60);

    /// Checks the values.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if one is out of its
    /// range.
    pub(crate) fn check(&self) -> Result<()> {
        let bad = |field: &str, value: usize, accepted: &str| {
            Err(Error::config(&format!("limits.table.{field}"), value, accepted))
        };
        if !(16..=1 << 24).contains(&self.records) {
            return bad("records", self.records, "16 to 16777216 is");
        }
        if self.bytes < 1 << 20 {
            return bad("bytes", self.bytes, "at least 1 MiB is");
        }
        if self.remembered == 0 {
            return bad("remembered", self.remembered, "at least 1 is");
        }
        Ok(())
    }

    /// Of records or bytes, what the established may take: an eighth is for
    /// newcomers.
    pub(super) const fn for_established(all: usize) -> usize {
        all - all / 8
    }

    /// What may be held on the word of one peer alone.
    pub(super) const fn for_one_peer(all: usize) -> usize {
        all / 16
    }

    /// By how much renewals may overdraw the bytes.
    pub(super) const fn overdraft(&self) -> usize {
        self.bytes / 16
    }
}
