//! The node.

use crate::{
    call::{Pending, block, detach, guard, seconds, spawn},
    config::{Config, KeyOrFile, Limits, Peer, PeerInfo, PeerStatus, Strings},
    driver,
    errors::OrRaise,
    query::{QueryArg, query},
    remote::RemoteView,
    stream::{Callback, Stream, Subscription},
    view::View,
};
use casm_bindings::{Dispatcher, Driver, duration};
use pyo3::{prelude::*, types::PyCFunction};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// A member of a cluster, or an observer of one.
///
/// It is closed at the end of a ``with``, by ``close()``, and when the program
/// ends. After that its calls raise ``ClosedError``. The arguments are those
/// of ``Config``, and ``on_event``: a callback that is called with what happens
/// from the first event on, such as where the node listens.
///
/// Callbacks run one after the other on one thread of the node. A slow one
/// makes the oldest events be dropped, never the program stop.
#[pyclass(frozen, weakref, module = "casm")]
pub(crate) struct Node {
    node: casm_bindings::Node,
    /// Until the thread of the callbacks is started.
    driver: Mutex<Option<Driver>>,
}

/// How long leaving may take at the end of a program that closed nothing.
const AT_EXIT: Duration = Duration::from_millis(300);

const STARTING: &str = "starting a node";

/// Closes what is open before Python shuts down.
pub(crate) fn close_at_exit(py: Python<'_>) -> PyResult<()> {
    /// The process in which that is arranged; a forked child is another.
    static ARRANGED: AtomicU32 = AtomicU32::new(0);
    let process = std::process::id();
    if ARRANGED.load(Ordering::SeqCst) == process {
        return Ok(());
    }
    let close = PyCFunction::new_closure(py, None, None, |args, _| {
        detach(args.py(), || casm_bindings::at_exit(AT_EXIT));
    })?;
    py.import("casm._exit")?.call_method1("register", (close,))?;
    ARRANGED.store(process, Ordering::SeqCst);
    Ok(())
}

/// Starts a node in the background, and calls ``done`` with it, or with it and
/// its events from the first on.
#[pyfunction]
#[pyo3(signature = (config, done, events=false))]
pub(crate) fn start(
    py: Python<'_>,
    config: &Config,
    done: Py<PyAny>,
    events: bool,
) -> PyResult<Pending> {
    close_at_exit(py)?;
    let (dispatcher, driver) = Dispatcher::driven();
    driver::start(py, driver)?;
    let made = |node| Node { node, driver: Mutex::default() };
    if !events {
        let node = casm_bindings::Node::start(config.options.clone(), dispatcher.clone());
        return spawn(STARTING, &dispatcher, node, done, move |py, node| {
            Ok(Py::new(py, made(node))?.into_any())
        });
    }
    let node = casm_bindings::Node::start_with_events(config.options.clone(), dispatcher.clone());
    spawn(STARTING, &dispatcher, node, done, move |py, (node, events)| {
        let node = Py::new(py, made(node))?;
        let events = Stream::new(events.stream(), node.clone_ref(py));
        Ok((node, events).into_pyobject(py)?.into_any().unbind())
    })
}

#[pymethods]
impl Node {
    #[new]
    #[pyo3(signature = (namespace=None, *, listen=None, boot=None, serve=None, announce=None, announce_only=false, host=None, meta=None, ttl=None, observer=false, data=None, pex_tick=None, power=None, limits=None, key=None, on_event=None))]
    #[expect(clippy::too_many_arguments, reason = "these are Python's keyword arguments")]
    fn new(
        py: Python<'_>,
        namespace: Option<String>,
        listen: Option<Strings>,
        boot: Option<Strings>,
        serve: Option<Strings>,
        announce: Option<Strings>,
        announce_only: bool,
        host: Option<String>,
        meta: Option<BTreeMap<String, String>>,
        ttl: Option<f64>,
        observer: bool,
        data: Option<PathBuf>,
        pex_tick: Option<f64>,
        power: Option<String>,
        limits: Option<Limits>,
        key: Option<KeyOrFile>,
        on_event: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let config = Config::new(
            namespace,
            listen,
            boot,
            serve,
            announce,
            announce_only,
            host,
            meta,
            ttl,
            observer,
            data,
            pex_tick,
            power,
            limits,
            key,
        )?;
        Self::start(py, &config, on_event)
    }

    /// Starts a node. ``on_event`` is called with what happens from the first
    /// event on.
    #[staticmethod]
    #[pyo3(signature = (config, *, on_event=None))]
    fn start(
        py: Python<'_>,
        config: &Config,
        on_event: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        close_at_exit(py)?;
        let (dispatcher, driver) = Dispatcher::driven();
        let (options, driver) = (config.options.clone(), Mutex::new(Some(driver)));
        let Some(callback) = on_event.map(Callback::new).transpose()? else {
            let node = casm_bindings::Node::start(options, dispatcher);
            return Ok(Self { node: block(py, STARTING, node, None)?, driver });
        };
        let node = casm_bindings::Node::start_with_events(options, dispatcher);
        let (node, events) = block(py, STARTING, node, None)?;
        let this = Self { node, driver };
        this.start_thread(py)?;
        guard("on_event", || events.tell(&this.node, callback)).map(Subscription::from)?;
        Ok(this)
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

    fn _wait_for(
        &self,
        py: Python<'_>,
        n: usize,
        query: Option<QueryArg>,
        done: Py<PyAny>,
    ) -> PyResult<Pending> {
        let call = self.node.wait_for(self::query(query, None, None)?, n);
        spawn("wait_for", &self.dispatcher(py)?, call, done, |py, view| {
            Ok(Py::new(py, View::from(view))?.into_any())
        })
    }

    /// The view of a connected peer, as it is there.
    #[pyo3(signature = (peer, timeout=None))]
    fn view_of(this: &Bound<'_, Self>, peer: String, timeout: Option<f64>) -> PyResult<RemoteView> {
        let view = block(this.py(), "view_of", this.get().node.view_of(peer), timeout)?;
        Ok(RemoteView::new(view, this.clone().unbind()))
    }

    fn _view_of(this: &Bound<'_, Self>, peer: String, done: Py<PyAny>) -> PyResult<Pending> {
        let (node, py) = (this.clone().unbind(), this.py());
        let dispatcher = node.get().dispatcher(py)?;
        let call = node.get().node.view_of(peer);
        spawn("view_of", &dispatcher, call, done, |py, view| {
            Ok(Py::new(py, RemoteView::new(view, node))?.into_any())
        })
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

    fn _advertise(
        &self,
        py: Python<'_>,
        namespace: String,
        ttl: f64,
        done: Py<PyAny>,
    ) -> PyResult<Pending> {
        let ttl = duration("ttl", ttl).or_raise()?;
        self.unit(py, "advertise", self.node.advertise(namespace, ttl), done)
    }

    /// Connects to a peer, and returns its id. The peer is a ``PeerInfo``,
    /// multiaddrs that end in ``/p2p/<id>``, or one multiaddr of whoever
    /// answers there.
    #[pyo3(signature = (peer, timeout=None))]
    fn connect(&self, py: Python<'_>, peer: Peer, timeout: Option<f64>) -> PyResult<String> {
        block(py, "connect", self.node.connect(peer.into_addrs()), timeout)
    }

    fn _connect(&self, py: Python<'_>, peer: Peer, done: Py<PyAny>) -> PyResult<Pending> {
        let call = self.node.connect(peer.into_addrs());
        spawn("connect", &self.dispatcher(py)?, call, done, |py, id| {
            Ok(id.into_pyobject(py)?.into_any().unbind())
        })
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

    /// Changes what others may know of this node, and tells them.
    fn set_meta(&self, py: Python<'_>, meta: BTreeMap<String, String>) -> PyResult<()> {
        block(py, "set_meta", self.node.set_meta(meta), None)
    }

    fn _set_meta(
        &self,
        py: Python<'_>,
        meta: BTreeMap<String, String>,
        done: Py<PyAny>,
    ) -> PyResult<Pending> {
        self.unit(py, "set_meta", self.node.set_meta(meta), done)
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

    fn _update_meta(
        &self,
        py: Python<'_>,
        changes: BTreeMap<String, Option<String>>,
        done: Py<PyAny>,
    ) -> PyResult<Pending> {
        self.unit(py, "update_meta", self.node.update_meta(changes), done)
    }

    /// Changes the host name that others read, and tells them.
    fn set_host(&self, py: Python<'_>, host: String) -> PyResult<()> {
        block(py, "set_host", self.node.set_host(host), None)
    }

    fn _set_host(&self, py: Python<'_>, host: String, done: Py<PyAny>) -> PyResult<Pending> {
        self.unit(py, "set_host", self.node.set_host(host), done)
    }

    /// Changes for how many seconds others keep this node's record, and tells
    /// them.
    fn set_ttl(&self, py: Python<'_>, ttl: f64) -> PyResult<()> {
        let ttl = duration("ttl", ttl).or_raise()?;
        block(py, "set_ttl", self.node.set_ttl(ttl), None)
    }

    fn _set_ttl(&self, py: Python<'_>, ttl: f64, done: Py<PyAny>) -> PyResult<Pending> {
        let ttl = duration("ttl", ttl).or_raise()?;
        self.unit(py, "set_ttl", self.node.set_ttl(ttl), done)
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

    fn _pause(&self, py: Python<'_>, done: Py<PyAny>) -> PyResult<Pending> {
        self.unit(py, "pause", self.node.pause(), done)
    }

    /// Comes back after a pause: listens, connects to who was connected, and
    /// announces itself. Subscriptions are told what has changed meanwhile.
    fn resume(&self, py: Python<'_>) -> PyResult<()> {
        block(py, "resume", self.node.resume(), None)
    }

    fn _resume(&self, py: Python<'_>, done: Py<PyAny>) -> PyResult<Pending> {
        self.unit(py, "resume", self.node.resume(), done)
    }

    /// Leaves the cluster, so that others see it at once, and waits until
    /// nothing of the node is running. A second call does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        block(py, "close", self.node.close(), None)
    }

    fn _close(&self, py: Python<'_>, done: Py<PyAny>) -> PyResult<Pending> {
        self.unit(py, "close", self.node.close(), done)
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, py: Python<'_>, _exc: &Bound<'_, PyAny>) -> PyResult<()> {
        self.close(py)
    }

    fn __repr__(&self) -> String {
        let closed = if self.node.is_closed() { ", closed" } else { "" };
        format!("<Node {} in {:?}{closed}>", self.node.id(), self.node.namespace())
    }
}

impl Node {
    /// A call in the background that gives nothing back.
    fn unit(
        &self,
        py: Python<'_>,
        what: &'static str,
        call: impl Future<Output = casm_bindings::Result<()>> + Send + 'static,
        done: Py<PyAny>,
    ) -> PyResult<Pending> {
        spawn(what, &self.dispatcher(py)?, call, done, |py, ()| Ok(py.None()))
    }

    /// A callback, and a thread for it to run on.
    pub(crate) fn callback(
        &self,
        py: Python<'_>,
        callback: Bound<'_, PyAny>,
    ) -> PyResult<Callback> {
        let callback = Callback::new(callback)?;
        self.start_thread(py)?;
        Ok(callback)
    }

    fn start_thread(&self, py: Python<'_>) -> PyResult<()> {
        let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
        driver.map_or(Ok(()), |driver| driver::start(py, driver))
    }

    /// Where results are told. Those of a closed node need a thread too.
    pub(crate) fn dispatcher(&self, py: Python<'_>) -> PyResult<Dispatcher> {
        if let Some(dispatcher) = self.node.dispatcher() {
            self.start_thread(py)?;
            return Ok(dispatcher);
        }
        let (dispatcher, driver) = Dispatcher::driven();
        driver::start(py, driver)?;
        Ok(dispatcher)
    }

    pub(crate) fn facade(&self) -> &casm_bindings::Node {
        &self.node
    }
}
