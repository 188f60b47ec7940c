//! The services that are served here: their handlers, and how they are run.

use super::{
    Headers, Parts, Reply, Request, ServeOptions, ServiceStats,
    budget::{Budget, Share},
    callers::{Allowed, Callers},
    places::{Place, Reader},
    stats::{Counters, ServiceMetrics},
    wire::{self, Failure, FailureKind},
};
use crate::{Error, ErrorKind, PeerId, Result, cluster::Offer, scope::Scope};
use futures::{FutureExt as _, future::BoxFuture};
use std::{
    any::Any,
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

tokio::task_local! {
    /// Of which registry a handler runs: its address.
    static HANDLING: usize;
}

/// A handler: what it fails with is told to the caller.
pub(super) type Call = dyn Fn(Request) -> BoxFuture<'static, Result<Reply, String>> + Send + Sync;
pub(super) type Stream =
    dyn Fn(Request, Parts) -> BoxFuture<'static, Result<Reply, String>> + Send + Sync;

/// What is done with requests.
#[derive(Clone)]
pub(super) enum Handler {
    Call(Arc<Call>),
    Stream(Arc<Stream>),
}

/// A request that came, here or over the network.
pub(super) struct Incoming {
    pub(super) peer: PeerId,
    pub(super) data: Vec<u8>,
    pub(super) headers: Headers,
    /// None: as long as it takes.
    pub(super) timeout: Option<Duration>,
}

/// An answer, which is counted until it is sent.
pub(super) struct Answered {
    pub(super) result: Result<Reply, Failure>,
    _held: Option<(Share, Flight)>,
}

impl From<Failure> for Answered {
    fn from(failure: Failure) -> Self {
        Self { result: Err(failure), _held: None }
    }
}

/// What is served. Clones share it.
#[derive(Clone)]
pub(super) struct Registry(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    metrics: ServiceMetrics,
    budget: Budget,
    callers: Callers,
    scope: Scope,
    /// Where handlers run, whoever asks for one.
    runtime: Handle,
    /// Requests that are being worked on.
    in_flight: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    services: HashMap<String, Served>,
    closing: bool,
}

struct Served {
    entry: Entry,
    /// Has the record say that it is served.
    offer: Option<Offer>,
}

#[derive(Clone)]
struct Entry {
    handler: Handler,
    max_inflight: usize,
    allowed: Allowed,
    counters: Arc<Counters>,
}

impl Registry {
    /// One whose handlers are let go of when the scope ends.
    pub(super) fn new(callers: Callers, metrics: ServiceMetrics, scope: &Scope) -> Self {
        let this = Self(Arc::new(Inner {
            state: Mutex::default(),
            metrics,
            budget: Budget::new(callers.own),
            callers,
            scope: scope.clone(),
            runtime: Handle::current(),
            in_flight: watch::Sender::new(0),
        }));
        let registry = this.clone();
        scope.spawn_graceful(async move {
            registry.0.scope.cancelled().await;
            registry.clear();
        });
        this
    }

    /// Lets go of all handlers: who still has a [`Serving`](super::Serving) or a call of
    /// a node that is closed keeps none of them, nor what they refer to.
    fn clear(&self) {
        let services = std::mem::take(&mut self.lock().services);
        // With no lock held.
        drop(services);
    }

    /// Serves a service. `offer` has the record say so.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] if it is served already; what `offer` gives;
    /// [`ErrorKind::Closed`].
    pub(super) fn add(
        &self,
        name: &str,
        options: &ServeOptions,
        handler: Handler,
        offer: impl FnOnce() -> Result<Option<Offer>>,
    ) -> Result<()> {
        let mut state = self.lock();
        if state.closing || self.0.scope.is_cancelled() {
            return Err(Error::closed("node"));
        }
        if state.services.contains_key(name) {
            let message = format!("service: {name:?} is served already: stop that one first");
            return Err(Error::new(ErrorKind::Busy, message));
        }
        let entry = Entry {
            handler,
            max_inflight: options.max_inflight,
            allowed: Allowed::new(&options.allow),
            counters: self.0.metrics.of(name),
        };
        state.services.insert(name.to_owned(), Served { entry, offer: offer()? });
        Ok(())
    }

    /// Serves it no more. Requests that are worked on go on.
    pub(super) fn remove(&self, name: &str) {
        let removed = self.lock().services.remove(name);
        // With no lock held: what the handler refers to goes with it.
        drop(removed);
    }

    /// Whether it is served, and the record says so.
    pub(super) fn lists(&self, name: &str) -> bool {
        self.lock().services.get(name).is_some_and(|served| served.offer.is_some())
    }

    /// The names that are served, in their order.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.lock().services.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    pub(super) fn stats(&self, name: &str) -> Option<ServiceStats> {
        self.lock().services.get(name).map(|served| served.entry.counters.stats())
    }

    pub(super) fn refuse(&self, reason: &'static str) {
        self.0.metrics.refuse(reason);
    }

    /// Takes no more requests, withdraws what the record says, and waits until
    /// those that came are answered, for so long at most. A handler that waits for
    /// this is not waited for. Says whether anything was ever served.
    pub(super) async fn drain(&self, grace: Duration, handling: bool) -> bool {
        let offers: Vec<_> = {
            let mut state = self.lock();
            state.closing = true;
            state.services.values_mut().map(|served| served.offer.take()).collect()
        };
        let served = !offers.is_empty();
        drop(offers);
        let own =
            usize::from(handling || HANDLING.try_with(|of| *of == self.id()).unwrap_or(false));
        let mut in_flight = self.0.in_flight.subscribe();
        tokio::select! {
            _ = tokio::time::timeout(grace, in_flight.wait_for(|n| *n <= own)) => {}
            // Closed by another call: nothing is answered any more.
            () = self.0.scope.cancelled() => {}
        }
        served
    }

    /// Has a request worked on. Dropping the future calls it off.
    pub(super) async fn run(
        &self,
        name: &str,
        incoming: Incoming,
        parts: Option<(Parts, Reader)>,
    ) -> Answered {
        let (parts, reader) = parts.unzip();
        let Incoming { peer, data, headers, timeout } = incoming;
        let entry = {
            let state = self.lock();
            if state.closing || self.0.scope.is_cancelled() {
                self.refuse("closing");
                return Failure::new(FailureKind::Closing, "it is closing").into();
            }
            state.services.get(name).map(|served| served.entry.clone())
        };
        let Some(Entry { handler, max_inflight, allowed, counters }) = entry else {
            self.refuse("not-found");
            return Failure::new(FailureKind::NotFound, "it serves no such service").into();
        };
        let refused = |kind: FailureKind, reason, why: String| {
            self.refuse(reason);
            counters.fail(kind);
            Answered::from(Failure::new(kind, why))
        };
        if let Err(why) = self.0.callers.check(&peer, &allowed) {
            return refused(FailureKind::NotFound, "not-allowed", why);
        }
        // The handler is kept no longer than until it has begun: who stops it, or what it
        // refers to, need not wait for what it works on.
        let work: Box<dyn FnOnce(Request) -> _ + Send> = match (handler, parts) {
            (Handler::Call(handler), None) => Box::new(move |request| handler(request)),
            (Handler::Stream(handler), Some(parts)) => {
                Box::new(move |request| handler(request, parts))
            }
            (Handler::Stream(_), None) => {
                let why = "it answers in parts: call it as a stream".to_owned();
                return refused(FailureKind::Parts, "parts", why);
            }
            (Handler::Call(_), Some(_)) => {
                let why = "it answers at once, and not in parts: call it for one answer".to_owned();
                return refused(FailureKind::Parts, "parts", why);
            }
        };
        let budget = &self.0.budget;
        let (Some(bytes), Some(mut share)) = (budget.hold(peer, data.len()), budget.hold(peer, 0))
        else {
            let why = "it holds too many bytes of requests: try again later".to_owned();
            return refused(FailureKind::Busy, "bytes", why);
        };
        let place = counters.begin(peer, max_inflight, reader.clone());
        let Some(place) = place else {
            let why = format!("it works on {max_inflight} requests, and takes no more");
            return refused(FailureKind::Busy, "busy", why);
        };
        let running = Running::new(counters.clone());
        // Also as long as the handler keeps the request: who waits for its answer no
        // longer takes nothing off what it holds.
        let held = Held { _bytes: bytes, _place: place, counters: counters.clone() };
        let held = Arc::new(held);
        let flight = Flight::new(&self.0.in_flight);
        let cancel = CancellationToken::new();
        let _called_off = cancel.clone().drop_guard();
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let request = Request {
            data,
            headers,
            peer,
            deadline,
            cancel: cancel.clone(),
            held: Some(held.clone()),
        };
        let (reply, answer) = oneshot::channel();
        let work = HANDLING.scope(self.id(), async move {
            // Made here, so that what it does at once is done here too.
            work(request).await
        });
        let work = async move {
            let late = async {
                match deadline {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let in_the_way = async {
                match &reader {
                    Some(reader) => reader.ended().await,
                    None => std::future::pending().await,
                }
            };
            let result = tokio::select! {
                biased;
                () = cancel.cancelled() => Err(Failure::new(FailureKind::Cancelled, "")),
                result = AssertUnwindSafe(work).catch_unwind() => finish(result),
                () = late => Err(Failure::new(FailureKind::Deadline, "it took too long")),
                () = in_the_way => {
                    let why = "its parts were not taken, and others waited: take them sooner";
                    Err(Failure::new(FailureKind::Deadline, why))
                }
            };
            cancel.cancel();
            running.end(result.as_ref().err().map(|failure| failure.kind));
            drop(held);
            let _ = reply.send(result);
        };
        self.spawn(work);
        let mut result = answer.await.unwrap_or_else(|_| {
            Err(Failure::new(FailureKind::Remote, "the node closed before it answered"))
        });
        if !share.set(result.as_ref().map_or(0, |reply| reply.data.len())) {
            counters.fail(FailureKind::TooLarge);
            let why = "its answers that are not taken are too many bytes: ask for fewer at once";
            result = Err(Failure::new(FailureKind::TooLarge, why));
        }
        Answered { result, _held: Some((share, flight)) }
    }

    /// Tells this one from those of other nodes.
    fn id(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Starts a task of the node's, whoever asks for it.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let _context = self.0.runtime.enter();
        self.0.scope.spawn(task);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a handler gave, as it is told.
fn finish(
    result: std::result::Result<Result<Reply, String>, Box<dyn Any + Send>>,
) -> Result<Reply, Failure> {
    let remote = |message| Failure::new(FailureKind::Remote, message);
    let reply = match result {
        Ok(result) => result.map_err(remote)?,
        Err(_) => return Err(remote("the handler panicked".into())),
    };
    let checked = wire::check_data("answer", reply.data.len())
        .and_then(|()| wire::check_headers(&reply.headers));
    match checked {
        Ok(()) => Ok(reply),
        Err(error) if error.kind() == ErrorKind::TooLarge => {
            Err(Failure::new(FailureKind::TooLarge, error.message()))
        }
        Err(error) => Err(remote(error.message().into())),
    }
}

/// A request whose answer is not on its way yet, for which a close waits.
struct Flight(watch::Sender<usize>);

impl Flight {
    fn new(in_flight: &watch::Sender<usize>) -> Self {
        in_flight.send_modify(|n| *n += 1);
        Self(in_flight.clone())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n = n.saturating_sub(1));
    }
}

/// What a request takes of what there is for all: its bytes, and one of the places
/// of its service.
pub(super) struct Held {
    _bytes: Share,
    _place: Place,
    counters: Arc<Counters>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.counters.leave();
    }
}

/// A request whose answer is waited for.
struct Running {
    counters: Arc<Counters>,
    since: Instant,
    failed: Option<FailureKind>,
}

impl Running {
    fn new(counters: Arc<Counters>) -> Self {
        Self { counters, since: Instant::now(), failed: Some(FailureKind::Cancelled) }
    }

    fn end(mut self, failed: Option<FailureKind>) {
        self.failed = failed;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.counters.end(self.since.elapsed(), self.failed);
    }
}
