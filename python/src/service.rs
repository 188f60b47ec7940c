//! Services: serving them, and calling those of others. What a handler is called
//! with, and where, is in `casm/_service.py`.

use crate::{
    call::{Pending, block, detach, seconds, spawn},
    config::{Peer, Strings, list},
    driver,
    errors::{OrRaise, raise},
    node::Node,
    query::{QueryArg, query},
};
use casm_bindings::{
    Answer, CallSpec, Dispatcher, Error, Headers, Next, Reply, ServeSpec, id_text,
};
use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    sync::PyOnceLock,
    types::{PyByteArray, PyBytes, PyMemoryView, PyString},
};
use std::{cell::RefCell, collections::BTreeMap, sync::Arc, time::Duration};

thread_local! {
    /// Of which node a handler runs on this thread.
    static HANDLING: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Whether a handler of this node runs on this thread.
pub(crate) fn handling(node: &str) -> bool {
    HANDLING.with_borrow(|handling| handling.as_deref() == Some(node))
}

/// Bytes that are given to a call.
#[derive(Default)]
pub(crate) struct Data(Vec<u8>);

impl<'py> FromPyObject<'_, 'py> for Data {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = given.cast::<PyBytes>() {
            return Ok(Self(bytes.as_bytes().to_vec()));
        }
        if let Ok(bytes) = given.cast::<PyByteArray>() {
            return Ok(Self(bytes.to_vec()));
        }
        let view = PyMemoryView::from(&given).map_err(|_| {
            let kind = given.get_type();
            let kind = kind.name().map_or_else(|_| "?".into(), |name| name.to_string());
            PyTypeError::new_err(format!("data: bytes, bytearray or memoryview, and not {kind}"))
        })?;
        let bytes = view.call_method0("tobytes")?;
        Ok(Self(bytes.cast::<PyBytes>()?.as_bytes().to_vec()))
    }
}

impl From<Data> for Vec<u8> {
    fn from(data: Data) -> Self {
        data.0
    }
}

/// How a service is called, from Python's arguments.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) peer: Option<Peer>,
    pub(crate) matching: Option<QueryArg>,
    pub(crate) headers: Option<Headers>,
    pub(crate) timeout: Option<f64>,
    pub(crate) wait: bool,
    pub(crate) idempotent: bool,
    pub(crate) limit: Option<usize>,
}

impl Asked {
    pub(crate) fn spec(self) -> PyResult<CallSpec> {
        let timeout = seconds("timeout", self.timeout)?;
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            let accepted = "give seconds above 0, or None for no limit";
            return Err(raise(&Error::config("timeout", 0, accepted)));
        }
        let matching = self.matching.map(|given| query(Some(given), None, None)).transpose()?;
        Ok(CallSpec {
            // Zero is no limit.
            timeout: Some(timeout.unwrap_or(Duration::ZERO)),
            peer: self.peer.map(Peer::named),
            matching,
            headers: self.headers.unwrap_or_default(),
            wait: self.wait,
            idempotent: self.idempotent,
            limit: self.limit,
        })
    }
}

/// A request, as its handler gets it.
#[pyclass(frozen, module = "casm")]
pub(crate) struct Request {
    request: Arc<casm_bindings::Request>,
    data: Py<PyBytes>,
    /// Looked up when it is asked for.
    deadline: PyOnceLock<Option<f64>>,
    node: Py<Node>,
}

impl Request {
    fn new(py: Python<'_>, request: casm_bindings::Request, node: Py<Node>) -> Self {
        let data = PyBytes::new(py, &request.take_data()).unbind();
        Self { request: Arc::new(request), data, deadline: PyOnceLock::new(), node }
    }
}

#[pymethods]
impl Request {
    /// What was asked.
    #[getter]
    fn data(&self, py: Python<'_>) -> Py<PyBytes> {
        self.data.clone_ref(py)
    }

    /// What came along with it.
    #[getter]
    fn headers(&self) -> BTreeMap<String, String> {
        self.request.headers().clone()
    }

    /// The id of who asks.
    #[getter]
    fn peer<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        PyString::new(py, &self.request.peer())
    }

    /// Until when the answer is waited for, as ``time.monotonic()`` has it; None
    /// if there is no limit.
    #[getter]
    fn deadline(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        let until = || {
            let Some(left) = self.request.time_left() else { return Ok(None) };
            let now: f64 = py.import("time")?.call_method0("monotonic")?.extract()?;
            Ok(Some(now + left.as_secs_f64()))
        };
        self.deadline.get_or_try_init(py, until).copied()
    }

    /// Whether nobody waits for the answer any more.
    #[getter]
    fn cancelled(&self) -> bool {
        self.request.is_cancelled()
    }

    #[pyo3(signature = (data, headers=None))]
    fn _answer(&self, data: Data, headers: Option<Headers>) {
        self.request.answer(Reply { data: data.0, headers: headers.unwrap_or_default() });
    }

    fn _fail(&self, why: String) {
        self.request.fail(why);
    }

    fn _part(&self, py: Python<'_>, data: Data) -> PyResult<()> {
        block(py, "sending a part", self.request.part(data.0), None)
    }

    fn _send_part(&self, py: Python<'_>, data: Data, done: Py<PyAny>) -> PyResult<Pending> {
        let dispatcher = self.node.get().dispatcher(py)?;
        let part = self.request.part(data.0);
        spawn("sending a part", &dispatcher, part, done, |py, ()| Ok(py.None()))
    }

    /// Calls ``callback()`` on the node's thread if nobody waits for the answer any
    /// more.
    fn _on_cancel(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<()> {
        let dispatcher = self.node.get().dispatcher(py)?;
        let call = move || {
            Python::try_attach(|py| {
                let nothing = pyo3::types::PyTuple::empty(py).into_any().unbind();
                driver::hand_over((py.None(), callback, nothing));
            });
        };
        self.request.on_cancel(&dispatcher, call).or_raise()
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let bytes = self.data.bind(py).as_bytes().len();
        format!("<Request of {bytes} bytes from {}>", self.request.peer())
    }
}

/// The requests of a service that is served.
#[pyclass(frozen, module = "casm._casm")]
pub(crate) struct Requests {
    serving: casm_bindings::Serving,
    /// None if they are told to a callback.
    queue: Option<casm_bindings::Requests>,
    node: Py<Node>,
}

#[pymethods]
impl Requests {
    /// Waits for a request, and says whether to start another thread that does; None
    /// for a thread that is to end.
    fn next(&self, py: Python<'_>) -> PyResult<Option<(Request, bool)>> {
        HANDLING.take();
        let Some(queue) = &self.queue else { return Ok(None) };
        let mut woken = None;
        // With the interpreter's lock: a thread that has to wait for it has no request
        // that another could answer meanwhile.
        let given = loop {
            match queue.try_next(woken) {
                Next::Given(given) => break given,
                Next::End => return Ok(None),
                Next::Wait => {
                    woken = detach(py, || queue.wait());
                    if woken.is_none() {
                        return Ok(None);
                    }
                }
            }
        };
        HANDLING.set(Some(self.node.get().facade().id().to_owned()));
        let request = Request::new(py, given.request, self.node.clone_ref(py));
        Ok(Some((request, given.start)))
    }

    /// A thread that was to be started was not.
    fn not_started(&self) {
        if let Some(queue) = &self.queue {
            queue.not_started();
        }
    }

    #[getter]
    fn name(&self) -> &str {
        self.serving.name()
    }

    fn stop(&self, py: Python<'_>) {
        detach(py, || self.serving.stop());
    }
}

/// The arguments of a `serve`: name, handler, whether it answers in parts,
/// version, most requests, whether it is listed, roles, threads.
type Options<'a> = (&'a str, Option<Py<PyAny>>, bool, &'a str, usize, bool, Option<Strings>, usize);

/// Serves a service on threads that Python makes; gives what a `serve` gives.
pub(crate) fn serve_on_threads<'py>(
    node: &Bound<'py, Node>,
    options: Options<'_>,
) -> PyResult<Bound<'py, PyAny>> {
    let (name, handler, stream, version, max_inflight, listed, allow, workers) = options;
    let allow = list(allow);
    let arguments = (node, name, handler, stream, version, max_inflight, listed, allow, workers);
    node.py().import("casm._service")?.call_method1("serve", arguments)
}

/// Serves a service on so many threads, or with a callback that is told of each
/// request, on the node's thread.
#[pyfunction]
#[pyo3(signature = (node, name, stream, version, max_inflight, listed, allow=None, workers=1, on_request=None))]
#[expect(clippy::too_many_arguments, reason = "these are Python's arguments")]
pub(crate) fn serve(
    node: &Bound<'_, Node>,
    name: &str,
    stream: bool,
    version: String,
    max_inflight: usize,
    listed: bool,
    allow: Option<Strings>,
    workers: usize,
    on_request: Option<Py<PyAny>>,
) -> PyResult<Requests> {
    let (version, max_inflight) = (Some(version), Some(max_inflight));
    let spec = ServeSpec { version, max_inflight, unlisted: !listed, allow: list(allow) };
    let facade = node.get().facade();
    let (serving, queue) = match on_request {
        None => {
            let serve = || facade.serve_on_threads(name, spec, stream, workers);
            let (serving, queue) = casm_bindings::guard("serve", serve).or_raise()?;
            (serving, Some(queue))
        }
        Some(callback) => {
            let dispatcher = node.get().dispatcher(node.py())?;
            let tell = teller(dispatcher, Arc::new(callback), node.clone().unbind());
            let serving = casm_bindings::guard("serve", || match stream {
                false => facade.serve(name, spec, tell),
                true => facade.serve_stream(name, spec, tell),
            });
            (serving.or_raise()?, None)
        }
    };
    Ok(Requests { serving, queue, node: node.clone().unbind() })
}

fn teller(
    dispatcher: Dispatcher,
    callback: Arc<Py<PyAny>>,
    node: Py<Node>,
) -> impl Fn(casm_bindings::Request) + Send + Sync {
    let node = Arc::new(node);
    move |request| {
        let (callback, node) = (callback.clone(), node.clone());
        dispatcher.submit(Box::new(move || {
            if request.is_cancelled() {
                return;
            }
            // None while Python is shutting down: then nobody is there to be told.
            Python::try_attach(|py| {
                let made = Py::new(py, Request::new(py, request, node.clone_ref(py)))
                    .and_then(|request| (request,).into_pyobject(py));
                match made {
                    Ok(arguments) => driver::hand_over((
                        py.None(),
                        callback.clone_ref(py),
                        arguments.into_any().unbind(),
                    )),
                    Err(error) => error.write_unraisable(py, None),
                }
            });
        }));
    }
}

/// What a call gives, as Python has it: bytes that have headers.
pub(crate) fn answered(py: Python<'_>, answer: Answer) -> PyResult<Bound<'_, PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = MAKE.get_or_try_init(py, || {
        Ok::<_, PyErr>(py.import("casm._answer")?.getattr("answered")?.unbind())
    })?;
    let Answer { peer, data, headers, .. } = answer;
    make.bind(py).call1((PyBytes::new(py, &data), headers, &*id_text(&peer)))
}

/// What one of those that were asked said.
#[pyclass(frozen, module = "casm", get_all)]
pub(crate) struct PeerReply {
    /// The id of who was asked.
    peer: String,
    /// Its answer; None if there is none.
    data: Option<Py<PyBytes>>,
    /// What came along with the answer.
    headers: BTreeMap<String, String>,
    /// Why there is no answer.
    error: Option<Py<PyAny>>,
}

impl PeerReply {
    pub(crate) fn make(py: Python<'_>, reply: casm_bindings::PeerReply) -> PyResult<Py<PyAny>> {
        let peer = reply.peer.to_base58();
        let reply = match reply.result {
            Ok(Reply { data, headers }) => {
                Self { peer, data: Some(PyBytes::new(py, &data).unbind()), headers, error: None }
            }
            Err(error) => {
                let error = Some(raise(&error).into_value(py).into_any());
                Self { peer, data: None, headers: BTreeMap::new(), error }
            }
        };
        Ok(Py::new(py, reply)?.into_any())
    }
}

#[pymethods]
impl PeerReply {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let said = match (&self.data, &self.error) {
            (Some(data), _) => format!("data={}", data.bind(py).repr()?),
            (None, Some(error)) => format!("error={}", error.bind(py).repr()?),
            (None, None) => String::new(),
        };
        Ok(format!("PeerReply(peer={:?}, {said})", self.peer))
    }
}

/// What a service that is served here has done so far.
#[pyclass(frozen, module = "casm", get_all)]
pub(crate) struct ServiceStats {
    /// Requests that a handler has worked on, or works on.
    calls: u64,
    /// Requests without an answer, by kind.
    failures: BTreeMap<&'static str, u64>,
    /// Requests that are being worked on.
    in_flight: usize,
    /// Seconds that handlers took, all together.
    seconds: f64,
}

impl From<casm_bindings::ServiceStats> for ServiceStats {
    fn from(stats: casm_bindings::ServiceStats) -> Self {
        let casm_bindings::ServiceStats { calls, failures, in_flight, seconds, .. } = stats;
        Self { calls, failures, in_flight, seconds }
    }
}

#[pymethods]
impl ServiceStats {
    fn __repr__(&self) -> String {
        format!(
            "ServiceStats(calls={}, failures={:?}, in_flight={}, seconds={:.3})",
            self.calls, self.failures, self.in_flight, self.seconds
        )
    }
}
