//! The node: the one place that knows the host and every service.
//!
//! `builder` configures one from plain strings; `join` finds the first peers
//! and comes back when they are lost, when `pace` says so; `lists` changes who is
//! taken, and `admit` whose certificates count;
//! `peers` connects to others, and `reach` to relays; `pause` lets the sockets go and comes
//! back; `whereabouts` says where peers may be that somebody wants to connect to.

mod admit;
mod builder;
mod channels;
mod join;
mod lists;
mod pace;
mod pause;
mod peers;
mod reach;
mod roles;
mod seeds;
mod services;
mod streams;
mod topic;
mod whereabouts;

pub use builder::NodeBuilder;

use crate::{
    Config, Error, ErrorKind, Events, Keypair, Multiaddr, Namespace, PeerId, PeerInfo, Result,
    announce::Announced,
    boot::{Boot, BootConfig, FindOptions, Finding},
    clocks,
    cluster::{
        Cluster, ClusterConfig, LiveQuery, Numbers, Query, RemoteView, Spacing, View, serve_view,
        start_suspicion, start_sync,
    },
    config::machine_name,
    csp::Csp,
    event::EventBus,
    host::{Addresses, Host, Identity},
    metrics::Metrics,
    pex::{self, Pex},
    pubsub::signed::SignedMessage,
    record::{SignedRecord, unix_nanos},
    rpc::{Export, Vat},
    scope::Scope,
    service::Services,
    streams::Streams,
    target::{Connector, Target},
    topics::{self, Topics},
    who::Who,
};
use builder::Early;
use futures::{StreamExt, future::ready, stream};
use libp2p::{StreamProtocol, multiaddr::Protocol};
use pause::Pauses;
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};
use tokio::sync::watch;

/// How long closing may take before what still runs is left behind.
const CLOSE: Duration = Duration::from_secs(5);

/// How long requests that are worked on may still take when a node closes.
const GRACE: Duration = Duration::from_secs(5);

/// How long a start waits for one thing, such as a disk that doesn't answer.
const START: Duration = Duration::from_secs(20);

/// A member of a cluster, or an observer of one.
///
/// Clones share the node. It closes when [`close`](Self::close) is called, and
/// without waiting when the last clone is dropped: others see it leave at once
/// in both cases.
///
/// A node lives on the tokio runtime on which it was started, or on a
/// [thread](NodeBuilder::on).
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    config: Config,
    host: Host,
    connector: Connector,
    streams: Streams,
    boot: Boot,
    pex: Option<Pex>,
    cluster: Cluster,
    events: EventBus,
    metrics: Metrics,
    vat: Vat,
    services: Services,
    topics: Topics,
    _view: Export,
    pauses: Pauses,
    csp: Csp,
    store: pex::Store,
    tokens: channels::Tokens,
    who: Who,
    running: Running,
}

/// Ends the node's tasks when it goes, also if that is in the middle of a start.
struct Running(Scope);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Node {
    /// Configures a node step by step.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::new()
    }

    /// Starts a node.
    ///
    /// # Errors
    /// `Config` or `Address` if the configuration is not acceptable, with the
    /// field, the value and what is accepted; `Bind` if a socket cannot be
    /// bound; `Io` or `Busy` if its data cannot be used; `Timeout` if the system
    /// doesn't let it have something within seconds.
    pub async fn start(config: Config) -> Result<Self> {
        Self::start_with(config, Early::new()).await
    }

    async fn start_with(config: Config, early: Early) -> Result<Self> {
        let Early { events, metrics, discoveries, exchange_pause, thread, roles } = early;
        config.check()?;
        let profile = config.power.profile();
        let key = config.key.clone().unwrap_or_else(Keypair::generate_ed25519);
        let id = key.public().to_peer_id();
        let announced = Announced::new(&config.announce, config.announce_only, id)?;
        let members = admit::members(&config, id, &metrics)?;
        let who = Who::new(id, &config.allow, &config.deny, members.clone())?;
        let roles = admit::roles(members.as_ref()).unwrap_or(roles);
        let running = Running(Scope::default());
        let scope = &running.0;

        let data = config.data.clone().filter(|_| !config.observer);
        let (store, least_seq) =
            in_time("its data", pex::Store::start(data, metrics.troubles.clone(), scope)).await?;
        // Before anybody can connect.
        if let Some(members) = &members {
            admit::restore(members, &config, &store, scope).await?;
        }
        let secret = config.secret.clone();
        let host = Host::start(
            Identity { key: key.clone(), secret: secret.clone(), who: who.clone() },
            Addresses {
                listen: &config.listen,
                announced: announced.clone(),
                power: config.power,
                uses_relays: config.use_relays,
                relay: config.relay.clone(),
                upnp: config.upnp,
            },
            &config.limits,
            &metrics,
            events.clone(),
            scope,
            least_seq,
        )
        .await?;
        let keep_seq = store.clone().keep_seq(host.record());
        scope.spawn(in_time("its data", keep_seq).await?);
        scope.spawn(store.clone().keep_clock(metrics.clock.subscribe()));
        if let Some(members) = members.clone() {
            admit::start(members, &config, &store, &host, &events, &metrics, scope)?;
        }
        let mut numbers = Numbers::after(in_time("its data", store.last_beat()).await?);
        let (keep, ahead) = watch::channel(numbers.keep_now(unix_nanos()).unwrap_or(0));
        let keep_beat = store.clone().keep_beat(ahead);
        scope.spawn(in_time("its data", keep_beat).await?);
        let topic = host.join(config.namespace.as_str()).await?;
        let given = Arc::new(topics::Numbers::default());
        let beside = given.clone();
        let cluster = ClusterConfig {
            namespace: config.namespace.clone(),
            own: host.id(),
            who: who.clone(),
            host: config.host.clone(),
            meta: config.meta.clone(),
            ttl: config.ttl,
            budget: (config.pace == crate::Pace::Auto).then_some(config.budget),
            addrs: host.addrs(),
            observer: config.observer,
            limits: config.limits.table,
            sign: sign(key.clone(), &config.namespace, given.clone()),
            numbers,
            keep,
            clock: Arc::new(move || beside.beside(unix_nanos())),
            life: host.life().clone(),
            look: profile.look,
            jumps: clocks::jumps(scope),
            over: host.leaving().over(),
            machine: Arc::new(machine_name),
            roles: roles.clone(),
        };
        let cluster = Cluster::start(cluster, topic, events.clone(), metrics.clone(), scope)?;
        start_sync(
            host.clone(),
            cluster.clone(),
            &config.namespace,
            events.clone(),
            &metrics,
            scope,
            exchange_pause
                .unwrap_or(Some(profile.exchange))
                .map(|longest| Spacing { longest, growth: profile.growth }),
        )?;
        let suspect = config.namespace.own_protocol("suspect");
        let topic = host.join(suspect.as_ref()).await?;
        let sign = sign_suspects(key.clone(), suspect, given.clone());
        start_suspicion(host.clone(), cluster.clone(), topic, sign, scope);
        if let Some(members) = members {
            scope.spawn(admit::follow_roles(members, cluster.clone()));
        }
        let connector = Connector::new(host.clone());
        let streams = Streams::new(connector.clone(), &metrics, scope);
        let vat = Vat::new(
            connector.clone(),
            config.namespace.clone(),
            config.limits.rpc.clone(),
            &metrics,
            scope,
            thread,
        )?;
        let served = cluster.clone();
        let view = serve_view(&vat, move || served.view())?;
        let services = Services::start(host.id(), cluster.clone(), roles, &vat, &metrics, scope)?;
        let seen = cluster.clone();
        let topics = Topics::new(
            host.clone(),
            key.clone(),
            config.namespace.clone(),
            Arc::new(move || seen.view()),
            given,
            metrics.clone(),
            scope.clone(),
        );
        let mut boot = BootConfig::default();
        boot.boot.clone_from(&config.boot);
        boot.serve.clone_from(&config.serve);
        boot.announce = announced.addrs;
        boot.secret = secret;
        boot.who = who.clone();
        boot.power = config.power;
        let known = cluster.clone();
        let boot = Boot::start(
            boot,
            key,
            host.addrs(),
            Arc::new(move || known.view().len()),
            metrics.clone(),
            scope.clone(),
            events.clone(),
        )?;
        discoveries.into_iter().for_each(|discovery| boot.add(discovery));
        if !config.observer {
            boot.advertise(&config.namespace);
        }
        let pex = match config.pex.clone().filter(|_| !config.observer) {
            Some(pex) => {
                let discovery = boot.clone();
                let pex = Pex::new(pex::Env {
                    config: pex,
                    namespace: config.namespace.clone(),
                    host: host.clone(),
                    find: Arc::new(move |ns, options| discovery.find_peers(ns, options)),
                    whereabouts: whereabouts::by_record(&cluster),
                    store: store.clone(),
                    look: profile.care,
                    growth: profile.growth,
                    events: events.clone(),
                    metrics: metrics.clone(),
                    scope: scope.clone(),
                })?;
                let saved = in_time("its data", store.saved(&config.namespace)).await?;
                pex.join(&config.namespace, saved)?;
                Some(pex)
            }
            None => None,
        };
        connector.find_with(
            whereabouts::by_record(&cluster),
            whereabouts::by_exchange(pex.as_ref(), &config.namespace),
        );
        let around = Arc::new(channels::Surroundings {
            connector: connector.clone(),
            cluster: cluster.clone(),
        });
        let csp = Csp::new(host.id(), vat.clone(), around, &metrics, scope);
        scope.spawn(seeds::run(
            host.clone(),
            boot.clone(),
            seeds::named(&config.boot, host.id()),
            metrics.troubles.clone(),
            profile.seeds,
        ));
        let found = join::Services {
            host: host.clone(),
            boot: boot.clone(),
            cluster: cluster.clone(),
            namespace: config.namespace.clone(),
            profile,
            who: who.clone(),
        };
        scope.spawn(join::run(found, events.clone()));
        let is_relay = config.relay.is_some();
        scope.spawn(reach::start(is_relay, host.clone(), cluster.clone())?);
        let pauses = Pauses::start(host.clone(), boot.clone(), scope);
        let inner = Inner {
            config,
            host,
            connector,
            streams,
            boot,
            pex,
            cluster,
            events,
            metrics,
            vat,
            services,
            topics,
            _view: view,
            pauses,
            csp,
            store,
            tokens: channels::Tokens::new(),
            who,
            running,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// The node's own id.
    pub fn id(&self) -> PeerId {
        self.0.host.id()
    }

    /// Where the node can be reached: nowhere while it is paused.
    pub fn info(&self) -> PeerInfo {
        let paused = self.is_paused();
        let addrs = if paused { Vec::new() } else { self.0.host.addrs().borrow().to_vec() };
        PeerInfo { id: self.id(), addrs }
    }

    /// The addresses at which the node can be reached, each with its
    /// `/p2p/<id>`: what another node may be given to connect to.
    pub fn addrs(&self) -> Vec<Multiaddr> {
        let info = self.info();
        info.addrs.into_iter().map(|addr| addr.with(Protocol::P2p(info.id))).collect()
    }

    /// The same, signed: a libp2p peer record that proves itself wherever it is
    /// passed on. It is renewed when the addresses change, and stays in a pause.
    pub fn record(&self) -> SignedRecord {
        self.0.host.record().borrow().clone()
    }

    /// The cluster's name.
    pub fn namespace(&self) -> &Namespace {
        &self.0.config.namespace
    }

    /// What the node was started with.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// A snapshot of the cluster, as this node sees it now. The node itself is
    /// in it, unless it is an observer.
    pub fn view(&self) -> View {
        self.0.cluster.view()
    }

    /// Waits until the view holds so many records; the own one counts. Wrap it
    /// in a timeout if it must end. It goes on over a pause.
    ///
    /// # Errors
    /// `Closed` if the node closes first.
    pub async fn wait_for(&self, n: usize) -> Result<View> {
        self.0.cluster.wait_for(Query::all(), n).await
    }

    /// The same for the records that a query finds.
    ///
    /// # Errors
    /// `Invalid` if the query's limit is less than `n`, or its ends are of
    /// different fields; `Closed` if the node closes first.
    pub async fn wait_for_query(&self, query: Query, n: usize) -> Result<View> {
        self.0.cluster.wait_for(query, n).await
    }

    /// What happens from now on.
    pub fn events(&self) -> Events {
        self.0.events.subscribe()
    }

    /// Follows a query: what matches now, and every change to that.
    pub fn subscribe(&self, query: Query) -> LiveQuery {
        self.0.cluster.subscribe(query)
    }

    /// Changes what others may know of this node, and tells them: those of a paused
    /// node when it is back.
    ///
    /// # Errors
    /// `Config` if a field is not acceptable; `Closed`.
    pub async fn set_meta(&self, meta: BTreeMap<String, String>) -> Result<()> {
        self.0.cluster.set_meta(meta).await
    }

    /// Changes some of it, and tells them. What is given to `change` is how it
    /// is now, and no other change comes between.
    ///
    /// # Errors
    /// As of [`set_meta`](Self::set_meta); then nothing is changed.
    pub async fn update_meta(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, String>),
    ) -> Result<()> {
        self.0.cluster.update_meta(change).await
    }

    /// Changes the host name that others read, and tells them.
    ///
    /// # Errors
    /// `Config` if it is not acceptable; `Closed`.
    pub async fn set_host(&self, host: impl Into<String>) -> Result<()> {
        self.0.cluster.set_host(host.into()).await
    }

    /// Changes how long others keep this node's record, and tells them. In a large cluster
    /// it may be longer: see [`Config::pace`].
    ///
    /// # Errors
    /// `Config` if it is not acceptable; `Closed`.
    pub async fn set_ttl(&self, ttl: Duration) -> Result<()> {
        self.0.cluster.set_ttl(ttl).await
    }

    /// Looks for peers of this node's cluster: those of the peer-exchange view
    /// (source `pex`), then those that once failed to answer (`pex-standby`),
    /// then wherever its boot addresses say. What is found first suffices: with
    /// a limit, discovery sends nothing if that many peers are known.
    pub fn find_peers(&self, options: FindOptions) -> Finding {
        self.find_peers_of(&self.0.config.namespace, options)
    }

    /// The same for another namespace, one in which this node exchanges peers
    /// or not. What a search of a paused node gives is `Paused`.
    pub fn find_peers_of(&self, namespace: &Namespace, options: FindOptions) -> Finding {
        if let Err(paused) = self.0.host.life().check() {
            return stream::once(ready(Err(paused))).boxed();
        }
        match &self.0.pex {
            Some(pex) => pex.find_peers(namespace, options),
            None => self.0.boot.find_peers(namespace, options),
        }
    }

    /// Exchanges peers in another namespace too, until the node closes. Reads what was
    /// saved of it from the disk. Does nothing if the node exchanges none. To be found in
    /// it, the node must also advertise it ([`Boot::advertise`]).
    ///
    /// # Errors
    /// `Busy` if somebody else serves the namespace's protocol; `Io` if what was
    /// saved of the namespace cannot be read.
    pub fn exchange_peers(&self, namespace: &Namespace) -> Result<()> {
        let Some(pex) = &self.0.pex else { return Ok(()) };
        pex.join(namespace, self.0.store.load(namespace)?)
    }

    /// Finding and being found: for other namespaces, other discoveries, and a
    /// look at the packets that pass.
    pub fn boot(&self) -> &Boot {
        &self.0.boot
    }

    /// The view of a peer, as it is there. Connects to it as
    /// [`connect`](Self::connect) does.
    ///
    /// # Errors
    /// As of `connect`; `NotFound` if it serves no view in this namespace.
    pub async fn view_of(&self, peer: impl Into<Target>) -> Result<RemoteView> {
        let usual = crate::cluster::Limits::default().records;
        let most = self.0.config.limits.table.records.max(usual);
        Ok(RemoteView::connect(self.0.vat.clone(), peer).await?.keeping(most))
    }

    /// Exports capabilities to peers, and connects to theirs.
    pub fn vat(&self) -> &Vat {
        &self.0.vat
    }

    /// The node's counters.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Leaves the cluster, so that others see it at once, and waits until
    /// nothing of the node is running; another can then open its data. Requests
    /// that its services work on have 5 s to be answered before; new ones are sent on
    /// to others. A second call does nothing.
    ///
    /// # Errors
    /// `Timeout` if something still runs 5 s later.
    pub async fn close(&self) -> Result<()> {
        self.close_within(GRACE).await
    }

    /// The same with another time for requests that are worked on: none, if it is
    /// zero. A handler that closes its node is not waited for; its future is dropped.
    /// If this is dropped before it is done, the node closes at once.
    ///
    /// # Errors
    /// As of [`close`](Self::close).
    pub async fn close_within(&self, grace: Duration) -> Result<()> {
        let _ends = self.0.running.0.cancel_on_drop();
        self.drain(grace, false).await;
        let all_ended = self.0.running.0.close(CLOSE).await;
        // Nothing more happens: who listens need not wait until nobody has the node.
        self.0.events.close();
        if all_ended {
            self.0.store.close().await;
            return Ok(());
        }
        let left = self.0.running.0.running();
        let message =
            format!("the node did not close within 5 s; left behind: {}", left.join(", "));
        Err(Error::new(ErrorKind::Timeout, message))
    }

    /// What closing begins with: its services take nothing more, what they have is
    /// answered, and leases of semaphores are given back. `handling` says that a
    /// handler waits for this, which is known here only if it is a future that does.
    #[doc(hidden)]
    pub async fn drain(&self, grace: Duration, handling: bool) {
        self.0.services.drain(grace, handling).await;
        self.0.csp.give_back().await;
    }

    /// Waits until the node has left the cluster and nothing of it is running,
    /// whether it was closed or its last clone was dropped. What is given back
    /// keeps the node from neither.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let scope = self.0.running.0.clone();
        async move { scope.ended().await }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id())
            .field("namespace", self.namespace())
            .finish_non_exhaustive()
    }
}

/// Waits for what the system gives quickly, or never: no start waits for ever.
async fn in_time<T>(what: &str, wait: impl Future<Output = Result<T>>) -> Result<T> {
    let limit = tokio::time::timeout(START, wait);
    limit.await.unwrap_or_else(|_| {
        let message =
            format!("the node cannot start: it has waited {} s for {what}", START.as_secs());
        Err(Error::new(ErrorKind::Timeout, message))
    })
}

/// Signs heartbeats. Their numbers are not those of messages on topics.
fn sign(key: Keypair, namespace: &Namespace, given: Arc<topics::Numbers>) -> crate::cluster::Sign {
    let topic = namespace.clone();
    Arc::new(move |seq, data| {
        given.given(seq);
        SignedMessage::sign(&key, topic.as_str(), seq, data)
    })
}

/// Signs suspicions, with numbers of their own.
fn sign_suspects(
    key: Keypair,
    topic: StreamProtocol,
    given: Arc<topics::Numbers>,
) -> crate::cluster::SignSuspects {
    Box::new(move |data| SignedMessage::sign(&key, topic.as_ref(), given.next(unix_nanos()), data))
}
