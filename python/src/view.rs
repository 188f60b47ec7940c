//! A snapshot of the cluster.

use crate::{
    errors::OrRaise,
    meta,
    query::{QueryArg, query},
};
use casm_bindings::{TOGETHER, bring_near};
use pyo3::{
    prelude::*,
    types::{PyDict, PyString},
};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
    vec::IntoIter,
};

/// What a peer last said of itself.
#[pyclass(frozen, eq, module = "casm")]
#[derive(PartialEq)]
pub(crate) struct Record {
    record: casm_bindings::Record,
}

impl From<casm_bindings::Record> for Record {
    fn from(record: casm_bindings::Record) -> Self {
        Self { record }
    }
}

#[pymethods]
impl Record {
    /// The peer's id.
    #[getter]
    fn peer<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        PyString::new(py, self.record.peer_text())
    }

    /// The number of the peer's instance.
    #[getter]
    fn server(&self) -> u64 {
        self.record.server()
    }

    /// The sequence number: the higher one counts.
    #[getter]
    fn seq(&self) -> u64 {
        self.record.seq()
    }

    /// Seconds for which the record is kept without a newer one.
    #[getter]
    fn ttl(&self) -> f64 {
        self.record.ttl().as_secs_f64()
    }

    /// The name of the peer's host, as it says.
    #[getter]
    fn host<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        PyString::new(py, self.record.host())
    }

    /// What the peer says of itself: a dict of the caller's own.
    #[getter]
    fn meta<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        meta::dict(py, &self.record)
    }

    /// Where the peer is reached, as it says: multiaddrs, the most useful first,
    /// without ``/p2p/<id>``.
    #[getter]
    fn addrs(&self) -> Vec<String> {
        self.record.addrs().iter().map(ToString::to_string).collect()
    }

    /// The services that the peer offers, each with its version.
    #[getter]
    fn services<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let services = PyDict::new(py);
        for (name, version) in self.record.services() {
            services.set_item(name, version)?;
        }
        Ok(services)
    }

    /// The names of the channels that are at the peer's place.
    #[getter]
    fn channels(&self) -> Vec<&str> {
        self.record.channels().collect()
    }

    /// The roles that are proven of the peer, as its certificate has them; a node
    /// without certificates knows of none.
    #[getter]
    fn roles(&self) -> Vec<&str> {
        self.record.roles().collect()
    }

    /// Whether the peer's signature was verified; False only for records of
    /// another node's view that that node cannot prove.
    #[getter]
    fn verified(&self) -> bool {
        self.record.verified()
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.record.peer_text(), self.record.seq()).hash(&mut hasher);
        hasher.finish()
    }

    fn __repr__(&self) -> String {
        self.text()
    }
}

impl Record {
    pub(crate) fn record(&self) -> &casm_bindings::Record {
        &self.record
    }

    pub(crate) fn text(&self) -> String {
        let record = &self.record;
        format!(
            "Record(peer={:?}, host={:?}, meta={:?})",
            record.peer_text(),
            record.host(),
            record.meta()
        )
    }
}

/// A snapshot of the cluster: it stays as it was.
#[pyclass(frozen, module = "casm")]
pub(crate) struct View {
    view: casm_bindings::View,
}

impl From<casm_bindings::View> for View {
    fn from(view: casm_bindings::View) -> Self {
        Self { view }
    }
}

#[pymethods]
impl View {
    fn __len__(&self) -> usize {
        self.view.len()
    }

    fn __bool__(&self) -> bool {
        !self.view.is_empty()
    }

    fn __iter__(&self) -> PyResult<Records> {
        self.iter(None, None, None)
    }

    fn __contains__(&self, peer: &str) -> bool {
        casm_bindings::peer_id(peer).is_ok_and(|peer| self.view.get(&peer).is_some())
    }

    /// The records that a query finds, in its order.
    #[pyo3(signature = (query=None, *, limit=None, reverse=None))]
    fn iter(
        &self,
        query: Option<QueryArg>,
        limit: Option<usize>,
        reverse: Option<bool>,
    ) -> PyResult<Records> {
        let query = self::query(query, limit, reverse)?;
        let records: Vec<_> = self.view.refs(&query).cloned().collect();
        Ok(Records { left: Mutex::new(Left { records: records.into_iter(), near: 0 }) })
    }

    /// The first record that a query finds, or None.
    fn lookup(&self, query: QueryArg) -> PyResult<Option<Record>> {
        Ok(self.view.lookup(&self::query(Some(query), None, None)?).map(Record::from))
    }

    /// How many records a query finds.
    #[pyo3(signature = (query=None))]
    fn count(&self, query: Option<QueryArg>) -> PyResult<usize> {
        Ok(self.view.count(&self::query(query, None, None)?))
    }

    /// The record of a peer, or None.
    fn get(&self, peer: &str) -> PyResult<Option<Record>> {
        let peer = casm_bindings::peer_id(peer).or_raise()?;
        Ok(self.view.get(&peer).map(Record::from))
    }

    fn __repr__(&self) -> String {
        format!("<View of {} records>", self.view.len())
    }
}

/// An iterator of records.
#[pyclass(frozen, module = "casm")]
pub(crate) struct Records {
    left: Mutex<Left>,
}

struct Left {
    records: IntoIter<casm_bindings::Record>,
    /// So many of them are in the processor's cache.
    near: usize,
}

impl Left {
    fn next(&mut self) -> Option<casm_bindings::Record> {
        if self.near == 0 {
            let left = self.records.as_slice();
            let next = &left[..left.len().min(TOGETHER)];
            bring_near(next);
            self.near = next.len();
        }
        self.near = self.near.saturating_sub(1);
        self.records.next()
    }
}

#[pymethods]
impl Records {
    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self) -> Option<Record> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).next().map(Record::from)
    }

    fn __length_hint__(&self) -> usize {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).records.len()
    }
}
