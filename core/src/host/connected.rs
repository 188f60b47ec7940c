//! The peers that are connected, and what is known of their connections.

use crate::{
    dials::Hearing,
    nat::is_relayed,
    prefix::{Prefix, ip},
};
use libp2p::{Multiaddr, PeerId, core::ConnectedPoint, multiaddr::Protocol, swarm::ConnectionId};
use smallvec::SmallVec;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// The longest name of a program that is kept, in bytes.
const MAX_AGENT: usize = 256;

/// What is known of a connected peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStatus {
    /// The peer.
    pub peer: PeerId,
    /// The other end of each connection, the oldest first.
    pub addrs: Vec<Multiaddr>,
    /// Who made the oldest of them.
    pub direction: Direction,
    /// How long its answer to the last ping took, on the fastest connection;
    /// it is measured every 2 s at one end of a connection and every 30 s at the other,
    /// with low power every minute. `None` before the first answer, and of a peer that
    /// doesn't answer pings.
    pub round_trip: Option<Duration>,
    /// The program and version it says it is; at most 256 bytes, and anything.
    /// `None` until it has said so.
    pub agent: Option<String>,
}

/// Who made a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The peer did.
    Inbound,
    /// This node did.
    Outbound,
}

impl Direction {
    /// Its name, as in every language.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// The connected peers, shared by the task and the handles.
#[derive(Clone, Default)]
pub(super) struct Connected(Arc<Mutex<BTreeMap<PeerId, Peer>>>);

#[derive(Default)]
struct Peer {
    connections: SmallVec<[(ConnectionId, Multiaddr, Direction); 1]>,
    agent: Option<Box<str>>,
}

impl Connected {
    pub(super) fn opened(&self, peer: PeerId, id: ConnectionId, end: &ConnectedPoint) -> Direction {
        let direction = if end.is_dialer() { Direction::Outbound } else { Direction::Inbound };
        let mut addr = match end {
            // The other end has no other address than that of the relay.
            ConnectedPoint::Listener { local_addr, .. } if end.is_relayed() => local_addr.clone(),
            _ => end.get_remote_address().clone(),
        };
        // Which a dial of the peer ends with.
        if matches!(addr.iter().last(), Some(Protocol::P2p(_))) {
            addr.pop();
        }
        self.with(|peers| peers.entry(peer).or_default().connections.push((id, addr, direction)));
        direction
    }

    pub(super) fn closed(&self, peer: &PeerId, id: ConnectionId) {
        self.with(|peers| {
            let Some(known) = peers.get_mut(peer) else { return };
            known.connections.retain(|(other, ..)| *other != id);
            if known.connections.is_empty() {
                peers.remove(peer);
            }
        });
    }

    /// Forgets all of them, and gives back who they were.
    pub(super) fn clear(&self) -> Vec<PeerId> {
        self.with(std::mem::take).into_keys().collect()
    }

    /// The connections with a peer, the oldest first, and where this node dialled it.
    pub(super) fn with_peer(&self, peer: &PeerId) -> (Vec<ConnectionId>, Vec<Multiaddr>) {
        self.with(|peers| {
            let connections = peers.get(peer).into_iter().flat_map(|known| &known.connections);
            let dialled = |(_, addr, direction): &(_, Multiaddr, _)| {
                (*direction == Direction::Outbound).then(|| addr.clone())
            };
            (
                connections.clone().map(|(id, ..)| *id).collect(),
                connections.filter_map(dialled).collect(),
            )
        })
    }

    pub(super) fn identified(&self, peer: &PeerId, agent: &str) {
        let agent = &agent[..agent.floor_char_boundary(MAX_AGENT)];
        self.with(|peers| {
            if let Some(known) = peers.get_mut(peer) {
                known.agent = Some(agent.into());
            }
        });
    }

    /// Their ids, in order.
    pub(super) fn ids(&self) -> Vec<PeerId> {
        self.with(|peers| peers.keys().copied().collect())
    }

    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.with(|peers| peers.contains_key(peer))
    }

    /// The network that a peer is in, by its oldest connection.
    pub(super) fn network(&self, peer: &PeerId) -> Option<Prefix> {
        self.with(|peers| {
            let (_, addr, _) = peers.get(peer)?.connections.first()?;
            Some(Prefix::of_peer(addr))
        })
    }

    /// Where what a peer tells is said: of several connections, the nearest.
    pub(super) fn hears(&self, peer: &PeerId, own: &[Multiaddr]) -> Hearing {
        self.with(|peers| {
            let connections = peers.get(peer).into_iter().flat_map(|known| &known.connections);
            // A relay of this machine may have it from anywhere.
            let tells =
                |addr: &Multiaddr| ip(addr).filter(|ip| !(is_relayed(addr) && ip.is_loopback()));
            Hearing::new(connections.filter_map(|(_, addr, _)| tells(addr)), own)
        })
    }

    /// The other end of a connection that leads over no relay, and who made it.
    pub(super) fn direct(&self, peer: &PeerId, id: ConnectionId) -> Option<(Multiaddr, Direction)> {
        self.with(|peers| {
            let mut connections = peers.get(peer)?.connections.iter();
            let (_, addr, direction) = connections.find(|(other, ..)| *other == id)?;
            (!is_relayed(addr)).then(|| (addr.clone(), *direction))
        })
    }

    /// What is known of a peer, but for its round-trip time.
    pub(super) fn status(&self, peer: &PeerId) -> Option<PeerStatus> {
        self.with(|peers| {
            let known = peers.get(peer)?;
            let (.., direction) = known.connections.first()?;
            Some(PeerStatus {
                peer: *peer,
                addrs: known.connections.iter().map(|(_, addr, _)| addr.clone()).collect(),
                direction: *direction,
                round_trip: None,
                agent: known.agent.as_deref().map(str::to_owned),
            })
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<PeerId, Peer>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
