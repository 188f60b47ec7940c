//! A node's calls for asyncio.

use super::Node;
use crate::{
    byte_stream::RawStream,
    call::{Pending, seconds, spawn},
    config::Peer,
    csp::{Channel, Semaphore},
    errors::OrRaise,
    query::{QueryArg, query},
    remote::RemoteView,
    service::{Asked, Data, answered},
    view::View,
};
use casm_bindings::duration;
use pyo3::prelude::*;
use std::collections::BTreeMap;

/// A node's calls that go on in the background: each begins at once, and calls
/// ``done(result, error)`` when it is over.
#[pyclass(frozen, module = "casm")]
pub(crate) struct Awaited(pub(super) Py<Node>);

#[pymethods]
impl Awaited {
    fn wait_for(
        &self,
        py: Python<'_>,
        n: usize,
        query: Option<QueryArg>,
        done: Py<PyAny>,
    ) -> PyResult<Pending> {
        let call = self.node().node.wait_for(self::query(query, None, None)?, n);
        spawn("wait_for", &self.node().dispatcher(py)?, call, done, |py, view| {
            Ok(Py::new(py, View::from(view))?.into_any())
        })
    }

    fn view_of(&self, py: Python<'_>, peer: Peer, done: Py<PyAny>) -> PyResult<Pending> {
        let node = self.0.clone_ref(py);
        let dispatcher = node.get().dispatcher(py)?;
        let call = node.get().node.view_of(peer.named());
        spawn("view_of", &dispatcher, call, done, |py, view| {
            Ok(Py::new(py, RemoteView::new(view, node))?.into_any())
        })
    }

    fn advertise(
        &self,
        py: Python<'_>,
        namespace: String,
        ttl: f64,
        done: Py<PyAny>,
    ) -> PyResult<Pending> {
        let ttl = duration("ttl", ttl).or_raise()?;
        self.node().unit(py, "advertise", self.node().node.advertise(namespace, ttl), done)
    }

    fn connect(&self, py: Python<'_>, peer: Peer, done: Py<PyAny>) -> PyResult<Pending> {
        let call = self.node().node.connect(peer.named());
        spawn("connect", &self.node().dispatcher(py)?, call, done, |py, id| {
            Ok(id.into_pyobject(py)?.into_any().unbind())
        })
    }

    fn open_stream(
        &self,
        py: Python<'_>,
        peer: Peer,
        protocol: String,
        timeout: Option<f64>,
        done: Py<PyAny>,
    ) -> PyResult<Pending> {
        let timeout = seconds("timeout", timeout)?;
        let call = self.node().node.open_stream(peer.named(), protocol, timeout);
        spawn("open_stream", &self.node().dispatcher(py)?, call, done, |py, stream| {
            Ok(Py::new(py, RawStream(stream))?.into_any())
        })
    }

    fn set_meta(
        &self,
        py: Python<'_>,
        meta: BTreeMap<String, String>,
        done: Py<PyAny>,
    ) -> PyResult<Pending> {
        self.node().unit(py, "set_meta", self.node().node.set_meta(meta), done)
    }

    fn update_meta(
        &self,
        py: Python<'_>,
        changes: BTreeMap<String, Option<String>>,
        done: Py<PyAny>,
    ) -> PyResult<Pending> {
        self.node().unit(py, "update_meta", self.node().node.update_meta(changes), done)
    }

    fn set_host(&self, py: Python<'_>, host: String, done: Py<PyAny>) -> PyResult<Pending> {
        self.node().unit(py, "set_host", self.node().node.set_host(host), done)
    }

    fn set_ttl(&self, py: Python<'_>, ttl: f64, done: Py<PyAny>) -> PyResult<Pending> {
        let ttl = duration("ttl", ttl).or_raise()?;
        self.node().unit(py, "set_ttl", self.node().node.set_ttl(ttl), done)
    }

    #[pyo3(signature = (name, data, peer, r#where, headers, timeout, wait, idempotent, done))]
    #[expect(clippy::too_many_arguments, reason = "as of call")]
    fn call(
        &self,
        py: Python<'_>,
        name: String,
        data: Data,
        peer: Option<Peer>,
        r#where: Option<QueryArg>,
        headers: Option<BTreeMap<String, String>>,
        timeout: Option<f64>,
        wait: bool,
        idempotent: bool,
        done: Py<PyAny>,
    ) -> PyResult<Pending> {
        let matching = r#where;
        let asked = Asked { peer, matching, headers, timeout, wait, idempotent, limit: None };
        let call = self.node().node.call(name, data.into(), asked.spec()?);
        spawn("call", &self.node().dispatcher(py)?, call, done, |py, answer| {
            answered(py, answer).map(Bound::unbind)
        })
    }

    fn open_channel(
        &self,
        py: Python<'_>,
        name: String,
        peer: Option<Peer>,
        timeout: Option<f64>,
        done: Py<PyAny>,
    ) -> PyResult<Pending> {
        let (node, timeout) = (self.0.clone_ref(py), seconds("timeout", timeout)?);
        let dispatcher = node.get().dispatcher(py)?;
        let opening = node.get().node.open_channel(name, peer.map(Peer::named), timeout);
        spawn("open_channel", &dispatcher, opening, done, |py, channel| {
            Ok(Py::new(py, Channel::new(channel, node))?.into_any())
        })
    }

    fn semaphore(
        &self,
        py: Python<'_>,
        name: String,
        n: usize,
        done: Py<PyAny>,
    ) -> PyResult<Pending> {
        let made = self.node().node.semaphore(name, n);
        Semaphore::spawn("semaphore", self.0.bind(py), made, done)
    }

    fn open_semaphore(
        &self,
        py: Python<'_>,
        name: String,
        peer: Option<Peer>,
        timeout: Option<f64>,
        done: Py<PyAny>,
    ) -> PyResult<Pending> {
        let timeout = seconds("timeout", timeout)?;
        let opening = self.node().node.open_semaphore(name, peer.map(Peer::named), timeout);
        Semaphore::spawn("open_semaphore", self.0.bind(py), opening, done)
    }

    fn pause(&self, py: Python<'_>, done: Py<PyAny>) -> PyResult<Pending> {
        self.node().unit(py, "pause", self.node().node.pause(), done)
    }

    fn resume(&self, py: Python<'_>, done: Py<PyAny>) -> PyResult<Pending> {
        self.node().unit(py, "resume", self.node().node.resume(), done)
    }

    fn close(
        &self,
        py: Python<'_>,
        grace: f64,
        handling: bool,
        done: Py<PyAny>,
    ) -> PyResult<Pending> {
        let grace = Some(duration("grace", grace).or_raise()?);
        self.node().unit(py, "close", self.node().node.close(grace, handling), done)
    }
}

impl Awaited {
    fn node(&self) -> &Node {
        self.0.get()
    }
}
