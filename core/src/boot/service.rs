//! The boot service of a node: its boot addresses, put to work.

use super::{
    BootAddr, Discovery, FindOptions, Finding, Found, Tap,
    addr::{AUTO_PORTS, DEFAULT_PORT},
    crawl::{Targets, ask_once, crawl},
    desk::Desk,
    finding, fixed,
    group::Groups,
    iface::{self, Iface},
    packet::Body,
    race::race,
    responder::Responder,
    serve::{serve, serve_everywhere, serve_first},
    socket,
};
use crate::{
    Error, ErrorKind, Event, Multiaddr, Namespace, Result, event::EventBus, metrics::Metrics,
    scope::Scope,
};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use libp2p::identity::Keypair;
use std::{
    collections::HashMap,
    future::ready,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Where a node looks for peers, and where it answers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BootConfig {
    /// Where peers are looked for. The node answers on the same kind of
    /// address, where it can.
    pub boot: Vec<BootAddr>,
    /// Where else it answers: what cannot be served is an error here.
    pub serve: Vec<BootAddr>,
    /// Requests that a crawl sends per second; the loopback interface is
    /// crawled at 1000 at least.
    pub crawl_rate: NonZeroU32,
}

impl Default for BootConfig {
    fn default() -> Self {
        Self {
            boot: vec![BootAddr::Auto],
            serve: Vec::new(),
            crawl_rate: NonZeroU32::new(32).expect("not 0"),
        }
    }
}

/// What [`Boot::emit`] sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    desk: Arc<Desk>,
    events: EventBus,
    sources: Vec<Source>,
    /// The namespaces that are advertised as long as the node lives.
    kept: Mutex<HashMap<Namespace, ()>>,
    extra: Mutex<Vec<Arc<dyn Discovery>>>,
    rate: NonZeroU32,
}

/// A boot address, ready to be searched.
struct Source {
    name: String,
    way: Way,
}

enum Way {
    Crawl(Targets),
    Survey { groups: Groups, gradual: bool },
    Name(String, super::addr::Family, u16),
    Static(Option<crate::PeerId>, Multiaddr),
}

/// The group that Go's CASM uses too, and one for networks without IPv4.
fn auto_groups() -> Vec<SocketAddr> {
    // Transient, link-local (RFC 4291, section 2.7).
    let v6 = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0, 0x8822);
    vec![
        SocketAddr::new(Ipv4Addr::new(228, 8, 8, 8).into(), DEFAULT_PORT),
        SocketAddr::new(v6.into(), DEFAULT_PORT),
    ]
}

fn auto_ports() -> impl Iterator<Item = SocketAddr> {
    ports(Ipv4Addr::LOCALHOST.into(), DEFAULT_PORT, AUTO_PORTS)
}

fn ports(ip: IpAddr, first: u16, count: u16) -> impl Iterator<Item = SocketAddr> {
    (0..count).filter_map(move |i| Some(SocketAddr::new(ip, first.checked_add(i)?)))
}

impl Boot {
    /// Starts the service: binds what is served and joins what is surveyed.
    ///
    /// `addrs` are the addresses at which the node can be reached now, without
    /// `/p2p/<id>`, the most useful first.
    ///
    /// # Errors
    /// `Config` if an address cannot be used in its place, `Bind` if one that
    /// was asked for cannot be served.
    pub(crate) fn start(
        config: BootConfig,
        key: Keypair,
        addrs: watch::Receiver<Arc<[Multiaddr]>>,
        metrics: Metrics,
        scope: Scope,
        events: EventBus,
    ) -> Result<Self> {
        BootAddr::check_list(&config.boot)?;
        let desk = Arc::new(Desk::new(key, addrs, metrics, scope.child()));
        let mut starting = Starting {
            ifaces: iface::follow(&desk.scope)?,
            desk,
            joined: HashMap::new(),
            served: Vec::new(),
        };
        let mut sources = Vec::new();
        for addr in &config.boot {
            starting.boot(addr, &mut sources)?;
        }
        for addr in &config.boot {
            // What was not asked for by name is served as far as it can be.
            if let Err(error) = starting.serve(addr) {
                tracing::info!(%error, boot = %addr, "boot requests are not answered here");
            }
        }
        for addr in &config.serve {
            starting.serve(addr)?;
        }
        Ok(Self(Arc::new(Service {
            desk: starting.desk,
            events,
            sources,
            kept: Mutex::default(),
            extra: Mutex::default(),
            rate: config.crawl_rate,
        })))
    }

    /// A boot service without a node, for tools and tests. It ends with
    /// [`close`](Self::close).
    ///
    /// `addrs` are the addresses that its answers give, the most useful first.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if an address cannot be used in its place,
    /// [`ErrorKind::Bind`] if one that was asked for cannot be served.
    pub fn standalone(
        config: BootConfig,
        key: Keypair,
        addrs: watch::Receiver<Arc<[Multiaddr]>>,
    ) -> Result<Self> {
        let (metrics, scope) = (Metrics::default(), Scope::default());
        Self::start(config, key, addrs, metrics, scope, EventBus::default())
    }

    /// Uses another discovery beside the boot addresses.
    pub fn add(&self, discovery: Arc<dyn Discovery>) {
        self.0.extra.lock().unwrap_or_else(PoisonError::into_inner).push(discovery);
    }

    fn extra(&self) -> Vec<Arc<dyn Discovery>> {
        self.0.extra.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets others find this node under a namespace, as long as it lives.
    pub fn advertise(&self, namespace: &Namespace) {
        let known = {
            let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.insert(namespace.clone(), ()).is_some()
        };
        if known {
            return;
        }
        let (boot, namespace) = (Arc::downgrade(&self.0), namespace.clone());
        self.0.desk.scope.spawn(async move {
            while let Some(service) = boot.upgrade() {
                let advertised = Discovery::advertise(&Self(service), &namespace, Responder::TTL);
                if let Err(error) = advertised.await {
                    tracing::warn!(%error, %namespace, "advertising");
                }
                tokio::time::sleep(Responder::TTL / 3).await;
            }
        });
    }

    /// Looks for peers of a namespace at every boot address at once; see
    /// [`Discovery::find_peers`]. What is found is also an [`Event::PeersFound`].
    ///
    /// Must be called inside a tokio runtime.
    pub fn find_peers(&self, namespace: &Namespace, options: FindOptions) -> Finding {
        let mut searches: Vec<Finding> =
            self.0.sources.iter().map(|source| self.search(source, namespace, &options)).collect();
        searches.extend(self.extra().iter().map(|d| d.find_peers(namespace, options.clone())));
        let own = self.0.desk.own;
        let others = searches.into_iter().map(|search| {
            let not_own = move |found: &Result<Found>| {
                ready(found.as_ref().map_or(true, |found| found.peer.id != own))
            };
            search.filter(not_own).boxed()
        });
        let events = self.0.events.clone();
        race(others.collect(), &options)
            .inspect(move |found| {
                if let Ok(Found { source, peer }) = found {
                    events.emit(Event::PeersFound { source: source.clone(), peer: peer.clone() });
                }
            })
            .boxed()
    }

    fn search(&self, source: &Source, namespace: &Namespace, options: &FindOptions) -> Finding {
        let (desk, rate, namespace) = (Arc::clone(&self.0.desk), self.0.rate, namespace.clone());
        let scope = &self.0.desk.scope;
        match &source.way {
            Way::Crawl(targets) => finding::spawn(scope, &source.name, options, |sink| {
                crawl(desk, targets.clone(), rate, namespace, sink)
            }),
            Way::Survey { groups, gradual } => {
                finding::spawn(scope, &source.name, options, |sink| {
                    groups.clone().survey(namespace, *gradual, sink)
                })
            }
            Way::Name(name, family, port) => finding::spawn(scope, &source.name, options, |sink| {
                fixed::ask_name(desk, (name.clone(), *family, *port), rate, namespace, sink)
            }),
            Way::Static(peer, addr) => finding::spawn(scope, &source.name, options, |sink| {
                fixed::known(*peer, addr.clone(), sink)
            }),
        }
    }

    /// Every boot datagram that is received from now on.
    pub fn tap(&self) -> Tap {
        Tap(self.0.desk.tap())
    }

    /// Sends one packet to every boot address that takes its kind, and gives
    /// back how many datagrams were sent.
    ///
    /// # Errors
    /// [`ErrorKind::Address`] if no boot address takes this kind;
    /// [`ErrorKind::TooLarge`] if it doesn't fit a datagram.
    pub async fn emit(&self, namespace: &Namespace, what: Emit) -> Result<u64> {
        let desk = &self.0.desk;
        let (mut sent, mut fitting) = (0, false);
        for source in &self.0.sources {
            match (&source.way, what) {
                (Way::Crawl(targets), Emit::Request) => {
                    fitting = true;
                    let bytes = desk.sign(namespace, Body::Request)?;
                    sent += ask_once(desk, targets, self.0.rate, &bytes, "request").await?;
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
        &self.0.desk.metrics
    }

    /// Ends the service, its searches and sockets, and waits for that.
    pub async fn close(&self) {
        const GRACE: Duration = Duration::from_secs(5);
        self.0.desk.scope.close(GRACE).await;
    }
}

impl Discovery for Boot {
    fn find_peers(&self, namespace: &Namespace, options: FindOptions) -> Finding {
        Self::find_peers(self, namespace, options)
    }

    fn advertise(&self, namespace: &Namespace, ttl: Duration) -> BoxFuture<'static, Result<()>> {
        let accepted = self.0.desk.responder().advertise(namespace, ttl, Instant::now());
        let others: Vec<_> = self.extra().iter().map(|d| d.advertise(namespace, ttl)).collect();
        async move {
            for result in futures::future::join_all(others).await {
                result?;
            }
            if accepted {
                return Ok(());
            }
            Err(Error::new(
                ErrorKind::Busy,
                format!("{} namespaces are advertised already", Responder::MAX_NAMESPACES),
            ))
        }
        .boxed()
    }
}

/// What is bound and joined while the service starts.
struct Starting {
    desk: Arc<Desk>,
    ifaces: watch::Receiver<Arc<[Iface]>>,
    joined: HashMap<(SocketAddr, String), Groups>,
    /// What is served already, by its string.
    served: Vec<String>,
}

impl Starting {
    /// Makes a boot address ready to be searched.
    fn boot(&mut self, addr: &BootAddr, sources: &mut Vec<Source>) -> Result<()> {
        let name = addr.to_string();
        let mut add = |way| sources.push(Source { name: name.clone(), way });
        match addr {
            BootAddr::None => {}
            BootAddr::Auto => {
                let (ip, first) = (Ipv4Addr::LOCALHOST.into(), DEFAULT_PORT);
                add(Way::Crawl(Targets::Ports { ip, first, count: AUTO_PORTS }));
                add(Way::Survey { groups: self.auto_groups()?, gradual: true });
            }
            BootAddr::Cidr { ip, prefix, port } => {
                add(Way::Crawl(Targets::block(*ip, *prefix, *port)));
            }
            BootAddr::Single(at) => {
                check_target(addr, at.ip())?;
                add(Way::Crawl(Targets::List(vec![*at])));
            }
            BootAddr::Ports { ip, first, count } => {
                check_target(addr, *ip)?;
                add(Way::Crawl(Targets::Ports { ip: *ip, first: *first, count: *count }));
            }
            BootAddr::Multicast { group, interface, gradual } => {
                let groups = self.groups(*group, interface)?;
                add(Way::Survey { groups, gradual: *gradual });
            }
            BootAddr::Dns { name, family, port } => add(Way::Name(name.clone(), *family, *port)),
            BootAddr::Static { peer, addr } => add(Way::Static(*peer, addr.clone())),
        }
        Ok(())
    }

    /// Answers on this kind of address.
    fn serve(&mut self, addr: &BootAddr) -> Result<()> {
        let name = addr.to_string();
        if self.served.contains(&name) {
            return Ok(());
        }
        let desk = &self.desk;
        match addr {
            BootAddr::None | BootAddr::Static { .. } => {}
            BootAddr::Auto => {
                self.auto_groups()?;
                if serve_first(&self.desk, auto_ports()).is_none() {
                    tracing::info!("every loopback port that `auto` uses is taken");
                }
            }
            BootAddr::Ports { ip, first, count } => {
                if serve_first(desk, ports(*ip, *first, *count)).is_none() {
                    return Err(Error::new(
                        ErrorKind::Bind,
                        format!("not one port of {name} can be bound: serve more, or others"),
                    ));
                }
            }
            BootAddr::Single(at) if !at.ip().is_unspecified() => {
                let socket = socket::bind(*at).map_err(|error| socket::bind_error(addr, error))?;
                serve(desk, socket);
            }
            BootAddr::Single(at) => {
                serve_everywhere(desk, self.ifaces.clone(), at.port(), at.is_ipv4())?;
            }
            BootAddr::Cidr { ip, port, .. } => {
                serve_everywhere(desk, self.ifaces.clone(), *port, ip.is_ipv4())?;
            }
            BootAddr::Dns { port, family, .. } => {
                use super::addr::Family;
                let mut served = Vec::new();
                for (v4, other) in [(true, Family::V6), (false, Family::V4)] {
                    if *family != other {
                        served.push(serve_everywhere(desk, self.ifaces.clone(), *port, v4));
                    }
                }
                if served.iter().all(Result::is_err) {
                    served.into_iter().collect::<Result<()>>()?;
                }
            }
            BootAddr::Multicast { group, interface, .. } => {
                self.groups(*group, interface)?;
            }
        }
        self.served.push(name);
        Ok(())
    }

    fn auto_groups(&mut self) -> Result<Groups> {
        let key = (auto_groups()[0], String::new());
        if let Some(groups) = self.joined.get(&key) {
            return Ok(groups.clone());
        }
        let groups = Groups::join(&self.desk, auto_groups(), None, self.ifaces.clone())?;
        self.joined.insert(key, groups.clone());
        Ok(groups)
    }

    fn groups(&mut self, group: SocketAddr, interface: &str) -> Result<Groups> {
        let key = (group, interface.to_owned());
        if let Some(groups) = self.joined.get(&key) {
            return Ok(groups.clone());
        }
        let named = Some(interface.to_owned());
        let groups = Groups::join(&self.desk, vec![group], named, self.ifaces.clone())?;
        self.joined.insert(key, groups.clone());
        Ok(groups)
    }
}

fn check_target(addr: &BootAddr, ip: IpAddr) -> Result<()> {
    if !ip.is_unspecified() {
        return Ok(());
    }
    Err(Error::config(
        "boot",
        addr.to_string(),
        "nobody can be asked there: write a host's address, or serve it instead",
    ))
}
