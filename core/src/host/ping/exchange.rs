//! The bytes of a ping: 32 random ones, which come back on the same stream. A
//! stream may carry several pings, one after the other.

use super::Failure;
use futures::{AsyncRead, AsyncWrite, ready};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// Bytes of a ping.
const SIZE: usize = 32;
/// Pings that are answered before others get their turn.
const AT_ONCE: usize = 8;

/// Why a ping has no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The stream ended before the answer came.
    Broken,
    /// The peer does not do what it should.
    Failed(Failure),
}

/// A ping under way.
pub(super) struct Ping<S> {
    stream: S,
    bytes: [u8; SIZE],
    back: [u8; SIZE],
    written: usize,
    /// When all was sent.
    sent: Option<Instant>,
    read: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Ping<S> {
    /// A ping with these bytes, which nobody else may know.
    pub(super) fn new(stream: S, bytes: [u8; SIZE]) -> Self {
        Self { stream, bytes, back: [0; SIZE], written: 0, sent: None, read: 0 }
    }

    /// Sends it, and waits for the answer. Says how long that took.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Duration, NoAnswer>> {
        self.poll_io(cx).map(|result| match result {
            Ok(time) if self.back == self.bytes => Ok(time),
            Ok(_) => Err(NoAnswer::Failed(Failure::Wrong)),
            Err(_) => Err(NoAnswer::Broken),
        })
    }

    /// The stream, for the next ping.
    pub(super) fn into_stream(self) -> S {
        self.stream
    }

    fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Duration>> {
        let mut stream = Pin::new(&mut self.stream);
        ready!(poll_write_all(stream.as_mut(), cx, &self.bytes, &mut self.written))?;
        let sent = match self.sent {
            Some(sent) => sent,
            None => {
                ready!(stream.as_mut().poll_flush(cx))?;
                *self.sent.insert(Instant::now())
            }
        };
        ready!(poll_fill(stream, cx, &mut self.back, &mut self.read))?;
        Poll::Ready(Ok(sent.elapsed()))
    }
}

/// Sends back what a peer sends.
pub(super) struct Echo<S> {
    stream: S,
    bytes: [u8; SIZE],
    read: usize,
    written: usize,
    /// Whether one was answered that nobody has been told of.
    answered: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Echo<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, bytes: [0; SIZE], read: 0, written: 0, answered: false }
    }

    /// Whether a ping was answered since this was last asked.
    pub(super) fn has_answered(&mut self) -> bool {
        std::mem::take(&mut self.answered)
    }

    /// Answers pings until the stream ends.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(&mut self.stream);
        for _ in 0..AT_ONCE {
            ready!(poll_fill(stream.as_mut(), cx, &mut self.bytes, &mut self.read))?;
            ready!(poll_write_all(stream.as_mut(), cx, &self.bytes, &mut self.written))?;
            ready!(stream.as_mut().poll_flush(cx))?;
            (self.read, self.written, self.answered) = (0, 0, true);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn poll_write_all(
    mut stream: Pin<&mut (impl AsyncWrite + ?Sized)>,
    cx: &mut Context<'_>,
    bytes: &[u8; SIZE],
    written: &mut usize,
) -> Poll<io::Result<()>> {
    while *written < SIZE {
        match ready!(stream.as_mut().poll_write(cx, &bytes[*written..]))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            n => *written += n,
        }
    }
    Poll::Ready(Ok(()))
}

fn poll_fill(
    mut stream: Pin<&mut (impl AsyncRead + ?Sized)>,
    cx: &mut Context<'_>,
    bytes: &mut [u8; SIZE],
    read: &mut usize,
) -> Poll<io::Result<()>> {
    while *read < SIZE {
        match ready!(stream.as_mut().poll_read(cx, &mut bytes[*read..]))? {
            0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            n => *read += n,
        }
    }
    Poll::Ready(Ok(()))
}
