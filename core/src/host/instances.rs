//! Which run of a peer's program is at the other end of a connection.
//!
//! A peer that was killed leaves connections that look alive (QUIC notices
//! after seconds), and comes back under the same id. So each start of a host
//! has a random name, told by identify in the agent version:
//! `casm/0.1.0 (instance 0123456789abcdef)`. Two names of one peer mean that
//! it restarted, and that the connections to the former instance are dead.

use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};
use std::collections::{HashMap, HashSet};

const PREFIX: &str = " (instance ";
/// Addresses of a peer that are remembered, to dial it again.
const MAX_ADDRS: usize = 16;
/// Peers that are connected because they were dialled again: nobody else looks
/// after these connections.
const MAX_REDIALLED: usize = 16;

/// The agent version of a host that starts now.
pub(super) fn agent_version() -> String {
    format!("casm/{}{PREFIX}{:016x})", env!("CARGO_PKG_VERSION"), rand::random::<u64>())
}

/// The instance in an agent version. Other implementations have none.
fn instance(agent_version: &str) -> Option<u64> {
    let (_, rest) = agent_version.split_once(PREFIX)?;
    u64::from_str_radix(rest.strip_suffix(')')?, 16).ok()
}

/// What identify told on a connection.
struct Told {
    instance: u64,
    connection: ConnectionId,
    addrs: Vec<Multiaddr>,
}

/// The instances of the connected peers.
#[derive(Default)]
pub(super) struct Instances {
    newest: HashMap<PeerId, Told>,
    restarted: HashSet<PeerId>,
    redialled: HashSet<PeerId>,
}

impl Instances {
    /// Takes note of what a connected peer told. If it told of another instance
    /// before, gives the newer of the two connections.
    pub(super) fn told(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        agent_version: &str,
        mut addrs: Vec<Multiaddr>,
    ) -> Option<ConnectionId> {
        let instance = instance(agent_version)?;
        addrs.truncate(MAX_ADDRS);
        let now = Told { instance, connection, addrs };
        let before = self.newest.entry(peer).or_insert_with(|| Told { addrs: vec![], ..now });
        let restarted = before.instance != instance;
        if connection >= before.connection {
            *before = now;
        }
        restarted.then_some(before.connection)
    }

    /// Has the peer's addresses given back once it is disconnected.
    pub(super) fn redial(&mut self, peer: PeerId) {
        self.restarted.insert(peer);
    }

    /// The last connection of a peer has closed: where to dial it now, unless
    /// many are connected so.
    pub(super) fn disconnected(&mut self, peer: &PeerId) -> Option<Vec<Multiaddr>> {
        self.redialled.remove(peer);
        let restarted = self.restarted.remove(peer);
        let told = self.newest.remove(peer)?;
        if !restarted || self.redialled.len() >= MAX_REDIALLED {
            return None;
        }
        self.redialled.insert(*peer);
        Some(told.addrs)
    }

    /// A peer that was dialled is not connected.
    pub(super) fn not_reached(&mut self, peer: &PeerId) {
        self.redialled.remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_version_tells_the_instance() {
        assert!(instance(&agent_version()).is_some());
        assert_ne!(agent_version(), agent_version());
        assert_eq!(instance("casm/0.1.0 (instance 00000000000000ff)"), Some(255));
        for other in
            ["go-libp2p/0.51", "x (instance )", "x (instance 1", "x (instance 1ffffffffffffffff)"]
        {
            assert_eq!(instance(other), None, "{other}");
        }
    }

    #[test]
    fn only_another_instance_is_a_restart() {
        let (mut instances, peer) = (Instances::default(), PeerId::random());
        let connection = ConnectionId::new_unchecked;
        let addr = |port| vec![format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap(); 20];
        let one = "casm/1 (instance 1)";
        assert_eq!(instances.told(peer, connection(1), one, addr(1)), None);
        assert_eq!(instances.told(peer, connection(2), one, addr(2)), None);
        assert_eq!(instances.told(peer, connection(3), "go-libp2p", addr(3)), None);
        assert_eq!(instances.disconnected(&peer), None);

        // Whichever is identified first.
        for order in [[1, 2], [2, 1]] {
            let [first, then] =
                order.map(|n| (connection(n), format!("casm/1 (instance {n})"), addr(n)));
            assert_eq!(instances.told(peer, first.0, &first.1, first.2), None);
            assert_eq!(instances.told(peer, then.0, &then.1, then.2), Some(connection(2)));
            instances.redial(peer);
            let redial = instances.disconnected(&peer).unwrap();
            assert_eq!(redial, addr(2)[..MAX_ADDRS]);
            assert_eq!(instances.disconnected(&peer), None);
        }
    }
    #[test]
    fn few_peers_are_connected_because_they_were_dialled_again() {
        let mut instances = Instances::default();
        let restart = |instances: &mut Instances, peer| {
            instances.told(peer, ConnectionId::new_unchecked(1), "casm/1 (instance 1)", vec![]);
            instances.redial(peer);
            instances.disconnected(&peer).is_some()
        };
        let peers: Vec<_> = (0..100).map(|_| PeerId::random()).collect();
        let dialled = peers.iter().filter(|peer| restart(&mut instances, **peer)).count();
        assert_eq!(dialled, MAX_REDIALLED);
        // Another for each that is gone.
        assert_eq!(instances.disconnected(&peers[0]), None);
        instances.not_reached(&peers[1]);
        let dialled = peers[20..].iter().filter(|peer| restart(&mut instances, **peer)).count();
        assert_eq!(dialled, 2);
    }
}
