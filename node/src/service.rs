//! Services: serving them, and calling those of others.

use crate::{
    call::{Pending, duration, guard, spawn, spawn_unit},
    errors::Result,
    node::{self, Node},
    port::{Shared, Work, hand_over},
    query::QuerySpec,
    records::Records,
    stream::Stream,
};
use casm_bindings::{CallSpec, Reply, ServeSpec, id_text};
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

/// How a service is served.
#[napi(object, object_to_js = false)]
#[derive(Default)]
pub struct ServeOptions {
    pub version: Option<String>,
    pub max_inflight: Option<u32>,
    pub listed: Option<bool>,
    pub allow: Option<Vec<String>>,
}

impl From<ServeOptions> for ServeSpec {
    fn from(options: ServeOptions) -> Self {
        Self {
            version: options.version,
            max_inflight: options.max_inflight.map(|n| n as usize),
            unlisted: options.listed == Some(false),
            allow: options.allow.unwrap_or_default(),
        }
    }
}

/// How a service is called. Times are in milliseconds.
#[napi(object, object_to_js = false)]
#[derive(Default)]
pub struct CallOptions {
    /// What names the peer, or else its place among the records.
    pub peer: Option<Vec<String>>,
    pub place: Option<u32>,
    pub matching: Option<QuerySpec>,
    pub headers: Option<HashMap<String, String>>,
    pub timeout: Option<f64>,
    pub wait: Option<bool>,
    pub idempotent: Option<bool>,
    pub limit: Option<u32>,
}

impl CallOptions {
    pub(crate) fn spec(self, records: Option<&Records>) -> casm_bindings::Result<CallSpec> {
        let timeout = match self.timeout {
            None => None,
            // Zero is no limit for the facade.
            Some(f64::INFINITY) => Some(Duration::ZERO),
            Some(ms) => Some(duration("timeout", ms)?.max(Duration::from_nanos(1))),
        };
        Ok(CallSpec {
            timeout,
            peer: self.peer.map(|peer| node::peer(peer, records, self.place)),
            matching: self.matching.map(QuerySpec::build).transpose()?,
            headers: self.headers.unwrap_or_default().into_iter().collect(),
            wait: self.wait.unwrap_or_default(),
            idempotent: self.idempotent.unwrap_or_default(),
            limit: self.limit.map(|limit| limit as usize),
        })
    }
}

/// A request, which is answered at any time.
#[napi(js_name = "NativeRequest")]
pub struct Request {
    request: Arc<casm_bindings::Request>,
    port: Arc<Shared>,
}

#[napi]
impl Request {
    /// Without a copy, and once.
    #[napi]
    pub fn take_data(&self) -> Uint8Array {
        self.request.take_data().into()
    }

    #[napi(getter)]
    pub fn headers(&self) -> BTreeMap<String, String> {
        self.request.headers().clone()
    }

    #[napi(getter)]
    pub fn peer(&self) -> String {
        self.request.peer().to_string()
    }

    /// In milliseconds.
    #[napi(getter)]
    pub fn time_left(&self) -> Option<f64> {
        self.request.time_left().map(|left| left.as_secs_f64() * 1000.0)
    }

    #[napi(getter)]
    pub fn cancelled(&self) -> bool {
        self.request.is_cancelled()
    }

    #[napi]
    pub fn answer(&self, data: Uint8Array, headers: Option<HashMap<String, String>>) {
        let headers = headers.unwrap_or_default().into_iter().collect();
        self.request.answer(Reply { data: data.to_vec(), headers });
    }

    #[napi]
    pub fn fail(&self, why: String) {
        self.request.fail(why);
    }

    #[napi]
    pub fn part(&self, id: u32, data: Uint8Array) -> Result<Pending> {
        spawn_unit("sending a part", &self.port, id, self.request.part(data.to_vec()))
    }

    /// Hands over nothing under this number if nobody waits for the answer any
    /// more.
    #[napi]
    pub fn on_cancel(&self, id: u32) -> Result<()> {
        let call = move || hand_over(Work { id, ..Work::default() });
        guard("serve", || self.request.on_cancel(&self.port.dispatcher(), call))
    }
}

/// A service that is served.
#[napi(js_name = "NativeServing")]
pub struct Serving(casm_bindings::Serving);

#[napi]
impl Serving {
    #[napi]
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// What a service that is served here has done so far.
#[napi(object, object_from_js = false)]
pub struct Stats {
    pub calls: f64,
    pub failures: HashMap<String, f64>,
    pub in_flight: u32,
    pub seconds: f64,
}

/// Serves a service: each request is handed over under the number.
pub(crate) fn serve(
    node: &casm_bindings::Node,
    port: &Arc<Shared>,
    id: u32,
    name: &str,
    options: ServeOptions,
    stream: bool,
) -> Result<Serving> {
    let port = port.clone();
    let dispatcher = port.dispatcher();
    let tell = move |request: casm_bindings::Request| {
        let port = port.clone();
        dispatcher.submit(Box::new(move || {
            // It waited for too long while the thread was busy.
            if request.is_cancelled() {
                return;
            }
            let request = Some(Request { request: Arc::new(request), port });
            hand_over(Work { id, request, ..Work::default() });
        }));
    };
    let serving = guard("serve", || match stream {
        false => node.serve(name, options.into(), tell),
        true => node.serve_stream(name, options.into(), tell),
    });
    serving.map(Serving)
}

/// Asks, and hands over the answer under the number.
pub(crate) fn call(
    node: &casm_bindings::Node,
    port: &Arc<Shared>,
    id: u32,
    name: String,
    data: &Uint8Array,
    spec: CallSpec,
) -> Result<Pending> {
    let call = node.call(name, data.to_vec(), spec);
    spawn("call", port, id, call, |answer| Work {
        text: Some(id_text(&answer.peer).to_string()),
        data: Some(answer.data.into()),
        headers: Some(answer.headers).filter(|headers| !headers.is_empty()),
        ..Work::default()
    })
}

/// Asks all; gives their replies.
pub(crate) fn call_all(
    node: &casm_bindings::Node,
    port: &Arc<Shared>,
    name: &str,
    data: &Uint8Array,
    spec: CallSpec,
) -> Result<Stream> {
    let (replies, ended) = guard("callAll", || node.call_all(name, data.to_vec(), spec))?;
    Ok(Stream::that_ends(replies, port.clone(), ended))
}

/// Asks for parts.
pub(crate) fn call_stream(
    node: &casm_bindings::Node,
    port: &Arc<Shared>,
    name: &str,
    data: &Uint8Array,
    spec: CallSpec,
) -> Result<Stream> {
    let parts = guard("callStream", || node.call_stream(name, data.to_vec(), spec))?;
    Ok(Stream::new(parts, port.clone()))
}

/// Far fewer than 2^53 are ever counted.
pub(crate) fn stats(node: &Node, name: &str) -> Result<Stats> {
    let stats = guard("serviceStats", || node.facade().service_stats(name))?;
    let failures = stats.failures.iter().map(|(kind, count)| ((*kind).into(), *count as f64));
    Ok(Stats {
        calls: stats.calls as f64,
        failures: failures.collect(),
        in_flight: u32::try_from(stats.in_flight).unwrap_or(u32::MAX),
        seconds: stats.seconds,
    })
}
