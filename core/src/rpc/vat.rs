//! The vat: exports capabilities to peers, and connects to theirs.
//!
//! Cap'n Proto's RPC system is not `Send`. It lives on one thread of its own,
//! which starts with the first use; what others ask of it, they send there.

use super::{
    connection::{self, Work},
    encoding::Encoding,
    limits::Limits,
    metrics::RpcMetrics,
    name,
    thread::{Local, Thread},
};
use crate::{
    Error, ErrorKind, Namespace, Result,
    host::{Host, Stream},
    metrics::Metrics,
    scope::Scope,
};
use capnp::capability::{Client, FromClientHook};
use futures::{FutureExt, StreamExt, stream::select_all};
use libp2p::PeerId;
use std::{
    fmt,
    future::Future,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
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
    host: Host,
    namespace: Namespace,
    thread: Thread,
}

impl Vat {
    /// The namespace in which its capabilities have their names.
    pub(crate) fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// A vat whose thread ends with the scope.
    pub(crate) fn new(
        host: Host,
        namespace: Namespace,
        limits: Limits,
        metrics: &Metrics,
        scope: &Scope,
    ) -> Result<Self> {
        limits.check()?;
        let thread = Thread::new(limits, RpcMetrics::new(metrics), scope.child());
        Ok(Self(Arc::new(Inner { host, namespace, thread })))
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
        name::check(name)?;
        let mut incoming = Vec::new();
        for encoding in Encoding::ALL {
            let protocol = name::protocol(&self.0.namespace, name, encoding);
            let streams = self.0.host.accept(protocol)?;
            incoming.push(streams.map(move |(peer, stream)| (peer, stream, encoding)));
        }
        let token = CancellationToken::new();
        let make = move |peer| Client::new(bootstrap(peer).into_client_hook());
        let accepting = accept(self.clone(), select_all(incoming), make, token.clone());
        self.0.thread.spawn_beside(accepting);
        Ok(Export { vat: self.clone(), _withdraw: token.drop_guard() })
    }

    /// Connects to a capability that a peer exports by this name. There must be
    /// a connection to the peer. The encodings are tried in the order of
    /// [`Encoding::ALL`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the peer exports nothing by this name in this
    /// namespace; [`ErrorKind::Unreachable`] if there is no connection to it;
    /// [`ErrorKind::Config`] if the name is not acceptable;
    /// [`ErrorKind::Paused`]; [`ErrorKind::Closed`] after the node has closed.
    pub async fn connect<C>(&self, peer: PeerId, name: &str) -> Result<Remote<C>>
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
        peer: PeerId,
        name: &str,
        encodings: &[Encoding],
    ) -> Result<Remote<C>>
    where
        C: FromClientHook + Clone + 'static,
    {
        name::check(name)?;
        for &encoding in encodings {
            let protocol = name::protocol(&self.0.namespace, name, encoding);
            match self.0.host.open_stream(peer, protocol).await {
                Ok(stream) => return self.over(stream, peer, encoding).await,
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

    async fn over<C>(&self, stream: Stream, peer: PeerId, encoding: Encoding) -> Result<Remote<C>>
    where
        C: FromClientHook + Clone + 'static,
    {
        // One that waits is enough: works are taken as they come.
        let (work, works) = mpsc::channel(1);
        self.0
            .thread
            .run(move |local| {
                let local = local.clone();
                tokio::task::spawn_local(async move {
                    let _counted = local.count();
                    connection::consume(stream, encoding, &local, works).await;
                });
            })
            .await?;
        Ok(Remote { vat: self.clone(), peer, encoding, work })
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
    mut incoming: impl futures::Stream<Item = (PeerId, Stream, Encoding)> + Unpin,
    bootstrap: impl FnMut(PeerId) -> Client + Send + 'static,
    token: CancellationToken,
) {
    let bootstrap = Arc::new(Mutex::new(bootstrap));
    let streams = token.clone();
    let each = async {
        while let Some((peer, stream, encoding)) = incoming.next().await {
            let (bootstrap, token) = (bootstrap.clone(), streams.clone());
            let serve = move |local: &Rc<Local>| {
                let Some(admitted) = local.admit(peer, stream.prefix()) else { return };
                let client = bootstrap.lock().unwrap_or_else(PoisonError::into_inner)(peer);
                let local = local.clone();
                tokio::task::spawn_local(token.run_until_cancelled_owned(async move {
                    tokio::select! {
                        () = connection::serve(stream, encoding, &local, client) => (),
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
        self.work.is_closed()
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
        let (mut reply, answer) = oneshot::channel();
        let work: Work<C> = Box::new(move |client| {
            async move {
                tokio::select! {
                    biased;
                    () = reply.closed() => (),
                    result = work(client) => drop(reply.send(result)),
                }
            }
            .boxed_local()
        });
        let ended = || {
            if self.vat.0.host.life().is_paused() {
                return Error::paused();
            }
            let message = format!("the connection to {} has ended: connect again", self.peer);
            Error::new(ErrorKind::Unreachable, message)
        };
        self.work.send(work).await.map_err(|_| ended())?;
        // As in `ask`: what is sent while its receiver is being dropped can stay.
        let answer = tokio::select! {
            biased;
            answer = answer => answer,
            () = self.work.closed() => return Err(ended()),
        };
        match answer {
            Ok(result) => result.map_err(|error| rpc_error(&self.peer, error)),
            Err(_) if self.work.is_closed() => Err(ended()),
            Err(_) => Err(Error::new(ErrorKind::Internal, "the work with a capability panicked")),
        }
    }
}

impl<C> Clone for Remote<C> {
    fn clone(&self) -> Self {
        let Self { vat, peer, encoding, work } = self;
        Self { vat: vat.clone(), peer: *peer, encoding: *encoding, work: work.clone() }
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
