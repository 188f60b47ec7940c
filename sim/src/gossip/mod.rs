//! `casm-sim gossip`: messages of one topic among many nodes.
//!
//! What decides is the production code: each node has the
//! `casm::gossip::engine::Engine` of a real one, and its connection keeper. What
//! carries frames is a model, and described in docs/simulator.md:
//!
//! - `world`: all nodes, and what happens to them
//! - `node`: one node
//! - `queue`: what happens next
//! - `frame`: what is in a frame, and what of it gets lost
//! - `message`: messages, and the ids of nodes
//! - `tally`: what is counted, and the figures

mod frame;
mod message;
mod node;
mod queue;
mod tally;
mod world;

use anyhow::ensure;
use std::time::Duration;
use tally::Report;
use world::World;

/// Whether what is published on a topic reaches everybody, how soon, and what
/// that costs.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Nodes, all of them on the topic.
    #[arg(long, default_value_t = 1000)]
    nodes: usize,
    /// Connections with peers of its view that each node sees to, as
    /// `min_connections` of peer exchange; it has those besides that others make
    /// to it.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Messages that are published, by random nodes.
    #[arg(long, default_value_t = 100)]
    messages: usize,
    /// Messages a second.
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// The bytes of a message's data.
    #[arg(long, default_value_t = 120)]
    bytes: usize,
    /// The chance of each message in a frame, each offer and each request to be
    /// dropped.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// The part of all nodes that crash in a minute; each is back after 20 to
    /// 60 s.
    #[arg(long, default_value_t = 0.0)]
    churn: f64,
    /// The part of all nodes that pass nothing on.
    #[arg(long, default_value_t = 0.0)]
    hostile: f64,
    /// The simulated time after the last message.
    #[arg(long = "for", value_parser = humantime::parse_duration, default_value = "10s")]
    rest: Duration,
    /// The random source; equal seeds give equal results.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints one JSON object (always so; for scripts).
    #[arg(long)]
    json: bool,
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
    let Args { nodes, connections, messages, rate, bytes, loss, churn, hostile, .. } = *args;
    ensure!((2..=1_000_000).contains(&nodes), "--nodes {nodes}: write 2 to 1000000");
    ensure!((1..=31).contains(&connections), "--connections {connections}: write 1 to 31");
    ensure!((1..=100_000).contains(&messages), "--messages {messages}: write 1 to 100000");
    ensure!(nodes * messages <= 1 << 28, "--nodes times --messages: write up to {}", 1 << 28);
    ensure!(rate > 0.0 && rate <= 1e5, "--rate {rate}: write more than 0, up to 100000");
    ensure!(bytes <= 1 << 19, "--bytes {bytes}: write up to {}", 1 << 19);
    for (name, part) in [("loss", loss), ("churn", churn), ("hostile", hostile)] {
        ensure!((0.0..1.0).contains(&part), "--{name} {part}: write 0 or more, less than 1");
    }
    ensure!(args.rest <= Duration::from_secs(86400), "--for: write up to 1day");
    Ok(World::new(args).run())
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
        let words = std::iter::once("gossip").chain(line.split_whitespace());
        let report = simulate(&Cli::parse_from(words).args).unwrap();
        println!("{}", serde_json::to_string(&report).unwrap());
        assert_eq!(report.delivered_twice, 0);
        report
    }

    #[test]
    fn nothing_is_missing_where_nothing_is_lost() {
        for seed in 1..=3 {
            let report = report(&format!("--nodes 200 --messages 50 --seed {seed}"));
            assert_eq!((report.delivery, report.missing), (1.0, 0));
            assert_eq!(report.closed_honest, 0);
            // Each of some three mesh links brings a copy, but the one to which
            // it was passed on and those over which it crossed itself.
            assert!((0.5..2.0).contains(&report.duplicates) && report.hops_max < 24);
        }
    }

    #[test]
    fn what_is_lost_is_asked_for() {
        for seed in 1..=3 {
            let report = report(&format!("--nodes 200 --messages 50 --loss 0.1 --seed {seed}"));
            assert!(report.delivery >= 0.999);
            assert!(report.asked > 0.0);
        }
    }

    #[test]
    fn who_passes_nothing_on_stops_nothing() {
        for seed in 1..=3 {
            let report = report(&format!("--nodes 200 --messages 50 --hostile 0.2 --seed {seed}"));
            assert!(report.delivery >= 0.999);
        }
    }

    /// Who has only such peers in its mesh hears by offers alone: not for long.
    #[test]
    fn who_passes_nothing_on_holds_no_mesh_for_long() {
        let asked = |line: &str| {
            let of =
                |seed| report(&format!("--nodes 100 --hostile 0.4 --seed {seed} {line}")).asked;
            (1..=3).map(of).sum::<f64>()
        };
        let at_first = asked("--messages 60 --rate 2");
        let later = asked("--messages 600 --rate 1.5");
        assert!(later < 0.6 * at_first, "{later} {at_first}");
    }

    #[test]
    fn nodes_that_come_and_go_are_no_loss_for_others() {
        let report = report("--nodes 200 --messages 100 --rate 2 --churn 0.5");
        assert!(report.crashes > 50 && report.delivery >= 0.999);
    }

    #[test]
    fn equal_seeds_give_equal_results() {
        let line = "--nodes 60 --messages 20 --loss 0.1 --churn 0.5 --hostile 0.1";
        assert_eq!(report(line), report(line));
        assert_ne!(report(line), report(&format!("{line} --seed 2")));
    }
}
