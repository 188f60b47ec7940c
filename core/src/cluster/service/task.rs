//! The task behind the service: it alone changes the table.

mod away;
mod own;
mod suspected;

use super::{
    Clock, ClusterConfig, Command, Machine, Numbers, Sign,
    complaints::Complaints,
    gap::Gaps,
    pace::Relied,
    rates::{Over, Rates},
    stretch::Stretch,
    twins::Twins,
};
use crate::{
    Event, Namespace, Result,
    cluster::{
        heartbeat::{Addrs, Heartbeat, HeartbeatError},
        live::Hub,
        query::Query,
        record::server_of,
        reserved::OwnMeta,
        roles::RolesOf,
        suspicion::{Action, Suspicion},
        table::{Arrival, Detector, Difference, Now, Outcome, Table, Via},
    },
    event::EventBus,
    life::Life,
    metrics::{ByLabel, Metrics, verdict},
    pubsub::{Received, Topic, TopicEvent, Verdict},
    scope::Scope,
    who::Who,
};
use futures::FutureExt as _;
use libp2p::{Multiaddr, PeerId};
use own::Said;
use prometheus_client::metrics::gauge::Gauge;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Joins the table to a pubsub topic, and leaves the view in the hub.
pub(super) struct Task {
    namespace: Namespace,
    own: PeerId,
    who: Who,
    observer: bool,
    sign: Sign,
    topic: Topic,
    events: EventBus,
    metrics: Metrics,
    hub: Arc<Hub>,
    table: Table,
    complaints: Complaints,
    rates: Rates,
    twins: Twins,
    /// Whether another node is known to use the key.
    key_shared: Gauge,
    rng: ChaCha8Rng,
    epoch: Instant,
    clock: Clock,
    /// What this node says of itself.
    beat: Heartbeat,
    meta: OwnMeta,
    /// The TTL that it announces.
    ttl: Duration,
    stretch: Stretch,
    relied: Relied,
    announced: Gauge<f64, AtomicU64>,
    /// Where it is reached.
    addrs: watch::Receiver<Arc<[Multiaddr]>>,
    said: Said,
    numbers: Numbers,
    keep: watch::Sender<u64>,
    /// When one that was heard back was answered last.
    answered: Option<Instant>,
    next_beat: Instant,
    /// Until when no record expires.
    held_until: Instant,
    gaps: Gaps,
    /// How often the clocks are looked at, and when they were.
    look: Option<Duration>,
    looked: Instant,
    /// Told when they have jumped, where the system says so.
    jumps: watch::Receiver<()>,
    life: Life,
    /// Whether this node is paused, or about to be: it says nothing and forgets
    /// nobody.
    away: bool,
    /// Whether this node has left: it says nothing more of itself.
    left: bool,
    /// Until when it hands on what others say then.
    over: CancellationToken,
    /// Whose name this node has, as long as nobody gives it another.
    machine: Option<Machine>,
    /// Which roles are proven of whom.
    roles: RolesOf,
    suspicion: Suspicion,
    suspicions: ByLabel,
    /// Where what is to be done because of them goes.
    act: mpsc::Sender<Action>,
}

impl Task {
    /// How many messages are taken in before the view is renewed.
    const BATCH: usize = 256;

    /// A task of a checked configuration. Its view has the own record at once.
    pub(super) fn new(
        mut config: ClusterConfig,
        meta: OwnMeta,
        topic: Topic,
        (events, act): (EventBus, mpsc::Sender<Action>),
        metrics: Metrics,
        epoch: Instant,
    ) -> Self {
        let mut rng = ChaCha8Rng::from_rng(&mut rand::rng());
        let mut table = Table::new(config.own, config.limits, Detector::default(), rng.random());
        let machine = Some(config.machine).filter(|machine| machine() == config.host);
        let stretch = Stretch::new(config.ttl, config.budget);
        let ttl = stretch.announced();
        let beat = Heartbeat {
            server: server_of(&config.own),
            ttl: Some(ttl),
            host: config.host,
            meta: meta.fields(),
            sent_at: None,
            addrs: Addrs::told(&config.addrs.borrow_and_update()),
        };
        let now = Now { elapsed: epoch.elapsed(), unix_nanos: (config.clock)() };
        if !config.observer {
            table.insert_own(now, 0, (&beat, &[]), &(config.roles)(&config.own));
            table.take_differences();
        }
        let view = table.view();
        metrics.cluster_peers.set(view.len().try_into().unwrap_or(i64::MAX));
        let announced = own::announced(&metrics, config.budget);
        announced.set(if config.observer { 0.0 } else { ttl.as_secs_f64() });
        let key_shared = Gauge::default();
        metrics.register(
            "key_shared",
            "Whether another node that runs uses this node's key: 1 if so",
            key_shared.clone(),
        );
        let suspicions = ByLabel::default();
        metrics.register(
            "suspicions",
            "What became of suspicions that peers have crashed, by what",
            suspicions.clone(),
        );
        Self {
            namespace: config.namespace,
            own: config.own,
            who: config.who,
            observer: config.observer,
            sign: config.sign,
            topic,
            events,
            hub: Arc::new(Hub::new(view, &metrics)),
            complaints: Complaints::new(&metrics),
            metrics,
            table,
            rates: Rates::default(),
            twins: Twins::default(),
            key_shared,
            rng,
            epoch,
            clock: config.clock,
            beat,
            meta,
            ttl,
            stretch,
            relied: Relied::default(),
            announced,
            addrs: config.addrs,
            said: Said::default(),
            numbers: config.numbers,
            keep: config.keep,
            answered: None,
            next_beat: epoch,
            held_until: epoch,
            gaps: Gaps::new(now),
            look: config.look,
            looked: epoch,
            jumps: config.jumps,
            life: config.life,
            away: false,
            left: false,
            over: config.over,
            machine,
            roles: config.roles,
            suspicion: Suspicion::new(config.own, config.observer, now.elapsed),
            suspicions,
            act,
        }
    }

    pub(super) fn hub(&self) -> Arc<Hub> {
        self.hub.clone()
    }

    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>, scope: Scope) {
        let (mut phases, mut taken) = (self.life.phases(), self.who.changes());
        loop {
            let expiry = self.table.next_deadline();
            let expiry = expiry.map(|deadline| (self.epoch + deadline).max(self.held_until));
            let (next_beat, left, over) = (self.next_beat, self.left, self.over.clone());
            let (looks, awake) = (self.look.map(|every| self.looked + every), !left && !self.away);
            let suspects = self.suspicion.next().map(|due| self.epoch + due);
            tokio::select! {
                () = scope.cancelled(), if !left => self.leave().await,
                () = over.cancelled(), if left => break,
                Ok(()) = phases.changed(), if !left => {
                    let phase = *phases.borrow_and_update();
                    self.on_phase(phase).await;
                }
                event = self.topic.next() => match event {
                    Some(event) => self.on_event(event).await,
                    None => break,
                },
                Some(command) = commands.recv() => self.on_command(command).await,
                Ok(()) = self.addrs.changed(), if !self.observer && awake => self.moved(),
                () = self.meta.changed(), if !left => self.offer(),
                Ok(()) = taken.changed() => self.put_out(),
                () = tokio::time::sleep_until(next_beat), if !self.observer && awake => {
                    self.send_heartbeat().await;
                }
                () = tokio::time::sleep_until(expiry.unwrap_or(self.epoch)), if expiry.is_some() && awake => {}
                () = tokio::time::sleep_until(looks.unwrap_or(self.epoch)), if looks.is_some() && awake => {}
                () = tokio::time::sleep_until(suspects.unwrap_or(self.epoch)), if suspects.is_some() && awake => {}
                Ok(()) = self.jumps.changed(), if awake => {}
            }
            let due = expiry.into_iter().chain((!self.observer).then_some(next_beat)).chain(looks);
            let now = Instant::now();
            if awake && !self.away {
                self.look_back(due.min(), now);
            }
            for _ in 0..Self::BATCH {
                match self.topic.next().now_or_never() {
                    Some(Some(event)) => self.on_event(event).await,
                    _ => break,
                }
            }
            if now >= self.held_until && !self.left && !self.away {
                self.table.expire(now - self.epoch);
            }
            self.suspect();
            self.publish_view();
        }
        self.hub.close();
    }

    async fn on_event(&mut self, event: TopicEvent) {
        match event {
            TopicEvent::Received(received) => self.on_message(received).await,
            TopicEvent::Subscribed { peer } => self.greet(peer).await,
        }
    }

    async fn on_message(&mut self, received: Received) {
        let ticket = received.ticket();
        let Received { message, from } = received;
        let (peer, data) = (message.source(), message.data());
        let arrival = (peer, message.seq(), message.encoded());
        if self.is_old_and_large((peer, message.seq()), data) {
            self.metrics.heartbeats.get_or_create(&verdict(Outcome::Stale.label())).inc();
            self.topic.report(ticket, Verdict::Ignore).await;
            return;
        }
        let verdict = match self.judge((peer, message.seq()), &from, data) {
            Err(over) => {
                self.metrics.heartbeats.get_or_create(&verdict(over.label())).inc();
                if self.complaints.over(peer, over, self.epoch.elapsed()) {
                    tracing::warn!(
                        namespace = %self.namespace,
                        %peer,
                        reason = over.label(),
                        "a peer's heartbeats are more than it may send: some are not taken, and \
                         not passed on"
                    );
                }
                Verdict::Ignore
            }
            Ok(beat) => match self.take(arrival, data, beat, from, Via::Gossip) {
                Ok(outcome) if outcome.is_accepted() => Verdict::Accept,
                Ok(_) => Verdict::Ignore,
                Err(error) => error.verdict(),
            },
        };
        self.topic.report(ticket, verdict).await;
    }

    /// Whether somebody plays again what its source is past, and it is too large to
    /// decode it for nothing.
    fn is_old_and_large(&self, (peer, seq): (PeerId, u64), data: &[u8]) -> bool {
        let last = || self.table.last_seq(&peer, self.epoch.elapsed());
        data.len() > Heartbeat::MAX_OURS
            && peer != self.own
            && last().is_some_and(|last| seq < last)
    }

    /// Decodes what gossip brought, if its source has not said too much lately.
    fn judge(
        &mut self,
        (peer, seq): (PeerId, u64),
        from: &PeerId,
        data: &[u8],
    ) -> Result<Result<Heartbeat, HeartbeatError>, Over> {
        let (now, peer) = (self.epoch.elapsed(), &peer);
        // To decode a large one takes time: it is paid for before.
        let large = data.len() > Heartbeat::MAX_OURS;
        // What somebody plays again is not what its source says now.
        if !large && self.table.last_seq(peer, now).is_some_and(|last| seq < last) {
            return Ok(Heartbeat::decode(data));
        }
        if large {
            self.rates.may_send(peer, self.table.ttl_of(peer), now)?;
            self.rates.bytes(peer, from, data.len(), now)?;
        }
        let beat = Heartbeat::decode(data);
        if beat == Err(HeartbeatError::Malformed) {
            return Ok(beat);
        }
        self.rates.heartbeat(peer, self.table.ttl_of(peer), now)?;
        if !large && beat.as_ref().is_ok_and(|beat| beat.sent_at.is_none()) {
            self.rates.bytes(peer, from, data.len(), now)?;
        }
        Ok(beat)
    }

    /// Puts a heartbeat in the table, and counts what became of it.
    fn take(
        &mut self,
        (peer, seq, signed): (PeerId, u64, &[u8]),
        data: &[u8],
        beat: Result<Heartbeat, HeartbeatError>,
        from: PeerId,
        via: Via,
    ) -> Result<Outcome, HeartbeatError> {
        // The last word on it: what comes after this is put out when that changes.
        if let Err(stranger) = self.who.proven(&peer) {
            self.metrics.heartbeats.get_or_create(&verdict(stranger.label())).inc();
            return Ok(Outcome::Stranger);
        }
        let taken = beat.map(|beat| {
            if peer == self.own {
                return self.hear_own(seq, data, &beat, via);
            }
            let roles = &(self.roles)(&peer);
            let arrival = Arrival { peer, seq, from, beat: &beat, signed, via, roles };
            self.table.insert(self.now(), arrival)
        });
        let label = taken.map_or_else(HeartbeatError::label, Outcome::label);
        self.metrics.heartbeats.get_or_create(&verdict(label)).inc();
        match taken {
            Ok(Outcome::OwnAhead) => {}
            Ok(outcome) if outcome.is_accepted() => self.lives(peer, seq, via),
            _ => self.complain(peer, seq, taken, data),
        }
        taken
    }

    /// Removes the records of those who are no longer taken.
    fn put_out(&mut self) {
        let (view, now) = (self.table.view(), self.epoch.elapsed());
        let records = view.iter(Query::all()).map(|record| record.peer());
        let left = view.goodbyes().after(0).map(|(_, goodbye)| goodbye.peer);
        let strangers = records.chain(left).filter(|peer| self.who.proven(peer).is_err());
        strangers.for_each(|peer| self.table.put_out(now, &peer));
    }

    /// Says why a heartbeat was not taken: aloud if it is over a limit, once.
    fn complain(
        &mut self,
        peer: PeerId,
        seq: u64,
        taken: Result<Outcome, HeartbeatError>,
        data: &[u8],
    ) {
        let namespace = &self.namespace;
        let elapsed = self.epoch.elapsed();
        if taken == Ok(Outcome::Future) && self.complaints.ahead(peer, elapsed) {
            let clock = Duration::from_nanos((self.clock)());
            let ahead = Duration::from_nanos(seq).saturating_sub(clock).as_secs();
            tracing::warn!(
                %namespace,
                %peer,
                ahead_s = ahead,
                "a peer's heartbeats are not taken: they are more than 10 min ahead of this node's \
                 clock; set the clock that is wrong, that peer's or this one's, best by NTP"
            );
            return;
        }
        let refused = |error| self.complaints.refused(peer, error, data, elapsed);
        if let Some(excess) = taken.err().and_then(refused) {
            tracing::warn!(
                %namespace,
                %peer,
                excess,
                "a peer's heartbeats are not taken, and not passed on: it should say less of itself"
            );
            return;
        }
        let label = taken.map_or_else(HeartbeatError::label, Outcome::label);
        tracing::debug!(%namespace, %peer, seq, label, "not taken");
    }

    async fn on_command(&mut self, command: Command) {
        match command {
            // Its reply is dropped: the node is closed.
            Command::SetHost(..) | Command::SetMeta(..) | Command::SetTtl(..) if self.left => {}
            Command::Roles(peers) => {
                let now = self.epoch.elapsed();
                for peer in peers {
                    let roles = (self.roles)(&peer);
                    self.table.change_roles(now, &peer, &roles);
                }
            }
            Command::Missed => self.answer_missed(),
            Command::Insert(from, handed, reply) => {
                let outcomes = handed
                    .iter()
                    .map(|h| {
                        let arrival = (h.source, h.seq, &h.signed[..]);
                        let beat = Heartbeat::decode(&h.data);
                        self.take(arrival, &h.data, beat, from, Via::Exchange(h.age))
                    })
                    .collect();
                self.publish_view();
                // Who asked may have gone meanwhile; so below.
                let _ = reply.send(outcomes);
            }
            Command::Suspicion(about) => self.on_suspicion(about),
            Command::SetHost(host, reply) => {
                self.machine = None;
                self.beat.host = host;
                self.tell(reply).await;
            }
            Command::SetMeta(reply) => {
                self.beat.meta = self.meta.fields();
                self.tell(reply).await;
            }
            Command::SetTtl(ttl, reply) => {
                self.stretch.configure(ttl);
                self.announce(self.stretch.announced());
                self.tell(reply).await;
            }
        }
    }

    /// Renews what readers see, then tells who listens.
    fn publish_view(&mut self) {
        let view = self.table.view();
        let differences = self.table.take_differences();
        self.stretch.see(self.table.held(), self.epoch.elapsed());
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

    fn now(&self) -> Now {
        Now { elapsed: self.epoch.elapsed(), unix_nanos: (self.clock)() }
    }
}
