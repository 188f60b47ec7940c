//! Clusters of nodes that suspect each other, on virtual time: whoever crashes is gone
//! from all views soon, and nobody else is.
//!
//! The network loses what it is told to. A heartbeat, and a message with suspicions,
//! takes up to 0.4 s to each node; pings and dials are those of the host.

use super::{
    tests::{SEC, START, ms, put, seq, table_of},
    *,
};
use crate::cluster::Table;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
};

/// How long a node waits for the answer to a ping.
const SILENT: Duration = Duration::from_secs(2);
const PING: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// It sends a heartbeat, if this is still when the next is due.
    Beat,
    /// It pings a neighbour.
    Ping(usize),
    /// It pings a neighbour once more.
    Asked(usize),
    /// A ping was not answered.
    Unanswered(usize, Duration),
    /// A dial of a peer ends.
    Dialled(usize),
    /// A heartbeat of a peer comes, which was sent then.
    Heartbeat(usize, Duration),
    /// A message of a peer comes.
    Message(usize, u64, Vec<u8>),
    /// The connection with a neighbour breaks.
    Broken(usize),
    /// It has something to do.
    Wake,
}

struct Node {
    id: PeerId,
    table: Table,
    suspicion: Suspicion,
    neighbours: BTreeSet<usize>,
    next_beat: Duration,
    crashed: bool,
    /// Until when it is stopped: what comes meanwhile is taken in then.
    stopped: Duration,
    /// Who reaches it: those of the same part.
    part: u8,
    said: u64,
    asking: Option<Duration>,
    /// When it is woken up.
    wakes: Option<Duration>,
}

struct World {
    nodes: Vec<Node>,
    events: BinaryHeap<Reverse<(Duration, usize, Event)>>,
    rng: ChaCha8Rng,
    /// What of a ping or a dial, and of heartbeats and messages, is lost.
    loss: (f64, f64),
    /// Who removed whom, and when.
    removed: Vec<(Duration, usize, usize)>,
    now: Duration,
}

impl World {
    fn new(n: usize, degree: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let all: Vec<_> = (0..n).map(|_| PeerId::random()).collect();
        let mut nodes: Vec<_> = (0..n)
            .map(|i| {
                let others: Vec<_> = all.iter().filter(|id| **id != all[i]).copied().collect();
                Node {
                    id: all[i],
                    table: table_of(all[i], &others),
                    suspicion: Suspicion::new(all[i], false, Duration::ZERO),
                    neighbours: BTreeSet::new(),
                    next_beat: START + ms(rng.random_range(0..20_000)),
                    crashed: false,
                    stopped: Duration::ZERO,
                    part: 0,
                    said: 0,
                    asking: None,
                    wakes: None,
                }
            })
            .collect();
        for i in 0..n {
            while nodes[i].neighbours.len() < degree.min(n - 1) {
                let j = rng.random_range(0..n);
                if i != j {
                    nodes[i].neighbours.insert(j);
                    nodes[j].neighbours.insert(i);
                }
            }
        }
        let mut world = Self {
            nodes,
            events: BinaryHeap::new(),
            rng,
            loss: (0.0, 0.0),
            removed: Vec::new(),
            now: START,
        };
        for i in 0..n {
            let node = &mut world.nodes[i];
            node.suspicion.spoke(Duration::from_secs(90), seq(Duration::from_secs(90)));
            world.at(world.nodes[i].next_beat, i, Event::Beat);
            for j in world.nodes[i].neighbours.clone() {
                let Node { suspicion, table, .. } = &mut world.nodes[i];
                suspicion.note(START, all[j], Sign::Here, table);
                // One end of each connection pings.
                if i < j {
                    let first = START + ms(world.rng.random_range(0..2000));
                    world.at(first, i, Event::Ping(j));
                    world.at(first + ms(330), j, Event::Ping(i));
                }
            }
        }
        world
    }

    fn at(&mut self, at: Duration, node: usize, event: Event) {
        self.events.push(Reverse((at, node, event)));
    }

    fn reaches(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.nodes[a], &self.nodes[b]);
        !a.crashed && !b.crashed && a.part == b.part
    }

    /// Whether it answers now.
    fn answers(&mut self, from: usize, to: usize) -> bool {
        let lost = self.rng.random_bool(self.loss.0);
        self.reaches(from, to) && self.nodes[to].stopped <= self.now && !lost
    }

    /// Sends something to everybody who is reached.
    fn publish(&mut self, from: usize, event: &Event) {
        for to in 0..self.nodes.len() {
            let lost = self.rng.random_bool(self.loss.1);
            if to != from && self.reaches(from, to) && !lost {
                let delay = ms(self.rng.random_range(20..400));
                self.at(self.now + delay, to, event.clone());
            }
        }
    }

    fn index(&self, id: PeerId) -> usize {
        self.nodes.iter().position(|node| node.id == id).unwrap()
    }

    fn run(&mut self, until: Duration) {
        while let Some(Reverse((at, node, event))) = self.events.pop() {
            if at > until {
                self.events.push(Reverse((at, node, event)));
                break;
            }
            self.now = at;
            let stopped = self.nodes[node].stopped;
            if self.nodes[node].crashed {
                continue;
            }
            if at < stopped {
                self.at(stopped, node, event);
                continue;
            }
            self.step(node, event);
            self.act(node);
        }
        self.now = until;
    }

    fn note(&mut self, node: usize, peer: usize, sign: Sign) {
        let peer = self.nodes[peer].id;
        let Node { suspicion, table, .. } = &mut self.nodes[node];
        suspicion.note(self.now, peer, sign, table);
    }

    fn step(&mut self, i: usize, event: Event) {
        let now = self.now;
        match event {
            Event::Beat if self.nodes[i].next_beat <= now => {
                self.nodes[i].next_beat = now + ms(self.rng.random_range(16_000..20_000));
                self.nodes[i].suspicion.spoke(now, seq(now));
                self.at(self.nodes[i].next_beat, i, Event::Beat);
                self.publish(i, &Event::Heartbeat(i, now));
            }
            Event::Ping(j) if self.nodes[i].neighbours.contains(&j) => {
                if self.answers(i, j) {
                    self.note(i, j, Sign::Answers);
                    let node = &mut self.nodes[i];
                    if node.asking.take_if(|since| *since <= now).is_some() {
                        node.suspicion.answered(now);
                    }
                    self.at(now + PING, i, Event::Ping(j));
                } else {
                    self.at(now + SILENT / 2, i, Event::Unanswered(j, now));
                    self.at(now + SILENT, i, Event::Unanswered(j, now));
                    self.at(now + PING + SILENT, i, Event::Ping(j));
                }
            }
            Event::Asked(j) => {
                if self.answers(i, j) {
                    let node = &mut self.nodes[i];
                    if node.asking.take_if(|since| *since <= now).is_some() {
                        node.suspicion.answered(now);
                    }
                }
            }
            Event::Unanswered(j, since) => {
                // Who was stopped meanwhile waits anew.
                let late = now.saturating_sub(since);
                if late <= SILENT && !self.answers(i, j) {
                    let sign = if late < SILENT { Sign::Late } else { Sign::Silent };
                    self.note(i, j, sign);
                }
            }
            Event::Dialled(j) => {
                let reached = self.answers(i, j);
                self.note(i, j, Sign::Dialled(reached));
            }
            Event::Heartbeat(j, sent) => {
                let id = self.nodes[j].id;
                let Node { suspicion, table, .. } = &mut self.nodes[i];
                if put(table, now, id, sent, true) {
                    suspicion.heartbeat(now, Duration::ZERO, (id, seq(sent)), table);
                }
            }
            Event::Message(j, number, data) => {
                let id = self.nodes[j].id;
                let Node { suspicion, table, .. } = &mut self.nodes[i];
                let heard = suspicion.hear(now, (id, number), &data, table);
                if let Some(due) = heard.answer.filter(|due| *due < self.nodes[i].next_beat) {
                    self.nodes[i].next_beat = due;
                    self.at(due, i, Event::Beat);
                }
            }
            Event::Broken(j) => {
                self.nodes[i].neighbours.remove(&j);
                self.note(i, j, Sign::Broken);
            }
            Event::Wake => self.nodes[i].wakes = None,
            Event::Beat | Event::Ping(_) => {}
        }
    }

    fn act(&mut self, i: usize) {
        let now = self.now;
        let Node { suspicion, table, .. } = &mut self.nodes[i];
        for action in suspicion.act(now, table) {
            match action {
                Action::Dial(peer) => {
                    let j = self.index(peer);
                    let takes = if self.answers(i, j) { ms(30) } else { ms(1000) };
                    self.at(now + takes, i, Event::Dialled(j));
                }
                Action::Ask(since) => {
                    self.nodes[i].asking = Some(since);
                    for j in self.nodes[i].neighbours.clone() {
                        self.at(now + ms(1), i, Event::Asked(j));
                    }
                }
                Action::Say(suspects) => {
                    self.nodes[i].said += 1;
                    let message = Event::Message(i, self.nodes[i].said, suspects.encode());
                    self.publish(i, &message);
                }
                Action::Remove(peer, seq) => {
                    assert!(self.nodes[i].table.fail(now, &peer, seq));
                    self.removed.push((now, i, self.index(peer)));
                }
            }
        }
        let next = self.nodes[i].suspicion.next().map(|next| next.max(now + ms(1)));
        if let Some(next) = next.filter(|next| self.nodes[i].wakes.is_none_or(|at| *next < at)) {
            self.nodes[i].wakes = Some(next);
            self.at(next, i, Event::Wake);
        }
    }

    /// A node crashes: its process, or its whole host.
    fn crash(&mut self, i: usize, host: bool) {
        self.nodes[i].crashed = true;
        if !host {
            for j in self.nodes[i].neighbours.clone() {
                self.at(self.now + ms(1), j, Event::Broken(i));
            }
        }
    }

    /// How long after a time all others had removed this one.
    fn seen(&self, i: usize, since: Duration) -> Option<Duration> {
        let others = (0..self.nodes.len()).filter(|j| *j != i && !self.nodes[*j].crashed);
        let at = |j| self.removed.iter().find(|(_, by, whom)| (*by, *whom) == (j, i));
        let each: Option<Vec<_>> = others.map(|j| at(j).map(|(at, ..)| *at)).collect();
        each?.into_iter().max().map(|at| at.saturating_sub(since))
    }
}

/// Runs it with some seeds, and says with which it went wrong.
fn seeds(each: impl Fn(u64)) {
    for seed in 1..=8 {
        println!("seed {seed}");
        each(seed);
    }
}

#[test]
fn whoever_crashes_is_gone_from_all_views_and_nobody_else() {
    for host in [false, true] {
        seeds(|seed| {
            let mut world = World::new(24, 8, seed);
            world.run(START + 10 * SEC);
            world.crash(3, host);
            let at = world.now;
            world.run(at + 30 * SEC);
            let took = world.seen(3, at).expect("all have seen it");
            let most = if host { 9 * SEC } else { 6 * SEC };
            println!("host {host}: {took:?}");
            assert!(took <= most, "{took:?}");
            assert!(world.removed.iter().all(|(_, _, whom)| *whom == 3), "{:?}", world.removed);
        });
    }
}

#[test]
fn nobody_is_dropped_where_nobody_crashes() {
    seeds(|seed| {
        let mut world = World::new(24, 8, seed);
        world.run(START + 300 * SEC);
        assert_eq!(world.removed, []);
    });
    // Also where a fifth of the pings and dials comes to nothing: the accused answer.
    seeds(|seed| {
        let mut world = World::new(24, 8, seed);
        world.loss = (0.2, 0.0);
        world.run(START + 300 * SEC);
        assert_eq!(world.removed, []);
        let mut answered = 0;
        for node in &mut world.nodes {
            answered += node.suspicion.take_counts().get("answered").copied().unwrap_or(0);
        }
        assert!(answered > 0);
    });
}

#[test]
fn a_node_that_was_stopped_is_back_at_its_next_heartbeat_and_has_removed_nobody() {
    seeds(|seed| {
        let mut world = World::new(24, 8, seed);
        world.run(START + 10 * SEC);
        let until = world.now + 25 * SEC;
        world.nodes[5].stopped = until;
        world.run(until - ms(1));
        assert!(world.seen(5, START).is_some(), "all have removed it");
        // Before it takes in what has come meanwhile.
        world.now = until;
        world.nodes[5].suspicion.held_up(until);
        world.nodes[5].next_beat = until;
        world.at(until, 5, Event::Beat);
        world.run(until + SEC);
        let id = world.nodes[5].id;
        assert!(
            world.nodes.iter().enumerate().all(|(i, n)| i == 5 || n.table.known(&id).is_some())
        );
        world.run(until + 60 * SEC);
        assert!(world.removed.iter().all(|(at, _, whom)| *whom == 5 && *at < until));
    });
}

#[test]
fn in_a_partition_each_part_removes_the_other_alone_and_both_are_whole_again() {
    seeds(|seed| {
        let mut world = World::new(32, 8, seed);
        world.run(START + 10 * SEC);
        for i in 0..16 {
            world.nodes[i].part = 1;
        }
        let at = world.now;
        world.run(at + 25 * SEC);
        let half = |i: usize| i < 16;
        assert!(world.removed.iter().all(|(_, by, whom)| half(*by) != half(*whom)));
        assert!(world.removed.len() > 400, "most are seen: {}", world.removed.len());
        world.nodes.iter_mut().for_each(|node| node.part = 0);
        let healed = world.removed.len();
        world.run(at + 60 * SEC);
        let later = &world.removed[healed..];
        assert!(later.iter().all(|(_, by, whom)| half(*by) != half(*whom)), "{later:?}");
        assert!(world.nodes.iter().all(|node| node.table.len() == 32));
    });
}

#[test]
fn who_is_cut_off_alone_removes_nobody() {
    seeds(|seed| {
        let mut world = World::new(24, 8, seed);
        world.run(START + 10 * SEC);
        world.nodes[7].part = 9;
        let at = world.now;
        world.run(at + 25 * SEC);
        assert!(world.removed.iter().all(|(_, by, whom)| *by != 7 && *whom == 7));
        assert!(world.seen(7, at).is_some());
        // When it is back, it has nothing against anybody.
        world.nodes[7].part = 0;
        let removed = world.removed.len();
        world.run(at + 60 * SEC);
        assert_eq!(world.removed.len(), removed);
        assert!(world.nodes.iter().all(|node| node.table.len() == 24));
    });
}
