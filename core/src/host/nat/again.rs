//! Trying once more whether this node can be reached where it was tried before: libp2p's
//! client tries each address once and remembers the result for ever. So another client
//! does it, by a connection that is made for that: it hears of connections from their
//! beginning alone.

use super::probes::TICK;
use libp2p::{
    Multiaddr, PeerId,
    autonat::v2::client,
    swarm::{
        ConnectionId, FromSwarm, NetworkBehaviour, THandlerInEvent, THandlerOutEvent, ToSwarm,
        behaviour::NewExternalAddrCandidate,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use std::{
    collections::HashSet,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// For how long it is waited for results.
const LASTS: Duration = Duration::from_secs(60);

pub(super) struct Again {
    client: client::Behaviour,
    server: PeerId,
    id: ConnectionId,
    dial: Option<DialOpts>,
    /// Whether the connection is there.
    made: bool,
    /// The addresses of which there is no result yet.
    open: HashSet<Multiaddr>,
    since: Instant,
}

impl Again {
    /// Has a peer that is at an address try these.
    pub(super) fn new(server: PeerId, at: Multiaddr, addrs: Vec<Multiaddr>) -> Self {
        let config = client::Config::default().with_probe_interval(TICK);
        let mut client = client::Behaviour::new(rand::make_rng::<rand::rngs::StdRng>(), config);
        for addr in &addrs {
            let candidate = NewExternalAddrCandidate { addr };
            client.on_swarm_event(FromSwarm::NewExternalAddrCandidate(candidate));
        }
        // Beside the one that there is, of which the port may be in use.
        let dial = DialOpts::peer_id(server)
            .addresses(vec![at])
            .condition(PeerCondition::Always)
            .allocate_new_port()
            .build();
        Self {
            client,
            server,
            id: dial.connection_id(),
            dial: Some(dial),
            made: false,
            open: addrs.into_iter().collect(),
            since: Instant::now(),
        }
    }

    pub(super) fn server(&self) -> PeerId {
        self.server
    }

    /// The connection.
    pub(super) fn id(&self) -> ConnectionId {
        self.id
    }

    /// Whether it is there.
    pub(super) fn is_made(&self) -> bool {
        self.made
    }

    pub(super) fn is_over(&self) -> bool {
        self.open.is_empty() || self.since.elapsed() >= LASTS
    }

    /// The connection is made, as the swarm says.
    pub(super) fn made(&mut self, event: FromSwarm<'_>) {
        self.made = true;
        self.client.on_swarm_event(event);
    }

    /// Something came by it, or by one by which a peer has come.
    pub(super) fn on_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<client::Behaviour>,
    ) {
        self.client.on_connection_handler_event(peer, id, event);
    }

    /// (The client's ticks have this polled while it lasts.)
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<client::Event, THandlerInEvent<client::Behaviour>>> {
        if let Some(opts) = self.dial.take() {
            return Poll::Ready(ToSwarm::Dial { opts });
        }
        let polled = self.client.poll(cx);
        if let Poll::Ready(ToSwarm::GenerateEvent(event)) = &polled {
            self.open.remove(&event.tested_addr);
        }
        polled
    }
}
