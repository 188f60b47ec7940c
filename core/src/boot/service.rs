//! The boot service of a node: its boot addresses, put to work.

use super::{
    BootAddr, Discovery, FindOptions, Finding, Found, Tap,
    crawl::{ask_once, crawl},
    desk::{Desk, Lasting, ViewSize},
    finding, fixed,
    race::race,
    responder::Responder,
    start::{Source, Starting, Way},
    told::Told,
};
use crate::{
    Error, ErrorKind, Event, Multiaddr, Namespace, PeerId, PeerInfo, Power, Result, Secret,
    announce::Announced, event::EventBus, metrics::Metrics, scope::Scope, who::Who,
};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use libp2p::identity::Keypair;
use std::{
    collections::{BTreeMap, HashSet},
    future::ready,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// When what is advertised by the program's discoveries is advertised again.
const AGAIN: Duration = Responder::TTL.checked_div(3).expect("not by 0");
/// How long this node answers for a namespace, unless that is renewed: which costs
/// nothing but to wake up for it.
const ANSWERED: Duration = Duration::from_secs(3600);
/// How long closing sockets may take.
const GRACE: Duration = Duration::from_secs(5);
/// A discovery that the program added, as users read of it.
fn extra_subject(nth: usize) -> String {
    format!("the program's discovery no. {}", nth + 1)
}

/// Where a node looks for peers, and where it answers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BootConfig {
    /// Where peers are looked for. The node answers on the same kind of
    /// address, where it can.
    pub boot: Vec<BootAddr>,
    /// Where else it answers: what cannot be served is an error here.
    pub serve: Vec<BootAddr>,
    /// Addresses of the node that are told to all who ask, whatever the network
    /// they ask from; see [`Config::announce`](crate::Config::announce).
    pub announce: Vec<Multiaddr>,
    /// The pre-shared key of a private cluster: then packets are sealed, and
    /// nothing else is answered.
    pub secret: Option<Secret>,
    /// Requests that a crawl sends per second; the loopback interface is
    /// crawled at 1000 at least.
    pub crawl_rate: NonZeroU32,
    /// How much the service does of itself.
    pub power: Power,
    /// The peers whose packets are taken by a service without a node, and no others.
    /// Empty: everybody. A node has lists of its own.
    pub allow: Vec<PeerId>,
    /// Those whose packets it doesn't take.
    pub deny: Vec<PeerId>,
    /// Whom the node takes.
    pub(crate) who: Who,
}

impl Default for BootConfig {
    fn default() -> Self {
        Self {
            boot: vec![BootAddr::Auto],
            serve: Vec::new(),
            announce: Vec::new(),
            secret: None,
            crawl_rate: NonZeroU32::new(32).expect("not 0"),
            power: Power::Normal,
            allow: Vec::new(),
            deny: Vec::new(),
            who: Who::default(),
        }
    }
}

/// What [`Boot::emit`] sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Emit {
    /// A request, to every unicast boot address.
    Request,
    /// A survey, to every multicast group.
    Survey {
        /// How many bits of distance are ignored; 255: everyone answers.
        distance: u8,
    },
    /// A response, to every multicast group.
    Response,
}

/// The boot service of a node. Clones share it.
#[derive(Clone)]
pub struct Boot(Arc<Service>);

struct Service {
    config: BootConfig,
    key: Keypair,
    own: PeerId,
    addrs: watch::Receiver<Arc<[Multiaddr]>>,
    view: ViewSize,
    metrics: Metrics,
    scope: Scope,
    events: EventBus,
    lasting: Lasting,
    /// What is bound and joined: nothing while the node is paused.
    works: Mutex<Option<Arc<Works>>>,
    /// The namespaces that are advertised as long as the node lives.
    kept: Mutex<HashSet<Namespace>>,
    extra: Mutex<Vec<Arc<dyn Discovery>>>,
    /// Told when there is one more.
    added: watch::Sender<()>,
    told: Mutex<Told>,
}

/// The sockets of a service, and what is done with them.
struct Works {
    desk: Arc<Desk>,
    sources: Vec<Source>,
}

impl Boot {
    /// Starts the service: binds what is served and joins what is surveyed.
    ///
    /// `addrs` are the addresses at which the node can be reached now, without
    /// `/p2p/<id>`, the most useful first. `view` says how many members of the
    /// cluster the node knows.
    ///
    /// # Errors
    /// `Config` if an address cannot be used in its place, `Address` if one
    /// cannot be announced, `Bind` if one that was asked for cannot be served.
    pub(crate) fn start(
        config: BootConfig,
        key: Keypair,
        addrs: watch::Receiver<Arc<[Multiaddr]>>,
        view: ViewSize,
        metrics: Metrics,
        scope: Scope,
        events: EventBus,
    ) -> Result<Self> {
        BootAddr::check_list(&config.boot)?;
        let boot = Self(Arc::new(Service {
            own: key.public().to_peer_id(),
            lasting: Lasting::new(config.secret.clone(), config.who.clone()),
            config,
            key,
            addrs,
            view,
            metrics,
            scope: scope.child(),
            events,
            works: Mutex::default(),
            kept: Mutex::default(),
            extra: Mutex::default(),
            added: watch::Sender::default(),
            told: Mutex::new(Told::new()),
        }));
        boot.open()?;
        Ok(boot)
    }

    /// Binds and joins everything, and advertises what is kept. What was looked
    /// for before is not looked for again.
    ///
    /// # Errors
    /// As of [`start`](Self::start).
    pub(crate) fn open(&self) -> Result<()> {
        let service = &self.0;
        let scope = service.scope.part();
        let works = service.bind(scope.clone()).inspect_err(|_| scope.cancel())?;
        let works = Arc::new(works);
        *lock(&service.works) = Some(works.clone());
        let kept: Vec<Namespace> = lock(&service.kept).iter().cloned().collect();
        for namespace in kept {
            self.keep_advertised(&works, namespace);
        }
        Ok(())
    }

    /// Lets go of every socket, and waits until they are closed. Searches end.
    pub(crate) async fn pause(&self) {
        let works = lock(&self.0.works).take();
        if let Some(works) = works {
            works.desk.scope.close(GRACE).await;
        }
    }

    /// A boot service without a node, for tools and tests. It ends with
    /// [`close`](Self::close).
    ///
    /// `addrs` are the addresses that its answers give, the most useful first.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if an address cannot be used in its place or a list is not
    /// acceptable,
    /// [`ErrorKind::Address`] if one cannot be announced, [`ErrorKind::Bind`] if one that was asked for cannot be served.
    pub fn standalone(
        mut config: BootConfig,
        key: Keypair,
        addrs: watch::Receiver<Arc<[Multiaddr]>>,
    ) -> Result<Self> {
        config.who = Who::new(key.public().to_peer_id(), &config.allow, &config.deny, None)?;
        let (metrics, scope) = (Metrics::default(), Scope::default());
        // Who searches with it is told by the search.
        metrics.troubles.silence();
        Self::start(config, key, addrs, Arc::new(|| 0), metrics, scope, EventBus::default())
    }

    /// Uses another discovery beside the boot addresses.
    pub fn add(&self, discovery: Arc<dyn Discovery>) {
        lock(&self.0.extra).push(discovery);
        self.0.added.send_replace(());
    }

    fn extra(&self) -> Vec<Arc<dyn Discovery>> {
        lock(&self.0.extra).clone()
    }

    /// Lets others find this node under a namespace, as long as it lives.
    pub fn advertise(&self, namespace: &Namespace) {
        let new = lock(&self.0.kept).insert(namespace.clone());
        if let (true, Some(works)) = (new, self.0.works()) {
            self.keep_advertised(&works, namespace.clone());
        }
    }

    /// Advertises a namespace as long as there are sockets.
    fn keep_advertised(&self, works: &Works, namespace: Namespace) {
        let (boot, desk) = (Arc::downgrade(&self.0), Arc::clone(&works.desk));
        let (troubles, mut added) = (self.0.metrics.troubles.clone(), self.0.added.subscribe());
        works.desk.scope.spawn(async move {
            while let Some(service) = boot.upgrade() {
                let told = |subject: &str, advertised: Result<()>| match advertised {
                    Ok(()) => troubles.works(subject),
                    Err(error) => troubles.fails(subject, "unadvertised", error),
                };
                let answered = answer_for(&desk, &namespace, ANSWERED);
                let lasts = answered.is_ok();
                told(&format!("answering for the namespace `{namespace}`"), answered);
                let extra = Self(service).extra();
                let others = extra.iter().enumerate().map(async |(nth, discovery)| {
                    let advertising = discovery.advertise(&namespace, Responder::TTL);
                    let advertised = tokio::time::timeout(AGAIN, advertising).await;
                    let advertised = advertised.unwrap_or_else(|_| {
                        let message = format!("it takes longer than {} s", AGAIN.as_secs());
                        Err(Error::new(ErrorKind::Timeout, message))
                    });
                    let of = extra_subject(nth);
                    told(&format!("advertising `{namespace}` by {of}"), advertised);
                });
                // One that is slow holds up no other, and not the next time.
                let pause = if lasts && extra.is_empty() { ANSWERED / 3 } else { AGAIN };
                let next = async {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = added.changed() => {}
                    }
                };
                tokio::join!(futures::future::join_all(others), next);
            }
        });
    }

    /// Looks for peers of a namespace at every boot address at once; see
    /// [`Discovery::find_peers`]. What is found is also an [`Event::PeersFound`].
    ///
    /// Must be called inside a tokio runtime.
    pub fn find_peers(&self, namespace: &Namespace, options: FindOptions) -> Finding {
        let Some(works) = self.0.works() else {
            return stream::once(ready(Err(Error::paused()))).boxed();
        };
        let sources = works.sources.iter();
        let mut searches: Vec<Finding> =
            sources.map(|source| self.search(&works, source, namespace, &options)).collect();
        let troubles = &self.0.metrics.troubles;
        searches.extend(self.extra().iter().enumerate().map(|(nth, discovery)| {
            let told = finding::Told::new(troubles.clone(), extra_subject(nth));
            told.of(discovery.find_peers(namespace, options.clone()))
        }));
        let own = self.0.own;
        let others = searches.into_iter().map(|search| {
            let who = self.0.config.who.clone();
            let of_use = move |found: &Result<Found>| {
                let taken = |id: &PeerId| *id != own && who.check(id).is_ok();
                ready(found.as_ref().map_or(true, |found| taken(&found.peer.id)))
            };
            search.filter(of_use).boxed()
        });
        // Weak: who still holds a search of a closed node must not keep its
        // event streams from ending.
        let service = Arc::downgrade(&self.0);
        race(others.collect(), &options)
            .inspect(move |found| {
                if let (Ok(Found { source, peer }), Some(service)) = (found, service.upgrade()) {
                    service.found(source, peer);
                }
            })
            .boxed()
    }

    fn search(
        &self,
        works: &Works,
        source: &Source,
        namespace: &Namespace,
        options: &FindOptions,
    ) -> Finding {
        let (desk, rate) = (&works.desk, self.0.config.crawl_rate);
        let (of_search, namespace) = (Arc::clone(desk), namespace.clone());
        match &source.way {
            Way::Crawl(targets) => finding::spawn(desk, &source.name, options, |sink| {
                crawl(of_search, targets.clone(), rate, namespace, sink)
            }),
            Way::Survey { groups, gradual } => {
                finding::spawn(desk, &source.name, options, |sink| {
                    groups.clone().survey(namespace, *gradual, sink)
                })
            }
            Way::Name(name, family, port) => finding::spawn(desk, &source.name, options, |sink| {
                fixed::ask_name(of_search, (name.clone(), *family, *port), rate, namespace, sink)
            }),
            Way::Static(peer, addr) => finding::spawn(desk, &source.name, options, |sink| {
                fixed::known(*peer, addr.clone(), sink)
            }),
        }
    }

    /// Of each source the peers that it led to lately, the last one first, and
    /// not many.
    pub(crate) fn last_found(&self) -> BTreeMap<String, Vec<PeerInfo>> {
        self.0.told().last()
    }

    /// From now on opens the sealed packets of this namespace, as it does those of
    /// the ones that it advertises or looks for: for tools that only look on. Does
    /// nothing if there is no secret.
    pub fn opens(&self, namespace: &Namespace) {
        self.0.lasting.sealing.opens(namespace);
    }

    /// Every boot datagram that is received from now on.
    pub fn tap(&self) -> Tap {
        Tap::new(self.0.lasting.tap.listen(), self.0.scope.cancelled_owned())
    }

    /// Sends one packet to every boot address that takes its kind, and gives
    /// back how many datagrams were sent. A [`tap`](Self::tap) sees the answers.
    ///
    /// # Errors
    /// [`ErrorKind::Address`] if no boot address takes this kind;
    /// [`ErrorKind::TooLarge`] if it doesn't fit a datagram;
    /// [`ErrorKind::Paused`].
    pub async fn emit(&self, namespace: &Namespace, what: Emit) -> Result<u64> {
        let works = self.0.works().ok_or_else(Error::paused)?;
        let desk = &works.desk;
        let (mut sent, mut fitting) = (0, false);
        for source in &works.sources {
            match (&source.way, what) {
                (Way::Crawl(targets), Emit::Request) => {
                    fitting = true;
                    sent += ask_once(desk, targets, self.0.config.crawl_rate, namespace).await?;
                }
                (Way::Survey { groups, .. }, Emit::Survey { distance }) => {
                    fitting = true;
                    for group in groups.now() {
                        sent += u64::from(group.emit_survey(namespace, distance).await?);
                    }
                }
                (Way::Survey { groups, .. }, Emit::Response) => {
                    fitting = true;
                    for group in groups.now() {
                        sent += u64::from(group.emit_response(namespace).await);
                    }
                }
                _ => {}
            }
        }
        if fitting {
            return Ok(sent);
        }
        let accepted = match what {
            Emit::Request => "/ip4/127.0.0.1/udp/8822/ports/32",
            _ => "/ip4/228.8.8.8/udp/8822/multicast/eth0",
        };
        Err(Error::new(
            ErrorKind::Address,
            format!("no boot address takes such a packet: add one such as `{accepted}`"),
        ))
    }

    /// The metrics of the service.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Ends the service, its searches and sockets, and waits for that.
    pub async fn close(&self) {
        self.0.scope.close(GRACE).await;
    }
}

impl Service {
    /// Binds and joins everything.
    fn bind(&self, scope: Scope) -> Result<Works> {
        let announced = Announced::new(&self.config.announce, false, self.own)?;
        let desk = Arc::new(Desk::new(
            self.key.clone(),
            self.addrs.clone(),
            announced.addrs,
            self.view.clone(),
            self.metrics.clone(),
            scope,
            self.lasting.clone(),
        ));
        let rescan = self.config.power.profile().rescan;
        let mut starting = Starting::new(Arc::clone(&desk), rescan);
        let mut sources = Vec::new();
        for addr in &self.config.boot {
            starting.boot(addr, &mut sources)?;
        }
        for addr in &self.config.boot {
            // What was not asked for by name is served as far as it can be.
            if let Err(error) = starting.serve(addr) {
                tracing::info!(%error, boot = %addr, "boot requests are not answered here");
                starting.serve_later(addr);
            }
        }
        for addr in &self.config.serve {
            if matches!(addr, BootAddr::Static { .. }) {
                return Err(Error::config(
                    "serve",
                    addr.to_string(),
                    "it is another peer's: write a port to bind, such as `/ip4/0.0.0.0/udp/8822`",
                ));
            }
            starting.serve(addr)?;
        }
        Ok(Works { desk, sources })
    }

    fn works(&self) -> Option<Arc<Works>> {
        lock(&self.works).clone()
    }

    /// Tells of a peer that was found, unless the same was told before.
    fn found(&self, source: &str, peer: &PeerInfo) {
        let new = self.told().is_new(source, peer);
        if new {
            let (source, peer) = (source.to_owned(), peer.clone());
            self.events.emit(Event::PeersFound { source, peer });
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        lock(&self.told)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.scope.cancel();
    }
}

impl Discovery for Boot {
    fn find_peers(&self, namespace: &Namespace, options: FindOptions) -> Finding {
        Self::find_peers(self, namespace, options)
    }

    fn advertise(&self, namespace: &Namespace, ttl: Duration) -> BoxFuture<'static, Result<()>> {
        let works = self.0.works().ok_or_else(Error::paused);
        let own = works.and_then(|works| answer_for(&works.desk, namespace, ttl));
        let others: Vec<_> = self.extra().iter().map(|d| d.advertise(namespace, ttl)).collect();
        async move {
            for result in futures::future::join_all(others).await {
                result?;
            }
            own
        }
        .boxed()
    }
}

/// Answers who asks for a namespace, until `ttl` has passed.
fn answer_for(desk: &Desk, namespace: &Namespace, ttl: Duration) -> Result<()> {
    desk.sealing.opens(namespace);
    if desk.responder().advertise(namespace, ttl, Instant::now()) {
        return Ok(());
    }
    let message = format!("{} namespaces are advertised already", Responder::MAX_NAMESPACES);
    Err(Error::new(ErrorKind::Busy, message))
}

/// What these locks guard is whole at every moment at which a panic could
/// strike.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
