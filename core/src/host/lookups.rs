//! Names in what others told of a peer. They are looked up here and not by the
//! transport, so that what they stand for is judged and paid for as any address
//! is: a name could be that of this machine, or of a victim.

use crate::{
    boot::{self, Family},
    dials::{Hearing, MOST, name, sensible},
    metrics::ByLabel,
};
use libp2p::{Multiaddr, multiaddr::Protocol};
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// Look-ups that may be made at once, and the time after which one more may.
const BURST: u32 = 64;
const PAUSE: Duration = Duration::from_secs(1);
/// How long a look-up may take: the peer's other addresses wait for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a peer is to be dialled.
pub(super) struct Found {
    pub(super) addrs: Vec<Multiaddr>,
    /// Whether its name was not looked up, since too many were lately.
    pub(super) postponed: bool,
}

/// Looks names up, but not too often.
#[derive(Clone)]
pub(super) struct Lookups {
    /// When the look-ups so far are made up for.
    free: Arc<Mutex<Instant>>,
    skipped: ByLabel,
}

impl Lookups {
    pub(super) fn new(skipped: ByLabel) -> Self {
        Self { free: Arc::new(Mutex::new(Instant::now())), skipped }
    }

    /// A peer's addresses, at a node with those addresses of its own; in place
    /// of its name, what that stands for.
    pub(super) async fn replaced(&self, addrs: &[Multiaddr], own: &[Multiaddr]) -> Found {
        let Some((the_name, family)) = addrs.iter().find_map(name) else {
            return Found { addrs: addrs.to_vec(), postponed: false };
        };
        let postponed = !self.take(Instant::now());
        let ips = if postponed {
            self.skipped.get_or_create(&[("reason", "often")]).inc();
            Vec::new()
        } else {
            look_up(&the_name, family).await
        };
        let found = sensible(&stand_for(addrs, &ips), Hearing::by_name(own), &self.skipped);
        let mut all = Vec::new();
        let mut found = Some(found);
        for addr in addrs {
            match name(addr) {
                None => all.push(addr.clone()),
                // All at the place of the first.
                Some(_) => all.extend(found.take().into_iter().flatten()),
            }
        }
        Found { addrs: all, postponed }
    }

    /// Those of the addresses in a record that make sense here.
    pub(super) fn of_record(&self, addrs: &[Multiaddr], own: &[Multiaddr]) -> Vec<Multiaddr> {
        sensible(addrs, Hearing::by_record(own), &self.skipped)
    }

    /// Takes a look-up from the budget, if it has one left.
    fn take(&self, now: Instant) -> bool {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (*free).max(now) + PAUSE;
        let fits = next <= now + PAUSE * BURST;
        if fits {
            *free = next;
        }
        fits
    }
}

/// What a name stands for, as far as it is told in time: name servers that don't
/// answer for one family hold up no other.
async fn look_up(name: &str, family: Family) -> Vec<IpAddr> {
    let of = async |family| match timeout(PATIENCE, boot::resolve(name, family)).await {
        Ok(Ok(ips)) => ips,
        Ok(Err(error)) => {
            tracing::debug!(%name, %error, "a peer's name is not known");
            Vec::new()
        }
        Err(_) => {
            tracing::debug!(%name, "a peer's name was not found in time");
            Vec::new()
        }
    };
    if family != Family::Any {
        return of(family).await;
    }
    let (v4, v6) = tokio::join!(of(Family::V4), of(Family::V6));
    [v4, v6].concat()
}

/// The addresses that begin with a name, with what it stands for in its place.
fn stand_for(addrs: &[Multiaddr], ips: &[IpAddr]) -> Vec<Multiaddr> {
    let named = addrs.iter().filter(|addr| name(addr).is_some());
    let of = |addr: &Multiaddr, ip: IpAddr| {
        let first = std::iter::once(Protocol::from(ip));
        first.chain(addr.iter().skip(1)).collect::<Multiaddr>()
    };
    // Each transport at the first of the addresses comes before any at the next.
    ips.iter().take(MOST).flat_map(|ip| named.clone().map(|addr| of(addr, *ip))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(list: &[&str]) -> Vec<Multiaddr> {
        list.iter().map(|addr| addr.parse().unwrap()).collect()
    }

    /// An address as a name needs no server.
    #[tokio::test]
    async fn what_a_name_stands_for_is_judged_and_takes_its_place() {
        let lookups = Lookups::new(ByLabel::default());
        let told = |name: &str| {
            let named = [format!("/dns/{name}/tcp/1"), format!("/dns/{name}/udp/2/quic-v1")];
            addrs(&["/ip4/9.9.9.9/tcp/1", &named[0], &named[1], "/ip4/9.9.9.8/tcp/1"])
        };
        let own = addrs(&["/ip4/10.0.0.1/tcp/1"]);
        for (name, found) in [
            ("8.8.8.8", vec!["/ip4/8.8.8.8/tcp/1", "/ip4/8.8.8.8/udp/2/quic-v1"]),
            ("10.7.7.7", vec!["/ip4/10.7.7.7/tcp/1", "/ip4/10.7.7.7/udp/2/quic-v1"]),
            ("127.0.0.1", vec![]),
            ("::1", vec![]),
            ("::ffff:127.0.0.1", vec![]),
            ("0.0.0.0", vec![]),
        ] {
            let all = [&["/ip4/9.9.9.9/tcp/1"], &found[..], &["/ip4/9.9.9.8/tcp/1"]].concat();
            assert_eq!(lookups.replaced(&told(name), &own).await.addrs, addrs(&all), "{name}");
        }
        let public = addrs(&["/ip4/7.7.7.7/tcp/1"]);
        let found = lookups.replaced(&told("10.7.7.7"), &public).await.addrs;
        assert_eq!(found, addrs(&["/ip4/9.9.9.9/tcp/1", "/ip4/9.9.9.8/tcp/1"]));
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_looked_up_at_a_bounded_rate() {
        let lookups = Lookups::new(ByLabel::default());
        let told = addrs(&["/dns/8.8.8.8/tcp/1"]);
        let mut found = 0;
        for _ in 0..200 {
            found += lookups.replaced(&told, &[]).await.addrs.len();
        }
        assert_eq!(found, BURST as usize);
        tokio::time::advance(PAUSE * 3).await;
        for _ in 0..200 {
            found += lookups.replaced(&told, &[]).await.addrs.len();
        }
        assert_eq!(found, BURST as usize + 3);
        let often = lookups.skipped.get_or_create(&[("reason", "often")]).get();
        assert_eq!(often, 200 - 64 + 200 - 3);
        assert!(lookups.replaced(&told, &[]).await.postponed);
        let found = lookups.replaced(&addrs(&["/ip4/8.8.8.8/tcp/1"]), &[]).await;
        assert_eq!((found.addrs.len(), found.postponed), (1, false));
    }
}
