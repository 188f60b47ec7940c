//! Listening everywhere where libp2p can't follow the interfaces, since netlink
//! is forbidden: a socket for each address, as they come and go.

use super::{
    again::{listen, subject},
    swarm::HostSwarm,
};
use crate::{
    Error, Result,
    iface::{self, Iface, Rescan},
    scope::Scope,
    trouble::Troubles,
};
use libp2p::{Multiaddr, core::transport::ListenerId, multiaddr::Protocol};
use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, Interval, MissedTickBehavior, interval},
};

/// When an address that could not be bound is tried again.
const AGAIN: Duration = Duration::from_secs(15);
/// For how long that is no trouble: an address of IPv6 is not the machine's
/// until nobody else has claimed it.
const TENTATIVE: Duration = Duration::from_secs(5);

/// An unspecified address, by its place among them, at one of the machine's.
type Place = (usize, IpAddr);

/// The unspecified addresses of a host, and the sockets that stand for them.
pub(super) struct Wide {
    addrs: Vec<Multiaddr>,
    bound: HashMap<Place, ListenerId>,
    /// Where that failed, and since when.
    failing: HashMap<Place, (Multiaddr, Instant)>,
    ifaces: watch::Receiver<Arc<[Iface]>>,
    again: Interval,
}

impl Wide {
    pub(super) fn new(scope: &Scope, troubles: &Troubles, rescan: Rescan) -> Self {
        Self::of(iface::follow(scope, troubles, rescan))
    }

    fn of(ifaces: watch::Receiver<Arc<[Iface]>>) -> Self {
        let mut again = interval(AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (bound, failing) = (HashMap::new(), HashMap::new());
        Self { addrs: Vec::new(), bound, failing, ifaces, again }
    }

    /// Listens at an unspecified address, and gives the sockets that it has now.
    ///
    /// # Errors
    /// `Bind` if there are addresses for it and none can be bound.
    pub(super) fn listen(
        &mut self,
        swarm: &mut HostSwarm,
        addr: &Multiaddr,
    ) -> Result<Vec<(ListenerId, IpAddr)>> {
        self.addrs.push(addr.clone());
        let nth = self.addrs.len() - 1;
        let failed = self.update(swarm).into_iter().find(|((of, _), _)| *of == nth);
        let of = self.bound.iter().filter(|((of, _), _)| *of == nth);
        let bound: Vec<_> = of.map(|((_, ip), id)| (*id, *ip)).collect();
        match failed {
            Some((_, error)) if bound.is_empty() => Err(error),
            _ => Ok(bound),
        }
    }

    /// Waits until [`follow`](Self::follow) may have something to do.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            Ok(()) = self.ifaces.changed() => {}
            _ = self.again.tick() => {}
        }
    }

    /// Listens at what has come, and no longer at what has gone.
    pub(super) fn follow(&mut self, swarm: &mut HostSwarm, troubles: &Troubles) {
        let failed = self.update(swarm);
        let now = Instant::now();
        for (place, (addr, _)) in
            self.failing.extract_if(|place, _| !failed.iter().any(|(failed, _)| failed == place))
        {
            match self.bound.contains_key(&place) {
                true => troubles.works(&subject(&addr)),
                false => troubles.forget(&subject(&addr)),
            }
        }
        for (place, error) in failed {
            let here = self.here(&place);
            let (addr, since) = self.failing.entry(place).or_insert_with(|| (here, now));
            if now - *since >= TENTATIVE {
                troubles.fails(&subject(addr), "unbound", error);
            }
        }
    }

    /// A socket has closed by itself: it is opened again.
    pub(super) fn closed(&mut self, id: ListenerId) {
        self.bound.retain(|_, bound| *bound != id);
    }

    /// Gives what failed.
    fn update(&mut self, swarm: &mut HostSwarm) -> Vec<(Place, Error)> {
        let ifaces = Arc::clone(&self.ifaces.borrow_and_update());
        let now: Vec<IpAddr> = ifaces.iter().flat_map(Iface::addrs).collect();
        self.bound.retain(|(_, ip), id| now.contains(ip) || !swarm.remove_listener(*id));
        let mut failed = Vec::new();
        for (nth, addr) in self.addrs.iter().enumerate() {
            let v4 = matches!(addr.iter().next(), Some(Protocol::Ip4(_)));
            for ip in now.iter().filter(|ip| ip.is_ipv4() == v4) {
                let place = (nth, *ip);
                if self.bound.contains_key(&place) {
                    continue;
                }
                let here = self.here(&place);
                match listen(swarm, &here) {
                    Ok(id) => drop(self.bound.insert(place, id)),
                    Err(error) => failed.push((place, error)),
                }
            }
        }
        failed
    }

    /// The address that stands for an unspecified one.
    fn here(&self, (nth, ip): &Place) -> Multiaddr {
        let port = self.addrs[*nth].iter().skip(1);
        std::iter::once(Protocol::from(*ip)).chain(port).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::swarm::tests::swarm;
    use std::net::{Ipv4Addr, TcpListener};

    fn lo(addrs: &[Ipv4Addr]) -> Arc<[Iface]> {
        let name = "lo".into();
        [Iface { name, index: 1, v4: addrs.into(), v6: vec![], multicast: false }].into()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_cannot_be_bound_is_told_of_until_it_can_be_or_is_gone() {
        let (first, second) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2));
        let (mut swarm, troubles) = (swarm(), Troubles::default());
        let (changes, ifaces) = watch::channel(lo(&[first, second]));
        let mut wide = Wide::of(ifaces);
        let taken = TcpListener::bind((second, 0)).unwrap();
        let addr = format!("/ip4/0.0.0.0/tcp/{}", taken.local_addr().unwrap().port());
        let bound = wide.listen(&mut swarm, &addr.parse().unwrap()).unwrap();
        assert_eq!(bound.iter().map(|(_, ip)| *ip).collect::<Vec<_>>(), [first]);
        let mut count = async || {
            wide.changed().await;
            wide.follow(&mut swarm, &troubles);
            troubles.count().get()
        };
        // It may be tentative.
        assert_eq!(count().await, 0);
        assert_eq!((count().await, count().await), (1, 1));
        changes.send_replace(lo(&[first]));
        assert_eq!(count().await, 0, "it is gone");
        changes.send_replace(lo(&[first, second]));
        assert_eq!((count().await, count().await), (0, 1));
        drop(taken);
        assert_eq!(count().await, 0, "it works");
    }
}
