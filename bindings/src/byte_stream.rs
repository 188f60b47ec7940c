//! Byte streams: what is read and written, from plain values.

use crate::{
    Error, ErrorKind, Listener, Node, Result, Source, Subscription, node::WeakNode, options::Peer,
    ours::Ours, subscription::subscribe,
};
use casm::streams::IncomingStreams;
use std::{
    future::Future,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio_util::sync::CancellationToken;

/// A stream of bytes to and from a peer. One call at a time may read, and one
/// write. Clones share it; if the last one is dropped before it was closed, it is
/// reset.
#[derive(Clone)]
pub struct ByteStream(Arc<Inner>);

struct Inner {
    peer: String,
    protocol: String,
    live: Ours<Live>,
    node: Node,
}

struct Live {
    peer: String,
    reader: Mutex<Half<Reader>>,
    writer: Mutex<Half<WriteHalf<casm::ByteStream>>>,
    /// Reset, or closed whole.
    over: CancellationToken,
    node: Node,
}

struct Reader {
    half: ReadHalf<casm::ByteStream>,
    /// What a call read and nobody took: the next one reads that first.
    unread: Vec<u8>,
}

/// One direction.
enum Half<T> {
    Free(T),
    /// A call uses it, or has read what is not taken yet.
    Used,
    /// Of a stream that is over.
    Gone,
}

impl ByteStream {
    /// The most bytes that a read gives at once: more than a peer sends ahead.
    pub const MOST: usize = 1 << 20;

    pub(crate) fn new(stream: casm::ByteStream, node: Node) -> Self {
        let (peer, protocol) = (stream.peer().to_base58(), stream.protocol().to_owned());
        let (reader, writer) = split(stream);
        let closing = node.closing().map(CancellationToken::child_token);
        let live = Ours::new(Live {
            peer: peer.clone(),
            reader: Mutex::new(Half::Free(Reader { half: reader, unread: Vec::new() })),
            writer: Mutex::new(Half::Free(writer)),
            over: closing.unwrap_or_default(),
            node: node.clone(),
        });
        Self(Arc::new(Inner { peer, protocol, live, node }))
    }

    /// The id of the peer at the other end.
    pub fn peer(&self) -> &str {
        &self.0.peer
    }

    /// The protocol.
    pub fn protocol(&self) -> &str {
        &self.0.protocol
    }

    /// The node at this end.
    pub fn node(&self) -> &Node {
        &self.0.node
    }

    /// Whether it is over: closed whole, reset, or its node closed; or the parent's.
    pub fn is_closed(&self) -> bool {
        self.0.live.mine().is_none_or(|live| live.over.is_cancelled())
    }

    /// Reads what is there, `most` bytes at most, and waits until there is
    /// something. Empty at the end. A call that is called off loses nothing, also
    /// when it is done already: what it has read and nobody takes is read next.
    ///
    /// # Errors
    /// `Unreachable` if the peer reset the stream or the connection was lost;
    /// `Busy` if another call reads, or what it has read is neither taken nor
    /// dropped; `Closed`; `Config` if `most` is 0.
    pub fn read(&self, most: usize) -> impl Future<Output = Result<Piece>> + Send + use<> {
        let this = self.0.clone();
        async move {
            if most == 0 {
                return Err(Error::config("most", most, "write 1 or more"));
            }
            let live = this.live.get()?;
            let mut taken = Taken::take(live, &live.reader, "reads")?;
            let Reader { half, unread } = taken.half()?;
            let mut bytes: Vec<u8> = unread.drain(..most.min(unread.len())).collect();
            if bytes.is_empty() {
                bytes.reserve_exact(most.min(Self::MOST));
                let read = async {
                    // Ends with the room that there is.
                    let mut limited = half.take(most.min(Self::MOST) as u64);
                    limited.read_buf(&mut bytes).await.map_err(|error| live.broken(&error))
                };
                live.until_over(read).await?;
            }
            let reader = taken.keep();
            Ok(Piece { stream: this, reader, bytes })
        }
    }

    /// Writes all of the bytes; waits while the peer has no room for them. If it
    /// is called off after some of them went out, the stream is reset: nobody
    /// could say where to go on.
    ///
    /// # Errors
    /// `Unreachable` if the peer reset the stream or the connection was lost;
    /// `Busy` if another call writes; `Closed`, also after
    /// [`close_write`](Self::close_write).
    pub fn write<B: AsRef<[u8]> + Send + Sync + 'static>(
        &self,
        bytes: B,
    ) -> impl Future<Output = Result<()>> + Send + use<B> {
        let this = self.0.clone();
        async move {
            let this = this.live.get()?;
            let mut taken = Taken::take(this, &this.writer, "writes")?;
            let mut partly = ResetIfPartly { stream: this, begun: false };
            let write = async {
                let half = taken.half()?;
                let written = write_out(half, bytes.as_ref(), &mut partly.begun).await;
                written.map_err(|error| this.broken(&error))
            };
            this.until_over(write).await
        }
    }

    /// Ends what is written: the peer reads to the end. Reading goes on. A second
    /// call does nothing.
    ///
    /// # Errors
    /// As of [`write`](Self::write).
    pub fn close_write(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let this = self.0.clone();
        async move {
            let this = this.live.get()?;
            let mut taken = match Taken::take(this, &this.writer, "writes") {
                Err(error) if error.kind() == ErrorKind::Closed && !this.over.is_cancelled() => {
                    return Ok(());
                }
                taken => taken?,
            };
            let close =
                async { taken.half()?.shutdown().await.map_err(|error| this.broken(&error)) };
            this.until_over(close).await?;
            taken.is_gone();
            Ok(())
        }
    }

    /// Ends what is written, and reads no more. Does nothing if the stream is
    /// over.
    ///
    /// # Errors
    /// As of [`close_write`](Self::close_write); it is over all the same.
    pub fn close(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let (this, close) = (self.clone(), self.close_write());
        async move {
            if this.is_closed() {
                return Ok(());
            }
            let closed = close.await;
            this.reset();
            closed
        }
    }

    /// Ends it at once, for calls that are waiting too. To the peer it is broken,
    /// as far as its transport tells that, unless it was closed for writing.
    pub fn reset(&self) {
        let Some(live) = self.0.live.mine() else { return };
        live.over.cancel();
        // Those that are used go when their calls end.
        drop(std::mem::replace(&mut *lock(&live.reader), Half::Gone));
        drop(std::mem::replace(&mut *lock(&live.writer), Half::Gone));
    }
}

/// What was read. Dropped before it was taken, it goes back, and is read next.
pub struct Piece {
    stream: Arc<Inner>,
    /// Kept from other calls until it is said what becomes of the bytes: nothing that
    /// is behind them is read before them.
    reader: Option<Reader>,
    bytes: Vec<u8>,
}

impl Piece {
    /// Takes the bytes.
    pub fn into_vec(mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let Some(live) = self.stream.live.mine() else {
            return std::mem::forget(self.reader.take());
        };
        if let (Some(reader), false) = (&mut self.reader, self.bytes.is_empty()) {
            self.bytes.append(&mut reader.unread);
            reader.unread = std::mem::take(&mut self.bytes);
        }
        live.put(&live.reader, self.reader.take());
    }
}

/// Writes all of the bytes. `begun` says whether some went out and others may not
/// have: those that wait to be flushed too. If it fails, the next try fails as well.
async fn write_out<W: AsyncWrite + Unpin>(
    writer: &mut W,
    mut left: &[u8],
    begun: &mut bool,
) -> io::Result<()> {
    let write = async {
        while !left.is_empty() {
            let n = writer.write(left).await?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            left = &left[n..];
            *begun = true;
        }
        writer.flush().await
    };
    let written = write.await;
    *begun = written.is_err() && *begun && !left.is_empty();
    written
}

impl Live {
    /// Runs a call that ends when the stream does.
    async fn until_over<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            result = call => result,
            () = self.over.cancelled() => Err(self.is_over()),
        }
    }

    /// Puts a direction back after a call, if the stream is not over meanwhile.
    fn put<T>(&self, place: &Mutex<Half<T>>, half: Option<T>) {
        let mut place = lock(place);
        // Looked at under the lock: a reset takes what is there.
        let half = match half {
            Some(half) if !self.over.is_cancelled() => Half::Free(half),
            _ => Half::Gone,
        };
        let before = std::mem::replace(&mut *place, half);
        drop(place);
        drop(before);
    }

    fn is_over(&self) -> Error {
        if self.node.is_closed() { Error::closed("node") } else { Error::closed("stream") }
    }

    fn broken(&self, error: &io::Error) -> Error {
        let message = format!("the stream to {} broke: {error}", self.peer);
        Error::new(ErrorKind::Unreachable, message)
    }
}

/// A direction while a call uses it. It is put back, also when the call is called
/// off.
struct Taken<'a, T> {
    stream: &'a Live,
    place: &'a Mutex<Half<T>>,
    half: Option<T>,
}

impl<'a, T> Taken<'a, T> {
    fn take(stream: &'a Live, place: &'a Mutex<Half<T>>, does: &str) -> Result<Self> {
        if stream.over.is_cancelled() {
            return Err(stream.is_over());
        }
        let mut half = lock(place);
        match std::mem::replace(&mut *half, Half::Used) {
            Half::Free(taken) => Ok(Self { stream, place, half: Some(taken) }),
            Half::Used => {
                let message = format!("another call {does} this stream: wait for it");
                Err(Error::new(ErrorKind::Busy, message))
            }
            Half::Gone => {
                *half = Half::Gone;
                let message = "the stream is closed for writing";
                Err(Error::new(ErrorKind::Closed, message))
            }
        }
    }

    fn half(&mut self) -> Result<&mut T> {
        self.half.as_mut().ok_or_else(|| Error::closed("stream"))
    }

    /// Takes it out: the caller puts it back.
    fn keep(mut self) -> Option<T> {
        let half = self.half.take();
        // There is nothing left in it.
        std::mem::forget(self);
        half
    }

    /// It is not to be used again.
    fn is_gone(&mut self) {
        self.half = None;
    }
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        self.stream.put(self.place, self.half.take());
    }
}

/// Resets a stream on which a part of something went out.
struct ResetIfPartly<'a> {
    stream: &'a Live,
    begun: bool,
}

impl Drop for ResetIfPartly<'_> {
    fn drop(&mut self) {
        if self.begun {
            self.stream.over.cancel();
            drop(std::mem::replace(&mut *lock(&self.stream.reader), Half::Gone));
        }
    }
}

/// The streams of one protocol that peers open.
pub struct Incoming {
    streams: IncomingStreams,
    /// What waits for streams keeps no node from closing when it is dropped.
    node: WeakNode,
}

impl Source for Incoming {
    type Item = ByteStream;

    async fn next(&mut self) -> Option<Result<ByteStream>> {
        let stream = self.streams.next().await?;
        Some(Ok(ByteStream::new(stream, self.node.upgrade()?)))
    }
}

impl Node {
    /// Opens a stream of a protocol to a peer, to which it connects as
    /// [`connect`](Self::connect) does. No timeout is no limit.
    pub fn open_stream<P: Into<Peer>>(
        &self,
        peer: P,
        protocol: String,
        timeout: Option<Duration>,
    ) -> impl Future<Output = Result<ByteStream>> + Send + use<P> {
        let (this, peer) = (self.clone(), peer.into());
        self.run(move |node| async move {
            let stream = node.open_stream_within(peer.target()?, protocol, timeout).await?;
            Ok(ByteStream::new(stream, this))
        })
    }

    /// Hands the streams of a protocol that peers open to a listener, until the
    /// subscription is cancelled or the node closes.
    ///
    /// # Errors
    /// As of [`casm::Node::on_stream`].
    pub fn on_stream(
        &self,
        protocol: &str,
        listener: impl Listener<ByteStream>,
    ) -> Result<Subscription> {
        let open = self.open()?;
        let streams = open.node.accept_streams(protocol)?;
        let incoming = Incoming { streams, node: self.downgrade() };
        subscribe(&open.dispatcher, incoming, self.closing()?.child_token(), listener)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    /// Takes so many bytes, and then no more; flushes if it is told to.
    struct Stalls {
        room: usize,
        flushes: bool,
    }

    impl AsyncWrite for Stalls {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let n = bytes.len().min(self.room);
            self.room -= n;
            if n == 0 { Poll::Pending } else { Poll::Ready(Ok(n)) }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.flushes { Poll::Ready(Ok(())) } else { Poll::Pending }
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Whether what was called off had begun, and `None` if it wasn't called off.
    fn called_off(room: usize, flushes: bool) -> Option<bool> {
        let mut begun = false;
        let mut writer = Stalls { room, flushes };
        match write_out(&mut writer, b"12345678", &mut begun).now_or_never() {
            Some(written) => {
                written.unwrap();
                assert!(!begun);
                None
            }
            None => Some(begun),
        }
    }

    #[test]
    fn what_is_not_flushed_yet_has_begun_and_is_not_written_again() {
        assert_eq!(called_off(0, true), Some(false));
        assert_eq!(called_off(3, true), Some(true));
        assert_eq!(called_off(8, false), Some(true));
        assert_eq!(called_off(8, true), None);
    }
}
