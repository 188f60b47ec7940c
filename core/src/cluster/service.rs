//! The task that joins the table to a pubsub topic, and its handle.

use super::{
    detector::Detector,
    heartbeat::{Heartbeat, HeartbeatError},
    hub::{Hub, LiveQuery},
    pace::Pace,
    query::Query,
    record::server_of,
    table::{Arrival, Difference, Limits, Now, Outcome, Table, Via},
    view::View,
};
use crate::{
    Error, ErrorKind, Event, Namespace, Result,
    event::EventBus,
    metrics::{Metrics, verdict},
    pubsub::{Received, Topic, TopicEvent, Verdict},
    record::unix_nanos,
    scope::Scope,
};
use futures::FutureExt as _;
use libp2p::PeerId;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

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
enum Command {
    SetHost(String, oneshot::Sender<()>),
    SetMeta(BTreeMap<String, String>, oneshot::Sender<()>),
    SetTtl(Duration, oneshot::Sender<()>),
    Insert(Vec<Handed>, oneshot::Sender<Vec<Result<Outcome, HeartbeatError>>>),
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
    /// [`ErrorKind::Config`] if host, meta or TTL are not acceptable.
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
        let mut rng = ChaCha8Rng::from_rng(&mut rand::rng());
        let seed = rand::RngExt::random(&mut rng);
        let mut table = Table::new(config.own, config.limits, Detector::default(), seed);
        let epoch = Instant::now();
        let beat = Heartbeat {
            server: server_of(&config.own),
            ttl: Some(config.ttl),
            host: config.host,
            meta: fields(&config.meta),
        };
        if !config.observer {
            table.insert_own(now(epoch), 0, &beat, &[]);
            table.take_differences();
        }
        let hub = Arc::new(Hub::new(table.view(), &metrics));
        metrics.cluster_peers.set(table.view().len().try_into().unwrap_or(i64::MAX));
        let task = Task {
            namespace: config.namespace,
            own: config.own,
            observer: config.observer,
            sign: config.sign,
            topic,
            events,
            metrics,
            hub: hub.clone(),
            table,
            rng,
            epoch,
            beat,
            ttl: config.ttl,
            seq: 0,
            unpublished: true,
            next_beat: epoch,
        };
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
    /// [`ErrorKind::Closed`] if the node closes first.
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
    /// [`ErrorKind::Config`] if it is not acceptable, [`ErrorKind::Closed`].
    pub(crate) async fn set_host(&self, host: String) -> Result<()> {
        Heartbeat::check_host(&host)?;
        self.ask(|reply| Command::SetHost(host, reply)).await
    }

    /// Changes the own meta fields, and tells the cluster.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if they are not acceptable, [`ErrorKind::Closed`].
    pub(crate) async fn set_meta(&self, meta: BTreeMap<String, String>) -> Result<()> {
        Heartbeat::check_meta(&meta)?;
        self.ask(|reply| Command::SetMeta(meta, reply)).await
    }

    /// Changes the own TTL, and tells the cluster.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if it is not acceptable, [`ErrorKind::Closed`].
    pub(crate) async fn set_ttl(&self, ttl: Duration) -> Result<()> {
        Heartbeat::check_ttl(ttl)?;
        self.ask(|reply| Command::SetTtl(ttl, reply)).await
    }

    /// Takes heartbeats that another node handed over, whose signatures were
    /// verified; says of each what became of it.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`].
    pub(crate) async fn insert_verified(
        &self,
        handed: Vec<Handed>,
    ) -> Result<Vec<Result<Outcome, HeartbeatError>>> {
        self.ask(|reply| Command::Insert(handed, reply)).await
    }

    /// The time on the clock of the view's records
    /// ([`Signed::received`](super::Signed::received)).
    pub(crate) fn elapsed(&self) -> Duration {
        self.epoch.elapsed()
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let closed = |_| Error::closed("node");
        self.commands.send(command(reply)).await.map_err(|_| Error::closed("node"))?;
        answer.await.map_err(closed)
    }
}

struct Task {
    namespace: Namespace,
    own: PeerId,
    observer: bool,
    sign: Sign,
    topic: Topic,
    events: EventBus,
    metrics: Metrics,
    hub: Arc<Hub>,
    table: Table,
    rng: ChaCha8Rng,
    epoch: Instant,
    /// What this node says of itself.
    beat: Heartbeat,
    ttl: Duration,
    /// Of the last heartbeat that went out.
    seq: u64,
    /// Whether the last heartbeat found nobody to hear it.
    unpublished: bool,
    next_beat: Instant,
}

impl Task {
    /// How many messages are taken in before the view is renewed.
    const BATCH: usize = 256;
    /// How long saying goodbye may take.
    const LEAVE_TIME: Duration = Duration::from_secs(1);

    async fn run(mut self, mut commands: mpsc::Receiver<Command>, scope: Scope) {
        loop {
            let expiry = self.table.next_deadline().map(|deadline| self.epoch + deadline);
            tokio::select! {
                () = scope.cancelled() => break self.leave().await,
                event = self.topic.next() => match event {
                    Some(event) => self.on_event(event).await,
                    None => break,
                },
                Some(command) = commands.recv() => self.on_command(command).await,
                () = tokio::time::sleep_until(self.next_beat), if !self.observer => {
                    self.send_heartbeat().await;
                }
                () = async { tokio::time::sleep_until(expiry.unwrap_or(self.epoch)).await },
                    if expiry.is_some() => {}
            }
            // What has arrived counts before what has expired: a node that was
            // held up itself must not take the others for gone.
            for _ in 0..Self::BATCH {
                match self.topic.next().now_or_never() {
                    Some(Some(event)) => self.on_event(event).await,
                    _ => break,
                }
            }
            self.table.expire(self.epoch.elapsed());
            self.publish_view();
        }
        self.hub.close();
    }

    async fn on_event(&mut self, event: TopicEvent) {
        match event {
            TopicEvent::Received(received) => self.on_message(received).await,
            TopicEvent::Subscribed(_) if self.unpublished && !self.observer => {
                self.send_heartbeat().await;
            }
            TopicEvent::Subscribed(_) => {}
        }
    }

    async fn on_message(&mut self, received: Received) {
        let Received { source, seq, data, signed, ticket } = received;
        let verdict = match self.take(source, seq, &data, &signed, Via::Gossip) {
            Ok(outcome) if outcome.is_accepted() => Verdict::Accept,
            Ok(_) => Verdict::Ignore,
            Err(error) => error.verdict(),
        };
        self.topic.report(ticket, verdict).await;
    }

    /// Decodes a heartbeat, puts it in the table, and counts what became of it.
    fn take(
        &mut self,
        peer: PeerId,
        seq: u64,
        data: &[u8],
        signed: &[u8],
        via: Via,
    ) -> Result<Outcome, HeartbeatError> {
        let taken = Heartbeat::decode(data).map(|beat| {
            let arrival = Arrival { peer, seq, beat: &beat, signed, via };
            self.table.insert(now(self.epoch), arrival)
        });
        let label = taken.map_or_else(HeartbeatError::label, Outcome::label);
        self.metrics.heartbeats.get_or_create(&verdict(label)).inc();
        match taken {
            Ok(Outcome::OwnAhead) => tracing::warn!(
                namespace = %self.namespace,
                seq,
                own_seq = self.seq,
                "a heartbeat in this node's name is ahead of it: check that the clock was not set \
                 back, and that no other node uses the same key"
            ),
            Ok(outcome) if outcome.is_accepted() => {}
            _ => tracing::debug!(namespace = %self.namespace, %peer, seq, label, "not taken"),
        }
        taken
    }

    async fn on_command(&mut self, command: Command) {
        match command {
            Command::Insert(handed, reply) => {
                let outcomes = handed
                    .iter()
                    .map(|h| self.take(h.source, h.seq, &h.data, &h.signed, Via::Exchange(h.age)))
                    .collect();
                self.publish_view();
                // Who asked may have gone meanwhile; so below.
                let _ = reply.send(outcomes);
            }
            Command::SetHost(host, reply) => {
                self.beat.host = host;
                self.tell(reply).await;
            }
            Command::SetMeta(meta, reply) => {
                self.beat.meta = fields(&meta);
                self.tell(reply).await;
            }
            Command::SetTtl(ttl, reply) => {
                self.ttl = ttl;
                self.beat.ttl = Some(ttl);
                self.tell(reply).await;
            }
        }
    }

    async fn tell(&mut self, reply: oneshot::Sender<()>) {
        if !self.observer {
            self.send_heartbeat().await;
            self.publish_view();
        }
        let _ = reply.send(());
    }

    /// Publishes the own heartbeat, and keeps the own record in step with it.
    async fn send_heartbeat(&mut self) {
        let data = self.beat.encode();
        let published = self.topic.publish(data.clone()).await;
        self.unpublished = published.is_err();
        let signed = match published {
            Ok(seq) => {
                self.seq = seq;
                (self.sign)(seq, &data)
            }
            Err(error) => {
                if error.kind() != ErrorKind::Unreachable {
                    tracing::warn!(namespace = %self.namespace, %error, "heartbeat not sent");
                }
                Vec::new()
            }
        };
        self.table.insert_own(now(self.epoch), self.seq, &self.beat, &signed);
        self.next_beat = Instant::now() + Pace.pause(self.ttl, &mut self.rng);
    }

    /// Says goodbye, if anybody knows this node.
    async fn leave(&mut self) {
        if self.seq != 0 {
            self.beat.ttl = None;
            let goodbye = self.topic.publish(self.beat.encode());
            match tokio::time::timeout(Self::LEAVE_TIME, goodbye).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::debug!(%error, "left without a goodbye"),
                Err(_) => tracing::debug!("left without a goodbye: the host is busy"),
            }
        }
    }

    /// Renews what readers see, then tells who listens.
    fn publish_view(&mut self) {
        let view = self.table.view();
        let differences = self.table.take_differences();
        self.metrics.cluster_peers.set(view.len().try_into().unwrap_or(i64::MAX));
        self.hub.publish(view, &differences);
        for difference in differences {
            let (peer, event) = match difference {
                Difference::Joined(record) => (record.peer(), Event::PeerJoined { record }),
                Difference::Updated { new: record, .. } => {
                    (record.peer(), Event::PeerUpdated { record })
                }
                Difference::Left(record, reason) => {
                    (record.peer(), Event::PeerLeft { peer: record.peer(), reason })
                }
            };
            if peer != self.own {
                self.events.emit(event);
            }
        }
    }
}

fn now(epoch: Instant) -> Now {
    Now { elapsed: epoch.elapsed(), unix_nanos: unix_nanos() }
}

fn fields(meta: &BTreeMap<String, String>) -> Vec<String> {
    meta.iter().map(|(key, value)| format!("{key}={value}")).collect()
}
