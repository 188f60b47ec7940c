//! Listening everywhere where libp2p can't follow the interfaces, since netlink
//! is forbidden: a socket for each address, as they come and go.

use super::{listen::bind_error, swarm::HostSwarm};
use crate::{
    Error, Result,
    iface::{self, Iface},
    scope::Scope,
};
use libp2p::{Multiaddr, core::transport::ListenerId, multiaddr::Protocol};
use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval},
};

/// When an address that could not be bound is tried again.
const AGAIN: Duration = Duration::from_secs(15);

/// The unspecified addresses of a host, and the sockets that stand for them.
pub(super) struct Wide {
    addrs: Vec<Multiaddr>,
    bound: HashMap<(usize, IpAddr), ListenerId>,
    ifaces: watch::Receiver<Arc<[Iface]>>,
    again: Interval,
}

impl Wide {
    pub(super) fn new(scope: &Scope) -> Self {
        let mut again = interval(AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { addrs: Vec::new(), bound: HashMap::new(), ifaces: iface::follow(scope), again }
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
        match self.update(swarm) {
            Some(error) if !self.bound.keys().any(|(of, _)| *of == nth) => Err(error),
            _ => {
                let of = self.bound.iter().filter(|((of, _), _)| *of == nth);
                Ok(of.map(|((_, ip), id)| (*id, *ip)).collect())
            }
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
    pub(super) fn follow(&mut self, swarm: &mut HostSwarm) {
        if let Some(error) = self.update(swarm) {
            tracing::debug!(%error, "an address is not listened at");
        }
    }

    /// A socket has closed by itself: it is opened again.
    pub(super) fn closed(&mut self, id: ListenerId) {
        self.bound.retain(|_, bound| *bound != id);
    }

    /// Gives the last error, if there was one.
    fn update(&mut self, swarm: &mut HostSwarm) -> Option<Error> {
        let ifaces = Arc::clone(&self.ifaces.borrow_and_update());
        let now: Vec<IpAddr> = ifaces.iter().flat_map(Iface::addrs).collect();
        self.bound.retain(|(_, ip), id| now.contains(ip) || !swarm.remove_listener(*id));
        let mut failed = None;
        for (nth, addr) in self.addrs.iter().enumerate() {
            let v4 = matches!(addr.iter().next(), Some(Protocol::Ip4(_)));
            for ip in now.iter().filter(|ip| ip.is_ipv4() == v4) {
                if self.bound.contains_key(&(nth, *ip)) {
                    continue;
                }
                let here: Multiaddr =
                    std::iter::once(Protocol::from(*ip)).chain(addr.iter().skip(1)).collect();
                match swarm.listen_on(here.clone()) {
                    Ok(id) => drop(self.bound.insert((nth, *ip), id)),
                    Err(error) => failed = Some(bind_error(&here, &error)),
                }
            }
        }
        failed
    }
}
