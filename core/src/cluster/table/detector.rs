//! When a peer that is not heard of any more is taken for gone.

use std::time::Duration;

/// Decides how long a record outlasts the heartbeat that brought it.
///
/// A record is kept for a quarter more than its TTL. At the usual
/// [`Pace`](crate::cluster::Pace), dropping a live peer then takes four lost heartbeats
/// in a row, seldom three, while a crash is seen within 1.25 TTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detector {
    percent: u32,
}

impl Detector {
    /// A detector that keeps records for so many hundredths of their TTL.
    pub const fn new(percent: u32) -> Self {
        Self { percent }
    }

    /// How long a record of this TTL is kept.
    pub fn patience(&self, ttl: Duration) -> Duration {
        ttl.saturating_mul(self.percent) / 100
    }
}

impl Default for Detector {
    fn default() -> Self {
        Self::new(125)
    }
}
