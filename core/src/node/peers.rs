//! Connections that a program makes, ends and looks at.

use super::Node;
use crate::{PeerId, PeerStatus, Result, target::Target};

impl Node {
    /// Connects to a peer, unless it is connected already, and says who it is: to
    /// whoever answers at a multiaddr, or to a peer by its id, its record or its
    /// [`PeerInfo`](crate::PeerInfo). The addresses that are given are tried first, then those in
    /// the peer's record, then those that peer exchange has. Each may take 10 s.
    ///
    /// # Errors
    /// `NotFound` if no address of the peer is known that makes sense here;
    /// `Unreachable` if it answers at none, with what each has answered; `Address` if
    /// all that were given are of QUIC, in a private cluster, and no other is known;
    /// `Invalid` if it is this node itself; `Paused`; `Closed`.
    pub async fn connect(&self, peer: impl Into<Target>) -> Result<PeerId> {
        self.0.connector.connect(peer).await
    }

    /// Closes all connections to a peer. It may come back, and discovery may
    /// find it again.
    pub async fn disconnect(&self, peer: PeerId) {
        self.0.host.disconnect(peer).await;
    }

    /// The peers that are connected now, in the order of their ids.
    pub fn connected(&self) -> Vec<PeerId> {
        self.0.host.connected()
    }

    /// What is known of a connected peer: its addresses, who made the
    /// connection, the round-trip time, the program. `None` if it isn't
    /// connected.
    pub fn peer_status(&self, peer: &PeerId) -> Option<PeerStatus> {
        self.0.host.status(peer)
    }
}
