//! The cluster service: what it needs, and the handle to its task.
//!
//! - `task`: joins the table to a pubsub topic
//! - `pace`: how often it says that the node lives
//! - `complaints`: whose heartbeats are over a limit

mod complaints;
mod pace;
mod task;
#[cfg(test)]
mod tests;

pub use pace::Pace;

use super::{
    heartbeat::{Heartbeat, HeartbeatError},
    live::{Hub, LiveQuery, Said},
    query::Query,
    snapshot::View,
    table::{Limits, Now, Outcome},
};
use crate::{
    Namespace, Result,
    ask::ask,
    event::EventBus,
    metrics::{Metrics, waiting},
    pubsub::Topic,
    record::unix_nanos,
    scope::Scope,
};
use libp2p::PeerId;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use task::Task;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Signs a pubsub message of this node with a sequence number, in its protobuf
/// encoding.
pub(crate) type Sign = Arc<dyn Fn(u64, &[u8]) -> Vec<u8> + Send + Sync>;

/// What a cluster service needs to know.
pub(crate) struct ClusterConfig {
    pub(crate) namespace: Namespace,
    /// The node's own id.
    pub(crate) own: PeerId,
    pub(crate) host: String,
    pub(crate) meta: BTreeMap<String, String>,
    pub(crate) ttl: Duration,
    /// Whether to look on only, with no heartbeat and no record of one's own.
    pub(crate) observer: bool,
    pub(crate) limits: Limits,
    pub(crate) sign: Sign,
    /// Until when a node that has left hands on what others say: cancelled when
    /// nothing more can be sent.
    pub(crate) over: CancellationToken,
}

/// A signed heartbeat that another node handed over, verified.
#[derive(Clone, Debug)]
pub(crate) struct Handed {
    pub(crate) source: PeerId,
    pub(crate) seq: u64,
    /// What was published.
    pub(crate) data: Vec<u8>,
    /// The message as it was signed.
    pub(crate) signed: Vec<u8>,
    /// For how long the other node had it.
    pub(crate) age: Duration,
}

/// What the handle asks of the task.
pub(super) enum Command {
    SetHost(String, oneshot::Sender<()>),
    SetMeta(BTreeMap<String, String>, oneshot::Sender<()>),
    SetTtl(Duration, oneshot::Sender<()>),
    Insert(PeerId, Vec<Handed>, oneshot::Sender<Vec<Result<Outcome, HeartbeatError>>>),
}

/// The cluster service of one namespace. Clones share it.
#[derive(Clone)]
pub(crate) struct Cluster {
    hub: Arc<Hub>,
    commands: mpsc::Sender<Command>,
    epoch: Instant,
}

impl Cluster {
    /// Starts the service on a topic. It says goodbye when the scope is closed.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if host, meta or TTL are not acceptable.
    pub(crate) fn start(
        config: ClusterConfig,
        topic: Topic,
        events: EventBus,
        metrics: Metrics,
        scope: &Scope,
    ) -> Result<Self> {
        Heartbeat::check_host(&config.host)?;
        Heartbeat::check_meta(&config.meta)?;
        Heartbeat::check_ttl(config.ttl)?;
        let (commands, received) = mpsc::channel(64);
        metrics.watch_queue("cluster", waiting(&commands));
        let epoch = Instant::now();
        let task = Task::new(config, topic, events, metrics.clone(), epoch);
        let hub = task.hub();
        let watched = Arc::downgrade(&hub);
        let live = move || watched.upgrade().map(|hub| hub.waiting());
        metrics.watch_queue("live", live);
        scope.spawn_graceful(task.run(received, scope.clone()));
        Ok(Self { hub, commands, epoch })
    }

    /// A snapshot of the cluster view.
    pub(crate) fn view(&self) -> View {
        self.hub.view()
    }

    /// Waits until the view has so many records; the own one counts.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) if the node closes first.
    pub(crate) async fn wait_for(&self, n: usize) -> Result<View> {
        self.hub.wait_for(n).await
    }

    /// Follows a query.
    pub(crate) fn subscribe(&self, query: Query) -> LiveQuery {
        self.hub.subscribe(query)
    }

    /// Changes the own host, and tells the cluster.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if it is not acceptable, [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    pub(crate) async fn set_host(&self, host: String) -> Result<()> {
        Heartbeat::check_host(&host)?;
        self.ask(|reply| Command::SetHost(host, reply)).await
    }

    /// Changes the own meta fields, and tells the cluster.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if they are not acceptable, [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    pub(crate) async fn set_meta(&self, meta: BTreeMap<String, String>) -> Result<()> {
        Heartbeat::check_meta(&meta)?;
        self.ask(|reply| Command::SetMeta(meta, reply)).await
    }

    /// Changes the own TTL, and tells the cluster.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if it is not acceptable, [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    pub(crate) async fn set_ttl(&self, ttl: Duration) -> Result<()> {
        Heartbeat::check_ttl(ttl)?;
        self.ask(|reply| Command::SetTtl(ttl, reply)).await
    }

    /// Takes heartbeats that the node `from` handed over, whose signatures were
    /// verified; says of each what became of it.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    pub(crate) async fn insert_verified(
        &self,
        from: PeerId,
        handed: Vec<Handed>,
    ) -> Result<Vec<Result<Outcome, HeartbeatError>>> {
        self.ask(|reply| Command::Insert(from, handed, reply)).await
    }

    /// Tells of goodbyes in the view, as they come.
    pub(in crate::cluster) fn said(&self) -> watch::Receiver<Said> {
        self.hub.said()
    }

    /// The time on the clock of the view's records
    /// ([`Signed::received`](super::Signed::received)).
    pub(crate) fn elapsed(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// The time on both clocks.
    pub(in crate::cluster) fn now(&self) -> Now {
        Now { elapsed: self.elapsed(), unix_nanos: unix_nanos() }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T> {
        ask(&self.commands, command).await
    }
}
