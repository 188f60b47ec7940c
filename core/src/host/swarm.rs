//! Transports and behaviours.

use super::{
    Limits,
    boxed::Boxing,
    closing, instances, memory,
    names::Names,
    ping::{self, RoundTrips},
    quic,
    security::Security,
    slots,
    streams::{self, Streams},
};
use crate::{
    Error, ErrorKind, Result,
    announce::Announced,
    gossip::{
        Gossip, Refused,
        engine::{Config, Counts},
    },
    metrics::Metrics,
};
use libp2p::{
    PeerId, Swarm, SwarmBuilder, Transport,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    identify,
    identity::Keypair,
    memory_connection_limits,
    swarm::NetworkBehaviour,
    tcp, yamux,
};
use std::{convert::Infallible, time::Duration};

/// A connection is kept until one side closes it: which ones are worth keeping
/// is for the connection keeper to say, not for a timer.
const NEVER_IDLE: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    refused: Refused,
    memory: memory_connection_limits::Behaviour,
    /// After those two: nobody is replaced for one who is refused.
    pub(super) slots: slots::Behaviour,
    pub(super) ping: ping::Behaviour,
    identify: identify::Behaviour,
    streams: streams::Behaviour,
    pub(super) gossip: Gossip,
}

pub(super) type HostSwarm = Swarm<Boxing<Behaviour>>;

/// A swarm that doesn't listen yet.
pub(super) fn build(
    key: &Keypair,
    limits: &Limits,
    announced: &Announced,
    streams: &Streams,
    round_trips: &RoundTrips,
    metrics: &Metrics,
) -> Result<HostSwarm> {
    let behaviour = behaviour(key, limits, announced, streams, round_trips, metrics);
    let names = Names::new(transports(key)?, metrics.troubles.clone());
    let mut swarm = SwarmBuilder::with_existing_identity(key.clone())
        .with_tokio()
        .with_other_transport(|_| names)
        .unwrap_or_else(|never: Infallible| match never {})
        .with_behaviour(|_| Boxing(behaviour))
        .unwrap_or_else(|never: Infallible| match never {})
        .with_swarm_config(|config| config.with_idle_connection_timeout(NEVER_IDLE))
        .build();
    // Identify tells of these.
    announced.addrs.iter().for_each(|addr| swarm.add_external_address(addr.clone()));
    Ok(swarm)
}

/// TCP and QUIC.
fn transports(key: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>> {
    let security = Security::new(key)
        .map_err(|e| Error::new(ErrorKind::Internal, format!("encryption: {e}")))?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(security)
        .multiplex(closing::Soon(yamux::Config::default()))
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let quic = quic::Lazy::new(key).map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    Ok(tcp.or_transport(quic).map(|either, _| either.into_inner()).boxed())
}

fn behaviour(
    key: &Keypair,
    limits: &Limits,
    announced: &Announced,
    streams: &Streams,
    round_trips: &RoundTrips,
    metrics: &Metrics,
) -> Behaviour {
    let sizes = slots::Sizes::new(limits.connections, limits.connections_per_peer, limits.pending);
    let identify = identify::Config::new("casm/0.0.0".into(), key.public())
        .with_agent_version(instances::agent_version())
        .with_push_listen_addr_updates(true)
        // What peers say of their addresses is judged before it is dialled.
        .with_cache_size(0)
        .with_hide_listen_addrs(announced.only);
    let refused = Refused::new(metrics.gossip_refused.clone());
    let counts = Counts {
        refused: metrics.gossip_refused.clone(),
        dropped: metrics.dropped.clone(),
        ids: metrics.gossip_ids.clone(),
        links: metrics.gossip_links.clone(),
    };
    Behaviour {
        gossip: Gossip::new(Config::default(), counts, refused.clone()),
        refused,
        memory: memory::limit(limits.memory),
        slots: slots::Behaviour::new(sizes, round_trips.clone(), metrics),
        ping: ping::Behaviour::new(round_trips.clone()),
        identify: identify::Behaviour::new(identify),
        streams: streams.behaviour(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A swarm that does not listen yet.
    pub(in super::super) fn swarm() -> HostSwarm {
        let (key, metrics) = (Keypair::generate_ed25519(), Metrics::default());
        let (announced, streams) = (Announced::default(), Streams::new(&metrics));
        build(&key, &Limits::default(), &announced, &streams, &RoundTrips::default(), &metrics)
            .unwrap()
    }
}
