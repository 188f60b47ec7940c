//! Configures a node step by step, from plain strings.

use super::Node;
use crate::{
    Config, Error, ErrorKind, Events, Keypair, Multiaddr, Namespace, NodeThread, PeerId, Result,
    Secret,
    admit::Certificate,
    boot::{BootAddr, Discovery},
    cluster::{Roles, RolesOf, no_roles},
    config::{Limits, Pace, Power, RelayLimits},
    event::EventBus,
    identity,
    metrics::Metrics,
    pex,
};
use futures::FutureExt;
use std::{fmt, panic::resume_unwind, path::Path, sync::Arc, time::Duration};
use tokio_util::task::AbortOnDropHandle;

/// Configures a node, and starts it. What is wrong is told by
/// [`start`](Self::start), the first thing first.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct NodeBuilder {
    config: Result<Config>,
    boot_set: bool,
    early: Early,
}

/// What a node is given before it starts, beside its configuration.
pub(super) struct Early {
    pub(super) events: EventBus,
    pub(super) metrics: Metrics,
    pub(super) discoveries: Vec<Arc<dyn Discovery>>,
    /// The longest mean pause between exchanges of heartbeats with a random peer, if
    /// it is not the profile's; without one there are none.
    pub(super) exchange_pause: Option<Option<Duration>>,
    /// The thread on which it runs as a whole.
    pub(super) thread: Option<NodeThread>,
    /// Which roles are proven of whom.
    pub(super) roles: RolesOf,
}

impl Early {
    pub(super) fn new() -> Self {
        let metrics = Metrics::default();
        let events = EventBus::new(&metrics);
        Self {
            events,
            metrics,
            discoveries: Vec::new(),
            exchange_pause: None,
            thread: None,
            roles: no_roles(),
        }
    }
}

impl fmt::Debug for Early {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Early")
            .field("discoveries", &self.discoveries.len())
            .finish_non_exhaustive()
    }
}

impl NodeBuilder {
    pub(super) fn new() -> Self {
        Self { config: Ok(Config::default()), boot_set: false, early: Early::new() }
    }

    /// The cluster to join. Default `casm`.
    pub fn namespace(self, name: impl AsRef<str>) -> Self {
        self.with(|config| {
            config.namespace = Namespace::new(name)?;
            Ok(())
        })
    }

    /// Adds an address to listen at, such as `/ip4/0.0.0.0/tcp/0` (port 0 takes
    /// any free one). Default: TCP and QUIC on every interface.
    pub fn listen(self, addr: impl AsRef<str>) -> Self {
        self.with(|config| {
            let addr = multiaddr("listen", addr.as_ref(), "/ip4/0.0.0.0/tcp/0")?;
            config.listen.push(addr);
            Ok(())
        })
    }

    /// Adds an address at which others reach this node although it cannot see
    /// that itself, behind a port mapping: `/ip4/203.0.113.7/tcp/4001`. See
    /// [`Config::announce`].
    pub fn announce(self, addr: impl AsRef<str>) -> Self {
        self.with(|config| {
            let addr = multiaddr("announce", addr.as_ref(), "/ip4/203.0.113.7/tcp/4001")?;
            config.announce.push(addr);
            Ok(())
        })
    }

    /// Whether nothing is told but the addresses of
    /// [`announce`](Self::announce). Default false: those that the node finds
    /// are told too.
    pub fn announce_only(self, only: bool) -> Self {
        self.with(|config| {
            config.announce_only = only;
            Ok(())
        })
    }

    /// Where to look for peers, such as `auto`, `none` or
    /// `/ip4/10.0.0.0/udp/8822/cidr/24`. Replaces the default, `auto`; adds up
    /// when called again.
    pub fn boot(mut self, addrs: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let first = !std::mem::replace(&mut self.boot_set, true);
        self.with(|config| {
            if first {
                config.boot.clear();
            }
            config.boot.extend(boot_addrs(addrs)?);
            Ok(())
        })
    }

    /// Where to answer those who look for peers, beside what
    /// [`boot`](Self::boot) implies. Adds up when called again.
    pub fn serve(self, addrs: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.with(|config| {
            config.serve.extend(boot_addrs(addrs)?);
            Ok(())
        })
    }

    /// How long pauses between exchanges of heartbeats with a random peer are at most,
    /// on average, or that there are none: for tests, which would wait for one, or be
    /// saved by one. Default 20 s.
    #[doc(hidden)]
    pub fn exchange_pause(mut self, pause: Option<Duration>) -> Self {
        self.early.exchange_pause = Some(pause);
        self
    }

    /// Which roles are proven of whom, in the place of what certificates say: for tests.
    /// It is asked often, and must not block.
    #[doc(hidden)]
    pub fn roles_of(mut self, roles: impl Fn(&PeerId) -> Roles + Send + Sync + 'static) -> Self {
        self.early.roles = Arc::new(roles);
        self
    }

    /// The name of this host, for others to read. Default: the machine's. See
    /// [`Config::host`].
    pub fn host(self, host: impl Into<String>) -> Self {
        self.with(|config| {
            config.host = host.into();
            Ok(())
        })
    }

    /// Adds a field that others may know and query.
    pub fn meta(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|config| {
            config.meta.insert(key.into(), value.into());
            Ok(())
        })
    }

    /// How long others keep this node's record without hearing from it: 1 s to
    /// 24 h, default 10 s; longer in a large cluster, if the [`pace`](Self::pace) is not
    /// fixed.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.with(|config| {
            config.ttl = ttl;
            Ok(())
        })
    }

    /// Whether the TTL that this node announces grows with the cluster. Default
    /// [`Pace::Auto`]. See [`Config::pace`].
    pub fn pace(self, pace: Pace) -> Self {
        self.with(|config| {
            config.pace = pace;
            Ok(())
        })
    }

    /// How many heartbeats the whole cluster may send in a second before its nodes
    /// announce longer TTLs: 1 to 100,000, default 150. See [`Config::budget`].
    pub fn budget(self, heartbeats: u32) -> Self {
        self.with(|config| {
            config.budget = heartbeats;
            Ok(())
        })
    }

    /// Whether to look on only, without being in the cluster. Default false.
    pub fn observer(self, observer: bool) -> Self {
        self.with(|config| {
            config.observer = observer;
            Ok(())
        })
    }

    /// The node's identity. Default: a fresh ed25519 key.
    pub fn key(self, key: Keypair) -> Self {
        self.with(|config| {
            config.key = Some(key);
            Ok(())
        })
    }

    /// The file of the node's identity ([`identity::save_key`] makes one).
    pub fn key_file(self, path: impl AsRef<Path>) -> Self {
        self.with(|config| {
            config.key = Some(identity::load_key(path)?);
            Ok(())
        })
    }

    /// The pre-shared key of a private cluster. Default: none. See
    /// [`Config::secret`].
    pub fn secret(self, secret: Secret) -> Self {
        self.with(|config| {
            config.secret = Some(secret);
            Ok(())
        })
    }

    /// The file of it, a `swarm.key` ([`Secret::save`] makes one).
    pub fn secret_file(self, path: impl AsRef<Path>) -> Self {
        self.with(|config| {
            config.secret = Some(Secret::load(path)?);
            Ok(())
        })
    }

    /// Adds an authority whose certificates make a member, by the peer id of its key.
    /// Adds up when called again. See [`Config::admit`].
    pub fn admit(self, authorities: impl IntoIterator<Item = PeerId>) -> Self {
        self.with(|config| {
            config.admit.extend(authorities);
            Ok(())
        })
    }

    /// This node's certificate. See [`Config::certificate`].
    pub fn certificate(self, certificate: Certificate) -> Self {
        self.with(|config| {
            config.certificate = Some(certificate);
            Ok(())
        })
    }

    /// The file of it, which is read again when it changes. See
    /// [`Config::certificate_file`].
    pub fn certificate_file(self, path: impl AsRef<Path>) -> Self {
        self.with(|config| {
            config.certificate = Some(Certificate::load(&path)?);
            config.certificate_file = Some(path.as_ref().into());
            Ok(())
        })
    }

    /// A file of revocations, which is read again when it changes. See
    /// [`Config::revoked_file`].
    pub fn revoked_file(self, path: impl AsRef<Path>) -> Self {
        self.with(|config| {
            config.revoked_file = Some(path.as_ref().into());
            Ok(())
        })
    }

    /// Takes these peers and no others. Adds up when called again; without any,
    /// everybody is taken. See [`Node::allow`].
    pub fn allow(self, ids: impl IntoIterator<Item = PeerId>) -> Self {
        self.with(|config| {
            config.allow.extend(ids);
            Ok(())
        })
    }

    /// Doesn't take these peers, whether they are allowed or not. Adds up when
    /// called again. See [`Node::deny`].
    pub fn deny(self, ids: impl IntoIterator<Item = PeerId>) -> Self {
        self.with(|config| {
            config.deny.extend(ids);
            Ok(())
        })
    }

    /// Whether this node is a relay for peers behind a NAT, within the default limits.
    /// Default false. See [`Config::relay`].
    pub fn relay(self, relay: bool) -> Self {
        self.with(|config| {
            config.relay = relay.then(|| config.relay.take().unwrap_or_default());
            Ok(())
        })
    }

    /// The same within these limits.
    pub fn relay_limits(self, limits: RelayLimits) -> Self {
        self.with(|config| {
            config.relay = Some(limits);
            Ok(())
        })
    }

    /// Whether this node uses relays when it can't be reached itself. Default true. See
    /// [`Config::use_relays`].
    pub fn use_relays(self, relays: bool) -> Self {
        self.with(|config| {
            config.use_relays = relays;
            Ok(())
        })
    }

    /// Whether this node asks the network's gateway to let others in, by UPnP. Default
    /// false.
    pub fn upnp(self, upnp: bool) -> Self {
        self.with(|config| {
            config.upnp = upnp;
            Ok(())
        })
    }

    /// The directory in which the node keeps what is to outlast it, such as the
    /// peers it knows: it comes back to its cluster without discovery.
    pub fn data(self, dir: impl AsRef<Path>) -> Self {
        self.with(|config| {
            config.data = Some(dir.as_ref().into());
            Ok(())
        })
    }

    /// How peers are exchanged; `None`: not at all. Default: as
    /// [`pex::Config::default`].
    pub fn pex(self, pex: impl Into<Option<pex::Config>>) -> Self {
        self.with(|config| {
            config.pex = pex.into();
            Ok(())
        })
    }

    /// The longest pause between two exchanges of peers: 100 ms to 24 h, default
    /// 5 min.
    pub fn pex_tick(self, tick: Duration) -> Self {
        self.with(|config| {
            config.pex.get_or_insert_default().tick = tick;
            Ok(())
        })
    }

    /// How much the node does of itself; see [`Config::set_power`]. Default
    /// [`Power::Normal`].
    pub fn power(self, power: Power) -> Self {
        self.with(|config| {
            config.set_power(power);
            Ok(())
        })
    }

    /// Limits on what is spent on peers.
    pub fn limits(self, limits: Limits) -> Self {
        self.with(|config| {
            config.limits = limits;
            Ok(())
        })
    }

    /// The limits so far: those of the profile, or those that were given.
    #[doc(hidden)]
    pub fn limits_so_far(&self) -> Limits {
        self.config.as_ref().map(|config| config.limits.clone()).unwrap_or_default()
    }

    /// The node's events from its first on, such as where it listens, or a peer
    /// that is found at once. Ends without any if the node is not started.
    pub fn events(&self) -> Events {
        self.early.events.subscribe()
    }

    /// Adds a discovery, which takes part from the first search on. Adds up when
    /// called again.
    pub fn discovery(mut self, discovery: impl Discovery) -> Self {
        self.early.discoveries.push(Arc::new(discovery));
        self
    }

    /// Has the node run on this thread as a whole. Default: on the runtime on which it is
    /// started, and with a thread of its own for the vat once that is used.
    pub fn on(mut self, thread: &NodeThread) -> Self {
        self.early.thread = Some(thread.clone());
        self
    }

    /// The configuration so far.
    ///
    /// # Errors
    /// The first thing that was wrong.
    pub fn config(self) -> Result<Config> {
        self.config
    }

    /// Starts the node.
    ///
    /// # Errors
    /// The first thing that was wrong in the configuration, and as
    /// [`Node::start`].
    pub async fn start(self) -> Result<Node> {
        let thread = self.early.thread.clone();
        let starting = Node::start_with(self.config?, self.early).boxed();
        let Some(thread) = thread else { return starting.await };
        let starting = AbortOnDropHandle::new(thread.handle().spawn(starting));
        starting.await.unwrap_or_else(|e| match e.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(Error::closed("thread of the node")),
        })
    }

    fn with(mut self, set: impl FnOnce(&mut Config) -> Result<()>) -> Self {
        if let Ok(config) = &mut self.config
            && let Err(error) = set(config)
        {
            self.config = Err(error);
        }
        self
    }
}

impl From<Config> for NodeBuilder {
    /// A builder that goes on from this configuration: what adds up is added to
    /// what is there.
    fn from(config: Config) -> Self {
        Self { config: Ok(config), boot_set: true, early: Early::new() }
    }
}

fn multiaddr(field: &str, addr: &str, such_as: &str) -> Result<Multiaddr> {
    addr.parse().map_err(|e| {
        let message =
            format!("{field}: {addr:?} is not a multiaddr ({e}): write one such as {such_as}");
        Error::new(ErrorKind::Address, message)
    })
}

fn boot_addrs(addrs: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Vec<BootAddr>> {
    addrs.into_iter().map(|addr| addr.as_ref().parse()).collect()
}
