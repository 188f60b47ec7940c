//! Services: serving them, and calling those of others.

use crate::{
    call::{guard, waits},
    errors::Result,
    items::{Item, PeerReply},
    listener::ListenerError,
    node::Node,
    pending::{self, Done, PendingMaybeBytes, PendingMaybeReply},
    query::Query,
    stream::Pull,
};
use casm_bindings::{
    CallSpec, Ended, Error, Parts, Replies, Reply, ServeSpec, dispatcher_of_calls, duration,
};
use std::{collections::HashMap, convert::identity, sync::Arc, time::Duration};

/// How a service is served.
#[derive(Clone, Debug, uniffi::Record)]
pub struct ServeOptions {
    /// What the record says of it, beside its name; `1` if it is left out.
    #[uniffi(default)]
    pub version: Option<String>,
    /// Requests that are worked on at once; more are sent on to others. 64 if it
    /// is left out.
    #[uniffi(default)]
    pub max_inflight: Option<u32>,
    /// Whether the node's record says that it is served.
    #[uniffi(default = true)]
    pub listed: bool,
    /// Roles of which a caller must have one, in its certificate; everybody may call if
    /// there are none.
    #[uniffi(default)]
    pub allow: Vec<String>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { version: None, max_inflight: None, listed: true, allow: Vec::new() }
    }
}

impl From<ServeOptions> for ServeSpec {
    fn from(options: ServeOptions) -> Self {
        Self {
            version: options.version,
            max_inflight: options.max_inflight.map(|n| n as usize),
            unlisted: !options.listed,
            allow: options.allow,
        }
    }
}

/// Whom to ask, and how.
#[derive(Clone, Debug, Default, uniffi::Record)]
pub struct CallOptions {
    /// Whom to ask, and nobody else: an id, or a multiaddr, to which it connects as
    /// `connect` does.
    #[uniffi(default)]
    pub peer: Option<String>,
    /// Which members may be asked.
    #[uniffi(default)]
    pub matching: Option<Query>,
    /// What goes along with the request: at most 16, with 4 KiB in all.
    #[uniffi(default)]
    pub headers: HashMap<String, String>,
    /// How many seconds to wait at most, infinity for no limit. 10 if it is left
    /// out, and no limit for an answer in parts.
    #[uniffi(default)]
    pub timeout: Option<f64>,
    /// Whether to wait until somebody serves it.
    #[uniffi(default)]
    pub wait: bool,
    /// Whether it may be worked on twice.
    #[uniffi(default)]
    pub idempotent: bool,
}

/// Which of all are asked, and how.
#[derive(Clone, Debug, Default, uniffi::Record)]
pub struct CallAllOptions {
    /// Which members may be asked.
    #[uniffi(default)]
    pub matching: Option<Query>,
    /// What goes along with the request: at most 16, with 4 KiB in all.
    #[uniffi(default)]
    pub headers: HashMap<String, String>,
    /// How many seconds to wait at most, infinity for no limit. 10 if it is left
    /// out.
    #[uniffi(default)]
    pub timeout: Option<f64>,
    /// The most replies.
    #[uniffi(default)]
    pub limit: Option<u32>,
}

/// Zero is no limit for the facade.
fn timeout(seconds: Option<f64>) -> casm_bindings::Result<Option<Duration>> {
    match seconds {
        Some(f64::INFINITY) => Ok(Some(Duration::ZERO)),
        Some(0.0) => Err(Error::config("timeout", 0, "give seconds above 0, or infinity")),
        seconds => seconds.map(|seconds| duration("timeout", seconds)).transpose(),
    }
}

impl CallOptions {
    fn spec(self) -> casm_bindings::Result<CallSpec> {
        Ok(CallSpec {
            timeout: timeout(self.timeout)?,
            peer: self.peer.map(Into::into),
            matching: self.matching.map(Query::build).transpose()?,
            headers: self.headers.into_iter().collect(),
            wait: self.wait,
            idempotent: self.idempotent,
            limit: None,
        })
    }
}

impl CallAllOptions {
    fn spec(self) -> casm_bindings::Result<CallSpec> {
        Ok(CallSpec {
            timeout: timeout(self.timeout)?,
            matching: self.matching.map(Query::build).transpose()?,
            headers: self.headers.into_iter().collect(),
            limit: self.limit.map(|limit| limit as usize),
            ..CallSpec::default()
        })
    }
}

/// Is told of requests, one after the other, on a thread of the node's; it
/// answers them there, or later from any thread. What it throws is told to who
/// asked.
#[uniffi::export(with_foreign)]
pub trait ServiceHandler: Send + Sync {
    /// A request came.
    fn on_request(&self, request: Arc<Request>) -> Result<(), ListenerError>;
}

/// A request. One that nobody holds any more and that is not answered fails.
#[derive(uniffi::Object)]
pub struct Request(Arc<casm_bindings::Request>);

#[uniffi::export]
impl Request {
    /// What was asked; empty once it is answered.
    pub fn data(&self) -> Vec<u8> {
        self.0.data()
    }

    /// What came along with it.
    pub fn headers(&self) -> HashMap<String, String> {
        self.0.headers().clone().into_iter().collect()
    }

    /// The id of who asks.
    pub fn peer(&self) -> String {
        self.0.peer().to_string()
    }

    /// For how many seconds the answer is still waited for; null if there is no
    /// limit.
    pub fn time_left(&self) -> Option<f64> {
        self.0.time_left().map(|left| left.as_secs_f64())
    }

    /// Whether nobody waits for the answer any more.
    pub fn cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Answers it. At most 16 headers, with 4 KiB in all, come along. A second answer
    /// does nothing.
    #[uniffi::method(default(headers))]
    pub fn answer(&self, data: Vec<u8>, headers: HashMap<String, String>) {
        self.0.answer(Reply { data, headers: headers.into_iter().collect() });
    }

    /// Has this told, once, if nobody waits for the answer any more and it is not
    /// answered: on a thread of the library, as of a call in the background that is over.
    pub fn on_cancel(&self, done: Arc<dyn Done>) -> Result<()> {
        guard("on_cancel", || {
            self.0.on_cancel(dispatcher_of_calls(), move || pending::tell(&*done))
        })
    }

    /// Says that there is no answer, and why.
    pub fn fail(&self, reason: String) {
        self.0.fail(reason);
    }
}

waits! {
    impl Request {
        /// Sends a part of the answer, up to 64 KiB, and waits until there is room for
        /// the next.
        #[uniffi::method(default(timeout))]
        fn part / start_part(&self, data: Vec<u8>, timeout: Option<f64>) -> () {
            (self.0.part(data), timeout, identity)
        }
    }
}

/// What a service answers.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Answer {
    /// The id of who answered.
    pub peer: String,
    /// The answer.
    pub data: Vec<u8>,
    /// What comes along with it.
    pub headers: HashMap<String, String>,
}

impl From<casm_bindings::Answer> for Answer {
    fn from(answer: casm_bindings::Answer) -> Self {
        let casm_bindings::Answer { peer, data, headers, .. } = answer;
        Self { peer: peer.to_base58(), data, headers: headers.into_iter().collect() }
    }
}

/// A service that is served, until it is stopped or its node is closed, also if
/// nobody holds this.
#[derive(uniffi::Object)]
pub struct Serving(casm_bindings::Serving);

#[uniffi::export]
impl Serving {
    /// The service's name.
    pub fn name(&self) -> String {
        self.0.name().to_owned()
    }

    /// Serves it no more. Requests that have come are answered.
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// What a service that is served here has done so far.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct ServiceStats {
    /// Requests that a handler has worked on, or works on.
    pub calls: u64,
    /// Requests without an answer, by kind.
    pub failures: HashMap<String, u64>,
    /// Requests that are being worked on.
    pub in_flight: u32,
    /// Seconds that handlers took, all together.
    pub seconds: f64,
}

impl Node {
    fn serve_any(
        &self,
        name: &str,
        handler: Arc<dyn ServiceHandler>,
        options: ServeOptions,
        stream: bool,
    ) -> Result<Arc<Serving>> {
        let node = self.facade();
        let dispatcher = node.dispatcher().ok_or_else(|| Error::closed("node"))?;
        let handler = dispatcher.keep(handler);
        let tell = move |request| {
            let (request, handler) = (Arc::new(Request(Arc::new(request))), Arc::clone(&handler));
            // Not told by a node that closes: then it is dropped, and fails.
            let tell = move || {
                // It waited for too long while others were told of.
                if request.cancelled() {
                    return;
                }
                if let Err(error) = handler.on_request(request.clone()) {
                    let ListenerError::Failed { reason } = error;
                    tracing::warn!(target: "casm::bindings", reason, "a handler of a service failed");
                    request.0.fail(reason);
                }
            };
            dispatcher.submit(Box::new(tell));
        };
        let serving = guard("serve", || match stream {
            false => node.serve(name, options.into(), tell),
            true => node.serve_stream(name, options.into(), tell),
        });
        serving.map(|serving| Arc::new(Serving(serving)))
    }
}

#[uniffi::export]
impl Node {
    /// Serves a service.
    #[uniffi::method(default(options))]
    pub fn serve(
        &self,
        name: String,
        handler: Arc<dyn ServiceHandler>,
        options: Option<ServeOptions>,
    ) -> Result<Arc<Serving>> {
        self.serve_any(&name, handler, options.unwrap_or_default(), false)
    }

    /// Serves a service that answers in parts: `Request.part`, and then
    /// `Request.answer` with no data.
    #[uniffi::method(default(options))]
    pub fn serve_stream(
        &self,
        name: String,
        handler: Arc<dyn ServiceHandler>,
        options: Option<ServeOptions>,
    ) -> Result<Arc<Serving>> {
        self.serve_any(&name, handler, options.unwrap_or_default(), true)
    }

    /// Asks all who serve this now, and gives what they answer as it comes.
    #[uniffi::method(default(options))]
    pub fn call_all(
        &self,
        name: String,
        data: Vec<u8>,
        options: Option<CallAllOptions>,
    ) -> Result<ReplyStream> {
        let options = options.unwrap_or_default();
        let replies = guard("call_all", || self.facade().call_all(&name, data, options.spec()?));
        replies.map(|(replies, ended)| ReplyStream { replies: Pull::new(replies), ended })
    }

    /// Asks a member for an answer in parts, which come as they are asked for.
    #[uniffi::method(default(options))]
    pub fn call_stream(
        &self,
        name: String,
        data: Vec<u8>,
        options: Option<CallOptions>,
    ) -> Result<PartStream> {
        let options = options.unwrap_or_default();
        guard("call_stream", || self.facade().call_stream(&name, data, options.spec()?))
            .map(|parts| PartStream(Pull::new(parts)))
    }

    /// The names of the services that this node serves.
    pub fn services(&self) -> Result<Vec<String>> {
        guard("services", || self.facade().services())
    }

    /// What a service that this node serves has done so far.
    pub fn service_stats(&self, name: String) -> Result<ServiceStats> {
        let stats = guard("service_stats", || self.facade().service_stats(&name))?;
        let failures = stats.failures.into_iter().map(|(kind, count)| (kind.to_owned(), count));
        Ok(ServiceStats {
            calls: stats.calls,
            failures: failures.collect(),
            in_flight: u32::try_from(stats.in_flight).unwrap_or(u32::MAX),
            seconds: stats.seconds,
        })
    }
}

waits! {
    impl Node {
        /// Asks a member that serves this, and gives its answer.
        #[uniffi::method(default(options))]
        fn call / start_call(
            &self,
            name: String,
            data: Vec<u8>,
            options: Option<CallOptions>,
        ) -> Answer {
            let spec = options.unwrap_or_default().spec()?;
            (self.facade().call(name, data, spec), None, Answer::from)
        }
    }
}

/// The replies of all that were asked.
#[derive(uniffi::Object)]
pub struct ReplyStream {
    replies: Arc<Pull<Replies, PeerReply>>,
    ended: Ended,
}

#[uniffi::export]
impl ReplyStream {
    /// Waits for the next reply; null when there is none any more. One call at a
    /// time.
    #[uniffi::method(default(timeout))]
    pub fn next(&self, timeout: Option<f64>) -> Result<Option<PeerReply>> {
        self.replies.next(timeout)
    }

    /// The same in the background: it begins, and this doesn't wait. What comes and is
    /// not taken is given to the next call.
    #[uniffi::method(default(timeout))]
    pub fn start_next(&self, timeout: Option<f64>) -> Arc<PendingMaybeReply> {
        self.replies.start_next(timeout)
    }

    /// Why there is no further reply: `all`, `limit` or `timeout`; null as long as
    /// there may be one.
    pub fn ended(&self) -> Option<String> {
        self.ended.get().map(str::to_owned)
    }

    /// Calls off what is still under way.
    pub fn cancel(&self) {
        self.replies.cancel();
    }
}

/// The parts of an answer.
#[derive(uniffi::Object)]
pub struct PartStream(Arc<Pull<Parts, Vec<u8>>>);

#[uniffi::export]
impl PartStream {
    /// Waits for the next part; null after the last one. One call at a time.
    #[uniffi::method(default(timeout))]
    pub fn next(&self, timeout: Option<f64>) -> Result<Option<Vec<u8>>> {
        self.0.next(timeout)
    }

    /// The same in the background: it begins, and this doesn't wait. What comes and is
    /// not taken is given to the next call.
    #[uniffi::method(default(timeout))]
    pub fn start_next(&self, timeout: Option<f64>) -> Arc<PendingMaybeBytes> {
        self.0.start_next(timeout)
    }

    /// Calls it off.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl Item<casm_bindings::Part> for Vec<u8> {
    fn of(given: casm_bindings::Part) -> Option<Self> {
        Some(given.0)
    }
}
