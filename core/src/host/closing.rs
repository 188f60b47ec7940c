//! Connections that close in a bounded time.
//!
//! yamux sends what is queued before it closes. Over a dead link it waits until
//! the system gives up, which takes a quarter of an hour with TCP, and libp2p
//! doesn't call the peer disconnected before that.

use libp2p::{
    core::{
        UpgradeInfo,
        muxing::{StreamMuxer, StreamMuxerEvent},
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
    },
    futures::{TryFutureExt, future::MapOk},
};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

/// How long a connection may take to send what is queued before it closes.
const CLOSE: Duration = Duration::from_secs(1);

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

impl<C, U: InboundConnectionUpgrade<C>> InboundConnectionUpgrade<C> for Soon<U> {
    type Output = ClosesSoon<U::Output>;
    type Error = U::Error;
    type Future = MapOk<U::Future, fn(U::Output) -> Self::Output>;

    fn upgrade_inbound(self, socket: C, info: Self::Info) -> Self::Future {
        self.0.upgrade_inbound(socket, info).map_ok(ClosesSoon::new)
    }
}

impl<C, U: OutboundConnectionUpgrade<C>> OutboundConnectionUpgrade<C> for Soon<U> {
    type Output = ClosesSoon<U::Output>;
    type Error = U::Error;
    type Future = MapOk<U::Future, fn(U::Output) -> Self::Output>;

    fn upgrade_outbound(self, socket: C, info: Self::Info) -> Self::Future {
        self.0.upgrade_outbound(socket, info).map_ok(ClosesSoon::new)
    }
}

/// A multiplexer that closes in a bounded time.
pub(super) struct ClosesSoon<M> {
    muxer: M,
    /// Runs from the first attempt to close on.
    left: Option<Pin<Box<Sleep>>>,
}

impl<M> ClosesSoon<M> {
    fn new(muxer: M) -> Self {
        Self { muxer, left: None }
    }
}

impl<M: StreamMuxer + Unpin> StreamMuxer for ClosesSoon<M> {
    type Substream = M::Substream;
    type Error = M::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        Pin::new(&mut self.muxer).poll_inbound(cx)
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        Pin::new(&mut self.muxer).poll_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if let Poll::Ready(result) = Pin::new(&mut self.muxer).poll_close(cx) {
            return Poll::Ready(result);
        }
        let left = self.left.get_or_insert_with(|| Box::pin(sleep(CLOSE)));
        // Dropping the multiplexer closes the socket.
        left.as_mut().poll(cx).map(Ok)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.muxer).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{convert::Infallible, future::poll_fn};
    use tokio::time::Instant;

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

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_sent_holds_up_no_end() {
        for (takes, wanted) in [
            (Duration::from_millis(200), Duration::from_millis(200)),
            (Duration::from_secs(900), CLOSE),
        ] {
            let begun = Instant::now();
            let mut muxer = ClosesSoon::new(Slow(Box::pin(sleep(takes))));
            poll_fn(|cx| Pin::new(&mut muxer).poll_close(cx)).await.unwrap();
            assert_eq!(begun.elapsed(), wanted);
        }
    }
}
