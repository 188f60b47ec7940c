//! A behaviour of libp2p that dials where others tell it to: what it dials is looked at
//! first, and known from then on.

use super::Bounds;
use crate::spare::{Kind, Spare};
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, DialFailure, FromSwarm,
        NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        behaviour::ConnectionEstablished,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    task::{Context, Poll},
};
use tokio::time::Instant;

/// Dials that a peer may want while it is connected, to punch through its NAT.
const MOST: u32 = 32;

/// Why a dial is not made.
#[derive(Debug, thiserror::Error)]
#[error("addresses that a peer told are not dialled, or others: they make no sense, or too often")]
struct NotDialled;

/// Dials in the place of those of which some addresses are not dialled: libp2p has no way
/// to leave some out. The behaviour is not told.
#[derive(Default)]
struct Instead {
    /// Those that are yet to be made.
    due: VecDeque<DialOpts>,
    /// Of such a dial or connection, the one that the behaviour knows.
    known: HashMap<ConnectionId, ConnectionId>,
    /// Those dials that are not made.
    dropped: HashSet<ConnectionId>,
}

impl Instead {
    fn make(&mut self, id: ConnectionId, peer: PeerId, addrs: Vec<Multiaddr>, role: Endpoint) {
        let opts = DialOpts::peer_id(peer).addresses(addrs).condition(PeerCondition::Always);
        let opts = match role {
            Endpoint::Dialer => opts.build(),
            Endpoint::Listener => opts.override_role().build(),
        };
        self.known.insert(opts.connection_id(), id);
        self.dropped.insert(id);
        self.due.push_back(opts);
    }

    /// As which the behaviour knows a connection.
    fn known(&self, id: ConnectionId) -> ConnectionId {
        self.known.get(&id).copied().unwrap_or(id)
    }
}

/// The behaviour, whose dials are bounded.
pub(in crate::host) struct Watched<B> {
    pub(super) inner: B,
    dials: HashSet<ConnectionId>,
    /// Connections that it has made, until they close, with whom and when.
    made: HashMap<ConnectionId, (PeerId, Instant)>,
    /// How many dials each peer wanted that is connected.
    wanted: HashMap<PeerId, u32>,
    bounds: Bounds,
    instead: Instead,
    /// Where they are noted, if nobody else is to use them.
    spare: Option<Spare>,
}

impl<B> Watched<B> {
    pub(super) fn new(inner: B, bounds: Bounds) -> Self {
        Self {
            inner,
            dials: HashSet::new(),
            made: HashMap::new(),
            wanted: HashMap::new(),
            bounds,
            instead: Instead::default(),
            spare: None,
        }
    }

    /// One whose connections nobody else is to use.
    pub(super) fn apart(inner: B, bounds: Bounds, spare: Spare) -> Self {
        Self { spare: Some(spare), ..Self::new(inner, bounds) }
    }

    /// The connections that it has made with a peer, or before a time.
    pub(super) fn over(&self, peer: Option<&PeerId>, before: Instant) -> Vec<ConnectionId> {
        let over = |(with, since): &(PeerId, Instant)| peer == Some(with) || *since < before;
        self.made.iter().filter(|(_, made)| over(made)).map(|(id, _)| *id).collect()
    }

    /// Whether it has made a connection that is there.
    pub(super) fn has_made(&self, id: ConnectionId) -> bool {
        self.made.contains_key(&id)
    }

    /// Whether it has made connections that are there.
    pub(super) fn has_any(&self) -> bool {
        !self.made.is_empty()
    }
}

impl<B> Watched<B> {
    /// A dial or connection is over. Gives as which the behaviour knows it.
    fn ended(&mut self, id: ConnectionId) -> ConnectionId {
        self.dials.remove(&id);
        self.made.remove(&id);
        self.spare.iter().for_each(|spare| spare.remove(id));
        self.instead.known.remove(&id).unwrap_or(id)
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Watched<B> {
    type ConnectionHandler = B::ConnectionHandler;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addrs: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.dials.contains(&id) && !self.instead.known.contains_key(&id) {
            let chosen = peer.map(|peer| (peer, self.bounds.choose(&peer, addrs)));
            let Some((peer, chosen)) = chosen.filter(|(_, chosen)| !chosen.is_empty()) else {
                return Err(ConnectionDenied::new(NotDialled));
            };
            if chosen.len() < addrs.len() {
                self.instead.make(id, peer, chosen, role);
                return Err(ConnectionDenied::new(NotDialled));
            }
        }
        let id = self.instead.known(id);
        self.inner.handle_pending_outbound_connection(id, peer, addrs, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.dials.contains(&id)
            && let Some(spare) = &self.spare
        {
            spare.insert(id, Kind::Passing);
        }
        let id = self.instead.known(id);
        self.inner.handle_established_outbound_connection(id, peer, addr, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let event = match event {
            // What others see is looked at first: see `Task::may_be_reached`.
            FromSwarm::NewExternalAddrCandidate(_) => return,
            FromSwarm::ConnectionEstablished(event) => {
                let id = event.connection_id;
                let is_own = self.dials.remove(&id);
                self.made.extend(is_own.then(|| (id, (event.peer_id, Instant::now()))));
                let connection_id = self.instead.known(id);
                FromSwarm::ConnectionEstablished(ConnectionEstablished { connection_id, ..event })
            }
            FromSwarm::ConnectionClosed(event) => {
                let connection_id = self.ended(event.connection_id);
                if event.remaining_established == 0 {
                    self.wanted.remove(&event.peer_id);
                }
                FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, ..event })
            }
            FromSwarm::DialFailure(event) => {
                let connection_id = self.ended(event.connection_id);
                if self.instead.dropped.remove(&event.connection_id) {
                    return;
                }
                FromSwarm::DialFailure(DialFailure { connection_id, ..event })
            }
            event => event,
        };
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.inner.on_connection_handler_event(peer, self.instead.known(id), event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(opts) = self.instead.due.pop_front() {
            self.dials.insert(opts.connection_id());
            return Poll::Ready(ToSwarm::Dial { opts });
        }
        let polled = self.inner.poll(cx);
        let Poll::Ready(ToSwarm::Dial { opts }) = &polled else { return polled };
        self.dials.insert(opts.connection_id());
        if self.spare.is_none()
            && let Some(peer) = opts.get_peer_id()
        {
            let wanted = self.wanted.entry(peer).or_default();
            *wanted += 1;
            // libp2p remembers each, and asks for three at most.
            if *wanted > MOST {
                self.dials.remove(&opts.connection_id());
                let connection = CloseConnection::All;
                return Poll::Ready(ToSwarm::CloseConnection { peer_id: peer, connection });
            }
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ByLabel;
    use futures::task::noop_waker_ref;
    use libp2p::{
        core::ConnectedPoint,
        swarm::{
            DialError,
            behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure},
            dial_opts::DialOpts,
            dummy,
        },
    };
    use std::{collections::VecDeque, convert::Infallible, time::Duration};

    const OWN: &str = "/ip4/8.8.8.8/tcp/1";

    /// Dials what it is told to, and notes what it is told of it.
    #[derive(Default)]
    struct Dials {
        wanted: VecDeque<DialOpts>,
        told: Vec<(&'static str, ConnectionId)>,
    }

    impl NetworkBehaviour for Dials {
        type ConnectionHandler = dummy::ConnectionHandler;
        type ToSwarm = Infallible;

        fn handle_established_inbound_connection(
            &mut self,
            _: ConnectionId,
            _: PeerId,
            _: &Multiaddr,
            _: &Multiaddr,
        ) -> Result<THandler<Self>, ConnectionDenied> {
            Ok(dummy::ConnectionHandler)
        }

        fn handle_established_outbound_connection(
            &mut self,
            id: ConnectionId,
            _: PeerId,
            _: &Multiaddr,
            _: Endpoint,
            _: PortUse,
        ) -> Result<THandler<Self>, ConnectionDenied> {
            self.told.push(("made", id));
            Ok(dummy::ConnectionHandler)
        }

        fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
            if let FromSwarm::DialFailure(event) = event {
                self.told.push(("failed", event.connection_id));
            }
        }

        fn on_connection_handler_event(
            &mut self,
            _: PeerId,
            _: ConnectionId,
            event: THandlerOutEvent<Self>,
        ) {
            match event {}
        }

        fn poll(
            &mut self,
            _: &mut Context<'_>,
        ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
            match self.wanted.pop_front() {
                Some(opts) => Poll::Ready(ToSwarm::Dial { opts }),
                None => Poll::Pending,
            }
        }
    }

    fn bounds() -> Bounds {
        Bounds::new(Default::default(), ByLabel::default())
    }

    /// Has it dial a peer. The dial, if the peer's connections are not closed instead.
    fn wants(watched: &mut Watched<Dials>, peer: PeerId) -> Option<ConnectionId> {
        watched.inner.wanted.push_back(DialOpts::peer_id(peer).build());
        dial(watched, peer)
    }

    /// The next dial of a peer, if there is one, and its connections are not closed instead.
    fn dial(watched: &mut Watched<Dials>, peer: PeerId) -> Option<ConnectionId> {
        match watched.poll(&mut Context::from_waker(noop_waker_ref())) {
            Poll::Ready(ToSwarm::Dial { opts }) => Some(opts.connection_id()),
            Poll::Ready(ToSwarm::CloseConnection { peer_id, .. }) => {
                assert_eq!(peer_id, peer);
                None
            }
            Poll::Pending => None,
            other => panic!("{other:?}"),
        }
    }

    fn fails(watched: &mut Watched<Dials>, peer: PeerId, id: ConnectionId) {
        let (peer_id, error) = (Some(peer), &DialError::NoAddresses);
        let failure = DialFailure { peer_id, error, connection_id: id };
        watched.on_swarm_event(FromSwarm::DialFailure(failure));
    }

    fn begins(watched: &mut Watched<Dials>, id: ConnectionId, peer: PeerId, at: &str) -> bool {
        let at = [at.parse().unwrap()];
        watched.handle_pending_outbound_connection(id, Some(peer), &at, Endpoint::Dialer).is_ok()
    }

    fn end() -> ConnectedPoint {
        ConnectedPoint::Dialer {
            address: OWN.parse().unwrap(),
            role_override: Endpoint::Dialer,
            port_use: PortUse::New,
        }
    }

    fn made(watched: &mut Watched<Dials>, connection_id: ConnectionId, peer_id: PeerId) {
        let (addr, role, port) = (OWN.parse().unwrap(), Endpoint::Dialer, PortUse::New);
        watched
            .handle_established_outbound_connection(connection_id, peer_id, &addr, role, port)
            .unwrap();
        watched.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id,
            connection_id,
            endpoint: &end(),
            failed_addresses: &[],
            other_established: 0,
        }));
    }

    fn closed(watched: &mut Watched<Dials>, connection_id: ConnectionId, peer_id: PeerId) {
        watched.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id,
            connection_id,
            endpoint: &end(),
            cause: None,
            remaining_established: 0,
        }));
    }

    #[test]
    fn its_own_dials_are_looked_at_and_those_of_others_are_not() {
        let mut watched = Watched::new(Dials::default(), bounds());
        let peer = PeerId::random();
        // It is not known where the peer is: it may be anywhere.
        for (at, may) in
            [(OWN, true), ("/ip4/127.0.0.1/tcp/22", false), ("/ip4/10.0.0.1/tcp/1", false)]
        {
            let id = wants(&mut watched, peer).unwrap();
            assert_eq!(begins(&mut watched, id, peer, at), may, "{at}");
            let other = ConnectionId::new_unchecked(usize::MAX);
            assert!(begins(&mut watched, other, peer, at));
            fails(&mut watched, peer, id);
        }
        assert!(watched.dials.is_empty());
    }

    #[test]
    fn who_wants_to_be_dialled_again_and_again_is_closed() {
        let mut watched = Watched::new(Dials::default(), bounds());
        let peer = PeerId::random();
        let dials = (0..100).filter(|_| wants(&mut watched, peer).is_some()).count();
        assert_eq!(dials, MOST as usize);
        assert!(wants(&mut watched, PeerId::random()).is_some(), "another one");
        closed(&mut watched, ConnectionId::new_unchecked(1), peer);
        assert!(wants(&mut watched, peer).is_some(), "that is connected anew");
    }

    #[tokio::test(start_paused = true)]
    async fn connections_by_which_it_was_tried_to_reach_a_peer_are_known_until_they_close() {
        let spare = Spare::default();
        let mut watched = Watched::apart(Dials::default(), bounds(), spare.clone());
        let (peer, began) = (PeerId::random(), Instant::now());
        let id = wants(&mut watched, peer).unwrap();
        assert!(!watched.has_any());
        made(&mut watched, id, peer);
        assert_eq!((watched.has_made(id), spare.kind(id)), (true, Some(Kind::Passing)));
        // One that somebody else has made is no such.
        let other = ConnectionId::new_unchecked(usize::MAX);
        made(&mut watched, other, peer);
        assert_eq!((watched.has_made(other), spare.kind(other)), (false, None));
        // It is over when the peer was told, or after its time.
        assert_eq!(watched.over(Some(&peer), began), [id]);
        assert_eq!(watched.over(Some(&PeerId::random()), began), []);
        assert_eq!(watched.over(None, Instant::now()), []);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(watched.over(None, Instant::now()), [id]);
        closed(&mut watched, id, peer);
        assert!(!watched.has_any() && watched.dials.is_empty() && spare.kind(id).is_none());
    }

    #[test]
    fn a_dial_is_made_without_what_makes_no_sense_and_known_as_the_one_that_was_wanted() {
        let [near, far]: [Multiaddr; 2] =
            ["/ip4/192.168.1.2/tcp/1", OWN].map(|a| a.parse().unwrap());
        let (peer, role) = (PeerId::random(), Endpoint::Listener);
        let mut watched = Watched::new(Dials::default(), bounds());
        let wanted = wants(&mut watched, peer).unwrap();
        let both = [near, far.clone()];
        let pending = |watched: &mut Watched<Dials>, id, addrs: &[Multiaddr]| {
            watched.handle_pending_outbound_connection(id, Some(peer), addrs, role)
        };
        assert!(pending(&mut watched, wanted, &both).is_err());
        fails(&mut watched, peer, wanted);
        assert_eq!(watched.inner.told, [], "there is another in its place");
        let made = dial(&mut watched, peer).unwrap();
        assert_ne!(made, wanted);
        assert!(pending(&mut watched, made, std::slice::from_ref(&far)).is_ok());
        let port = PortUse::Reuse;
        watched.handle_established_outbound_connection(made, peer, &far, role, port).unwrap();
        fails(&mut watched, peer, made);
        assert_eq!(watched.inner.told, [("made", wanted), ("failed", wanted)]);
        assert!(watched.instead.known.is_empty() && watched.instead.dropped.is_empty());

        // Where nothing is left, the behaviour is told so.
        let mut watched = Watched::new(Dials::default(), bounds());
        let wanted = wants(&mut watched, peer).unwrap();
        assert!(pending(&mut watched, wanted, &both[..1]).is_err());
        fails(&mut watched, peer, wanted);
        assert_eq!(watched.inner.told, [("failed", wanted)]);
        assert_eq!(dial(&mut watched, peer), None);
    }
}
