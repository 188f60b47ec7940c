//! Synthetic data, made by the facade, for measuring the way into Python, and for tests.

use crate::{errors::OrRaise, node::Node, stream::Subscription, view::View};
use pyo3::prelude::*;

/// Calls ``callback(event)`` so many times with an event about the node itself,
/// on the node's thread, by the way that real events take.
#[pyfunction]
pub(crate) fn bench_events(
    py: Python<'_>,
    node: &Node,
    count: u64,
    callback: Bound<'_, PyAny>,
) -> PyResult<Subscription> {
    let callback = node.callback(py, callback)?;
    casm_bindings::bench_events(node.facade(), count, callback).or_raise().map(Subscription::from)
}

/// Calls ``callback(event)`` once, with an event that says that the node itself has
/// failed.
#[pyfunction]
pub(crate) fn bench_failed(
    py: Python<'_>,
    node: &Node,
    callback: Bound<'_, PyAny>,
) -> PyResult<Subscription> {
    let callback = node.callback(py, callback)?;
    casm_bindings::bench_failed(node.facade(), callback).or_raise().map(Subscription::from)
}

/// A view of so many records, each with a host and the meta fields ``role`` and
/// ``zone``.
#[pyfunction]
pub(crate) fn bench_view(records: u32) -> PyResult<View> {
    casm_bindings::bench_view(records).or_raise().map(View::from)
}
