//! Whom to exchange with, and when: with every new connection, and now and then
//! with one of them.

use super::{
    budgets::Budgets,
    clocks::Teller,
    exchange::{Done, Exchange, PATIENCE, Prove, Purpose},
    greetings::Greetings,
    places::{Place, Places},
    wire::SyncError,
};
use crate::{
    Error, ErrorKind, Event, Events, Namespace, Result,
    cluster::Cluster,
    event::EventBus,
    host::{Host, Stream},
    metrics::{ByLabel, Metrics},
    prefix::Prefix,
    scope::Scope,
};
use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use libp2p::{PeerId, StreamProtocol};
use prometheus_client::metrics::counter::Counter;
use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::HashMap,
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, sleep_until, timeout},
};

/// The longest mean pause between exchanges with a random peer: a pause is
/// uniform between a half and one and a half of its mean.
pub const PAUSE: Duration = Duration::from_secs(20);
/// The first pause. The next ones grow up to the longest; an exchange that
/// brought an unknown peer (other than the one it was with) shows that gossip
/// leaves something out, and begins again (Trickle, RFC 6206), but not too often:
/// anybody can make peers up. So does one that brought a heartbeat of this node's
/// own which it did not send: if another node has the same key, the next ones
/// prove it.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How many exchanges follow each other, as many as a large table takes.
const BURST: u32 = 64;
/// Which end opens the exchange of a new connection is settled by the ids: the
/// other end does if it has not happened until then.
const OTHERS_TURN: Duration = Duration::from_secs(2);
/// How long an exchange may take, and those that follow each other with one peer
/// while others wait.
const LIMIT: Duration = Duration::from_secs(60);
/// Exchanges at a time that are opened here, and that others open: to compare,
/// and to push, since a goodbye is not to wait for what takes long.
const OPENED: usize = 4;
const ACCEPTED: usize = 16;
const PUSHED: usize = 16;
/// Streams that wait at a time or are served, and those of one peer.
const WAITING: usize = 256;
const WAITING_OF_PEER: u8 = 3;

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
    budgets: Arc<Mutex<Budgets>>,
    opening: Semaphore,
    waiting: Places,
    comparing: Places,
    pushing: Places,
    /// Told when an exchange brought an unknown peer, or an unknown own heartbeat.
    unsettled: Notify,
    clocks: Arc<Mutex<Teller>>,
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
    /// How many of its streams wait, or are served.
    waiting: u8,
    /// The turn up to which it has been told of goodbyes, or met when all were
    /// compared; and whether it is being told.
    pub(super) told: u64,
    pub(super) telling: bool,
    /// How often telling it has failed in a row, and when to tell it again.
    pub(super) failed: u32,
    pub(super) again: Option<Instant>,
}

impl Peer {
    /// One that has just been met.
    fn met(told: u64) -> Self {
        Self {
            last: None,
            speaks: true,
            busy: false,
            waiting: 0,
            told,
            telling: false,
            failed: 0,
            again: None,
        }
    }
}

/// The mean pauses between exchanges with a random peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spacing {
    /// The longest: [`PAUSE`] in the usual profile.
    pub(crate) longest: Duration,
    /// By how much each is longer than the one before.
    pub(crate) growth: u32,
}

/// Starts anti-entropy, until the scope ends. Without a spacing there are no exchanges
/// with random peers.
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
    spacing: Option<Spacing>,
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
    let budgets = Arc::new(Mutex::new(Budgets::default()));
    let (spent, at, within) = (budgets.clone(), host.clone(), exchange.cluster.clone());
    exchange.hand = Arc::new(move |peer, bytes| {
        lock(&spent).hand(peer, counted(&at, &peer), bytes, within.elapsed())
    });
    let (left, at, within) = (budgets.clone(), host.clone(), exchange.cluster.clone());
    exchange.may_have = Arc::new(move |peer| {
        let table = within.view().signed_bytes();
        lock(&left).may_have(peer, counted(&at, &peer), table, within.elapsed())
    });
    let (left, at, within) = (budgets.clone(), host.clone(), exchange.cluster.clone());
    exchange.may_verify = Arc::new(move |peer, purpose| {
        lock(&left).checks(peer, counted(&at, &peer), purpose, within.elapsed())
    });
    exchange.prove = host.who().members().cloned().map(|members| -> Prove {
        Arc::new(move |partner, sources| {
            let members = members.clone();
            async move { members.proven(sources, partner).await }.boxed()
        })
    });
    let over = host.leaving().over();
    let sync = Sync(Arc::new(Inner {
        host,
        exchange,
        protocol,
        peers: Mutex::default(),
        outcomes,
        records,
        budgets,
        opening: Semaphore::new(OPENED),
        waiting: Places::new(WAITING),
        comparing: Places::new(ACCEPTED),
        pushing: Places::new(PUSHED),
        unsettled: Notify::new(),
        clocks,
    }));
    // Who leaves hands on what others say who leave.
    let serve = sync.clone().serve(incoming);
    scope.spawn_graceful(async move { over.run_until_cancelled(serve).await.unwrap_or(()) });
    scope.spawn_graceful(sync.clone().hand_on());
    scope.spawn(sync.clone().follow(events.subscribe()));
    if let Some(spacing) = spacing {
        scope.spawn(sync.now_and_then(spacing));
    }
    Ok(())
}

impl Sync {
    /// Takes part in the exchanges that others open.
    async fn serve(self, incoming: impl futures::Stream<Item = (PeerId, Stream)>) {
        // Whoever has no place is refused at once: there are no more than places.
        let each = incoming.for_each_concurrent(None, |(peer, stream)| {
            let sync = self.clone();
            async move {
                let Some(_place) = sync.0.waiting.take(counted(&sync.0.host, &peer)) else {
                    return sync.count("refused-waiting");
                };
                let room = sync.with(peer, |known| {
                    let room = known.waiting < WAITING_OF_PEER;
                    known.waiting += u8::from(room);
                    room
                });
                if !room {
                    return sync.count("refused-waiting");
                }
                sync.answer(peer, stream).await;
                sync.with(peer, |known| known.waiting = known.waiting.saturating_sub(1));
            }
        });
        each.await;
    }

    async fn answer(&self, peer: PeerId, stream: Stream) {
        let admit =
            |purpose| async move { self.admit(peer, purpose).await.map_err(SyncError::Refused) };
        self.settle(peer, self.0.exchange.accept(peer, stream, admit)).await;
    }

    /// Exchanges with every peer that connects, and with those that have more to
    /// hand over.
    async fn follow(self, mut events: Events) {
        let (mut greetings, mut running) = (Greetings::default(), FuturesUnordered::new());
        loop {
            let now = Instant::now();
            while running.len() < OPENED
                && let Some((peer, since)) = greetings.take(now)
            {
                // The other end has opened one meanwhile.
                let met = |known: &mut Peer| known.last.is_some_and(|last| last >= since);
                if !self.with(peer, met) {
                    running.push(self.exchange_with(peer));
                }
            }
            let next = greetings.next().filter(|_| running.len() < OPENED);
            tokio::select! {
                event = events.next() => match event {
                    Some(Event::Connected { peer }) => {
                        // From now on it is told of goodbyes.
                        self.with(peer, |_| ());
                        let others_turn = self.0.host.id() > peer;
                        let due = if others_turn { now + OTHERS_TURN } else { now };
                        greetings.put(peer, due, now);
                    }
                    Some(Event::Disconnected { peer }) => {
                        greetings.remove(&peer);
                        self.forget(&peer);
                        lock(&self.0.clocks).gone(&peer, self.0.exchange.cluster.now());
                    }
                    Some(_) => {}
                    None => return,
                },
                Some((peer, more)) = running.next() => if more {
                    let now = Instant::now();
                    greetings.put(peer, now, now);
                },
                () = sleep_until(next.unwrap_or(now)), if next.is_some() => {}
            }
        }
    }

    /// Exchanges with a random peer, at random times.
    async fn now_and_then(self, Spacing { longest, growth }: Spacing) {
        let mut rng = ChaCha8Rng::from_rng(&mut rand::rng());
        let life = self.0.host.life();
        let (mut pause, mut wakings) = (FIRST_PAUSE, life.wakings());
        loop {
            life.up().await;
            let jitter = rng.random_range(0.5..1.5);
            let due = Instant::now() + pause.mul_f64(jitter);
            pause = (pause * growth).min(longest);
            tokio::select! {
                () = sleep_until(due) => (),
                () = self.0.unsettled.notified() => {
                    pause = FIRST_PAUSE;
                    sleep_until(due.min(Instant::now() + pause.mul_f64(jitter))).await;
                }
                // Nobody expires yet: what was missed is asked for before.
                Ok(()) = wakings.changed() => {
                    pause = FIRST_PAUSE;
                    sleep_until(due.min(Instant::now() + pause.mul_f64(jitter))).await;
                }
                () = life.down() => {
                    pause = FIRST_PAUSE;
                    continue;
                }
            }
            let mut peers = self.0.host.connected();
            {
                let mut known = self.peers();
                known.retain(|peer, known| known.waiting > 0 || self.0.host.is_connected(peer));
                peers.retain(|peer| known.get(peer).is_none_or(|peer| peer.speaks));
            }
            if let Some(peer) = peers.choose(&mut rng) {
                // Not part of this task: it waits nearly all the time.
                let _ = Box::pin(self.exchange_with(*peer)).await;
            }
        }
    }

    /// Opens exchanges with a peer, until there is no more to hand over, or it
    /// has had its turn. Whether there is more.
    async fn exchange_with(&self, peer: PeerId) -> (PeerId, bool) {
        let Ok(_turn) = self.0.opening.acquire().await else { return (peer, false) };
        let begun = Instant::now();
        for _ in 0..BURST {
            if !self.with(peer, |known| known.speaks) || !self.0.host.is_connected(&peer) {
                return (peer, false);
            }
            if begun.elapsed() > LIMIT {
                return (peer, true);
            }
            let stream = match self.0.host.open_stream(peer, self.0.protocol.clone()).await {
                Ok(stream) => stream,
                Err(error) => {
                    self.not_opened(peer, &error);
                    return (peer, false);
                }
            };
            self.with(peer, |known| known.last = Some(Instant::now()));
            match self.settle(peer, self.0.exchange.open(peer, stream)).await {
                Some(done) if done.more => (),
                _ => return (peer, false),
            }
        }
        (peer, false)
    }

    /// Notes why no stream could be opened.
    pub(super) fn not_opened(&self, peer: PeerId, error: &Error) {
        if error.kind() == ErrorKind::Protocol {
            self.count("unsupported");
            self.with(peer, |known| known.speaks = false);
        }
    }

    /// Forgets a peer that is gone, but for what its streams still take: it has
    /// no more of them for coming again.
    fn forget(&self, peer: &PeerId) {
        let met = Peer::met(self.0.exchange.cluster.view().goodbyes().last());
        let mut peers = self.peers();
        match peers.get_mut(peer) {
            Some(known) if known.waiting > 0 => {
                *known = Peer { waiting: known.waiting, busy: known.busy, ..met };
            }
            _ => drop(peers.remove(peer)),
        }
    }

    /// Lets a peer take part in an exchange that it has opened, once it is its
    /// turn, or says why it may not.
    async fn admit(
        &self,
        peer: PeerId,
        purpose: Purpose,
    ) -> std::result::Result<Turn<'_>, &'static str> {
        let elapsed = self.0.exchange.cluster.elapsed();
        let network = counted(&self.0.host, &peer);
        self.with(peer, |known| known.speaks = true);
        let (places, busy) = match purpose {
            Purpose::Push => {
                if !lock(&self.0.budgets).pushes(peer, elapsed) {
                    return Err("refused-too-many");
                }
                (&self.0.pushing, None)
            }
            Purpose::Compare => {
                if !lock(&self.0.budgets).opens(peer, network, elapsed) {
                    return Err("refused-too-many");
                }
                if !(self.0.exchange.may_have)(peer) {
                    return Err("refused-too-much");
                }
                (&self.0.comparing, Some(self.busy(peer).ok_or("refused-busy")?))
            }
        };
        let place = timeout(PATIENCE, places.wait(network)).await.map_err(|_| "refused-full")?;
        if purpose == Purpose::Compare {
            self.with(peer, |known| known.last = Some(Instant::now()));
        }
        Ok(Turn { _place: place, _busy: busy })
    }

    /// Has a peer compare, unless it does.
    fn busy(&self, peer: PeerId) -> Option<Busy<'_>> {
        let was = self.with(peer, |known| std::mem::replace(&mut known.busy, true));
        (!was).then_some(Busy { sync: self, peer })
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
                if (done.own && self.unsettles_own()) || (done.joined > 0 && self.unsettles(peer)) {
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

    /// Whether the unknown peers that a peer brought show that gossip leaves
    /// something out.
    fn unsettles(&self, peer: PeerId) -> bool {
        let (network, elapsed) = (counted(&self.0.host, &peer), self.0.exchange.cluster.elapsed());
        lock(&self.0.budgets).unsettles(peer, network, elapsed)
    }

    fn unsettles_own(&self) -> bool {
        lock(&self.0.budgets).unsettles_own(self.0.exchange.cluster.elapsed())
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

    pub(super) fn peers(&self) -> MutexGuard<'_, HashMap<PeerId, Peer>> {
        lock(&self.0.peers)
    }
}

/// A peer takes part in an exchange that it opened, until this is dropped.
struct Turn<'a> {
    _place: Place<'a>,
    _busy: Option<Busy<'a>>,
}

/// A peer compares.
struct Busy<'a> {
    sync: &'a Sync,
    peer: PeerId,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.sync.with(self.peer, |known| known.busy = false);
    }
}

/// The network of a peer, if what it is handed is counted: not this machine,
/// on which a whole cluster may run.
fn counted(host: &Host, peer: &PeerId) -> Option<Prefix> {
    let here = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()].map(IpAddr::into);
    host.network(peer).filter(|network| !here.contains(network))
}

/// What these locks guard is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
