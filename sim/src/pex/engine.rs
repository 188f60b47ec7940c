//! Cycles: all nodes tick, then their exchanges happen one after the other.
//!
//! The order of exchanges is random but fixed by the seed. An exchange gets the
//! first level on which neither of its two nodes has one before; the exchanges
//! of a level share no node, so they run in parallel and the result is that of
//! the sequential order, whatever the number of threads.

use super::{
    Start,
    graph::Graph,
    policy::{Contacts, Policy},
    scenario::Scenario,
};
use crate::rng::stream;
use rand::{
    Rng,
    seq::{SliceRandom, index},
};
use rayon::prelude::*;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Nodes and exchanges that a thread takes at least: fewer aren't worth it.
const CHUNK: usize = 64;

/// What a cycle cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Exchanges that honest nodes started and that took place.
    pub rounds: usize,
    /// Attempts to reach a peer, rounds and probes.
    pub contacts: usize,
    /// Those that failed.
    pub failed: usize,
}

/// One exchange to come.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    caller: u32,
    callee: u32,
    boot: bool,
}

pub struct Engine<'a, P: Policy> {
    policy: &'a P,
    nodes: Vec<Mutex<P::Node>>,
    pub scenario: Scenario,
    seed: u64,
}

impl<'a, P: Policy> Engine<'a, P> {
    pub fn new(policy: &'a P, scenario: Scenario, start: Start, seed: u64) -> Self {
        let n = scenario.founders;
        let nodes = (0..n as u32)
            .into_par_iter()
            .map(|id| {
                let mut rng = stream(seed, 0, id.into());
                let known = initial(start, id, n, &mut rng);
                Mutex::new(policy.node(id, seed, &known, &mut rng))
            })
            .collect();
        Self { policy, nodes, scenario, seed }
    }

    /// Runs one cycle.
    pub fn cycle(&mut self, cycle: u32) -> Work {
        self.scenario.enter(cycle);
        let time = u64::from(cycle) * 4;
        if self.scenario.joining() {
            for id in self.nodes.len()..self.scenario.present() {
                let mut rng = stream(self.seed, time, id as u64);
                let node = self.policy.node(id as u32, self.seed, &[], &mut rng);
                self.nodes.push(Mutex::new(node));
            }
        }
        let plans: Vec<(Vec<Exchange>, Work)> = self
            .nodes
            .par_chunks(CHUNK)
            .enumerate()
            .map(|(i, _)| self.plans(i, time + 1))
            .collect();
        let mut work = Work::default();
        let mut exchanges =
            Vec::with_capacity(plans.iter().map(|(planned, _)| planned.len()).sum());
        for (planned, done) in plans {
            work.rounds += done.rounds;
            work.contacts += done.contacts;
            work.failed += done.failed;
            exchanges.extend(planned);
        }
        exchanges.shuffle(&mut stream(self.seed, time + 2, 0));
        for level in levels(&exchanges, self.nodes.len()) {
            level.par_iter().with_min_len(CHUNK).for_each(|&(order, exchange)| {
                self.exchange(exchange, &mut stream(self.seed, time + 3, order));
            });
        }
        work
    }

    /// A chunk of the nodes ticks.
    fn plans(&self, chunk: usize, time: u64) -> (Vec<Exchange>, Work) {
        let first = chunk * CHUNK;
        let ids = first..self.nodes.len().min(first + CHUNK);
        let mut plans = (Vec::with_capacity(ids.len() * 4), Work::default());
        let mut contacts = Contacts::default();
        for id in ids {
            let mut rng = stream(self.seed, time, id as u64);
            self.plan(id as u32, &mut contacts, &mut plans, &mut rng);
        }
        plans
    }

    /// A node ticks, and tries to reach whom it wants to.
    fn plan(
        &self,
        id: u32,
        contacts: &mut Contacts,
        (exchanges, work): &mut (Vec<Exchange>, Work),
        rng: &mut impl Rng,
    ) {
        if !self.scenario.lives(id) {
            return;
        }
        if self.scenario.is_hostile(id) {
            exchanges.extend(self.attack(id, rng));
            return;
        }
        let mut node = lock(&self.nodes[id as usize]);
        contacts.clear();
        self.policy.tick(&mut node, contacts, rng);
        if contacts.lonely && id != 0 {
            contacts.rounds.push(0);
        }
        work.contacts += contacts.rounds.len() + contacts.probes.len();
        let mut reach = |node: &mut P::Node, peer: u32, rng: &mut _| {
            let reached = self.scenario.reaches(id, peer, rng);
            if !reached {
                work.failed += 1;
                self.policy.failed(node, peer, rng);
            }
            reached
        };
        for &peer in &contacts.probes {
            if reach(&mut node, peer, rng) {
                self.policy.alive(&mut node, peer, rng);
            }
        }
        let before = exchanges.len();
        for &callee in &contacts.rounds {
            if reach(&mut node, callee, rng) {
                exchanges.push(Exchange { caller: id, callee, boot: contacts.lonely });
            }
        }
        work.rounds += exchanges.len() - before;
    }

    /// A hostile node calls as many honest ones as it may, each once.
    fn attack(&self, id: u32, rng: &mut impl Rng) -> Vec<Exchange> {
        let n = self.nodes.len();
        let victims = index::sample(rng, n, self.scenario.attack.min(n));
        let victims = victims.into_iter().map(|v| v as u32);
        let honest = victims.filter(|&v| self.scenario.lives(v) && !self.scenario.is_hostile(v));
        honest.map(|callee| Exchange { caller: id, callee, boot: false }).collect()
    }

    fn exchange(&self, exchange: Exchange, rng: &mut impl Rng) {
        let Exchange { caller, callee, boot } = exchange;
        let (liar, victim) =
            match (self.scenario.is_hostile(caller), self.scenario.is_hostile(callee)) {
                (true, _) => (caller, callee),
                (_, true) => (callee, caller),
                _ => {
                    let (mut a, mut b) =
                        (lock(&self.nodes[caller as usize]), lock(&self.nodes[callee as usize]));
                    self.policy.exchange((caller, &mut a), (callee, &mut b), boot, rng);
                    return;
                }
            };
        let liars = &self.scenario.liars;
        let chosen = index::sample(rng, liars.len(), self.policy.told().min(liars.len()));
        let told: Vec<u32> = chosen.into_iter().map(|i| liars[i]).collect();
        let mut node = lock(&self.nodes[victim as usize]);
        self.policy.deceive(&mut node, liar, &told, victim == caller, rng);
    }

    /// The views as they are now.
    pub fn graph(&self) -> Graph {
        Graph::new(self.nodes.len(), &self.scenario, |id, out| {
            self.policy.view(&lock(&self.nodes[id as usize]), out);
        })
    }
}

/// Never waits: the nodes of a level's exchanges are all different.
fn lock<T>(node: &Mutex<T>) -> MutexGuard<'_, T> {
    node.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sorts exchanges into levels, each with its place in the order.
fn levels(exchanges: &[Exchange], nodes: usize) -> Vec<Vec<(u64, Exchange)>> {
    let mut next = vec![0usize; nodes];
    let mut levels: Vec<Vec<(u64, Exchange)>> = Vec::new();
    for (order, &exchange) in (0..).zip(exchanges) {
        let (a, b) = (exchange.caller as usize, exchange.callee as usize);
        let level = next[a].max(next[b]);
        (next[a], next[b]) = (level + 1, level + 1);
        if level == levels.len() {
            levels.push(Vec::new());
        }
        levels[level].push((order, exchange));
    }
    // Within a level the order is of no consequence: one of the two nodes lies
    // where the processor expects it.
    levels.par_iter_mut().for_each(|level| level.sort_unstable_by_key(|(_, e)| e.caller));
    levels
}

/// What a node knows at the start.
fn initial(start: Start, id: u32, nodes: usize, rng: &mut impl Rng) -> Vec<u32> {
    let many = 31.min(nodes - 1);
    let (id, n) = (id as usize, nodes);
    let known: Vec<usize> = match start {
        Start::Random => index::sample(rng, n - 1, many)
            .into_iter()
            .map(|i| if i < id { i } else { i + 1 })
            .collect(),
        Start::Lattice => (1..=many).map(|d| (id + d) % n).collect(),
        Start::Star => (0..4.min(n)).filter(|&hub| hub != id).collect(),
    };
    known.into_iter().map(|n| n as u32).collect()
}
