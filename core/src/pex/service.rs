//! Peer exchange on the network: one task per namespace owns the view, rounds
//! run beside it and give it what they learned.

use super::{
    Config, RoundError,
    exchange::{Role, exchange},
    round::{Told, Verifier},
    store::{Saved, Store},
    task::{Command, Task},
    view::Origin,
};
use crate::{
    Namespace, PeerId, PeerInfo, Result,
    ask::ask,
    boot::{FindOptions, Finding, Found},
    cache::cache,
    event::EventBus,
    host::Host,
    metrics::{Metrics, verdict},
    prefix::Prefix,
    record::SignedRecord,
    scope::Scope,
    target::Whereabouts,
};
use futures::{FutureExt, StreamExt, future, stream};
use lru::LruCache;
use prometheus_client::metrics::{family::Family, gauge::Gauge};
use std::{
    collections::{BTreeMap, HashSet},
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc};

/// Rounds that a node answers at the same time, in all namespaces. A peer's
/// records and their decoding take 300 KiB at most.
const SERVED: usize = 32;
/// Attempts to reach peers at the same time, in all namespaces.
const STARTED: usize = 16;
/// Commands that may wait for a namespace's task.
const COMMANDS: usize = 256;
/// Peers of which it is remembered from where they were met.
const MET: NonZeroUsize = NonZeroUsize::new(4096).expect("not 0");

/// How discovery is asked.
pub(crate) type Find = Arc<dyn Fn(&Namespace, FindOptions) -> Finding + Send + Sync>;

/// What the service needs of the node.
pub(crate) struct Env {
    pub(crate) config: Config,
    /// The node's own namespace: its first peers are found elsewhere.
    pub(crate) namespace: Namespace,
    pub(crate) host: Host,
    pub(crate) find: Find,
    /// Where peers say by now that they are: a relay may have them since they were
    /// exchanged.
    pub(crate) whereabouts: Whereabouts,
    pub(crate) store: Store,
    /// How often is looked whether the store's file is still there.
    pub(crate) look: Duration,
    /// By how much each of the first pauses between rounds is longer than the one before.
    pub(crate) growth: u32,
    pub(crate) events: EventBus,
    pub(crate) metrics: Metrics,
    pub(crate) scope: Scope,
}

/// How many peers are known, by namespace.
#[derive(Default)]
pub(super) struct Sizes {
    pub(super) view: BySpace,
    pub(super) standby: BySpace,
}

type BySpace = Family<[(&'static str, String); 1], Gauge>;

/// A handle to the service. Clones share it.
#[derive(Clone)]
pub(crate) struct Pex(Arc<Shared>);

pub(super) struct Shared {
    pub(super) env: Env,
    pub(super) started: Arc<Semaphore>,
    pub(super) served: Arc<Semaphore>,
    pub(super) sizes: Sizes,
    verifier: Verifier,
    /// From where peers were met lately: those who say that they are elsewhere are
    /// not believed again.
    met: Mutex<LruCache<PeerId, Prefix>>,
    joined: Mutex<BTreeMap<Namespace, mpsc::Sender<Command>>>,
}

impl Pex {
    /// A service that takes part in no namespace yet.
    ///
    /// # Errors
    /// `Config`, as [`Config::check`].
    pub(crate) fn new(env: Env) -> Result<Self> {
        env.config.check()?;
        let sizes = Sizes::default();
        env.metrics.register("pex_view", "Peers in the peer-exchange view", sizes.view.clone());
        env.metrics.register(
            "pex_standby",
            "Peers that failed to answer and are tried again",
            sizes.standby.clone(),
        );
        Ok(Self(Arc::new(Shared {
            env,
            started: Arc::new(Semaphore::new(STARTED)),
            served: Arc::new(Semaphore::new(SERVED)),
            sizes,
            verifier: Verifier::default(),
            met: Mutex::new(cache(MET)),
            joined: Mutex::default(),
        })))
    }

    /// Takes part in a namespace, until the node closes. A second call does
    /// nothing.
    ///
    /// # Errors
    /// `Busy` if somebody else serves the namespace's protocol; `Io` if what
    /// was saved cannot be read.
    pub(crate) fn join(&self, namespace: &Namespace, saved: Saved) -> Result<()> {
        let mut joined = self.0.joined.lock().unwrap_or_else(PoisonError::into_inner);
        if joined.contains_key(namespace) {
            return Ok(());
        }
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let task = Task::new(self.0.clone(), namespace.clone(), commands.clone(), receiver, saved)?;
        self.0.env.scope.spawn_graceful(task.run());
        joined.insert(namespace.clone(), commands);
        Ok(())
    }

    /// Finds peers of a namespace: those of the view, then those that once
    /// failed to answer, then what discovery finds.
    pub(crate) fn find_peers(&self, namespace: &Namespace, options: FindOptions) -> Finding {
        let commands = {
            let joined = self.0.joined.lock().unwrap_or_else(PoisonError::into_inner);
            joined.get(namespace).cloned()
        };
        let limit = options.limit;
        let known = stream::once(async move {
            let Some(commands) = commands else { return Vec::new() };
            // A closed node knows nobody.
            ask(&commands, |reply| Command::Peers { reply }).await.unwrap_or_default()
        })
        .flat_map(stream::iter)
        .map(|(source, peer): (&str, PeerInfo)| Ok(Found { source: source.into(), peer }));
        let mut seen = HashSet::new();
        let fresh = move |found: &Result<Found>| {
            future::ready(found.as_ref().map_or(true, |found| seen.insert(found.peer.id)))
        };
        // Discovery sends nothing until it is needed. Weak: who still holds a search
        // of a closed node must not keep its event streams from ending.
        let (find, namespace) = (Arc::downgrade(&self.0.env.find), namespace.clone());
        let discovered = stream::once(async move {
            find.upgrade().map_or_else(|| stream::empty().boxed(), |find| find(&namespace, options))
        });
        let discovered = discovered.flatten();
        known.chain(discovered).filter(fresh).take(limit).boxed()
    }

    /// Tells where a peer of a namespace is, if it is in its view or stands by.
    pub(crate) fn known(&self, namespace: &Namespace) -> Whereabouts {
        // Weak: as a search.
        let (shared, namespace) = (Arc::downgrade(&self.0), namespace.clone());
        Arc::new(move |peer| {
            let commands = shared.upgrade().and_then(|shared| {
                let joined = shared.joined.lock().unwrap_or_else(PoisonError::into_inner);
                joined.get(&namespace).cloned()
            });
            async move {
                let Some(commands) = commands else { return Vec::new() };
                let known = ask(&commands, |reply| Command::Peers { reply }).await;
                let found = known.unwrap_or_default().into_iter();
                let of_peer = found.filter(|(_, info)| info.id == peer);
                of_peer.flat_map(|(_, info)| info.addrs).collect()
            }
            .boxed()
        })
    }
}

impl Shared {
    /// Starts a round with a peer.
    pub(super) fn start_round(
        self: &Arc<Self>,
        namespace: &Namespace,
        commands: &mpsc::Sender<Command>,
        peer: PeerInfo,
        origin: Origin,
    ) {
        let (this, namespace, commands) = (self.clone(), namespace.clone(), commands.clone());
        self.env
            .scope
            .spawn(async move { this.go_round(&namespace, &commands, peer, origin).await });
    }

    /// A whole round with a peer.
    pub(super) async fn go_round(
        &self,
        namespace: &Namespace,
        commands: &mpsc::Sender<Command>,
        peer: PeerInfo,
        origin: Origin,
    ) {
        // Never closed.
        let Ok(_permit) = self.started.acquire().await else { return };
        let result = self.round(namespace, commands, &peer).await;
        self.count("started", &result);
        let learned = match result {
            Ok(told) => Command::Merge { origin, told },
            Err(error) => {
                tracing::debug!(peer = %peer.id, %namespace, %error, "a round failed");
                let gone = matches!(
                    error,
                    RoundError::Unreachable | RoundError::Unsupported | RoundError::Timeout
                );
                if gone { Command::Failed(peer.id) } else { Command::Over(peer.id) }
            }
        };
        // Closed with the node.
        let _ = commands.send(learned).await;
    }

    async fn round(
        &self,
        namespace: &Namespace,
        commands: &mpsc::Sender<Command>,
        peer: &PeerInfo,
    ) -> Result<Told, RoundError> {
        self.reach(peer, commands).await?;
        let stream = self.env.host.open_stream(peer.id, namespace.protocol("pex")).await;
        let stream = stream.map_err(|error| match error.kind() {
            crate::ErrorKind::Protocol => RoundError::Unsupported,
            crate::ErrorKind::Timeout => RoundError::Timeout,
            _ => RoundError::Stream,
        })?;
        self.exchange(Role::Starts, stream, peer.id, commands).await
    }

    /// Runs a round on a stream, whoever opened it.
    pub(super) async fn exchange(
        &self,
        role: Role,
        stream: crate::host::Stream,
        peer: PeerId,
        commands: &mpsc::Sender<Command>,
    ) -> Result<Told, RoundError> {
        let told = ask(commands, |reply| Command::Tell { reply }).await;
        let told = told.map_err(|_| RoundError::Stream)?;
        let own: SignedRecord = self.env.host.record().borrow().clone();
        let verifier = &self.verifier;
        let result = exchange(role, stream, peer, &told, &own, verifier, &self.env.config).await;
        let mut told = result?;
        self.env.host.exchanged(peer).await;
        told.keep_sensible(self.env.host.hears(&peer), &self.env.metrics.dials_skipped);
        told.meet(|peer| self.met(peer));
        Ok(told)
    }

    /// From where a peer was met, if it was.
    pub(super) fn met(&self, peer: &PeerId) -> Option<Prefix> {
        let network = self.env.host.network(peer);
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        match network {
            Some(network) => drop(met.put(*peer, network)),
            None => return met.get(peer).copied(),
        }
        network
    }

    /// Sees whether a peer can be reached.
    pub(super) fn probe(self: &Arc<Self>, commands: &mpsc::Sender<Command>, peer: PeerInfo) {
        let (this, commands) = (self.clone(), commands.clone());
        self.env.scope.spawn(async move {
            let Ok(_permit) = this.started.acquire().await else { return };
            let learned = match this.reach(&peer, &commands).await {
                Ok(()) => Command::Alive(peer.id),
                Err(RoundError::Postponed) => Command::Postponed(peer.id),
                Err(_) => Command::Failed(peer.id),
            };
            let _ = commands.send(learned).await;
        });
    }

    async fn reach(
        &self,
        peer: &PeerInfo,
        commands: &mpsc::Sender<Command>,
    ) -> Result<(), RoundError> {
        if self.env.host.is_connected(&peer.id) {
            return Ok(());
        }
        let told = (self.env.whereabouts)(peer.id).await;
        let reach = self.env.host.reach_also(peer, &told);
        match tokio::time::timeout(self.env.config.timeout, reach).await {
            Ok(Ok(())) => {
                let _ = commands.send(Command::Opened(peer.id)).await;
                Ok(())
            }
            Ok(Err(error)) if error.kind() == crate::ErrorKind::Busy => Err(RoundError::Postponed),
            Ok(Err(error)) => {
                tracing::debug!(peer = %peer.id, %error, "a peer cannot be reached");
                Err(RoundError::Unreachable)
            }
            Err(_) => Err(RoundError::Timeout),
        }
    }

    /// Counts how a round ended, and what became of its records.
    pub(super) fn count(&self, who: &'static str, result: &Result<Told, RoundError>) {
        let metrics = &self.env.metrics;
        let outcome = match result {
            Ok(_) => who,
            Err(error) => error.label(),
        };
        metrics.pex_rounds.get_or_create(&verdict(outcome)).inc();
        if let Ok(told) = result {
            metrics
                .pex_records
                .get_or_create(&verdict("verified"))
                .inc_by(told.others.len() as u64);
            for reason in &told.skipped {
                metrics.pex_records.get_or_create(&verdict(reason)).inc();
            }
        }
    }
}
