//! The client's part of relays, which notes the connections over those that give little.

use crate::{
    nat::{is_relayed, is_thin, relay_of},
    spare::{Kind, Spare},
};
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    relay::client,
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// What one connection to a relay may bring in a while: circuits above all.
const MOST: u32 = 512;
const WINDOW: Duration = Duration::from_secs(10);

/// The client.
pub(in crate::host) struct Client {
    inner: client::Behaviour,
    /// Relays that give little, as they said last, while they are connected.
    thin: HashSet<PeerId>,
    /// What relays and peers over them have had to say lately, by the connection.
    said: HashMap<ConnectionId, (Instant, u32)>,
    closing: VecDeque<(PeerId, ConnectionId)>,
    spare: Spare,
}

impl Client {
    pub(super) fn new(inner: client::Behaviour, spare: Spare) -> Self {
        Self { inner, thin: HashSet::new(), said: HashMap::new(), closing: VecDeque::new(), spare }
    }

    fn note(&mut self, event: &client::Event) {
        use client::Event::*;
        let (ReservationReqAccepted { relay_peer_id, limit, .. }
        | OutboundCircuitEstablished { relay_peer_id, limit }) = event
        else {
            return;
        };
        let limit = limit.as_ref();
        let bytes = limit.and_then(|limit| limit.data_in_bytes());
        match is_thin(bytes, limit.and_then(|limit| limit.duration())) {
            true => self.thin.insert(*relay_peer_id),
            false => self.thin.remove(relay_peer_id),
        };
    }

    /// Whether what comes in over a relay comes over one that gives little. (One that
    /// has dialled this node has no name in the address.)
    fn comes_over_thin(&self, local: &Multiaddr) -> bool {
        match relay_of(local) {
            Some(relay) => self.thin.contains(&relay),
            None => !self.thin.is_empty(),
        }
    }

    /// Something came of a connection to a relay: if it is too much, that is closed. What
    /// comes in waits without a bound in libp2p.
    fn came(&mut self, relay: PeerId, id: ConnectionId) {
        let now = Instant::now();
        let (since, n) = self.said.entry(id).or_insert((now, 0));
        if since.elapsed() >= WINDOW {
            (*since, *n) = (now, 0);
        }
        *n += 1;
        if *n == MOST {
            tracing::debug!(%relay, "a relay brings too much: closing its connection");
            self.closing.push_back((relay, id));
        }
    }
}

impl NetworkBehaviour for Client {
    type ConnectionHandler = THandler<client::Behaviour>;
    type ToSwarm = client::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if is_relayed(local) && self.comes_over_thin(local) {
            self.spare.insert(id, Kind::Thin);
        }
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if relay_of(addr).is_some_and(|relay| self.thin.contains(&relay)) {
            self.spare.insert(id, Kind::Thin);
        }
        self.inner.handle_established_outbound_connection(id, peer, addr, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::ConnectionClosed(event) => {
                self.spare.remove(event.connection_id);
                self.said.remove(&event.connection_id);
                if event.remaining_established == 0 {
                    self.thin.remove(&event.peer_id);
                }
            }
            FromSwarm::ListenFailure(event) => self.spare.remove(event.connection_id),
            FromSwarm::DialFailure(event) => self.spare.remove(event.connection_id),
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.came(peer, id);
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer_id, id)) = self.closing.pop_front() {
            let connection = CloseConnection::One(id);
            return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection });
        }
        let polled = self.inner.poll(cx);
        if let Poll::Ready(ToSwarm::GenerateEvent(event)) = &polled {
            self.note(event);
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::noop_waker_ref;

    /// What it closes now.
    fn closes(client: &mut Client) -> Vec<ConnectionId> {
        let mut cx = Context::from_waker(noop_waker_ref());
        std::iter::from_fn(|| match client.poll(&mut cx) {
            Poll::Ready(ToSwarm::CloseConnection {
                connection: CloseConnection::One(id), ..
            }) => Some(id),
            other => {
                assert!(other.is_pending());
                None
            }
        })
        .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_that_brings_too_much_in_a_while_is_closed_and_another_is_not() {
        // The transport would end with this.
        let (_transport, inner) = client::new(PeerId::random());
        let mut client = Client::new(inner, Spare::default());
        let [much, little] = [1, 2].map(|n| (PeerId::random(), ConnectionId::new_unchecked(n)));
        let mut brings = |(relay, id), n| {
            (0..n).for_each(|_| client.came(relay, id));
            closes(&mut client)
        };
        assert_eq!(brings(much, MOST - 1), []);
        tokio::time::advance(WINDOW).await;
        assert_eq!((brings(much, MOST - 1), brings(little, MOST - 1)), (vec![], vec![]));
        assert_eq!((brings(much, 1), brings(much, MOST)), (vec![much.1], vec![]), "but once");
    }
}
