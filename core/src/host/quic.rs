//! QUIC, made ready when it is first listened at or dialled by: the tables in
//! which its TLS would keep sessions take more memory than anything else of a node
//! that uses TCP alone.

use crate::prefix::ip;
use libp2p::{
    Multiaddr,
    core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent},
    identity::Keypair,
    multiaddr::Protocol,
    quic,
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    pin::Pin,
    task::{Context, Poll, Waker},
};

/// What a peer may send ahead of who reads, on one stream and on all of a connection
/// together, in bytes. Streams that nobody reads must not hold up those on which
/// heartbeats come: a program has 64 of a peer. (yamux has a window for each stream
/// alone, of 256 KiB too.)
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 32 << 20;

type Quic = quic::tokio::Transport;

/// The QUIC of a node. libp2p's dials from any socket that listens: of several that are
/// bound to an address each that may be the loopback's, from which nothing gets to a
/// network, or that of another interface. So those have a transport of their own, and
/// what is dialled goes out from where the system would send it. (It is the port of a
/// socket that listens in any case: from another one nothing could be punched.)
pub(super) struct Lazy {
    key: Keypair,
    config: Option<quic::Config>,
    made: Vec<Of>,
    /// Who has polled it before it was made.
    waker: Option<Waker>,
}

/// The transport for one address of this machine, or for unspecified ones.
struct Of {
    ip: Option<IpAddr>,
    listeners: Vec<ListenerId>,
    quic: Quic,
}

impl Lazy {
    pub(super) fn new(key: &Keypair) -> Self {
        Self { key: key.clone(), config: None, made: Vec::new(), waker: None }
    }

    /// The transport for an address of this machine.
    fn at(&mut self, ip: Option<IpAddr>) -> &mut Of {
        let same = self.made.iter().position(|of| of.ip == ip);
        // One whose address is gone: who dials may still wait for it, so that it stays.
        let free = || self.made.iter().position(|of| of.ip.is_some() && of.listeners.is_empty());
        let nth = same.or_else(|| free().filter(|_| ip.is_some())).unwrap_or_else(|| {
            let config = self.config.get_or_insert_with(|| {
                let mut config = quic::Config::new(&self.key);
                config.max_stream_data = STREAM_WINDOW;
                config.max_connection_data = CONNECTION_WINDOW;
                config
            });
            self.made.push(Of { ip, listeners: Vec::new(), quic: Quic::new(config.clone()) });
            self.made.len() - 1
        });
        self.waker.take().into_iter().for_each(Waker::wake);
        self.made[nth].ip = ip;
        &mut self.made[nth]
    }
}

/// Where a QUIC address begins.
fn place(addr: &Multiaddr) -> Result<Option<SocketAddr>, TransportError<quic::Error>> {
    if !addr.iter().any(|part| matches!(part, Protocol::Quic | Protocol::QuicV1)) {
        return Err(TransportError::MultiaddrNotSupported(addr.clone()));
    }
    let port = addr.iter().find_map(|part| match part {
        Protocol::Udp(port) => Some(port),
        _ => None,
    });
    Ok(ip(addr).zip(port).map(SocketAddr::from))
}

/// From which address the system sends to another. (It is asked; nothing is sent.)
fn source(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

impl Transport for Lazy {
    type Output = <Quic as Transport>::Output;
    type Error = <Quic as Transport>::Error;
    type ListenerUpgrade = <Quic as Transport>::ListenerUpgrade;
    type Dial = <Quic as Transport>::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        addr: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        let ip = place(&addr)?.map(|at| at.ip()).filter(|ip| !ip.is_unspecified());
        let of = self.at(ip);
        of.quic.listen_on(id, addr)?;
        of.listeners.push(id);
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.made.iter_mut().any(|of| of.quic.remove_listener(id))
    }

    fn dial(
        &mut self,
        addr: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        let to = place(&addr)?;
        let own = |of: &&Of| of.ip.is_some() && !of.listeners.is_empty();
        let from = match self.made.iter().any(|of| own(&of)) {
            true => to.and_then(source),
            false => None,
        };
        let listens = self.made.iter().filter(own).any(|of| of.ip == from);
        // Who listens at one address alone is known by that, also where the system would
        // take another one of this machine.
        let alike = |ip: IpAddr, to: IpAddr| {
            ip.is_ipv4() == to.is_ipv4() && ip.is_loopback() == to.is_loopback()
        };
        let near = |of: &Of| of.ip.filter(|ip| to.is_some_and(|to| alike(*ip, to.ip())));
        let mut all = self.made.iter().filter(own).filter_map(near);
        let alone = all.next().filter(|_| all.next().is_none());
        self.at(from.filter(|_| listens).or(alone)).quic.dial(addr, opts)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        for of in &mut self.made {
            let Poll::Ready(event) = Pin::new(&mut of.quic).poll(cx) else { continue };
            if let TransportEvent::ListenerClosed { listener_id, .. } = &event {
                of.listeners.retain(|id| id != listener_id);
            }
            return Poll::Ready(event);
        }
        // Another may be made.
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::poll_fn;
    use libp2p::core::{Endpoint, transport::PortUse};

    #[tokio::test]
    async fn it_is_made_for_who_asks_and_then_polled() {
        let mut lazy = Lazy::new(&Keypair::generate_ed25519());
        let tcp = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
        let refused = lazy.listen_on(ListenerId::next(), tcp);
        assert!(matches!(refused, Err(TransportError::MultiaddrNotSupported(_))));
        assert!(lazy.made.is_empty() && !lazy.remove_listener(ListenerId::next()));

        // Who waits for it hears of it.
        let (wait, made) = tokio::sync::oneshot::channel();
        let lazy = std::sync::Arc::new(std::sync::Mutex::new(lazy));
        let polled = lazy.clone();
        let waiting = tokio::spawn(async move {
            let mut wait = Some(wait);
            poll_fn(|cx| {
                let event = Pin::new(&mut *polled.lock().unwrap()).poll(cx);
                wait.take().into_iter().for_each(|wait| wait.send(()).unwrap());
                event
            })
            .await
        });
        made.await.unwrap();
        let quic = "/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap();
        let id = ListenerId::next();
        lazy.lock().unwrap().listen_on(id, quic).unwrap();
        let event = waiting.await.unwrap();
        assert!(
            matches!(event, TransportEvent::NewAddress { listener_id, .. } if listener_id == id)
        );
    }

    // Elsewhere the loopback has one address.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn who_listens_at_one_address_dials_from_there() {
        let mut lazy = Lazy::new(&Keypair::generate_ed25519());
        let at = "/ip4/127.0.0.2/udp/0/quic-v1".parse().unwrap();
        lazy.listen_on(ListenerId::next(), at).unwrap();
        let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };
        drop(lazy.dial("/ip4/127.0.0.3/udp/9/quic-v1".parse().unwrap(), opts).unwrap());
        assert_eq!(lazy.made.len(), 1, "the system would send from 127.0.0.1");
    }

    // Elsewhere the loopback has one address.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_is_dialled_goes_out_from_a_socket_that_gets_there() {
        let key = Keypair::generate_ed25519();
        let mut lazy = Lazy::new(&key);
        let dials = |lazy: &mut Lazy, to: &str| {
            let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };
            // That it is not awaited is enough.
            drop(lazy.dial(to.parse().unwrap(), opts).unwrap());
        };
        for at in ["127.0.0.1", "127.0.0.2"] {
            let at = format!("/ip4/{at}/udp/0/quic-v1").parse().unwrap();
            lazy.listen_on(ListenerId::next(), at).unwrap();
        }
        assert_eq!(lazy.made.len(), 2);
        dials(&mut lazy, "/ip4/127.0.0.3/udp/9/quic-v1");
        assert_eq!(lazy.made.len(), 2, "from 127.0.0.1");
        // From none of those that are bound to the loopback.
        dials(&mut lazy, "/ip4/192.0.2.1/udp/9/quic-v1");
        assert_eq!((lazy.made.len(), lazy.made[2].ip), (3, None));
        // The transport of an address that is gone is used for the next.
        let gone = lazy.made[1].listeners[0];
        assert!(lazy.remove_listener(gone));
        while !lazy.made[1].listeners.is_empty() {
            poll_fn(|cx| Pin::new(&mut lazy).poll(cx)).await;
        }
        let next = "/ip4/127.0.0.4/udp/0/quic-v1".parse().unwrap();
        lazy.listen_on(ListenerId::next(), next).unwrap();
        assert_eq!((lazy.made.len(), lazy.made[1].listeners.len()), (3, 1));
    }
}
