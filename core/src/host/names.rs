//! Dials of names, which follow the system's configuration.
//!
//! libp2p reads `/etc/resolv.conf` and `/etc/hosts` once. A node may start before
//! there is a network, and a laptop moves between networks.

use crate::trouble::Troubles;
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
    named: dns::tokio::Transport<Shared>,
    read: Instant,
    troubles: Troubles,
}

impl Names {
    pub(super) fn new(inner: Connections, troubles: Troubles) -> Self {
        let inner = Shared(Arc::new(Mutex::new(inner)));
        // A node that dials no name needs no name servers.
        let named = dns::tokio::Transport::custom(
            inner.clone(),
            dns::ResolverConfig::default(),
            dns::ResolverOpts::default(),
        );
        let read = Instant::now().checked_sub(FRESH).unwrap_or_else(Instant::now);
        Self { inner, named, read, troubles }
    }

    /// Reads the system's configuration again.
    fn refresh(&mut self) {
        if self.read.elapsed() < FRESH {
            return;
        }
        self.read = Instant::now();
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
        self.named = dns::tokio::Transport::custom(self.inner.clone(), config, options);
    }
}

fn is_named(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| {
        use Protocol::*;
        matches!(part, Dns(_) | Dns4(_) | Dns6(_) | Dnsaddr(_))
    })
}

type Named = dns::tokio::Transport<Shared>;

impl Transport for Names {
    type Output = <Named as Transport>::Output;
    type Error = <Named as Transport>::Error;
    type ListenerUpgrade = <Named as Transport>::ListenerUpgrade;
    type Dial = <Named as Transport>::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        addr: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        self.named.listen_on(id, addr)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.named.remove_listener(id)
    }

    fn dial(
        &mut self,
        addr: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        if is_named(&addr) {
            self.refresh();
        }
        self.named.dial(addr, opts)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.named).poll(cx)
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
