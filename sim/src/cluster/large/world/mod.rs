//! All nodes, and what happens to them.
//!
//! - `suspects`: what they notice of their neighbours, and do about it
//! - `runs`: nodes that start and end, and connections that do

mod runs;
mod suspects;

use super::{
    Args, Scenario,
    links::links,
    node::Node,
    spread::{Copies, Net, Spread},
    tally::Tally,
    views::Views,
};
use crate::{cluster::mesh::Mesh, rng};
use casm::cluster::{Detector, Held, Noticed, Pace, SYNC_PAUSE, Stretch, Via};
use rand::{
    Rng, RngExt,
    rngs::Xoshiro256PlusPlus,
    seq::{IndexedRandom, index},
};
use std::{cmp::Reverse, collections::BinaryHeap, rc::Rc, time::Duration};

/// When everything begins; who is there then has been so for long.
pub const BEGIN: Duration = Duration::from_secs(3600);
pub const SECOND: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(10);
const BUDGET: Option<u32> = Some(150);
/// What of messages comes within this time of each other comes at once.
const STEP_MS: u32 = 10;
/// A neighbour pings so often, doubts an answer after half of that, and gives up …
const PING: Duration = Duration::from_secs(2);
/// … and closes the connection after this.
const CLOSES: Duration = Duration::from_secs(12);
/// A dial of who is suspected fails after this.
const DIAL: Duration = Duration::from_secs(1);
/// Who said something so lately doesn't say it again because an exchange lacked it.
const UNDER_WAY: Duration = Duration::from_secs(2);

/// What happens; where a run is named, only to that run of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Its own heartbeat is due, if it is still due then.
    Beat(usize),
    /// Some of those whom a message reaches get it.
    Wave(usize),
    /// The time of a heartbeat is over.
    Expire(usize, u16),
    /// A node notices something of a neighbour.
    Late(usize, usize),
    Silent(usize, usize),
    Broken(usize, usize),
    Answers(usize, usize),
    Dialled(usize, usize),
    /// A neighbour has answered a ping that was sent at this time.
    Answered(usize, Duration),
    /// It has something to do about suspicions.
    Wake(usize),
    /// It compares what it has with a random neighbour.
    Exchange(usize, u32),
    /// A connection is closed by who finds it dead; or is there again.
    Close(usize, usize),
    Connect(usize, usize),
    /// A ping or its answer was lost so often that it counts as not answered.
    Lost,
    /// A liar accuses others.
    Lie(usize),
    /// A node that flaps stops, and starts.
    Stop(usize),
    Start(usize),
    /// Once a second.
    Tick,
    /// The scenario goes on.
    Next(u32),
}

enum What {
    Beat(u16),
    Suspects { seq: u64, data: Rc<[u8]>, accused: Rc<[usize]> },
}

struct Message {
    source: usize,
    sent: Duration,
    what: What,
    got: Vec<(u32, u32)>,
    next: usize,
}

pub struct World<'a> {
    pub args: &'a Args,
    pub rng: Xoshiro256PlusPlus,
    pub now: Duration,
    pub nodes: Vec<Node>,
    pub views: Views,
    pub up: Vec<bool>,
    pub part: Vec<u8>,
    pub tally: Tally,
    /// Identities that are in all views and do nothing else.
    pub strangers: usize,
    mesh: Mesh,
    links: Vec<Vec<usize>>,
    spread: Spread,
    messages: Vec<Option<Message>>,
    free: Vec<usize>,
    queue: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    serial: u64,
    /// Since when nodes are in two parts.
    parted: Duration,
    /// How many nodes have been there for long.
    old: usize,
    end: Duration,
}

impl<'a> World<'a> {
    pub fn new(args: &'a Args, end: Duration) -> Self {
        let mut rng = rng::stream(args.seed, 1, 0);
        let n = args.nodes;
        let links = links(n, args.degree.max(2), &mut rng);
        let views = Views::new(n, n <= args.tables, args.probation());
        let mut nodes: Vec<_> = (0..n).map(|place| Node::new(views.id(place))).collect();
        for node in index::sample(&mut rng, n, args.observers.min(n)) {
            nodes[node].observes = true;
        }
        let mut world = Self {
            args,
            rng,
            now: Duration::ZERO,
            nodes,
            views,
            up: vec![false; n],
            part: vec![0; n],
            tally: Tally::default(),
            strangers: 0,
            mesh: Mesh::new(n),
            links,
            spread: Spread::new(n),
            messages: Vec::new(),
            free: Vec::new(),
            queue: BinaryHeap::new(),
            serial: 0,
            parted: BEGIN,
            old: 0,
            end,
        };
        if args.scenario() == Scenario::Flash {
            world.set_time(BEGIN);
            for node in 0..n {
                let at = BEGIN + Duration::from_secs_f64(10.0 * world.rng.random::<f64>());
                world.push(at, Event::Start(node));
            }
        } else {
            world.settle();
        }
        world.push(BEGIN + SECOND, Event::Tick);
        world.push(BEGIN + world.args.first(), Event::Next(0));
        let pause = world.lost_after();
        world.push(BEGIN + pause, Event::Lost);
        world
    }

    /// All have been there for long, and know each other.
    fn settle(&mut self) {
        let n = self.args.nodes;
        let held = Held { records: n, established: n };
        let mut stretch = Stretch::new(TTL, BUDGET);
        stretch.see(held, BEGIN);
        let ttl = stretch.announce(BEGIN);
        (self.up, self.old) = (vec![true; n], n);
        // A heartbeat after each three tenths of the TTL, and the last one at random.
        let pause = ttl.mul_f64(0.3);
        let times = (self.views.probation.max(ttl).div_duration_f64(pause)).ceil() as u32 + 2;
        for nth in (0..times).rev() {
            self.set_time(BEGIN.saturating_sub(pause * nth).saturating_sub(pause));
            let begin = self.now;
            for node in 0..n {
                let late = pause.mul_f64(node as f64 / n as f64);
                self.set_time(begin + late);
                let k = self.views.speak(node, ttl);
                for other in (0..n).filter(|other| *other != node) {
                    self.views.take(other, node, k, Via::Gossip);
                }
                if nth == 0 {
                    let beat = self.views.beat(node, k);
                    let until = beat.sent + Detector::default().patience(ttl);
                    self.push(until, Event::Expire(node, k));
                }
            }
        }
        self.set_time(BEGIN);
        for node in 0..n {
            self.nodes[node].stretch = stretch.clone();
            let beat = self.views.beat(node, self.views.last(node));
            let Node { suspicion, relied, .. } = &mut self.nodes[node];
            suspicion.spoke(beat.sent, beat.seq());
            relied.announced(ttl, beat.sent);
            let mut due = beat.sent + Pace.pause(ttl, &mut self.rng);
            if due < BEGIN {
                due = BEGIN + pause.mul_f64(0.1 * self.rng.random::<f64>());
            }
            self.beat_at(node, due);
            self.exchange_later(node);
            for nth in 0..self.links[node].len() {
                let peer = self.links[node][nth];
                if peer > node {
                    self.mesh.connect(node, peer);
                }
                self.note(node, peer, Noticed::Here);
            }
        }
        for second in 1..30 {
            for node in 0..n {
                self.mesh.maintain(node, SECOND * second, &mut self.rng);
            }
        }
    }

    pub fn run(mut self) -> Self {
        while let Some(Reverse((at, _, event))) = self.queue.pop() {
            if at > self.end {
                break;
            }
            self.set_time(at);
            self.on(event);
        }
        self.set_time(self.end);
        self
    }

    fn set_time(&mut self, now: Duration) {
        (self.now, self.views.now) = (now, now);
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Beat(node) if self.up[node] && self.nodes[node].next_beat == self.now => {
                self.beat(node);
            }
            Event::Wave(message) => self.wave(message),
            Event::Expire(source, k) => {
                for node in self.views.expire(source, k, &self.up) {
                    self.removed(node, source, false);
                }
            }
            Event::Late(node, peer) if !self.answers(node, peer) => {
                self.note(node, peer, Noticed::Late);
            }
            Event::Silent(node, peer) if !self.answers(node, peer) => {
                self.note(node, peer, Noticed::Silent);
            }
            Event::Broken(node, peer) if !self.reaches(node, peer) => {
                self.mesh.disconnect(node, peer);
                self.note(node, peer, Noticed::Broken);
            }
            Event::Answers(node, peer) if self.answers(node, peer) => {
                self.note(node, peer, Noticed::Answers);
            }
            Event::Dialled(node, peer) => {
                let lost = self.rng.random_bool(self.dial_lost());
                let reached = self.answers(node, peer) && !lost;
                self.note(node, peer, Noticed::Dialled(reached));
            }
            Event::Answered(node, sent) if self.up[node] => {
                self.nodes[node].suspicion.answered(sent);
                self.act(node);
            }
            Event::Wake(node) if self.nodes[node].wakes == Some(self.now) => {
                self.nodes[node].wakes = None;
                self.act(node);
            }
            Event::Exchange(node, run) if self.up[node] && self.nodes[node].run == run => {
                if let Some(peer) = self.mesh.connected(node).choose(&mut self.rng).copied() {
                    self.exchange(node, peer);
                }
                self.exchange_later(node);
            }
            Event::Close(node, peer) if !self.reaches(node, peer) => {
                self.mesh.disconnect(node, peer);
            }
            Event::Connect(a, b) if self.reaches(a, b) => self.connect(a, b),
            Event::Lost => self.lose_ping(),
            Event::Lie(node) if self.up[node] => self.lie(node),
            Event::Stop(node) if self.up[node] => self.crash(node, false),
            Event::Start(node) if !self.up[node] => self.start(node),
            Event::Tick => self.tick(),
            Event::Next(step) => super::scenario::next(self, step),
            _ => {}
        }
    }

    fn tick(&mut self) {
        let n = self.args.nodes;
        let long = self.views.probation.max(TTL);
        self.old = (0..n)
            .filter(|node| {
                self.up[*node] && self.now.saturating_sub(self.views.started(*node)) >= long
            })
            .count();
        let mut observed = 0;
        for node in 0..n {
            if !self.up[node] {
                continue;
            }
            observed += usize::from(self.nodes[node].observes);
            self.mesh.maintain(node, self.now, &mut self.rng);
            let held = self.held(node);
            self.nodes[node].stretch.see(held, self.now);
            for source in self.views.expired(node) {
                self.removed(node, source, false);
            }
        }
        let up = self.up.iter().filter(|up| **up).count();
        self.tally.peer_seconds += (observed * up.saturating_sub(1)) as u64;
        self.tally.node_seconds += up as u64;
        let full = |node: &usize| self.up[*node] && self.views.count(*node) < n;
        let partial = up < n || (0..n).any(|node| full(&node));
        self.tally.full(self.now, partial);
        self.push(self.now + SECOND, Event::Tick);
    }

    pub fn held(&self, node: usize) -> Held {
        let records = self.views.count(node) + self.strangers;
        Held { records, established: self.views.established(node, self.old) }
    }

    fn beat(&mut self, node: usize) {
        let (now, held) = (self.now, self.held(node));
        let state = &mut self.nodes[node];
        state.stretch.see(held, now);
        let ttl = state.stretch.announce(now);
        self.tally.ttl = self.tally.ttl.max(ttl);
        let pace = state.relied.announced(ttl, now);
        let mut due = now + Pace.pause(pace, &mut self.rng);
        if state.again > 0 {
            state.again -= 1;
            due = due.min(now + SECOND);
        }
        let k = self.views.speak(node, ttl);
        self.nodes[node].suspicion.spoke(now, self.views.beat(node, k).seq());
        self.beat_at(node, due);
        self.push(now + Detector::default().patience(ttl) + SECOND, Event::Expire(node, k));
        self.tally.heartbeats += 1;
        let len = self.views.said_len(node);
        self.publish(node, What::Beat(k), len);
    }

    pub fn beat_at(&mut self, node: usize, due: Duration) {
        self.nodes[node].next_beat = due;
        self.push(due, Event::Beat(node));
    }

    fn publish(&mut self, source: usize, what: What, len: usize) {
        let net = Net {
            mesh: &self.mesh,
            up: &self.up,
            part: &self.part,
            loss: self.args.loss,
            receive_loss: self.args.receive_loss,
        };
        let mut copies = Copies::default();
        let got = self.spread.of(source, &net, &mut copies, &mut self.rng);
        self.tally.sent(copies, len);
        if let What::Beat(_) = what {
            // Few lack it, or all that are in another part.
            let missed = self.up.iter().filter(|up| **up).count() - 1 - got.len();
            if missed > 0 {
                let mut lacks = self.up.clone();
                lacks[source] = false;
                got.iter().for_each(|(_, node)| lacks[*node as usize] = false);
                let lacks = lacks.iter().enumerate().filter(|(_, lacks)| **lacks);
                lacks.for_each(|(node, _)| self.views.lacks(node, source));
            }
        }
        let Some((first, _)) = got.first().copied() else { return };
        let message = Message { source, sent: self.now, what, got, next: 0 };
        let place = self.free.pop().unwrap_or_else(|| {
            self.messages.push(None);
            self.messages.len() - 1
        });
        self.messages[place] = Some(message);
        self.push(self.now + step(first), Event::Wave(place));
    }

    /// A part of those whom a message reaches get it now.
    fn wave(&mut self, place: usize) {
        let Some(mut message) = self.messages[place].take() else { return };
        while let Some((at, node)) = message.got.get(message.next).copied() {
            let at = message.sent + step(at);
            if at > self.now {
                self.messages[place] = Some(message);
                self.push(at, Event::Wave(place));
                return;
            }
            message.next += 1;
            if self.up[node as usize] {
                self.receive(node as usize, &message);
            }
        }
        self.free.push(place);
    }

    fn receive(&mut self, node: usize, message: &Message) {
        self.tally.verified += 1;
        let source = message.source;
        match &message.what {
            What::Beat(k) => self.take(node, source, *k, Via::Gossip),
            What::Suspects { seq, data, accused } => {
                if !self.nodes[node].observes && !accused.contains(&node) {
                    return;
                }
                let (id, now) = (self.views.id(source), self.now);
                let suspicion = &mut self.nodes[node].suspicion;
                let heard = suspicion.hear(now, (id, *seq), data, &self.views.of(node));
                if let Some(due) = heard.answer {
                    self.nodes[node].again = self.args.options.answers.saturating_sub(1);
                    if due < self.nodes[node].next_beat {
                        self.beat_at(node, due.max(now));
                    }
                }
                self.act(node);
            }
        }
    }

    fn take(&mut self, node: usize, source: usize, k: u16, via: Via) {
        if !self.views.take(node, source, k, via) {
            return;
        }
        let age = match via {
            Via::Gossip => Duration::ZERO,
            Via::Exchange(age) => age,
        };
        let (id, seq) = (self.views.id(source), self.views.beat(source, k).seq());
        let suspicion = &mut self.nodes[node].suspicion;
        suspicion.heartbeat(self.now, age, (id, seq), &self.views.of(node));
        if !suspicion.is_empty() {
            self.act(node);
        }
    }

    fn exchange_later(&mut self, node: usize) {
        let pause = SYNC_PAUSE.mul_f64(self.rng.random_range(0.5..1.5));
        let run = self.nodes[node].run;
        self.push(self.now + pause, Event::Exchange(node, run));
    }

    fn exchange(&mut self, a: usize, b: usize) {
        let lost = self.args.receive_loss;
        if !self.reaches(a, b) || (lost > 0.0 && self.rng.random_bool(lost)) {
            return;
        }
        for (node, of) in [(a, b), (b, a)] {
            let spoke = self.views.last(of);
            let lacks = spoke > 0 && self.views.in_view(node, of) != Some(spoke);
            if lacks && self.views.beat(of, spoke).sent + UNDER_WAY < self.now {
                self.beat_at(of, self.now);
            }
        }
        for source in self.views.differ(a, b) {
            for (from, to) in [(a, b), (b, a)] {
                let Some(k) = self.views.in_view(from, source).filter(|_| source != to) else {
                    continue;
                };
                let beat = self.views.beat(source, k);
                let age = self.now.saturating_sub(beat.sent);
                if age < Detector::default().patience(beat.ttl) {
                    self.take(to, source, k, Via::Exchange(age));
                }
            }
        }
    }

    pub fn reaches(&self, a: usize, b: usize) -> bool {
        self.up[a] && self.up[b] && self.part[a] == self.part[b]
    }

    pub fn next_at(&mut self, at: Duration, step: u32) {
        self.push(at, Event::Next(step));
    }

    fn push(&mut self, at: Duration, event: Event) {
        self.serial += 1;
        self.queue.push(Reverse((at, self.serial, event)));
    }

    /// A random number, of those who choose.
    pub fn sample(&mut self, most: usize) -> Vec<usize> {
        let n = self.args.nodes;
        index::sample(&mut self.rng, n, most.min(n)).into_vec()
    }

    pub fn random(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn step(ms: u32) -> Duration {
    Duration::from_millis(u64::from(ms.div_ceil(STEP_MS) * STEP_MS))
}
