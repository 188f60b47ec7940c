//! Counters and gauges of a node, in one OpenMetrics registry.
//!
//! Each service takes the counters that it counts in; a reason is a label, so
//! that a new reason needs no new metric.

mod queues;

pub(crate) use queues::waiting;

use crate::trouble::Troubles;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use queues::Queues;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// A counter per value of one label.
pub(crate) type ByLabel = Family<[(&'static str, &'static str); 1], Counter>;

/// The metrics of one node. Clones share their values.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    /// Boot datagrams received, by verdict.
    pub(crate) boot_received: ByLabel,
    /// Boot datagrams sent, by kind.
    pub(crate) boot_sent: ByLabel,
    /// Heartbeats received, by verdict.
    pub(crate) heartbeats: ByLabel,
    /// What gossip refused, and what it held against peers, by reason.
    pub(crate) gossip_refused: ByLabel,
    /// Message ids in what peers say by gossip, by what they say of them.
    pub(crate) gossip_ids: ByLabel,
    /// Peers with whom messages are exchanged whole, of all topics.
    pub(crate) gossip_links: Gauge,
    /// Rounds of peer exchange, by outcome.
    pub(crate) pex_rounds: ByLabel,
    /// Records received in peer exchange, by verdict.
    pub(crate) pex_records: ByLabel,
    /// Addresses that others told of a peer and that are not dialled, by reason.
    pub(crate) dials_skipped: ByLabel,
    /// Events that a slow consumer lost, by queue.
    pub(crate) dropped: ByLabel,
    /// Peers in the cluster view.
    pub(crate) cluster_peers: Gauge,
    /// Connected peers.
    pub(crate) connections: Gauge,
    /// Connections that were given up because a ping failed, by reason.
    pub(crate) connections_given_up: ByLabel,
    queues: Queues,
    /// What is configured and does not work.
    pub(crate) troubles: Troubles,
    /// How the clock differs from those of peers, while it does.
    pub(crate) clock: watch::Sender<Option<ClockDiffers>>,
}

/// A clock that differs from those of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockDiffers {
    /// How far theirs are ahead, in ms.
    pub(crate) offset_ms: i64,
    /// How many were compared with.
    pub(crate) peers: usize,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Arc::new(Mutex::new(Registry::with_prefix("casm"))),
            boot_received: Family::default(),
            boot_sent: Family::default(),
            heartbeats: Family::default(),
            gossip_refused: Family::default(),
            gossip_ids: Family::default(),
            gossip_links: Gauge::default(),
            pex_rounds: Family::default(),
            pex_records: Family::default(),
            dials_skipped: Family::default(),
            dropped: Family::default(),
            cluster_peers: Gauge::default(),
            connections: Gauge::default(),
            connections_given_up: Family::default(),
            queues: Queues::default(),
            troubles: Troubles::default(),
            clock: watch::Sender::default(),
        };
        for (name, help, family) in [
            ("boot_received", "Boot datagrams received, by verdict", &metrics.boot_received),
            ("boot_sent", "Boot datagrams sent, by kind", &metrics.boot_sent),
            ("heartbeats", "Heartbeats received, by verdict", &metrics.heartbeats),
            (
                "gossip_refused",
                "What gossip refused, and what it held against peers, by reason",
                &metrics.gossip_refused,
            ),
            (
                "gossip_ids",
                "Message ids that peers have offered, and asked for, by which",
                &metrics.gossip_ids,
            ),
            ("pex_rounds", "Rounds of peer exchange, by outcome", &metrics.pex_rounds),
            ("pex_records", "Records received in peer exchange, by verdict", &metrics.pex_records),
            (
                "dials_skipped",
                "Addresses that others told of a peer and that are not dialled, by reason",
                &metrics.dials_skipped,
            ),
            ("dropped", "Events lost to a slow consumer, by queue", &metrics.dropped),
            (
                "connections_given_up",
                "Connections given up because a ping failed, by reason",
                &metrics.connections_given_up,
            ),
        ] {
            metrics.register(name, help, family.clone());
        }
        metrics.register(
            "cluster_peers",
            "Peers in the cluster view",
            metrics.cluster_peers.clone(),
        );
        metrics.register(
            "gossip_links",
            "Peers with whom messages are exchanged whole, of all topics",
            metrics.gossip_links.clone(),
        );
        metrics.register("connections", "Connected peers", metrics.connections.clone());
        metrics.register(
            "troubles",
            "What is configured and does not work now",
            metrics.troubles.count(),
        );
        metrics.register(
            "queue_depth",
            "What waits in a queue now, by queue",
            metrics.queues.depth.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// Adds a metric of a service to the registry.
    pub(crate) fn register(
        &self,
        name: &str,
        help: &str,
        metric: impl prometheus_client::registry::Metric,
    ) {
        self.registry.lock().expect("no panic under this lock").register(name, help, metric);
    }

    /// Tells how full a queue is whenever the metrics are asked for, until
    /// `depth` says that the queue is no more.
    pub(crate) fn watch_queue(
        &self,
        name: &'static str,
        depth: impl Fn() -> Option<usize> + Send + 'static,
    ) {
        self.queues.watch(name, depth);
    }

    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        self.queues.measure();
        let mut text = String::new();
        let registry = self.registry.lock().expect("no panic under this lock");
        encode(&mut text, &registry).expect("writing to a string does not fail");
        text
    }
}

/// The label of a family counted by verdict.
pub(crate) const fn verdict(name: &'static str) -> [(&'static str, &'static str); 1] {
    [("verdict", name)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_by_verdict_is_in_the_text() {
        let metrics = Metrics::default();
        metrics.heartbeats.get_or_create(&verdict("accepted")).inc_by(3);
        let text = metrics.encode();
        assert!(text.contains("casm_heartbeats_total{verdict=\"accepted\"} 3"), "{text}");
    }
}
