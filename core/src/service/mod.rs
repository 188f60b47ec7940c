//! Services: a question to another node, or to all that offer an answer, and one
//! answer or a stream of parts.
//!
//! - `wire`: what requests and answers are on the wire; `options`: how they are
//!   asked for; `request`: what a handler sees
//! - `registry`: what is served here, and how handlers are run; `callers`: who may
//!   call; `budget`: the bytes that are held for others; `places`: who gets the places
//!   of a service; `stats`: what is counted
//! - `server`: takes requests over the network; `client`: makes them
//! - `choice`: which of several members is asked; `attempt`: what is learnt of it by
//!   that; `call`, `all`, `parts`: the three ways to ask

mod all;
mod attempt;
mod budget;
mod call;
mod callers;
mod choice;
mod client;
#[doc(hidden)]
pub mod fuzzing;
mod options;
mod parts;
mod places;
mod registry;
mod request;
mod server;
mod stats;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
mod wire;

pub use all::{Ended, PeerReply, Replies};
pub use options::{CallOptions, ServeOptions};
pub use parts::ReplyParts;
pub use request::{Answer, Headers, Parts, Reply, Request};
pub use stats::ServiceStats;

use crate::{
    Error, ErrorKind, PeerId, Result,
    cluster::{Cluster, RolesOf, reserved::SERVICE},
    metrics::Metrics,
    name::check_name,
    rpc::{Encoding, Export, Exported, Vat},
    scope::Scope,
};
use callers::Callers;
use choice::Choice;
use client::Links;
use futures::FutureExt as _;
use registry::{Handler, Registry};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// The name of the capability.
const NAME: &str = "svc";
/// How it is exported.
const EXPORTED: Exported<'static> =
    Exported { encodings: &[Encoding::Plain], large_calls: true, long_calls: true };
/// How long the last answers may take to be written when a node closes.
const FLUSH: Duration = Duration::from_secs(1);

/// The services of a node, served and called. Clones share them.
#[derive(Clone)]
pub(crate) struct Services(Arc<Inner>);

struct Inner {
    own: PeerId,
    cluster: Cluster,
    registry: Registry,
    links: Links,
    choice: Mutex<Choice>,
    epoch: Instant,
    _export: Export,
}

impl Services {
    /// Takes requests, of which there are none before something is served. `roles` says
    /// which ones are proven of a caller.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`].
    pub(crate) fn start(
        own: PeerId,
        cluster: Cluster,
        roles: RolesOf,
        vat: &Vat,
        metrics: &Metrics,
        scope: &Scope,
    ) -> Result<Self> {
        let callers = Callers { own, roles };
        let registry = Registry::new(callers, stats::ServiceMetrics::new(metrics), scope);
        let served = registry.clone();
        let export =
            vat.export_with(NAME, EXPORTED, move |peer, room| server::object(&served, peer, room))?;
        Ok(Self(Arc::new(Inner {
            own,
            cluster,
            links: Links::new(vat.clone(), scope),
            registry,
            choice: Mutex::default(),
            epoch: Instant::now(),
            _export: export,
        })))
    }

    /// Serves a service.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if name or options are not acceptable;
    /// [`ErrorKind::Busy`] if it is served already; [`ErrorKind::TooLarge`] if the
    /// record has no room for it; [`ErrorKind::Closed`].
    pub(crate) fn serve<F, Fut, T, E>(
        &self,
        name: &str,
        options: &ServeOptions,
        handler: F,
    ) -> Result<Serving>
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = std::result::Result<T, E>> + Send + 'static,
        T: Into<Reply>,
        E: fmt::Display,
    {
        let call = move |request| {
            let answer = handler(request);
            async move { told(answer.await) }.boxed()
        };
        self.add(name, options, Handler::Call(Arc::new(call)))
    }

    /// Serves a service that answers in parts.
    ///
    /// # Errors
    /// As of [`serve`](Self::serve).
    pub(crate) fn serve_stream<F, Fut, T, E>(
        &self,
        name: &str,
        options: &ServeOptions,
        handler: F,
    ) -> Result<Serving>
    where
        F: Fn(Request, Parts) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = std::result::Result<T, E>> + Send + 'static,
        T: Into<Reply>,
        E: fmt::Display,
    {
        let stream = move |request, parts| {
            let answer = handler(request, parts);
            async move { told(answer.await) }.boxed()
        };
        self.add(name, options, Handler::Stream(Arc::new(stream)))
    }

    fn add(&self, name: &str, options: &ServeOptions, handler: Handler) -> Result<Serving> {
        check_name("service", name)?;
        options.check()?;
        let inner = &self.0;
        let offer = || {
            let offer = || inner.cluster.offer("service", SERVICE, name, &options.version);
            options.listed.then(offer).transpose()
        };
        inner.registry.add(name, options, handler, offer)?;
        Ok(Serving { registry: inner.registry.clone(), name: name.to_owned() })
    }

    /// The names that are served here.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.registry.names()
    }

    /// What a service that is served here has done.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub(crate) fn stats(&self, name: &str) -> Result<ServiceStats> {
        self.0.registry.stats(name).ok_or_else(|| {
            let shown: String = name.chars().take(64).collect();
            Error::new(ErrorKind::NotFound, format!("this node does not serve {shown:?}"))
        })
    }

    /// Serves nothing more, and waits until what came is answered, for so long at
    /// most. `handling`: a handler waits for this, and is not waited for.
    pub(crate) async fn drain(&self, grace: Duration, handling: bool) {
        let worked = self.0.registry.drain(grace, handling).await;
        if worked && !grace.is_zero() {
            self.0.links.vat().flush(FLUSH.min(grace)).await;
        }
    }

    fn choice(&self) -> MutexGuard<'_, Choice> {
        self.0.choice.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a handler gave, as the registry has it.
fn told<T: Into<Reply>, E: fmt::Display>(
    result: std::result::Result<T, E>,
) -> std::result::Result<Reply, String> {
    result.map(Into::into).map_err(|error| error.to_string())
}

/// A service that is served. It is served until it is stopped or the node
/// closes, also if this is dropped.
pub struct Serving {
    registry: Registry,
    name: String,
}

impl Serving {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Serves it no more. Requests that have come are answered.
    pub fn stop(self) {
        self.registry.remove(&self.name);
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("name", &self.name).finish_non_exhaustive()
    }
}
