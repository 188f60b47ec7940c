//! Bounds on dials that follow from what a peer wants dialled: to punch through its NAT,
//! or to tell it whether it can be reached.

use crate::{
    dials::sensible,
    host::{budget::Budget, connected::Connected},
    metrics::ByLabel,
    prefix::ip,
};
use libp2p::{Multiaddr, PeerId};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::time::Instant;

/// Addresses that are dialled at once: as many as libp2p keeps to be told to others.
const MOST: usize = 20;
/// Hosts that they may be of.
const HOSTS: usize = 4;

/// What may be dialled for peers. Clones share it.
#[derive(Clone)]
pub(in crate::host) struct Bounds {
    connected: Connected,
    skipped: ByLabel,
    budget: Arc<Mutex<Budget>>,
    started: Instant,
}

impl Bounds {
    pub(in crate::host) fn new(connected: Connected, skipped: ByLabel) -> Self {
        Self { connected, skipped, budget: Arc::default(), started: Instant::now() }
    }

    /// Whether all these addresses may be dialled since a peer wants it: few, of few hosts,
    /// sensible from where the peer is, and not too often. All or none: libp2p asks so.
    pub(super) fn may(&self, peer: &PeerId, addrs: &[Multiaddr]) -> bool {
        let hearing = self.connected.hears(peer, &[]);
        let makes_sense = |addr| {
            let one = std::slice::from_ref(addr);
            !sensible(one, hearing, &self.skipped).is_empty()
        };
        let hosts: HashSet<_> = addrs.iter().map(ip).collect();
        if addrs.len() > MOST || hosts.len() > HOSTS || !addrs.iter().all(makes_sense) {
            return false;
        }
        let now = self.started.elapsed();
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let may = addrs.iter().all(|addr| budget.take(addr, now));
        if !may {
            self.skipped.get_or_create(&[("reason", "often")]).inc();
        }
        may
    }
}
