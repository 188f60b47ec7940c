//! The node's streams of bytes.

use super::Node;
use crate::{
    DEFAULT_TIMEOUT, PeerId, Result,
    deadline::within,
    streams::{ByteStream, IncomingStreams, StreamServer},
    target::Target,
};
use std::time::Duration;

impl Node {
    /// Opens a stream of a protocol of one's own to a peer, to which it connects as
    /// [`connect`](Self::connect) does. The protocol is a libp2p protocol id, such
    /// as `/files/1`: 2 to 128 visible ASCII characters. There may be 64 such
    /// streams to a peer. It takes 10 s at most ([`DEFAULT_TIMEOUT`]).
    ///
    /// # Errors
    /// As of `connect`; `Config` if the protocol is not acceptable, or one of
    /// CASM's or libp2p's own; `Protocol` if the peer doesn't take it; `Busy` if
    /// there are 64; `Unreachable` if the connection ends; `Timeout`.
    pub async fn open_stream(
        &self,
        peer: impl Into<Target>,
        protocol: impl AsRef<str>,
    ) -> Result<ByteStream> {
        self.open_stream_within(peer, protocol, DEFAULT_TIMEOUT).await
    }

    /// The same, with another limit: `None` is none for connecting, and a peer that is
    /// connected has 10 s.
    ///
    /// # Errors
    /// As of [`open_stream`](Self::open_stream).
    pub async fn open_stream_within(
        &self,
        peer: impl Into<Target>,
        protocol: impl AsRef<str>,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<ByteStream> {
        let (peer, protocol) = (peer.into(), protocol.as_ref());
        let whose = peer.to_string();
        let what = || format!("no stream for {protocol} was opened to {whose}");
        within(timeout.into(), what, self.0.streams.open(peer, protocol)).await
    }

    /// Has `handler` take the streams of a protocol that peers open, each in a task
    /// of its own. It goes on until it is stopped or the node closes, which ends
    /// the handlers that are at work too; dropping what this gives does not stop
    /// it. Of a peer that has 64 open, and of all when there are 2,048, more are
    /// reset.
    ///
    /// # Errors
    /// `Config` as of [`open_stream`](Self::open_stream); `Busy` if the protocol is
    /// taken already; `TooLarge` if the ids of all that are taken are longer than
    /// 1,024 bytes together; `Closed`.
    pub fn on_stream<F, Fut>(&self, protocol: impl AsRef<str>, handler: F) -> Result<StreamServer>
    where
        F: Fn(ByteStream, PeerId) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.0.streams.on_stream(protocol.as_ref(), handler)
    }

    /// The same streams one after the other, for who would rather take than be
    /// given them. Up to 64 wait.
    ///
    /// # Errors
    /// As of [`on_stream`](Self::on_stream).
    pub fn accept_streams(&self, protocol: impl AsRef<str>) -> Result<IncomingStreams> {
        self.0.streams.accept(protocol.as_ref())
    }
}
