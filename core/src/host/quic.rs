//! QUIC, made ready when it is first listened at or dialled by: the tables in
//! which its TLS would keep sessions take more memory than anything else of a node
//! that uses TCP alone.

use libp2p::{
    Multiaddr,
    core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent},
    identity::Keypair,
    multiaddr::Protocol,
    quic,
};
use std::{
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

/// The QUIC of a node.
pub(super) struct Lazy {
    key: Keypair,
    made: Option<Quic>,
    /// Who has polled it before it was made.
    waker: Option<Waker>,
}

impl Lazy {
    pub(super) fn new(key: &Keypair) -> Self {
        Self { key: key.clone(), made: None, waker: None }
    }

    /// The transport for an address.
    fn of(&mut self, addr: &Multiaddr) -> Result<&mut Quic, TransportError<quic::Error>> {
        if !addr.iter().any(|part| matches!(part, Protocol::Quic | Protocol::QuicV1)) {
            return Err(TransportError::MultiaddrNotSupported(addr.clone()));
        }
        self.waker.take().into_iter().for_each(Waker::wake);
        Ok(self.made.get_or_insert_with(|| {
            let mut config = quic::Config::new(&self.key);
            config.max_stream_data = STREAM_WINDOW;
            config.max_connection_data = CONNECTION_WINDOW;
            Quic::new(config)
        }))
    }
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
        self.of(&addr)?.listen_on(id, addr)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.made.as_mut().is_some_and(|quic| quic.remove_listener(id))
    }

    fn dial(
        &mut self,
        addr: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        self.of(&addr)?.dial(addr, opts)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        match &mut self.made {
            Some(quic) => Pin::new(quic).poll(cx),
            None => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::poll_fn;

    #[tokio::test]
    async fn it_is_made_for_who_asks_and_then_polled() {
        let mut lazy = Lazy::new(&Keypair::generate_ed25519());
        let tcp = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
        let refused = lazy.listen_on(ListenerId::next(), tcp);
        assert!(matches!(refused, Err(TransportError::MultiaddrNotSupported(_))));
        assert!(lazy.made.is_none() && !lazy.remove_listener(ListenerId::next()));

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
}
