//! The connections with one peer, and which of them gossip uses: a direct one
//! before one over a relay, a newer one before an older one.
//!
//! A peer that restarts (or lost the connection without this side noticing)
//! comes back on a second connection while the first still looks alive: what is
//! for it must not go into the dead one, and it has to be greeted. So a newer
//! connection takes the place of the older one.

use crate::{
    nat::is_relayed,
    prefix::{Prefix, ip},
    spare::Kind,
};
use libp2p::{Multiaddr, core::ConnectedPoint, swarm::ConnectionId};
use smallvec::SmallVec;
use std::time::Duration;

/// Connections in opposite directions that are made within this time of each
/// other are taken for those of two peers that dialled each other at once: each
/// side goes on with the one it saw first. Should it be a restart after all,
/// identify tells ([`Links::restarted`]), or that the older connection fails its
/// ping.
const SIMULTANEOUS: Duration = Duration::from_millis(500);

/// One connection.
#[derive(Debug)]
struct Link {
    id: ConnectionId,
    outbound: bool,
    /// Whether it leads over a relay, or is not to last.
    relayed: bool,
    /// Whether it carries too little for gossip.
    thin: bool,
    since: Duration,
    network: Option<Prefix>,
}

/// What becomes of the connection that gossip uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// The first one is there.
    Connected(Used),
    /// Another one is used from now on.
    Replaced(Used),
    /// There is none any more.
    Disconnected,
}

/// The connection that gossip uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) id: ConnectionId,
    /// Whether this node made it.
    pub(super) outbound: bool,
}

/// The connections with one peer.
#[derive(Debug, Default)]
pub(super) struct Links {
    all: SmallVec<[Link; 1]>,
    used: Option<ConnectionId>,
}

impl Links {
    /// A connection was made, which may be a spare one.
    pub(super) fn opened(
        &mut self,
        id: ConnectionId,
        end: &ConnectedPoint,
        spare: Option<Kind>,
        now: Duration,
    ) -> Change {
        let link = Link {
            id,
            outbound: end.is_dialer(),
            relayed: spare.is_some() || end.is_relayed(),
            thin: spare == Some(Kind::Thin),
            since: now,
            network: network(end.get_remote_address()),
        };
        let before = self.all.iter().find(|link| Some(link.id) == self.used);
        let stays = before.is_some_and(|used| {
            let crossed = used.outbound != link.outbound && now - used.since < SIMULTANEOUS;
            match (used.relayed, link.relayed) {
                (false, true) => true,
                (true, false) => false,
                _ => crossed,
            }
        });
        let used = Used { id, outbound: link.outbound };
        let change = match before {
            _ if link.thin => Change::None,
            None => Change::Connected(used),
            Some(_) if stays => Change::None,
            Some(_) => Change::Replaced(used),
        };
        self.all.push(link);
        if change != Change::None {
            self.used = Some(id);
        }
        change
    }

    /// A connection has closed.
    pub(super) fn closed(&mut self, id: ConnectionId) -> Change {
        self.all.retain(|link| link.id != id);
        if self.used != Some(id) {
            return Change::None;
        }
        // They stand in the order in which they were made.
        let best = self.all.iter().rev().filter(|link| !link.thin).min_by_key(|link| link.relayed);
        let best = best.map(|link| Used { id: link.id, outbound: link.outbound });
        self.used = best.map(|best| best.id);
        best.map_or(Change::Disconnected, Change::Replaced)
    }

    /// The peer at the other end of a connection is another run of its program
    /// than that of the older ones. Gives back those, to be closed.
    pub(super) fn restarted(&mut self, newest: ConnectionId) -> (Change, Vec<ConnectionId>) {
        let Some(link) = self.all.iter().find(|link| link.id == newest) else {
            return (Change::None, Vec::new());
        };
        let used = Used { id: newest, outbound: link.outbound };
        let older = self.all.iter().map(|link| link.id).filter(|id| *id != newest).collect();
        let change = match self.used.replace(newest) {
            Some(before) if before == newest => Change::None,
            _ => Change::Replaced(used),
        };
        (change, older)
    }

    /// The connection that gossip uses.
    pub(super) fn used(&self) -> Option<ConnectionId> {
        self.used
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The networks in which the peer is.
    pub(super) fn networks(&self) -> impl Iterator<Item = Prefix> {
        self.all.iter().filter_map(|link| link.network)
    }
}

/// The network of an address, unless others than the peer stand behind it: a
/// relay's clients, or all programs of this machine.
pub(super) fn network(addr: &Multiaddr) -> Option<Prefix> {
    let own = !is_relayed(addr) && ip(addr).is_some_and(|ip| !ip.is_loopback());
    own.then(|| Prefix::of(addr))
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::core::{Endpoint, transport::PortUse};

    const DIRECT: &str = "/ip4/9.9.9.9/tcp/1";
    const RELAYED: &str =
        "/ip4/8.8.8.8/tcp/1/p2p/12D3KooWDcrd1KztSpK1YeBUAxMdCkgkqUskqe6FxXq6FQFbeKsG/p2p-circuit";

    fn dialled(addr: &str) -> ConnectedPoint {
        ConnectedPoint::Dialer {
            address: addr.parse().unwrap(),
            role_override: Endpoint::Dialer,
            port_use: PortUse::Reuse,
        }
    }

    /// Over a relay, it is the address of the listener that says so.
    fn accepted(addr: &str) -> ConnectedPoint {
        let (local, back) = match addr {
            RELAYED => (RELAYED, "/p2p/12D3KooWDcrd1KztSpK1YeBUAxMdCkgkqUskqe6FxXq6FQFbeKsG"),
            direct => ("/ip4/127.0.0.1/tcp/1", direct),
        };
        ConnectedPoint::Listener {
            local_addr: local.parse().unwrap(),
            send_back_addr: back.parse().unwrap(),
        }
    }

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    fn used(n: usize, outbound: bool) -> Used {
        Used { id: id(n), outbound }
    }

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_newer_connection_takes_the_place_of_an_older_one() {
        let mut links = Links::default();
        assert_eq!(
            links.opened(id(1), &dialled(DIRECT), None, millis(0)),
            Change::Connected(used(1, true))
        );
        let second = links.opened(id(2), &accepted(DIRECT), None, millis(600));
        assert_eq!(second, Change::Replaced(used(2, false)));
        // The other way round than before, whatever the time between.
        let third = links.opened(id(3), &accepted(DIRECT), None, millis(601));
        assert_eq!(third, Change::Replaced(used(3, false)));
        assert_eq!(links.closed(id(1)), Change::None);
        assert_eq!(links.closed(id(3)), Change::Replaced(used(2, false)));
        assert_eq!(links.closed(id(2)), Change::Disconnected);
        assert!(links.is_empty());
    }

    #[test]
    fn who_dial_each_other_at_once_go_on_with_what_they_have() {
        let mut links = Links::default();
        links.opened(id(1), &dialled(DIRECT), None, millis(1000));
        assert_eq!(links.opened(id(2), &accepted(DIRECT), None, millis(1499)), Change::None);
        assert_eq!(links.used(), Some(id(1)));
        // It was a restart.
        assert_eq!(links.restarted(id(2)), (Change::Replaced(used(2, false)), vec![id(1)]));
        assert_eq!(links.closed(id(1)), Change::None);
        assert_eq!(links.restarted(id(2)), (Change::None, vec![]));
        assert_eq!(links.restarted(id(7)), (Change::None, vec![]));
    }

    #[test]
    fn a_direct_connection_comes_before_one_over_a_relay() {
        let mut links = Links::default();
        links.opened(id(1), &accepted(RELAYED), None, millis(0));
        let direct = links.opened(id(2), &dialled(DIRECT), None, millis(100));
        assert_eq!(direct, Change::Replaced(used(2, true)), "also within a moment");
        assert_eq!(links.opened(id(3), &accepted(RELAYED), None, millis(10_000)), Change::None);
        links.opened(id(4), &dialled(DIRECT), None, millis(20_000));
        assert_eq!(links.closed(id(4)), Change::Replaced(used(2, true)));
        assert_eq!(links.closed(id(2)), Change::Replaced(used(3, false)));
    }

    #[test]
    fn who_stands_for_others_is_no_network() {
        let networks = |addr| {
            let mut links = Links::default();
            links.opened(id(1), &accepted(addr), None, millis(0));
            links.networks().collect::<Vec<_>>()
        };
        assert_eq!(networks(DIRECT), [Prefix::of(&DIRECT.parse().unwrap())]);
        assert_eq!(networks(RELAYED), []);
        assert_eq!(network(&RELAYED.parse().unwrap()), None);
        assert_eq!(networks("/ip4/127.0.0.2/tcp/1"), []);
        assert_eq!(networks("/memory/1"), []);
    }
}
