//! Connections that are there for a moment, on which nothing is to be done: those by
//! which a peer tries whether this node can be reached.

use libp2p::swarm::ConnectionId;
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

/// These connections. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spare(Arc<Mutex<HashSet<ConnectionId>>>);

impl Spare {
    pub(crate) fn insert(&self, id: ConnectionId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    pub(crate) fn remove(&self, id: ConnectionId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Whether a connection is one of them.
    pub(crate) fn contains(&self, id: ConnectionId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }
}
