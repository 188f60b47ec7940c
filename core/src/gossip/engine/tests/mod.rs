//! Engines that talk to each other in virtual time.

mod abuse;
mod delivery;
mod flood;
mod frames;
mod mesh;
mod model;
mod random;
mod room;
mod rotate;

use super::{Config, Counts, Engine, Output};
use crate::{
    gossip::{
        id::MessageId,
        wire::{Rpc, Subscription},
    },
    pubsub::{Verdict, signed::SignedMessage},
};
use libp2p::{PeerId, multihash::Multihash};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap},
    time::Duration,
};

const TOPIC: &str = "casm";
const GOOD: &[u8] = b"good";

/// A peer's id, made of a number: as long as an Ed25519 key's.
fn peer(number: u64) -> PeerId {
    let mut key = [0; 36];
    key[..4].copy_from_slice(&[8, 1, 18, 32]);
    key[4..12].copy_from_slice(&number.to_be_bytes());
    PeerId::from_multihash(Multihash::wrap(0, &key).unwrap()).unwrap()
}

/// A message of a peer, whose signature is good if it says so.
fn message(source: PeerId, number: u64, data: &[u8], signature: &[u8]) -> SignedMessage {
    let number = number.to_be_bytes();
    SignedMessage::new(&source.to_bytes(), data, &number, TOPIC, signature, None).unwrap()
}

fn good(source: PeerId, number: u64) -> SignedMessage {
    message(source, number, b"data", GOOD)
}

/// What a peer says that has joined the topic.
fn subscribe() -> Subscription {
    subscribe_to(TOPIC)
}

fn subscribe_to(topic: impl Into<String>) -> Subscription {
    Subscription { subscribe: true, topic: topic.into() }
}

/// The messages in a frame that is made by hand.
fn rpc() -> Rpc {
    Rpc::default()
}

fn secs(secs: f64) -> Duration {
    Duration::from_secs_f64(secs)
}

impl Engine {
    /// How many connected peers have joined a topic that this node has joined.
    fn subscribers(&self, topic: &str) -> usize {
        let joined = self.topics.get(topic).filter(|topic| topic.joined);
        joined.map_or(0, |topic| topic.subscribed.len())
    }

    /// The peers with whom messages of a topic are exchanged whole.
    fn links(&self, topic: &str) -> usize {
        self.topics.get(topic).map_or(0, |topic| topic.mesh.len())
    }
}

/// Nodes with an engine each, and what is under way between them.
struct Net {
    now: Duration,
    engines: BTreeMap<PeerId, Engine>,
    /// (when, order, what)
    under_way: BinaryHeap<Reverse<(Duration, u64)>>,
    what: HashMap<u64, Event>,
    next: u64,
    latency: Duration,
    /// How long a byte takes.
    byte: Duration,
    /// Links over which no message comes, but offers, and what is asked for.
    blocked: BTreeSet<(PeerId, PeerId)>,
    /// What each node got, in order.
    delivered: BTreeMap<PeerId, Vec<MessageId>>,
    copies: u64,
    frames: u64,
    closed: Vec<(PeerId, PeerId, &'static str, bool)>,
    subscribed: Vec<(PeerId, PeerId)>,
    /// Who is told to be on the topic, or not any more.
    told: Vec<(PeerId, PeerId, bool)>,
    /// How often a node was told that there may be room.
    room: u64,
    /// Who was asked for what.
    asked: Vec<(PeerId, MessageId)>,
    config: Config,
}

enum Event {
    Frame { from: PeerId, to: PeerId, rpc: Box<Rpc> },
    Sent { from: PeerId, to: PeerId },
    Verified { at: PeerId, check: super::CheckId, good: bool },
}

impl Net {
    fn new(nodes: u64) -> Self {
        let mut net = Self {
            now: Duration::ZERO,
            engines: BTreeMap::new(),
            under_way: BinaryHeap::new(),
            what: HashMap::new(),
            next: 0,
            latency: Duration::from_millis(5),
            byte: Duration::ZERO,
            blocked: BTreeSet::new(),
            delivered: BTreeMap::new(),
            copies: 0,
            frames: 0,
            closed: Vec::new(),
            subscribed: Vec::new(),
            told: Vec::new(),
            room: 0,
            asked: Vec::new(),
            config: Config::default(),
        };
        (0..nodes).for_each(|number| net.add(number));
        net
    }

    fn add(&mut self, number: u64) {
        let engine = Engine::new(self.now, self.config.clone(), Counts::default(), number);
        self.engines.insert(peer(number), engine);
        let now = self.now;
        self.engine(number).join(now, TOPIC);
    }

    fn engine(&mut self, number: u64) -> &mut Engine {
        self.engines.get_mut(&peer(number)).unwrap()
    }

    fn connect(&mut self, one: u64, other: u64) {
        let now = self.now;
        for (a, b, outbound) in [(one, other, true), (other, one, false)] {
            let engine = self.engine(a);
            engine.connected(now, peer(b), outbound);
            engine.negotiated(&peer(b), super::Version::V1_2);
            engine.is_ours(&peer(b));
        }
        self.settle();
    }

    /// Connects the first node to a peer without an engine, which has joined the
    /// topic.
    fn stranger(&mut self, number: u64, outbound: bool) {
        let now = self.now;
        self.engine(0).connected(now, peer(number), outbound);
        self.receive(0, peer(number), Rpc { subscriptions: vec![subscribe()], ..rpc() });
    }

    /// Such ones that come by themselves, and make links.
    fn grafted(&mut self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.stranger(number, false);
            self.receive(0, peer(number), Rpc { graft: vec![TOPIC.into()], ..rpc() });
        }
    }

    /// Connects each to so many others, by chance; and all of them in a ring.
    fn connect_all(&mut self, nodes: u64, each: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(nodes);
        for node in 0..nodes {
            for nth in 0..each {
                let next = (node + 1) % nodes;
                let other = if nth == 0 { next } else { rng.random_range(0..nodes) };
                let known = self.engine(node).keys.contains_key(&peer(other));
                if other != node && !known {
                    self.connect(node, other);
                }
            }
        }
    }

    fn publish(&mut self, node: u64, message: SignedMessage) {
        let now = self.now;
        self.engine(node).publish(now, message).unwrap();
        self.settle();
    }

    fn push(&mut self, at: Duration, event: Event) {
        self.under_way.push(Reverse((at, self.next)));
        self.what.insert(self.next, event);
        self.next += 1;
    }

    /// Does what all engines want done now.
    fn settle(&mut self) {
        let nodes: Vec<_> = self.engines.keys().copied().collect();
        for node in nodes {
            while let Some(output) = self.engines.get_mut(&node).unwrap().poll(self.now) {
                self.on_output(node, output);
            }
        }
    }

    fn on_output(&mut self, node: PeerId, output: Output) {
        match output {
            Output::Send { peer: to, frame } => {
                self.frames += 1;
                let (_, body) = unsigned_varint::decode::usize(&frame).unwrap();
                let mut rpc = Rpc::decode(body).unwrap();
                self.copies += rpc.messages.len() as u64;
                self.asked.extend(rpc.iwant.iter().map(|id| (to, id.clone())));
                if self.blocked.contains(&(node, to)) {
                    let engine = &self.engines[&to];
                    rpc.messages.retain(|message| engine.wants.is_asked(message.id()));
                }
                // Some links are longer than others.
                let far = self.engines.range(node.min(to)..node.max(to)).count() as u32;
                let at = self.now + self.latency * (1 + far % 7) + self.byte * frame.len() as u32;
                self.push(at, Event::Frame { from: node, to, rpc: Box::new(rpc) });
                self.push(self.now, Event::Sent { from: node, to });
            }
            Output::Verify { check, message } => {
                let good = message.encoded().ends_with(GOOD);
                self.push(self.now, Event::Verified { at: node, check, good });
            }
            Output::Deliver { message, .. } => {
                self.delivered.entry(node).or_default().push(message.id().clone());
                let engine = self.engines.get_mut(&node).unwrap();
                engine.verdict(self.now, message.id(), Verdict::Accept);
            }
            Output::Subscribed { peer, .. } => self.subscribed.push((node, peer)),
            Output::Peer { peer, here, .. } => self.told.push((node, peer, here)),
            Output::Room => self.room += 1,
            Output::Close { peer: other, reason, refuse } => {
                self.closed.push((node, other, reason, refuse));
                self.disconnect(node, other);
            }
        }
    }

    fn disconnect(&mut self, one: PeerId, other: PeerId) {
        for (a, b) in [(one, other), (other, one)] {
            if let Some(engine) = self.engines.get_mut(&a) {
                engine.disconnected(self.now, &b);
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Frame { from, to, rpc } => {
                if let Some(engine) = self.engines.get_mut(&to) {
                    engine.received(now, &from, *rpc);
                }
            }
            Event::Sent { from, to } => {
                if let Some(engine) = self.engines.get_mut(&from) {
                    engine.sent(now, &to);
                }
            }
            Event::Verified { at, check, good } => {
                if let Some(engine) = self.engines.get_mut(&at) {
                    engine.verified(now, check, good);
                }
            }
        }
    }

    fn run(&mut self, until: Duration) {
        loop {
            self.settle();
            let event = self.under_way.peek().map(|Reverse((at, _))| *at);
            let wake = self.engines.values().map(Engine::next_wake).min();
            let Some(next) = event.into_iter().chain(wake).min().filter(|next| *next <= until)
            else {
                break;
            };
            self.now = self.now.max(next);
            while let Some(&Reverse((at, order))) = self.under_way.peek()
                && at <= self.now
            {
                self.under_way.pop();
                let event = self.what.remove(&order).unwrap();
                self.on_event(event);
            }
        }
        self.now = until;
    }

    fn run_for(&mut self, time: Duration) {
        self.run(self.now + time);
    }

    /// A frame that was made by hand, from a peer without an engine.
    fn receive(&mut self, node: u64, from: PeerId, rpc: Rpc) {
        let now = self.now;
        self.engine(node).received(now, &from, rpc);
        self.settle();
        self.run(now);
    }

    /// Who has a message.
    fn have(&self, id: &MessageId) -> usize {
        self.delivered.values().filter(|ids| ids.contains(id)).count()
    }

    fn refused(&mut self, node: u64, reason: &'static str) -> u64 {
        self.engine(node).counts.refused.get_or_create(&[("reason", reason)]).get()
    }
}
