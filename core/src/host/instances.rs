//! Which run of a peer's program is at the other end of a connection.
//!
//! A peer that was killed leaves connections that look alive (QUIC notices
//! after seconds), and comes back under the same id. So each start of a host
//! has a random name, told by identify in the agent version:
//! `casm/0.1.0 (instance 0123456789abcdef)`, and `…, low power)` of one that runs on a
//! battery and is to be pinged seldom. Two names of one peer mean that
//! it restarted, and that the connections to the former instance are dead.
//!
//! Unless a former name comes back on a newer connection: then two nodes that
//! run have the same key. If each closed the other's connections here, both would
//! come back for ever; so all of them stay for a while, and the dead ones among
//! them are left to ping.

use crate::cache::cache;
use libp2p::{PeerId, swarm::ConnectionId};
use lru::LruCache;
use smallvec::SmallVec;
use std::{collections::HashMap, num::NonZeroUsize, time::Duration};

const PREFIX: &str = " (instance ";
/// Peers whose former instances are remembered, and how many of each.
const MAX_FORMER: NonZeroUsize = NonZeroUsize::new(1024).expect("not 0");
const FORMER: usize = 8;
/// For how long after an instance came that differs from the last one a peer's id
/// counts as that of several nodes.
const SHARED: Duration = Duration::from_secs(600);

/// How one says that it is to be pinged seldom.
const SELDOM: &str = ", low power";

/// The agent version of a host that starts now, which is to be pinged seldom or not.
pub(super) fn agent_version(seldom: bool) -> String {
    let (version, seldom) = (env!("CARGO_PKG_VERSION"), if seldom { SELDOM } else { "" });
    format!("casm/{version}{PREFIX}{:016x}{seldom})", rand::random::<u64>())
}

/// The instance in an agent version. Other implementations have none.
fn instance(agent_version: &str) -> Option<u64> {
    let (_, rest) = agent_version.split_once(PREFIX)?;
    let name = rest.strip_suffix(')')?;
    u64::from_str_radix(name.strip_suffix(SELDOM).unwrap_or(name), 16).ok()
}

/// Whether an agent version is that of a node of ours that is to be pinged seldom.
pub(super) fn is_pinged_seldom(agent_version: &str) -> bool {
    is_ours(agent_version) && agent_version.ends_with(", low power)")
}

/// Whether an agent version is that of a node of ours.
pub(super) fn is_ours(agent_version: &str) -> bool {
    instance(agent_version).is_some()
}

/// What is remembered of a peer beyond its connections.
#[derive(Default)]
struct Former {
    /// The last ones.
    instances: SmallVec<[u64; FORMER]>,
    /// Until when its id is that of several nodes.
    shared: Option<Duration>,
}

/// Another instance than the last one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Other {
    /// The peer restarted; the newer of its connections.
    Restarted(ConnectionId),
    /// Two nodes that run have the peer's key; whether that is news.
    Shared(bool),
}

/// The instances of peers.
pub(super) struct Instances {
    /// Of the connected peers, and on which connection identify told of it.
    newest: HashMap<PeerId, (u64, ConnectionId)>,
    former: LruCache<PeerId, Former>,
}

impl Default for Instances {
    fn default() -> Self {
        Self { newest: HashMap::new(), former: cache(MAX_FORMER) }
    }
}

impl Instances {
    /// Takes note of what a connected peer told, and says if it told of another
    /// instance before.
    pub(super) fn told(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        agent_version: &str,
        now: Duration,
    ) -> Option<Other> {
        let instance = instance(agent_version)?;
        let told = (instance, connection);
        let newest = self.newest.entry(peer).or_insert(told);
        let differs = newest.0 != instance;
        let newer = connection >= newest.1;
        if newer {
            *newest = told;
        }
        let former = self.former.get_or_insert_mut(peer, Former::default);
        // No run has the name of a former one: another ran all the time.
        let back = newer && former.comes_back(instance);
        if !differs && !back {
            return None;
        }
        let known = former.shared.is_some_and(|until| now < until);
        if !back && !known {
            return Some(Other::Restarted(newest.1));
        }
        former.shared = Some(now.saturating_add(SHARED));
        Some(Other::Shared(!known))
    }

    /// The last connection of a peer has closed.
    pub(super) fn disconnected(&mut self, peer: &PeerId) {
        self.newest.remove(peer);
    }
}

impl Former {
    /// Notes an instance. Whether it was here before the last one.
    fn comes_back(&mut self, instance: u64) -> bool {
        if self.instances.last() == Some(&instance) {
            return false;
        }
        let before = self.instances.iter().position(|other| *other == instance);
        match before {
            Some(at) => drop(self.instances.remove(at)),
            None if self.instances.len() == FORMER => drop(self.instances.remove(0)),
            None => {}
        }
        self.instances.push(instance);
        before.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_version_tells_the_instance() {
        for seldom in [false, true] {
            let agent = agent_version(seldom);
            assert!(instance(&agent).is_some() && is_ours(&agent));
            assert_eq!(is_pinged_seldom(&agent), seldom);
            assert_ne!(agent, agent_version(seldom));
        }
        assert!(!is_pinged_seldom("go-libp2p (x, low power)"));
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
        let (one, now) = ("casm/1 (instance 1)", Duration::ZERO);
        assert_eq!(instances.told(peer, connection(1), one, now), None);
        assert_eq!(instances.told(peer, connection(2), one, now), None);
        assert_eq!(instances.told(peer, connection(3), "go-libp2p", now), None);
        instances.disconnected(&peer);

        // Whichever is identified first.
        for order in [[1, 2], [2, 1]] {
            let peer = PeerId::random();
            let [first, then] = order.map(|n| (connection(n), format!("casm/1 (instance {n})")));
            assert_eq!(instances.told(peer, first.0, &first.1, now), None);
            let restarted = Some(Other::Restarted(connection(2)));
            assert_eq!(instances.told(peer, then.0, &then.1, now), restarted);
            instances.disconnected(&peer);
            // The new one comes back.
            assert_eq!(instances.told(peer, connection(3), "x (instance 2)", now), None);
        }
    }

    /// What each connection of a peer, by its instance and the second in which it
    /// is made, is taken for.
    fn taken(instances: &mut Instances, peer: PeerId, made: &[(u64, u64)]) -> Vec<Option<Other>> {
        let mut next = instances
            .newest
            .get(&peer)
            .map_or(1, |told| told.1.to_string().parse::<usize>().unwrap() + 1);
        let each = made.iter().map(|(instance, secs)| {
            let connection = ConnectionId::new_unchecked(next);
            next += 1;
            let agent = format!("casm/1 (instance {instance:x})");
            instances.told(peer, connection, &agent, Duration::from_secs(*secs))
        });
        each.collect()
    }

    #[test]
    fn a_former_instance_that_comes_back_is_another_node_with_the_key() {
        let (mut instances, peer) = (Instances::default(), PeerId::random());
        let restarted = |n| Some(Other::Restarted(ConnectionId::new_unchecked(n)));
        let shared = |news| Some(Other::Shared(news));
        let made = [(1, 0), (2, 1), (1, 2), (2, 3), (3, 4), (1, 5), (1, 6)];
        let expected = [
            None,
            restarted(2),
            shared(true),
            shared(false),
            // A third copy, or a restart of one of the two.
            shared(false),
            shared(false),
            None,
        ];
        assert_eq!(taken(&mut instances, peer, &made), expected);
        // A restart after one of the two was gone for long.
        assert_eq!(taken(&mut instances, peer, &[(4, 700)]), [restarted(8)]);
        // All were disconnected meanwhile.
        instances.disconnected(&peer);
        assert_eq!(taken(&mut instances, peer, &[(1, 1400)]), [shared(true)]);
        let restarts: Vec<_> = (10..30).map(|n| (n, 3000)).collect();
        let taken = taken(&mut instances, PeerId::random(), &restarts);
        assert!(taken[1..].iter().all(|other| matches!(other, Some(Other::Restarted(_)))));
    }

    #[test]
    fn what_is_remembered_of_former_instances_is_bounded() {
        let mut instances = Instances::default();
        for _ in 0..2000 {
            let peer = PeerId::random();
            taken(&mut instances, peer, &(0..20).map(|n| (n, 0)).collect::<Vec<_>>());
            instances.disconnected(&peer);
        }
        assert_eq!(instances.former.len(), MAX_FORMER.get());
        assert!(instances.former.iter().all(|(_, former)| former.instances.len() == FORMER));
    }
}
