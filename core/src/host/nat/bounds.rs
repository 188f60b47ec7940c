//! Bounds on dials that follow from what a peer wants dialled: to punch through its NAT,
//! or to tell it whether it can be reached.

use crate::{
    dials::{MOST, sensible},
    host::{budget::Budget, connected::Connected},
    metrics::ByLabel,
};
use libp2p::{Multiaddr, PeerId};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

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

    /// Whether all these addresses may be dialled since a peer wants it: few, sensible
    /// from where the peer is, and not too often.
    pub(super) fn may(&self, peer: &PeerId, addrs: &[Multiaddr]) -> bool {
        let hearing = self.connected.hears(peer, &[]);
        if addrs.len() > MOST || sensible(addrs, hearing, &self.skipped).len() < addrs.len() {
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
