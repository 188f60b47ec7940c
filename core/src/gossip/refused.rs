//! Who has forged messages, and is not taken back for a while.

use super::{engine::REFUSED, links::network};
use crate::{cache::cache, metrics::ByLabel, prefix::Prefix};
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, dummy,
    },
};
use lru::LruCache;
use std::{
    convert::Infallible,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::time::Instant;

/// Peers, and networks, that are remembered.
const MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("not 0");

/// Why a connection is refused.
#[derive(Debug, thiserror::Error)]
#[error("it has sent forged messages, and is not taken back within five minutes")]
struct Forger;

/// Those who are refused, until when. As a behaviour it has them get no
/// connection: the first of all, so that nobody makes room for them. Clones
/// share it.
#[derive(Clone)]
pub(crate) struct Refused {
    until: Arc<Mutex<LruCache<Whom, Instant>>>,
    counts: ByLabel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Whom {
    Peer(PeerId),
    Network(Prefix),
}

impl Refused {
    /// Counts whom it refuses.
    pub(crate) fn new(counts: ByLabel) -> Self {
        Self { until: Arc::new(Mutex::new(cache(MAX))), counts }
    }

    /// Refuses a peer, and the networks it is in.
    pub(super) fn refuse(&self, peer: PeerId, networks: impl Iterator<Item = Prefix>) {
        let until = Instant::now() + REFUSED;
        let mut refused = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let whom = [Whom::Peer(peer)].into_iter().chain(networks.map(Whom::Network));
        for whom in whom {
            let former = refused.push(whom, until);
            // Who was refused before them may come back too soon.
            if former.is_some_and(|(former, until)| former != whom && until > Instant::now()) {
                self.counts.get_or_create(&[("reason", "too-many-refused")]).inc();
            }
        }
    }

    fn contains(&self, whom: Whom) -> bool {
        let mut refused = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        match refused.peek(&whom) {
            None => false,
            Some(until) if *until > Instant::now() => true,
            Some(_) => {
                refused.pop(&whom);
                false
            }
        }
    }

    fn check(
        &self,
        peer: Option<PeerId>,
        addr: Option<&Multiaddr>,
    ) -> Result<(), ConnectionDenied> {
        let peer = peer.map(Whom::Peer);
        let network = addr.and_then(network).map(Whom::Network);
        match peer.into_iter().chain(network).any(|whom| self.contains(whom)) {
            true => Err(self.deny()),
            false => Ok(()),
        }
    }

    fn deny(&self) -> ConnectionDenied {
        self.counts.get_or_create(&[("reason", "connection-of-forger")]).inc();
        ConnectionDenied::new(Forger)
    }
}

impl NetworkBehaviour for Refused {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.check(None, Some(remote))
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check(Some(peer), Some(remote)).map(|()| dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        // Its neighbours are dialled: this node has its reasons to.
        self.check(peer, None)?;
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check(Some(peer), None).map(|()| dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_forger_and_its_network_are_refused_for_a_while() {
        let (refused, forger, other) =
            (Refused::new(ByLabel::default()), PeerId::random(), PeerId::random());
        let addr = |text: &str| text.parse::<Multiaddr>().unwrap();
        let (there, beside, away) =
            (addr("/ip4/9.9.9.9/tcp/1"), addr("/ip4/9.9.9.8/tcp/2"), addr("/ip4/9.9.8.9/tcp/1"));
        refused.refuse(forger, network(&there).into_iter());
        let is_refused = |peer, addr| refused.check(Some(peer), Some(addr)).is_err();
        assert!(
            is_refused(forger, &away) && is_refused(other, &there) && is_refused(other, &beside)
        );
        assert!(!is_refused(other, &away));
        let mut dialling = refused.clone();
        let mut dial = |peer, addrs: &[&Multiaddr]| {
            let addrs: Vec<_> = addrs.iter().copied().cloned().collect();
            let (id, role) = (ConnectionId::new_unchecked(1), Endpoint::Dialer);
            dialling.handle_pending_outbound_connection(id, peer, &addrs, role).is_ok()
        };
        // Its neighbours don't get in, and can be dialled all the same.
        assert!(!dial(Some(forger), &[&away]) && dial(Some(other), &[&there, &beside]));
        assert!(dial(None, &[&away]) && dial(Some(other), &[]));
        tokio::time::advance(REFUSED).await;
        assert!(!is_refused(forger, &there));

        for _ in 0..3000 {
            refused.refuse(PeerId::random(), std::iter::empty());
        }
        assert_eq!(refused.until.lock().unwrap().len(), MAX.get());
        let forgotten = refused.counts.get_or_create(&[("reason", "too-many-refused")]).get();
        assert_eq!(forgotten, 3000 - MAX.get() as u64);
    }
}
