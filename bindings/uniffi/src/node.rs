//! The node.

use crate::{
    byte_stream::ByteStream,
    call::{Call, Waiting, guard, start, wait, waits},
    config::{Config, FindOptions},
    csp::{Channel, Semaphore},
    errors::Result,
    items::{PeerInfo, PeerStatus},
    listener::{ChangeListener, EventListener, StreamListener, Subscription, Told},
    pending::PendingNode,
    query::Query,
    reach::Reachability,
    remote::RemoteView,
    stream::{ChangeStream, EventStream, PeerStream},
    topic::{Topic, TopicOptions},
    view::View,
};
use casm_bindings::{Dispatcher, duration, time_limit};
use std::{collections::HashMap, convert::identity, sync::Arc, thread, time::Duration};

/// A member of a cluster, or an observer of one. Times are in seconds.
///
/// After a close, calls throw `Closed`. What is dropped without one closes, and
/// nobody waits for that.
#[derive(uniffi::Object)]
pub struct Node(casm_bindings::Node);

#[uniffi::export]
impl Node {
    /// Starts a node. `on_event` is told what happens to it from the first event
    /// on, until it is closed.
    #[uniffi::constructor(default(timeout = None, on_event = None))]
    pub fn start(
        config: Config,
        timeout: Option<f64>,
        on_event: Option<Arc<dyn EventListener>>,
    ) -> Result<Self> {
        wait(STARTING, || starting(config, timeout, on_event))
    }

    /// The node's peer id. Also of a closed node.
    pub fn id(&self) -> String {
        self.0.id().to_owned()
    }

    /// The cluster's name. Also of a closed node.
    pub fn namespace(&self) -> String {
        self.0.namespace().to_owned()
    }

    /// Whether it is closed.
    pub fn closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Whether it is paused, or about to be.
    pub fn is_paused(&self) -> Result<bool> {
        guard("is_paused", || self.0.is_paused())
    }

    /// The multiaddrs at which it can be reached, each with its `/p2p/<id>`: none
    /// while it is paused.
    pub fn addrs(&self) -> Result<Vec<String>> {
        guard("addrs", || self.0.addrs())
    }

    /// Its id and its addresses.
    pub fn info(&self) -> Result<PeerInfo> {
        guard("info", || self.0.info()).map(PeerInfo::from)
    }

    /// The cluster as this node sees it now.
    pub fn view(&self) -> Result<View> {
        guard("view", || self.0.view()).map(View::from)
    }

    /// The ids of the peers that are connected now, in their order.
    pub fn connected(&self) -> Result<Vec<String>> {
        guard("connected", || self.0.connected())
    }

    /// What is known of a connected peer; none if it isn't connected.
    pub fn peer_status(&self, peer: String) -> Result<Option<PeerStatus>> {
        guard("peer_status", || self.0.peer_status(&peer)).map(|s| s.map(PeerStatus::from))
    }

    /// Whether others can reach this node, and where.
    pub fn reachability(&self) -> Result<Reachability> {
        guard("reachability", || self.0.reachability()).map(Reachability::from)
    }

    /// The node's counters, in the OpenMetrics text format.
    pub fn metrics(&self) -> Result<String> {
        guard("metrics", || self.0.metrics())
    }

    /// The values of the node's counters now, each by its name and labels as in
    /// the text.
    pub fn metrics_snapshot(&self) -> Result<HashMap<String, f64>> {
        guard("metrics_snapshot", || Ok(self.0.metrics_snapshot()?.into_iter().collect()))
    }

    /// Gives a listener the streams of a protocol that peers open.
    pub fn on_stream(
        &self,
        protocol: String,
        listener: Arc<dyn StreamListener>,
    ) -> Result<Subscription> {
        guard("on_stream", || self.0.on_stream(&protocol, Told(listener))).map(Subscription::from)
    }

    /// A channel of this node, which others open by its name: one that is here and
    /// open, or a new one. So many values may wait in it; with 0, each is handed from
    /// sender to receiver.
    #[uniffi::method(default(capacity = 0, close_by_others = false))]
    pub fn channel(&self, name: String, capacity: u32, close_by_others: bool) -> Result<Channel> {
        guard("channel", || self.0.channel(&name, capacity as usize, close_by_others))
            .map(Channel::from)
    }

    /// What happens from now on, to pull.
    pub fn events(&self) -> Result<EventStream> {
        guard("events", || self.0.events()).map(EventStream::from)
    }

    /// Tells a listener what happens from now on.
    pub fn on_event(&self, listener: Arc<dyn EventListener>) -> Result<Subscription> {
        guard("on_event", || self.0.on_event(Told(listener))).map(Subscription::from)
    }

    /// Follows a query, to pull.
    #[uniffi::method(default(query))]
    pub fn subscribe(&self, query: Query) -> Result<ChangeStream> {
        guard("subscribe", || self.0.subscribe(query.build()?)).map(ChangeStream::from)
    }

    /// Tells a listener what a query finds, and every change to that.
    pub fn on_change(
        &self,
        query: Query,
        listener: Arc<dyn ChangeListener>,
    ) -> Result<Subscription> {
        guard("on_change", || self.0.on_change(query.build()?, Told(listener)))
            .map(Subscription::from)
    }

    /// A handle of a topic, which the node joins if it has not. The name is 1 to 48
    /// of `A-Z a-z 0-9 . _ -`.
    #[uniffi::method(default(options))]
    pub fn topic(&self, name: String, options: TopicOptions) -> Result<Topic> {
        guard("topic", || self.0.topic(&name, options.build()?)).map(Topic::from)
    }

    /// Looks for peers, where the boot addresses say.
    #[uniffi::method(default(options))]
    pub fn find_peers(&self, options: FindOptions) -> Result<PeerStream> {
        let FindOptions { namespace, limit, timeout } = options;
        guard("find_peers", || {
            let timeout = timeout.map(|timeout| duration("timeout", timeout)).transpose()?;
            self.0.find_peers(namespace.as_deref(), limit.map(|limit| limit as usize), timeout)
        })
        .map(PeerStream::from)
    }
}

waits! {
    impl Node {
        /// Waits until the view holds `n` records, the own one among them; or `n`
        /// that a query finds.
        #[uniffi::method(default(timeout = None, query = None))]
        fn wait_for / start_wait_for(
            &self,
            n: u32,
            timeout: Option<f64>,
            query: Option<Query>,
        ) -> View {
            let query = query.unwrap_or_default().build()?;
            (self.0.wait_for(query, n as usize), timeout, View::from)
        }

        /// The view of a peer, as it is there. Connects to it as `connect` does, by its
        /// id or an address.
        #[uniffi::method(default(timeout))]
        fn view_of / start_view_of(&self, peer: String, timeout: Option<f64>) -> RemoteView {
            (self.0.view_of(peer), timeout, RemoteView::from)
        }

        /// Connects to a peer, and says who it is: to whoever answers at one
        /// address, to addresses that end in `/p2p/<id>`, to an id and its
        /// addresses, or to an id alone, wherever its record or peer exchange says
        /// that it is.
        #[uniffi::method(default(timeout))]
        fn connect / start_connect(&self, addrs: Vec<String>, timeout: Option<f64>) -> String {
            (self.0.connect(addrs), timeout, identity)
        }

        /// Opens a stream of a protocol to a peer, to which it connects as `connect`
        /// does. The protocol is a libp2p protocol id of the program's own, such as
        /// `/files/1`. `timeout` is for opening it: 10 if it is left out, infinity for no
        /// limit.
        #[uniffi::method(default(timeout))]
        fn open_stream / start_open_stream(
            &self,
            addrs: Vec<String>,
            protocol: String,
            timeout: Option<f64>,
        ) -> ByteStream {
            let opened = self.0.open_stream(addrs, protocol, time_limit("timeout", timeout)?);
            (opened, None, ByteStream::from)
        }

        /// Lets others find this node under another namespace too, until `ttl`
        /// seconds have passed.
        #[uniffi::method(default(timeout))]
        fn advertise / start_advertise(
            &self,
            namespace: String,
            ttl: f64,
            timeout: Option<f64>,
        ) -> () {
            (self.0.advertise(namespace, duration("ttl", ttl)?), timeout, identity)
        }

        /// Changes what others may know of this node, and tells them.
        #[uniffi::method(default(timeout))]
        fn set_meta / start_set_meta(
            &self,
            meta: HashMap<String, String>,
            timeout: Option<f64>,
        ) -> () {
            (self.0.set_meta(meta.into_iter().collect()), timeout, identity)
        }

        /// Changes some of what others may know of this node, and tells them: each
        /// key gets the value, or goes if there is none. No other change comes
        /// between.
        #[uniffi::method(default(timeout))]
        fn update_meta / start_update_meta(
            &self,
            changes: HashMap<String, Option<String>>,
            timeout: Option<f64>,
        ) -> () {
            (self.0.update_meta(changes.into_iter().collect()), timeout, identity)
        }

        /// Changes the host name that others read, and tells them.
        #[uniffi::method(default(timeout))]
        fn set_host / start_set_host(&self, host: String, timeout: Option<f64>) -> () {
            (self.0.set_host(host), timeout, identity)
        }

        /// Changes how many seconds others keep this node's record, and tells them.
        /// In a large cluster it may be longer.
        #[uniffi::method(default(timeout))]
        fn set_ttl / start_set_ttl(&self, ttl: f64, timeout: Option<f64>) -> () {
            (self.0.set_ttl(duration("ttl", ttl)?), timeout, identity)
        }

        /// A channel of another node, by its name there: of the one member in whose record
        /// it stands, if no peer is given: an id, or a multiaddr. `timeout` is 10 if it is
        /// left out, infinity for no limit.
        #[uniffi::method(default(peer = None, timeout = None))]
        fn open_channel / start_open_channel(
            &self,
            name: String,
            peer: Option<String>,
            timeout: Option<f64>,
        ) -> Channel {
            let timeout = time_limit("timeout", timeout)?;
            let opened = self.0.open_channel(name, peer.map(Into::into), timeout);
            (opened, None, Channel::from)
        }

        /// A semaphore of this node, of which `n` leases are given at a time; others
        /// open it by its name. One that is here and open, or a new one.
        #[uniffi::method(default(timeout))]
        fn semaphore / start_semaphore(
            &self,
            name: String,
            n: u32,
            timeout: Option<f64>,
        ) -> Semaphore {
            (self.0.semaphore(name, n as usize), timeout, Semaphore::from)
        }

        /// A semaphore of another node, by its name there: of the one member in whose record
        /// it stands, if no peer is given: an id, or a multiaddr. `timeout` is 10 if it is
        /// left out, infinity for no limit.
        #[uniffi::method(default(peer = None, timeout = None))]
        fn open_semaphore / start_open_semaphore(
            &self,
            name: String,
            peer: Option<String>,
            timeout: Option<f64>,
        ) -> Semaphore {
            let timeout = time_limit("timeout", timeout)?;
            let opened = self.0.open_semaphore(name, peer.map(Into::into), timeout);
            (opened, None, Semaphore::from)
        }

        /// Leaves the cluster for a while, so that others see it at once, and lets every
        /// connection and socket go: for an app that goes to the background. The node
        /// keeps its key, its view, the peers it knows, what it tells of itself, and
        /// every subscription; what needs the network throws `Paused`. A second call does
        /// nothing.
        #[uniffi::method(default(timeout))]
        fn pause / start_pause(&self, timeout: Option<f64>) -> () {
            (self.0.pause(), timeout, identity)
        }

        /// Comes back after a pause: listens, connects to who was connected, and
        /// announces itself. Subscriptions are told what has changed meanwhile.
        #[uniffi::method(default(timeout))]
        fn resume / start_resume(&self, timeout: Option<f64>) -> () {
            (self.0.resume(), timeout, identity)
        }

        /// Leaves the cluster, so that others see it at once, and waits until
        /// nothing of the node is running. A second call does nothing.
        ///
        /// Requests that its services work on have `grace` seconds to be answered
        /// before, 5 if it is left out. `handling` says that a handler of one waits for
        /// this, and is not waited for.
        #[uniffi::method(default(timeout = None, grace = None, handling = false))]
        fn close / start_close(
            &self, timeout: Option<f64>, grace: Option<f64>, handling: bool,
        ) -> () {
            let grace = grace.map(|grace| duration("grace", grace)).transpose()?;
            (self.0.close(grace, handling), timeout, identity)
        }
    }
}

/// Says goodbye for the nodes that are still open or just leaving, so many seconds at
/// most: for what a language calls at the end of a program.
#[uniffi::export]
pub fn at_exit(timeout: f64) {
    let timeout = Duration::try_from_secs_f64(timeout).unwrap_or_default();
    // The locals of the thread that ends the program are gone by now.
    let goodbye = thread::Builder::new().name("casm-exit".into());
    if let Ok(goodbye) = goodbye.spawn(move || casm_bindings::at_exit(timeout)) {
        // What it panicked with was said.
        let _ = goodbye.join();
    }
}

/// Starts a node as `Node.start` does, in the background: it begins, and this doesn't
/// wait.
#[uniffi::export(default(timeout = None, on_event = None))]
pub fn start_node(
    config: Config,
    timeout: Option<f64>,
    on_event: Option<Arc<dyn EventListener>>,
) -> Arc<PendingNode> {
    start(STARTING, || starting(config, timeout, on_event))
}

const STARTING: &str = "starting a node";

type Starting = Call<Waiting<casm_bindings::Node>, fn(casm_bindings::Node) -> Node>;

fn starting(
    config: Config,
    timeout: Option<f64>,
    on_event: Option<Arc<dyn EventListener>>,
) -> Result<Starting> {
    let (options, dispatcher) = (config.build()?, Dispatcher::default());
    let node = async move {
        let Some(listener) = on_event else {
            return casm_bindings::Node::start(options, dispatcher).await;
        };
        let (node, events) = casm_bindings::Node::start_with_events(options, dispatcher).await?;
        drop(events.tell(&node, Told(listener))?.keep());
        Ok(node)
    };
    Ok((Box::pin(node), timeout, Node))
}

impl Node {
    pub(crate) fn facade(&self) -> &casm_bindings::Node {
        &self.0
    }
}
