//! Whether others can reach this node, and where.

use crate::prefix::{ip, is_public};
use libp2p::Multiaddr;
use std::collections::BTreeMap;

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

/// What is known of it.
#[derive(Debug, Default)]
pub(crate) struct Assessment {
    announced: Vec<Multiaddr>,
    pub(crate) mapped: Vec<Multiaddr>,
    /// Addresses that were tried, and whether with success.
    dialled: BTreeMap<Multiaddr, bool>,
    pub(crate) relayed: Vec<Multiaddr>,
}

/// Addresses that were tried of which the result is remembered.
const MOST: usize = 64;

impl Assessment {
    /// Of a node that is told to announce these addresses.
    pub(crate) fn new(announced: Vec<Multiaddr>) -> Self {
        Self { announced, ..Self::default() }
    }

    /// A peer has tried an address. What has worked once works, until this node moves:
    /// another peer may not get there.
    pub(crate) fn dialled(&mut self, addr: &Multiaddr, reached: bool) {
        if self.dialled.len() < MOST || self.dialled.contains_key(addr) {
            *self.dialled.entry(addr.clone()).or_default() |= reached;
        }
    }

    /// This node may be elsewhere: what was tried of these says nothing any more.
    pub(crate) fn gone(&mut self, is_gone: impl Fn(&Multiaddr) -> bool) {
        self.dialled.retain(|addr, _| !is_gone(addr));
    }

    /// Whether somebody has got to it directly, who is in its network or anywhere.
    pub(crate) fn is_reached(&self) -> bool {
        self.dialled.values().any(|reached| *reached)
    }

    /// Whether everybody can get to it, as far as is known.
    pub(crate) fn is_public(&self) -> bool {
        let public = |addr: &Multiaddr| ip(addr).is_some_and(is_public);
        let reached = |(addr, reached): (&Multiaddr, &bool)| *reached && public(addr);
        !self.announced.is_empty()
            || self.mapped.iter().any(public)
            || self.dialled.iter().any(reached)
    }

    /// What follows.
    pub(crate) fn now(&self) -> Reachability {
        let reach = match () {
            () if self.is_public() => Reach::Public,
            () if !self.relayed.is_empty() => Reach::Private,
            () if self.dialled.values().any(|reached| !reached) => Reach::Private,
            () => Reach::Unknown,
        };
        let dialled = self.dialled.iter().filter(|(_, reached)| **reached).map(|(addr, _)| addr);
        let (public, near): (Vec<_>, Vec<_>) = dialled.partition(|a| ip(a).is_some_and(is_public));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_was_tried_and_what_was_said_tell_whether_a_node_is_reached() {
        let (public, home) = (addr("/ip4/8.8.8.8/tcp/1"), addr("/ip4/192.168.1.2/tcp/1"));
        let mut known = Assessment::default();
        assert_eq!(known.now(), Reachability::default());
        known.dialled(&home, true);
        assert_eq!(known.now().reach, Reach::Unknown, "that is its own network");
        assert!(known.is_reached() && !known.is_public());
        known.dialled(&public, false);
        assert_eq!(known.now().reach, Reach::Private);
        known.dialled(&public, true);
        known.dialled(&public, false);
        assert_eq!(known.now().reach, Reach::Public);
        let dialled =
            |addr: &Multiaddr| ReachableAddr { addr: addr.clone(), found: Found::Dialled };
        assert_eq!(known.now().addrs, [dialled(&public), dialled(&home)]);
        known.gone(|addr| *addr == public || *addr == home);
        known.relayed = vec![addr("/ip4/9.9.9.9/tcp/1/p2p-circuit")];
        assert_eq!(known.now().reach, Reach::Private);
        known.announced = vec![public.clone()];
        let now = known.now();
        assert_eq!((now.reach, now.addrs[0].found), (Reach::Public, Found::Announced));
        assert_eq!((now.addrs.len(), now.addrs[1].found), (2, Found::Relay));
    }

    #[test]
    fn results_of_many_addresses_take_no_more_room() {
        let mut known = Assessment::default();
        (1..1000).for_each(|n| known.dialled(&addr(&format!("/ip4/8.8.8.8/tcp/{n}")), false));
        assert_eq!(known.dialled.len(), MOST);
    }
}
