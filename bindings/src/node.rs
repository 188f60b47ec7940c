//! The node, as the bindings see it.

use crate::{
    Dispatcher, Error, ErrorKind, Event, Listener, Options, PeerInfo, PeerStatus, Query,
    Reachability, Result, Stream, Subscription, View, exit,
    options::Peer,
    ours::Ours,
    peer_id, runtime,
    source::{Changes, Events, Peers},
    subscription::subscribe,
};
use casm::{
    Namespace, NodeBuilder,
    boot::{Discovery, FindOptions},
};
use futures::{FutureExt, future::BoxFuture};
use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// How long requests that are worked on may still take when a node closes.
const GRACE: Duration = Duration::from_secs(5);

/// A node. Clones share it; it closes with the last of them, or when it is
/// told to.
///
/// What waits is a future for [`block`](crate::block) or
/// [`spawn`](crate::spawn). After a close, calls give `Closed`, and so do those
/// in a forked child, which has none of the node's threads.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    id: String,
    namespace: String,
    open: Mutex<Option<Open>>,
    closed: Ours<CancellationToken>,
}

/// What there is until the node is closed.
#[derive(Clone)]
pub(crate) struct Open {
    pub(crate) node: casm::Node,
    pub(crate) dispatcher: Dispatcher,
}

/// A node that others hold.
pub(crate) struct WeakNode(Weak<Inner>);

impl WeakNode {
    pub(crate) fn upgrade(&self) -> Option<Node> {
        self.0.upgrade().map(Node)
    }
}

/// The events of a node from its first on. They wait for who takes them; of too
/// many, the oldest are dropped.
pub struct FirstEvents(Events);

impl FirstEvents {
    /// To pull.
    pub fn stream(self) -> Stream<Events> {
        Stream::new(self.0, CancellationToken::new())
    }

    /// Calls a listener with them, and with what comes after.
    ///
    /// # Errors
    /// `Closed`.
    pub fn tell(self, node: &Node, listener: impl Listener<Event>) -> Result<Subscription> {
        subscribe(&node.open()?.dispatcher, self.0, CancellationToken::new(), listener)
    }
}

/// What the options say, with the key of a file: a disk may take its time, and the
/// thread of the nodes must not wait for it.
async fn built(options: Options) -> Result<NodeBuilder> {
    let built = runtime::handle()?.spawn_blocking(move || options.builder());
    built.await.map_err(|e| Error::new(ErrorKind::Internal, format!("reading options: {e}")))?
}

/// The nodes of a process, for its end.
#[derive(Default)]
pub(crate) struct Registry(Mutex<Vec<Weak<Inner>>>);

impl Node {
    /// Starts a node, whose callbacks are to run on this dispatcher.
    ///
    /// # Errors
    /// As [`casm::Node::start`].
    pub async fn start(options: Options, dispatcher: Dispatcher) -> Result<Self> {
        Self::launch(built(options).await?, dispatcher).await
    }

    /// The same, with the node's events from its first on, such as where it
    /// listens, or a peer that is found at once.
    ///
    /// # Errors
    /// As [`casm::Node::start`].
    pub async fn start_with_events(
        options: Options,
        dispatcher: Dispatcher,
    ) -> Result<(Self, FirstEvents)> {
        let builder = built(options).await?;
        let events = FirstEvents(Events(builder.events()));
        Ok((Self::launch(builder, dispatcher).await?, events))
    }

    async fn launch(builder: NodeBuilder, dispatcher: Dispatcher) -> Result<Self> {
        // In a forked child, the caller's thread has the random generators of the
        // parent; this has its own.
        let node = builder.on(runtime::thread()?).start().await?;
        let inner = Arc::new(Inner {
            id: node.id().to_base58(),
            namespace: node.namespace().to_string(),
            open: Mutex::new(Some(Open { node, dispatcher })),
            closed: Ours::new(CancellationToken::new()),
        });
        let mut nodes = lock(&runtime::process().nodes.0);
        nodes.retain(|node| node.strong_count() > 0);
        nodes.push(Arc::downgrade(&inner));
        Ok(Self(inner))
    }

    /// The node's peer id. Also of a closed node.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The cluster's name. Also of a closed node.
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// Whether it is closed, or closing, or belongs to the parent of this
    /// process.
    pub fn is_closed(&self) -> bool {
        self.0.closed.mine().is_none_or(CancellationToken::is_cancelled)
    }

    /// The thread of the node's callbacks; none of a closed node.
    pub fn dispatcher(&self) -> Option<Dispatcher> {
        self.open().ok().map(|open| open.dispatcher)
    }

    /// Whether it is paused, or about to be.
    ///
    /// # Errors
    /// `Closed`.
    pub fn is_paused(&self) -> Result<bool> {
        Ok(self.open()?.node.is_paused())
    }

    /// The addresses at which it can be reached, each with its `/p2p/<id>`: none
    /// while it is paused.
    ///
    /// # Errors
    /// `Closed`.
    pub fn addrs(&self) -> Result<Vec<String>> {
        Ok(self.open()?.node.addrs().iter().map(ToString::to_string).collect())
    }

    /// Its id, and its addresses without the final `/p2p/<id>`.
    ///
    /// # Errors
    /// `Closed`.
    pub fn info(&self) -> Result<PeerInfo> {
        Ok(self.open()?.node.info())
    }

    /// The cluster as this node sees it now.
    ///
    /// # Errors
    /// `Closed`.
    pub fn view(&self) -> Result<View> {
        Ok(self.open()?.node.view())
    }

    /// Waits until a query finds so many records in the view; the own one
    /// counts.
    pub fn wait_for(
        &self,
        query: Query,
        n: usize,
    ) -> impl Future<Output = Result<View>> + Send + use<> {
        self.run(move |node| async move { node.wait_for_query(query, n).await })
    }

    /// Changes what others may know of this node, and tells them.
    pub fn set_meta(
        &self,
        meta: BTreeMap<String, String>,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        self.run(|node| async move { node.set_meta(meta).await })
    }

    /// Changes some of what others may know of this node, and tells them: each
    /// key gets the value, or goes if there is none. No other change comes
    /// between.
    pub fn update_meta(
        &self,
        changes: BTreeMap<String, Option<String>>,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        self.run(|node| async move {
            let change = |meta: &mut BTreeMap<String, String>| {
                for (key, value) in changes {
                    match value {
                        Some(value) => drop(meta.insert(key, value)),
                        None => drop(meta.remove(&key)),
                    }
                }
            };
            node.update_meta(change).await
        })
    }

    /// Changes the host name that others read, and tells them.
    pub fn set_host(&self, host: String) -> impl Future<Output = Result<()>> + Send + use<> {
        self.run(|node| async move { node.set_host(host).await })
    }

    /// Changes how long others keep this node's record, and tells them.
    /// In a large cluster it may be longer.
    pub fn set_ttl(&self, ttl: Duration) -> impl Future<Output = Result<()>> + Send + use<> {
        self.run(move |node| async move { node.set_ttl(ttl).await })
    }

    /// Connects to a peer, and says who it is: to whoever answers at one
    /// address, to addresses that end in `/p2p/<id>`, to an id and its
    /// addresses, or to an id alone or a record, wherever the record or peer
    /// exchange says that it is.
    pub fn connect<P: Into<Peer>>(
        &self,
        peer: P,
    ) -> impl Future<Output = Result<String>> + Send + use<P> {
        let peer = peer.into();
        self.run(|node| async move { Ok(node.connect(peer.target()?).await?.to_base58()) })
    }

    /// The ids of the peers that are connected now, in their order.
    ///
    /// # Errors
    /// `Closed`.
    pub fn connected(&self) -> Result<Vec<String>> {
        Ok(self.open()?.node.connected().iter().map(|peer| peer.to_base58()).collect())
    }

    /// What is known of a connected peer; none if it isn't connected.
    ///
    /// # Errors
    /// `Closed`; `Invalid` if it is no peer id.
    pub fn peer_status(&self, peer: &str) -> Result<Option<PeerStatus>> {
        Ok(self.open()?.node.peer_status(&peer_id(peer)?))
    }

    /// Whether others can reach this node, and where, as far as is known.
    ///
    /// # Errors
    /// `Closed`.
    pub fn reachability(&self) -> Result<Reachability> {
        Ok(self.open()?.node.reachability())
    }

    /// The node's counters, in the OpenMetrics text format.
    ///
    /// # Errors
    /// `Closed`.
    pub fn metrics(&self) -> Result<String> {
        Ok(self.open()?.node.metrics().encode())
    }

    /// The values of the node's counters now, each by its name and labels as in
    /// the text: `casm_heartbeats_total{verdict="accepted"}`.
    ///
    /// # Errors
    /// `Closed`.
    pub fn metrics_snapshot(&self) -> Result<BTreeMap<String, f64>> {
        Ok(samples(&self.metrics()?))
    }

    /// What happens from now on, to pull.
    ///
    /// # Errors
    /// `Closed`.
    pub fn events(&self) -> Result<Stream<Events>> {
        Ok(Stream::new(Events(self.open()?.node.events()), CancellationToken::new()))
    }

    /// Calls a listener with what happens from now on.
    ///
    /// # Errors
    /// `Closed`.
    pub fn on_event(&self, listener: impl Listener<Event>) -> Result<Subscription> {
        let open = self.open()?;
        let events = Events(open.node.events());
        subscribe(&open.dispatcher, events, CancellationToken::new(), listener)
    }

    /// Follows a query, to pull.
    ///
    /// # Errors
    /// `Closed`; `Invalid` if the query's ends are of different fields.
    pub fn subscribe(&self, query: Query) -> Result<Stream<Changes>> {
        query.check()?;
        let live = self.open()?.node.subscribe(query);
        Ok(Stream::new(Changes(live), CancellationToken::new()))
    }

    /// Calls a listener with what a query finds, and with every change to that.
    ///
    /// # Errors
    /// As [`Node::subscribe`].
    pub fn on_change(
        &self,
        query: Query,
        listener: impl Listener<crate::Change>,
    ) -> Result<Subscription> {
        query.check()?;
        let open = self.open()?;
        let live = Changes(open.node.subscribe(query));
        subscribe(&open.dispatcher, live, CancellationToken::new(), listener)
    }

    /// Looks for peers of this node's cluster, or of another: those that peer
    /// exchange knows (source `pex`, `pex-standby`), then where the boot
    /// addresses say.
    ///
    /// # Errors
    /// `Closed`; `Config` if the namespace is not acceptable.
    pub fn find_peers(
        &self,
        namespace: Option<&str>,
        limit: Option<usize>,
        timeout: Option<Duration>,
    ) -> Result<Stream<Peers>> {
        let node = self.open()?.node;
        let namespace = namespace.map_or_else(|| Ok(node.namespace().clone()), Namespace::new)?;
        let mut options = FindOptions::default();
        if let Some(limit) = limit {
            options = options.limit(limit);
        }
        if let Some(timeout) = timeout {
            options = options.timeout(timeout);
        }
        let _runtime = runtime::handle()?.enter();
        let finding = node.find_peers_of(&namespace, options);
        Ok(Stream::new(Peers::new(finding), self.closing()?.child_token()))
    }

    /// Lets others find this node under another namespace too, until `ttl` has
    /// passed.
    pub fn advertise(
        &self,
        namespace: String,
        ttl: Duration,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        self.run(move |node| async move {
            Discovery::advertise(node.boot(), &Namespace::new(namespace)?, ttl).await
        })
    }

    /// Leaves the cluster for a while, so that others see it at once, and lets every
    /// connection and socket go. What needs the network fails with `Paused` until it
    /// is resumed. A second call does nothing.
    pub fn pause(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.run(|node| async move { node.pause().await })
    }

    /// Comes back after a pause, with what the node has kept.
    pub fn resume(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.run(|node| async move { node.resume().await })
    }

    /// Leaves the cluster, so that others see it at once, and waits until
    /// nothing of the node is running. A second call does nothing.
    ///
    /// Requests that its services work on have `grace` to be answered before, 5 s
    /// if nothing is said; `handling` says that a handler of one waits for this,
    /// and is not waited for.
    pub fn close(
        &self,
        grace: Option<Duration>,
        handling: bool,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let this = self.clone();
        async move {
            if this.is_foreign() {
                return Ok(());
            }
            // On its own: who stops waiting, as on Ctrl-C, doesn't leave a node that is
            // open and serves nothing.
            let closing =
                runtime::handle()?.spawn(async move { this.leave(grace, handling).await });
            closing.await.map_err(|e| {
                Error::new(ErrorKind::Internal, format!("closing a node panicked: {e}"))
            })?
        }
    }

    async fn leave(&self, grace: Option<Duration>, handling: bool) -> Result<()> {
        let open = lock(&self.0.open).clone();
        let Some(open) = open else { return Ok(()) };
        // Handlers that are waited for may call others meanwhile.
        open.node.drain(grace.unwrap_or(GRACE), handling).await;
        self.closing()?.cancel();
        let result = open.node.close_within(Duration::ZERO).await;
        // With its last clone the event streams end, and the callbacks' thread.
        drop(lock(&self.0.open).take());
        result
    }

    /// A call on the node that ends when the node closes.
    pub(crate) fn run<T, F, C>(
        &self,
        call: C,
    ) -> impl Future<Output = Result<T>> + Send + use<T, F, C>
    where
        C: FnOnce(casm::Node) -> F,
        T: Send,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        // Boxed: this is compiled for each result, and not for each call.
        let open =
            self.open().and_then(|open| Ok((call(open.node).boxed(), self.closing()?.clone())));
        until_closed(open)
    }

    pub(crate) fn downgrade(&self) -> WeakNode {
        WeakNode(Arc::downgrade(&self.0))
    }

    /// Whether it belongs to the parent of this process.
    pub(crate) fn is_foreign(&self) -> bool {
        self.0.closed.mine().is_none()
    }

    /// The node of core.
    pub(crate) fn core(&self) -> Result<casm::Node> {
        Ok(self.open()?.node)
    }

    /// Is cancelled when the node closes.
    ///
    /// # Errors
    /// `Closed` in a forked child.
    pub(crate) fn closing(&self) -> Result<&CancellationToken> {
        self.0.closed.get()
    }

    pub(crate) fn open(&self) -> Result<Open> {
        if self.closing()?.is_cancelled() {
            return Err(Error::closed("node"));
        }
        lock(&self.0.open).clone().ok_or_else(|| Error::closed("node"))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if self.closed.mine().is_none() {
            // Its locks may be held by threads that don't exist here.
            std::mem::forget(open);
            return;
        }
        let Ok(runtime) = runtime::handle() else { return };
        if let Some(open) = &open {
            runtime::process().leaving.spawn_on(open.node.ended(), runtime);
        }
        let _runtime = runtime.enter();
        drop(open);
    }
}

/// Ends the nodes of this process that are still open: their callbacks at
/// once, themselves with a goodbye to the cluster, if that is done in time. Waits
/// for the goodbyes of those that were dropped, too.
/// For a language's own exit hook.
pub fn at_exit(timeout: Duration) {
    exit::begin(timeout);
    let begun = Instant::now();
    let nodes: Vec<_> = lock(&runtime::process().nodes.0).drain(..).collect();
    let nodes: Vec<_> = nodes.iter().filter_map(Weak::upgrade).map(Node).collect();
    close_all(&nodes, timeout);

    let leaving = &runtime::process().leaving;
    leaving.close();
    if !leaving.is_empty() {
        // They have been at it while the others were closed.
        wait_at_end(leaving.wait(), timeout.saturating_sub(begun.elapsed()));
    }
}

/// Waits for goodbyes, for so long at most.
fn wait_at_end(goodbyes: impl Future<Output = ()>, timeout: Duration) {
    let said = async {
        goodbyes.await;
        Ok(())
    };
    let never = || Ok::<(), Error>(());
    if let Err(error) = crate::block("closing at exit", said, Some(timeout), never) {
        tracing::debug!(%error, "not every node said goodbye");
    }
}

/// The same for some nodes of a program that may go on: one of its threads,
/// which they belong to, ends.
pub fn close_all(nodes: &[Node], timeout: Duration) {
    let open: Vec<_> = nodes.iter().filter_map(|node| node.open().ok()).collect();
    if open.is_empty() {
        return;
    }
    for open in &open {
        open.dispatcher.stop();
    }
    // A program's end waits for no handler.
    let close = |node: &Node| node.close(Some(Duration::ZERO), false);
    let closing = futures::future::join_all(nodes.iter().map(close));
    wait_at_end(closing.map(drop), timeout);
    for open in &open {
        open.dispatcher.wait_idle(timeout);
    }
}

/// The samples of a text in the OpenMetrics format that has no timestamps.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    samples.collect()
}

/// What these locks guard is whole at every moment at which a panic could
/// strike.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn until_closed<T>(
    open: Result<(BoxFuture<'static, Result<T>>, CancellationToken)>,
) -> Result<T> {
    let (call, closed) = open?;
    tokio::select! {
        biased;
        result = call => result,
        () = closed.cancelled() => Err(Error::closed("node")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_its_labels_in_its_name() {
        let text = "# HELP a b\n# TYPE a counter\na_total{by=\"x y\"} 3\nb -1.5\n# EOF\n";
        let expected = [("a_total{by=\"x y\"}".to_owned(), 3.0), ("b".to_owned(), -1.5)];
        assert_eq!(samples(text), expected.into());
    }
}
