//! `casm-sim admit`: how soon all members know that one of them is revoked, and
//! whether they still do after a restart.
//!
//! What decides is the production code: what a node knows of members, what it makes of
//! questions and answers, and whom it asks and tells of what. What carries them is a
//! model, and described in docs/simulator.md:
//!
//! - `node`: one node; `world`: all of them, and what happens to them

mod node;
mod world;

use casm::cluster::Heartbeat;
use serde::Serialize;
use std::time::Duration;
use world::{Outcome, World};

/// 2026-01-01, when every simulation begins, in seconds.
const EPOCH: u64 = 1_767_225_600;

/// How soon all members know of a revocation.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Members, beside the one that is revoked.
    #[arg(long, default_value_t = 50)]
    nodes: usize,
    /// How many random earlier nodes each node is connected to.
    #[arg(long, default_value_t = 4)]
    degree: usize,
    /// Revocations that are put in at once at one node: that of a member, and of
    /// others that nobody has seen.
    #[arg(long, default_value_t = 1)]
    revocations: usize,
    /// The part of the members that is away then, 0 to 0.5.
    #[arg(long, default_value_t = 0.0)]
    away: f64,
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
    degree: usize,
    revocations: usize,
    away: f64,
    seed: u64,
    /// Members that were there and that it reached, and after which time.
    reached: usize,
    reached_p50_ms: f64,
    reached_max_ms: f64,
    /// The longest of these times, in pauses between two heartbeats of the usual TTL.
    rounds: f64,
    /// Members that were away, that it reached, and how long after their start.
    late: usize,
    late_max_ms: f64,
    /// Restarts, and those after which a node did not know any more what it knew.
    restarts: u64,
    forgot: u64,
    /// Connections that the revoked one was refused.
    shut_out: u64,
    questions: u64,
    bytes: u64,
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
    anyhow::ensure!((3..=1024).contains(&args.nodes), "--nodes {}: write 3 to 1024", args.nodes);
    anyhow::ensure!(
        (2..args.nodes).contains(&args.degree),
        "--degree {}: write 2 to {}",
        args.degree,
        args.nodes - 1
    );
    let most = casm::admit::MAX_REVOKED;
    anyhow::ensure!(
        (1..=most).contains(&args.revocations),
        "--revocations {}: write 1 to {most}, what a node holds",
        args.revocations
    );
    anyhow::ensure!((0.0..=0.5).contains(&args.away), "--away {}: write 0 to 0.5", args.away);

    let outcome = World::new(args)?.run()?;
    let Outcome { mut reached, late, restarts, forgot, shut_out, questions, bytes } = outcome;
    reached.sort_unstable();
    let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1000.0);
    let reached_max_ms = ms(reached.last());
    Ok(Report {
        nodes: args.nodes,
        degree: args.degree,
        revocations: args.revocations,
        away: args.away,
        seed: args.seed,
        reached: reached.len(),
        reached_p50_ms: ms(reached.get(reached.len() / 2)),
        reached_max_ms,
        rounds: reached_max_ms / round_ms(),
        late: late.len(),
        late_max_ms: ms(late.iter().max()),
        restarts,
        forgot,
        shut_out,
        questions,
        bytes,
    })
}

/// The shortest pause between two heartbeats, 4/15 of the TTL.
fn round_ms() -> f64 {
    Heartbeat::DEFAULT_TTL.as_secs_f64() * 1000.0 * 4.0 / 15.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fifty() -> Args {
        Args { nodes: 50, degree: 4, revocations: 1, away: 0.0, seed: 1, json: true }
    }

    #[test]
    fn a_revocation_reaches_all_of_50_within_two_rounds_and_outlives_restarts() {
        for seed in 1..=10 {
            let report = simulate(&Args { seed, ..fifty() }).unwrap();
            println!("{report:?}");
            assert_eq!((report.reached, report.late), (50, 0), "{report:?}");
            assert!(report.rounds > 0.0 && report.rounds <= 2.0, "{report:?}");
            // Also within two of gossip's own, which are of a second.
            assert!(report.reached_max_ms <= 2000.0, "{report:?}");
            assert_eq!((report.restarts, report.forgot), (50, 0), "{report:?}");
            // The revoked one stays out: each of its neighbours restarts.
            assert!(report.shut_out >= 4, "{report:?}");
        }
    }

    #[test]
    fn who_was_away_hears_of_it_when_it_connects() {
        for seed in 1..=3 {
            let report = simulate(&Args { away: 0.3, seed, ..fifty() }).unwrap();
            println!("{report:?}");
            assert_eq!((report.reached, report.late), (35, 15), "{report:?}");
            assert!(report.reached_max_ms <= 5000.0 && report.late_max_ms <= 5000.0, "{report:?}");
            assert_eq!(report.forgot, 0, "{report:?}");
        }
    }

    #[test]
    fn more_than_wait_for_a_peer_are_compared() {
        let args = Args { nodes: 8, degree: 3, revocations: 400, ..fifty() };
        let report = simulate(&args).unwrap();
        println!("{report:?}");
        assert_eq!((report.reached, report.forgot), (8, 0), "{report:?}");
    }

    #[test]
    fn equal_seeds_give_equal_results() {
        let args = Args { nodes: 10, ..fifty() };
        assert_eq!(simulate(&args).unwrap(), simulate(&args).unwrap());
        let other = simulate(&Args { seed: 2, ..args.clone() }).unwrap();
        assert_ne!(simulate(&args).unwrap().reached_max_ms, other.reached_max_ms);
    }

    #[test]
    fn arguments_out_of_range_are_refused() {
        for bad in [
            Args { nodes: 2, ..fifty() },
            Args { degree: 1, ..fifty() },
            Args { degree: 50, ..fifty() },
            Args { revocations: 0, ..fifty() },
            Args { revocations: 4097, ..fifty() },
            Args { away: 0.6, ..fifty() },
        ] {
            assert!(simulate(&bad).is_err(), "{bad:?}");
        }
    }
}
