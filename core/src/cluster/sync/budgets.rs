//! How often peers may open exchanges, how much they are handed, and how many
//! signatures are checked for them. It is remembered beyond their connections. Pure: the time is an argument.

use super::exchange::Purpose;
use crate::{
    cache::cache,
    prefix::Prefix,
    spent::{Limit, Spent},
};
use libp2p::PeerId;
use lru::LruCache;
use std::{hash::Hash, num::NonZeroUsize, time::Duration};

/// How many peers and networks are remembered; then the ones of which nothing
/// was heard longest are forgotten.
const MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("not 0");
/// How many comparisons a peer may open in a row, as many as a large table takes,
/// and how many in a second on average.
const OPENS: Limit = Limit { most: 64.0, a_second: 1.0 / 3.0 };
/// How many times as many the peers of a network may: each costs a look at the
/// whole table.
const OPENS_OF_NETWORK: f64 = 8.0;
/// How often it may tell of goodbyes.
const PUSHES: Limit = Limit { most: 256.0, a_second: 10.0 };
/// How often unknown peers that another brings show that gossip leaves something
/// out: of one network (or one peer of this machine), and of all. Anybody can make
/// peers up.
const UNSETTLED: Limit = Limit { most: 2.0, a_second: 1.0 / 300.0 };
const UNSETTLED_BY_ALL: Limit = Limit { most: 8.0, a_second: 1.0 / 60.0 };
/// How often heartbeats of this node's own that it did not send do. Those of former
/// runs are had by anybody.
const UNSETTLED_BY_OWN: Limit = Limit { most: 64.0, a_second: 0.1 };
/// How many signatures are checked of what a peer hands over, in a row, as many
/// as the largest table has by default, and in a second on average; and of the
/// goodbyes that it pushes, as many as are kept.
const CHECKS: Limit = Limit { most: 131_072.0, a_second: 1024.0 };
const PUSHED_CHECKS: Limit = Limit { most: 8192.0, a_second: 64.0 };
/// How many times as many for the peers of a network.
const CHECKS_OF_NETWORK: f64 = 2.0;
/// How many times all that this node has it hands to a peer in a minute, and to
/// the peers of a network.
const TABLES: f64 = 2.0;
const TABLES_OF_NETWORK: f64 = 16.0;
/// What is taken for a table at least, in bytes.
const LEAST_TABLE: usize = 64 << 10;
/// Bytes that this node hands over in a second.
const RATE: f64 = (4 << 20) as f64;

#[derive(Default)]
struct OfPeer {
    opens: Spent,
    pushes: Spent,
    bytes: Spent,
    checks: Checks,
    unsettled: Spent,
}

#[derive(Default)]
struct OfNetwork {
    opens: Spent,
    bytes: Spent,
    checks: Checks,
    unsettled: Spent,
}

/// Signatures that were checked of what was handed over, and of what was pushed.
#[derive(Default)]
struct Checks {
    compared: Spent,
    pushed: Spent,
}

impl Checks {
    fn one(&mut self, purpose: Purpose, times: f64, now: Duration) -> bool {
        let (spent, limit) = match purpose {
            Purpose::Compare => (&mut self.compared, CHECKS),
            Purpose::Push => (&mut self.pushed, PUSHED_CHECKS),
        };
        spent.one(limit.times(times), now)
    }
}

/// What is left for whom.
pub(super) struct Budgets {
    peers: LruCache<PeerId, OfPeer>,
    networks: LruCache<Prefix, OfNetwork>,
    /// Until when this node has handed over what it may.
    until: Duration,
    unsettled: Spent,
    unsettled_by_own: Spent,
}

impl Default for Budgets {
    fn default() -> Self {
        let (peers, networks) = (cache(MAX), cache(MAX));
        let (unsettled, unsettled_by_own) = (Spent::default(), Spent::default());
        Self { peers, networks, until: Duration::ZERO, unsettled, unsettled_by_own }
    }
}

impl Budgets {
    /// Whether a peer may open a comparison now.
    pub(super) fn opens(&mut self, peer: PeerId, network: Option<Prefix>, now: Duration) -> bool {
        let all = OPENS.times(OPENS_OF_NETWORK);
        of(&mut self.peers, peer).opens.one(OPENS, now)
            && network.is_none_or(|network| of(&mut self.networks, network).opens.one(all, now))
    }

    /// Whether a peer may tell of goodbyes now.
    pub(super) fn pushes(&mut self, peer: PeerId, now: Duration) -> bool {
        of(&mut self.peers, peer).pushes.one(PUSHES, now)
    }

    /// Whether the unknown peers that a peer brought count as a sign now.
    pub(super) fn unsettles(
        &mut self,
        peer: PeerId,
        network: Option<Prefix>,
        now: Duration,
    ) -> bool {
        let by = match network {
            Some(network) => &mut of(&mut self.networks, network).unsettled,
            None => &mut of(&mut self.peers, peer).unsettled,
        };
        by.one(UNSETTLED, now) && self.unsettled.one(UNSETTLED_BY_ALL, now)
    }

    /// Whether heartbeats of this node's own that it did not send count as a sign
    /// now.
    pub(super) fn unsettles_own(&mut self, now: Duration) -> bool {
        self.unsettled_by_own.one(UNSETTLED_BY_OWN, now)
    }

    /// Whether another signature of a peer's is checked now.
    pub(super) fn checks(
        &mut self,
        peer: PeerId,
        network: Option<Prefix>,
        purpose: Purpose,
        now: Duration,
    ) -> bool {
        of(&mut self.peers, peer).checks.one(purpose, 1.0, now)
            && network.is_none_or(|network| {
                let checks = &mut of(&mut self.networks, network).checks;
                checks.one(purpose, CHECKS_OF_NETWORK, now)
            })
    }

    /// Whether a peer may have anything of a table of so many bytes now.
    pub(super) fn may_have(
        &mut self,
        peer: PeerId,
        network: Option<Prefix>,
        table: usize,
        now: Duration,
    ) -> bool {
        let table = table.max(LEAST_TABLE) as f64;
        let limit = |tables: f64| Limit { most: tables * table, a_second: tables * table / 60.0 };
        of(&mut self.peers, peer).bytes.left(limit(TABLES), now) > 0.0
            && network.is_none_or(|network| {
                of(&mut self.networks, network).bytes.left(limit(TABLES_OF_NETWORK), now) > 0.0
            })
    }

    /// Counts bytes that a peer is handed. Gives how long to wait before they
    /// are sent.
    pub(super) fn hand(
        &mut self,
        peer: PeerId,
        network: Option<Prefix>,
        bytes: usize,
        now: Duration,
    ) -> Duration {
        of(&mut self.peers, peer).bytes.spend(bytes as f64);
        if let Some(network) = network {
            of(&mut self.networks, network).bytes.spend(bytes as f64);
        }
        // A second's worth may go at once.
        let from = self.until.max(now.saturating_sub(Duration::from_secs(1)));
        self.until = from.saturating_add(Duration::from_secs_f64(bytes as f64 / RATE));
        self.until.saturating_sub(now)
    }
}

fn of<K: Hash + Eq, V: Default>(known: &mut LruCache<K, V>, key: K) -> &mut V {
    known.get_or_insert_mut(key, V::default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    const TABLE: usize = 1 << 20;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// How many tables a peer gets now, one after the other.
    fn tables(budgets: &mut Budgets, peer: PeerId, network: Option<Prefix>, now: u64) -> usize {
        let take = |budgets: &mut Budgets| {
            let may = budgets.may_have(peer, network, TABLE, secs(now));
            if may {
                budgets.hand(peer, network, TABLE, secs(now));
            }
            may
        };
        (0..100).take_while(|_| take(budgets)).count()
    }

    #[test]
    fn a_peer_has_two_tables_a_minute_and_a_network_sixteen() {
        let mut budgets = Budgets::default();
        let network: Prefix = IpAddr::from([8, 8, 8, 8]).into();
        let peer = PeerId::random();
        assert_eq!(tables(&mut budgets, peer, None, 0), 2);
        assert_eq!(tables(&mut budgets, peer, None, 1), 1, "what was earned, begun");
        assert_eq!(tables(&mut budgets, peer, None, 200), 2);
        let of_many = |budgets: &mut Budgets, now| -> usize {
            (0..50).map(|_| tables(budgets, PeerId::random(), Some(network), now)).sum()
        };
        assert_eq!(of_many(&mut budgets, 300), 16);
        assert_eq!(of_many(&mut budgets, 400), 16);
        // Others are not concerned.
        let other = IpAddr::from([8, 8, 9, 8]).into();
        assert_eq!(tables(&mut budgets, PeerId::random(), Some(other), 400), 2);
    }

    #[test]
    fn all_that_is_handed_over_is_four_mebibytes_a_second() {
        let (mut budgets, mut sent) = (Budgets::default(), 0.0);
        let mut now = secs(10);
        while now < secs(20) {
            now += budgets.hand(PeerId::random(), None, 4096, now);
            sent += 4096.0;
        }
        // Ten seconds, and one at once.
        assert!((sent / RATE - 11.0).abs() < 0.01, "{sent}");
    }

    #[test]
    fn peers_that_are_made_up_unsettle_a_node_now_and_then() {
        let mut budgets = Budgets::default();
        let network = |n| Some(IpAddr::from([8, 8, n, 8]).into());
        let mut unsettles = |network, now| {
            let times =
                (0..600).filter(|_| budgets.unsettles(PeerId::random(), network, secs(now)));
            times.count()
        };
        assert_eq!(unsettles(network(0), 0), 2);
        let many: usize = (1..200).map(|n| unsettles(network(n), 1)).sum();
        assert_eq!(many, 6, "eight of all");
        assert_eq!(unsettles(network(0), 310), 1);
        assert_eq!(unsettles(network(200), 310), 2);
        assert_eq!(unsettles(None, 10_000), 8, "each peer of this machine counts by itself");
    }

    #[test]
    fn signatures_that_are_checked_are_counted_by_peer_and_network() {
        let network: Option<Prefix> = Some(IpAddr::from([8, 8, 8, 8]).into());
        let mut budgets = Budgets::default();
        let mut checks = |peer, network, purpose, now| {
            (0..200_000).filter(|_| budgets.checks(peer, network, purpose, secs(now))).count()
        };
        let one = PeerId::random();
        assert_eq!(checks(one, None, Purpose::Push, 0), 8192);
        assert_eq!(checks(one, None, Purpose::Push, 1), 64);
        assert_eq!(checks(one, None, Purpose::Compare, 1), 131_072);
        let pushed: usize =
            (0..9).map(|_| checks(PeerId::random(), network, Purpose::Push, 0)).sum();
        assert_eq!(pushed, 2 * 8192);
        let compared: usize =
            (0..4).map(|_| checks(PeerId::random(), network, Purpose::Compare, 0)).sum();
        assert_eq!(compared, 2 * 131_072);
    }

    #[test]
    fn streams_are_counted_and_few_peers_are_remembered() {
        let (mut budgets, peer) = (Budgets::default(), PeerId::random());
        let opens = |budgets: &mut Budgets, now| {
            (0..100).filter(|_| budgets.opens(peer, None, secs(now))).count()
        };
        assert_eq!(opens(&mut budgets, 0), 64);
        assert_eq!(opens(&mut budgets, 1), 0);
        assert_eq!(opens(&mut budgets, 10), 3);
        assert_eq!((0..999).filter(|_| budgets.pushes(peer, secs(0))).count(), 256);
        for _ in 0..2 * MAX.get() {
            budgets.opens(PeerId::random(), None, secs(0));
        }
        assert_eq!(budgets.peers.len(), MAX.get());
        let network: Option<Prefix> = Some(IpAddr::from([8, 8, 8, 8]).into());
        let of_many = (0..999).filter(|_| budgets.opens(PeerId::random(), network, secs(0)));
        assert_eq!(of_many.count(), 8 * 64);
    }
}
