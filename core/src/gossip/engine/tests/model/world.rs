//! What happens to a node, by chance: peers that come and go, honest and hostile,
//! and whoever runs the engine, in time and late.

use super::{SECOND, body, checked::Checked, dice::Dice, millis};
use crate::gossip::{
    SignedMessage, Verdict,
    engine::{Config, Offence, Output, Version},
    id::MessageId,
    wire::{Prune, Rpc, Subscription},
};
use libp2p::{PeerId, multihash::Multihash};
use std::time::Duration;

const TOPICS: [&str; 3] = ["casm", "a", "b"];
/// Peers; the sources of messages are the first of them, and some who are nowhere.
const PEERS: u64 = 8;
/// Numbers of a source's messages that are in use at a time.
const NUMBERS: usize = 5;
/// What ends good messages.
const GOOD: &[u8] = b"good";

pub struct World<D> {
    node: Checked,
    dice: D,
    now: Duration,
    /// Peers to whom a frame is under way.
    writing: Vec<PeerId>,
    /// Messages that wait for a verdict.
    awaiting: Vec<MessageId>,
    /// Who is to be closed.
    closing: Vec<PeerId>,
    /// The number that is the oldest in use.
    number: u64,
    /// Floods that there were.
    floods: usize,
    /// What is done at once, and not when chance has it: writing, checking,
    /// judging and closing.
    prompt: [bool; 4],
    /// Whether to say what happens.
    tells: bool,
}

fn peer(number: u64) -> PeerId {
    let mut key = [0; 36];
    key[..4].copy_from_slice(&[8, 1, 18, 32]);
    key[4..12].copy_from_slice(&number.to_be_bytes());
    PeerId::from_multihash(Multihash::wrap(0, &key).expect("36 bytes")).expect("an id")
}

fn is_good(message: &SignedMessage) -> bool {
    message.encoded().ends_with(GOOD)
}

/// A message; of another variant if it is not 0, of which some are forged.
fn message(source: u64, number: u64, variant: usize) -> SignedMessage {
    let topic = TOPICS[(source + number) as usize % TOPICS.len()];
    let (data, signature) = match variant {
        0 => (vec![7; if number.is_multiple_of(4) { 1500 } else { 20 }], GOOD),
        // Its source has signed two.
        1 => (vec![8; 30], GOOD),
        2 => (vec![9; 1200], &b"evil"[..]),
        // The last two have the same bytes.
        _ => (vec![variant.min(4) as u8], &b"evil"[..]),
    };
    let (source, number) = (peer(source).to_bytes(), number.to_be_bytes());
    let message = SignedMessage::new(&source, &data, &number, topic, signature, None);
    let message = message.expect("a message");
    if variant != 5 {
        return message;
    }
    // With a field that is left out when it is read: nobody's fault.
    SignedMessage::decode(&[message.encoded(), &[9 << 3, 1]].concat()).expect("a message")
}

fn rpc() -> Rpc {
    Rpc::default()
}

impl<D: Dice> World<D> {
    /// A node that has joined a topic, and knows nobody.
    pub fn new(mut dice: D, seed: u64, tells: bool) -> Self {
        let now = Duration::ZERO;
        let prompt = [(); 4].map(|()| dice.below(3) > 0);
        let mut node = Checked::new(now, Config::default(), seed);
        node.join(now, TOPICS[0]);
        let (writing, awaiting, closing) = (Vec::new(), Vec::new(), Vec::new());
        let mut world = Self {
            node,
            dice,
            now,
            writing,
            awaiting,
            closing,
            number: 0,
            floods: 0,
            prompt,
            tells,
        };
        // Some are there from the start.
        for number in 0..world.dice.below(PEERS as usize + 1) as u64 {
            world.connect(number);
            world.subscribe(peer(number), TOPICS[0]);
        }
        world
    }

    /// So much of it, at most.
    pub fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            if self.dice.is_over() {
                break;
            }
            self.step();
        }
    }

    /// What was begun ends, once everybody does what they have to.
    pub fn end(&mut self) {
        self.prompt = [true; 4];
        self.catch_up();
        // A stranger may have to be sent many one after the other.
        (0..10).for_each(|_| self.wait(SECOND));
        self.node.assert_at_rest();
    }

    fn step(&mut self) {
        match self.dice.below(32) {
            0 | 1 => {
                let number = self.dice.below(PEERS as usize) as u64;
                self.connect(number);
            }
            2 => self.with_peer("goes", |world, id| world.disconnect(id)),
            3 => self.with_peer("has another connection", |world, id| {
                let outbound = world.dice.one_in(2);
                world.writing.retain(|of| *of != id);
                world.node.replaced(world.now, id, outbound);
            }),
            4 | 5 => self.with_peer("joins or leaves", |world, id| {
                let count = 1 + world.dice.below(3);
                let said = (0..count).map(|_| Subscription {
                    subscribe: world.dice.below(4) > 0,
                    topic: world.topic(),
                });
                let subscriptions = said.collect();
                world.receive(id, Rpc { subscriptions, ..rpc() });
            }),
            6 | 7 => self.with_peer("links", |world, id| {
                let graft = vec![world.topic()];
                world.receive(id, Rpc { graft, ..rpc() });
            }),
            8 => self.with_peer("ends a link", |world, id| {
                let backoff = [None, Some(0), Some(1), Some(5), Some(20), Some(1 << 20)];
                let backoff = world.dice.of(&backoff).flatten().map(Duration::from_secs);
                let prune = vec![Prune { topic: world.topic(), backoff }];
                world.receive(id, Rpc { prune, ..rpc() });
            }),
            9..=11 => self.with_peer("offers", |world, id| {
                let ids = world.ids();
                let topic = world.topic();
                world.receive(id, Rpc { ihave: vec![(topic, ids)], ..rpc() });
            }),
            12 | 13 => self.with_peer("asks", |world, id| {
                let iwant = world.ids();
                world.receive(id, Rpc { iwant, ..rpc() });
            }),
            14 => self.with_peer("does not want", |world, id| {
                let idontwant = world.ids();
                world.receive(id, Rpc { idontwant, ..rpc() });
            }),
            15..=19 => self.with_peer("sends", |world, id| {
                let count = 1 + world.dice.below(4);
                let messages = (0..count).map(|_| world.message()).collect();
                world.receive(id, Rpc { messages, ..rpc() });
            }),
            20 => self.node_does(),
            21 | 22 => self.publish(),
            23 => {
                let all = self.dice.one_in(3);
                self.check(all);
            }
            24 => {
                let all = self.dice.one_in(3);
                self.judge(all);
            }
            25 => {
                let count = if self.dice.one_in(2) { self.writing.len() } else { 1 };
                for id in self.writing.drain(..count.min(self.writing.len())) {
                    self.node.sent(self.now, id);
                }
            }
            26 => self.with_peer("says all at once", Self::all_at_once),
            27 => self.with_peer("sends a frame", |world, id| {
                let frame = world.dice.bytes(255);
                if let Ok(rpc) = Rpc::decode(&frame) {
                    world.receive(id, rpc);
                }
            }),
            28 => {
                for id in std::mem::take(&mut self.closing) {
                    self.disconnect(id);
                }
                self.number += self.dice.below(2) as u64;
            }
            _ => self.some_time(),
        }
        // What comes at once is taken in before anything is done.
        if !self.dice.one_in(4) {
            self.settle();
        }
    }

    fn some_time(&mut self) {
        let time = match self.dice.below(16) {
            0..=8 => millis(1 + self.dice.below(60) as u64),
            9..=13 => millis(100 * (1 + self.dice.below(15) as u64)),
            14 => millis(1000 * (1 + self.dice.below(8) as u64)),
            _ => millis(1000 * (5 + self.dice.below(60) as u64)),
        };
        self.wait(time);
    }

    /// What the node's own side does now and then.
    fn node_does(&mut self) {
        match self.dice.below(8) {
            0 | 1 => {
                let topic = self.topic();
                self.tell(|| format!("leaves {topic}"));
                self.node.leave(self.now, &topic);
            }
            2..=4 => {
                let topic = self.topic();
                self.tell(|| format!("joins {topic}"));
                self.node.join(self.now, &topic);
            }
            5 => self.with_peer("is one of ours", |world, id| world.node.is_ours(id)),
            6 => self.with_peer("offends", |world, id| {
                let offence = [Offence::Malformed, Offence::Substream][world.dice.below(2)];
                world.node.offended(world.now, id, offence);
            }),
            _ => self.with_peer("floods", Self::flood),
        }
    }

    /// More at a time than can be checked at a time.
    fn flood(&mut self, id: PeerId) {
        self.floods += 1;
        if self.floods > 2 {
            return;
        }
        let first = 1000 * self.floods as u64;
        let flood = (first..first + 300).map(|number| message(PEERS + 1, number, 0));
        self.receive(id, Rpc { messages: flood.collect(), ..rpc() });
    }

    fn all_at_once(&mut self, id: PeerId) {
        let (subscribe, topic) = (true, self.topic());
        let (ids, name) = (self.ids(), self.topic());
        let all = Rpc {
            subscriptions: vec![Subscription { subscribe, topic }],
            graft: vec![self.topic()],
            ihave: vec![(name, ids)],
            iwant: self.ids(),
            messages: vec![self.message(), self.message()],
            ..rpc()
        };
        self.receive(id, all);
    }

    fn publish(&mut self) {
        let source = self.dice.below(PEERS as usize + 2) as u64;
        let number = self.number + self.dice.below(NUMBERS) as u64;
        let message = message(source, number, 0);
        if self.dice.one_in(4) {
            return self.with_peer("is told", |world, id| {
                world.node.tell(world.now, id, &message);
            });
        }
        self.tell(|| format!("publishes {message:?}"));
        self.node.publish(self.now, &message);
    }

    fn connect(&mut self, number: u64) {
        let id = peer(number);
        if self.node.is_connected(&id) {
            return;
        }
        self.tell(|| format!("{id} comes"));
        let outbound = self.dice.one_in(3);
        self.node.connected(self.now, id, outbound);
        let version = [Version::V1_2, Version::V1_1][self.dice.below(2)];
        self.node.negotiated(id, version);
        if self.dice.one_in(2) {
            self.node.is_ours(id);
        }
    }

    fn disconnect(&mut self, id: PeerId) {
        self.closing.retain(|of| *of != id);
        self.writing.retain(|of| *of != id);
        self.node.disconnected(self.now, id);
    }

    fn subscribe(&mut self, id: PeerId, topic: &str) {
        let said = Subscription { subscribe: true, topic: topic.into() };
        self.receive(id, Rpc { subscriptions: vec![said], ..rpc() });
    }

    fn receive(&mut self, id: PeerId, rpc: Rpc) {
        self.tell(|| format!("{rpc:?}"));
        self.node.received(self.now, id, rpc);
    }

    /// Does something to a peer, if there is one.
    fn with_peer(&mut self, what: &str, does: impl FnOnce(&mut Self, PeerId)) {
        let first = self.dice.below(PEERS as usize);
        let all = (0..PEERS as usize).map(|nth| peer((first + nth) as u64 % PEERS));
        if let Some(id) = all.into_iter().find(|id| self.node.is_connected(id)) {
            self.tell(|| format!("{id} {what}"));
            does(self, id);
        }
    }

    fn topic(&mut self) -> String {
        TOPICS[[0, 0, 1, 2][self.dice.below(4)]].into()
    }

    /// Of those in use.
    fn message(&mut self) -> SignedMessage {
        let source = self.dice.below(PEERS as usize + 2) as u64;
        let number = self.number + self.dice.below(NUMBERS) as u64;
        // Most are good.
        message(source, number, self.dice.below(12).saturating_sub(6))
    }

    fn ids(&mut self) -> Vec<MessageId> {
        let count = 1 + self.dice.below(4);
        (0..count).map(|_| self.message().id().clone()).collect()
    }

    fn check(&mut self, all: bool) {
        while self.node.checks() > 0 {
            // In any order.
            let nth = if all { 0 } else { self.dice.below(self.node.checks().min(256)) };
            self.node.verified(self.now, nth, is_good);
            if !all {
                break;
            }
        }
    }

    fn judge(&mut self, all: bool) {
        while !self.awaiting.is_empty() {
            let nth = if all { 0 } else { self.dice.below(self.awaiting.len().min(256)) };
            let id = self.awaiting.remove(nth);
            let verdict = if self.dice.below(5) > 0 { Verdict::Accept } else { Verdict::Ignore };
            self.tell(|| format!("{verdict:?} {id:?}"));
            self.node.verdict(self.now, &id, verdict);
            if !all {
                break;
            }
        }
    }

    /// Time passes: the engine is asked when it wants to be, and whenever something
    /// was done.
    fn wait(&mut self, time: Duration) {
        self.settle();
        let until = self.now + time;
        while self.now < until {
            self.now = self.node.next_wake().min(until);
            self.settle();
        }
        self.tell(|| format!("at {until:?}"));
    }

    /// Does what the engine wants done, and what is done at once.
    fn settle(&mut self) {
        loop {
            let outputs = self.node.settle(self.now);
            if outputs.is_empty() {
                break;
            }
            for output in outputs {
                match output {
                    Output::Send { peer, frame } => {
                        self.tell(|| format!("{:?} goes to {peer}", Rpc::decode(body(&frame))));
                        self.writing.push(peer);
                    }
                    Output::Deliver { message, .. } => self.awaiting.push(message.id().clone()),
                    Output::Close { peer, reason, .. } => {
                        self.tell(|| format!("closes {peer}: {reason}"));
                        self.closing.push(peer);
                    }
                    Output::Verify { .. }
                    | Output::Subscribed { .. }
                    | Output::Peer { .. }
                    | Output::Room => {}
                }
            }
            self.catch_up();
        }
    }

    /// Does what is done at once.
    fn catch_up(&mut self) {
        let [writes, checks, judges, closes] = self.prompt;
        if writes {
            for id in self.writing.drain(..) {
                self.node.sent(self.now, id);
            }
        }
        if checks {
            self.check(true);
        }
        if judges {
            self.judge(true);
        }
        if closes {
            for id in std::mem::take(&mut self.closing) {
                self.disconnect(id);
            }
        }
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.tells {
            println!("{:?}: {}", self.now, what());
        }
    }
}
