//! A peer with streams: ours, or another's.

use anyhow::{Context, Result};
use casm::{Node, streams::IncomingStreams};
use futures::{AsyncRead, AsyncWrite, StreamExt, future::poll_fn};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, multiaddr::Protocol, noise,
    swarm::SwarmEvent, tcp, yamux,
};
use libp2p_stream::{Behaviour, Control};
use std::{task::Poll, time::Duration};
use tokio::sync::mpsc;

const PROTOCOL: &str = "/bench/1";

/// Whose streams they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Ours.
    Casm,
    /// Those of plain rust-libp2p, as they come.
    #[value(name = "rust-libp2p")]
    RustLibp2p,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Casm => "casm",
            Self::RustLibp2p => "rust-libp2p",
        }
    }
}

/// Over what the streams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    /// QUIC.
    Quic,
    /// TCP, with noise and yamux.
    Tcp,
}

impl Transport {
    pub fn name(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Tcp => "tcp",
        }
    }

    /// On loopback.
    fn listen(self) -> &'static str {
        match self {
            Self::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
            Self::Tcp => "/ip4/127.0.0.1/tcp/0",
        }
    }
}

/// A stream, whosever it is.
pub trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// A peer that takes streams.
pub enum Peer {
    Casm { node: Node, incoming: IncomingStreams, addr: String },
    RustLibp2p(Libp2p),
}

/// A swarm that a task drives.
pub struct Libp2p {
    control: Control,
    incoming: libp2p_stream::IncomingStreams,
    dial: mpsc::Sender<Multiaddr>,
    addr: String,
}

impl Peer {
    pub async fn start(kind: Kind, transport: Transport) -> Result<Self> {
        let listen = transport.listen();
        if kind == Kind::RustLibp2p {
            return Ok(Self::RustLibp2p(Libp2p::start(listen).await?));
        }
        let node = Node::builder().namespace("bench").listen(listen).boot(["none"]);
        let node = node.pex(None).start().await?;
        let addr = node.addrs().first().context("it has no address")?.clone();
        let addr = with_id(addr, node.id());
        Ok(Self::Casm { incoming: node.accept_streams(PROTOCOL)?, node, addr })
    }

    /// With its id.
    pub fn addr(&self) -> &str {
        match self {
            Self::Casm { addr, .. } | Self::RustLibp2p(Libp2p { addr, .. }) => addr,
        }
    }

    /// The next stream that comes.
    pub async fn accept(&mut self) -> Result<Box<dyn Bytes>> {
        Ok(match self {
            Self::Casm { incoming, .. } => Box::new(incoming.next().await.context("closed")?),
            Self::RustLibp2p(peer) => Box::new(peer.incoming.next().await.context("closed")?.1),
        })
    }

    /// A stream to who listens there.
    pub async fn open(&self, to: &str) -> Result<Box<dyn Bytes>> {
        let to: Multiaddr = to.parse()?;
        match self {
            Self::Casm { node, .. } => Ok(Box::new(node.open_stream(to, PROTOCOL).await?)),
            Self::RustLibp2p(peer) => peer.open(to).await,
        }
    }
}

impl Libp2p {
    async fn start(listen: &str) -> Result<Self> {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, yamux::Config::default)?
            .with_quic()
            .with_behaviour(|_| Behaviour::new())?
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(Duration::from_secs(3600))
            })
            .build();
        swarm.listen_on(listen.parse()?)?;
        let addr = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break with_id(address, *swarm.local_peer_id());
            }
        };
        let mut control = swarm.behaviour().new_control();
        let incoming = control.accept(StreamProtocol::new(PROTOCOL))?;
        let (dial, dials) = mpsc::channel(1);
        tokio::spawn(drive(swarm, dials));
        Ok(Self { control, incoming, dial, addr })
    }

    async fn open(&self, to: Multiaddr) -> Result<Box<dyn Bytes>> {
        let Some(Protocol::P2p(peer)) = to.iter().last() else { anyhow::bail!("{to} has no id") };
        self.dial.send(to).await?;
        let mut control = self.control.clone();
        Ok(Box::new(control.open_stream(peer, StreamProtocol::new(PROTOCOL)).await?))
    }
}

/// Drives a swarm for as long as the program runs.
async fn drive(mut swarm: Swarm<Behaviour>, mut dials: mpsc::Receiver<Multiaddr>) {
    poll_fn(|cx| {
        while let Poll::Ready(Some(addr)) = dials.poll_recv(cx) {
            if let Err(error) = swarm.dial(addr) {
                eprintln!("it cannot dial: {error}");
            }
        }
        while swarm.poll_next_unpin(cx).is_ready() {}
        Poll::<()>::Pending
    })
    .await;
}

fn with_id(addr: Multiaddr, id: PeerId) -> String {
    match addr.iter().last() {
        Some(Protocol::P2p(_)) => addr.to_string(),
        _ => addr.with(Protocol::P2p(id)).to_string(),
    }
}
