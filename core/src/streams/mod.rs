//! Byte streams between two peers, of protocols that are the program's own: plain
//! libp2p streams, which peers on other stacks speak too.
//!
//! `stream` is one of them, `protocol` says what they may be called, `places` how
//! many there may be.

mod places;
mod protocol;
mod stream;
#[cfg(test)]
mod tests;

pub use stream::ByteStream;

use crate::{
    Error, PeerId, Result,
    host::Incoming,
    metrics::Metrics,
    scope::Scope,
    target::{Connector, Target},
};
use futures::StreamExt;
use places::{Places, Side};
use protocol::Protocols;
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio_util::sync::CancellationToken;

/// The streams of a node's program. Clones share them.
#[derive(Clone)]
pub(crate) struct Streams {
    connector: Connector,
    places: Places,
    protocols: Protocols,
    scope: Scope,
}

impl Streams {
    pub(crate) fn new(connector: Connector, metrics: &Metrics, scope: &Scope) -> Self {
        let (places, protocols) = (Places::new(metrics), Protocols::default());
        Self { connector, places, protocols, scope: scope.clone() }
    }

    /// Opens a stream to a peer.
    pub(crate) async fn open(&self, peer: impl Into<Target>, protocol: &str) -> Result<ByteStream> {
        let protocol = protocol::check(protocol)?;
        let peer = self.connector.connect(peer).await?;
        let host = self.connector.host();
        let network = host.network(&peer);
        let place = self.places.take(peer, network, Side::Opened).ok_or_else(|| {
            let message = format!(
                "{} streams to {peer} are open, and more are not allowed: close some first",
                Places::OF_PEER
            );
            Error::new(crate::ErrorKind::Busy, message)
        })?;
        let stream = host.open_stream(peer, protocol.clone()).await?;
        Ok(ByteStream::new(stream, peer, protocol, place))
    }

    /// Takes the streams of a protocol that come in, until what this gives is
    /// dropped.
    pub(crate) fn accept(&self, protocol: &str) -> Result<IncomingStreams> {
        if self.scope.is_cancelled() {
            return Err(Error::closed("node"));
        }
        let protocol = protocol::check(protocol)?;
        let room = self.protocols.take(&protocol)?;
        let incoming = self.connector.host().accept(protocol.clone())?;
        let ended = Box::pin(self.scope.cancelled_owned());
        Ok(IncomingStreams { incoming, places: self.places.clone(), ended, _room: room })
    }

    /// Hands the streams of a protocol that come in to a handler.
    pub(crate) fn on_stream<F, Fut>(&self, protocol: &str, handler: F) -> Result<StreamServer>
    where
        F: Fn(ByteStream, PeerId) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let mut incoming = self.accept(protocol)?;
        let handler = Arc::new(handler);
        let stop = CancellationToken::new();
        let (stopped, scope) = (stop.clone(), self.scope.clone());
        self.scope.spawn(async move {
            let each = async {
                while let Some(stream) = incoming.next().await {
                    let (handler, peer) = (handler.clone(), stream.peer());
                    // One that panics takes its own stream with it.
                    scope.spawn(async move { handler(stream, peer).await });
                }
            };
            stopped.run_until_cancelled_owned(each).await;
        });
        Ok(StreamServer { protocol: protocol.into(), stop })
    }
}

/// The streams of one protocol that come in. It ends when the node closes;
/// dropping it refuses the protocol from then on.
#[must_use = "dropping this refuses the protocol"]
pub struct IncomingStreams {
    incoming: Incoming,
    places: Places,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    _room: protocol::Room,
}

impl IncomingStreams {
    /// The next stream; `None` when the node has closed.
    pub async fn next(&mut self) -> Option<ByteStream> {
        StreamExt::next(self).await
    }
}

impl futures::Stream for IncomingStreams {
    type Item = ByteStream;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ByteStream>> {
        let this = &mut *self;
        if this.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        loop {
            let Some((peer, stream)) = ready!(this.incoming.poll_next_unpin(cx)) else {
                return Poll::Ready(None);
            };
            // One too many is dropped, which resets it.
            let Some(place) = this.places.take(peer, Some(stream.prefix()), Side::Accepted) else {
                continue;
            };
            let protocol = this.incoming.protocol().clone();
            return Poll::Ready(Some(ByteStream::new(stream, peer, protocol, place)));
        }
    }
}

impl fmt::Debug for IncomingStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = self.incoming.protocol();
        f.debug_struct("IncomingStreams").field("protocol", protocol).finish_non_exhaustive()
    }
}

/// A handler of streams, which goes on until it is stopped or the node closes:
/// dropping this does not stop it.
#[derive(Clone, Debug)]
pub struct StreamServer {
    protocol: Arc<str>,
    stop: CancellationToken,
}

impl StreamServer {
    /// The protocol whose streams are handled.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// Takes no more streams. Those that are being handled go on.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}
