//! Rate limits: one for all, and one per source. Time is an argument.

use crate::{cache::cache, prefix::Prefix};
use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use lru::LruCache;
use std::{
    net::{IpAddr, Ipv6Addr},
    num::{NonZeroU32, NonZeroUsize},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A clock that stands where it was last set.
#[derive(Clone, Debug)]
struct SetClock {
    start: Instant,
    nanos: Arc<AtomicU64>,
}

impl SetClock {
    fn set(&self, now: Instant) {
        let nanos = now.saturating_duration_since(self.start).as_nanos();
        self.nanos.store(nanos.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

/// A limit on events per second, with a burst.
#[derive(Debug)]
pub struct Limit {
    clock: SetClock,
    limiter: RateLimiter<NotKeyed, InMemoryState, SetClock, NoOpMiddleware<Duration>>,
}

impl Limit {
    /// At most `per_second` events a second in the long run, `burst` at once.
    pub fn new(per_second: NonZeroU32, burst: NonZeroU32, now: Instant) -> Self {
        let clock = SetClock { start: now, nanos: Arc::default() };
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Self { limiter: RateLimiter::direct_with_clock(quota, clock.clone()), clock }
    }

    /// Counts an event, if the limit allows it now.
    pub fn allow(&self, now: Instant) -> bool {
        self.clock.set(now);
        self.limiter.check().is_ok()
    }
}

/// Limits per host and per network of source addresses ([`Prefix`]: private ones
/// stand each alone), so that neither a host can use up what its network may, nor
/// a network what all may. They remember a
/// bounded number of sources: the one that was silent longest is forgotten
/// first.
#[derive(Debug)]
pub struct SourceLimits {
    hosts: LruCache<IpAddr, Limit>,
    networks: LruCache<Prefix, Limit>,
    per_second: NonZeroU32,
}

impl SourceLimits {
    /// The most hosts, and the most networks, that are remembered.
    pub const MAX_SOURCES: NonZeroUsize = NonZeroUsize::new(4096).expect("not 0");
    /// How much more a network may ask than one host of it.
    const NETWORK_FACTOR: NonZeroU32 = NonZeroU32::new(8).expect("not 0");
    /// How much more this machine may ask of itself than another host.
    const LOOPBACK_FACTOR: NonZeroU32 = NonZeroU32::new(32).expect("not 0");

    /// So many events per second from each host, twice as many at once, and
    /// eight times as many from each network.
    pub fn new(per_second: NonZeroU32) -> Self {
        Self { hosts: cache(Self::MAX_SOURCES), networks: cache(Self::MAX_SOURCES), per_second }
    }

    /// Counts an event from this source, if its limits allow it now.
    pub fn allow(&mut self, source: IpAddr, now: Instant) -> bool {
        let source = source.to_canonical();
        let rate = match source.is_loopback() {
            true => self.per_second.saturating_mul(Self::LOOPBACK_FACTOR),
            false => self.per_second,
        };
        let limit = |rate: NonZeroU32| Limit::new(rate, rate.saturating_add(rate.get()), now);
        self.hosts.get_or_insert(host(source), || limit(rate)).allow(now)
            && self
                .networks
                .get_or_insert(source.into(), || limit(rate.saturating_mul(Self::NETWORK_FACTOR)))
                .allow(now)
    }
}

/// What may be spent on checking signatures: by source first, so that none can
/// spend what is there for all.
#[derive(Debug)]
pub struct Checks {
    by_source: SourceLimits,
    all: Limit,
}

impl Checks {
    /// So many checks per second from each host, and so many from all, `burst`
    /// at once.
    pub fn new(per_host: NonZeroU32, all: NonZeroU32, burst: NonZeroU32, now: Instant) -> Self {
        Self { by_source: SourceLimits::new(per_host), all: Limit::new(all, burst, now) }
    }

    /// Counts a check of what came from this source, if it may be made now.
    ///
    /// # Errors
    /// Whose limit forbids it.
    pub fn allow(&mut self, source: IpAddr, now: Instant) -> Result<(), Exceeded> {
        if !self.by_source.allow(source, now) {
            return Err(Exceeded::Source);
        }
        if self.all.allow(now) { Ok(()) } else { Err(Exceeded::All) }
    }
}

/// Whose limit is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// That of the source, or of its network.
    Source,
    /// That of all sources together.
    All,
}

/// An IPv4 address, or the /64 of an IPv6 one, all of which one host can have;
/// but every host of a link has the same link-local /64.
fn host(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V6(ip) if !ip.is_loopback() && !ip.is_unicast_link_local() => {
            Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into()
        }
        _ => source,
    }
}

/// The /24 of an IPv4 and the /48 of an IPv6 address: what one network can
/// fake or spread over.
pub fn prefix(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            [a, b, c, 0].into()
        }
        IpAddr::V6(Ipv6Addr::LOCALHOST) => source,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 80)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn n(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    #[test]
    fn each_host_and_each_network_has_its_own_limit() {
        let now = Instant::now();
        let mut limits = SourceLimits::new(n(2));
        let allowed = |limits: &mut SourceLimits, ip: &str, now| {
            (0..10).filter(|_| limits.allow(ip.parse().unwrap(), now)).count()
        };
        assert_eq!(allowed(&mut limits, "10.0.0.1", now), 4);
        assert_eq!(allowed(&mut limits, "10.0.0.2", now), 4, "a neighbour has its own");
        assert_eq!(allowed(&mut limits, "fd00::1", now), 4);
        assert_eq!(allowed(&mut limits, "fd00::2", now), 0, "the same host");
        assert_eq!(allowed(&mut limits, "fe80::1", now), 4);
        assert_eq!(allowed(&mut limits, "fe80::2", now), 4, "a neighbour on the link");
        let network = |limits: &mut SourceLimits, net: &str| -> usize {
            (3..99).map(|i| allowed(limits, &format!("{net}.{i}"), now)).sum()
        };
        assert_eq!(network(&mut limits, "8.8.8"), 32);
        assert_eq!(network(&mut limits, "10.0.0"), 96 * 4, "on a LAN each is alone");
        assert_eq!(allowed(&mut limits, "10.0.1.1", now), 4);
        assert_eq!(allowed(&mut limits, "10.0.0.1", now + Duration::from_secs(1)), 2);
    }

    #[test]
    fn one_source_cannot_spend_the_checks_of_all() {
        let now = Instant::now();
        let mut checks = Checks::new(n(10), n(1000), n(1000), now);
        let mut allow = |ip: &str| checks.allow(ip.parse().unwrap(), now);
        let refused: Vec<_> = (0..5000).filter_map(|_| allow("10.0.0.1").err()).collect();
        assert_eq!(refused, vec![Exceeded::Source; 5000 - 20]);
        assert_eq!(allow("10.0.0.2"), Ok(()));
        // A flood from everywhere is bounded too.
        let many =
            (0..5000u32).filter_map(|i| allow(&format!("11.{}.{}.1", i / 250, i % 250)).err());
        assert_eq!(many.filter(|e| *e == Exceeded::All).count(), 5000 - (1000 - 21));
    }

    #[test]
    fn the_number_of_sources_is_bounded() {
        let now = Instant::now();
        let mut limits = SourceLimits::new(n(1));
        for i in 0..20_000u32 {
            limits.allow(std::net::Ipv4Addr::from_bits(i << 8).into(), now);
        }
        let max = SourceLimits::MAX_SOURCES.get();
        assert_eq!((limits.hosts.len(), limits.networks.len()), (max, max));
    }
}
