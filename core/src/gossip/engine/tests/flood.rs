//! A flood costs who brings it, and nobody else.

use super::{
    abuse::{messages, node_with},
    *,
};
use crate::gossip::{engine::config, wire::Subscription};

/// A node whose service takes so many messages in a millisecond, and no more.
struct Slow {
    net: Net,
    in_a_ms: usize,
    waiting: std::collections::VecDeque<MessageId>,
    /// What the service took in, and when.
    heard: BTreeMap<MessageId, Duration>,
}

impl Slow {
    fn with(peers: u64, in_a_ms: usize) -> Self {
        let (waiting, heard) = (std::collections::VecDeque::new(), BTreeMap::new());
        Self { net: node_with(peers), in_a_ms, waiting, heard }
    }

    fn receive(&mut self, from: u64, rpc: Rpc) {
        let now = self.net.now;
        self.net.engine(0).received(now, &peer(from), rpc);
    }

    /// A millisecond passes.
    fn pass(&mut self) {
        self.net.now += Duration::from_millis(1);
        self.work();
        for id in self.waiting.drain(..self.in_a_ms.min(self.waiting.len())) {
            self.heard.insert(id.clone(), self.net.now);
            let now = self.net.now;
            self.net.engine(0).verdict(now, &id, Verdict::Accept);
        }
        self.work();
    }

    fn work(&mut self) {
        let now = self.net.now;
        while let Some(output) = self.net.engine(0).poll(now) {
            match output {
                Output::Verify { check, message } => {
                    let good = message.encoded().ends_with(GOOD);
                    self.net.engine(0).verified(now, check, good);
                }
                Output::Deliver { message, .. } => self.waiting.push_back(message.id().clone()),
                Output::Send { peer, .. } => self.net.engine(0).sent(now, &peer),
                Output::Subscribed { .. } | Output::Peer { .. } | Output::Room => {}
                Output::Close { peer, reason, .. } => panic!("{peer} is closed: {reason}"),
            }
        }
        let topics = self.net.engine(0).topics.len();
        assert!(self.waiting.len() <= topics * config::WINDOW, "{}", self.waiting.len());
    }
}

/// The messages of one hundredth of a second in a flood of 6,000 in one: half of
/// its own, half of many sources.
fn flood(round: u64) -> Vec<SignedMessage> {
    let message = |n: u64| good(peer(if n.is_multiple_of(2) { 1 } else { 100 + n }), n);
    (round * 60..(round + 1) * 60).map(message).collect()
}

fn honest(number: u64) -> SignedMessage {
    good(peer(50 + number % 7), 1_000_000 + number)
}

#[test]
fn a_flood_of_six_thousand_a_second_costs_the_honest_nothing() {
    // The service has time for a third of it.
    let mut node = Slow::with(2, 2);
    let mut sent = BTreeMap::new();
    for ms in 0..5000_u64 {
        if ms.is_multiple_of(10) {
            node.receive(1, messages(flood(ms / 10)));
        }
        if ms.is_multiple_of(20) {
            let message = honest(ms / 20);
            sent.insert(message.id().clone(), node.net.now);
            node.receive(2, messages([message]));
        }
        node.pass();
    }
    (0..3000).for_each(|_| node.pass());
    for (id, at) in &sent {
        let heard = *node.heard.get(id).expect("nothing honest is lost");
        // What is under way before it, at two a millisecond.
        assert!(heard - *at <= secs(0.4), "{:?}", heard - *at);
    }
    // It was a flood: its own queue overflowed.
    assert!(node.net.refused(0, "too-many-waiting") > 5000);
    assert!(node.heard.len() > 14_000);
    let engine = node.net.engine(0);
    assert!(engine.checks.is_empty() && engine.awaiting.is_empty());
    assert!(engine.peers.values().all(|peer| (peer.waiting, peer.waiting_bytes) == (0, 0)));
    assert_eq!(engine.topics[TOPIC].busy, 0);
}

/// It hands on what is honest, too, before others do, so that it waits in its queue.
#[test]
fn what_who_floods_brought_first_comes_as_soon_as_another_brings_it() {
    let mut node = Slow::with(2, 2);
    let mut sent = Vec::new();
    for ms in 0..3000_u64 {
        if ms.is_multiple_of(10) {
            let copy = ms.is_multiple_of(20).then(|| honest(ms / 20));
            node.receive(1, messages(flood(ms / 10).into_iter().chain(copy)));
        }
        if ms % 20 == 1 {
            let message = honest(ms / 20);
            sent.push((message.id().clone(), node.net.now));
            node.receive(2, messages([message]));
        }
        node.pass();
    }
    (0..1000).for_each(|_| node.pass());
    for (id, at) in &sent {
        let heard = *node.heard.get(id).expect("nothing honest is lost");
        assert!(heard <= *at + secs(0.4), "{:?}", heard - *at);
    }
    assert!(node.net.refused(0, "too-many-waiting") > 1000);
}

#[test]
fn what_there_was_no_room_for_is_not_known_and_comes_again() {
    let mut node = Slow::with(3, 0);
    let over = (config::WINDOW + config::MAX_WAITING) as u64;
    node.receive(1, messages((0..config::WINDOW as u64).map(|n| good(peer(1), n))));
    node.work();
    node.receive(1, messages((config::WINDOW as u64..over + 2).map(|n| good(peer(1), n))));
    assert_eq!(node.net.refused(0, "too-many-waiting"), 2);
    // One is offered by another peer, and asked for; the other one comes as a copy.
    let (offered, copied) = (good(peer(1), over), good(peer(1), over + 1));
    let ihave = vec![(TOPIC.into(), vec![offered.id().clone()])];
    node.receive(2, Rpc { ihave, ..rpc() });
    assert!(node.net.engine(0).wants.is_asked(offered.id()));
    node.receive(3, messages([copied.clone()]));
    node.receive(2, messages([offered.clone()]));
    node.in_a_ms = 10;
    (0..1000).for_each(|_| node.pass());
    assert!(node.heard.contains_key(offered.id()) && node.heard.contains_key(copied.id()));
}

/// Many, each of which has no more waiting than it may.
#[test]
fn those_who_fill_all_the_room_there_is_leave_some_to_others() {
    let sybils = (config::MAX_WAITING_IN_ALL / config::MAX_WAITING_BYTES) as u64 + 1;
    let mut node = Slow::with(sybils + 1, 0);
    let in_way = (0..config::WINDOW as u64).map(|n| good(peer(999), n));
    node.receive(1, messages(in_way));
    node.work();
    let large = |from, number| message(peer(from), number, &[7; 520_000], GOOD);
    for number in 0..4 {
        for sybil in 1..=sybils {
            node.receive(sybil, messages([large(sybil, 1000 + number)]));
        }
    }
    assert!(node.net.refused(0, "too-many-waiting") > 0);
    let honest: Vec<_> = (0..3).map(|number| large(sybils + 1, 5000 + number)).collect();
    node.receive(sybils + 1, messages(honest.clone()));
    assert!(!node.net.engine(0).checks.has_room(520_000));
    node.in_a_ms = 10;
    (0..200).for_each(|_| node.pass());
    assert!(honest.iter().all(|message| node.heard.contains_key(message.id())));
    assert!(node.net.engine(0).checks.is_empty());
}

#[test]
fn a_service_that_takes_nothing_holds_up_no_other_topic() {
    let mut node = Slow::with(1, 0);
    let now = node.net.now;
    node.net.engine(0).join(now, "other");
    let of_other = |number: u64| {
        let (source, number) = (peer(7).to_bytes(), number.to_be_bytes());
        SignedMessage::new(&source, b"data", &number, "other", GOOD, None).unwrap()
    };
    let topic = Subscription { subscribe: true, topic: "other".into() };
    node.receive(1, Rpc { subscriptions: vec![topic], ..rpc() });
    node.receive(1, messages((0..3000).map(|n| good(peer(1), n))));
    node.receive(1, messages((0..20).map(of_other)));
    node.work();
    let delivered =
        |node: &Slow| node.waiting.iter().filter(|id| id.source() == peer(7).to_bytes()).count();
    assert_eq!((delivered(&node), node.waiting.len()), (20, config::WINDOW + 20));
    // Who leaves has nothing waiting, and may come again.
    node.net.engine(0).leave(now, TOPIC);
    assert_eq!(node.net.engine(0).awaiting.len(), 20);
    node.waiting.retain(|id| id.source() == peer(7).to_bytes());
    node.net.engine(0).join(now, TOPIC);
    node.receive(1, messages([good(peer(8), 1)]));
    node.in_a_ms = 100;
    node.pass();
    assert!(node.heard.contains_key(good(peer(8), 1).id()));
    let engine = node.net.engine(0);
    assert!(engine.checks.is_empty() && engine.awaiting.is_empty());
    assert!(engine.peers.values().all(|peer| (peer.waiting, peer.waiting_bytes) == (0, 0)));
}

#[test]
fn what_waited_of_who_is_gone_comes_of_who_else_sent_it() {
    let mut node = Slow::with(3, 0);
    node.receive(1, messages((0..config::WINDOW as u64).map(|n| good(peer(1), n))));
    node.work();
    let both = good(peer(9), 1);
    node.receive(1, messages([both.clone(), good(peer(9), 2)]));
    node.receive(2, messages([both.clone()]));
    let now = node.net.now;
    node.net.engine(0).disconnected(now, &peer(1));
    node.in_a_ms = 100;
    (0..20).for_each(|_| node.pass());
    assert!(node.heard.contains_key(both.id()));
    assert!(!node.heard.contains_key(good(peer(9), 2).id()));
    let engine = node.net.engine(0);
    assert!(engine.checks.is_empty() && engine.awaiting.is_empty());
}

#[test]
fn who_leaves_fills_no_queue_of_who_sent_the_same() {
    let mut node = Slow::with(2, 0);
    let of = |source: u64, count: usize| (0..count as u64).map(move |n| good(peer(source), n));
    node.receive(1, messages(of(11, config::WINDOW)));
    node.work();
    node.receive(2, messages(of(12, config::MAX_WAITING - 10)));
    node.receive(1, messages(of(13, 100)));
    node.receive(2, messages(of(14, 10).chain(of(13, 100))));
    let now = node.net.now;
    node.net.engine(0).disconnected(now, &peer(1));
    let engine = node.net.engine(0);
    assert_eq!(engine.peers[&engine.keys[&peer(2)]].waiting, config::MAX_WAITING);
    node.in_a_ms = 100;
    (0..100).for_each(|_| node.pass());
    // It is not known, and can come again.
    node.receive(2, messages(of(13, 100)));
    (0..100).for_each(|_| node.pass());
    assert!(of(13, 100).all(|message| node.heard.contains_key(message.id())));
    assert!(node.net.engine(0).checks.is_empty());
}

/// They all have the same in their queues, behind much else.
#[test]
fn what_very_many_who_flood_have_sent_comes_as_soon_as_another_brings_it() {
    let sybils = 65;
    let mut node = Slow::with(sybils + 1, 0);
    node.receive(1, messages((0..config::WINDOW as u64).map(|n| good(peer(999), n))));
    node.work();
    let copy = good(peer(998), 1);
    for sybil in 1..=sybils {
        let much = (0..20).map(|n| good(peer(1000 + sybil), n));
        node.receive(sybil, messages(much.chain([copy.clone()])));
    }
    node.receive(sybils + 1, messages([copy.clone()]));
    assert_eq!(node.net.refused(0, "too-many-senders"), 1);
    node.in_a_ms = 10;
    (0..(config::WINDOW + 100) / 10 + 60).for_each(|_| node.pass());
    assert!(node.heard.contains_key(copy.id()) && node.heard.len() < 20 * sybils as usize);
}

#[test]
fn what_waits_for_its_verdict_for_long_and_comes_again_takes_no_more_room() {
    let mut node = Slow::with(2, 0);
    for from in 1..=2 {
        node.receive(from, messages([good(peer(9), 1)]));
        node.work();
        // It is not known any more.
        (0..40).for_each(|_| {
            node.net.now += secs(1.0);
            node.work();
        });
    }
    assert_eq!(node.net.engine(0).topics[TOPIC].busy, 1);
    node.in_a_ms = 1;
    node.pass();
    assert_eq!(node.net.engine(0).topics[TOPIC].busy, 0);
}
