//! The connections to those who own channels and semaphores: one to each, whatever
//! is used of it, since an owner takes only so many of a node.

use super::{around::Around, link::NAME};
use crate::{
    Result,
    rpc::{self, Encoding, Exported, Vat},
    schema::csp_capnp::channels,
    scope::Scope,
};
use libp2p::PeerId;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// How `chan` is exported: values go both ways.
pub(super) const EXPORTED: Exported<'static> =
    Exported { encodings: &Encoding::ALL, large_calls: true, long_calls: false };
/// How it is connected to: whether there is room is counted in bytes of values, of which
/// little is known when they are packed.
pub(super) const PLAIN: Exported<'static> = Exported { encodings: &[Encoding::Plain], ..EXPORTED };

/// Calls that wait at the owner, of one connection: some less than it takes, so that
/// what frees something there is not refused.
const WAITING: usize = 3072;

/// The connections.
pub(super) struct Links {
    vat: Vat,
    around: Arc<dyn Around>,
    links: rpc::Links<Link>,
}

/// A connection. Clones are the same.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) channels: rpc::Remote<channels::Client>,
    pub(super) places: Places,
}

/// The places of calls that wait at the owner.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<AtomicUsize>);

impl Links {
    pub(super) fn new(vat: Vat, around: Arc<dyn Around>, scope: Scope, runtime: Handle) -> Self {
        Self { links: rpc::Links::new(&vat, scope, runtime), vat, around }
    }

    /// The connection to an owner, which is made if there is none.
    ///
    /// # Errors
    /// As of connecting, and `NotFound` if it serves neither channels nor semaphores.
    pub(super) async fn link(&self, owner: PeerId) -> Result<Link> {
        let (vat, around) = (self.vat.clone(), self.around.clone());
        let make = || async move {
            around.reach(owner).await?;
            let channels = vat.connect_as(owner, NAME, PLAIN).await?;
            Ok(Link { channels, places: Places::default() })
        };
        self.links.link(owner, make).await
    }

    /// This connection is of no use any more to who gives it up: the next asks for a new
    /// one.
    pub(super) fn forget(&self, owner: PeerId, link: &Link) {
        self.links.forget(owner, |made| Arc::ptr_eq(&made.places.0, &link.places.0));
    }
}

impl rpc::Link for Link {
    fn is_closed(&self) -> bool {
        self.channels.is_closed()
    }

    fn stale(&self) -> CancellationToken {
        self.channels.stale().clone()
    }
}

impl Places {
    /// One, if there is one.
    pub(super) fn take(&self) -> Option<Place> {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        // Dropped, it is given back.
        let place = Place(self.0.clone());
        (before < WAITING).then_some(place)
    }
}

/// The place of a call that waits.
pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
