//! `casm-sim pex`: an overlay of many nodes, cycle by cycle.
//!
//! In a cycle each node ticks once. The exchanges of a cycle happen one after
//! the other in a random order, as in the cycle-driven model of Jelasity et al.
//! (2007); those that share no node are computed in parallel, which changes
//! nothing.

mod casm;
mod engine;
mod graph;
mod jelasity;
mod policy;
mod report;
mod scenario;
#[cfg(test)]
mod tests;

pub use casm::Secret;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use engine::Engine;
use policy::Policy;
use rayon::prelude::*;
use report::{Healing, Line};
use scenario::Scenario;
use std::time::Instant;

/// Simulates the peer-exchange overlay; prints one line per cycle.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Nodes at the start.
    #[arg(long, default_value_t = 1000)]
    nodes: usize,
    /// Cycles to run: each node ticks once in each.
    #[arg(long, default_value_t = 100)]
    cycles: u32,
    /// The fraction of nodes that die.
    #[arg(long, default_value_t = 0.0)]
    kill: f64,
    /// Nodes that join, all through node 0.
    #[arg(long, default_value_t = 0)]
    join: usize,
    /// The fraction of nodes that are cut off from the rest.
    #[arg(long, default_value_t = 0.0)]
    partition: f64,
    /// Cycles until the partition ends.
    #[arg(long = "for", default_value_t = 1)]
    lasts: u32,
    /// The cycle of the kill, the join, the partition and the attack.
    #[arg(long, default_value_t = 50)]
    at: u32,
    /// The fraction of attempts to reach a peer that fail.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// The fraction of nodes that push only themselves.
    #[arg(long, default_value_t = 0.0)]
    hostile: f64,
    /// How many honest nodes each hostile one calls in a cycle; all by default.
    #[arg(long)]
    attack: Option<usize>,
    /// The networks (address prefixes) in which the honest nodes are, the same
    /// number in each; one for each node if only --hostile-networks is given.
    /// Without both, networks don't matter.
    #[arg(long)]
    networks: Option<u32>,
    /// The networks in which the hostile nodes are; one for each by default.
    #[arg(long)]
    hostile_networks: Option<u32>,
    /// Hostile nodes say that each is in a network of its own.
    #[arg(long)]
    lying: bool,
    /// What nodes know at the start.
    #[arg(long, value_enum, default_value = "random")]
    start: Start,
    /// The rules that nodes follow.
    #[arg(long, value_enum, default_value = "casm")]
    policy: Rules,
    /// Records in a view, a place for the own one included.
    #[arg(long, default_value_t = 32)]
    view: usize,
    /// Rounds that a node starts in a cycle (casm).
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Further peers that a node probes in a cycle (casm).
    #[arg(long, default_value_t = 4)]
    probes: usize,
    /// Runs with this seed and the following ones.
    #[arg(long, default_value_t = 1)]
    runs: u64,
    /// The seed; the same seed gives the same lines, on any number of threads.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print only the last cycle of each run.
    #[arg(long)]
    last: bool,
    /// Print only how many cycles each run takes to be one component again
    /// after the partition, and then the percentiles over all runs.
    #[arg(long)]
    heal: bool,
    /// Print JSON, one object per line.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Whether it matters in which networks the nodes are.
    fn by_network(&self) -> bool {
        self.networks.is_some() || self.hostile_networks.is_some()
    }
}

/// What nodes know at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Start {
    /// As many random nodes as the view holds.
    Random,
    /// Their neighbours on a ring.
    Lattice,
    /// The same four nodes.
    Star,
}

/// The rules that nodes follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rules {
    /// CASM's own.
    Casm,
    /// Jelasity et al. with H = c/2, S = 0.
    Healer,
    /// Jelasity et al. with H = 0, S = c/2.
    Swapper,
    /// Jelasity et al. with H = S = 0.
    Blind,
    /// What Go's CASM does.
    Go,
}

/// Runs the simulation.
pub fn run(args: &Args) -> Result<()> {
    ensure!(args.nodes >= 2, "--nodes {}: at least 2", args.nodes);
    ensure!((8..=224).contains(&args.view), "--view {}: 8 to 224", args.view);
    for (name, value) in [
        ("--kill", args.kill),
        ("--partition", args.partition),
        ("--loss", args.loss),
        ("--hostile", args.hostile),
    ] {
        ensure!((0.0..1.0).contains(&value), "{name} {value}: at least 0, less than 1");
    }
    ensure!((1..=64).contains(&args.rounds), "--rounds {}: 1 to 64", args.rounds);
    ensure!(args.probes <= args.view, "--probes {}: at most --view", args.probes);
    ensure!(args.runs >= 1, "--runs 0: at least 1");
    ensure!(!args.heal || args.partition > 0.0, "--heal: there is no --partition to heal");
    let started = Instant::now();
    match args.policy {
        Rules::Casm if args.by_network() => {
            simulate(args, &casm::Casm::<casm::Located>::new(args));
        }
        Rules::Casm => simulate(args, &casm::Casm::<casm::Number>::new(args)),
        Rules::Healer => simulate(args, &jelasity::Generic::healer(args.view)),
        Rules::Swapper => simulate(args, &jelasity::Generic::swapper(args.view)),
        Rules::Blind => simulate(args, &jelasity::Generic::blind(args.view)),
        Rules::Go => simulate(args, &jelasity::Go::new(args.view)),
    }
    report::cost(started.elapsed());
    Ok(())
}

/// All runs: several at a time, but their lines come in order.
fn simulate<P: Policy>(args: &Args, policy: &P) {
    let seeds = args.seed..args.seed.saturating_add(args.runs);
    if args.heal {
        let runs: Vec<Healing> = seeds.into_par_iter().map(|s| heal(args, s, policy)).collect();
        report::healings(&runs, args.json);
    } else if args.runs == 1 {
        run_one(args, args.seed, policy, |line| line.print(args.json));
    } else {
        let runs: Vec<Vec<Line>> = seeds
            .into_par_iter()
            .map(|seed| {
                let mut lines = Vec::new();
                run_one(args, seed, policy, |line| lines.push(line));
                lines
            })
            .collect();
        runs.iter().flatten().for_each(|line| line.print(args.json));
    }
}

fn run_one<P: Policy>(args: &Args, seed: u64, policy: &P, mut out: impl FnMut(Line)) {
    let mut engine = Engine::new(policy, Scenario::new(args, seed), args.start, seed);
    for cycle in 1..=args.cycles {
        let work = engine.cycle(cycle);
        if !args.last || cycle == args.cycles {
            out(Line::new(&engine.graph(), &engine.scenario, cycle, work, seed));
        }
    }
}

/// How long a run takes to be one component after its partition.
fn heal<P: Policy>(args: &Args, seed: u64, policy: &P) -> Healing {
    let mut engine = Engine::new(policy, Scenario::new(args, seed), args.start, seed);
    let ends = args.at.saturating_add(args.lasts);
    for cycle in 1..=args.cycles {
        engine.cycle(cycle);
        if cycle >= ends && engine.graph().components() == 1 {
            return Healing { seed, healed_after: Some(cycle - ends + 1) };
        }
    }
    Healing { seed, healed_after: None }
}
