//! Rate limits: one for all, and one per prefix of source addresses. Time is
//! an argument.

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

/// A limit per prefix of source addresses. It remembers a bounded number of
/// prefixes: the one that was silent longest is forgotten first.
#[derive(Debug)]
pub struct PrefixLimits {
    prefixes: LruCache<IpAddr, Limit>,
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

impl PrefixLimits {
    /// The most prefixes that are remembered.
    pub const MAX_PREFIXES: NonZeroUsize = NonZeroUsize::new(4096).expect("not 0");
    /// How much more this machine may ask of itself than another network.
    const LOOPBACK_FACTOR: NonZeroU32 = NonZeroU32::new(16).expect("not 0");

    /// At most this many events per second, and at once, from each prefix.
    pub fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        Self { prefixes: LruCache::new(Self::MAX_PREFIXES), per_second, burst }
    }

    /// Counts an event from this source, if its prefix's limit allows it now.
    pub fn allow(&mut self, source: IpAddr, now: Instant) -> bool {
        let prefix = prefix(source);
        let factor = if prefix.is_loopback() { Self::LOOPBACK_FACTOR } else { NonZeroU32::MIN };
        let (rate, burst) =
            (self.per_second.saturating_mul(factor), self.burst.saturating_mul(factor));
        self.prefixes.get_or_insert(prefix, || Limit::new(rate, burst, now)).allow(now)
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
    fn each_prefix_has_its_own_limit() {
        let now = Instant::now();
        let mut limits = PrefixLimits::new(n(2), n(4));
        let allowed = |limits: &mut PrefixLimits, ip: &str, now| {
            (0..10).filter(|_| limits.allow(ip.parse().unwrap(), now)).count()
        };
        assert_eq!(allowed(&mut limits, "10.0.0.1", now), 4);
        assert_eq!(allowed(&mut limits, "10.0.0.2", now), 0);
        assert_eq!(allowed(&mut limits, "10.0.1.2", now), 4);
        assert_eq!(allowed(&mut limits, "fd00::1", now), 4);
        assert_eq!(allowed(&mut limits, "fd00:0:0:ffff::1", now), 0);
        assert_eq!(allowed(&mut limits, "fd00:0:1::1", now), 4);
        assert_eq!(allowed(&mut limits, "10.0.0.1", now + Duration::from_secs(1)), 2);
    }

    #[test]
    fn the_number_of_prefixes_is_bounded() {
        let now = Instant::now();
        let mut limits = PrefixLimits::new(n(1), n(1));
        for i in 0..20_000u32 {
            limits.allow(std::net::Ipv4Addr::from_bits(i << 8).into(), now);
        }
        assert_eq!(limits.prefixes.len(), PrefixLimits::MAX_PREFIXES.get());
    }
}
