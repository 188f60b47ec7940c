//! All nodes, and what happens to them.

use super::{
    Args,
    frame::{self, Drops},
    message::{self, TOPIC},
    node::{Hostile, Link, Node, Up, jittered},
    queue::{Event, Queue},
    tally::{Report, Tally},
};
use crate::rng;
use casm::gossip::{
    Verdict,
    engine::{Config, Counts, Engine, Output, REFUSED, Version},
    wire::Rpc,
};
use rand::{
    Rng, RngExt,
    rngs::Xoshiro256PlusPlus,
    seq::{IndexedRandom, index},
};
use std::time::Duration;

/// Nodes start within the first of these times, and the first message comes
/// after the second.
const STARTED: Duration = Duration::from_secs(1);
const WARM: Duration = Duration::from_secs(15);
/// A node that publishes is up for so long at least.
const SETTLED: Duration = Duration::from_secs(5);
/// How often a node looks after its connections.
const CARE: Duration = Duration::from_secs(1);
/// What checking a signature takes, with what waits before it.
const CHECK: Duration = Duration::from_millis(1);
/// What writing a frame takes at least, and how many bytes a second there are.
const WRITE: Duration = Duration::from_micros(50);
const BYTES_PER_S: f64 = 12.5e6;
/// The longest time until a peer notices a crash: a ping and its timeout.
const NOTICED: Duration = Duration::from_secs(20);
/// For how long a node is away that crashed: 50 to 150 % …
const AWAY: Duration = Duration::from_secs(40);
const MINUTE: Duration = Duration::from_secs(60);

/// All of it.
pub struct World<'a> {
    args: &'a Args,
    rng: Xoshiro256PlusPlus,
    now: Duration,
    end: Duration,
    nodes: Vec<Node>,
    queue: Queue,
    tally: Tally,
    connections: u64,
}

impl<'a> World<'a> {
    pub fn new(args: &'a Args) -> Self {
        let mut rng = rng::stream(args.seed, 0, 0);
        let last = WARM + Duration::from_secs_f64((args.messages - 1) as f64 / args.rate);
        let hostile = (args.nodes as f64 * args.hostile).round() as usize;
        let mut nodes: Vec<_> = (0..args.nodes)
            .map(|place| Node {
                id: message::id(place),
                hostile: None,
                life: 0,
                up: None,
                times: vec![],
            })
            .collect();
        for (i, place) in index::sample(&mut rng, args.nodes, hostile).into_iter().enumerate() {
            let kind = if i % 2 == 0 { Hostile::Promises } else { Hostile::Silent };
            nodes[place].hostile = Some(kind);
        }
        let mut queue = Queue::default();
        for place in 0..args.nodes {
            queue.push(STARTED.mul_f64(rng.random()), Event::Start(place));
        }
        queue.push(WARM, Event::Publish);
        Self {
            args,
            rng,
            now: Duration::ZERO,
            end: last + args.rest,
            nodes,
            queue,
            tally: Tally::new(args.nodes, WARM),
            connections: 0,
        }
    }

    pub fn run(mut self) -> Report {
        while let Some((at, event)) = self.queue.pop() {
            if at > self.end {
                break;
            }
            self.now = at;
            self.on(event);
        }
        let end = self.end;
        for node in self.nodes.iter_mut().filter(|node| node.up.is_some()) {
            node.times.last_mut().expect("it has started").1 = end;
        }
        self.tally.report(self.args, &self.nodes, end, self.queue.added())
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Start(place) => self.start(place),
            Event::Crash(place) => self.crash(place),
            Event::Care(place, life) => self.care(place, life),
            Event::Wake(place, life) => {
                let now = self.now;
                if let Some(up) = self.up(place, life).filter(|up| up.due <= now) {
                    up.due = Duration::MAX;
                    self.work(place);
                }
            }
            Event::Dialled { from, life, to } => self.dialled(from, life, to),
            Event::Gone { at, connection, with } => self.gone(at, connection, with),
            Event::Sent { at, connection, to } => {
                let (now, peer) = (self.now, self.nodes[to].id);
                if let Some(up) = self.nodes[at].up.as_mut().filter(|up| up.has(to, connection)) {
                    up.engine.sent(now, &peer);
                    self.work(at);
                }
            }
            Event::Arrived { at, connection, from, frame } => {
                self.arrived(at, connection, from, &frame);
            }
            Event::Checked(place, life, check) => {
                let now = self.now;
                if let Some(up) = self.up(place, life) {
                    up.engine.verified(now, check, true);
                    self.work(place);
                }
            }
            Event::Publish => self.publish(),
        }
    }

    fn start(&mut self, place: usize) {
        let now = self.now;
        let node = &mut self.nodes[place];
        node.life += 1;
        let (life, seed) = (node.life, self.rng.next_u64());
        let mut engine = Engine::new(now, Config::default(), Counts::default(), seed);
        engine.join(now, TOPIC);
        let up = Up::new(engine, place, self.args.nodes, self.args.connections, &mut self.rng);
        let node = &mut self.nodes[place];
        node.up = Some(up);
        node.times.push((now, Duration::MAX));
        self.queue.push(now, Event::Care(place, life));
        if self.args.churn > 0.0 {
            // Exponential: who has been up for long is not due.
            let mean = MINUTE.as_secs_f64() / self.args.churn;
            let life = -mean * (1.0 - self.rng.random::<f64>()).ln();
            self.queue.push(now.max(WARM) + Duration::from_secs_f64(life), Event::Crash(place));
        }
        self.work(place);
    }

    fn crash(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        let Some(up) = node.up.take() else { return };
        node.times.last_mut().expect("it has started").1 = self.now;
        self.tally.crashes += 1;
        for (at, link) in up.links {
            let noticed = self.now + NOTICED.mul_f64(self.rng.random());
            self.queue.push(noticed, Event::Gone { at, connection: link.connection, with: place });
        }
        let back = self.now + jittered(&mut self.rng, AWAY);
        self.queue.push(back, Event::Start(place));
    }

    fn care(&mut self, place: usize, life: u32) {
        let now = self.now;
        // Not `up`, which would borrow the random source as well.
        let node = &mut self.nodes[place];
        let Some(up) = node.up.as_mut().filter(|_| node.life == life) else { return };
        let connected = up.links.keys().map(|place| message::id(*place)).collect();
        let work = up.keeper.work(&up.view, &connected, usize::MAX, now, &mut self.rng);
        for peer in work.dial {
            // A packet, and four of a handshake, to and fro.
            let there = now + delay(&mut self.rng) * 6;
            let to = message::place(&peer);
            self.queue.push(there, Event::Dialled { from: place, life, to });
        }
        for peer in work.close {
            self.close(place, message::place(&peer));
        }
        let next = now + CARE.mul_f64(self.rng.random_range(0.9..1.1));
        self.queue.push(next, Event::Care(place, life));
        self.work(place);
    }

    fn dialled(&mut self, from: usize, life: u32, to: usize) {
        let now = self.now;
        let (id, peer) = (self.nodes[from].id, self.nodes[to].id);
        if self.up(from, life).is_none() {
            return;
        }
        let (Some(a), Some(b)) = self.both(from, to) else { return self.failed(from, to) };
        // What one side still has from before a crash is replaced.
        if a.links.contains_key(&to) && b.links.contains_key(&from) {
            return a.keeper.reached(peer);
        }
        if a.refuses(to, now) || b.refuses(from, now) {
            return self.failed(from, to);
        }
        self.connections += 1;
        let (connection, delay) = (self.connections, delay(&mut self.rng));
        let link = Link { connection, delay, last: now };
        for (at, with, with_id, outbound) in [(from, to, peer, true), (to, from, id, false)] {
            let Some(up) = self.nodes[at].up.as_mut() else { continue };
            if up.links.insert(with, link).is_some() {
                up.engine.replaced(now, with_id, outbound);
            } else {
                up.engine.connected(now, with_id, outbound);
            }
            up.engine.negotiated(&with_id, Version::V1_2);
            if outbound {
                up.keeper.opened(with_id);
            }
            self.work(at);
        }
    }

    fn failed(&mut self, from: usize, to: usize) {
        let peer = self.nodes[to].id;
        if let Some(up) = &mut self.nodes[from].up {
            up.keeper.failed(peer, self.now, &mut self.rng);
        }
    }

    /// A node gives its connection with a peer up; the peer learns of it.
    fn close(&mut self, place: usize, peer: usize) {
        let Some(link) = self.nodes[place].up.as_ref().and_then(|up| up.links.get(&peer)) else {
            return;
        };
        let Link { connection, delay, last } = *link;
        // What was sent before arrives.
        let at = last.max(self.now + delay);
        self.queue.push(at, Event::Gone { at: peer, connection, with: place });
        self.gone(place, connection, peer);
    }

    fn gone(&mut self, at: usize, connection: u64, with: usize) {
        let (now, peer) = (self.now, self.nodes[with].id);
        let Some(up) = self.nodes[at].up.as_mut().filter(|up| up.has(with, connection)) else {
            return;
        };
        up.links.remove(&with);
        up.engine.disconnected(now, &peer);
        up.keeper.lost(peer, now, &mut self.rng);
        self.work(at);
    }

    fn arrived(&mut self, at: usize, connection: u64, from: usize, frame: &[u8]) {
        let (now, peer) = (self.now, self.nodes[from].id);
        let honest = self.nodes[at].hostile.is_none();
        let Some(up) = self.nodes[at].up.as_mut().filter(|up| up.has(from, connection)) else {
            return;
        };
        if honest {
            self.tally.arrived(frame::messages(frame));
        }
        let rpc = Rpc::decode(frame).expect("nodes send what can be read");
        up.engine.received(now, &peer, rpc);
        self.work(at);
    }

    fn publish(&mut self) {
        let now = self.now;
        let number = self.tally.next();
        let ready = |node: &Node| {
            let long = node.times.last().is_some_and(|times| now - times.0 >= SETTLED);
            node.hostile.is_none() && node.up.is_some() && long
        };
        let ready: Vec<_> = (0..self.nodes.len()).filter(|i| ready(&self.nodes[*i])).collect();
        let Some(&place) = ready.choose(&mut self.rng) else {
            return self.queue.push(now + SETTLED, Event::Publish);
        };
        self.tally.published(now, place);
        let message = message::message(self.nodes[place].id, number as u64, self.args.bytes);
        if let Some(up) = &mut self.nodes[place].up
            && up.engine.publish(now, message).is_err()
        {
            self.tally.unpublished += 1;
        }
        self.work(place);
        if number + 1 < self.args.messages {
            let next = WARM + Duration::from_secs_f64((number + 1) as f64 / self.args.rate);
            self.queue.push(next, Event::Publish);
        }
    }

    /// Does what the engine of a node wants done.
    fn work(&mut self, place: usize) {
        let now = self.now;
        loop {
            let node = &mut self.nodes[place];
            let (life, hostile, since) = (node.life, node.hostile, node.times.last().map(|t| t.0));
            let Some(up) = &mut node.up else { return };
            let Some(output) = up.engine.poll(now) else {
                let due = up.engine.next_wake().max(now);
                if due < up.due {
                    up.due = due;
                    self.queue.push(due, Event::Wake(place, life));
                }
                return;
            };
            match output {
                Output::Send { peer, frame } => self.send(place, message::place(&peer), &frame),
                Output::Verify { check, .. } => {
                    self.queue.push(now + CHECK, Event::Checked(place, life, check));
                }
                Output::Deliver { message, from } => {
                    up.engine.verdict(now, message.id(), Verdict::Accept);
                    if hostile.is_none() {
                        let number = message::number(message.id());
                        let since = since.unwrap_or_default();
                        let from = message::place(&from);
                        self.tally.delivered(now, number, place, from, since);
                    }
                }
                Output::Subscribed { .. } | Output::Peer { .. } | Output::Room => {}
                Output::Close { peer, refuse, .. } => {
                    let peer = message::place(&peer);
                    if refuse {
                        up.refused.insert(peer, now + REFUSED);
                    }
                    if hostile.is_none() {
                        match self.nodes[peer].hostile {
                            Some(_) => self.tally.closed_hostile += 1,
                            None => self.tally.closed_honest += 1,
                        }
                    }
                    self.close(place, peer);
                }
            }
        }
    }

    fn send(&mut self, place: usize, peer: usize, frame: &[u8]) {
        let (now, node) = (self.now, &mut self.nodes[place]);
        let Some(link) = node.up.as_mut().and_then(|up| up.links.get_mut(&peer)) else { return };
        let content = frame::content(frame);
        if node.hostile.is_none() {
            self.tally.sent(now, content);
        }
        let written = now + WRITE + Duration::from_secs_f64(frame.len() as f64 / BYTES_PER_S);
        let delay = link.delay.mul_f64(self.rng.random_range(1.0..1.5));
        link.last = link.last.max(written + delay);
        let (arrives, connection) = (link.last, link.connection);
        self.queue.push(written, Event::Sent { at: place, connection, to: peer });
        let drops = Drops {
            loss: self.args.loss,
            messages: node.hostile.is_some(),
            offers: node.hostile == Some(Hostile::Silent),
        };
        let frame = drops.apply(frame, &mut self.rng);
        if !frame.is_empty() {
            let event = Event::Arrived { at: peer, connection, from: place, frame };
            self.queue.push(arrives, event);
        }
    }

    /// A node, if it is in this life.
    fn up(&mut self, place: usize, life: u32) -> Option<&mut Up> {
        let node = &mut self.nodes[place];
        node.up.as_mut().filter(|_| node.life == life)
    }

    /// Two nodes that are not the same.
    fn both(&mut self, a: usize, b: usize) -> (Option<&mut Up>, Option<&mut Up>) {
        let [a, b] = self.nodes.get_disjoint_mut([a, b]).expect("nobody knows itself");
        (a.up.as_mut(), b.up.as_mut())
    }
}

/// What a packet takes.
fn delay(rng: &mut impl Rng) -> Duration {
    Duration::from_micros(rng.random_range(1_000..50_000))
}
