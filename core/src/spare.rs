//! Connections that are not to be used like others: those by which a peer tries whether
//! this node can be reached, which go in a moment, and those over relays that give
//! little.

use libp2p::swarm::ConnectionId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What such a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It goes in a moment: others are used if there are any.
    Passing,
    /// It carries little: nobody gossips on it.
    Thin,
}

/// These connections. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spare(Arc<Mutex<HashMap<ConnectionId, Kind>>>);

impl Spare {
    pub(crate) fn insert(&self, id: ConnectionId, kind: Kind) {
        self.lock().insert(id, kind);
    }

    pub(crate) fn remove(&self, id: ConnectionId) {
        self.lock().remove(&id);
    }

    /// What a connection is, if it is one of them.
    pub(crate) fn kind(&self, id: ConnectionId) -> Option<Kind> {
        self.lock().get(&id).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionId, Kind>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
