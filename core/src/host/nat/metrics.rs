//! What is counted of relays and reachability.

use super::upnp;
use crate::{
    metrics::{ByLabel, Metrics},
    nat::Reach,
};
use libp2p::{
    PeerId,
    relay::{self, StatusCode},
};
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use std::collections::HashSet;

type Refused = Family<[(&'static str, &'static str); 2], Counter>;
type Gauges = Family<[(&'static str, &'static str); 1], Gauge>;

pub(super) struct Counts {
    reach: Gauges,
    relayed: Gauge,
    reservations: ByLabel,
    serves: Gauges,
    /// Those who hold a reservation here: the relay also tells of the end of those that
    /// were refused.
    reserved: HashSet<PeerId>,
    refused: Refused,
    punches: ByLabel,
    probes: ByLabel,
    upnp: ByLabel,
}

impl Counts {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let counts = Self {
            reach: Family::default(),
            relayed: Gauge::default(),
            reservations: ByLabel::default(),
            serves: Family::default(),
            reserved: HashSet::new(),
            refused: Refused::default(),
            punches: ByLabel::default(),
            probes: ByLabel::default(),
            upnp: ByLabel::default(),
        };
        metrics.register(
            "reachability",
            "Whether others can reach this node: 1 at what is known",
            counts.reach.clone(),
        );
        metrics.register(
            "peers_relayed",
            "Peers that are connected over a relay alone",
            counts.relayed.clone(),
        );
        metrics.register(
            "relay_reservations",
            "What relays answered that were asked to take what is for this node, by result",
            counts.reservations.clone(),
        );
        metrics.register(
            "relay_serves",
            "What this node relays for others, by kind",
            counts.serves.clone(),
        );
        metrics.register(
            "relay_refused",
            "What this node was asked to relay, and did not, by kind and reason",
            counts.refused.clone(),
        );
        metrics.register(
            "hole_punches",
            "Tries to make relayed connections direct, by result",
            counts.punches.clone(),
        );
        metrics.register(
            "reachability_probes",
            "Dials by which peers tried whether this node can be reached, by result",
            counts.probes.clone(),
        );
        metrics.register(
            "upnp",
            "What came of asking the network's gateway to let others in, by result",
            counts.upnp.clone(),
        );
        counts
    }

    pub(super) fn reach(&self, now: Reach) {
        for reach in [Reach::Public, Reach::Private, Reach::Unknown] {
            let gauge = self.reach.get_or_create(&[("reach", reach.name())]);
            gauge.set(i64::from(reach == now));
        }
    }

    pub(super) fn relayed(&self, peers: usize) {
        self.relayed.set(peers.try_into().unwrap_or(i64::MAX));
    }

    pub(super) fn reservation(&self, result: &'static str) {
        self.reservations.get_or_create(&[("result", result)]).inc();
    }

    pub(super) fn punched(&self, made: bool) {
        let result = if made { "direct" } else { "failed" };
        self.punches.get_or_create(&[("result", result)]).inc();
    }

    pub(super) fn probed(&self, reached: bool) {
        let result = if reached { "reached" } else { "not-reached" };
        self.probes.get_or_create(&[("result", result)]).inc();
    }

    pub(super) fn upnp(&self, event: upnp::Event) {
        self.upnp.get_or_create(&[("result", event.name())]).inc();
    }

    /// Something happened to this node as a relay.
    pub(super) fn serves(&mut self, event: &relay::Event) {
        use relay::Event::*;
        let change = |kind, by| {
            self.serves.get_or_create(&[("kind", kind)]).inc_by(by);
        };
        let refused = |kind, status: &StatusCode| {
            self.refused.get_or_create(&[("kind", kind), ("reason", reason(status))]).inc();
        };
        match event {
            ReservationReqAccepted { src_peer_id, .. } => {
                change("reservation", i64::from(self.reserved.insert(*src_peer_id)));
            }
            ReservationClosed { src_peer_id } | ReservationTimedOut { src_peer_id } => {
                change("reservation", -i64::from(self.reserved.remove(src_peer_id)));
            }
            CircuitReqAccepted { .. } => change("circuit", 1),
            CircuitClosed { .. } => change("circuit", -1),
            ReservationReqDenied { status, .. } => refused("reservation", status),
            CircuitReqDenied { status, .. } => refused("circuit", status),
            _ => {}
        }
    }

    /// What this node relayed is gone with the swarm.
    pub(super) fn nothing_served(&mut self) {
        self.reserved.clear();
        for kind in ["reservation", "circuit"] {
            self.serves.get_or_create(&[("kind", kind)]).set(0);
        }
    }
}

/// Why a relay refuses, as a label. (libp2p has one status for a relay that is full and
/// for a peer that asks too often.)
fn reason(status: &StatusCode) -> &'static str {
    match status {
        StatusCode::ReservationRefused | StatusCode::ResourceLimitExceeded => "limit",
        StatusCode::NoReservation => "no-reservation",
        StatusCode::ConnectionFailed => "connection-failed",
        _ => "other",
    }
}
