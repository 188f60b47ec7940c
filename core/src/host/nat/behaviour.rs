//! What speaks of relays and reachability in a swarm.

use super::{Bounds, Client, Patient, Probes, Upnp, Watched};
use crate::{nat::RelayLimits, spare::Spare};
use libp2p::{
    Multiaddr, PeerId,
    autonat::v2::server,
    dcutr, relay,
    swarm::{
        FromSwarm, NetworkBehaviour,
        behaviour::{NewExternalAddrCandidate, toggle::Toggle},
    },
};
use std::{num::NonZeroU32, time::Duration};

/// For how long a reservation is given: it ends with the connection. (One that runs out
/// while the peer is told of another would have libp2p panic.)
const WITH_THE_CONNECTION: Duration = Duration::from_secs(365 * 24 * 3600);

/// Each is there if it is wanted.
#[derive(NetworkBehaviour)]
pub(in crate::host) struct Behaviour {
    /// Is reached over relays.
    client: Toggle<Client>,
    /// Relays for others.
    relay: Toggle<relay::Behaviour>,
    /// Makes what is relayed direct.
    pub(in crate::host) punch: Toggle<Watched<Patient<dcutr::Behaviour>>>,
    /// Has peers try whether this node can be reached.
    pub(in crate::host) probes: Toggle<Probes>,
    /// Tries it for others.
    pub(in crate::host) answers: Toggle<Watched<server::Behaviour>>,
    /// Has the network's gateway let others in.
    pub(super) upnp: Toggle<Upnp>,
}

impl Behaviour {
    pub(in crate::host) fn new(
        own: PeerId,
        client: Option<relay::client::Behaviour>,
        limits: Option<&RelayLimits>,
        upnp: bool,
        bounds: &Bounds,
        spare: &Spare,
    ) -> Self {
        let uses = client.is_some();
        let relay = limits.map(|limits| {
            let mut relay = relay::Behaviour::new(own, config(limits));
            // Not only once it knows where it is reached from outside: a person said so.
            relay.set_status(Some(relay::Status::Enable));
            relay
        });
        let punch = || {
            let patient = Patient::new(dcutr::Behaviour::new(own), dcutr::PROTOCOL_NAME);
            Watched::new(patient, bounds.clone())
        };
        let answers =
            || Watched::apart(server::Behaviour::default(), bounds.clone(), spare.clone());
        Self {
            client: client.map(|client| Client::new(client, spare.clone())).into(),
            punch: uses.then(punch).into(),
            probes: uses.then(|| Probes::new(spare.clone())).into(),
            answers: relay.is_some().then(answers).into(),
            relay: relay.into(),
            upnp: upnp.then(Upnp::new).into(),
        }
    }

    /// Tells peers to which this node is relayed that it may be at an address.
    pub(super) fn may_be_at(&mut self, addr: &Multiaddr) {
        if let Some(punch) = self.punch.as_mut() {
            let candidate = NewExternalAddrCandidate { addr };
            punch.inner.on_swarm_event(FromSwarm::NewExternalAddrCandidate(candidate));
        }
    }
}

/// libp2p's limits are for a relay that serves strangers for a moment; what may come
/// from one peer or address follows the same way, since a whole cluster may be behind
/// one NAT.
fn config(limits: &RelayLimits) -> relay::Config {
    let per = |n: u32, pause: u64| (NonZeroU32::new(n).expect("not 0"), Duration::from_secs(pause));
    let mut config = relay::Config {
        max_reservations: limits.reservations as usize,
        // Of both libp2p lets one more in.
        max_reservations_per_peer: 1,
        reservation_duration: WITH_THE_CONNECTION,
        max_circuits: limits.circuits as usize,
        max_circuits_per_peer: limits.circuits_per_peer() - 1,
        max_circuit_duration: limits.circuit_time,
        max_circuit_bytes: limits.circuit_bytes,
        reservation_rate_limiters: Vec::new(),
        circuit_src_rate_limiters: Vec::new(),
    };
    let ((peer, pause), (ip, ip_pause)) = (per(8, 30), per(64, 5));
    config = config.reservation_rate_per_peer(peer, pause).reservation_rate_per_ip(ip, ip_pause);
    let ((peer, pause), (ip, ip_pause)) = (per(32, 10), per(128, 2));
    config.circuit_src_per_peer(peer, pause).circuit_src_per_ip(ip, ip_pause)
}
