//! One stream with the RPC system on it, from its beginning to its end.

use super::{encoding::Encoding, network::Network, outbound::Outbound, thread::Local};
use capnp::capability::{Client, FromClientHook};
use capnp_rpc::{Disconnector, RpcSystem, rpc_twoparty_capnp::Side};
use futures::{AsyncRead, AsyncWrite, FutureExt, future::LocalBoxFuture};
use std::{
    cell::RefCell,
    pin::pin,
    rc::{Rc, Weak},
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

/// For how long the last messages of a connection may take.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// Something to be done with a capability.
pub(super) type Work<C> = Box<dyn FnOnce(C, Room) -> LocalBoxFuture<'static, ()> + Send>;

/// What waits to be written to the peer of a connection.
#[derive(Clone, Default)]
pub(crate) struct Room(Rc<RefCell<Weak<Outbound>>>);

impl Room {
    /// Waits until there is room for a request or an answer of so many bytes.
    ///
    /// # Errors
    /// When the connection is ending.
    pub(crate) async fn wait(&self, bytes: usize) -> capnp::Result<()> {
        self.outbound()?.room(bytes).await
    }

    /// Keeps room for an answer of so many bytes, if there is some now.
    ///
    /// # Errors
    /// When the connection is ending.
    pub(crate) fn try_keep(&self, bytes: usize) -> capnp::Result<Option<Kept>> {
        let is_free = self.outbound()?.try_room(bytes)?;
        Ok(is_free.then(|| Kept { room: self.clone(), bytes }))
    }

    /// Waits until there is room for an answer of so many bytes, and keeps it.
    ///
    /// # Errors
    /// When the connection is ending.
    pub(crate) async fn keep(&self, bytes: usize) -> capnp::Result<Kept> {
        self.wait(bytes).await?;
        Ok(Kept { room: self.clone(), bytes })
    }

    /// Waits until so many bytes more than were queued when this was called have been
    /// queued and written.
    ///
    /// # Errors
    /// When the connection ends before.
    pub(crate) fn written(&self, bytes: usize) -> impl Future<Output = capnp::Result<()>> + use<> {
        let outbound = self.outbound();
        let mark = outbound.as_ref().map_or(0, |outbound| outbound.pushed() + bytes as u64);
        async move { outbound?.written_to(mark).await }
    }

    fn outbound(&self) -> capnp::Result<Rc<Outbound>> {
        let ended = || capnp::Error::disconnected("the connection has ended".into());
        self.0.borrow().upgrade().ok_or_else(ended)
    }
}

/// Room for an answer. Dropped, it is given back, unless it is [used](Self::used).
#[must_use]
pub(crate) struct Kept {
    room: Room,
    bytes: usize,
}

impl Kept {
    /// An answer of so many bytes is queued in a moment.
    pub(crate) fn used(mut self, bytes: usize) {
        if let Ok(outbound) = self.room.outbound() {
            outbound.not_expected(self.bytes.saturating_sub(bytes));
        }
        self.bytes = 0;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.bytes > 0
            && let Ok(outbound) = self.room.outbound()
        {
            outbound.not_expected(self.bytes);
        }
    }
}

/// Disconnects an RPC system that is dropped before its end. Else its connection and the
/// calls that are worked on keep each other, and the objects that are called, for ever.
struct Disconnects(Disconnector<Side>);

impl Drop for Disconnects {
    fn drop(&mut self) {
        let _ = (&mut self.0).now_or_never();
    }
}

/// Serves a capability on a stream, until either side ends it.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + 'static,
    encoding: Encoding,
    local: &Local,
    bootstrap: Client,
    room: &Room,
) {
    let network = Network::new(stream, encoding, Side::Server, local);
    let outbound = network.outbound();
    *room.0.borrow_mut() = Rc::downgrade(&outbound);
    local.serves(&outbound);
    let mut system = RpcSystem::new(Box::new(network), Some(bootstrap));
    let _disconnects = Disconnects(system.get_disconnector());
    // Its errors are counted where they arise.
    let _ = (&mut system).await;
    tracing::debug!(peak = outbound.peak(), "an RPC stream has ended");
}

/// Does works with the capability that is served on a stream, until there will
/// be none any more, or the stream ends.
pub(super) async fn consume<C: FromClientHook + Clone + 'static>(
    stream: impl AsyncRead + AsyncWrite + 'static,
    encoding: Encoding,
    local: &Local,
    mut works: mpsc::Receiver<Work<C>>,
) {
    let network = Network::new(stream, encoding, Side::Client, local);
    let room = Room(Rc::new(RefCell::new(Rc::downgrade(&network.outbound()))));
    let mut system = RpcSystem::new(Box::new(network), None);
    let client: C = system.bootstrap(Side::Server);
    let disconnector = system.get_disconnector();
    let mut system = pin!(system);
    let _disconnects = Disconnects(system.get_disconnector());
    // A task each, so that a panic in one ends that one.
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut system => return,
            work = works.recv() => match work {
                Some(work) => drop(tasks.spawn_local(work(client.clone(), room.clone()))),
                None => break,
            },
            Some(_) = tasks.join_next(), if !tasks.is_empty() => (),
        }
    }
    drop(tasks);
    drop(client);
    tokio::select! {
        _ = &mut system => (),
        _ = timeout(CLOSE_GRACE, disconnector) => (),
    }
}
