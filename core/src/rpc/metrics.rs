//! What RPC counts.

use crate::metrics::{ByLabel, Metrics};
use prometheus_client::metrics::gauge::Gauge;

/// The metrics of a vat.
#[derive(Clone, Debug, Default)]
pub(super) struct RpcMetrics {
    /// Streams that are open.
    pub(super) streams: Gauge,
    /// Streams that were refused or ended early, by reason.
    pub(super) ended: ByLabel,
    /// Calls that were refused.
    pub(super) refused: ByLabel,
    /// Bytes that wait to be written on all streams.
    pub(super) queued: Gauge,
    /// Bytes that count for the budget of all streams.
    pub(super) used: Gauge,
}

impl RpcMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let new = Self::default();
        metrics.register("rpc_streams", "RPC streams that are open", new.streams.clone());
        metrics.register(
            "rpc_ended",
            "RPC streams refused or ended for a reason, by reason",
            new.ended.clone(),
        );
        metrics.register("rpc_refused", "RPC calls refused, by reason", new.refused.clone());
        metrics.register(
            "rpc_queued_bytes",
            "Bytes that wait to be written on RPC streams",
            new.queued.clone(),
        );
        metrics.register(
            "rpc_used_bytes",
            "Bytes of calls, messages and queues of all RPC streams",
            new.used.clone(),
        );
        new
    }

    pub(super) fn end(&self, reason: &'static str) {
        self.ended.get_or_create(&[("reason", reason)]).inc();
    }

    pub(super) fn refuse(&self, reason: &'static str) {
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }
}
