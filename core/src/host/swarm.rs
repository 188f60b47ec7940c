//! Transports and behaviours.

use super::{
    Limits, admission,
    boxed::Boxing,
    closing,
    gate::{self, Gate},
    instances,
    listen::is_quic,
    memory,
    names::Names,
    nat,
    ping::{self, RoundTrips},
    quic,
    security::Security,
    slots::{self, Tally},
    streams::{self, Streams},
};
use crate::{
    Error, ErrorKind, Result, Secret,
    announce::Announced,
    gossip::{
        Gossip, Refused,
        engine::{Config, Counts},
    },
    metrics::Metrics,
    nat::RelayLimits,
    spare::Spare,
};
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, Transport,
    core::{
        muxing::{StreamMuxerBox, SubstreamBox},
        transport::{Boxed, OptionalTransport},
        upgrade::Version,
    },
    identify,
    identity::Keypair,
    memory_connection_limits,
    pnet::PnetConfig,
    relay,
    swarm::NetworkBehaviour,
    tcp, yamux,
};
use std::{convert::Infallible, time::Duration};

/// A connection is kept until one side closes it: which ones are worth keeping
/// is for the connection keeper to say, not for a timer.
const NEVER_IDLE: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    /// First of all: nobody does anything for a stranger.
    gate: gate::Behaviour,
    refused: Refused,
    memory: memory_connection_limits::Behaviour,
    /// After those: nobody is replaced for one who is refused.
    pub(super) slots: slots::Behaviour,
    /// Before those that ask it which connections are spare, and after those that refuse:
    /// it remembers whom it has seen until they go.
    pub(super) nat: nat::Behaviour,
    pub(super) ping: ping::Behaviour,
    identify: identify::Behaviour,
    streams: streams::Behaviour,
    pub(super) gossip: Gossip,
}

/// The transport over relays, if they are used.
type Relayed = OptionalTransport<relay::client::Transport>;

pub(super) type HostSwarm = Swarm<Boxing<Behaviour>>;

/// What the swarms of a host are made of: the first one, and one after each pause.
pub(super) struct Recipe {
    pub(super) key: Keypair,
    pub(super) limits: Limits,
    pub(super) announced: Announced,
    pub(super) streams: Streams,
    pub(super) round_trips: RoundTrips,
    pub(super) tally: Tally,
    pub(super) gate: Gate,
    pub(super) metrics: Metrics,
    /// From the answer to a ping to the next one.
    pub(super) ping: Duration,
    /// How often both ends of a connection say anew what they are.
    pub(super) identify: Duration,
    /// The secret of a private cluster.
    pub(super) secret: Option<Secret>,
    /// Whether QUIC is spoken, beside TCP. Not with a secret.
    pub(super) quic: bool,
    /// Whether this node uses relays when it has to.
    pub(super) uses_relays: bool,
    /// How much it relays for others, if it does.
    pub(super) relay: Option<RelayLimits>,
    /// Whether it asks the network's gateway to let others in.
    pub(super) upnp: bool,
    /// The connections that are not used like others.
    pub(super) spare: Spare,
    /// What may be dialled since others want it, to get through NATs.
    pub(super) bounds: nat::Bounds,
}

impl Recipe {
    /// Whether an address can be dialled in this cluster, as far as its transport goes.
    pub(super) fn dials(&self, addr: &Multiaddr) -> bool {
        self.secret.is_none() || !is_quic(addr)
    }

    /// A swarm that doesn't listen yet, and so has no socket.
    pub(super) fn build(&self) -> Result<HostSwarm> {
        let own = self.key.public().to_peer_id();
        let (transport, client) = match self.uses_relays {
            true => {
                let (transport, client) = relay::client::new(own);
                (OptionalTransport::some(transport), Some(client))
            }
            false => (OptionalTransport::none(), None),
        };
        let behaviour = self.behaviour(own, client);
        let names = Names::new(self.transports(transport)?, self.metrics.troubles.clone());
        let mut swarm = SwarmBuilder::with_existing_identity(self.key.clone())
            .with_tokio()
            .with_other_transport(|_| names)
            .unwrap_or_else(|never: Infallible| match never {})
            .with_behaviour(|_| Boxing(behaviour))
            .unwrap_or_else(|never: Infallible| match never {})
            .with_swarm_config(|config| config.with_idle_connection_timeout(NEVER_IDLE))
            .build();
        // Identify tells of these.
        self.announced.addrs.iter().for_each(|addr| swarm.add_external_address(addr.clone()));
        Ok(swarm)
    }

    /// The transports; where members have certificates, with a gate that shows them.
    fn transports(&self, relayed: Relayed) -> Result<Boxed<(PeerId, StreamMuxerBox)>> {
        let open = self.open_transports(relayed)?;
        let Some(members) = self.gate.who().members().cloned() else { return Ok(open) };
        Ok(open
            .and_then(move |connection, endpoint| admission::pass(members, connection, endpoint))
            .boxed())
    }

    /// TCP, what is relayed, and QUIC; with a secret not QUIC, and the others encrypted by
    /// it under all else, at both ends of a relay as in go-libp2p.
    fn open_transports(&self, relayed: Relayed) -> Result<Boxed<(PeerId, StreamMuxerBox)>> {
        let security = Security::new(&self.key)
            .map_err(|e| Error::new(ErrorKind::Internal, format!("encryption: {e}")))?;
        let yamux = closing::Soon(yamux::Config::default());
        let tcp = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true));
        let sockets = tcp.or_transport(relayed).map(|socket, _| SubstreamBox::new(socket));
        // One kind of socket, so that there is one copy of all that is spoken on it.
        let sockets = match &self.secret {
            Some(secret) => {
                let network = PnetConfig::new(secret.psk());
                let sealed = sockets.and_then(move |socket, _| network.handshake(socket));
                sealed.map(|socket, _| SubstreamBox::new(socket)).boxed()
            }
            None => sockets.boxed(),
        };
        let tcp = sockets
            .upgrade(Version::V1Lazy)
            .authenticate(security)
            .multiplex(yamux)
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
        if !self.quic || self.secret.is_some() {
            return Ok(tcp.boxed());
        }
        let quic = quic::Lazy::new(&self.key);
        let quic = quic.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
        Ok(tcp.or_transport(quic).map(|either, _| either.into_inner()).boxed())
    }

    fn behaviour(&self, own: PeerId, client: Option<relay::client::Behaviour>) -> Behaviour {
        let Self { key, limits, announced, streams, round_trips, tally, gate, metrics, .. } = self;
        let spare = self.spare.clone();
        let sizes =
            slots::Sizes::new(limits.connections, limits.connections_per_peer, limits.pending);
        let identify = identify::Config::new("casm/0.0.0".into(), key.public())
            .with_agent_version(instances::agent_version(ping::is_seldom(self.ping)))
            .with_interval(self.identify)
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
            gate: gate.behaviour(),
            gossip: Gossip::new(Config::default(), counts, refused.clone()).without(spare.clone()),
            nat: nat::Behaviour::new(
                own,
                client,
                self.relay.as_ref(),
                self.upnp,
                &self.bounds,
                &spare,
            ),
            refused,
            memory: memory::limit(limits.memory),
            slots: slots::Behaviour::new(sizes, round_trips.clone(), tally.clone()),
            ping: ping::Behaviour::new(self.ping, round_trips.clone()),
            identify: identify::Behaviour::new(identify),
            streams: streams.behaviour(spare),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A swarm that does not listen yet.
    pub(in super::super) fn swarm() -> HostSwarm {
        let metrics = Metrics::default();
        let recipe = Recipe {
            key: Keypair::generate_ed25519(),
            limits: Limits::default(),
            announced: Announced::default(),
            streams: Streams::new(&metrics),
            round_trips: RoundTrips::default(),
            tally: Tally::new(&metrics),
            gate: Gate::new(Default::default(), &metrics),
            metrics,
            ping: Duration::from_secs(10),
            identify: Duration::from_secs(300),
            secret: None,
            quic: true,
            uses_relays: true,
            relay: None,
            upnp: false,
            spare: Spare::default(),
            bounds: nat::Bounds::new(Default::default(), Default::default()),
        };
        recipe.build().unwrap()
    }
}
