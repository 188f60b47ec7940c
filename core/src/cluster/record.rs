//! One peer's entry in the cluster view.

use libp2p::PeerId;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// What a peer last said of itself: its heartbeat. Clones are cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record(Arc<Fields>);

#[derive(Debug, PartialEq, Eq)]
struct Fields {
    peer: PeerId,
    server: u64,
    seq: u64,
    ttl: Duration,
    host: Box<str>,
    meta: BTreeMap<Box<str>, Box<str>>,
}

impl Record {
    /// The peer.
    pub fn peer(&self) -> PeerId {
        self.0.peer
    }

    /// The number of the peer's instance; CASM derives it from the peer id.
    pub fn server(&self) -> u64 {
        self.0.server
    }

    /// The sequence number of the heartbeat: the higher one counts.
    pub fn seq(&self) -> u64 {
        self.0.seq
    }

    /// How long the record is kept without a newer one.
    pub fn ttl(&self) -> Duration {
        self.0.ttl
    }

    /// The name of the peer's host, as it says.
    pub fn host(&self) -> &str {
        &self.0.host
    }
}
