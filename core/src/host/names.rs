//! Dials of names, which follow the system's configuration.
//!
//! libp2p reads `/etc/resolv.conf` and `/etc/hosts` once. A node may start before
//! there is a network, and a laptop moves between networks.

use crate::trouble::Troubles;
use futures::{
    FutureExt, TryFutureExt,
    future::{BoxFuture, ready},
};
use hickory_resolver::system_conf::read_system_conf;
use libp2p::{
    Multiaddr, PeerId,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, DialOpts, ListenerId, Transport, TransportError, TransportEvent},
    },
    dns,
    multiaddr::Protocol,
};
use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// For how long what was read, and the names that were resolved by it, do: names
/// that are dialled in a burst are looked up once.
const FRESH: Duration = Duration::from_secs(1);
/// A trouble, and its cause.
const SERVERS: &str = "the resolution of names";
const UNKNOWN: &str = "unknown servers";

pub(super) type Connections = Boxed<(PeerId, StreamMuxerBox)>;

/// A transport that dials names too.
pub(super) struct Names {
    inner: Shared,
    /// The resolver, and when it read the system's configuration. None before the
    /// first name is dialled.
    named: Option<(Named, Instant)>,
    troubles: Troubles,
}

impl Names {
    pub(super) fn new(inner: Connections, troubles: Troubles) -> Self {
        Self { inner: Shared(Arc::new(Mutex::new(inner))), named: None, troubles }
    }

    /// The resolver, by the system's configuration of now.
    fn named(&mut self) -> &mut Named {
        let fresh = self.named.take().filter(|(_, read)| read.elapsed() < FRESH);
        let named = fresh.unwrap_or_else(|| (self.read(), Instant::now()));
        &mut self.named.insert(named).0
    }

    /// A resolver by the system's configuration.
    fn read(&self) -> Named {
        let (config, options) = match read_system_conf() {
            Ok(found) => {
                self.troubles.works(SERVERS);
                found
            }
            Err(error) => {
                let why = format!(
                    "the system's name servers are not known: {error}: see /etc/resolv.conf"
                );
                self.troubles.fails(SERVERS, UNKNOWN, why);
                Default::default()
            }
        };
        dns::tokio::Transport::custom(self.inner.clone(), config, options)
    }
}

fn is_named(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| {
        use Protocol::*;
        matches!(part, Dns(_) | Dns4(_) | Dns6(_) | Dnsaddr(_))
    })
}

type Named = dns::tokio::Transport<Shared>;
type Failure = <Named as Transport>::Error;

impl Transport for Names {
    type Output = <Named as Transport>::Output;
    type Error = Failure;
    type ListenerUpgrade = <Named as Transport>::ListenerUpgrade;
    type Dial = BoxFuture<'static, Result<Self::Output, Failure>>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        addr: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        self.inner.listen_on(id, addr).map_err(|error| error.map(Failure::Transport))
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        addr: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        if is_named(&addr) {
            return self.named().dial(addr, opts).map(FutureExt::boxed);
        }
        // After the one try there is, so that it is said as one.
        Ok(match self.inner.dial(addr, opts) {
            Ok(dial) => dial.map_err(Failure::Transport).boxed(),
            Err(TransportError::MultiaddrNotSupported(addr)) => {
                ready(Err(Failure::MultiaddrNotSupported(addr))).boxed()
            }
            Err(TransportError::Other(error)) => ready(Err(Failure::Transport(error))).boxed(),
        })
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let failure: fn(_) -> _ = Failure::Transport;
        let polled = Pin::new(&mut self.inner).poll(cx);
        polled.map(|event| event.map_upgrade(|up| up.map_err(failure)).map_err(failure))
    }
}

/// What outlives the resolver that it is dialled by.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Connections>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for Shared {
    type Output = <Connections as Transport>::Output;
    type Error = <Connections as Transport>::Error;
    type ListenerUpgrade = <Connections as Transport>::ListenerUpgrade;
    type Dial = <Connections as Transport>::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        addr: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        self.lock().listen_on(id, addr)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.lock().remove_listener(id)
    }

    fn dial(
        &mut self,
        addr: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        self.lock().dial(addr, opts)
    }

    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut *self.lock()).poll(cx)
    }
}
