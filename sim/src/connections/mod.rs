//! `casm-sim connections`: honest nodes that join through one static seed, and
//! identities that only want to hold its connections.
//!
//! What decides is the production code: `casm::slots` at every node, the
//! peer-exchange view and the connection keeper of honest ones. What carries
//! connections and exchanges is a model, and described in docs/simulator.md:
//!
//! - `node`: one honest node
//! - `world`: all of them, the hostile identities, and what happens to them

mod node;
mod world;

use serde::Serialize;
use std::time::Duration;
use world::{Outcome, World};

/// Whether newcomers find a place, and members can dial.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Honest nodes that join, each of a network of its own.
    #[arg(long, default_value_t = 700)]
    nodes: usize,
    /// The time over which they join, evenly.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "10s")]
    over: Duration,
    /// Hostile identities. They are there from the start; honest nodes come 10 s
    /// later.
    #[arg(long, default_value_t = 0)]
    hostile: usize,
    /// The networks that the hostile identities are spread over.
    #[arg(long, default_value_t = 1)]
    networks: usize,
    /// Random honest members that each hostile identity connects to, beside the
    /// seed.
    #[arg(long, default_value_t = 0)]
    spread: usize,
    /// The pause before a hostile identity comes again.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "1s")]
    again: Duration,
    /// The limit of connections of each node.
    #[arg(long, default_value_t = 512)]
    connections: u32,
    /// The simulated time after the last node has joined.
    #[arg(long = "for", value_parser = humantime::parse_duration, default_value = "2m")]
    rest: Duration,
    /// The random source; equal seeds give equal results.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints one JSON object (always so; for scripts).
    #[arg(long)]
    json: bool,
}

/// What is printed.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Report {
    nodes: usize,
    hostile: usize,
    networks: usize,
    spread: usize,
    connections: u32,
    seed: u64,
    /// Nodes that have exchanged peers with another.
    met: usize,
    /// From a node's start until then.
    met_p50_s: Option<f64>,
    met_p99_s: Option<f64>,
    met_max_s: Option<f64>,
    /// Nodes that have as many connections with honest ones as the keeper
    /// wants, and from their start until then.
    connected: usize,
    connected_p50_s: Option<f64>,
    connected_p99_s: Option<f64>,
    connected_max_s: Option<f64>,
    /// Parts that honest nodes fall into at the end.
    components: usize,
    /// The seed's connections at the end.
    seed_honest: usize,
    seed_hostile: usize,
    seed_outbound: usize,
    /// What it has closed and refused, honest newcomers' attempts apart.
    seed_replaced: u64,
    seed_guests: u64,
    honest_refused: u64,
    hostile_refused: u64,
    /// Dials that a node had no place for.
    dials_without_room: u64,
}

/// Simulates and prints.
///
/// # Errors
/// If an argument is out of its range.
pub fn run(args: &Args) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(&simulate(args)?)?);
    Ok(())
}

fn simulate(args: &Args) -> anyhow::Result<Report> {
    let Args { nodes, hostile, networks, spread, connections, seed, .. } = *args;
    anyhow::ensure!((1..=10_000).contains(&nodes), "--nodes {nodes}: write 1 to 10000");
    anyhow::ensure!(hostile <= 100_000, "--hostile {hostile}: write up to 100000");
    anyhow::ensure!((1..=60_000).contains(&networks), "--networks {networks}: write 1 to 60000");
    anyhow::ensure!(connections >= 1, "--connections 0: write 1 or more");
    anyhow::ensure!(!args.again.is_zero(), "--again 0s: write more than 0");
    let Outcome { mut met, mut connected, components, seed: at_seed, dials_without_room } =
        World::new(args).run();
    met.sort_unstable();
    connected.sort_unstable();
    Ok(Report {
        nodes,
        hostile,
        networks,
        spread,
        connections,
        seed,
        met: met.len(),
        met_p50_s: percentile(&met, 50),
        met_p99_s: percentile(&met, 99),
        met_max_s: percentile(&met, 100),
        connected: connected.len(),
        connected_p50_s: percentile(&connected, 50),
        connected_p99_s: percentile(&connected, 99),
        connected_max_s: percentile(&connected, 100),
        components,
        seed_honest: at_seed.honest,
        seed_hostile: at_seed.hostile,
        seed_outbound: at_seed.outbound,
        seed_replaced: at_seed.replaced,
        seed_guests: at_seed.guests,
        honest_refused: at_seed.honest_refused,
        hostile_refused: at_seed.hostile_refused,
        dials_without_room,
    })
}

fn percentile(sorted: &[Duration], percent: usize) -> Option<f64> {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).map(|time| (time.as_secs_f64() * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn report(line: &str) -> Report {
        let words = std::iter::once("connections").chain(line.split_whitespace());
        simulate(&Cli::parse_from(words).args).unwrap()
    }

    #[test]
    fn seven_hundred_nodes_join_through_one_seed() {
        let report = report("--nodes 700 --for 20s");
        println!("{report:?}");
        assert_eq!((report.met, report.connected, report.components), (700, 700, 1));
        assert!(report.connected_max_s.unwrap() < 30.0);
        assert!(report.seed_guests > 100 && report.dials_without_room == 0);
    }

    #[test]
    fn hostile_identities_keep_nobody_out() {
        for line in [
            "--nodes 100 --hostile 2000 --networks 1 --spread 1 --for 10s",
            "--nodes 100 --hostile 2000 --networks 40 --spread 1 --for 10s",
            "--nodes 10 --hostile 2000 --networks 2000 --for 20s --again 5s",
        ] {
            let report = report(line);
            println!("{report:?}");
            let all = report.nodes;
            assert_eq!((report.met, report.connected, report.components), (all, all, 1), "{line}");
            assert!(report.hostile_refused > 1000 && report.dials_without_room == 0, "{report:?}");
        }
    }

    #[test]
    fn equal_seeds_give_equal_results() {
        let line = "--nodes 40 --hostile 60 --networks 3 --connections 32 --for 20s";
        assert_eq!(report(line), report(line));
        let other = report(&format!("{line} --seed 2"));
        assert_ne!(report(line).met_p99_s, other.met_p99_s);
    }
}
