//! The node.

use crate::{
    byte_stream::{ByteStream, OnStream},
    call::{Pending, duration, guard, spawn, spawn_unit, time_limit},
    csp::{NativeChannel, NativeSemaphore},
    errors::{OrThrow, Result},
    key::Key,
    options::Options,
    port::{Port, Shared, Work},
    query::QuerySpec,
    reach::Reachability,
    records::Records,
    remote::RemoteView,
    secret::Secret,
    service::{self, CallOptions, ServeOptions, Serving, Stats},
    stream::{Forward, Stream, Subscription},
    topic::{Topic, TopicOptions},
    view::View,
};
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// A member of a cluster, or an observer of one. What waits hands its result
/// over under the number that is given first. Times are in milliseconds.
#[napi(js_name = "NativeNode")]
pub struct Node {
    node: casm_bindings::Node,
    port: Arc<Shared>,
}

/// What is known of a connected peer.
#[napi(object, object_from_js = false)]
pub struct Status {
    pub peer: String,
    pub addrs: Vec<String>,
    pub direction: &'static str,
    pub round_trip: Option<f64>,
    pub agent: Option<String>,
}

/// A peer, and the addresses at which it can be reached.
#[napi(object, object_from_js = false)]
pub struct Info {
    pub id: String,
    pub addrs: Vec<String>,
}

#[napi]
impl Node {
    /// Hands over the node's events under the number `events`, if there is one,
    /// from the first on and after the node.
    #[napi]
    pub fn start(
        port: &Port,
        id: u32,
        options: Options,
        key: Option<&Key>,
        secret: Option<&Secret>,
        events: Option<u32>,
    ) -> Result<Pending> {
        const WHAT: &str = "starting a node";
        let options = options.build(key, secret).or_throw()?;
        let port = port.0.clone();
        let Some(listener) = events else {
            let node = casm_bindings::Node::start(options, port.dispatcher());
            return spawn(WHAT, &port.clone(), id, node, move |node| {
                port.add(&node);
                Work { node: Some(Self { node, port }), ..Work::default() }
            });
        };
        let node = casm_bindings::Node::start_with_events(options, port.dispatcher());
        spawn(WHAT, &port.clone(), id, node, move |(node, events)| {
            port.add(&node);
            // An error means that it is closed already.
            let subscription = events.tell(&node, Forward(listener)).ok().map(Subscription::from);
            Work { node: Some(Self { node, port }), subscription, ..Work::default() }
        })
    }

    #[napi(getter)]
    pub fn id(&self) -> &str {
        self.node.id()
    }

    #[napi(getter)]
    pub fn namespace(&self) -> &str {
        self.node.namespace()
    }

    #[napi(getter)]
    pub fn closed(&self) -> bool {
        self.node.is_closed()
    }

    #[napi]
    pub fn is_paused(&self) -> Result<bool> {
        guard("isPaused", || self.node.is_paused())
    }

    #[napi]
    pub fn addrs(&self) -> Result<Vec<String>> {
        guard("addrs", || self.node.addrs())
    }

    #[napi]
    pub fn info(&self) -> Result<Info> {
        let info = guard("info", || self.node.info())?;
        let addrs = info.addrs.iter().map(ToString::to_string).collect();
        Ok(Info { id: info.id.to_base58(), addrs })
    }

    #[napi]
    pub fn view(&self) -> Result<View> {
        guard("view", || self.node.view()).map(View::from)
    }

    #[napi]
    pub fn connected(&self) -> Result<Vec<String>> {
        guard("connected", || self.node.connected())
    }

    #[napi]
    pub fn peer_status(&self, peer: String) -> Result<Option<Status>> {
        let status = guard("peerStatus", || self.node.peer_status(&peer))?;
        Ok(status.map(|status| Status {
            peer: status.peer.to_base58(),
            addrs: status.addrs.iter().map(ToString::to_string).collect(),
            direction: status.direction.name(),
            round_trip: status.round_trip.map(|time| time.as_secs_f64() * 1000.0),
            agent: status.agent,
        }))
    }

    #[napi]
    pub fn reachability(&self) -> Result<Reachability> {
        guard("reachability", || self.node.reachability()).map(Into::into)
    }

    #[napi]
    pub fn metrics(&self) -> Result<String> {
        guard("metrics", || self.node.metrics())
    }

    #[napi]
    pub fn metrics_snapshot(&self) -> Result<BTreeMap<String, f64>> {
        guard("metricsSnapshot", || self.node.metrics_snapshot())
    }

    #[napi]
    pub fn wait_for(&self, id: u32, n: u32, query: QuerySpec) -> Result<Pending> {
        let call = self.node.wait_for(query.build().or_throw()?, n as usize);
        spawn("waitFor", &self.port, id, call, |view| Work {
            view: Some(view.into()),
            ..Work::default()
        })
    }

    #[napi]
    pub fn view_of(
        &self,
        id: u32,
        addrs: Vec<String>,
        records: Option<&Records>,
        n: Option<u32>,
    ) -> Result<Pending> {
        let (port, peer) = (self.port.clone(), peer(addrs, records, n));
        spawn("viewOf", &self.port, id, self.node.view_of(peer), |view| Work {
            remote: Some(RemoteView::new(view, port)),
            ..Work::default()
        })
    }

    #[napi]
    pub fn connect(
        &self,
        id: u32,
        addrs: Vec<String>,
        records: Option<&Records>,
        n: Option<u32>,
    ) -> Result<Pending> {
        let call = self.node.connect(peer(addrs, records, n));
        spawn("connect", &self.port, id, call, |peer| Work { text: Some(peer), ..Work::default() })
    }

    #[napi]
    pub fn open_stream(
        &self,
        id: u32,
        protocol: String,
        timeout: Option<f64>,
        addrs: Vec<String>,
        records: Option<&Records>,
        n: Option<u32>,
    ) -> Result<Pending> {
        let (port, timeout) = (self.port.clone(), time_limit(timeout).or_throw()?);
        let call = self.node.open_stream(peer(addrs, records, n), protocol, timeout);
        spawn("openStream", &self.port, id, call, |stream| Work {
            stream: Some(ByteStream::new(stream, port)),
            ..Work::default()
        })
    }

    /// Hands over every stream of a protocol that a peer opens.
    #[napi]
    pub fn on_stream(&self, id: u32, protocol: String) -> Result<Subscription> {
        let listener = OnStream { id, port: self.port.clone() };
        guard("onStream", || self.node.on_stream(&protocol, listener)).map(Subscription::from)
    }

    #[napi]
    pub fn advertise(&self, id: u32, namespace: String, ttl: f64) -> Result<Pending> {
        let ttl = duration("ttl", ttl).or_throw()?;
        spawn_unit("advertise", &self.port, id, self.node.advertise(namespace, ttl))
    }

    #[napi]
    pub fn set_meta(&self, id: u32, meta: HashMap<String, String>) -> Result<Pending> {
        let meta = meta.into_iter().collect();
        spawn_unit("setMeta", &self.port, id, self.node.set_meta(meta))
    }

    #[napi]
    pub fn update_meta(
        &self,
        id: u32,
        changes: HashMap<String, Option<String>>,
    ) -> Result<Pending> {
        let changes = changes.into_iter().collect();
        spawn_unit("updateMeta", &self.port, id, self.node.update_meta(changes))
    }

    #[napi]
    pub fn set_host(&self, id: u32, host: String) -> Result<Pending> {
        spawn_unit("setHost", &self.port, id, self.node.set_host(host))
    }

    #[napi]
    pub fn set_ttl(&self, id: u32, ttl: f64) -> Result<Pending> {
        let ttl = duration("ttl", ttl).or_throw()?;
        spawn_unit("setTtl", &self.port, id, self.node.set_ttl(ttl))
    }

    #[napi]
    pub fn channel(
        &self,
        name: String,
        capacity: f64,
        close_by_others: bool,
    ) -> Result<NativeChannel> {
        // A whole number, as the layer above has checked.
        let capacity = capacity as usize;
        let channel = guard("channel", || self.node.channel(&name, capacity, close_by_others))?;
        Ok(NativeChannel::new(channel, self.port.clone()))
    }

    #[napi]
    pub fn open_channel(
        &self,
        id: u32,
        name: String,
        timeout: Option<f64>,
        addrs: Option<Vec<String>>,
        records: Option<&Records>,
        n: Option<u32>,
    ) -> Result<Pending> {
        let (port, timeout) = (self.port.clone(), time_limit(timeout).or_throw()?);
        let opening = self.node.open_channel(name, owner(addrs, records, n), timeout);
        spawn("openChannel", &self.port, id, opening, |channel| Work {
            channel: Some(NativeChannel::new(channel, port)),
            ..Work::default()
        })
    }

    #[napi]
    pub fn semaphore(&self, id: u32, name: String, n: f64) -> Result<Pending> {
        let port = self.port.clone();
        spawn("semaphore", &self.port, id, self.node.semaphore(name, n as usize), |made| Work {
            semaphore: Some(NativeSemaphore::new(made, port)),
            ..Work::default()
        })
    }

    #[napi]
    pub fn open_semaphore(
        &self,
        id: u32,
        name: String,
        timeout: Option<f64>,
        addrs: Option<Vec<String>>,
        records: Option<&Records>,
        n: Option<u32>,
    ) -> Result<Pending> {
        let (port, timeout) = (self.port.clone(), time_limit(timeout).or_throw()?);
        let opening = self.node.open_semaphore(name, owner(addrs, records, n), timeout);
        spawn("openSemaphore", &self.port, id, opening, |opened| {
            let semaphore = Some(NativeSemaphore::new(opened, port));
            Work { semaphore, ..Work::default() }
        })
    }

    #[napi]
    pub fn serve(
        &self,
        id: u32,
        name: String,
        options: ServeOptions,
        stream: bool,
    ) -> Result<Serving> {
        service::serve(&self.node, &self.port, id, &name, options, stream)
    }

    #[napi]
    pub fn call(
        &self,
        id: u32,
        name: String,
        data: Uint8Array,
        options: CallOptions,
        records: Option<&Records>,
    ) -> Result<Pending> {
        let spec = options.spec(records).or_throw()?;
        service::call(&self.node, &self.port, id, name, &data, spec)
    }

    #[napi]
    pub fn call_all(&self, name: String, data: Uint8Array, options: CallOptions) -> Result<Stream> {
        let spec = options.spec(None).or_throw()?;
        service::call_all(&self.node, &self.port, &name, &data, spec)
    }

    #[napi]
    pub fn call_stream(
        &self,
        name: String,
        data: Uint8Array,
        options: CallOptions,
        records: Option<&Records>,
    ) -> Result<Stream> {
        let spec = options.spec(records).or_throw()?;
        service::call_stream(&self.node, &self.port, &name, &data, spec)
    }

    #[napi]
    pub fn services(&self) -> Result<Vec<String>> {
        guard("services", || self.node.services())
    }

    #[napi]
    pub fn service_stats(&self, name: String) -> Result<Stats> {
        service::stats(self, &name)
    }

    #[napi]
    pub fn allow(&self, ids: Vec<String>) -> Result<()> {
        guard("allow", || self.node.allow(&ids))
    }

    #[napi]
    pub fn disallow(&self, ids: Vec<String>) -> Result<()> {
        guard("disallow", || self.node.disallow(&ids))
    }

    #[napi]
    pub fn allow_all(&self) -> Result<()> {
        guard("allowAll", || self.node.allow_all())
    }

    #[napi]
    pub fn set_allowed(&self, ids: Vec<String>) -> Result<()> {
        guard("setAllowed", || self.node.set_allowed(&ids))
    }

    #[napi]
    pub fn deny(&self, ids: Vec<String>) -> Result<()> {
        guard("deny", || self.node.deny(&ids))
    }

    #[napi]
    pub fn undeny(&self, ids: Vec<String>) -> Result<()> {
        guard("undeny", || self.node.undeny(&ids))
    }

    #[napi]
    pub fn set_denied(&self, ids: Vec<String>) -> Result<()> {
        guard("setDenied", || self.node.set_denied(&ids))
    }

    #[napi]
    pub fn allowed(&self) -> Result<Option<Vec<String>>> {
        guard("allowed", || self.node.allowed())
    }

    #[napi]
    pub fn denied(&self) -> Result<Vec<String>> {
        guard("denied", || self.node.denied())
    }

    #[napi]
    pub fn renew(&self, certificate: Uint8Array) -> Result<()> {
        guard("renew", || self.node.renew(&certificate))
    }

    #[napi]
    pub fn revoke(&self, revocations: Uint8Array) -> Result<u32> {
        let new = guard("revoke", || self.node.revoke(&revocations))?;
        // There are fewer than that.
        Ok(u32::try_from(new).unwrap_or(u32::MAX))
    }

    #[napi]
    pub fn pause(&self, id: u32) -> Result<Pending> {
        spawn_unit("pause", &self.port, id, self.node.pause())
    }

    #[napi]
    pub fn resume(&self, id: u32) -> Result<Pending> {
        spawn_unit("resume", &self.port, id, self.node.resume())
    }

    /// `grace` is in milliseconds; `handling` says that a handler waits for this.
    #[napi]
    pub fn close(&self, id: u32, grace: Option<f64>, handling: bool) -> Result<Pending> {
        let grace = grace.map(|ms| duration("grace", ms)).transpose().or_throw()?;
        spawn_unit("close", &self.port, id, self.node.close(grace, handling))
    }

    #[napi]
    pub fn events(&self) -> Result<Stream> {
        let events = guard("events", || self.node.events())?;
        Ok(Stream::new(events, self.port.clone()))
    }

    #[napi]
    pub fn subscribe(&self, query: QuerySpec) -> Result<Stream> {
        let changes = guard("subscribe", || self.node.subscribe(query.build()?))?;
        Ok(Stream::new(changes, self.port.clone()))
    }

    #[napi]
    pub fn topic(&self, name: String, options: TopicOptions) -> Result<Topic> {
        let topic = guard("topic", || self.node.topic(&name, options.build()?))?;
        Ok(Topic::new(topic, self.port.clone()))
    }

    #[napi]
    pub fn find_peers(
        &self,
        namespace: Option<String>,
        limit: Option<u32>,
        timeout: Option<f64>,
    ) -> Result<Stream> {
        let peers = guard("findPeers", || {
            let timeout = timeout.map(|ms| duration("timeout", ms)).transpose()?;
            let limit = limit.map(|limit| limit as usize);
            self.node.find_peers(namespace.as_deref(), limit, timeout)
        })?;
        Ok(Stream::new(peers, self.port.clone()))
    }

    /// Hands over every event from now on under this number.
    #[napi]
    pub fn on_event(&self, id: u32) -> Result<Subscription> {
        guard("on", || self.node.on_event(Forward(id))).map(Subscription::from)
    }

    /// Hands over what a query finds, and every change to that.
    #[napi]
    pub fn on_change(&self, id: u32, query: QuerySpec) -> Result<Subscription> {
        guard("watch", || self.node.on_change(query.build()?, Forward(id))).map(Subscription::from)
    }
}

/// A peer, by its record or by what names it.
pub(crate) fn peer(
    addrs: Vec<String>,
    records: Option<&Records>,
    n: Option<u32>,
) -> casm_bindings::Peer {
    let record = records.and_then(|records| records.at(n.unwrap_or(0)));
    record.map_or_else(|| addrs.into(), |record| casm_bindings::Peer::Record(record.clone()))
}

/// A peer, if one is said.
fn owner(
    addrs: Option<Vec<String>>,
    records: Option<&Records>,
    n: Option<u32>,
) -> Option<casm_bindings::Peer> {
    addrs.map(|addrs| peer(addrs, records, n))
}

impl Node {
    pub(crate) fn facade(&self) -> &casm_bindings::Node {
        &self.node
    }
}
