//! The views of other nodes.

use crate::{
    call::{Pending, block, guard, spawn},
    node::Node,
    query::{QueryArg, query},
    stream::Stream,
    view::Record,
};
use pyo3::prelude::*;

/// The view of another node, as it is there: each query is answered by that
/// node when it is asked.
#[pyclass(frozen, module = "casm")]
pub(crate) struct RemoteView {
    view: casm_bindings::RemoteView,
    node: Py<Node>,
}

impl RemoteView {
    pub(crate) fn new(view: casm_bindings::RemoteView, node: Py<Node>) -> Self {
        Self { view, node }
    }
}

/// A record, or None.
fn optional(py: Python<'_>, record: Option<casm_bindings::Record>) -> PyResult<Py<PyAny>> {
    let record = record.map(|record| Py::new(py, Record::from(record))).transpose()?;
    Ok(record.into_pyobject(py)?.unbind())
}

#[pymethods]
impl RemoteView {
    /// The id of the node whose view it is.
    #[getter]
    fn peer(&self) -> &str {
        self.view.peer()
    }

    /// The records that a query finds, as they come.
    #[pyo3(signature = (query=None, *, limit=None, reverse=None))]
    fn iter(
        &self,
        py: Python<'_>,
        query: Option<QueryArg>,
        limit: Option<usize>,
        reverse: Option<bool>,
    ) -> PyResult<Stream> {
        let query = self::query(query, limit, reverse)?;
        let records = guard("iter", || self.view.iter(query))?;
        Ok(Stream::new(records, self.node.clone_ref(py)))
    }

    /// The first record that a query finds, or None.
    #[pyo3(signature = (query, timeout=None))]
    fn lookup(
        &self,
        py: Python<'_>,
        query: QueryArg,
        timeout: Option<f64>,
    ) -> PyResult<Option<Record>> {
        let query = self::query(Some(query), None, None)?;
        Ok(block(py, "lookup", self.view.lookup(query), timeout)?.map(Record::from))
    }

    fn _lookup(&self, py: Python<'_>, query: QueryArg, done: Py<PyAny>) -> PyResult<Pending> {
        let query = self::query(Some(query), None, None)?;
        let dispatcher = self.node.get().dispatcher(py)?;
        spawn("lookup", &dispatcher, self.view.lookup(query), done, optional)
    }

    /// How many records a query finds. They are all sent here for that.
    #[pyo3(signature = (query=None, timeout=None))]
    fn count(
        &self,
        py: Python<'_>,
        query: Option<QueryArg>,
        timeout: Option<f64>,
    ) -> PyResult<usize> {
        let query = self::query(query, None, None)?;
        block(py, "count", self.view.count(query), timeout)
    }

    fn _count(
        &self,
        py: Python<'_>,
        query: Option<QueryArg>,
        done: Py<PyAny>,
    ) -> PyResult<Pending> {
        let query = self::query(query, None, None)?;
        let dispatcher = self.node.get().dispatcher(py)?;
        spawn("count", &dispatcher, self.view.count(query), done, |py, count| {
            Ok(count.into_pyobject(py)?.into_any().unbind())
        })
    }

    /// The record of a peer, or None.
    #[pyo3(signature = (peer, timeout=None))]
    fn get(&self, py: Python<'_>, peer: String, timeout: Option<f64>) -> PyResult<Option<Record>> {
        Ok(block(py, "get", self.view.get(peer), timeout)?.map(Record::from))
    }

    fn _get(&self, py: Python<'_>, peer: String, done: Py<PyAny>) -> PyResult<Pending> {
        let dispatcher = self.node.get().dispatcher(py)?;
        spawn("get", &dispatcher, self.view.get(peer), done, optional)
    }

    fn __repr__(&self) -> String {
        format!("<RemoteView of {}>", self.view.peer())
    }
}
