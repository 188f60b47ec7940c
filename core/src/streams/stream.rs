//! One stream.

use super::places::Place;
use crate::{PeerId, host};
use libp2p::{
    StreamProtocol,
    futures::{AsyncRead, AsyncWrite},
};
use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::ReadBuf;

/// A stream of bytes to and from a peer: reliable, in order, with back-pressure,
/// encrypted. It ends with the connection.
///
/// It reads and writes by the traits of both `futures` and `tokio`: import those
/// of one of them (`futures::AsyncReadExt`, or `tokio::io::AsyncReadExt`).
///
/// Closing it (`close`, in tokio `shutdown`) ends what is written, and reading
/// goes on: a half-close. Dropping it before that resets it.
///
/// A reset shows to who reads it over TCP as an error, as long as it has not
/// closed its own end. Over QUIC, and after that, it looks as the end does, which
/// is how libp2p's multiplexers report it: a protocol should say how much is to
/// come.
pub struct ByteStream {
    inner: host::Stream,
    peer: PeerId,
    protocol: StreamProtocol,
    /// Whether this end is closed for writing.
    closed: bool,
    _place: Place,
}

impl ByteStream {
    pub(super) fn new(
        inner: host::Stream,
        peer: PeerId,
        protocol: StreamProtocol,
        place: Place,
    ) -> Self {
        Self { inner, peer, protocol, closed: false, _place: place }
    }

    /// The peer at the other end.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The protocol.
    pub fn protocol(&self) -> &str {
        self.protocol.as_ref()
    }

    /// Whether what looks like the end is a reset. yamux reports both as an end;
    /// but after a reset nothing can be written either.
    fn was_reset(&mut self, cx: &mut Context<'_>) -> bool {
        !self.closed && !self.inner.is_quic() && self.inner.is_broken(cx)
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, bytes));
        if matches!(read, Ok(0)) && !bytes.is_empty() && self.was_reset(cx) {
            let message = format!("{} has reset the stream", self.peer);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, message)));
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = ready!(Pin::new(&mut this.inner).poll_write(cx, bytes));
        // So yamux says that it is over.
        Poll::Ready(match written {
            Err(error) if error.kind() == io::ErrorKind::WriteZero => Err(this.broken()),
            Ok(0) if !bytes.is_empty() => Err(this.broken()),
            written => written,
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.closed = true;
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

impl ByteStream {
    fn broken(&self) -> io::Error {
        let message = match self.closed {
            true => "the stream is closed for writing".to_owned(),
            false => format!("{} has reset the stream", self.peer),
        };
        io::Error::new(io::ErrorKind::BrokenPipe, message)
    }
}

impl tokio::io::AsyncRead for ByteStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(AsyncRead::poll_read(self, cx, into.initialize_unfilled()))?;
        into.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for ByteStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(self, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(self, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_close(self, cx)
    }
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteStream")
            .field("peer", &self.peer)
            .field("protocol", &self.protocol.as_ref())
            .finish_non_exhaustive()
    }
}
