//! Peers that are no nodes: bare libp2p, which says and does what a test has it do.
#![allow(dead_code, reason = "not every test uses all of it")]

use casm::{
    Keypair, Multiaddr, PeerId,
    admit::{
        Certificate,
        gate::{Hello, MAX_HELLO, PROTOCOL},
        wire::unframe,
    },
};
use futures::{AsyncRead, AsyncReadExt, AsyncWriteExt, Stream};
use libp2p::{
    Transport,
    core::{
        Endpoint,
        muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox},
        transport::{Boxed, DialOpts, PortUse},
        upgrade::Version,
    },
    noise, quic, tcp, yamux,
};
use multistream_select::{Version as Negotiation, dialer_select_proto};
use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

/// What a transport gives.
pub type Connection = (PeerId, StreamMuxerBox);

/// TCP with Noise and yamux.
pub fn tcp(key: &Keypair) -> Boxed<Connection> {
    tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(key).unwrap())
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed()
}

/// QUIC.
pub fn quic(key: &Keypair) -> Boxed<Connection> {
    quic::tokio::Transport::new(quic::Config::new(key))
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed()
}

/// The transport for an address.
pub fn transport(key: &Keypair, addr: &Multiaddr) -> Boxed<Connection> {
    if addr.to_string().contains("/quic") { quic(key) } else { tcp(key) }
}

/// Dials. The transport is polled meanwhile: QUIC needs that.
pub async fn dial(transport: &mut Boxed<Connection>, addr: &Multiaddr) -> io::Result<Connection> {
    let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let mut dial = transport.dial(addr.clone(), opts).map_err(io::Error::other)?;
    poll_fn(|cx| {
        let _ = Pin::new(&mut *transport).poll(cx);
        Pin::new(&mut dial).poll(cx)
    })
    .await
}

/// Lets something happen while a connection does its work. None if that ends before.
pub async fn on<T>(muxer: &mut StreamMuxerBox, what: impl Future<Output = T>) -> Option<T> {
    let mut what = pin!(what);
    poll_fn(|cx| {
        if let Poll::Ready(done) = what.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        loop {
            match muxer.poll_unpin(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Opens a stream.
pub async fn open(muxer: &mut StreamMuxerBox) -> Option<SubstreamBox> {
    poll_fn(|cx| {
        while let Poll::Ready(event) = muxer.poll_unpin(cx) {
            if event.is_err() {
                return Poll::Ready(None);
            }
        }
        muxer.poll_outbound_unpin(cx).map(Result::ok)
    })
    .await
}

/// Streams that the other end has opened, until the connection ends.
pub fn opened(muxer: &mut StreamMuxerBox) -> impl Stream<Item = SubstreamBox> {
    futures::stream::poll_fn(|cx| {
        while let Poll::Ready(event) = muxer.poll_unpin(cx) {
            if event.is_err() {
                return Poll::Ready(None);
            }
        }
        muxer.poll_inbound_unpin(cx).map(Result::ok)
    })
}

/// All that comes on a stream until it ends, for as long as that.
pub async fn read_to_end(stream: &mut (impl AsyncRead + Unpin), limit: Duration) -> Vec<u8> {
    let (mut read, mut chunk) = (Vec::new(), [0; 1024]);
    let all = async {
        while let Ok(n @ 1..) = stream.read(&mut chunk).await {
            read.extend_from_slice(&chunk[..n]);
        }
    };
    let _ = tokio::time::timeout(limit, all).await;
    read
}

/// Shows a certificate on a connection that was dialled, as a member does, and takes
/// whatever the other end shows.
///
/// # Errors
/// If it shows nothing.
pub async fn show(muxer: &mut StreamMuxerBox, certificate: Certificate) -> io::Result<Hello> {
    let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let stream = open(muxer).await.ok_or_else(ended)?;
    let shown = on(muxer, async {
        let (_, mut stream) = dialer_select_proto(stream, [PROTOCOL], Negotiation::V1)
            .await
            .map_err(io::Error::other)?;
        stream.write_all(&Hello { certificate }.frame()).await?;
        stream.flush().await?;
        let message = read_frame(&mut stream, MAX_HELLO).await?;
        Hello::decode(&message).map_err(io::Error::other)
    });
    shown.await.ok_or_else(ended)?
}

/// Reads a message with its length before it.
///
/// # Errors
/// If it doesn't come.
pub async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    longest: usize,
) -> io::Result<Vec<u8>> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 1024]);
    loop {
        if let Some((message, _)) = unframe(&bytes, longest).map_err(io::Error::other)? {
            return Ok(message.to_vec());
        }
        match stream.read(&mut chunk).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => bytes.extend_from_slice(&chunk[..n]),
        }
    }
}
