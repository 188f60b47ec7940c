//! Whether others can reach this node, and where.

use super::denied::{Denied, Witness};
use crate::{
    dials::name,
    prefix::{ip, is_public},
};
use libp2p::Multiaddr;
use std::{collections::BTreeMap, net::IpAddr, time::Duration};

/// Whether others can reach a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reach {
    /// At a public address, as was tried, or as a person or the gateway said.
    Public,
    /// Not directly: it was tried, or relays are used.
    Private,
    /// Nobody has tried yet: there may be no peer that does.
    #[default]
    Unknown,
}

impl Reach {
    /// Its name, as in every language.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Unknown => "unknown",
        }
    }
}

/// How it is known that a node can be reached at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Found {
    /// It was configured (`announce`).
    Announced,
    /// The network's gateway lets others in there (UPnP).
    Mapped,
    /// A peer has dialled it there (AutoNAT v2).
    Dialled,
    /// A relay takes there what is for the node.
    Relay,
}

impl Found {
    /// Its name, as in every language.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Mapped => "mapped",
            Self::Dialled => "dialled",
            Self::Relay => "relay",
        }
    }
}

/// An address at which a node can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachableAddr {
    /// The address, without `/p2p/<id>` of the node.
    pub addr: Multiaddr,
    /// How that is known.
    pub found: Found,
}

/// Whether others can reach a node, and where, the best first. Addresses of its own
/// network are not among them, unless somebody has dialled them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reachability {
    /// Whether they can.
    pub reach: Reach,
    /// Where.
    pub addrs: Vec<ReachableAddr>,
}

/// What is known of it. Times are since it was made.
#[derive(Debug, Default)]
pub(crate) struct Assessment {
    announced: Vec<Multiaddr>,
    pub(crate) mapped: Vec<Multiaddr>,
    /// Addresses that were tried.
    dialled: BTreeMap<Multiaddr, Tried>,
    /// Those of them at which it was reached, and one peer says otherwise.
    denied: Denied,
    pub(crate) relayed: Vec<Multiaddr>,
    /// Whether somebody got in to whom this node had not spoken, by IPv4 and by IPv6.
    strangers: [bool; 2],
    /// Since when peers have got in to whom this node speaks, and nobody else.
    doubted: Option<Duration>,
}

/// What came of the last try.
#[derive(Clone, Copy, Debug)]
struct Tried {
    reached: bool,
    at: Duration,
}

/// Addresses that were tried of which the result is remembered.
const MOST: usize = 64;
/// For how long a result says something: addresses are tried again every 15 to 30 min.
const OLD: Duration = Duration::from_secs(65 * 60);
/// How many relays take what is for a node that can't be reached.
const RELAYS: usize = 2;
/// For how long a node waits for a stranger that gets in, before it has a relay as well.
const STRANGERS: Duration = Duration::from_secs(10);

impl Assessment {
    /// Of a node that is told to announce these addresses.
    pub(crate) fn new(announced: Vec<Multiaddr>) -> Self {
        Self { announced, ..Self::default() }
    }

    /// A peer that was asked says whether this node is reached at an address. The last
    /// word counts, but for that of one alone which denies what was so before. Whether it
    /// counts.
    pub(crate) fn says(
        &mut self,
        by: Witness,
        addr: &Multiaddr,
        reached: bool,
        now: Duration,
    ) -> bool {
        let was = self.dialled.get(addr).is_some_and(|tried| tried.reached);
        let counts = reached || !was || self.denied.says(by, addr, now);
        if counts {
            self.dialled(addr, reached, now);
        }
        counts
    }

    /// Whether one peer alone denies that this node is reached somewhere.
    pub(crate) fn is_denied(&self) -> bool {
        !self.denied.is_empty()
    }

    /// Which of these is to be asked for that, and of which addresses. `random` chooses.
    pub(crate) fn ask_another(
        &self,
        servers: &[Witness],
        now: Duration,
        random: impl FnOnce(usize) -> usize,
    ) -> Option<(usize, Vec<Multiaddr>)> {
        self.denied.next(servers, now, random)
    }

    /// An address was tried. The last try counts.
    pub(crate) fn dialled(&mut self, addr: &Multiaddr, reached: bool, now: Duration) {
        self.denied.retain(|denied| denied != addr);
        if self.dialled.len() < MOST || self.dialled.contains_key(addr) {
            self.dialled.insert(addr.clone(), Tried { reached, at: now });
        }
        self.doubt(now);
    }

    /// Somebody has got in from an address, directly, to whom this node had not spoken.
    /// (Some NATs let in whoever was spoken to, from any port: also the peers that try.)
    pub(crate) fn came(&mut self, from: IpAddr, now: Duration) {
        if is_public(from) {
            self.strangers[usize::from(from.to_canonical().is_ipv6())] = true;
        }
        self.doubt(now);
    }

    /// This node may be elsewhere: what was tried of these says nothing any more.
    pub(crate) fn gone(&mut self, is_gone: impl Fn(&Multiaddr) -> bool, now: Duration) {
        self.dialled.retain(|addr, _| !is_gone(addr));
        self.denied.retain(|addr| !is_gone(addr));
        self.strangers = [false; 2];
        self.doubt(now);
    }

    /// Forgets what is old, since nobody tries it any more. Gives those of them at which
    /// this node was reached.
    pub(crate) fn forget(&mut self, now: Duration) -> Vec<Multiaddr> {
        let is_old = |_: &Multiaddr, tried: &mut Tried| now.saturating_sub(tried.at) >= OLD;
        let old: Vec<_> = self.dialled.extract_if(.., is_old).collect();
        self.denied.retain(|addr| self.dialled.contains_key(addr));
        self.doubt(now);
        old.into_iter().filter(|(_, tried)| tried.reached).map(|(addr, _)| addr).collect()
    }

    fn doubt(&mut self, now: Duration) {
        match self.is_public() && !self.is_proven() {
            true => drop(self.doubted.get_or_insert(now)),
            false => self.doubted = None,
        }
    }

    /// Where this node was reached.
    pub(crate) fn reached(&self) -> impl Iterator<Item = &Multiaddr> {
        self.dialled.iter().filter(|(_, tried)| tried.reached).map(|(addr, _)| addr)
    }

    /// Whether somebody has got to it directly, who is in its network or anywhere.
    pub(crate) fn is_reached(&self) -> bool {
        self.reached().next().is_some()
    }

    /// Whether everybody can get to it, as far as is known.
    pub(crate) fn is_public(&self) -> bool {
        self.is_said() || self.reached().any(public)
    }

    /// Whether a person or the gateway says so.
    fn is_said(&self) -> bool {
        let named = |addr: &Multiaddr| name(addr).is_some() || public(addr);
        self.announced.iter().any(named) || self.mapped.iter().any(public)
    }

    /// Whether that is more than what peers say to whom this node speaks.
    fn is_proven(&self) -> bool {
        let came = |addr: &Multiaddr| {
            public(addr) && ip(addr).is_some_and(|ip| self.strangers[usize::from(ip.is_ipv6())])
        };
        self.is_said() || self.reached().any(came)
    }

    /// How many relays are to take what is for this node, and from when on.
    pub(crate) fn relays(&self) -> (usize, Duration) {
        match self.doubted {
            Some(since) => (1, since + STRANGERS),
            None if self.is_public() => (0, Duration::ZERO),
            None => (RELAYS, Duration::ZERO),
        }
    }

    /// What follows.
    pub(crate) fn now(&self) -> Reachability {
        let reach = match () {
            () if self.is_public() => Reach::Public,
            () if !self.relayed.is_empty() => Reach::Private,
            () if self.dialled.values().any(|tried| !tried.reached) => Reach::Private,
            () => Reach::Unknown,
        };
        let (public, near): (Vec<_>, Vec<_>) = self.reached().partition(|addr| public(addr));
        let dialled = public.into_iter().chain(near);
        let found = self.announced.iter().map(|addr| (addr, Found::Announced));
        let found = found.chain(self.mapped.iter().map(|addr| (addr, Found::Mapped)));
        let found = found.chain(dialled.map(|addr| (addr, Found::Dialled)));
        let found = found.chain(self.relayed.iter().map(|addr| (addr, Found::Relay)));
        let mut addrs: Vec<ReachableAddr> = Vec::new();
        for (addr, found) in found {
            if !addrs.iter().any(|known| known.addr == *addr) {
                addrs.push(ReachableAddr { addr: addr.clone(), found });
            }
        }
        Reachability { reach, addrs }
    }
}

/// Whether an address can be reached from anywhere, as far as it shows.
fn public(addr: &Multiaddr) -> bool {
    ip(addr).is_some_and(is_public)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::PeerId;

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    const NOW: Duration = Duration::from_secs(1);

    #[test]
    fn what_was_tried_and_what_was_said_tell_whether_a_node_is_reached() {
        let (public, home) = (addr("/ip4/8.8.8.8/tcp/1"), addr("/ip4/192.168.1.2/tcp/1"));
        let mut known = Assessment::default();
        assert_eq!(known.now(), Reachability::default());
        known.dialled(&home, true, NOW);
        assert_eq!(known.now().reach, Reach::Unknown, "that is its own network");
        assert!(known.is_reached() && !known.is_public());
        known.dialled(&public, false, NOW);
        assert_eq!(known.now().reach, Reach::Private);
        known.dialled(&public, true, NOW);
        assert_eq!(known.now().reach, Reach::Public);
        let dialled =
            |addr: &Multiaddr| ReachableAddr { addr: addr.clone(), found: Found::Dialled };
        assert_eq!(known.now().addrs, [dialled(&public), dialled(&home)]);
        known.gone(|addr| *addr == public || *addr == home, NOW);
        known.relayed = vec![addr("/ip4/9.9.9.9/tcp/1/p2p-circuit")];
        assert_eq!(known.now().reach, Reach::Private);
        known.announced = vec![public.clone()];
        let now = known.now();
        assert_eq!((now.reach, now.addrs[0].found), (Reach::Public, Found::Announced));
        assert_eq!((now.addrs.len(), now.addrs[1].found), (2, Found::Relay));
    }

    #[test]
    fn an_announced_address_is_public_if_all_can_reach_it_by_its_looks() {
        for (announced, reach) in [
            ("/ip4/8.8.8.8/tcp/1", Reach::Public),
            ("/dns/example.org/tcp/1", Reach::Public),
            ("/dns4/example.org/udp/1/quic-v1", Reach::Public),
            ("/ip6/2001:db8::1/tcp/1", Reach::Public),
            ("/ip4/10.0.0.1/tcp/1", Reach::Unknown),
            ("/ip4/127.0.0.1/tcp/1", Reach::Unknown),
            ("/ip4/100.64.0.1/tcp/1", Reach::Unknown),
            ("/ip6/fd00::1/tcp/1", Reach::Unknown),
        ] {
            let known = Assessment::new(vec![addr(announced)]);
            assert_eq!(known.now().reach, reach, "{announced}");
            assert_eq!(known.relays().0, if reach == Reach::Public { 0 } else { 2 });
            assert_eq!(known.now().addrs.len(), 1, "it is told all the same");
        }
    }

    #[test]
    fn a_node_has_a_relay_until_a_stranger_got_in() {
        let (v4, v6) = (addr("/ip4/8.8.8.8/tcp/1"), addr("/ip6/2001:db8::1/tcp/1"));
        let from = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut known = Assessment::default();
        assert_eq!(known.relays(), (RELAYS, Duration::ZERO));
        known.dialled(&v4, true, NOW);
        known.dialled(&v6, false, 2 * NOW);
        assert_eq!(known.now().reach, Reach::Public);
        assert_eq!(known.relays(), (1, NOW + STRANGERS));
        known.came(from("192.168.1.3"), NOW);
        known.came(from("2001:db8::2"), NOW);
        assert_eq!(known.relays().0, 1, "they may come where others can't");
        known.came(from("::ffff:9.9.9.9"), NOW);
        assert_eq!(known.relays().0, 0);
        known.gone(|_| false, 5 * NOW);
        assert_eq!(known.relays(), (1, 5 * NOW + STRANGERS), "it may have moved");
    }

    #[test]
    fn the_last_try_counts_and_none_for_ever() {
        let (new, old) = (addr("/ip4/8.8.8.8/tcp/1"), addr("/ip4/9.9.9.9/tcp/1"));
        let mut known = Assessment::default();
        known.dialled(&old, true, NOW);
        known.dialled(&new, false, NOW);
        assert!(known.is_public());
        // The router has another address, and lets others in.
        known.dialled(&old, false, 900 * NOW);
        assert_eq!((known.now().reach, known.relays().0), (Reach::Private, RELAYS));
        known.dialled(&new, true, 900 * NOW);
        assert_eq!(known.now().reach, Reach::Public);
        // Nobody tries it any more.
        assert_eq!(known.forget(900 * NOW + OLD - NOW), []);
        assert_eq!(known.forget(900 * NOW + OLD), [new]);
        assert_eq!((known.now(), known.relays().0), (Reachability::default(), RELAYS));
    }

    #[test]
    fn one_peer_alone_makes_no_public_node_private() {
        let at = addr("/ip4/8.8.8.8/tcp/1");
        let witness = |at: &str| Witness::new(PeerId::random(), Some(&addr(at)));
        let (liar, other) = (witness("/ip4/1.1.1.1/tcp/1"), witness("/ip4/9.9.9.9/tcp/1"));
        let mut known = Assessment::default();
        assert!(known.says(liar, &at, false, NOW), "it was never reached there");
        assert_eq!(known.now().reach, Reach::Private);
        assert!(known.says(liar, &at, true, 2 * NOW));
        // It takes that back.
        assert!(!known.says(liar, &at, false, 3 * NOW) && known.is_denied());
        assert_eq!((known.now().reach, known.now().addrs.len()), (Reach::Public, 1));
        let asked = known.ask_another(&[liar, other], 4 * NOW, |_| 0);
        assert_eq!(asked, Some((1, vec![at.clone()])));
        assert!(known.says(other, &at, true, 4 * NOW) && !known.is_denied());
        assert_eq!(known.now().reach, Reach::Public);
        // Two of them say so.
        assert!(!known.says(other, &at, false, 5 * NOW) && known.says(liar, &at, false, 6 * NOW));
        assert_eq!((known.now().reach, known.is_denied()), (Reach::Private, false));
    }

    #[test]
    fn what_is_denied_is_forgotten_with_the_address() {
        let at = addr("/ip4/8.8.8.8/tcp/1");
        let liar = Witness::new(PeerId::random(), None);
        let mut known = Assessment::default();
        let deny = |known: &mut Assessment| {
            known.says(liar, &at, true, NOW);
            assert!(!known.says(liar, &at, false, NOW) && known.is_denied());
        };
        deny(&mut known);
        known.gone(|_| true, NOW);
        assert!(!known.is_denied());
        deny(&mut known);
        assert_eq!(known.forget(NOW + OLD), [at]);
        assert!(!known.is_denied());
    }

    #[test]
    fn results_of_many_addresses_take_no_more_room() {
        let mut known = Assessment::default();
        (1..1000).for_each(|n| known.dialled(&addr(&format!("/ip4/8.8.8.8/tcp/{n}")), false, NOW));
        assert_eq!(known.dialled.len(), MOST);
    }
}
