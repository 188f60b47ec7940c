//! Services: serving them, and calling those of others.

use crate::{Dispatcher, Error, ErrorKind, Node, Query, Result, Source, Stream, peer_id, runtime};
use casm::service::{self, CallOptions, Headers, Reply, ReplyParts, ServeOptions, ServiceStats};
use std::{
    future::Future,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
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
}

impl ServeSpec {
    fn options(self) -> ServeOptions {
        let mut options = ServeOptions::default().listed(!self.unlisted);
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
    pub peer: Option<String>,
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
        options.peer = self.peer.as_deref().map(peer_id).transpose()?;
        options.matching = self.matching;
        options.headers = self.headers;
        options.wait = self.wait;
        options.idempotent = self.idempotent;
        options.limit = self.limit;
        Ok(options)
    }
}

/// A service that is served, until it is stopped or the node closes.
pub struct Serving(Mutex<Option<service::Serving>>, String);

impl Serving {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.1
    }

    /// Serves it no more. Requests that have come are answered. A second call does
    /// nothing.
    pub fn stop(&self) {
        let serving = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(serving) = serving {
            serving.stop();
        }
    }
}

/// A request, for a handler that answers it from anywhere, at any time. One that
/// is dropped unanswered fails.
pub struct Request {
    request: service::Request,
    /// Until it is answered.
    parts: Mutex<Option<service::Parts>>,
    reply: Mutex<Option<oneshot::Sender<Result<Reply, String>>>>,
}

impl Request {
    /// What was asked.
    pub fn data(&self) -> &[u8] {
        self.request.data()
    }

    /// What came along with it.
    pub fn headers(&self) -> &Headers {
        self.request.headers()
    }

    /// The id of who asks.
    pub fn peer(&self) -> String {
        self.request.peer().to_base58()
    }

    /// How long the answer is still waited for.
    pub fn time_left(&self) -> Option<Duration> {
        self.request.time_left()
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_cancelled(&self) -> bool {
        self.request.is_cancelled()
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
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        async move {
            let Some(parts) = parts else {
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
    /// `Io` if the runtime cannot be started.
    pub fn on_cancel(
        self: &Arc<Self>,
        dispatcher: &Dispatcher,
        then: impl FnOnce() + Send + 'static,
    ) -> Result<()> {
        let (cancelled, request) = (self.request.cancelled(), Arc::downgrade(self));
        let dispatcher = dispatcher.clone();
        runtime::handle()?.spawn(async move {
            cancelled.await;
            if request.upgrade().is_some_and(|request| request.waits()) {
                dispatcher.submit(Box::new(then));
            }
        });
        Ok(())
    }

    fn waits(&self) -> bool {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn finish(&self, result: Result<Reply, String>) {
        let reply = self.reply.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(self.parts.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(reply) = reply {
            // The caller may have gone.
            let _ = reply.send(result);
        }
    }
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
        let node = self.core()?;
        let serving = node.serve_with(name, &spec.options(), move |request| {
            let answer = tell(request, None, &on_request);
            async move { answered(answer.await) }
        })?;
        Ok(Serving(Mutex::new(Some(serving)), name.to_owned()))
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
        let node = self.core()?;
        let serving = node.serve_stream_with(name, &spec.options(), move |request, parts| {
            let answer = tell(request, Some(parts), &on_request);
            async move { answered(answer.await) }
        })?;
        Ok(Serving(Mutex::new(Some(serving)), name.to_owned()))
    }

    /// Asks a member that serves this, or the one that is named.
    pub fn call(
        &self,
        name: String,
        data: Vec<u8>,
        spec: CallSpec,
    ) -> impl Future<Output = Result<Reply>> + Send + use<> {
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
        Ok((Stream::new(replies, self.closing().child_token()), ended))
    }

    /// Asks a member for an answer in parts.
    ///
    /// # Errors
    /// As [`Node::call_all`].
    pub fn call_stream(&self, name: &str, data: Vec<u8>, spec: CallSpec) -> Result<Stream<Parts>> {
        let parts = self.core()?.call_stream(name, data, spec.options()?)?;
        Ok(Stream::new(Parts(parts), self.closing().child_token()))
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
    let (parts, reply) = (Mutex::new(parts), Mutex::new(Some(reply)));
    on_request(Request { request, parts, reply });
    answer
}

fn answered(
    answer: std::result::Result<Result<Reply, String>, oneshot::error::RecvError>,
) -> Result<Reply, String> {
    answer.unwrap_or_else(|_| Err("the handler did not answer".to_owned()))
}
