//! Streams that end with their connection.
//!
//! yamux forgets to wake who waits for a stream of a connection that this side
//! closes: it would wait for ever.

use crate::{nat::is_relayed, prefix::Prefix};
use futures::task::AtomicWaker;
use libp2p::{
    Multiaddr,
    futures::{AsyncRead, AsyncWrite},
    multiaddr::Protocol,
};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};
use tokio_util::sync::CancellationToken;

/// With fewer streams there is no look for those that have ended.
const FEW: usize = 16;

/// The streams of a connection, which end when this is dropped.
#[derive(Debug)]
pub(super) struct Ending {
    prefix: Prefix,
    quic: bool,
    line: Line,
    streams: Vec<Weak<End>>,
    /// At so many, those that have ended are forgotten.
    look: usize,
}

/// What the host and the streams of a connection know of each other. Clones share it.
#[derive(Clone, Debug, Default)]
pub(in crate::host) struct Line {
    /// As often as there are streams, beside that of the host and that of the
    /// connection.
    live: Arc<()>,
    stale: CancellationToken,
}

impl Line {
    /// Whether there are streams.
    pub(super) fn is_used(&self) -> bool {
        Arc::strong_count(&self.live) > 2
    }

    /// A better connection is there.
    pub(super) fn is_stale(&self) {
        self.stale.cancel();
    }
}

/// What a stream is told by its connection.
#[derive(Debug, Default)]
struct End {
    ended: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Ending {
    /// Of a connection with this address.
    pub(super) fn new(addr: &Multiaddr, line: Line) -> Self {
        let quic = !is_relayed(addr) && addr.iter().any(|part| part == Protocol::QuicV1);
        Self { prefix: Prefix::of_peer(addr), quic, line, streams: Vec::new(), look: 0 }
    }

    /// What the host and the streams know of each other.
    pub(super) fn line(&self) -> Line {
        self.line.clone()
    }

    /// This stream, with the end of the connection as its own.
    pub(super) fn stream(&mut self, inner: libp2p::Stream) -> Stream {
        if self.streams.len() >= self.look.max(FEW) {
            self.streams.retain(|end| end.strong_count() > 0);
            self.look = 2 * self.streams.len();
        }
        let end = Arc::new(End::default());
        self.streams.push(Arc::downgrade(&end));
        Stream { inner, end, prefix: self.prefix, quic: self.quic, line: self.line.clone() }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.line.is_stale();
        for end in self.streams.iter().filter_map(Weak::upgrade) {
            end.ended.store(true, Ordering::Release);
            end.reader.wake();
            end.writer.wake();
        }
    }
}

/// The connection of a stream, for who keeps to that one.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(Default))]
pub(crate) struct OfConnection {
    end: Arc<End>,
    stale: CancellationToken,
}

impl OfConnection {
    /// Whether it has ended. One that was closed has before the host tells of it; of one
    /// that broke the host may tell a moment earlier.
    pub(crate) fn has_ended(&self) -> bool {
        self.end.ended.load(Ordering::Acquire)
    }

    /// Cancelled when it has ended, or there is a better one, so that who keeps to it
    /// goes over to that: it ends when all have.
    pub(crate) fn stale(&self) -> &CancellationToken {
        &self.stale
    }
}

/// A stream to a peer. It ends with the connection.
#[derive(Debug)]
pub(crate) struct Stream {
    inner: libp2p::Stream,
    end: Arc<End>,
    prefix: Prefix,
    quic: bool,
    line: Line,
}

impl Stream {
    /// The network of the address at the other end.
    pub(crate) fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// Its connection.
    pub(crate) fn connection(&self) -> OfConnection {
        OfConnection { end: self.end.clone(), stale: self.line.stale.clone() }
    }

    /// Whether its connection is one of QUIC.
    pub(crate) fn is_quic(&self) -> bool {
        self.quic
    }

    /// Whether nothing can be written any more. If that can't be told now, who
    /// waits to write tries again: the multiplexer knows of one waker alone.
    pub(crate) fn is_broken(&mut self, cx: &mut Context<'_>) -> bool {
        let writer = self.end.writer.take();
        let probe = Pin::new(&mut self.inner).poll_write(cx, &[]);
        if let (Poll::Pending, Some(writer)) = (&probe, writer) {
            writer.wake();
        }
        matches!(probe, Poll::Ready(Err(_)))
    }

    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        waker: impl FnOnce(&End) -> &AtomicWaker,
        poll: impl FnOnce(Pin<&mut libp2p::Stream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        waker(&self.end).register(cx.waker());
        let result = poll(Pin::new(&mut self.inner), cx);
        if result.is_pending() && self.end.ended.load(Ordering::Acquire) {
            let ended = io::Error::new(io::ErrorKind::NotConnected, "the connection has ended");
            return Poll::Ready(Err(ended));
        }
        result
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(cx, |end| &end.reader, |inner, cx| inner.poll_read(cx, bytes))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(cx, |end| &end.writer, |inner, cx| inner.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, |end| &end.writer, |inner, cx| inner.poll_flush(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, |end| &end.writer, |inner, cx| inner.poll_close(cx))
    }
}
