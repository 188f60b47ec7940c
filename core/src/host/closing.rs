//! Connections that close in a bounded time, and say how they were closed.
//!
//! yamux sends what is queued before it closes. Over a dead link it waits until
//! the system gives up, which takes a quarter of an hour with TCP, and libp2p
//! doesn't call the peer disconnected before that.
//!
//! Whoever closes in order says so before it closes the socket, and closes that when the
//! other end has. To yamux an end without a word is the same: that is noticed below it.

use libp2p::{
    core::{
        UpgradeInfo,
        muxing::{StreamMuxer, StreamMuxerEvent},
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
    },
    futures::{AsyncRead, AsyncWrite, FutureExt, TryFutureExt, future::BoxFuture},
};
use std::{
    error::Error,
    fmt,
    future::Future,
    io::{self, IoSlice, IoSliceMut},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

/// How long a connection may take to send what is queued before it closes.
const CLOSE: Duration = Duration::from_secs(1);
/// How much of what the other end still sends is read then, in bytes: more than is under
/// way between honest ones. Whoever goes on and on is let go of.
const REST: usize = 1 << 20;

/// Makes multiplexers that close in a bounded time.
#[derive(Clone)]
pub(super) struct Soon<U>(pub(super) U);

impl<U: UpgradeInfo> UpgradeInfo for Soon<U> {
    type Info = U::Info;
    type InfoIter = U::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.protocol_info()
    }
}

impl<C, U> InboundConnectionUpgrade<C> for Soon<U>
where
    U: InboundConnectionUpgrade<Watched<C>>,
    U::Future: Send + 'static,
{
    type Output = ClosesSoon<U::Output>;
    type Error = U::Error;
    type Future = BoxFuture<'static, Result<Self::Output, U::Error>>;

    fn upgrade_inbound(self, socket: C, info: Self::Info) -> Self::Future {
        let (socket, broken) = Watched::new(socket);
        let made = self.0.upgrade_inbound(socket, info);
        made.map_ok(|muxer| ClosesSoon::new(muxer, broken)).boxed()
    }
}

impl<C, U> OutboundConnectionUpgrade<C> for Soon<U>
where
    U: OutboundConnectionUpgrade<Watched<C>>,
    U::Future: Send + 'static,
{
    type Output = ClosesSoon<U::Output>;
    type Error = U::Error;
    type Future = BoxFuture<'static, Result<Self::Output, U::Error>>;

    fn upgrade_outbound(self, socket: C, info: Self::Info) -> Self::Future {
        let (socket, broken) = Watched::new(socket);
        let made = self.0.upgrade_outbound(socket, info);
        made.map_ok(|muxer| ClosesSoon::new(muxer, broken)).boxed()
    }
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// Its other end said so before.
    Said(BoxError),
    /// Without a word.
    Broken(BoxError),
    /// While this end closed it.
    Closing(BoxError),
}

type BoxError = Box<dyn Error + Send + Sync>;

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Said(error) | Self::Broken(error) | Self::Closing(error)) = self;
        error.fmt(f)
    }
}

impl Error for End {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let (Self::Said(error) | Self::Broken(error) | Self::Closing(error)) = self;
        error.source()
    }
}

/// A socket of which it is known whether it broke.
pub(super) struct Watched<C> {
    socket: C,
    broken: Arc<AtomicBool>,
    /// How much is still read, once this end has said its last.
    rest: Option<usize>,
}

impl<C> Watched<C> {
    fn new(socket: C) -> (Self, Arc<AtomicBool>) {
        let broken = Arc::<AtomicBool>::default();
        (Self { socket, broken: broken.clone(), rest: None }, broken)
    }

    fn note<T>(
        &self,
        done: Poll<io::Result<T>>,
        is_end: impl FnOnce(&T) -> bool,
    ) -> Poll<io::Result<T>> {
        let broken = match &done {
            Poll::Ready(Ok(done)) => is_end(done),
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if broken {
            self.broken.store(true, Ordering::Relaxed);
        }
        done
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Watched<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let (done, wanted) = (Pin::new(&mut self.socket).poll_read(cx, buf), buf.len());
        self.note(done, |read| *read == 0 && wanted > 0)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.socket).poll_read_vectored(cx, bufs);
        let wanted = bufs.iter().any(|buf| !buf.is_empty());
        self.note(done, |read| *read == 0 && wanted)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.note(done, |_| false)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.note(done, |_| false)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.socket).poll_flush(cx);
        self.note(done, |()| false)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let rest = match &mut this.rest {
            Some(rest) => rest,
            None => {
                ready!(Pin::new(&mut this.socket).poll_close(cx))?;
                this.rest.insert(REST)
            }
        };
        // A socket that is let go of with something unread, or to which more is sent, is
        // reset: the other end may then not even read what was said last.
        let mut buf = [0; 1024];
        while *rest > 0
            && let Ok(read @ 1..) = ready!(Pin::new(&mut this.socket).poll_read(cx, &mut buf))
        {
            *rest = rest.saturating_sub(read);
        }
        Poll::Ready(Ok(()))
    }
}

/// A multiplexer that closes in a bounded time.
pub(super) struct ClosesSoon<M> {
    muxer: M,
    broken: Arc<AtomicBool>,
    /// Runs from the first attempt to close on.
    left: Option<Pin<Box<Sleep>>>,
}

impl<M> ClosesSoon<M> {
    fn new(muxer: M, broken: Arc<AtomicBool>) -> Self {
        Self { muxer, broken, left: None }
    }

    fn end(&self, error: impl Error + Send + Sync + 'static) -> End {
        match self.broken.load(Ordering::Relaxed) {
            true => End::Broken(error.into()),
            false => End::Said(error.into()),
        }
    }
}

impl<M> StreamMuxer for ClosesSoon<M>
where
    M: StreamMuxer + Unpin,
    M::Error: Error + Send + Sync + 'static,
{
    type Substream = M::Substream;
    type Error = End;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, End>> {
        let polled = Pin::new(&mut self.muxer).poll_inbound(cx);
        polled.map_err(|error| self.end(error))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, End>> {
        let polled = Pin::new(&mut self.muxer).poll_outbound(cx);
        polled.map_err(|error| self.end(error))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if let Poll::Ready(result) = Pin::new(&mut self.muxer).poll_close(cx) {
            return Poll::Ready(result.map_err(|error| End::Closing(error.into())));
        }
        let left = self.left.get_or_insert_with(|| Box::pin(sleep(CLOSE)));
        // Dropping the multiplexer closes the socket.
        left.as_mut().poll(cx).map(Ok)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, End>> {
        let polled = Pin::new(&mut self.muxer).poll(cx);
        polled.map_err(|error| self.end(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::AsyncWriteExt as _;
    use std::{convert::Infallible, future::poll_fn};
    use tokio::{
        io::AsyncWriteExt as _,
        net::{TcpListener, TcpStream},
        time::Instant,
    };
    use tokio_util::compat::TokioAsyncReadCompatExt as _;

    /// What is closed takes this long over it.
    struct Slow(Pin<Box<Sleep>>);

    impl StreamMuxer for Slow {
        type Substream = futures::io::Cursor<Vec<u8>>;
        type Error = Infallible;

        fn poll_inbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Result<Self::Substream, Infallible>> {
            Poll::Pending
        }

        fn poll_outbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Result<Self::Substream, Infallible>> {
            Poll::Pending
        }

        fn poll_close(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Result<(), Infallible>> {
            self.0.as_mut().poll(cx).map(Ok)
        }

        fn poll(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Result<StreamMuxerEvent, Infallible>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn what_is_said_last_is_read_though_the_other_end_goes_on_to_send() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut other, _) = listener.accept().await.unwrap();
        let (mut one, broken) = Watched::new(one.compat());
        other.write_all(&[1; 100]).await.unwrap();
        one.write_all(b"bye").await.unwrap();
        let closed = tokio::spawn(async move { one.close().await });
        tokio::io::AsyncReadExt::read_u8(&mut other).await.unwrap();
        // By now it has said all that it says.
        for _ in 0..100 {
            other.write_all(&[1; 1000]).await.unwrap();
        }
        let mut said = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut other, &mut said).await.unwrap();
        assert_eq!(said, b"ye");
        drop(other);
        closed.await.unwrap().unwrap();
        assert!(!broken.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn whoever_goes_on_to_send_is_let_go_of() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut other, _) = listener.accept().await.unwrap();
        let flood = tokio::spawn(async move {
            let mut sent = 0;
            while other.write_all(&[1; 1000]).await.is_ok() {
                sent += 1000;
            }
            sent
        });
        let (mut one, _) = Watched::new(one.compat());
        one.close().await.unwrap();
        drop(one);
        assert!(flood.await.unwrap() >= REST - 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_sent_holds_up_no_end() {
        for (takes, wanted) in [
            (Duration::from_millis(200), Duration::from_millis(200)),
            (Duration::from_secs(900), CLOSE),
        ] {
            let begun = Instant::now();
            let mut muxer = ClosesSoon::new(Slow(Box::pin(sleep(takes))), Arc::default());
            poll_fn(|cx| Pin::new(&mut muxer).poll_close(cx)).await.unwrap();
            assert_eq!(begun.elapsed(), wanted);
        }
    }
}
