//! The node. `awaited`: its calls for asyncio; `inside`: what is not called from
//! Python.

mod awaited;
mod inside;

pub(crate) use awaited::Awaited;
pub(crate) use inside::{close_at_exit, dispatcher_of, start};

use crate::{
    admission::Admission,
    byte_stream::{self, RawStream},
    call::{DEFAULT_TIMEOUT, block, guard, seconds},
    config::{Config, Peer, PeerInfo, PeerStatus, Strings},
    csp::{Channel, Semaphore},
    errors::OrRaise,
    query::{QueryArg, query},
    reach::Reachability,
    remote::RemoteView,
    service::{self, Asked, Data, ServiceStats, answered},
    stream::{Stream, Subscription},
    topic::Topic,
    view::View,
};
use casm_bindings::{Driver, duration};
use pyo3::{prelude::*, types::PyDict};
use std::{collections::BTreeMap, sync::Mutex};

/// A member of a cluster, or an observer of one.
///
/// It is closed at the end of a ``with``, by ``close()``, and when the program
/// ends. After that its calls raise ``ClosedError``. The arguments are those
/// of ``Config``, and ``on_event``: a callback that is called with what happens
/// from the first event on, such as where the node listens.
///
/// Callbacks run one after the other on one thread of the node. A slow one
/// makes the oldest events be dropped, never the program stop.
#[pyclass(frozen, weakref, extends = Admission, module = "casm")]
pub(crate) struct Node {
    node: casm_bindings::Node,
    /// Until the thread of the callbacks is started.
    driver: Mutex<Option<Driver>>,
}

#[pymethods]
impl Node {
    // Python's `Config` reads them, and this is what it takes.
    #[new]
    #[pyo3(
        signature = (namespace=None, *, on_event=None, **options),
        text_signature = "(namespace=None, *, listen=None, boot=None, serve=None, announce=None, announce_only=False, host=None, meta=None, ttl=None, observer=False, data=None, pex_tick=None, power=None, pace=None, budget=None, limits=None, key=None, secret=None, allow=None, deny=None, admit=None, certificate=None, revoked=None, relay=False, relay_limits=None, use_relays=True, upnp=False, on_event=None)"
    )]
    fn new(
        py: Python<'_>,
        namespace: Option<Bound<'_, PyAny>>,
        on_event: Option<Bound<'_, PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let config = py.get_type::<Config>().call((namespace,), options)?.cast_into::<Config>()?;
        Self::begin(py, config.get(), on_event)
    }

    /// Starts a node. ``on_event`` is called with what happens from the first
    /// event on.
    #[staticmethod]
    #[pyo3(signature = (config, *, on_event=None))]
    fn start(
        py: Python<'_>,
        config: &Config,
        on_event: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<Self>> {
        Py::new(py, Self::begin(py, config, on_event)?)
    }

    /// The node's peer id. Also of a closed node.
    #[getter]
    fn id(&self) -> &str {
        self.node.id()
    }

    /// The cluster's name. Also of a closed node.
    #[getter]
    fn namespace(&self) -> &str {
        self.node.namespace()
    }

    /// Whether the node is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.node.is_closed()
    }

    /// Its calls for asyncio.
    #[getter]
    fn _awaited(this: Py<Self>) -> Awaited {
        Awaited(this)
    }

    /// Whether the node is paused, or about to be.
    fn is_paused(&self) -> PyResult<bool> {
        guard("is_paused", || self.node.is_paused())
    }

    /// The multiaddrs at which it can be reached, each with its ``/p2p/<id>``: none
    /// while it is paused.
    fn addrs(&self) -> PyResult<Vec<String>> {
        guard("addrs", || self.node.addrs())
    }

    /// Its id and its addresses, for another node's ``connect``.
    fn info(&self) -> PyResult<PeerInfo> {
        guard("info", || self.node.info()).map(PeerInfo::from)
    }

    /// The cluster as this node sees it now.
    fn view(&self) -> PyResult<View> {
        guard("view", || self.node.view()).map(View::from)
    }

    /// Waits until the view holds ``n`` records, the own one among them, or
    /// ``n`` that a query finds, and returns it.
    ///
    /// Raises:
    ///     TimeoutError: if that takes longer than ``timeout`` seconds.
    #[pyo3(signature = (n, timeout=None, *, query=None))]
    fn wait_for(
        &self,
        py: Python<'_>,
        n: usize,
        timeout: Option<f64>,
        query: Option<QueryArg>,
    ) -> PyResult<View> {
        let query = self::query(query, None, None)?;
        block(py, "wait_for", self.node.wait_for(query, n), timeout).map(View::from)
    }

    /// The view of a peer, as it is there. Connects to it as ``connect`` does.
    #[pyo3(signature = (peer, timeout=None))]
    fn view_of(this: &Bound<'_, Self>, peer: Peer, timeout: Option<f64>) -> PyResult<RemoteView> {
        let view = block(this.py(), "view_of", this.get().node.view_of(peer.named()), timeout)?;
        Ok(RemoteView::new(view, this.clone().unbind()))
    }

    /// What happens from now on, to iterate over.
    fn events(this: &Bound<'_, Self>) -> PyResult<Stream> {
        let events = guard("events", || this.get().node.events())?;
        Ok(Stream::new(events, this.clone().unbind()))
    }

    /// Calls ``callback(event)`` with what happens from now on.
    fn on_event(&self, py: Python<'_>, callback: Bound<'_, PyAny>) -> PyResult<Subscription> {
        let callback = self.callback(py, callback)?;
        guard("on_event", || self.node.on_event(callback)).map(Subscription::from)
    }

    /// Follows a query: what it finds now, then every change to that, to
    /// iterate over.
    #[pyo3(signature = (query=None, *, limit=None, reverse=None))]
    fn subscribe(
        this: &Bound<'_, Self>,
        query: Option<QueryArg>,
        limit: Option<usize>,
        reverse: Option<bool>,
    ) -> PyResult<Stream> {
        let query = self::query(query, limit, reverse)?;
        let changes = guard("subscribe", || this.get().node.subscribe(query))?;
        Ok(Stream::new(changes, this.clone().unbind()))
    }

    /// Calls ``callback(change)`` with what a query finds now, and with every
    /// change to that.
    #[pyo3(signature = (callback, query=None, *, limit=None, reverse=None))]
    fn on_change(
        &self,
        py: Python<'_>,
        callback: Bound<'_, PyAny>,
        query: Option<QueryArg>,
        limit: Option<usize>,
        reverse: Option<bool>,
    ) -> PyResult<Subscription> {
        let callback = self.callback(py, callback)?;
        let query = self::query(query, limit, reverse)?;
        guard("on_change", || self.node.on_change(query, callback)).map(Subscription::from)
    }

    /// Looks for peers, to iterate over: of this node's cluster, or of another
    /// ``namespace``; those that peer exchange knows, then where the boot
    /// addresses say. Ends after ``limit`` peers
    /// or ``timeout`` seconds; without either, when it is cancelled.
    #[pyo3(signature = (namespace=None, *, limit=None, timeout=None))]
    fn find_peers(
        this: &Bound<'_, Self>,
        namespace: Option<&str>,
        limit: Option<usize>,
        timeout: Option<f64>,
    ) -> PyResult<Stream> {
        let timeout = seconds("timeout", timeout)?;
        let node = &this.get().node;
        let peers = guard("find_peers", || node.find_peers(namespace, limit, timeout))?;
        Ok(Stream::new(peers, this.clone().unbind()))
    }

    /// Lets others find this node under another namespace too, for ``ttl``
    /// seconds.
    fn advertise(&self, py: Python<'_>, namespace: String, ttl: f64) -> PyResult<()> {
        let ttl = duration("ttl", ttl).or_raise()?;
        block(py, "advertise", self.node.advertise(namespace, ttl), None)
    }

    /// Connects to a peer, and returns its id. The peer is a ``Record``, an id, a
    /// ``PeerInfo``, multiaddrs that end in ``/p2p/<id>``, or one multiaddr of
    /// whoever answers there. An id leads to where the peer's record or peer
    /// exchange says that it is.
    ///
    /// Raises:
    ///     NotFoundError: if no address of the peer is known.
    ///     UnreachableError: if it answers at none.
    #[pyo3(signature = (peer, timeout=None))]
    fn connect(&self, py: Python<'_>, peer: Peer, timeout: Option<f64>) -> PyResult<String> {
        block(py, "connect", self.node.connect(peer.named()), timeout)
    }

    /// The ids of the peers that are connected now.
    fn connected(&self) -> PyResult<Vec<String>> {
        guard("connected", || self.node.connected())
    }

    /// What is known of a connected peer: its addresses, who made the
    /// connection, the round-trip time, the program. ``None`` if it isn't
    /// connected.
    fn peer_status(&self, peer: &str) -> PyResult<Option<PeerStatus>> {
        guard("peer_status", || self.node.peer_status(peer)).map(|s| s.map(PeerStatus::from))
    }

    /// Whether others can reach this node, and where. ``ReachabilityChanged`` tells
    /// when that changes.
    fn reachability(&self) -> PyResult<Reachability> {
        guard("reachability", || self.node.reachability()).map(Reachability::from)
    }

    /// Changes what others may know of this node, and tells them.
    fn set_meta(&self, py: Python<'_>, meta: BTreeMap<String, String>) -> PyResult<()> {
        block(py, "set_meta", self.node.set_meta(meta), None)
    }

    /// Changes some of what others may know of this node, and tells them: each
    /// key gets the value, or goes if that is ``None``. No other change comes
    /// between.
    fn update_meta(
        &self,
        py: Python<'_>,
        changes: BTreeMap<String, Option<String>>,
    ) -> PyResult<()> {
        block(py, "update_meta", self.node.update_meta(changes), None)
    }

    /// Changes the host name that others read, and tells them.
    fn set_host(&self, py: Python<'_>, host: String) -> PyResult<()> {
        block(py, "set_host", self.node.set_host(host), None)
    }

    /// Changes for how many seconds others keep this node's record, and tells
    /// them. In a large cluster it may be longer.
    fn set_ttl(&self, py: Python<'_>, ttl: f64) -> PyResult<()> {
        let ttl = duration("ttl", ttl).or_raise()?;
        block(py, "set_ttl", self.node.set_ttl(ttl), None)
    }

    /// The node's counters, in the OpenMetrics text format.
    fn metrics(&self) -> PyResult<String> {
        guard("metrics", || self.node.metrics())
    }

    /// The values of the node's counters now, each by its name and labels as in
    /// the text: ``casm_heartbeats_total{verdict="accepted"}``.
    fn metrics_snapshot(&self) -> PyResult<BTreeMap<String, f64>> {
        guard("metrics_snapshot", || self.node.metrics_snapshot())
    }

    /// Leaves the cluster for a while, so that others see it at once, and lets
    /// every connection and socket go. The node keeps its key, its view, the peers
    /// it knows, what it tells of itself, and every subscription; what needs the
    /// network raises ``PausedError``. A second call does nothing.
    fn pause(&self, py: Python<'_>) -> PyResult<()> {
        block(py, "pause", self.node.pause(), None)
    }

    /// Comes back after a pause: listens, connects to who was connected, and
    /// announces itself. Subscriptions are told what has changed meanwhile.
    fn resume(&self, py: Python<'_>) -> PyResult<()> {
        block(py, "resume", self.node.resume(), None)
    }

    /// A handle of a topic, which the node joins if it has not. The name is 1 to 48
    /// of ``A-Z a-z 0-9 . _ -``, and the topic is of the node's cluster; with
    /// ``exact`` the name is taken as it is, for topics of other libp2p programs.
    ///
    /// ``max_data`` is the most bytes of a message, 61440 if nothing else is said,
    /// up to 1024000. With ``accept``, a query, messages count of those alone whose
    /// record it finds: what comes from others is neither delivered nor relayed.
    /// Give all members the same.
    #[pyo3(signature = (name, *, exact=false, max_data=None, accept=None))]
    fn topic(
        this: &Bound<'_, Self>,
        name: &str,
        exact: bool,
        max_data: Option<usize>,
        accept: Option<QueryArg>,
    ) -> PyResult<Topic> {
        Topic::open(this, name, exact, max_data, accept)
    }

    /// Serves a service: ``handler(request)`` answers with bytes, or with an
    /// ``Answer``, which has headers too, on one of ``workers`` threads. Without a handler it is a decorator::
    ///
    ///     @node.serve("shout")
    ///     def shout(request):
    ///         return request.data.upper()
    ///
    /// It is served until it is stopped or the node is closed. What the handler raises,
    /// the caller gets as a ``RemoteError``. More than ``max_inflight`` requests at once
    /// are sent on to others; one that is not ``listed`` is found by who names the node.
    /// ``allow`` names roles of which a caller, but for this node, must have one.
    #[pyo3(signature = (name, handler=None, *, version="1", max_inflight=64, listed=true, allow=None, workers=4))]
    #[expect(clippy::too_many_arguments, reason = "these are Python's keyword arguments")]
    fn serve<'py>(
        this: &Bound<'py, Self>,
        name: &str,
        handler: Option<Py<PyAny>>,
        version: &str,
        max_inflight: usize,
        listed: bool,
        allow: Option<Strings>,
        workers: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = (name, handler, false, version, max_inflight, listed, allow, workers);
        service::serve_on_threads(this, options)
    }

    /// Serves a service that answers in parts: ``handler(request)`` is a generator
    /// of bytes, up to 64 KiB each. As ``serve`` in all else.
    #[pyo3(signature = (name, handler=None, *, version="1", max_inflight=64, listed=true, allow=None, workers=4))]
    #[expect(clippy::too_many_arguments, reason = "these are Python's keyword arguments")]
    fn serve_stream<'py>(
        this: &Bound<'py, Self>,
        name: &str,
        handler: Option<Py<PyAny>>,
        version: &str,
        max_inflight: usize,
        listed: bool,
        allow: Option<Strings>,
        workers: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = (name, handler, true, version, max_inflight, listed, allow, workers);
        service::serve_on_threads(this, options)
    }

    /// Asks a member that serves this, or ``peer`` and nobody else, and returns its
    /// answer: bytes, which know their ``headers`` and from which ``peer`` they are.
    /// ``where`` says which members may be asked; with ``wait`` the first
    /// that serves it is waited for; what is ``idempotent`` may be worked on twice.
    ///
    /// Raises:
    ///     NotFoundError: if nobody serves it.
    ///     RemoteError: if the handler failed, with its message.
    ///     TimeoutError: after ``timeout`` seconds; None is no limit.
    #[pyo3(signature = (name, data=Data::default(), *, peer=None, r#where=None, headers=None, timeout=Some(DEFAULT_TIMEOUT), wait=false, idempotent=false))]
    #[expect(clippy::too_many_arguments, reason = "these are Python's keyword arguments")]
    fn call<'py>(
        &self,
        py: Python<'py>,
        name: String,
        data: Data,
        peer: Option<Peer>,
        r#where: Option<QueryArg>,
        headers: Option<BTreeMap<String, String>>,
        timeout: Option<f64>,
        wait: bool,
        idempotent: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let matching = r#where;
        let asked = Asked { peer, matching, headers, timeout, wait, idempotent, limit: None };
        let call = self.node.call(name, data.into(), asked.spec()?);
        answered(py, block(py, "call", call, None)?)
    }

    /// Asks all who serve this now, and gives what they answer as it comes: items
    /// with ``peer``, and ``data`` or ``error``. ``limit`` is on these. When they
    /// are over, ``ended`` of what this returns is ``"all"``, ``"limit"`` or
    /// ``"timeout"``.
    #[pyo3(signature = (name, data=Data::default(), *, r#where=None, headers=None, timeout=Some(DEFAULT_TIMEOUT), limit=None))]
    fn call_all(
        this: &Bound<'_, Self>,
        name: &str,
        data: Data,
        r#where: Option<QueryArg>,
        headers: Option<BTreeMap<String, String>>,
        timeout: Option<f64>,
        limit: Option<usize>,
    ) -> PyResult<Stream> {
        let asked = Asked { matching: r#where, headers, timeout, limit, ..Asked::default() };
        let (spec, node) = (asked.spec()?, &this.get().node);
        let (replies, ended) = guard("call_all", || node.call_all(name, data.into(), spec))?;
        Ok(Stream::that_ends(replies, this.clone().unbind(), ended))
    }

    /// Asks a member for an answer in parts, which come as they are iterated over.
    /// ``timeout`` is for all of them.
    #[pyo3(signature = (name, data=Data::default(), *, peer=None, r#where=None, headers=None, timeout=None, wait=false, idempotent=false))]
    #[expect(clippy::too_many_arguments, reason = "these are Python's keyword arguments")]
    fn call_stream(
        this: &Bound<'_, Self>,
        name: &str,
        data: Data,
        peer: Option<Peer>,
        r#where: Option<QueryArg>,
        headers: Option<BTreeMap<String, String>>,
        timeout: Option<f64>,
        wait: bool,
        idempotent: bool,
    ) -> PyResult<Stream> {
        let matching = r#where;
        let asked = Asked { peer, matching, headers, timeout, wait, idempotent, limit: None };
        let (spec, node) = (asked.spec()?, &this.get().node);
        let parts = guard("call_stream", || node.call_stream(name, data.into(), spec))?;
        Ok(Stream::new(parts, this.clone().unbind()))
    }

    /// The names of the services that this node serves.
    fn services(&self) -> PyResult<Vec<String>> {
        guard("services", || self.node.services())
    }

    /// What a service that this node serves has done so far.
    fn service_stats(&self, name: &str) -> PyResult<ServiceStats> {
        guard("service_stats", || self.node.service_stats(name)).map(ServiceStats::from)
    }

    /// Opens a stream of bytes to a peer, to which it connects as ``connect``
    /// does. ``protocol`` is a libp2p protocol id of the program's own, such as
    /// ``/files/1``. The timeout is for opening it.
    ///
    /// Raises:
    ///     ProtocolError: if the peer doesn't take the protocol.
    ///     TimeoutError: after ``timeout`` seconds; None is no limit.
    #[pyo3(signature = (peer, protocol, timeout=Some(DEFAULT_TIMEOUT)))]
    fn open_stream(
        &self,
        py: Python<'_>,
        peer: Peer,
        protocol: String,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let timeout = seconds("timeout", timeout)?;
        let opened = self.node.open_stream(peer.named(), protocol, timeout);
        let raw = RawStream(block(py, "open_stream", opened, None)?);
        Ok(py.import("casm._streams")?.call_method1("opened", (raw,))?.unbind())
    }

    /// Calls ``handler(stream, peer)`` with every stream of a protocol that a peer
    /// opens, on up to ``workers`` threads, a quarter of which is kept for other peers
    /// than one that has many streams. The stream is closed when the handler returns,
    /// and reset if it raises. It goes on until it is cancelled or the node is closed.
    ///
    /// A read waits for as long as the peer likes, and so does its thread: set the
    /// stream's ``timeout``.
    #[pyo3(signature = (protocol, handler, *, workers=64))]
    fn on_stream(
        this: &Bound<'_, Self>,
        protocol: &str,
        handler: Bound<'_, PyAny>,
        workers: i64,
    ) -> PyResult<Py<Subscription>> {
        let py = this.py();
        let handler = py.import("casm._streams")?.call_method1("Handler", (handler, workers))?;
        let subscription = byte_stream::on_stream(this, protocol, handler.clone().unbind())?;
        let subscription = Py::new(py, subscription)?;
        handler.setattr("subscription", &subscription)?;
        Ok(subscription)
    }

    /// A channel of this node, which others open by its name: one that is here and
    /// open, or a new one. ``capacity`` values may wait in it; with 0, each is handed
    /// from sender to receiver.
    #[pyo3(signature = (name, capacity=0, *, close_by_others=false))]
    fn channel(
        this: &Bound<'_, Self>,
        name: &str,
        capacity: usize,
        close_by_others: bool,
    ) -> PyResult<Channel> {
        let node = &this.get().node;
        let channel = guard("channel", || node.channel(name, capacity, close_by_others))?;
        Ok(Channel::new(channel, this.clone().unbind()))
    }

    /// A channel of another node, by its name there: of the one member in whose record
    /// it stands, if no peer is given. Connects to it as ``connect`` does.
    ///
    /// Raises:
    ///     TimeoutError: after ``timeout`` seconds; None is no limit.
    #[pyo3(signature = (name, peer=None, timeout=Some(DEFAULT_TIMEOUT)))]
    fn open_channel(
        this: &Bound<'_, Self>,
        name: String,
        peer: Option<Peer>,
        timeout: Option<f64>,
    ) -> PyResult<Channel> {
        let timeout = seconds("timeout", timeout)?;
        let opening = this.get().node.open_channel(name, peer.map(Peer::named), timeout);
        let channel = block(this.py(), "open_channel", opening, None)?;
        Ok(Channel::new(channel, this.clone().unbind()))
    }

    /// A semaphore of this node, of which ``n`` leases are given at a time; others
    /// open it by its name. One that is here and open, or a new one.
    #[pyo3(signature = (name, n, timeout=None))]
    fn semaphore(
        this: &Bound<'_, Self>,
        name: String,
        n: usize,
        timeout: Option<f64>,
    ) -> PyResult<Semaphore> {
        let made = block(this.py(), "semaphore", this.get().node.semaphore(name, n), timeout)?;
        Ok(Semaphore::new(made, this.clone().unbind()))
    }

    /// A semaphore of another node, by its name there: of the one member in whose record
    /// it stands, if no peer is given. Connects to it as ``connect`` does.
    ///
    /// Raises:
    ///     TimeoutError: after ``timeout`` seconds; None is no limit.
    #[pyo3(signature = (name, peer=None, timeout=Some(DEFAULT_TIMEOUT)))]
    fn open_semaphore(
        this: &Bound<'_, Self>,
        name: String,
        peer: Option<Peer>,
        timeout: Option<f64>,
    ) -> PyResult<Semaphore> {
        let timeout = seconds("timeout", timeout)?;
        let opening = this.get().node.open_semaphore(name, peer.map(Peer::named), timeout);
        let semaphore = block(this.py(), "open_semaphore", opening, None)?;
        Ok(Semaphore::new(semaphore, this.clone().unbind()))
    }

    /// Leaves the cluster, so that others see it at once, and waits until
    /// nothing of the node is running. Requests that its services work on have
    /// ``grace`` seconds to be answered before. A second call does nothing.
    #[pyo3(signature = (grace=5.0))]
    fn close(&self, py: Python<'_>, grace: f64) -> PyResult<()> {
        let grace = Some(duration("grace", grace).or_raise()?);
        let handling = service::handling(self.node.id());
        block(py, "close", self.node.close(grace, handling), None)
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, py: Python<'_>, _exc: &Bound<'_, PyAny>) -> PyResult<()> {
        self.close(py, 5.0)
    }

    fn __repr__(&self) -> String {
        let closed = if self.node.is_closed() { ", closed" } else { "" };
        format!("<Node {} in {:?}{closed}>", self.node.id(), self.node.namespace())
    }
}
