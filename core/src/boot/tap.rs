//! Every boot datagram that passes, for tools that show them.

use super::{packet::Packet, responder::Medium};
use crate::bus::Listener;
use futures::{Stream, StreamExt};
use std::{
    fmt,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// What a [`Tap`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tapped {
    /// A datagram.
    Datagram(Datagram),
    /// The tap was read too slowly: the oldest datagrams were dropped.
    Dropped {
        /// How many.
        count: u64,
    },
}

/// A datagram that was received, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Datagram {
    /// Where it came from.
    pub source: SocketAddr,
    /// How it came.
    pub medium: Medium,
    /// Its length in bytes.
    pub len: usize,
    /// What it says; `None` if it is malformed or its signature is wrong.
    pub packet: Option<Packet>,
    /// What became of it: the label that it is counted by in the metric
    /// `casm_boot_received`.
    pub verdict: &'static str,
}

/// Boot datagrams as they pass, from the moment of asking: a
/// [`Stream`] that is over after the service has closed.
pub struct Tap {
    datagrams: Listener<Datagram>,
    closed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Tap {
    /// What is heard until the service has closed.
    pub(super) fn new(
        datagrams: Listener<Datagram>,
        closed: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self { datagrams, closed: Box::pin(closed) }
    }

    /// The next datagram, as of the stream.
    pub async fn next(&mut self) -> Option<Tapped> {
        StreamExt::next(self).await
    }
}

impl Stream for Tap {
    type Item = Tapped;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Tapped>> {
        let mut item = self.datagrams.poll_next_unpin(cx);
        if item.is_pending() {
            // Behind what waits.
            item = self.closed.as_mut().poll(cx).map(|()| None);
        }
        let item = ready!(item);
        Poll::Ready(item.map(|datagram| match datagram {
            Ok(datagram) => Tapped::Datagram(datagram),
            Err(count) => Tapped::Dropped { count },
        }))
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("datagrams", &self.datagrams).finish_non_exhaustive()
    }
}
