//! Synthetic data, made by the facade, for measuring the way into JavaScript, and for
//! tests.

use crate::{
    call::guard,
    errors::Result,
    node::Node,
    stream::{Forward, Subscription},
    view::View,
};
use napi_derive::napi;

/// Hands over, under this number, an event about the node itself so many times,
/// by the way that real events take.
#[napi]
pub fn bench_events(node: &Node, id: u32, count: u32) -> Result<Subscription> {
    guard("benchEvents", || casm_bindings::bench_events(node.facade(), count.into(), Forward(id)))
        .map(Subscription::from)
}

/// Hands over, under this number, once an event that says that the node itself has
/// failed, by the same way.
#[napi]
pub fn bench_failed(node: &Node, id: u32) -> Result<Subscription> {
    guard("benchFailed", || casm_bindings::bench_failed(node.facade(), Forward(id)))
        .map(Subscription::from)
}

/// A view of so many records, each with a host and the meta fields `role` and
/// `zone`.
#[napi]
pub fn bench_view(records: u32) -> Result<View> {
    guard("benchView", || casm_bindings::bench_view(records)).map(View::from)
}
