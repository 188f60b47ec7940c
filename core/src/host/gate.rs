//! Who gets a connection at all: the part in the swarm that asks [`Who`], before any
//! other part has seen the peer, and the [`Door`] before a handshake is begun.

use super::{
    admission::{self, Closed},
    door::{Door, Origin},
};
use crate::{
    Error, ErrorKind,
    metrics::{ByLabel, Metrics},
    who::{Stranger, Who},
};
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ListenFailure, dummy,
    },
};
use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// Why no handshake is begun.
#[derive(Debug, thiserror::Error)]
#[error("too many handshakes with this network have shown peers that are not taken")]
struct Wasted;

/// Counts whom it refuses, whichever swarm they came to. Clones share it.
#[derive(Clone)]
pub(super) struct Gate {
    who: Who,
    refused: ByLabel,
}

impl Gate {
    pub(super) fn new(who: Who, metrics: &Metrics) -> Self {
        let refused = ByLabel::default();
        metrics.register(
            "strangers_refused",
            "Connections that were refused or closed because of who the peer is, by reason",
            refused.clone(),
        );
        Self { who, refused }
    }

    pub(super) fn who(&self) -> &Who {
        &self.who
    }

    /// A connection was closed since its peer is no longer taken.
    pub(super) fn put_out(&self) {
        self.count("put-out");
    }

    /// Whether a peer may be dialled.
    ///
    /// # Errors
    /// What to tell who wants to: `Unreachable`.
    pub(super) fn dials(&self, peer: &PeerId) -> Result<(), Error> {
        self.check(peer).map_err(|stranger| refused(&peer.to_string(), stranger))
    }

    /// The part of a swarm.
    pub(super) fn behaviour(&self) -> Behaviour {
        Behaviour { gate: self.clone(), door: Door::new(), started: Instant::now() }
    }

    fn check(&self, peer: &PeerId) -> Result<(), Stranger> {
        self.who.check(peer).inspect_err(|stranger| self.count(stranger.label()))
    }

    fn proven(&self, peer: &PeerId) -> Result<(), Stranger> {
        self.who.proven(peer).inspect_err(|stranger| self.count(stranger.label()))
    }

    fn count(&self, reason: &'static str) {
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }
}

/// The error of a peer that is not dialled, or not kept when it turned out to be at an
/// address.
fn refused(whom: &str, stranger: Stranger) -> Error {
    let message = format!("{whom} is not connected to: {stranger}; {}", stranger.remedy());
    Error::new(ErrorKind::Unreachable, message)
}

/// The error of a dial that this part has refused.
pub(super) fn refusal(whom: &str, error: &DialError) -> Option<Error> {
    let DialError::Denied { cause } = error else { return None };
    Some(refused(whom, *cause.downcast_ref::<Stranger>()?))
}

pub(super) struct Behaviour {
    gate: Gate,
    door: Door,
    started: Instant,
}

impl Behaviour {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        _: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.door.admits(Origin::new(local, remote), self.now()) {
            return Ok(());
        }
        self.gate.count("no-handshake");
        Err(ConnectionDenied::new(Wasted))
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let (now, from) = (self.now(), Origin::new(local, remote));
        if let Err(stranger) = self.gate.proven(&peer) {
            tracing::debug!(%peer, %remote, reason = stranger.label(), "a peer is not taken");
            self.door.wasted(from, now);
            return Err(ConnectionDenied::new(stranger));
        }
        self.door.member(from, now);
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        // Else who is there is seen when the connection is made.
        if let Some(peer) = peer {
            self.gate.check(&peer).map_err(ConnectionDenied::new)?;
        }
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
        self.gate.proven(&peer).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        // One that did not pass the gate of certificates has cost as much.
        if let FromSwarm::ListenFailure(failure) = event
            && let ListenFailure { local_addr, send_back_addr, error, .. } = failure
            && let Some(closed) = admission::closed(error)
        {
            let (now, from) = (self.now(), Origin::new(local_addr, send_back_addr));
            match closed {
                // Members, too, give up dials when another one of theirs was faster.
                Closed::Io(_) => self.door.given_up(from, now),
                _ => self.door.wasted(from, now),
            }
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

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}
