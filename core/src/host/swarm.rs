//! Transports and behaviours.

use super::{
    Limits,
    boxed::Boxing,
    closing, instances, mesh,
    names::Names,
    ping::{self, RoundTrips},
    renew::Renewing,
    security::Security,
    slots,
    streams::{self, Streams},
    topics::KeepSigned,
};
use crate::{Error, ErrorKind, Result, announce::Announced, metrics::Metrics};
use libp2p::{
    PeerId, Swarm, SwarmBuilder, Transport,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    gossipsub::{self, MessageAuthenticity, MessageId, ValidationMode},
    identify,
    identity::Keypair,
    memory_connection_limits, quic,
    swarm::NetworkBehaviour,
    tcp, yamux,
};
use std::{convert::Infallible, time::Duration};

/// A connection is kept until one side closes it: which ones are worth keeping
/// is for the connection keeper to say, not for a timer.
const NEVER_IDLE: Duration = Duration::from_secs(365 * 24 * 3600);
/// As Go's pubsub.
const MAX_MESSAGE: usize = 1 << 20;
/// Ids of messages that are offered or asked for at a time: with 48 bytes each
/// they stay below the 16 KiB that rust-libp2p takes if it is told nothing.
const MAX_IDS: usize = 300;
/// What others may offer, in bytes: Go's 5,000 ids, and room.
const MAX_CONTROL: usize = 512 << 10;
/// When gossipsub first looks after its mesh and offers what it has, as in Go.
/// (Until then, a peer that is in nobody's mesh gets nothing.)
const FIRST_GOSSIP: Duration = Duration::from_millis(100);
/// For how many gossip heartbeats, a second each, a message is kept: it is
/// offered at three of them, and may be asked for until the next one.
const KEPT: usize = 4;
/// For how long a message is known again: longer than a busy node lags behind,
/// or it would ask for what it had. An older copy comes from who replays it, and
/// is stale to the topic's service.
const KNOWN_AGAIN: Duration = Duration::from_secs(15);
/// Messages that may wait for one connection: a slow peer loses the rest.
const CONNECTION_QUEUE: usize = 2048;

pub(super) type Gossipsub = gossipsub::Behaviour<KeepSigned>;

#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    memory: memory_connection_limits::Behaviour,
    /// After `memory`: nobody is replaced for one who is refused.
    pub(super) slots: slots::Behaviour,
    pub(super) ping: ping::Behaviour,
    identify: identify::Behaviour,
    streams: streams::Behaviour,
    /// The last, so that none can refuse a connection of which it was told.
    pub(super) gossipsub: Renewing,
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
    let behaviour = behaviour(key, limits, announced, streams, round_trips, metrics)?;
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
    let quic = quic::tokio::Transport::new(quic::Config::new(key))
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    Ok(tcp.or_transport(quic).map(|either, _| either.into_inner()).boxed())
}

fn behaviour(
    key: &Keypair,
    limits: &Limits,
    announced: &Announced,
    streams: &Streams,
    round_trips: &RoundTrips,
    metrics: &Metrics,
) -> Result<Behaviour> {
    let sizes = slots::Sizes::new(limits.connections, limits.connections_per_peer, limits.pending);
    let identify = identify::Config::new("casm/0.0.0".into(), key.public())
        .with_agent_version(instances::agent_version())
        .with_push_listen_addr_updates(true)
        // What peers say of their addresses is judged before it is dialled.
        .with_cache_size(0)
        .with_hide_listen_addrs(announced.only);
    Ok(Behaviour {
        memory: memory_connection_limits::Behaviour::with_max_percentage(limits.memory),
        slots: slots::Behaviour::new(sizes, round_trips.clone(), metrics),
        ping: ping::Behaviour::new(round_trips.clone()),
        identify: identify::Behaviour::new(identify),
        streams: streams.behaviour(),
        gossipsub: Renewing::new(gossipsub(key, metrics)?, metrics.clone()),
    })
}

/// Gossipsub as Go's nodes speak it: strict signing, the message id made of
/// raw bytes, and every message waiting for a verdict before it is relayed.
fn gossipsub(key: &Keypair, metrics: &Metrics) -> Result<Gossipsub> {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .message_id_fn(|message| {
            let mut id = message.source.map_or_else(Vec::new, |peer| peer.to_bytes());
            id.extend(message.sequence_number.unwrap_or_default().to_be_bytes());
            MessageId(id)
        })
        .max_transmit_size(MAX_MESSAGE)
        .max_control_message_size(MAX_CONTROL)
        .max_control_messages_sent(MAX_IDS)
        .connection_handler_queue_len(CONNECTION_QUEUE)
        .flood_publish(false)
        .heartbeat_initial_delay(FIRST_GOSSIP)
        .history_length(KEPT)
        .duplicate_cache_time(KNOWN_AGAIN)
        .mesh_n(mesh::DEGREE)
        .mesh_n_low(mesh::LOW)
        .mesh_n_high(mesh::HIGH)
        .mesh_outbound_min(1)
        .prune_backoff(mesh::BACKOFF)
        .gossip_lazy(mesh::LAZY)
        .gossip_factor(mesh::LAZY_PART)
        .build()
        .map_err(|e| Error::new(ErrorKind::Internal, format!("gossipsub: {e}")))?;
    let transform = KeepSigned { metrics: metrics.clone() };
    Gossipsub::new_with_transform(MessageAuthenticity::Signed(key.clone()), config, transform)
        .map_err(|e| Error::new(ErrorKind::Internal, format!("gossipsub: {e}")))
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
