//! All nodes, and what happens to them.

use super::{
    Args,
    graph::Graph,
    member::Member,
    mesh::Mesh,
    messages::{Id, Messages},
};
use crate::rng;
use casm::{
    PeerId,
    cluster::{Detector, Pace, SYNC_PAUSE, Via},
};
use rand::{RngExt, rngs::Xoshiro256PlusPlus, seq::IndexedRandom};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    time::Duration,
};

/// Gossipsub's heartbeat, and for how long it tells of a message.
const TICK: Duration = Duration::from_secs(1);
const TOLD: Duration = Duration::from_secs(3);
/// A connection to a crashed peer is known to be gone after this at the latest:
/// a ping's interval and its timeout.
const NOTICED: f64 = 20.0;
/// For how long a crashed node stays away, in seconds.
const AWAY: std::ops::Range<f64> = 30.0..60.0;

/// What was counted.
#[derive(Default)]
pub struct Outcome {
    pub heartbeats: u64,
    pub by: By,
    pub peer_time: Duration,
    pub false_drops: u64,
    pub crashes: u64,
    pub detections: Vec<Duration>,
}

/// Heartbeats that entered a table, by the way they came.
#[derive(Default)]
pub struct By {
    pub mesh: u64,
    pub gossip: u64,
    pub exchange: u64,
}

/// How a copy travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Mesh,
    Gossip,
}

/// What happens to a node; where a run is named, only to that run of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A copy arrives from a peer.
    Copy { from: usize, id: Id, way: Way },
    /// Its own heartbeat is due.
    Beat { run: u32 },
    /// Records may expire.
    Expire { run: u32 },
    /// Gossipsub's heartbeat.
    Tick { run: u32 },
    /// An exchange with a random peer is due.
    Exchange { run: u32 },
    /// It finds the connection to a crashed peer gone.
    Notice { run: u32, gone: usize },
    /// It starts.
    Start,
}

pub struct World {
    graph: Graph,
    mesh: Mesh,
    messages: Messages,
    members: Vec<Member>,
    places: HashMap<PeerId, usize>,
    queue: BinaryHeap<Reverse<(Duration, u64, usize, Event)>>,
    serial: u64,
    rng: Xoshiro256PlusPlus,
    ttl: Duration,
    loss: f64,
    receive_loss: f64,
    /// The mean pause between crashes.
    crash_pause: Option<Duration>,
    seed: u64,
    up: usize,
    counted_until: Duration,
    outcome: Outcome,
}

impl World {
    pub fn new(args: &Args, detector: Detector) -> Self {
        let mut rng = rng::stream(args.seed, 0, 0);
        let graph = Graph::new(args.nodes, args.degree, &mut rng);
        let members: Vec<Member> =
            (0..args.nodes).map(|nth| Member::new(nth, args.ttl, detector, &mut rng)).collect();
        let places = members.iter().enumerate().map(|(nth, member)| (member.id, nth)).collect();
        let pause = args.uptime.div_f64(args.nodes as f64);
        let mut world = Self {
            graph,
            mesh: Mesh::new(args.nodes),
            messages: Messages::default(),
            members,
            places,
            queue: BinaryHeap::new(),
            serial: 0,
            rng,
            ttl: args.ttl,
            loss: args.loss,
            receive_loss: args.receive_loss,
            crash_pause: Some(pause).filter(|pause| !pause.is_zero()),
            seed: args.seed,
            up: 0,
            counted_until: Duration::ZERO,
            outcome: Outcome::default(),
        };
        for node in 0..args.nodes {
            let at = Duration::from_secs_f64(world.rng.random_range(0.0..1.0));
            world.push(at, node, Event::Start);
        }
        world
    }

    /// Lets that much time pass.
    pub fn run(mut self, end: Duration) -> Outcome {
        let mut next_crash = self.crash_after(Duration::ZERO);
        while let Some(Reverse((now, _, node, event))) = self.queue.pop() {
            while next_crash.is_some_and(|at| at <= now.min(end)) {
                let at = next_crash.unwrap_or(now);
                self.crash(at);
                next_crash = self.crash_after(at);
            }
            if now > end {
                break;
            }
            self.on(now, node, event);
        }
        self.count_time(end);
        self.outcome
    }

    fn on(&mut self, now: Duration, node: usize, event: Event) {
        let current = self.members[node].run;
        match event {
            Event::Copy { from, id, way } => self.arrive(now, node, from, id, way),
            Event::Start => self.start(now, node),
            Event::Beat { run } if run == current => {
                let seq = self.members[node].next_beat(now);
                let id = self.messages.send(node, seq, self.members.len(), now);
                self.outcome.heartbeats += 1;
                self.forward(now, node, node, id);
                let pause = Pace.pause(self.ttl, &mut self.rng);
                self.push(now + pause, node, event);
            }
            Event::Expire { run } if run == current => {
                self.members[node].wakes = None;
                self.expire(now, node);
                self.wake(node);
            }
            Event::Tick { run } if run == current => {
                self.mesh.maintain(node, now, &mut self.rng);
                self.gossip(now, node);
                self.push(now + TICK, node, event);
            }
            Event::Exchange { run } if run == current => {
                let peer = self.mesh.connected(node).choose(&mut self.rng).copied();
                if let Some(peer) = peer {
                    self.exchange(now, node, peer);
                }
                let pause = SYNC_PAUSE.mul_f64(self.rng.random_range(0.5..1.5));
                self.push(now + pause, node, event);
            }
            // It may be back, with a connection of its own.
            Event::Notice { run, gone } if run == current && !self.members[gone].up => {
                self.mesh.disconnect(node, gone);
            }
            _ => (),
        }
    }

    fn start(&mut self, now: Duration, node: usize) {
        self.count_time(now);
        self.up += 1;
        let seed = self.rng.random();
        self.members[node].start(now, seed);
        self.messages.forget(node);
        let peers: Vec<usize> = self.graph.links(node).iter().map(|link| link.to).collect();
        let peers: Vec<usize> = peers.into_iter().filter(|peer| self.members[*peer].up).collect();
        for peer in &peers {
            self.mesh.disconnect(*peer, node);
            self.mesh.connect(node, *peer);
        }
        self.mesh.maintain(node, now, &mut self.rng);
        let run = self.members[node].run;
        let tick = TICK.mul_f64(self.rng.random_range(0.0..1.0));
        let pause = SYNC_PAUSE.mul_f64(self.rng.random_range(0.5..1.5));
        self.push(now, node, Event::Beat { run });
        self.push(now + tick, node, Event::Tick { run });
        self.push(now + pause, node, Event::Exchange { run });
        // On a new connection there is an exchange at once.
        for peer in peers {
            self.exchange(now, node, peer);
        }
    }

    /// A random node crashes, unless it would leave another one with two
    /// crashed peers: what becomes of those that are cut off is not the
    /// detector's doing.
    fn crash(&mut self, now: Duration) {
        let node = self.rng.random_range(0..self.members.len());
        let links = self.graph.links(node);
        let up = |node: usize| self.members[node].up;
        let alone = links.iter().all(|link| {
            let others = self.graph.links(link.to).iter().filter(|other| other.to != node);
            up(link.to) && others.copied().all(|other| up(other.to))
        });
        if !up(node) || !alone {
            return;
        }
        let peers: Vec<usize> = links.iter().map(|link| link.to).collect();
        self.count_time(now);
        self.up -= 1;
        self.outcome.crashes += 1;
        self.members[node].crash(now);
        self.mesh.forget(node);
        for peer in peers {
            let after = Duration::from_secs_f64(self.rng.random_range(0.0..NOTICED));
            let run = self.members[peer].run;
            self.push(now + after, peer, Event::Notice { run, gone: node });
        }
        let away = Duration::from_secs_f64(self.rng.random_range(AWAY));
        self.push(now + away, node, Event::Start);
    }

    fn crash_after(&mut self, now: Duration) -> Option<Duration> {
        // Exponential pauses: crashes know nothing of each other.
        let uniform: f64 = self.rng.random_range(f64::EPSILON..1.0);
        self.crash_pause.map(|mean| now + mean.mul_f64(-uniform.ln()))
    }

    /// A copy of a heartbeat arrives.
    fn arrive(&mut self, now: Duration, node: usize, from: usize, id: Id, way: Way) {
        let Some((source, seq)) =
            self.messages.get(id).map(|message| (message.source, message.seq))
        else {
            return;
        };
        if !self.members[node].up || !self.messages.see(id, node, now) {
            return;
        }
        if self.take(now, node, (source, seq), from, Via::Gossip) {
            match way {
                Way::Mesh => self.outcome.by.mesh += 1,
                Way::Gossip => self.outcome.by.gossip += 1,
            }
            self.forward(now, node, from, id);
        }
    }

    /// Puts a heartbeat in a table. True if it was taken.
    fn take(
        &mut self,
        now: Duration,
        node: usize,
        (of, seq): (usize, u64),
        from: usize,
        via: Via,
    ) -> bool {
        if node == of || self.is_lost_at(node, of, seq) {
            return false;
        }
        let from = self.members[from].id;
        let [member, source] =
            self.members.get_disjoint_mut([node, of]).expect("two different nodes");
        let taken = member.take(now, source, seq, from, via).is_accepted();
        self.wake(node);
        taken
    }

    /// Whether a receiver loses a heartbeat whatever its copies.
    fn is_lost_at(&self, node: usize, of: usize, seq: u64) -> bool {
        if self.receive_loss == 0.0 {
            return false;
        }
        let place = (node * self.members.len() + of) as u64;
        rng::stream(self.seed, seq, place).random_bool(self.receive_loss)
    }

    /// Passes a heartbeat on to the mesh, but not to where it came from.
    fn forward(&mut self, now: Duration, node: usize, from: usize, id: Id) {
        for nth in 0..self.mesh.of(node).len() {
            let peer = self.mesh.of(node)[nth];
            if peer != from {
                self.send(now, node, peer, id, Way::Mesh);
            }
        }
    }

    /// Sends a copy, which may get lost.
    fn send(&mut self, now: Duration, from: usize, to: usize, id: Id, way: Way) {
        if self.messages.has_seen(id, to) || self.is_lost() {
            return;
        }
        let at = now + self.graph.delay(from, to, &mut self.rng);
        if self.messages.expect(id, to, at) {
            self.push(at, to, Event::Copy { from, id, way });
        }
    }

    fn is_lost(&mut self) -> bool {
        self.loss > 0.0 && self.rng.random_bool(self.loss)
    }

    /// Tells some peers outside the mesh what there is; they ask for what they
    /// lack. Each of the three messages may get lost.
    fn gossip(&mut self, now: Duration, node: usize) {
        let ids: Vec<Id> = self.messages.told_of(node, now.saturating_sub(TOLD)).collect();
        if ids.is_empty() {
            return;
        }
        for peer in self.mesh.gossip_to(node, &mut self.rng) {
            if !self.members[peer].up || self.is_lost() || self.is_lost() {
                continue;
            }
            let asked = now
                + self.graph.delay(node, peer, &mut self.rng)
                + self.graph.delay(peer, node, &mut self.rng);
            for id in &ids {
                self.send(asked, node, peer, *id, Way::Gossip);
            }
        }
    }

    /// Anti-entropy between two nodes. The digest, the answer and each
    /// heartbeat that is handed over may get lost.
    fn exchange(&mut self, now: Duration, opens: usize, accepts: usize) {
        if !self.members[accepts].up || self.is_lost() || self.is_lost() {
            return;
        }
        let at = self.rng.random();
        let handed = self.members[opens].exchange(&self.members[accepts], now, at);
        let ways = [(opens, accepts), (accepts, opens)];
        for ((from, to), handed) in ways.into_iter().zip(handed) {
            for one in handed {
                let of = self.places[&one.peer];
                let via = Via::Exchange(one.age);
                let taken = !self.is_lost() && self.take(now, to, (of, one.seq), from, via);
                self.outcome.by.exchange += u64::from(taken);
            }
        }
    }

    fn expire(&mut self, now: Duration, node: usize) {
        for peer in self.members[node].expire(now) {
            let gone = &self.members[self.places[&peer]];
            if gone.up {
                self.outcome.false_drops += 1;
            } else {
                self.outcome.detections.push(now - gone.since);
            }
        }
    }

    /// Wakes a node when its next record expires.
    fn wake(&mut self, node: usize) {
        let member = &mut self.members[node];
        let Some(at) = member.table.next_deadline() else { return };
        if member.wakes.is_none_or(|wakes| at < wakes) {
            member.wakes = Some(at);
            let run = member.run;
            self.push(at, node, Event::Expire { run });
        }
    }

    fn push(&mut self, at: Duration, node: usize, event: Event) {
        self.serial += 1;
        self.queue.push(Reverse((at, self.serial, node, event)));
    }

    /// Counts for how long so many nodes have observed each other.
    fn count_time(&mut self, now: Duration) {
        let pairs = self.up * self.up.saturating_sub(1);
        let passed = now.saturating_sub(self.counted_until);
        self.outcome.peer_time += passed * u32::try_from(pairs).unwrap_or(u32::MAX);
        self.counted_until = now;
    }
}
