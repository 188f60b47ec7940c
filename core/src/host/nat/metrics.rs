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
use std::collections::{HashMap, HashSet, hash_map::Entry};

type Refused = Family<[(&'static str, &'static str); 2], Counter>;
type Gauges = Family<[(&'static str, &'static str); 1], Gauge>;

pub(super) struct Counts {
    reach: Gauges,
    relayed: Gauge,
    cut: Counter,
    reservations: ByLabel,
    serves: Gauges,
    /// Those who hold a reservation here: the relay tells of the end of one whenever a
    /// connection ends, also if another had been refused, or is for something else.
    reserved: HashSet<PeerId>,
    /// How many connections are relayed from one to another: of those that end with the
    /// connection of whom they lead to the relay tells twice.
    circuits: HashMap<(PeerId, PeerId), u32>,
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
            cut: Counter::default(),
            reservations: ByLabel::default(),
            serves: Family::default(),
            reserved: HashSet::new(),
            circuits: HashMap::new(),
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
            "relayed_cut",
            "Connections over a relay that ended within a minute, and not by this node",
            counts.cut.clone(),
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

    pub(super) fn cut(&self) {
        self.cut.inc();
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

    /// Something happened to this node as a relay, to which these peers are connected.
    pub(super) fn serves(&mut self, event: &relay::Event, is_here: impl Fn(&PeerId) -> bool) {
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
            ReservationClosed { src_peer_id } if is_here(src_peer_id) => {}
            ReservationClosed { src_peer_id } | ReservationTimedOut { src_peer_id } => {
                change("reservation", -i64::from(self.reserved.remove(src_peer_id)));
            }
            CircuitReqAccepted { src_peer_id, dst_peer_id } => {
                *self.circuits.entry((*src_peer_id, *dst_peer_id)).or_default() += 1;
                change("circuit", 1);
            }
            CircuitClosed { src_peer_id, dst_peer_id, .. } => {
                if let Entry::Occupied(mut circuits) =
                    self.circuits.entry((*src_peer_id, *dst_peer_id))
                {
                    change("circuit", -1);
                    *circuits.get_mut() -= 1;
                    if *circuits.get() == 0 {
                        circuits.remove();
                    }
                }
            }
            ReservationReqDenied { status, .. } => refused("reservation", status),
            CircuitReqDenied { status, .. } => refused("circuit", status),
            _ => {}
        }
    }

    /// What this node relayed is gone with the swarm.
    pub(super) fn nothing_served(&mut self) {
        self.reserved.clear();
        self.circuits.clear();
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

#[cfg(test)]
mod tests {
    use super::*;
    use relay::Event::*;

    /// What is counted after these, with a peer that is here.
    fn counted(counts: &mut Counts, events: &[relay::Event], here: PeerId) -> (i64, i64) {
        events.iter().for_each(|event| counts.serves(event, |peer| *peer == here));
        let count = |kind| counts.serves.get_or_create(&[("kind", kind)]).get();
        (count("reservation"), count("circuit"))
    }

    #[test]
    fn of_a_circuit_whose_end_is_told_twice_one_is_counted_down() {
        let mut counts = Counts::new(&Metrics::default());
        let [one, other, third] = [(); 3].map(|()| PeerId::random());
        let made = |to| CircuitReqAccepted { src_peer_id: one, dst_peer_id: to };
        let ended = |to| CircuitClosed { src_peer_id: one, dst_peer_id: to, error: None };
        let begun = [made(other), made(other), made(third)];
        assert_eq!(counted(&mut counts, &begun, one), (0, 3));
        let over = [ended(other), ended(other), ended(other), ended(other)];
        assert_eq!(counted(&mut counts, &over, one), (0, 1));
        assert_eq!(counted(&mut counts, &[ended(third)], one), (0, 0));
        assert!(counts.circuits.is_empty());
    }

    #[test]
    fn a_reservation_lasts_when_another_connection_of_the_peer_ends() {
        let mut counts = Counts::new(&Metrics::default());
        let (here, gone) = (PeerId::random(), PeerId::random());
        let made = [here, gone, gone]
            .map(|src_peer_id| ReservationReqAccepted { src_peer_id, renewed: false });
        assert_eq!(counted(&mut counts, &made, here), (2, 0));
        let ended = |src_peer_id| ReservationClosed { src_peer_id };
        assert_eq!(counted(&mut counts, &[ended(here), ended(gone)], here), (1, 0));
        assert_eq!(counted(&mut counts, &[ended(here), ended(gone)], gone), (0, 0));
        assert!(counts.reserved.is_empty());
    }
}
