//! `casm-sim cluster`: the failure detector of many nodes, over hours.
//!
//! What decides is the production code: the table with its deadlines, the
//! detector, the pace, the digests of anti-entropy. What carries heartbeats
//! from node to node is a model, and described in docs/simulator.md:
//!
//! - `graph`: who is connected to whom, and how long a copy takes
//! - `mesh`: which of those links carry every heartbeat
//! - `messages`: who has seen what, as far as gossip remembers
//! - `member`: one node; `world`: all of them, and what happens to them
//! - `large`: large clusters, with who suspects whom, and the pace that adapts

pub mod graph;
mod large;
mod member;
mod mesh;
mod messages;
mod world;

use casm::cluster::Detector;
use serde::Serialize;
use std::time::Duration;
use world::{Outcome, World};

/// How often live peers are dropped, and how fast crashed ones.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Nodes.
    #[arg(long, default_value_t = 24)]
    nodes: usize,
    /// Simulated hours.
    #[arg(long, default_value_t = 24.0)]
    hours: f64,
    /// The part of all copies that is lost on a link, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// The part of all heartbeats that a receiver never gets, whatever its
    /// copies, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    receive_loss: f64,
    /// How many random earlier nodes each node is connected to.
    #[arg(long, default_value_t = 4)]
    degree: usize,
    /// The TTL of all records.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "10s")]
    ttl: Duration,
    /// How long a record is kept without news, in hundredths of its TTL. A
    /// node's own value by default.
    #[arg(long)]
    patience: Option<u32>,
    /// For how long a node runs before it crashes, in the mean; it comes back
    /// 30 to 60 s later. 0 means that none crashes.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "1h")]
    uptime: Duration,
    /// The random source; equal seeds give equal results.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints one JSON object (always so; for scripts).
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    large: large::Options,
}

/// What is printed.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Report {
    nodes: usize,
    hours: f64,
    loss: f64,
    receive_loss: f64,
    degree: usize,
    ttl_s: f64,
    /// For how long a record is kept without news.
    patience_s: f64,
    seed: u64,
    /// Heartbeats that were sent.
    heartbeats: u64,
    /// Heartbeats that entered a table: by the mesh, by gossip's IHAVE and
    /// IWANT, by an exchange.
    by_mesh: u64,
    by_gossip: u64,
    by_exchange: u64,
    /// For how long live nodes were observed by live nodes.
    peer_hours: f64,
    /// How often a live peer was dropped.
    false_drops: u64,
    false_drops_per_peer_hour: f64,
    crashes: u64,
    /// From a crash until one observer has dropped the record, over all
    /// crashes and observers; absent if there was none.
    detections: usize,
    detect_p50_s: Option<f64>,
    detect_p99_s: Option<f64>,
    detect_max_s: Option<f64>,
}

/// Simulates and prints.
///
/// # Errors
/// If an argument is out of its range.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.large.scenario.is_some() || args.nodes > 4096 {
        return large::run(args);
    }
    println!("{}", serde_json::to_string(&simulate(args)?)?);
    Ok(())
}

fn simulate(args: &Args) -> anyhow::Result<Report> {
    anyhow::ensure!((3..=4096).contains(&args.nodes), "--nodes {}: write 3 to 4096", args.nodes);
    anyhow::ensure!(
        (2..args.nodes).contains(&args.degree),
        "--degree {}: write 2 to {}: with fewer links one crash cuts others off",
        args.degree,
        args.nodes - 1
    );
    anyhow::ensure!(
        args.hours > 0.0 && args.hours <= 24.0 * 366.0,
        "--hours {}: write more than 0, up to a year",
        args.hours
    );
    for (name, value) in [("--loss", args.loss), ("--receive-loss", args.receive_loss)] {
        anyhow::ensure!((0.0..1.0).contains(&value), "{name} {value}: write 0 to 0.99");
    }
    let ttls = casm::cluster::Heartbeat::MIN_TTL..=casm::cluster::Heartbeat::MAX_TTL;
    anyhow::ensure!(ttls.contains(&args.ttl), "--ttl {:?}: write 1s to 24h", args.ttl);
    anyhow::ensure!(args.patience != Some(0), "--patience 0: write 1 or more");

    let detector = args.patience.map_or_else(Detector::default, Detector::new);
    let end = Duration::from_secs_f64(args.hours * 3600.0);
    let Outcome { heartbeats, by, peer_time, false_drops, crashes, mut detections } =
        World::new(args, detector).run(end);
    detections.sort_unstable();
    let peer_hours = peer_time.as_secs_f64() / 3600.0;
    let percentile = |percent: usize| {
        let at = (detections.len() * percent).div_ceil(100).saturating_sub(1);
        detections.get(at).map(Duration::as_secs_f64)
    };
    Ok(Report {
        nodes: args.nodes,
        hours: args.hours,
        loss: args.loss,
        receive_loss: args.receive_loss,
        degree: args.degree,
        ttl_s: args.ttl.as_secs_f64(),
        patience_s: detector.patience(args.ttl).as_secs_f64(),
        seed: args.seed,
        heartbeats,
        by_mesh: by.mesh,
        by_gossip: by.gossip,
        by_exchange: by.exchange,
        peer_hours,
        false_drops,
        false_drops_per_peer_hour: false_drops as f64 / peer_hours,
        crashes,
        detections: detections.len(),
        detect_p50_s: percentile(50),
        detect_p99_s: percentile(99),
        detect_max_s: percentile(100),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Few links, so that what is lost on one is felt.
    fn day() -> Args {
        Args {
            nodes: 6,
            hours: 24.0,
            loss: 0.05,
            receive_loss: 0.0,
            degree: 3,
            ttl: Duration::from_secs(10),
            patience: None,
            uptime: Duration::from_secs(3600),
            seed: 1,
            json: true,
            large: large::Options::default(),
        }
    }

    fn hour() -> Args {
        Args { hours: 1.0, nodes: 12, degree: 4, ..day() }
    }

    #[test]
    fn in_a_day_at_a_loss_of_5_percent_no_live_peer_is_dropped() {
        let report = simulate(&day()).unwrap();
        assert_eq!(report.false_drops, 0, "{report:?}");
        assert!(report.peer_hours > 650.0 && report.crashes > 100, "{report:?}");
        // 1.3 TTL.
        assert!(report.detect_p99_s.unwrap() <= 13.0, "{report:?}");
    }

    #[test]
    fn half_of_the_patience_would_drop_live_peers_in_that_day() {
        let whole = Detector::default().patience(Duration::from_secs(100)).as_secs() as u32;
        let report = simulate(&Args { patience: Some(whole / 2), ..day() }).unwrap();
        assert_eq!(report.patience_s, 6.2);
        assert!(report.false_drops > 10, "{report:?}");
    }

    #[test]
    fn nothing_is_lost_where_nothing_gets_lost() {
        let report = simulate(&Args { loss: 0.0, ..hour() }).unwrap();
        assert_eq!(report.false_drops, 0, "{report:?}");
        assert!(report.detect_p99_s.unwrap() <= 13.0, "{report:?}");
        // Without crashes every heartbeat gets everywhere, nearly all by the mesh.
        let calm = Args { uptime: Duration::ZERO, ..hour() };
        let report = simulate(&Args { loss: 0.0, ..calm.clone() }).unwrap();
        assert_eq!((report.detections, report.detect_p99_s), (0, None));
        let by_others = report.by_gossip + report.by_exchange;
        let missed = (report.heartbeats * 11).saturating_sub(report.by_mesh + by_others);
        assert!(missed < 100 && by_others * 10 < report.by_mesh, "{report:?}");
        // With losses some come by the other ways.
        let report = simulate(&Args { loss: 0.4, nodes: 30, ..calm }).unwrap();
        assert!(report.by_gossip > 0 && report.by_exchange > 0, "{report:?}");
    }

    #[test]
    fn what_a_receiver_loses_comes_by_no_other_way() {
        let some = Args { receive_loss: 0.05, uptime: Duration::ZERO, ..hour() };
        let report = simulate(&some).unwrap();
        let expected = (report.heartbeats * 11) as f64 * 0.95;
        let came = (report.by_mesh + report.by_gossip + report.by_exchange) as f64;
        assert!((came / expected - 1.0).abs() < 0.01, "{came} of {expected}: {report:?}");
        assert!(report.false_drops_per_peer_hour < 0.2, "{report:?}");
        let most = simulate(&Args { receive_loss: 0.8, ..some }).unwrap();
        assert!(most.false_drops_per_peer_hour > 10.0, "{most:?}");
    }

    #[test]
    fn equal_seeds_give_equal_results() {
        let args = Args { hours: 0.2, ..hour() };
        assert_eq!(simulate(&args).unwrap(), simulate(&args).unwrap());
        let other = simulate(&Args { seed: 2, ..args.clone() }).unwrap();
        assert_ne!(simulate(&args).unwrap().by_mesh, other.by_mesh);
    }

    #[test]
    fn arguments_out_of_range_are_refused() {
        for bad in [
            Args { nodes: 2, ..day() },
            Args { degree: 1, ..day() },
            Args { degree: 6, ..day() },
            Args { hours: 0.0, ..day() },
            Args { loss: 1.0, ..day() },
            Args { receive_loss: -0.1, ..day() },
            Args { ttl: Duration::from_millis(10), ..day() },
            Args { patience: Some(0), ..day() },
        ] {
            assert!(simulate(&bad).is_err(), "{bad:?}");
        }
    }
}
