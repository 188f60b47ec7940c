//! The vat: exports capabilities to peers, and connects to theirs.
//!
//! Cap'n Proto's RPC system is not `Send`. It lives on one thread of its own,
//! which starts with the first use; what others ask of it, they send there.

use super::{
    connection::{self, Room, Work},
    encoding::Encoding,
    limits::Limits,
    metrics::RpcMetrics,
    name,
    thread::{Large, Local, Thread},
};
use crate::{
    Error, ErrorKind, Namespace, NodeThread, Result,
    host::{OfConnection, Stream},
    metrics::Metrics,
    scope::Scope,
    target::{Connector, Target},
};
use capnp::capability::{Client, FromClientHook};
use futures::{FutureExt, StreamExt, stream::select_all};
use libp2p::PeerId;
use std::{
    fmt,
    future::Future,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Exports capabilities to peers, and connects to theirs. A capability is an
/// object with a Cap'n Proto interface (<https://capnproto.org/rpc.html>),
/// known to peers by a name within the namespace. Clones are the same vat.
///
/// Each connection to a capability is one libp2p stream of the protocol
/// `/casm/0.0.0/<namespace>/<name>`, plain, packed (`…/packed`), in LZ4 frames
/// (`…/lz4`), or both (`…/packed/lz4`). [`Limits`] bounds what it may cost.
#[derive(Clone)]
pub struct Vat(Arc<Inner>);

struct Inner {
    connector: Connector,
    namespace: Namespace,
    thread: Thread,
}

impl Vat {
    /// The namespace in which its capabilities have their names.
    pub(crate) fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// What connects it to peers.
    pub(crate) fn connector(&self) -> &Connector {
        &self.0.connector
    }

    /// A vat whose thread ends with the scope: it lives on the node's, or has one of its
    /// own.
    pub(crate) fn new(
        connector: Connector,
        namespace: Namespace,
        limits: Limits,
        metrics: &Metrics,
        scope: &Scope,
        home: Option<NodeThread>,
    ) -> Result<Self> {
        limits.check()?;
        let thread = Thread::new(limits, RpcMetrics::new(metrics), scope.child(), home);
        Ok(Self(Arc::new(Inner { connector, namespace, thread })))
    }

    /// Exports a capability by name: `bootstrap` makes it for each connection,
    /// and is told whose it is. It runs on the vat's thread, as do the methods
    /// of the objects that it makes: they must not block.
    ///
    /// A name has 1 to 64 visible characters, and no slash. The capability is
    /// exported until what this gives is dropped or the node closes.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the name is not acceptable; [`ErrorKind::Busy`]
    /// if it is exported already; [`ErrorKind::Closed`] after the node has
    /// closed.
    pub fn export<C, F>(&self, name: &str, mut bootstrap: F) -> Result<Export>
    where
        C: FromClientHook,
        F: FnMut(PeerId) -> C + Send + 'static,
    {
        self.export_with(name, Exported::default(), move |peer, _| bootstrap(peer))
    }

    /// Exports a capability in some encodings. `bootstrap` is told, beside whose
    /// the connection is, what waits to be written on it.
    ///
    /// # Errors
    /// As of [`export`](Self::export).
    pub(crate) fn export_with<C, F>(
        &self,
        name: &str,
        how: Exported<'_>,
        mut bootstrap: F,
    ) -> Result<Export>
    where
        C: FromClientHook,
        F: FnMut(PeerId, Room) -> C + Send + 'static,
    {
        name::check(name)?;
        let mut incoming = Vec::new();
        for &encoding in how.encodings {
            let protocol = name::protocol(&self.0.namespace, name, encoding);
            let streams = self.0.connector.host().accept(protocol)?;
            incoming.push(streams.map(move |(peer, stream)| (peer, stream, encoding)));
        }
        let token = CancellationToken::new();
        let make = move |peer, room| Client::new(bootstrap(peer, room).into_client_hook());
        let served = (select_all(incoming), how.large());
        let accepting = accept(self.clone(), served, make, token.clone());
        self.0.thread.spawn_beside(accepting);
        Ok(Export { vat: self.clone(), _withdraw: token.drop_guard() })
    }

    /// Connects to a capability that a peer exports by this name, and to the peer
    /// if it isn't connected yet. The encodings are tried in the order of
    /// [`Encoding::ALL`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the peer exports nothing by this name in this
    /// namespace, or no address of it is known; [`ErrorKind::Unreachable`] if it
    /// answers at none; [`ErrorKind::Invalid`] if it is this node itself;
    /// [`ErrorKind::Config`] if the name is not acceptable;
    /// [`ErrorKind::Paused`]; [`ErrorKind::Closed`] after the node has closed.
    pub async fn connect<C>(&self, peer: impl Into<Target>, name: &str) -> Result<Remote<C>>
    where
        C: FromClientHook + Clone + 'static,
    {
        self.connect_with(peer, name, &Encoding::ALL).await
    }

    /// Connects as [`connect`](Self::connect) does, trying these encodings in
    /// this order.
    ///
    /// # Errors
    /// As of `connect`.
    pub async fn connect_with<C>(
        &self,
        peer: impl Into<Target>,
        name: &str,
        encodings: &[Encoding],
    ) -> Result<Remote<C>>
    where
        C: FromClientHook + Clone + 'static,
    {
        self.connect_as(peer, name, Exported { encodings, ..Exported::default() }).await
    }

    /// Connects to a capability that is exported so.
    ///
    /// # Errors
    /// As of `connect`.
    pub(crate) async fn connect_as<C>(
        &self,
        peer: impl Into<Target>,
        name: &str,
        how: Exported<'_>,
    ) -> Result<Remote<C>>
    where
        C: FromClientHook + Clone + 'static,
    {
        name::check(name)?;
        let peer = self.0.connector.connect(peer).await?;
        for &encoding in how.encodings {
            let protocol = name::protocol(&self.0.namespace, name, encoding);
            match self.0.connector.host().open_stream(peer, protocol).await {
                Ok(stream) => return self.over(stream, peer, encoding, how.large()).await,
                Err(error) if error.kind() == ErrorKind::Protocol => (),
                Err(error) => return Err(error),
            }
        }
        let message = format!(
            "{peer} exports no `{name}` in the namespace `{}`: check both names",
            self.0.namespace
        );
        Err(Error::new(ErrorKind::NotFound, message))
    }

    /// Waits until what is on its way to peers is written, for so long at most.
    pub(crate) async fn flush(&self, most: Duration) {
        if !self.0.thread.is_started() {
            return;
        }
        let (done, written) = oneshot::channel::<()>();
        let flush = self.0.thread.run(move |local| {
            let local = local.clone();
            tokio::task::spawn_local(async move {
                local.flush().await;
                drop(done);
            });
        });
        // Of a thread that has ended nothing is on its way.
        let _ = tokio::time::timeout(most, async {
            let _ = flush.await;
            let _ = written.await;
        })
        .await;
    }

    async fn over<C>(
        &self,
        stream: Stream,
        peer: PeerId,
        encoding: Encoding,
        large: Option<Large>,
    ) -> Result<Remote<C>>
    where
        C: FromClientHook + Clone + 'static,
    {
        // One that waits is enough: works are taken as they come.
        let (work, works) = mpsc::channel(1);
        let connection = stream.connection();
        let ended = self
            .0
            .thread
            .run(move |local| {
                let local = large.map_or_else(|| local.clone(), |how| local.for_large_calls(how));
                tokio::task::spawn_local(async move {
                    let _counted = local.count();
                    connection::consume(stream, encoding, &local, works).await;
                });
            })
            .await?;
        Ok(Remote { vat: self.clone(), peer, encoding, work, ended, connection })
    }
}

impl fmt::Debug for Vat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vat").field("namespace", &self.0.namespace).finish_non_exhaustive()
    }
}

/// Serves the streams of one name. Only when one comes is the thread needed.
async fn accept(
    vat: Vat,
    (mut incoming, large): (
        impl futures::Stream<Item = (PeerId, Stream, Encoding)> + Unpin,
        Option<Large>,
    ),
    bootstrap: impl FnMut(PeerId, Room) -> Client + Send + 'static,
    token: CancellationToken,
) {
    let bootstrap = Arc::new(Mutex::new(bootstrap));
    let streams = token.clone();
    let each = async {
        while let Some((peer, stream, encoding)) = incoming.next().await {
            let (bootstrap, token) = (bootstrap.clone(), streams.clone());
            let serve = move |local: &Rc<Local>| {
                let Some(admitted) = local.admit(peer, stream.prefix()) else { return };
                let room = Room::default();
                let make = &mut *bootstrap.lock().unwrap_or_else(PoisonError::into_inner);
                let client = make(peer, room.clone());
                let local = large.map_or_else(|| local.clone(), |how| local.for_large_calls(how));
                tokio::task::spawn_local(token.run_until_cancelled_owned(async move {
                    tokio::select! {
                        () = connection::serve(stream, encoding, &local, client, &room) => (),
                        () = admitted.ended() => (),
                    }
                }));
            };
            if let Err(error) = vat.0.thread.run(serve).await {
                tracing::warn!(%error, "an RPC stream is not served");
            }
        }
    };
    token.run_until_cancelled(each).await;
}

/// How a capability is exported.
#[derive(Clone, Copy)]
pub(crate) struct Exported<'a> {
    /// In which encodings.
    pub(crate) encodings: &'a [Encoding],
    /// Whether its calls and answers are large, and both ends wait until there is
    /// [`Room`] for them.
    pub(crate) large_calls: bool,
    /// Whether such calls may take longer than [`Limits::call`]: they have a limit of
    /// their own.
    pub(crate) long_calls: bool,
}

impl Exported<'_> {
    fn large(self) -> Option<Large> {
        self.large_calls.then_some(Large { long: self.long_calls })
    }
}

impl Default for Exported<'_> {
    fn default() -> Self {
        Self { encodings: &Encoding::ALL, large_calls: false, long_calls: false }
    }
}

/// A capability that is exported. Dropping this withdraws it, and ends the
/// connections to it.
#[must_use = "dropping this withdraws the capability"]
pub struct Export {
    vat: Vat,
    _withdraw: DropGuard,
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("vat", &self.vat).finish_non_exhaustive()
    }
}

/// A connection to a capability of a peer. Clones share it; it ends when the
/// last one is dropped.
pub struct Remote<C> {
    vat: Vat,
    peer: PeerId,
    encoding: Encoding,
    work: mpsc::Sender<Work<C>>,
    /// Cancelled when the vat's thread has ended.
    ended: CancellationToken,
    /// It may have ended before the thread has come to hear of it, and another be there.
    connection: OfConnection,
}

impl<C: FromClientHook + Clone + 'static> Remote<C> {
    /// The peer.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// How the connection's messages are encoded.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Whether the connection has ended. It is not made again by itself.
    pub fn is_closed(&self) -> bool {
        self.work.is_closed() || self.ended.is_cancelled() || self.connection.has_ended()
    }

    /// Cancelled when the connection has ended, or there is a better one to the peer.
    pub(crate) fn stale(&self) -> &CancellationToken {
        self.connection.stale()
    }

    /// Runs `work` with the capability, on the vat's thread, where it must not
    /// block. Dropping the future ends the work, and cancels its calls.
    ///
    /// # Errors
    /// What `work` gives: [`ErrorKind::Unreachable`] if the connection ended,
    /// [`ErrorKind::Paused`] if it did because the node is paused,
    /// [`ErrorKind::Busy`] if the peer has too much to do,
    /// [`ErrorKind::Protocol`] for all else that the peer's object reports.
    /// [`ErrorKind::Internal`] if `work` panicked.
    pub async fn with<T, F, Fut>(&self, work: F) -> Result<T>
    where
        F: FnOnce(C) -> Fut + Send + 'static,
        Fut: Future<Output = capnp::Result<T>> + 'static,
        T: Send + 'static,
    {
        self.with_room(|client, _| work(client)).await
    }

    /// The same, with what waits to be written on the connection.
    ///
    /// # Errors
    /// As of [`with`](Self::with).
    pub(crate) async fn with_room<T, F, Fut>(&self, work: F) -> Result<T>
    where
        F: FnOnce(C, Room) -> Fut + Send + 'static,
        Fut: Future<Output = capnp::Result<T>> + 'static,
        T: Send + 'static,
    {
        let (mut reply, answer) = oneshot::channel();
        let work: Work<C> = Box::new(move |client, room| {
            async move {
                tokio::select! {
                    biased;
                    () = reply.closed() => (),
                    result = work(client, room) => drop(reply.send(result)),
                }
            }
            .boxed_local()
        });
        let ended = || {
            if !self.vat.0.connector.host().life().is_up() {
                return Error::paused();
            }
            let message = format!("the connection to {} has ended: connect again", self.peer);
            Error::new(ErrorKind::Unreachable, message)
        };
        let answered = async {
            self.work.send(work).await.map_err(|_| ended())?;
            answer.await.map_err(|_| match self.is_closed() {
                true => ended(),
                false => Error::new(ErrorKind::Internal, "the work with a capability panicked"),
            })
        };
        // As in `ask`: what is sent while its receiver is being dropped can stay, be it
        // the work, or the connection's end for works, as the thread ends.
        let answered = tokio::select! {
            biased;
            answered = answered => answered?,
            () = self.work.closed() => return Err(ended()),
            () = self.ended.cancelled() => return Err(ended()),
        };
        answered.map_err(|error| rpc_error(&self.peer, error))
    }
}

impl<C> Clone for Remote<C> {
    fn clone(&self) -> Self {
        let Self { vat, peer, encoding, work, ended, connection } = self;
        let (vat, work, ended) = (vat.clone(), work.clone(), ended.clone());
        let connection = connection.clone();
        Self { vat, peer: *peer, encoding: *encoding, work, ended, connection }
    }
}

impl<C> fmt::Debug for Remote<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vat, peer, encoding, .. } = self;
        f.debug_struct("Remote")
            .field("vat", vat)
            .field("peer", peer)
            .field("encoding", encoding)
            .finish_non_exhaustive()
    }
}

/// What an error of the RPC system is to our callers.
fn rpc_error(peer: &PeerId, error: capnp::Error) -> Error {
    let kind = match error.kind {
        capnp::ErrorKind::Disconnected => ErrorKind::Unreachable,
        capnp::ErrorKind::Overloaded => ErrorKind::Busy,
        _ => ErrorKind::Protocol,
    };
    Error::new(kind, format!("{peer}: {error}")).with_source(error)
}

#[cfg(test)]
pub(crate) mod tests;
