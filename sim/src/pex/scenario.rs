//! What happens to the nodes: who is dead, cut off, hostile, and when.

use super::Args;
use crate::rng::stream;
use rand::{Rng, RngExt, seq::SliceRandom};

/// The fate of all nodes of a run.
#[derive(Debug)]
pub struct Scenario {
    /// Nodes at the start.
    pub founders: usize,
    /// Nodes that join later.
    pub joiners: usize,
    /// The cycle in which things happen.
    pub at: u32,
    killed: Vec<bool>,
    cut: usize,
    ends: u32,
    loss: f64,
    /// The first nodes of a random order are hostile, or the last of all.
    hostile: Vec<bool>,
    /// The numbers of the hostile nodes.
    pub liars: Vec<u32>,
    /// Honest nodes that each hostile one calls in a cycle.
    pub attack: usize,
    cycle: u32,
}

/// Which nodes are hostile, where networks matter: the last of the first ones.
pub fn hostile_ids(args: &Args) -> std::ops::Range<usize> {
    let count = (args.hostile * args.nodes as f64).round() as usize;
    args.nodes - count..args.nodes
}

impl Scenario {
    pub fn new(args: &Args, seed: u64) -> Self {
        let all = args.nodes + args.join;
        let pick = |fraction: f64, salt: u64| {
            let mut chosen = vec![false; all];
            let count = (fraction * args.nodes as f64).round() as usize;
            let mut order: Vec<usize> = (0..args.nodes).collect();
            order.shuffle(&mut stream(seed, u64::MAX, salt));
            order.into_iter().take(count).for_each(|n| chosen[n] = true);
            chosen
        };
        let hostile = if args.by_network() {
            (0..all).map(|id| hostile_ids(args).contains(&id)).collect()
        } else {
            pick(args.hostile, 1)
        };
        let liars = (0..).zip(&hostile).filter(|(_, h)| **h).map(|(n, _)| n).collect();
        Self {
            founders: args.nodes,
            joiners: args.join,
            at: args.at,
            killed: pick(args.kill, 2),
            cut: (args.partition * args.nodes as f64).round() as usize,
            ends: args.at.saturating_add(args.lasts),
            loss: args.loss,
            hostile,
            liars,
            attack: args.attack.unwrap_or(usize::MAX),
            cycle: 0,
        }
    }

    /// The time is now this cycle.
    pub fn enter(&mut self, cycle: u32) {
        self.cycle = cycle;
    }

    /// The number of nodes that there are now, dead ones included.
    pub fn present(&self) -> usize {
        self.founders + if self.cycle >= self.at { self.joiners } else { 0 }
    }

    /// Whether nodes join in this cycle.
    pub fn joining(&self) -> bool {
        self.cycle == self.at && self.joiners > 0
    }

    pub fn lives(&self, node: u32) -> bool {
        !(self.cycle >= self.at && self.killed.get(node as usize).copied().unwrap_or(false))
    }

    pub fn is_hostile(&self, node: u32) -> bool {
        self.cycle >= self.at && self.hostile.get(node as usize).copied().unwrap_or(false)
    }

    /// Whether a partition is not between the two.
    pub fn linked(&self, a: u32, b: u32) -> bool {
        let cut = (self.at..self.ends).contains(&self.cycle) && self.cut > 0;
        !cut || ((a as usize) < self.cut) == ((b as usize) < self.cut)
    }

    /// Whether this attempt to reach a node succeeds.
    pub fn reaches(&self, from: u32, to: u32, rng: &mut impl Rng) -> bool {
        self.lives(to) && self.linked(from, to) && (self.loss == 0.0 || !rng.random_bool(self.loss))
    }
}
