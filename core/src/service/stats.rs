//! What is counted of each service that is served here.

use super::{
    places::{Place, Places, Reader},
    wire::FailureKind,
};
use crate::{
    PeerId,
    metrics::{ByLabel, Metrics},
};
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Counters of a node's services, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct ServiceMetrics {
    calls: Family<[(&'static str, String); 1], Counter>,
    failures: Family<[(&'static str, String); 2], Counter>,
    in_flight: Family<[(&'static str, String); 1], Gauge>,
    seconds: Family<[(&'static str, String); 1], Counter<f64, AtomicU64>>,
    /// Requests that never came to a handler, by reason.
    refused: ByLabel,
}

impl ServiceMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let new = Self::default();
        metrics.register(
            "service_calls",
            "Requests that a handler has worked on, by service",
            new.calls.clone(),
        );
        metrics.register(
            "service_failures",
            "Requests without an answer, by service and kind",
            new.failures.clone(),
        );
        metrics.register(
            "service_in_flight",
            "Requests that are being worked on, by service",
            new.in_flight.clone(),
        );
        metrics.register(
            "service_seconds",
            "Seconds that handlers took, by service",
            new.seconds.clone(),
        );
        metrics.register(
            "service_refused",
            "Requests that came to no handler, by reason",
            new.refused.clone(),
        );
        new
    }

    /// A request came to no handler.
    pub(super) fn refuse(&self, reason: &'static str) {
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counters for a service.
    pub(super) fn of(&self, service: &str) -> Arc<Counters> {
        let label = || [("service", service.to_owned())];
        Arc::new(Counters {
            service: service.to_owned(),
            calls: self.calls.get_or_create(&label()).clone(),
            in_flight_gauge: self.in_flight.get_or_create(&label()).clone(),
            seconds: self.seconds.get_or_create(&label()).clone(),
            failures: self.failures.clone(),
            places: Places::default(),
            failed: Default::default(),
        })
    }
}

/// What is counted of one service.
pub(super) struct Counters {
    service: String,
    calls: Counter,
    in_flight_gauge: Gauge,
    seconds: Counter<f64, AtomicU64>,
    failures: Family<[(&'static str, String); 2], Counter>,
    places: Places,
    failed: [AtomicU64; FailureKind::ALL.len()],
}

impl Counters {
    /// A request begins, if there is one of so many places for its peer. `reader` is
    /// whose of a stream of parts.
    pub(super) fn begin(&self, peer: PeerId, most: usize, reader: Option<Reader>) -> Option<Place> {
        let place = self.places.take(peer, most, reader, Instant::now());
        if place.is_some() {
            self.calls.inc();
            self.in_flight_gauge.inc();
        }
        place
    }

    /// A request that had begun is let go of.
    pub(super) fn leave(&self) {
        self.in_flight_gauge.dec();
    }

    /// A request has ended: it is answered, or its answer is waited for no longer.
    pub(super) fn end(&self, took: Duration, failed: Option<FailureKind>) {
        self.seconds.inc_by(took.as_secs_f64());
        if let Some(kind) = failed {
            self.fail(kind);
        }
    }

    /// A request had no answer.
    pub(super) fn fail(&self, kind: FailureKind) {
        let labels = [("service", self.service.clone()), ("kind", kind.name().to_owned())];
        self.failures.get_or_create(&labels).inc();
        self.failed[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> ServiceStats {
        let kinds = FailureKind::ALL
            .into_iter()
            .map(|kind| (kind.name(), self.failed[kind as usize].load(Ordering::Relaxed)));
        ServiceStats {
            calls: self.calls.get(),
            failures: kinds.filter(|(_, count)| *count > 0).collect(),
            in_flight: self.places.taken(),
            seconds: self.seconds.get(),
        }
    }
}

/// What a service that is served here has done so far.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ServiceStats {
    /// Requests that a handler has worked on, or works on.
    pub calls: u64,
    /// Requests without an answer, by kind: `busy` (there were too many), `notFound`
    /// (the caller has no role that is [allowed](super::ServeOptions::allow)),
    /// `remote` (the handler failed), `deadline`, `tooLarge`, `parts`, `closing`,
    /// and `cancelled` (the caller went away).
    pub failures: BTreeMap<&'static str, u64>,
    /// Requests that are being worked on. Those count too for whose answer nobody
    /// waits any more, as long as the handler has them.
    pub in_flight: usize,
    /// Seconds that handlers took, all together.
    pub seconds: f64,
}
