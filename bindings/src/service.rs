//! Services: serving them, and calling those of others.

use crate::{
    Answer, Dispatcher, Error, ErrorKind, Node, Peer, Query, Result, Source, Stream, ids::id_text,
    ours::Ours, runtime,
};
use casm::{
    PeerId,
    service::{self, CallOptions, Headers, Reply, ReplyParts, ServeOptions, ServiceStats},
};
use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// How a service is served.
#[derive(Clone, Debug, Default)]
pub struct ServeSpec {
    /// What the record says of it, beside its name; `1` if nothing is said.
    pub version: Option<String>,
    /// Requests that are worked on at once, 64 if nothing is said.
    pub max_inflight: Option<usize>,
    /// Whether it is left out of the record.
    pub unlisted: bool,
    /// Roles of which a caller must have one; everybody may call if there are none.
    pub allow: Vec<String>,
}

impl ServeSpec {
    fn options(self) -> ServeOptions {
        let mut options = ServeOptions::default().listed(!self.unlisted);
        options.allow = self.allow;
        if let Some(version) = self.version {
            options = options.version(version);
        }
        if let Some(max_inflight) = self.max_inflight {
            options = options.max_inflight(max_inflight);
        }
        options
    }
}

/// How a service is called.
#[derive(Clone, Debug, Default)]
pub struct CallSpec {
    /// How long to wait: `None` is 10 s for an answer and no limit for parts, and
    /// zero is no limit.
    pub timeout: Option<Duration>,
    /// Whom to ask, and nobody else.
    pub peer: Option<Peer>,
    /// Which members may be asked.
    pub matching: Option<Query>,
    /// What goes along with the request.
    pub headers: Headers,
    /// Whether to wait until somebody serves it.
    pub wait: bool,
    /// Whether it may be worked on twice.
    pub idempotent: bool,
    /// The most replies, of a call to all.
    pub limit: Option<usize>,
}

impl CallSpec {
    fn options(self) -> Result<CallOptions> {
        let mut options = CallOptions::new();
        options.timeout = self.timeout.map(|timeout| Some(timeout).filter(|t| !t.is_zero()));
        options.peer = self.peer.map(Peer::target).transpose()?;
        options.matching = self.matching;
        options.headers = self.headers;
        options.wait = self.wait;
        options.idempotent = self.idempotent;
        options.limit = self.limit;
        Ok(options)
    }
}

/// A service that is served, until it is stopped or the node closes.
pub struct Serving(Ours<Mutex<Option<service::Serving>>>, String);

impl Serving {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.1
    }

    /// Serves it no more. Requests that have come are answered. A second call does
    /// nothing.
    pub fn stop(&self) {
        if let Some(serving) = self.0.mine().and_then(|serving| lock(serving).take()) {
            serving.stop();
        }
    }
}

/// A request, for a handler that answers it from anywhere, at any time. One that
/// is dropped unanswered fails.
///
/// Until it is answered or dropped, it takes its place among those that its service
/// may have in flight, also if nobody waits for the answer any more.
pub struct Request {
    peer: PeerId,
    headers: Headers,
    came: Instant,
    ours: Ours<Asked>,
}

struct Asked {
    /// Let go of when it is answered.
    request: Mutex<service::Request>,
    /// Until it is answered.
    parts: Mutex<Option<service::Parts>>,
    reply: Mutex<Option<oneshot::Sender<Result<Reply, String>>>>,
}

impl Request {
    fn new(
        request: service::Request,
        parts: Option<service::Parts>,
        reply: oneshot::Sender<Result<Reply, String>>,
    ) -> Self {
        Self {
            peer: request.peer(),
            headers: request.headers().clone(),
            came: Instant::now(),
            ours: Ours::new(Asked {
                request: Mutex::new(request),
                parts: Mutex::new(parts),
                reply: Mutex::new(Some(reply)),
            }),
        }
    }

    /// What was asked; empty when it was taken, and when the request is answered.
    pub fn data(&self) -> Vec<u8> {
        self.ours.mine().map(|asked| lock(&asked.request).data().to_vec()).unwrap_or_default()
    }

    /// The same, taken out.
    pub fn take_data(&self) -> Vec<u8> {
        self.ours.mine().map(|asked| lock(&asked.request).take_data()).unwrap_or_default()
    }

    /// What came along with it.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The id of who asks.
    pub fn peer(&self) -> Arc<str> {
        id_text(&self.peer)
    }

    /// How long the answer is still waited for.
    pub fn time_left(&self) -> Option<Duration> {
        lock(&self.ours.mine()?.request).time_left()
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_cancelled(&self) -> bool {
        let Some(asked) = self.ours.mine() else { return true };
        lock(&asked.request).is_cancelled()
            || lock(&asked.reply).as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// Whether more than half of its time is over.
    pub(crate) fn is_late(&self) -> bool {
        self.time_left().is_some_and(|left| left < self.came.elapsed())
    }

    /// Answers it. A second answer does nothing.
    pub fn answer(&self, reply: impl Into<Reply>) {
        self.finish(Ok(reply.into()));
    }

    /// Says that there is no answer, and why.
    pub fn fail(&self, why: impl Into<String>) {
        self.finish(Err(why.into()));
    }

    /// Sends a part of the answer, and waits until there is room for the next.
    pub fn part(&self, part: Vec<u8>) -> impl Future<Output = Result<()>> + Send + use<> {
        let parts = self.ours.get().map(|asked| lock(&asked.parts).clone());
        async move {
            let Some(parts) = parts? else {
                let message = "the request wants one answer and no parts, or is answered";
                return Err(Error::new(ErrorKind::Invalid, message));
            };
            parts.send(part).await
        }
    }

    /// Calls `then` on the dispatcher's thread if nobody waits for the answer any
    /// more, and it is not answered.
    ///
    /// # Errors
    /// `Io` if the runtime cannot be started; `Closed` in a forked child.
    pub fn on_cancel(
        self: &Arc<Self>,
        dispatcher: &Dispatcher,
        then: impl FnOnce() + Send + 'static,
    ) -> Result<()> {
        let cancelled = lock(&self.ours.get()?.request).cancelled();
        let (request, dispatcher) = (Arc::downgrade(self), dispatcher.clone());
        runtime::handle()?.spawn(async move {
            cancelled.await;
            if request.upgrade().is_some_and(|request| request.waits()) {
                dispatcher.submit(Box::new(then));
            }
        });
        Ok(())
    }

    fn waits(&self) -> bool {
        self.ours.mine().is_some_and(|asked| lock(&asked.reply).is_some())
    }

    fn finish(&self, result: Result<Reply, String>) {
        let Some(asked) = self.ours.mine() else { return };
        let reply = lock(&asked.reply).take();
        drop(lock(&asked.parts).take());
        // First, so that who has the answer finds the place free. A language may keep
        // this for long after that.
        lock(&asked.request).let_go();
        if let Some(reply) = reply {
            // The caller may have gone.
            let _ = reply.send(result);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one of those that were asked said.
pub type PeerReply = service::PeerReply;

/// The replies of all that were asked.
pub struct Replies {
    replies: service::Replies,
    ended: Arc<OnceLock<&'static str>>,
}

impl Source for Replies {
    type Item = PeerReply;

    async fn next(&mut self) -> Option<Result<PeerReply>> {
        let reply = self.replies.next().await;
        if let Some(ended) = self.replies.ended() {
            let _ = self.ended.set(ended.name());
        }
        reply.map(Ok)
    }
}

/// Why a call to all is over, when it is: `all`, `limit` or `timeout`.
#[derive(Clone, Debug, Default)]
pub struct Ended(Arc<OnceLock<&'static str>>);

impl Ended {
    /// The reason; none as long as more may come.
    pub fn get(&self) -> Option<&'static str> {
        self.0.get().copied()
    }
}

/// A part of an answer.
pub struct Part(pub Vec<u8>);

/// The parts of an answer.
pub struct Parts(ReplyParts);

impl Source for Parts {
    type Item = Part;

    async fn next(&mut self) -> Option<Result<Part>> {
        self.0.next().await.map(|part| part.map(Part))
    }
}

impl Node {
    /// Serves a service: `on_request` is told of each request, on a thread of the
    /// runtime, and must not wait there.
    ///
    /// # Errors
    /// As [`casm::Node::serve_with`].
    pub fn serve(
        &self,
        name: &str,
        spec: ServeSpec,
        on_request: impl Fn(Request) + Send + Sync + 'static,
    ) -> Result<Serving> {
        self.serve_until(name, spec, false, on_request, || ())
    }

    /// Serves a service that answers in parts.
    ///
    /// # Errors
    /// As [`Node::serve`].
    pub fn serve_stream(
        &self,
        name: &str,
        spec: ServeSpec,
        on_request: impl Fn(Request) + Send + Sync + 'static,
    ) -> Result<Serving> {
        self.serve_until(name, spec, true, on_request, || ())
    }

    /// Serves a service, in parts if `stream` says so. What `until` gives for a request
    /// is dropped when that is answered, or its answer is not waited for any more.
    pub(crate) fn serve_until<G: Send + 'static>(
        &self,
        name: &str,
        spec: ServeSpec,
        stream: bool,
        on_request: impl Fn(Request) + Send + Sync + 'static,
        until: impl Fn() -> G + Send + Sync + 'static,
    ) -> Result<Serving> {
        let (node, options) = (self.core()?, spec.options());
        let work = move |request: service::Request, parts: Option<service::Parts>| {
            let (guard, answer) = (until(), tell(request, parts, &on_request));
            async move {
                // Dropped after the answer, which is not waited for then.
                let _guard = guard;
                answered(answer.await)
            }
        };
        let serving = match stream {
            false => node.serve_with(name, &options, move |request| work(request, None)),
            true => node.serve_stream_with(name, &options, move |request, parts| {
                work(request, Some(parts))
            }),
        };
        Ok(Serving(Ours::new(Mutex::new(Some(serving?))), name.to_owned()))
    }

    /// Asks a member that serves this, or the one that is named.
    pub fn call(
        &self,
        name: String,
        data: Vec<u8>,
        spec: CallSpec,
    ) -> impl Future<Output = Result<Answer>> + Send + use<> {
        self.run(|node| async move { node.call_with(&name, data, spec.options()?).await })
    }

    /// Asks all who serve this.
    ///
    /// # Errors
    /// `Closed`; `Config` or `TooLarge` if something is not acceptable.
    pub fn call_all(
        &self,
        name: &str,
        data: Vec<u8>,
        spec: CallSpec,
    ) -> Result<(Stream<Replies>, Ended)> {
        let node = self.core()?;
        let _runtime = runtime::handle()?.enter();
        let replies = node.call_all(name, data, spec.options()?)?;
        let ended = Ended::default();
        let replies = Replies { replies, ended: ended.0.clone() };
        Ok((Stream::new(replies, self.closing()?.child_token()), ended))
    }

    /// Asks a member for an answer in parts.
    ///
    /// # Errors
    /// As [`Node::call_all`].
    pub fn call_stream(&self, name: &str, data: Vec<u8>, spec: CallSpec) -> Result<Stream<Parts>> {
        let parts = self.core()?.call_stream(name, data, spec.options()?)?;
        Ok(Stream::new(Parts(parts), self.closing()?.child_token()))
    }

    /// The names of the services that this node serves.
    ///
    /// # Errors
    /// `Closed`.
    pub fn services(&self) -> Result<Vec<String>> {
        Ok(self.core()?.services())
    }

    /// What a service that this node serves has done so far.
    ///
    /// # Errors
    /// `Closed`; `NotFound` if it serves none of this name.
    pub fn service_stats(&self, name: &str) -> Result<ServiceStats> {
        self.core()?.service_stats(name)
    }
}

/// Tells of a request; gives where the answer comes.
fn tell(
    request: service::Request,
    parts: Option<service::Parts>,
    on_request: &impl Fn(Request),
) -> oneshot::Receiver<Result<Reply, String>> {
    let (reply, answer) = oneshot::channel();
    on_request(Request::new(request, parts, reply));
    answer
}

fn answered(
    answer: std::result::Result<Result<Reply, String>, oneshot::error::RecvError>,
) -> Result<Reply, String> {
    answer.unwrap_or_else(|_| Err("the handler did not answer".to_owned()))
}
