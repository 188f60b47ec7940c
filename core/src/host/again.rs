//! Listening again at an address whose socket has closed by itself, such as
//! when the system takes it away.

use super::{
    listen::{bind_error, ensure_free},
    swarm::HostSwarm,
};
use crate::{Result, trouble::Troubles};
use libp2p::{Multiaddr, core::transport::ListenerId};
use std::{collections::HashMap, fmt, future::pending, mem, time::Duration};
use tokio::time::{Instant, sleep_until};

/// How long to wait before an address is tried again: this long, and then twice
/// as long each time, up to the last. A socket that stays for as long as that
/// begins anew.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The configured addresses, whose sockets libp2p holds.
#[derive(Default)]
pub(super) struct Again {
    open: HashMap<ListenerId, Place>,
    lost: Vec<Place>,
}

/// Listening at an address, as users read of it.
pub(super) fn subject(addr: &Multiaddr) -> String {
    format!("listening at {addr}")
}

struct Place {
    addr: Multiaddr,
    /// Since when it is open, or when it is tried again.
    at: Instant,
    pause: Duration,
}

impl Place {
    fn later(mut self) -> Self {
        self.at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(PAUSE.1);
        self
    }
}

impl Again {
    /// An address is listened at.
    pub(super) fn opened(&mut self, id: ListenerId, addr: Multiaddr) {
        self.open.insert(id, Place { addr, at: Instant::now(), pause: PAUSE.0 });
    }

    /// A socket has closed by itself.
    pub(super) fn closed(&mut self, id: ListenerId, why: impl fmt::Display, troubles: &Troubles) {
        let Some(mut place) = self.open.remove(&id) else { return };
        if place.at.elapsed() >= PAUSE.1 {
            place.pause = PAUSE.0;
        }
        troubles.fails(&subject(&place.addr), "closed", why);
        self.lost.push(place.later());
    }

    /// The sockets that are open.
    #[cfg(test)]
    pub(super) fn open(&self) -> Vec<ListenerId> {
        self.open.keys().copied().collect()
    }

    /// Waits until [`listen`](Self::listen) has something to do.
    pub(super) async fn due(&self) {
        match self.lost.iter().map(|place| place.at).min() {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
    }

    /// Listens again where it is time to.
    pub(super) fn listen(&mut self, swarm: &mut HostSwarm, troubles: &Troubles) {
        let now = Instant::now();
        for mut place in mem::take(&mut self.lost) {
            if place.at > now {
                self.lost.push(place);
                continue;
            }
            match listen(swarm, &place.addr) {
                Ok(id) => {
                    troubles.works(&subject(&place.addr));
                    place.at = now;
                    self.open.insert(id, place);
                }
                Err(error) => {
                    troubles.fails(&subject(&place.addr), "unbound", error);
                    self.lost.push(place.later());
                }
            }
        }
    }
}

/// Listens at an address.
pub(super) fn listen(swarm: &mut HostSwarm, addr: &Multiaddr) -> Result<ListenerId> {
    ensure_free(addr).map_err(|e| bind_error(addr, &e))?;
    swarm.listen_on(addr.clone()).map_err(|e| bind_error(addr, &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::swarm::tests::swarm;
    use futures::StreamExt;
    use libp2p::swarm::SwarmEvent;
    use std::net::{TcpListener, UdpSocket};

    async fn until_closed(swarm: &mut HostSwarm, id: ListenerId) {
        while !matches!(
            swarm.select_next_some().await,
            SwarmEvent::ListenerClosed { listener_id, .. } if listener_id == id
        ) {}
    }

    /// The address that a new socket says.
    async fn told(swarm: &mut HostSwarm) -> Multiaddr {
        loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                return address;
            }
        }
    }

    #[tokio::test]
    async fn what_closes_is_opened_again_and_tried_until_it_can_be() {
        let (mut swarm, troubles) = (swarm(), Troubles::default());
        for any in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
            let first = swarm.listen_on(any.parse().unwrap()).unwrap();
            let addr = told(&mut swarm).await;
            let mut again = Again::default();
            again.opened(first, addr.clone());
            assert!(swarm.remove_listener(first));
            until_closed(&mut swarm, first).await;
            // Somebody else takes the port, as soon as the system lets go of it.
            let text = addr.to_string();
            let port: u16 = text.split('/').nth(4).unwrap().parse().unwrap();
            let (mut tcp, mut udp) = (None, None);
            while tcp.is_none() && udp.is_none() {
                match text.contains("tcp") {
                    true => tcp = TcpListener::bind(("127.0.0.1", port)).ok(),
                    false => udp = UdpSocket::bind(("127.0.0.1", port)).ok(),
                }
                let moment = Duration::from_millis(10);
                let _ = tokio::time::timeout(moment, swarm.select_next_some()).await;
            }
            again.closed(first, "the interface is gone", &troubles);
            assert_eq!(troubles.count().get(), 1);
            for _ in 0..2 {
                again.due().await;
                again.listen(&mut swarm, &troubles);
                assert_eq!((again.open.len(), troubles.count().get()), (0, 1), "it is taken");
            }
            drop((tcp, udp));
            while again.open.is_empty() {
                again.due().await;
                again.listen(&mut swarm, &troubles);
            }
            assert_eq!((told(&mut swarm).await, troubles.count().get()), (addr, 0));
        }
    }
}
