//! What channels count.

use crate::metrics::{ByLabel, Metrics};

/// The counters of the channels and semaphores of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct CspMetrics(ByLabel);

impl CspMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let new = Self::default();
        metrics.register(
            "channel_events",
            "What channels and semaphores refused, took back or lost sight of, by event",
            new.0.clone(),
        );
        new
    }

    pub(super) fn count(&self, event: &'static str) {
        self.0.get_or_create(&[("event", event)]).inc();
    }
}
