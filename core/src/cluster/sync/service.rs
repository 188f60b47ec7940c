//! Whom to exchange with, and when: with every new connection, and now and then
//! with one of them.

use super::{
    clocks::Teller,
    digest::ShortId,
    exchange::{Done, Exchange, Purpose},
    wire::SyncError,
};
use crate::{
    Error, ErrorKind, Event, Events, Namespace, Result,
    cluster::Cluster,
    event::EventBus,
    host::{Host, Stream},
    metrics::{ByLabel, Metrics},
    scope::Scope,
};
use futures::StreamExt;
use libp2p::{PeerId, StreamProtocol};
use prometheus_client::metrics::counter::Counter;
use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, sleep, sleep_until, timeout},
};

/// The longest mean pause between exchanges with a random peer: a pause is
/// uniform between a half and one and a half of its mean.
pub const PAUSE: Duration = Duration::from_secs(20);
/// The first pause. The next ones double up to the longest; an exchange that
/// brought an unknown peer (other than the one it was with) shows that gossip
/// leaves something out, and begins again (Trickle, RFC 6206).
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How many exchanges a peer may open in a row, as many as a large table takes,
/// and how long it is until it may open another one.
const BURST: u32 = 64;
const REFILL: Duration = Duration::from_secs(3);
/// How often in a row a peer may tell of goodbyes, and how long it is until it
/// may once more.
const PUSHES: u32 = 256;
const NEXT_PUSH: Duration = Duration::from_millis(100);
/// Which end opens the exchange of a new connection is settled by the ids: the
/// other end does if it has not happened until then.
const OTHERS_TURN: Duration = Duration::from_secs(2);
/// How long an exchange may take.
const LIMIT: Duration = Duration::from_secs(20);
/// Exchanges at a time that are opened here, and that others open.
const OPENED: usize = 4;
const ACCEPTED: usize = 16;

/// Anti-entropy of one node.
#[derive(Clone)]
pub(super) struct Sync(Arc<Inner>);

struct Inner {
    host: Host,
    exchange: Exchange,
    protocol: StreamProtocol,
    peers: Mutex<HashMap<PeerId, Peer>>,
    outcomes: ByLabel,
    records: Counter,
    opening: Semaphore,
    /// Told when an exchange brought an unknown peer.
    unsettled: Notify,
    clocks: Arc<Mutex<Teller>>,
    scope: Scope,
}

/// What is known of a connected peer.
#[derive(Clone, Copy)]
pub(super) struct Peer {
    /// When an exchange with it began last.
    last: Option<Instant>,
    /// Whether it knows the protocol, as far as is known.
    pub(super) speaks: bool,
    /// Whether it takes part in an exchange that it opened.
    busy: bool,
    /// How many exchanges it may open, as of `refilled`.
    budget: u32,
    refilled: Instant,
    /// How often it may tell of goodbyes, as of `heard`.
    pushes: u32,
    heard: Instant,
    /// Where the next exchange begins.
    next: ShortId,
    /// The turn up to which it has been told of goodbyes, or met when all were
    /// in the digest; and whether it is being told.
    pub(super) told: u64,
    pub(super) telling: bool,
}

impl Peer {
    /// One that has just been met.
    fn met(told: u64) -> Self {
        let now = Instant::now();
        Self {
            last: None,
            speaks: true,
            busy: false,
            budget: BURST,
            refilled: now,
            pushes: PUSHES,
            heard: now,
            next: 0,
            told,
            telling: false,
        }
    }
}

/// Starts anti-entropy, until the scope ends.
///
/// # Errors
/// [`ErrorKind::Busy`] if it runs already on this host.
pub(crate) fn start(
    host: Host,
    cluster: Cluster,
    namespace: &Namespace,
    events: EventBus,
    metrics: &Metrics,
    scope: &Scope,
) -> Result<()> {
    let protocol = namespace.own_protocol("sync/2");
    let incoming = host.accept(protocol.clone())?;
    let (outcomes, records) = (ByLabel::default(), Counter::default());
    metrics.register("sync_exchanges", "Exchanges of heartbeats, by outcome", outcomes.clone());
    metrics.register("sync_records", "Heartbeats that exchanges brought", records.clone());
    let clocks = Arc::new(Mutex::new(Teller::new(events.clone(), metrics)));
    let (said, at, within) = (clocks.clone(), host.clone(), cluster.clone());
    let mut exchange = Exchange::new(cluster, namespace.clone());
    exchange.time_of = Arc::new(move |peer, time| {
        if let Some(network) = at.network(&peer) {
            lock(&said).said(peer, network, time, within.now());
        }
    });
    let over = host.leaving().over();
    let sync = Sync(Arc::new(Inner {
        host,
        exchange,
        protocol,
        peers: Mutex::default(),
        outcomes,
        records,
        opening: Semaphore::new(OPENED),
        unsettled: Notify::new(),
        clocks,
        scope: scope.clone(),
    }));
    // Who leaves hands on what others say who leave.
    let serve = sync.clone().serve(incoming);
    scope.spawn_graceful(async move { over.run_until_cancelled(serve).await.unwrap_or(()) });
    scope.spawn_graceful(sync.clone().hand_on());
    scope.spawn(sync.clone().follow(events.subscribe()));
    scope.spawn(sync.now_and_then());
    Ok(())
}

impl Sync {
    /// Takes part in the exchanges that others open.
    async fn serve(self, incoming: impl futures::Stream<Item = (PeerId, Stream)>) {
        let each = incoming.for_each_concurrent(ACCEPTED, |(peer, stream)| {
            let sync = self.clone();
            async move {
                let mut busy = false;
                let admit = |purpose| {
                    sync.admit(peer, purpose).map_err(SyncError::Refused)?;
                    busy = purpose == Purpose::Compare;
                    Ok(())
                };
                sync.settle(peer, sync.0.exchange.accept(peer, stream, admit)).await;
                if busy {
                    sync.with(peer, |known| known.busy = false);
                }
            }
        });
        each.await;
    }

    /// Exchanges with every peer that connects.
    async fn follow(self, mut events: Events) {
        while let Some(event) = events.next().await {
            match event {
                Event::Connected { peer } => {
                    let sync = self.clone();
                    self.0.scope.spawn(async move { sync.greet(peer).await });
                }
                Event::Disconnected { peer } => {
                    self.peers().remove(&peer);
                    lock(&self.0.clocks).gone(&peer, self.0.exchange.cluster.now());
                }
                _ => (),
            }
        }
    }

    async fn greet(&self, peer: PeerId) {
        if self.0.host.id() > peer {
            let met = Instant::now();
            sleep(OTHERS_TURN).await;
            if self.with(peer, |known| known.last.is_some_and(|last| last >= met)) {
                return;
            }
        }
        self.exchange_with(peer).await;
    }

    /// Exchanges with a random peer, at random times.
    async fn now_and_then(self) {
        let mut rng = ChaCha8Rng::from_rng(&mut rand::rng());
        let mut pause = FIRST_PAUSE;
        loop {
            let jitter = rng.random_range(0.5..1.5);
            let due = Instant::now() + pause.mul_f64(jitter);
            pause = (pause * 2).min(PAUSE);
            tokio::select! {
                () = sleep_until(due) => (),
                () = self.0.unsettled.notified() => {
                    pause = FIRST_PAUSE;
                    sleep_until(due.min(Instant::now() + pause.mul_f64(jitter))).await;
                }
            }
            let mut peers = self.0.host.connected();
            {
                let mut known = self.peers();
                known.retain(|peer, _| self.0.host.is_connected(peer));
                peers.retain(|peer| known.get(peer).is_none_or(|peer| peer.speaks));
            }
            if let Some(peer) = peers.choose(&mut rng) {
                // Not part of this task: it waits nearly all the time.
                Box::pin(self.exchange_with(*peer)).await;
            }
        }
    }

    /// Opens exchanges with a peer, until there is no more to hand over.
    async fn exchange_with(&self, peer: PeerId) {
        let Ok(_turn) = self.0.opening.acquire().await else { return };
        for _ in 0..BURST {
            let (speaks, first) = self.with(peer, |known| (known.speaks, known.next));
            if !speaks || !self.0.host.is_connected(&peer) {
                return;
            }
            let stream = match self.0.host.open_stream(peer, self.0.protocol.clone()).await {
                Ok(stream) => stream,
                Err(error) => return self.not_opened(peer, &error),
            };
            self.with(peer, |known| known.last = Some(Instant::now()));
            let exchange = async {
                let (done, next) = self.0.exchange.open(peer, stream, first).await?;
                self.with(peer, |known| known.next = next);
                Ok(done)
            };
            match self.settle(peer, exchange).await {
                Some(done) if done.more => (),
                // The next part of a large table, at once.
                Some(_) if self.with(peer, |known| known.next) != 0 => (),
                _ => return,
            }
        }
    }

    /// Notes why no stream could be opened.
    pub(super) fn not_opened(&self, peer: PeerId, error: &Error) {
        if error.kind() == ErrorKind::Protocol {
            self.count("unsupported");
            self.with(peer, |known| known.speaks = false);
        }
    }

    /// Lets a peer open an exchange now, or says why it may not.
    fn admit(&self, peer: PeerId, purpose: Purpose) -> std::result::Result<(), &'static str> {
        let now = Instant::now();
        let of = |budget: &mut u32, since: &mut Instant, most: u32, each: Duration| {
            let earned = (now - *since).div_duration_f64(each) as u32;
            if earned > 0 {
                *budget = budget.saturating_add(earned).min(most);
                *since = now;
            }
            *budget = budget.checked_sub(1).ok_or("refused-too-many")?;
            Ok(())
        };
        self.with(peer, |known| {
            known.speaks = true;
            if purpose == Purpose::Push {
                return of(&mut known.pushes, &mut known.heard, PUSHES, NEXT_PUSH);
            }
            if known.busy {
                return Err("refused-busy");
            }
            of(&mut known.budget, &mut known.refilled, BURST, REFILL)?;
            (known.last, known.busy) = (Some(now), true);
            Ok(())
        })
    }

    async fn settle(
        &self,
        peer: PeerId,
        exchange: impl Future<Output = std::result::Result<Done, SyncError>>,
    ) -> Option<Done> {
        let result = timeout(LIMIT, exchange).await.unwrap_or(Err(SyncError::Timeout));
        match result {
            Ok(done) => {
                self.count("done");
                self.0.records.inc_by(done.received as u64);
                if done.joined > 0 {
                    self.0.unsettled.notify_one();
                }
                tracing::debug!(%peer, ?done, "heartbeats were exchanged");
                Some(done)
            }
            Err(error) => {
                self.count(error.label());
                tracing::debug!(%peer, %error, "an exchange of heartbeats failed");
                None
            }
        }
    }

    pub(super) fn count(&self, outcome: &'static str) {
        self.0.outcomes.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(super) fn with<T>(&self, peer: PeerId, f: impl FnOnce(&mut Peer) -> T) -> T {
        let met = || Peer::met(self.0.exchange.cluster.view().goodbyes().last());
        f(self.peers().entry(peer).or_insert_with(met))
    }

    pub(super) fn host(&self) -> &Host {
        &self.0.host
    }

    pub(super) fn exchange(&self) -> &Exchange {
        &self.0.exchange
    }

    pub(super) fn protocol(&self) -> &StreamProtocol {
        &self.0.protocol
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<PeerId, Peer>> {
        lock(&self.0.peers)
    }
}

/// What these locks guard is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
