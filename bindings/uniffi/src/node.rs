//! The node.

use crate::{
    byte_stream::ByteStream,
    call::{block, guard},
    config::{Config, FindOptions},
    csp::{Channel, Semaphore},
    errors::Result,
    items::{PeerInfo, PeerStatus},
    listener::{ChangeListener, EventListener, StreamListener, Subscription, Told},
    query::Query,
    remote::RemoteView,
    stream::{ChangeStream, EventStream, PeerStream},
    topic::{Topic, TopicOptions},
    view::View,
};
use casm_bindings::{Dispatcher, duration, time_limit};
use std::{collections::HashMap, sync::Arc};

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
        const WHAT: &str = "starting a node";
        let (options, dispatcher) = (config.build()?, Dispatcher::default());
        let Some(listener) = on_event else {
            let node = casm_bindings::Node::start(options, dispatcher);
            return block(WHAT, node, timeout).map(Self);
        };
        let node = casm_bindings::Node::start_with_events(options, dispatcher);
        let (node, events) = block(WHAT, node, timeout)?;
        guard(WHAT, || events.tell(&node, Told(listener)).map(|told| drop(told.keep())))?;
        Ok(Self(node))
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

    /// The node's counters, in the OpenMetrics text format.
    pub fn metrics(&self) -> Result<String> {
        guard("metrics", || self.0.metrics())
    }

    /// The values of the node's counters now, each by its name and labels as in
    /// the text.
    pub fn metrics_snapshot(&self) -> Result<HashMap<String, f64>> {
        guard("metrics_snapshot", || Ok(self.0.metrics_snapshot()?.into_iter().collect()))
    }

    /// Waits until the view holds `n` records, the own one among them; or `n`
    /// that a query finds.
    #[uniffi::method(default(timeout = None, query = None))]
    pub fn wait_for(&self, n: u32, timeout: Option<f64>, query: Option<Query>) -> Result<View> {
        let query = query.unwrap_or_default().build()?;
        block("wait_for", self.0.wait_for(query, n as usize), timeout).map(View::from)
    }

    /// The view of a peer, as it is there. Connects to it as `connect` does, by its
    /// id or an address.
    #[uniffi::method(default(timeout))]
    pub fn view_of(&self, peer: String, timeout: Option<f64>) -> Result<RemoteView> {
        block("view_of", self.0.view_of(peer), timeout).map(RemoteView::from)
    }

    /// Connects to a peer, and says who it is: to whoever answers at one
    /// address, to addresses that end in `/p2p/<id>`, to an id and its
    /// addresses, or to an id alone, wherever its record or peer exchange says
    /// that it is.
    #[uniffi::method(default(timeout))]
    pub fn connect(&self, addrs: Vec<String>, timeout: Option<f64>) -> Result<String> {
        block("connect", self.0.connect(addrs), timeout)
    }

    /// Opens a stream of a protocol to a peer, to which it connects as `connect`
    /// does. The protocol is a libp2p protocol id of the program's own, such as
    /// `/files/1`. `timeout` is for opening it: 10 if it is left out, infinity for no
    /// limit.
    #[uniffi::method(default(timeout))]
    pub fn open_stream(
        &self,
        addrs: Vec<String>,
        protocol: String,
        timeout: Option<f64>,
    ) -> Result<Arc<ByteStream>> {
        let opened = self.0.open_stream(addrs, protocol, time_limit("timeout", timeout)?);
        Ok(Arc::new(block("open_stream", opened, None)?.into()))
    }

    /// Gives a listener the streams of a protocol that peers open.
    pub fn on_stream(
        &self,
        protocol: String,
        listener: Arc<dyn StreamListener>,
    ) -> Result<Subscription> {
        guard("on_stream", || self.0.on_stream(&protocol, Told(listener))).map(Subscription::from)
    }

    /// Lets others find this node under another namespace too, until `ttl`
    /// seconds have passed.
    #[uniffi::method(default(timeout))]
    pub fn advertise(&self, namespace: String, ttl: f64, timeout: Option<f64>) -> Result<()> {
        block("advertise", self.0.advertise(namespace, duration("ttl", ttl)?), timeout)
    }

    /// Changes what others may know of this node, and tells them.
    #[uniffi::method(default(timeout))]
    pub fn set_meta(&self, meta: HashMap<String, String>, timeout: Option<f64>) -> Result<()> {
        block("set_meta", self.0.set_meta(meta.into_iter().collect()), timeout)
    }

    /// Changes some of what others may know of this node, and tells them: each
    /// key gets the value, or goes if there is none. No other change comes
    /// between.
    #[uniffi::method(default(timeout))]
    pub fn update_meta(
        &self,
        changes: HashMap<String, Option<String>>,
        timeout: Option<f64>,
    ) -> Result<()> {
        block("update_meta", self.0.update_meta(changes.into_iter().collect()), timeout)
    }

    /// Changes the host name that others read, and tells them.
    #[uniffi::method(default(timeout))]
    pub fn set_host(&self, host: String, timeout: Option<f64>) -> Result<()> {
        block("set_host", self.0.set_host(host), timeout)
    }

    /// Changes how many seconds others keep this node's record, and tells them.
    #[uniffi::method(default(timeout))]
    pub fn set_ttl(&self, ttl: f64, timeout: Option<f64>) -> Result<()> {
        block("set_ttl", self.0.set_ttl(duration("ttl", ttl)?), timeout)
    }

    /// A channel of this node, which others open by its name: one that is here and
    /// open, or a new one. So many values may wait in it; with 0, each is handed from
    /// sender to receiver.
    #[uniffi::method(default(capacity = 0, close_by_others = false))]
    pub fn channel(&self, name: String, capacity: u32, close_by_others: bool) -> Result<Channel> {
        guard("channel", || self.0.channel(&name, capacity as usize, close_by_others))
            .map(Channel::from)
    }

    /// A channel of another node, by its name there: of the one member in whose record
    /// it stands, if no peer is given: an id, or a multiaddr. `timeout` is 10 if it is
    /// left out, infinity for no limit.
    #[uniffi::method(default(peer = None, timeout = None))]
    pub fn open_channel(
        &self,
        name: String,
        peer: Option<String>,
        timeout: Option<f64>,
    ) -> Result<Channel> {
        let timeout = time_limit("timeout", timeout)?;
        let opened = self.0.open_channel(name, peer.map(Into::into), timeout);
        block("open_channel", opened, None).map(Channel::from)
    }

    /// A semaphore of this node, of which `n` leases are given at a time; others
    /// open it by its name. One that is here and open, or a new one.
    #[uniffi::method(default(timeout))]
    pub fn semaphore(&self, name: String, n: u32, timeout: Option<f64>) -> Result<Semaphore> {
        block("semaphore", self.0.semaphore(name, n as usize), timeout).map(Semaphore::from)
    }

    /// A semaphore of another node, by its name there: of the one member in whose record
    /// it stands, if no peer is given: an id, or a multiaddr. `timeout` is 10 if it is
    /// left out, infinity for no limit.
    #[uniffi::method(default(peer = None, timeout = None))]
    pub fn open_semaphore(
        &self,
        name: String,
        peer: Option<String>,
        timeout: Option<f64>,
    ) -> Result<Semaphore> {
        let timeout = time_limit("timeout", timeout)?;
        let opened = self.0.open_semaphore(name, peer.map(Into::into), timeout);
        block("open_semaphore", opened, None).map(Semaphore::from)
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

    /// Leaves the cluster for a while, so that others see it at once, and lets every
    /// connection and socket go: for an app that goes to the background. The node
    /// keeps its key, its view, the peers it knows, what it tells of itself, and
    /// every subscription; what needs the network throws `Paused`. A second call does
    /// nothing.
    #[uniffi::method(default(timeout))]
    pub fn pause(&self, timeout: Option<f64>) -> Result<()> {
        block("pause", self.0.pause(), timeout)
    }

    /// Comes back after a pause: listens, connects to who was connected, and
    /// announces itself. Subscriptions are told what has changed meanwhile.
    #[uniffi::method(default(timeout))]
    pub fn resume(&self, timeout: Option<f64>) -> Result<()> {
        block("resume", self.0.resume(), timeout)
    }

    /// Leaves the cluster, so that others see it at once, and waits until
    /// nothing of the node is running. A second call does nothing.
    ///
    /// Requests that its services work on have `grace` seconds to be answered
    /// before, 5 if it is left out.
    #[uniffi::method(default(timeout = None, grace = None))]
    pub fn close(&self, timeout: Option<f64>, grace: Option<f64>) -> Result<()> {
        let grace = grace.map(|grace| duration("grace", grace)).transpose()?;
        block("close", self.0.close(grace, false), timeout)
    }
}

impl Node {
    pub(crate) fn facade(&self) -> &casm_bindings::Node {
        &self.0
    }
}
