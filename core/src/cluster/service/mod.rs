//! The cluster service: what it needs, and the handle to its task.
//!
//! - `task`: joins the table to a pubsub topic
//! - `pace`: how often it says that the node lives; `stretch`: which TTL it announces
//! - `numbers`: which numbers its heartbeats have
//! - `twins`: whether another node uses the same key
//! - `gap`: whether the node was held up
//! - `rates`: how often, and how much, others may say
//! - `complaints`: whose heartbeats are over a limit

#[cfg(test)]
mod addr_tests;
#[cfg(test)]
mod away_tests;
#[cfg(test)]
mod clock_tests;
mod complaints;
mod gap;
#[cfg(test)]
mod lists_tests;
#[cfg(test)]
mod members_tests;
#[cfg(test)]
mod missed_tests;
mod numbers;
mod pace;
mod rates;
#[cfg(test)]
mod role_tests;
mod stretch;
#[cfg(test)]
mod stretch_tests;
#[cfg(test)]
mod suspicion_tests;
mod task;
#[cfg(test)]
mod tests;
mod twins;

pub(crate) use numbers::Numbers;
pub use pace::{Pace, Relied};
pub use stretch::Stretch;

use super::{
    heartbeat::{Heartbeat, HeartbeatError},
    live::{Hub, LiveQuery, Said},
    query::Query,
    reserved::{Offer, OwnMeta},
    roles::RolesOf,
    snapshot::View,
    suspicion::{Action, Sign as Noticed},
    table::{Limits, Now, Outcome},
};
use crate::{
    Error, ErrorKind, Namespace, Result,
    ask::{answered, ask},
    event::EventBus,
    life::Life,
    metrics::{ByLabel, Metrics, verdict, waiting},
    pubsub::{Topic, Verdict, signed::SignedMessage},
    scope::Scope,
    who::Who,
};
use libp2p::{Multiaddr, PeerId};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use task::Task;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// What may be to be done because of suspicions before it is done: each of it is found
/// out anew if it is lost.
const ACTIONS: usize = 1024;

/// Signs a pubsub message of this node with a sequence number.
pub(crate) type Sign = Arc<dyn Fn(u64, &[u8]) -> Result<SignedMessage> + Send + Sync>;

/// Tells the time, in nanoseconds since 1970.
pub(crate) type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Says what the machine is called now.
pub(crate) type Machine = Arc<dyn Fn() -> String + Send + Sync>;

/// What a cluster service needs to know.
pub(crate) struct ClusterConfig {
    pub(crate) namespace: Namespace,
    /// The node's own id.
    pub(crate) own: PeerId,
    /// Whose heartbeats are taken.
    pub(crate) who: Who,
    pub(crate) host: String,
    pub(crate) meta: BTreeMap<String, String>,
    pub(crate) ttl: Duration,
    /// How many heartbeats the whole cluster may send in a second before a longer TTL is
    /// announced; `None`: it never is.
    pub(crate) budget: Option<u32>,
    /// Whether to look on only, with no heartbeat and no record of one's own.
    pub(crate) observer: bool,
    pub(crate) limits: Limits,
    pub(crate) sign: Sign,
    /// Where the node is reached, the most useful address first.
    pub(crate) addrs: watch::Receiver<Arc<[Multiaddr]>>,
    /// The numbers of its heartbeats, as an earlier run left them, and where what
    /// is to be kept for the next run goes.
    pub(crate) numbers: Numbers,
    pub(crate) keep: watch::Sender<u64>,
    pub(crate) clock: Clock,
    /// Whether the node is paused.
    pub(crate) life: Life,
    /// How often the clocks are looked at, beside each heartbeat.
    pub(crate) look: Option<Duration>,
    /// Told when that is worth it at once ([`clocks::jumps`](crate::clocks::jumps)).
    pub(crate) jumps: watch::Receiver<()>,
    /// Until when a node that has left hands on what others say: cancelled when
    /// nothing more can be sent.
    pub(crate) over: CancellationToken,
    /// What the machine is called now. A node that is called so too follows it.
    pub(crate) machine: Machine,
    /// Which roles are proven of whom. It is asked for each record that is taken, and
    /// again when [`Cluster::roles_changed`] says so.
    pub(crate) roles: RolesOf,
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
    SetMeta(oneshot::Sender<()>),
    SetTtl(Duration, oneshot::Sender<()>),
    Roles(Vec<PeerId>),
    Missed,
    Insert(PeerId, Vec<Handed>, oneshot::Sender<Vec<Result<Outcome, HeartbeatError>>>),
    Suspicion(About),
}

/// What the task is told of who may have crashed.
pub(super) enum About {
    /// What was noticed of a neighbour.
    Neighbour(PeerId, Noticed),
    /// A neighbour has answered a ping that was sent then.
    Answered(Duration),
    /// What the source said on the topic, with this number.
    Heard((PeerId, u64), Vec<u8>, oneshot::Sender<Verdict>),
}

/// The cluster service of one namespace. Clones share it.
#[derive(Clone)]
pub(crate) struct Cluster {
    hub: Arc<Hub>,
    commands: mpsc::Sender<Command>,
    own: PeerId,
    /// The own meta fields.
    meta: OwnMeta,
    who: Who,
    heartbeats: ByLabel,
    epoch: Instant,
    clock: Clock,
    /// What is to be done because of suspicions, until somebody does it.
    actions: Arc<Mutex<Option<mpsc::Receiver<Action>>>>,
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
        let meta = OwnMeta::new(config.meta.clone())?;
        Heartbeat::check_ttl(config.ttl)?;
        let (commands, received) = mpsc::channel(64);
        metrics.watch_queue("cluster", waiting(&commands));
        let epoch = Instant::now();
        let (own, clock, who) = (config.own, config.clock.clone(), config.who.clone());
        let (act, actions) = mpsc::channel(ACTIONS);
        let told = (events, act);
        let task = Task::new(config, meta.clone(), topic, told, metrics.clone(), epoch);
        let hub = task.hub();
        let watched = Arc::downgrade(&hub);
        let live = move || watched.upgrade().map(|hub| hub.waiting());
        metrics.watch_queue("live", live);
        let (closing, running) = (hub.close_on_drop(), task.run(received, scope.clone()));
        scope.spawn_graceful(async move {
            let _closing = closing;
            running.await;
        });
        let heartbeats = metrics.heartbeats;
        let actions = Arc::new(Mutex::new(Some(actions)));
        Ok(Self { hub, commands, own, meta, who, heartbeats, epoch, clock, actions })
    }

    /// A snapshot of the cluster view.
    pub(crate) fn view(&self) -> View {
        self.hub.view()
    }

    /// Waits until the query finds so many records in the view; the own one
    /// counts.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if it never can,
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) if the node closes first.
    pub(crate) async fn wait_for(&self, query: Query, n: usize) -> Result<View> {
        query.check()?;
        if let Some(limit) = query.limit.filter(|limit| *limit < n) {
            let message = format!(
                "query: its limit is {limit}, so that it never finds {n} records: raise the limit, \
                 or leave it out"
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        self.hub.wait_for(query, n).await
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
        self.update_meta(|own| *own = meta).await
    }

    /// The same with what they are now: no other change comes between.
    ///
    /// # Errors
    /// As of [`set_meta`](Self::set_meta); then nothing is changed.
    pub(crate) async fn update_meta(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, String>),
    ) -> Result<()> {
        let room = self.commands.reserve().await.map_err(|_| Error::closed("node"))?;
        let (reply, answer) = oneshot::channel();
        self.meta.update(change, || room.send(Command::SetMeta(reply)))?;
        answered(&self.commands, answer).await
    }

    /// Says in the own record that the node offers something, until what this
    /// gives is dropped. What is offered or withdrawn within 50 ms is told at once.
    /// `what` is for errors: `service`, say. Prefixes are those of
    /// [`reserved`](super::reserved).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if it is no name; [`ErrorKind::Busy`] if it is
    /// offered already; [`ErrorKind::TooLarge`] if the record has no room for it.
    pub(crate) fn offer(&self, what: &str, prefix: &str, name: &str, value: &str) -> Result<Offer> {
        self.meta.offer(what, prefix, name, value)
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

    /// Other roles than before may be proven of these peers: their records are looked at
    /// again.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    pub(crate) async fn roles_changed(&self, peers: Vec<PeerId>) -> Result<()> {
        let sent = self.commands.send(Command::Roles(peers)).await;
        sent.map_err(|_| Error::closed("node"))
    }

    /// The node's own id.
    pub(in crate::cluster) fn own(&self) -> PeerId {
        self.own
    }

    /// Another node lacks this one, or has an older heartbeat of it: this one says at
    /// once that it lives, unless it has just done so.
    pub(in crate::cluster) fn is_missed(&self) {
        // If there is much to do, the next exchange says so again.
        let _ = self.commands.try_send(Command::Missed);
    }

    /// What is to be done because of suspicions. It is given once.
    pub(in crate::cluster) fn actions(&self) -> Option<mpsc::Receiver<Action>> {
        self.actions.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Something was noticed of a neighbour.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    pub(in crate::cluster) async fn noticed(&self, peer: PeerId, sign: Noticed) -> Result<()> {
        self.tell(About::Neighbour(peer, sign)).await
    }

    /// A neighbour has answered a ping that was sent then.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    pub(in crate::cluster) async fn neighbour_answered(&self, sent: Instant) -> Result<()> {
        self.tell(About::Answered(sent.saturating_duration_since(self.epoch))).await
    }

    /// Suspicions came, by this source and with this number: what gossip is told.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    pub(in crate::cluster) async fn suspects(
        &self,
        source: (PeerId, u64),
        data: Vec<u8>,
    ) -> Result<Verdict> {
        self.ask(|reply| Command::Suspicion(About::Heard(source, data, reply))).await
    }

    /// A time on the clock of the view's records.
    pub(in crate::cluster) fn instant(&self, elapsed: Duration) -> Instant {
        self.epoch + elapsed
    }

    async fn tell(&self, about: About) -> Result<()> {
        let told = self.commands.send(Command::Suspicion(about)).await;
        told.map_err(|_| Error::closed("node"))
    }

    /// Tells of goodbyes in the view, as they come.
    pub(in crate::cluster) fn said(&self) -> watch::Receiver<Said> {
        self.hub.said()
    }

    /// Whether a peer's heartbeats are not taken, whoever hands them over. It counts
    /// them.
    pub(in crate::cluster) fn refuses(&self, peer: &PeerId) -> bool {
        let Err(stranger) = self.who.proven(peer) else { return false };
        self.heartbeats.get_or_create(&verdict(stranger.label())).inc();
        true
    }

    /// The time on the clock of the view's records
    /// ([`Signed::received`](super::Signed::received)).
    pub(crate) fn elapsed(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// The time on both clocks.
    pub(in crate::cluster) fn now(&self) -> Now {
        Now { elapsed: self.elapsed(), unix_nanos: (self.clock)() }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T> {
        ask(&self.commands, command).await
    }
}
