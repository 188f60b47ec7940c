//! The task that owns the view of one namespace.

use super::{
    exchange::Role,
    keeper::Keeper,
    round::Told,
    service::Shared,
    store::Saved,
    view::{Gossip, Origin, View},
};
use crate::{
    Event, Events, Namespace, PeerId, PeerInfo, Result,
    ask::ask,
    boot::FindOptions,
    dials::{Said, sensible},
    host::Incoming,
    life::Phase,
    metrics::verdict,
    record::SignedRecord,
    who::Who,
};
use futures::StreamExt;
use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha12Rng;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::RandomState,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

/// The first pause between ticks: it grows from tick to tick up to the usual one, so
/// that a node that starts, or has lost many, is not alone for long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// How long after something has changed connections are looked after, and what is
/// new is saved; and how often at most.
const CARE: Duration = Duration::from_secs(1);
/// When what could not be saved is tried again.
const SAVE_AGAIN: Duration = Duration::from_secs(5);
/// The time in which one peer may start one round, and how many of them it may
/// start in a row.
const CALLS: Duration = Duration::from_secs(10);
const BURST: u32 = 3;
/// Peers whose last call is remembered.
const MAX_CALLERS: usize = 4096;
/// Peers that discovery has found and that are asked at the same time.
const FOUND: usize = 8;
/// A view that holds fewer asks whoever connects.
const FEW: usize = 8;

/// What rounds and callers ask of the task.
pub(super) enum Command {
    /// What to tell in a round.
    Tell { reply: oneshot::Sender<Vec<Gossip<SignedRecord>>> },
    /// What a round has brought.
    Merge { origin: Origin, told: Told },
    /// A round came to nothing, and says nothing of the peer.
    Over(PeerId),
    /// A peer cannot be reached.
    Failed(PeerId),
    /// A peer can be reached.
    Alive(PeerId),
    /// A peer was tried too often lately, and was not tried now.
    Postponed(PeerId),
    /// A connection was made.
    Opened(PeerId),
    /// Everybody who is known, and from where.
    Peers { reply: oneshot::Sender<Vec<(&'static str, PeerInfo)>> },
}

pub(super) struct Task {
    shared: Arc<Shared>,
    namespace: Namespace,
    view: View<SignedRecord, RandomState>,
    keeper: Keeper,
    commands: mpsc::Receiver<Command>,
    sender: mpsc::Sender<Command>,
    incoming: Incoming,
    events: Events,
    who: Who,
    rng: ChaCha12Rng,
    started: Instant,
    pause: Duration,
    /// Rounds that are under way on our initiative.
    asking: HashSet<PeerId>,
    /// When each caller's rounds so far are made up for.
    called: HashMap<PeerId, Instant>,
    /// The peers of the view as listeners know it, and the sequence numbers of
    /// their records.
    known: BTreeMap<PeerId, u64>,
    unsaved: bool,
    /// Not before, since it failed.
    next_save: Instant,
    /// When connections are looked after, and what has changed is saved.
    care: Option<Instant>,
}

impl Task {
    pub(super) fn new(
        shared: Arc<Shared>,
        namespace: Namespace,
        sender: mpsc::Sender<Command>,
        commands: mpsc::Receiver<Command>,
        saved: Saved,
    ) -> Result<Self> {
        let env = &shared.env;
        let incoming = env.host.accept(namespace.protocol("pex"))?;
        let mut rng = ChaCha12Rng::from_rng(&mut rand::rng());
        let mut view = View::new(env.host.id(), env.config.params(), RandomState::new());
        // Where they were told is no longer known.
        let sensible = |record: SignedRecord| {
            let skipped = &env.metrics.dials_skipped;
            record.with_addrs(sensible(&record.info().addrs, Said::Machine.into(), skipped))
        };
        let who = env.host.who().clone();
        let taken = |record: &SignedRecord| who.check(&record.peer()).is_ok();
        let saved = [saved.view, saved.standby].map(|all| all.into_iter().filter(taken));
        let [saved, standby] = saved.map(|all| all.map(sensible));
        view.restore(saved, standby, &mut rng);
        Ok(Self {
            keeper: Keeper::new(&env.config),
            events: env.events.subscribe(),
            who,
            namespace,
            view,
            commands,
            sender,
            incoming,
            rng,
            started: Instant::now(),
            pause: FIRST_PAUSE.min(env.config.tick),
            asking: HashSet::new(),
            called: HashMap::new(),
            known: BTreeMap::new(),
            unsaved: false,
            next_save: Instant::now(),
            care: Some(Instant::now()),
            shared,
        })
    }

    pub(super) async fn run(mut self) {
        let shared = self.shared.clone();
        self.look();
        let mut tick = Instant::now();
        let life = shared.env.host.life();
        let (mut phases, mut taken) = (life.phases(), self.who.changes());
        loop {
            let up = life.is_up();
            tokio::select! {
                () = shared.env.scope.cancelled() => break,
                Ok(()) = phases.changed() => {
                    if *phases.borrow_and_update() == Phase::Up {
                        // Whoever failed before may be reached from here.
                        self.keeper = Keeper::new(&shared.env.config);
                        (self.pause, tick) = (FIRST_PAUSE.min(shared.env.config.tick), Instant::now());
                        self.soon();
                    } else {
                        self.save().await;
                    }
                }
                () = tokio::time::sleep_until(tick), if up => {
                    self.tick();
                    tick = Instant::now() + self.next_pause();
                }
                Ok(()) = taken.changed() => self.put_out(),
                Some(command) = self.commands.recv() => self.on_command(command),
                Some((peer, stream)) = self.incoming.next() => self.on_call(peer, stream),
                Some(event) = self.events.next() => self.on_event(event),
                () = tokio::time::sleep_until(self.care.unwrap_or(self.started)),
                    if up && self.care.is_some() =>
                {
                    self.keep();
                    self.save().await;
                    self.care = self.next_care();
                }
            }
        }
        self.save().await;
    }

    /// Forgets those who are no longer taken.
    fn put_out(&mut self) {
        let who = self.who.clone();
        self.view.keep_only(|peer| who.check(&peer).is_ok());
        self.unsaved = true;
        self.soon();
        self.look();
    }

    /// Takes of what a round has brought only whom this node takes. Whether anything is
    /// left.
    fn screen(&self, told: &mut Told) -> bool {
        let records = &self.shared.env.metrics.pex_records;
        let taken = |record: &SignedRecord| {
            let refused = self.who.check(&record.peer()).err();
            refused
                .map(|stranger| records.get_or_create(&verdict(stranger.label())).inc())
                .is_none()
        };
        told.others.retain(|gossip| taken(&gossip.record));
        taken(&told.sender)
    }

    /// Looks after connections in a moment, together with what else happens.
    fn soon(&mut self) {
        let soon = Instant::now() + CARE.min(self.shared.env.config.tick);
        self.care = Some(self.care.map_or(soon, |care| care.min(soon)));
    }

    /// When that is due if nothing happens.
    fn next_care(&self) -> Option<Instant> {
        let env = &self.shared.env;
        let connected: BTreeSet<PeerId> = env.host.connected().into_iter().collect();
        let view: Vec<PeerId> = self.view.iter().map(|g| g.record.peer()).collect();
        let due = self.keeper.due(&view, &connected, self.started.elapsed());
        let due = due.map(|due| self.started + due);
        let unsaved = (self.unsaved && env.store.keeps()).then_some(self.next_save);
        // Whether the file is still there is seen by looking.
        let lost = env.store.keeps().then(|| Instant::now() + env.look);
        let next = due.into_iter().chain(unsaved).chain(lost).min();
        next.map(|next| next.max(Instant::now() + CARE.min(env.config.tick)))
    }

    fn tick(&mut self) {
        let plan = self.view.tick(&mut self.rng);
        if plan.is_empty() {
            self.lonely();
        }
        for record in plan.rounds.iter().chain(&plan.retries) {
            self.ask(record.info().clone(), Origin::Pulled);
        }
        for record in plan.probes {
            self.shared.probe(&self.sender, record.info().clone());
        }
    }

    /// Uniform between a half and one of the pause, which grows to that of the
    /// configuration.
    fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * self.shared.env.growth).min(self.shared.env.config.tick);
        pause.mul_f64(self.rng.random_range(0.5..1.0))
    }

    /// Nobody is known: ask those who happen to be connected, and discovery. In
    /// its own namespace the node does that by itself when it has no peer, and
    /// whoever it connects to is asked then.
    fn lonely(&mut self) {
        let connected = self.shared.env.host.connected();
        // Whoever connects is asked at once: until then there is nothing to wake for.
        if self.is_own() && connected.is_empty() {
            return;
        }
        self.pause = self.pause.min(FIRST_PAUSE * 3);
        for &id in connected.sample(&mut self.rng, 4) {
            self.ask(PeerInfo { id, addrs: Vec::new() }, Origin::Boot);
        }
        if self.is_own() {
            return;
        }
        let (shared, namespace, sender) =
            (self.shared.clone(), self.namespace.clone(), self.sender.clone());
        let options = FindOptions::default().timeout(self.pause);
        let own = shared.env.host.id();
        let found = (shared.env.find)(&self.namespace, options);
        self.shared.env.scope.spawn(async move {
            // Answers alone end no search: they may be for peers that are gone.
            let nobody = |_: &_| {
                let known = ask(&sender, |reply| Command::Peers { reply });
                async { known.await.is_ok_and(|known| known.is_empty()) }
            };
            let others = found.filter_map(|found| {
                std::future::ready(found.ok().filter(|found| found.peer.id != own))
            });
            others
                .take_while(nobody)
                .for_each_concurrent(FOUND, async |found| {
                    shared.go_round(&namespace, &sender, found.peer, Origin::Boot).await;
                })
                .await;
        });
    }

    /// Whether this is the namespace of the node itself.
    fn is_own(&self) -> bool {
        self.namespace == self.shared.env.namespace
    }

    fn ask(&mut self, peer: PeerInfo, origin: Origin) {
        if self.asking.insert(peer.id) {
            self.shared.start_round(&self.namespace, &self.sender, peer, origin);
        }
    }

    fn on_command(&mut self, command: Command) {
        self.soon();
        match command {
            Command::Tell { reply } => {
                // The round may be over already.
                let _ = reply.send(self.view.tell(&mut self.rng));
            }
            Command::Merge { origin, mut told } => {
                if origin != Origin::Pushed {
                    self.asking.remove(&told.sender.peer());
                }
                // Here and not before: what was under way when that changed comes here too.
                if !self.screen(&mut told) {
                    return;
                }
                self.add_known(&mut told);
                let changes = self.view.merge(origin, told.sender, told.others, &mut self.rng);
                let records = &self.shared.env.metrics.pex_records;
                for (reason, n) in [("over-limit", changes.over_limit), ("stale", changes.stale)] {
                    records.get_or_create(&verdict(reason)).inc_by(n as u64);
                }
                // Who told of them may be full, and about to close.
                self.keep();
            }
            Command::Over(peer) => drop(self.asking.remove(&peer)),
            Command::Failed(peer) => {
                self.asking.remove(&peer);
                let now = self.started.elapsed();
                self.keeper.failed(peer, now, &mut self.rng);
                let before = self.view.len();
                self.view.failed(peer, &mut self.rng);
                // Deaths seldom come alone: look after the others soon.
                if self.view.len() < before {
                    self.pause = self.pause.min(FIRST_PAUSE * 3);
                }
            }
            Command::Alive(peer) => {
                self.keeper.reached(peer);
                let network = self.shared.met(&peer);
                self.view.met(peer, |record| record.meet(network));
                self.view.alive(peer, &mut self.rng);
            }
            Command::Postponed(peer) => {
                let now = self.started.elapsed();
                self.keeper.reached(peer);
                self.keeper.lost(peer, now, &mut self.rng);
            }
            Command::Opened(peer) => self.keeper.opened(peer),
            Command::Peers { reply } => {
                let view = self.view.iter().map(|g| ("pex", g.record.info().clone()));
                let standby = self.view.standby().iter();
                let standby = standby.map(|r| ("pex-standby", r.info().clone()));
                let _ = reply.send(view.chain(standby).collect());
            }
        }
        self.look();
    }

    /// Of a record that is known already, what made sense where it was told
    /// before still does.
    fn add_known(&self, told: &mut Told) {
        let others = told.others.iter_mut().map(|gossip| &mut gossip.record);
        for record in others.chain([&mut told.sender]) {
            let same = |known: &&Gossip<SignedRecord>| {
                known.record.peer() == record.peer() && known.record.seq() == record.seq()
            };
            if let Some(known) = self.view.iter().find(same) {
                let mut addrs = known.record.info().addrs.clone();
                let new = record.info().addrs.iter().filter(|addr| !addrs.contains(addr));
                let new: Vec<_> = new.cloned().collect();
                addrs.extend(new);
                *record = record.with_addrs(addrs);
            }
        }
    }

    /// Somebody wants to exchange records with us.
    fn on_call(&mut self, peer: PeerId, stream: crate::host::Stream) {
        let now = Instant::now();
        let gap = CALLS.min(self.shared.env.config.tick / 4);
        // How far ahead of its pace a peer is: a few rounds in a row may be.
        let ahead = self.called.get(&peer).map_or(Duration::ZERO, |free| *free - now.min(*free));
        let often = ahead > gap * BURST;
        let permit = self.shared.served.clone().try_acquire_owned();
        let Ok(permit) = permit.map_err(drop).and_then(|p| if often { Err(()) } else { Ok(p) })
        else {
            let outcome = if often { "refused-often" } else { "refused-busy" };
            self.shared.env.metrics.pex_rounds.get_or_create(&verdict(outcome)).inc();
            return;
        };
        if self.called.len() >= MAX_CALLERS {
            self.called.retain(|_, free| *free > now);
        }
        if self.called.len() < MAX_CALLERS {
            self.called.insert(peer, now + ahead + gap);
        }
        let (shared, sender) = (self.shared.clone(), self.sender.clone());
        self.shared.env.scope.spawn(async move {
            let result = shared.exchange(Role::Answers, stream, peer, &sender).await;
            shared.count("answered", &result);
            drop(permit);
            match result {
                Ok(told) => {
                    // Closed with the node.
                    let _ = sender.send(Command::Merge { origin: Origin::Pushed, told }).await;
                }
                Err(error) => tracing::debug!(%peer, %error, "a peer's round failed"),
            }
        });
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connected { peer } => {
                self.keeper.connected(peer, self.started.elapsed());
                if self.view.len() < FEW && !self.view.contains(peer) {
                    self.ask(PeerInfo { id: peer, addrs: Vec::new() }, Origin::Boot);
                }
            }
            Event::Disconnected { peer } => {
                let now = self.started.elapsed();
                self.keeper.lost(peer, now, &mut self.rng);
                self.keep();
                self.soon();
            }
            _ => {}
        }
    }

    /// Makes connections, and gives some up.
    fn keep(&mut self) {
        let env = &self.shared.env;
        let connected: BTreeSet<PeerId> = env.host.connected().into_iter().collect();
        let room = env.host.room();
        let view: Vec<PeerId> = self.view.iter().map(|g| g.record.peer()).collect();
        let now = self.started.elapsed();
        let work = self.keeper.work(&view, &connected, room, now, &mut self.rng);
        for peer in work.dial {
            if let Some(gossip) = self.view.iter().find(|g| g.record.peer() == peer) {
                self.shared.probe(&self.sender, gossip.record.info().clone());
            }
        }
        for peer in work.close {
            let host = env.host.clone();
            env.scope.spawn(async move { host.disconnect(peer).await });
        }
    }

    /// Tells listeners if the view holds others than before. They know of the
    /// node's own namespace alone.
    fn look(&mut self) {
        let view = self.view.iter().map(|g| &g.record);
        let now: BTreeMap<PeerId, u64> = view.map(|r| (r.peer(), r.seq())).collect();
        let label = [("namespace", self.namespace.to_string())];
        let sizes = &self.shared.sizes;
        for (gauge, n) in [(&sizes.view, now.len()), (&sizes.standby, self.view.standby().len())] {
            gauge.get_or_create(&label).set(n.try_into().unwrap_or(i64::MAX));
        }
        if now == self.known {
            return;
        }
        self.unsaved = true;
        let others = !now.keys().eq(self.known.keys());
        self.known = now;
        if others && self.is_own() {
            let peers = self.known.keys().copied().collect();
            self.shared.env.events.emit(Event::ViewChanged { peers });
        }
    }

    async fn save(&mut self) {
        let store = self.shared.env.store.clone();
        if !store.keeps() {
            return;
        }
        self.unsaved |= store.on_disk(|store| Ok(store.is_lost())).await.unwrap_or(false);
        if Instant::now() < self.next_save || !std::mem::take(&mut self.unsaved) {
            return;
        }
        let saved = Saved {
            view: self.view.iter().map(|g| g.record.clone()).collect(),
            standby: self.view.standby().iter().cloned().collect(),
        };
        let namespace = self.namespace.clone();
        // The store tells if not.
        if store.on_disk(move |store| store.save(&namespace, &saved)).await.is_err() {
            self.unsaved = true;
            self.next_save = Instant::now() + SAVE_AGAIN;
        }
    }
}
