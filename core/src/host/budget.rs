//! How often a target is dialled because others said that a peer is there: a
//! few times, so that nobody can have nodes flood a victim with the addresses of
//! peers that don't exist. Times are since it was made.

use crate::prefix::{Prefix, ip, is_public};
use libp2p::{Multiaddr, multiaddr::Protocol};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

/// Dials of one address and port that may fail at once, and the time after
/// which one more may.
const PORT: (u32, Duration) = (8, Duration::from_secs(10));
/// The same for a network.
const NETWORK: (u32, Duration) = (32, Duration::from_secs(3));
/// The same for a private network, in which a whole cluster may be.
const PRIVATE: (u32, Duration) = (256, Duration::from_secs(1));
/// Targets that are remembered.
const MAX_TARGETS: usize = 8192;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Target {
    Port(IpAddr, u16),
    Network(Prefix),
    Private(IpAddr),
}

/// What is left for each target: when its dials so far are made up for.
#[derive(Debug, Default)]
pub(super) struct Budget(HashMap<Target, Duration>);

impl Budget {
    /// Takes from the budgets of an address's targets, if all have something
    /// left.
    pub(super) fn take(&mut self, addr: &Multiaddr, now: Duration) -> bool {
        let targets = targets(addr);
        if self.0.len() + targets.len() > MAX_TARGETS {
            self.0.retain(|_, free| *free > now);
            if self.0.len() + targets.len() > MAX_TARGETS {
                return false;
            }
        }
        let fits = |(target, (burst, pause)): &(Target, (u32, Duration))| {
            self.free(target, now) + *pause <= now + *pause * *burst
        };
        if !targets.iter().all(fits) {
            return false;
        }
        for (target, (_, pause)) in targets {
            let free = self.free(&target, now) + pause;
            self.0.insert(target, free);
        }
        true
    }

    /// When a target's dials so far are made up for.
    fn free(&self, target: &Target, now: Duration) -> Duration {
        self.0.get(target).map_or(now, |free| now.max(*free))
    }

    /// Gives back what a dial took that reached whom it was to reach.
    pub(super) fn give_back(&mut self, addr: &Multiaddr) {
        for (target, (_, pause)) in targets(addr) {
            if let Some(free) = self.0.get_mut(&target) {
                *free = free.saturating_sub(pause);
            }
        }
    }
}

/// The IP address and port of an address.
pub(super) fn port(addr: &Multiaddr) -> Option<(IpAddr, u16)> {
    let port = addr.iter().find_map(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    });
    Some((ip(addr)?, port?))
}

/// The targets of an address, and their budgets. The ports of this machine are
/// no network that could be flooded.
fn targets(addr: &Multiaddr) -> Vec<(Target, (u32, Duration))> {
    let Some((ip, port)) = port(addr) else { return Vec::new() };
    let mut targets = vec![(Target::Port(ip, port), PORT)];
    match ip {
        _ if ip.is_loopback() => {}
        _ if is_public(ip) => targets.push((Target::Network(ip.into()), NETWORK)),
        IpAddr::V4(ip) => {
            let network = Ipv4Addr::from_bits(ip.to_bits() & (u32::MAX << 8));
            targets.push((Target::Private(network.into()), PRIVATE));
        }
        IpAddr::V6(ip) => {
            let network = Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64));
            targets.push((Target::Private(network.into()), PRIVATE));
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_victim_is_dialled_a_few_times_whoever_is_said_to_be_there() {
        let mut budget = Budget::default();
        let mut now = Duration::ZERO;
        let dials = |budget: &mut Budget, text: &str, now| {
            (0..100).filter(|_| budget.take(&addr(text), now)).count()
        };
        assert_eq!(dials(&mut budget, "/ip4/8.8.8.8/tcp/80", now), 8);
        assert_eq!(dials(&mut budget, "/ip4/8.8.8.8/udp/80/quic-v1", now), 0, "the same port");
        let others: usize =
            (1..100).map(|p| dials(&mut budget, &format!("/ip4/8.8.8.{p}/tcp/{p}"), now)).sum();
        assert_eq!(others, 24, "the same network");
        assert_eq!(dials(&mut budget, "/ip4/8.8.9.8/tcp/80", now), 8);
        now += Duration::from_secs(10);
        assert_eq!(dials(&mut budget, "/ip4/8.8.8.8/tcp/80", now), 1);
        now += Duration::from_secs(3600);
        assert_eq!(dials(&mut budget, "/ip4/8.8.8.8/tcp/80", now), 8);
    }

    #[test]
    fn a_private_network_has_room_for_a_cluster_and_is_not_searched_for_ever() {
        let mut budget = Budget::default();
        let mut dials = |network: &str, now| {
            let ports = (1..=4).flat_map(|port| (1..=250).map(move |host| (host, port)));
            let addrs =
                ports.map(|(host, port)| addr(&format!("/ip4/{network}.{host}/tcp/{port}")));
            addrs.filter(|addr| budget.take(addr, now)).count()
        };
        assert_eq!(dials("10.0.0", Duration::ZERO), 256);
        assert_eq!(dials("10.0.1", Duration::ZERO), 256);
        assert_eq!(dials("10.0.0", Duration::from_secs(9)), 9);
        assert_eq!(dials("127.0.0", Duration::ZERO), 1000, "no network");
    }

    #[test]
    fn who_is_reached_costs_nothing() {
        let mut budget = Budget::default();
        let peer = addr("/ip4/8.8.8.8/tcp/1");
        for _ in 0..100 {
            assert!(budget.take(&peer, Duration::ZERO));
            budget.give_back(&peer);
        }
    }

    #[test]
    fn the_targets_that_are_remembered_are_bounded() {
        let mut budget = Budget::default();
        for i in 0..20_000_u32 {
            let ip = std::net::Ipv4Addr::from_bits(0x0800_0000 + (i << 8));
            budget.take(&addr(&format!("/ip4/{ip}/tcp/1")), Duration::ZERO);
        }
        assert!(budget.0.len() <= MAX_TARGETS);
        // Forgotten when they are made up for.
        assert!(budget.take(&addr("/ip4/7.7.7.7/tcp/1"), Duration::from_secs(60)));
    }
}
