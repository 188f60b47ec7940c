//! Connections that are kept: one to each peer, for all who use it.

use super::{Remote, Vat};
use crate::{PeerId, Result, host::Host, scope::Scope};
use capnp::capability::FromClientHook;
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// What is kept of a connection.
pub(crate) trait Link: Clone + Send + Sync + 'static {
    /// Whether it has ended.
    fn is_closed(&self) -> bool;

    /// Cancelled when it has, or another is better.
    fn stale(&self) -> CancellationToken;
}

impl<C: FromClientHook + Clone + 'static> Link for Remote<C> {
    fn is_closed(&self) -> bool {
        self.is_closed()
    }

    fn stale(&self) -> CancellationToken {
        self.stale().clone()
    }
}

/// A connection that is there, or being made.
pub(crate) type Making<L> = Shared<BoxFuture<'static, Result<L>>>;

/// The connections.
pub(crate) struct Links<L: Link> {
    host: Host,
    scope: Scope,
    runtime: Handle,
    links: Arc<Mutex<Made<L>>>,
}

/// Those that were made, by the peer.
type Made<L> = HashMap<PeerId, Making<L>>;

impl<L: Link> Links<L> {
    pub(crate) fn new(vat: &Vat, scope: Scope, runtime: Handle) -> Self {
        Self { host: vat.connector().host().clone(), scope, runtime, links: Arc::default() }
    }

    /// The connection to a peer, which is made if there is none.
    pub(crate) fn link<F>(&self, peer: PeerId, make: impl FnOnce() -> F) -> Making<L>
    where
        F: Future<Output = Result<L>> + Send + 'static,
    {
        let mut links = self.lock();
        if let Some(making) = links.get(&peer).filter(|making| !self.is_over(&peer, making)) {
            return making.clone();
        }
        links.retain(|peer, making| !self.is_over(peer, making));
        let making = make().boxed().shared();
        // It is made, or fails, also if nobody waits for it so long: the next finds it.
        let _context = self.runtime.enter();
        let (kept, own) = (Arc::downgrade(&self.links), making.clone());
        self.scope.spawn(async move {
            let Ok(stale) = own.clone().await.map(|link| link.stale()) else { return };
            stale.cancelled().await;
            // Who still uses it has it.
            if let Some(links) = kept.upgrade() {
                let mut links = links.lock().unwrap_or_else(PoisonError::into_inner);
                if links.get(&peer).is_some_and(|making| making.ptr_eq(&own)) {
                    links.remove(&peer);
                }
            }
        });
        links.insert(peer, making.clone());
        making
    }

    /// A connection is of no use any more to who gives it up: the next asks for a new
    /// one.
    pub(crate) fn forget(&self, peer: PeerId, is: impl Fn(&L) -> bool) {
        let mut links = self.lock();
        let making = links.get(&peer).and_then(|making| making.peek());
        if matches!(making, Some(Ok(link)) if is(link)) {
            links.remove(&peer);
        }
    }

    fn is_over(&self, peer: &PeerId, making: &Making<L>) -> bool {
        match making.peek() {
            // Its stream may not have been told yet.
            Some(Ok(link)) => {
                link.is_closed() || link.stale().is_cancelled() || !self.host.is_connected(peer)
            }
            Some(Err(_)) => true,
            None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Made<L>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Error,
        rpc::{Exported, Limits, TestVat},
        schema::cluster_capnp::view,
    };
    use std::{future::ready, time::Duration};
    use tokio::sync::oneshot;

    const TCP: &str = "/ip4/127.0.0.1/tcp/0";

    struct Nothing;

    impl view::Server for Nothing {}

    async fn soon<T>(what: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(60), what).await.expect("it happens within 60 s")
    }

    /// Those who called drove it: when all were out of time it stood still, and the next
    /// one, an hour later, was told of its end.
    #[tokio::test]
    async fn one_is_made_or_fails_also_if_nobody_waits_for_it() {
        let vat = TestVat::start(TCP, Limits::default()).await;
        let links =
            Links::<Remote<view::Client>>::new(&vat.vat, vat.scope.clone(), Handle::current());
        let (tell, ended) = oneshot::channel();
        drop(links.link(PeerId::random(), || async move {
            tokio::task::yield_now().await;
            tell.send(()).unwrap();
            Err(Error::closed("node"))
        }));
        soon(ended).await.unwrap();
        vat.close().await;
    }

    /// A call went into its stream, was lost, and counted as begun; or failed, though
    /// there was another connection to the peer by then.
    #[tokio::test(flavor = "multi_thread")]
    async fn one_whose_connection_is_gone_is_not_used() {
        let (a, b) = (
            TestVat::start(TCP, Limits::default()).await,
            TestVat::start(TCP, Limits::default()).await,
        );
        let export = b.vat.export("view", |_| -> view::Client { capnp_rpc::new_client(Nothing) });
        a.host.connect(&b.info()).await.unwrap();
        let peer = b.host.id();
        let links = Links::new(&a.vat, a.scope.clone(), Handle::current());
        let vat = a.vat.clone();
        let make = || async move { vat.connect_as(peer, "view", Exported::default()).await };
        let old: Remote<view::Client> = links.link(peer, make).await.unwrap();

        // The thread that would be told has other things to do.
        let (begun, busy) = oneshot::channel();
        let (free, wait) = std::sync::mpsc::channel::<()>();
        let remote = old.clone();
        let work = tokio::spawn(async move {
            let work = move |_| async move {
                let _ = (begun.send(()), wait.recv());
                Ok(())
            };
            remote.with(work).await
        });
        soon(busy).await.unwrap();
        a.host.disconnect(peer).await;
        soon(async {
            while a.host.is_connected(&peer) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        a.host.connect(&b.info()).await.unwrap();
        let mut made = false;
        let another = links.link(peer, || {
            made = true;
            ready(Err(Error::closed("node")))
        });
        assert!(soon(another).await.is_err() && made);
        drop(free);
        let _ = soon(work).await.unwrap();
        drop(export);
        a.close().await;
        b.close().await;
    }
}
