//! `casm-sim cluster --scenario …`: what a large cluster costs each node, and how soon
//! it sees who is gone.
//!
//! What decides is the production code: who suspects whom, and how often each node says
//! that it lives. Docs/simulator.md says what is a model.
//!
//! - `links`: who is connected to whom; `spread`: how a message gets to all
//! - `views`: what each node knows of each other one
//! - `node`: one node; `world`: all of them; `scenario`: what happens to them
//! - `tally`: what is counted

mod links;
mod node;
mod scenario;
mod spread;
mod tally;
#[cfg(test)]
mod tests;
mod views;
mod world;

use anyhow::ensure;
use scenario::FIRST;
pub use scenario::Scenario;
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};
use tally::{OFFERS, percentile};
use world::{BEGIN, World};

/// What is said of a large cluster only.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// What happens to a large cluster; above 4,096 nodes nothing by default.
    #[arg(long, value_enum)]
    pub scenario: Option<Scenario>,
    /// In a scenario: connections that each node makes; others make some to it besides.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// In a scenario: the simulated time. Each has its own by default.
    #[arg(long = "for", value_parser = humantime::parse_duration)]
    time: Option<Duration>,
    /// In a scenario: random nodes that hear whom others suspect, and whose drops are
    /// counted. The others only say whom they suspect, pass on what they hear, and answer.
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    observers: usize,
    /// In a scenario: up to so many nodes have real tables. More have a model of them.
    #[arg(long, default_value_t = 1000)]
    tables: usize,
    /// In a scenario: how long a peer must have been there to be established. The TTL by
    /// default, and ten minutes where somebody starts.
    #[arg(long, value_parser = humantime::parse_duration)]
    probation: Option<Duration>,
    /// In a scenario: heartbeats, a second apart, with which a node answers that is accused.
    /// A real one has 1.
    #[arg(long, default_value_t = 1)]
    answers: u32,
    /// In a scenario: neighbours whom a node asks for a later heartbeat before it removes a
    /// peer. A real one asks none.
    #[arg(long, default_value_t = 0)]
    asks: u32,
    /// In a scenario: prints a table instead of JSON.
    #[arg(long)]
    table: bool,
}

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Args {
    nodes: usize,
    loss: f64,
    receive_loss: f64,
    seed: u64,
    degree: usize,
    observers: usize,
    tables: usize,
    options: Options,
}

impl Args {
    fn scenario(&self) -> Scenario {
        self.options.scenario.unwrap_or(Scenario::Steady)
    }

    fn first(&self) -> Duration {
        FIRST
    }

    fn probation(&self) -> Duration {
        let starts = matches!(self.scenario(), Scenario::Flash | Scenario::Flap);
        let real = self.nodes <= self.tables && !starts;
        let short = Duration::from_secs(10);
        self.options.probation.unwrap_or(if real { short } else { Duration::from_secs(600) })
    }
}

/// What is printed.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Report {
    scenario: &'static str,
    nodes: usize,
    observers: usize,
    real_tables: bool,
    loss: f64,
    receive_loss: f64,
    seed: u64,
    simulated_s: f64,
    /// The least and the most that a node announces at the end.
    ttl_least_s: f64,
    ttl_most_s: f64,
    /// The most that any has announced in a heartbeat.
    ttl_highest_s: f64,
    /// Of the whole cluster, in a second.
    heartbeats_per_s: f64,
    accusations_per_s: f64,
    /// Of a node, in a second.
    verified_per_node_s: f64,
    copies_per_message: f64,
    bytes_came_per_node_s: f64,
    bytes_sent_per_node_s: f64,
    /// Offers, as the engine of a real node makes them: sent, and received.
    offers_per_node_s: f64,
    pings_lost: u64,
    crashes: u64,
    /// From a crash until an observer has dropped the record.
    detections: usize,
    /// Those of them that neighbours brought about, and those that are owed and weren't
    /// made until the end.
    by_suspicion: u64,
    undetected: usize,
    detect_p50_s: Option<f64>,
    detect_p99_s: Option<f64>,
    detect_max_s: Option<f64>,
    /// Live peers that were dropped though they could be reached.
    false_drops: u64,
    /// Those that were dropped since they could not, and how long after that began.
    parted_drops: usize,
    parted_p50_s: Option<f64>,
    parted_p99_s: Option<f64>,
    peer_hours: f64,
    false_drops_per_peer_hour: f64,
    /// When all views were full for good, from the begin.
    full_s: Option<f64>,
    /// The metric `casm_suspicions_total` of all nodes.
    suspicions: BTreeMap<&'static str, u64>,
}

/// Simulates and prints.
///
/// # Errors
/// If an argument is out of its range.
pub fn run(args: &super::Args) -> anyhow::Result<()> {
    let report = simulate(args)?;
    if !args.large.table {
        println!("{}", serde_json::to_string(&report)?);
        return Ok(());
    }
    if let serde_json::Value::Object(values) = serde_json::to_value(&report)? {
        values.iter().for_each(|(key, value)| println!("{key:28} {value}"));
    }
    Ok(())
}

fn simulate(args: &super::Args) -> anyhow::Result<Report> {
    let (args, time) = checked(args)?;
    Ok(report(World::new(&args, BEGIN + time).run(), time))
}

/// What is asked for, and for which time.
fn checked(args: &super::Args) -> anyhow::Result<(Args, Duration)> {
    let options = args.large.clone();
    let args = Args {
        nodes: args.nodes,
        loss: args.loss,
        receive_loss: args.receive_loss,
        seed: args.seed,
        degree: options.connections,
        observers: options.observers.min(args.nodes),
        tables: options.tables,
        options,
    };
    // Two bytes and a bit of each pair are 1.9 GB then.
    ensure!((3..=30_000).contains(&args.nodes), "--nodes {}: write 3 to 30000", args.nodes);
    ensure!((2..=16).contains(&args.degree), "--connections {}: write 2 to 16", args.degree);
    ensure!(args.observers > 0, "--observers 0: write 1 or more");
    for (name, value) in [("--loss", args.loss), ("--receive-loss", args.receive_loss)] {
        ensure!((0.0..1.0).contains(&value), "{name} {value}: write 0 to 0.99");
    }
    let time = args.options.time.unwrap_or_else(|| args.scenario().time());
    ensure!(time <= Duration::from_secs(86_400), "--for {time:?}: write up to 1day");
    Ok((args, time))
}

fn report(mut world: World<'_>, time: Duration) -> Report {
    let (args, seconds) = (world.args, time.as_secs_f64());
    let n = args.nodes;
    let ttls = (0..n).filter(|node| world.up[*node]);
    let ttls = ttls.map(|node| world.nodes[node].stretch.announced().as_secs_f64());
    let (least, most) = ttls.fold((f64::MAX, 0.0_f64), |(a, b), ttl| (a.min(ttl), b.max(ttl)));
    let up = |node: &usize| world.up[*node];
    let undetected = (0..n).filter(|node| !world.up[*node]).map(|down| {
        let observers = (0..n).filter(up).filter(|node| world.nodes[*node].observes);
        observers.filter(|node| world.views.in_view(*node, down).is_some()).count()
    });
    let undetected = undetected.sum();
    for node in &mut world.nodes {
        world.tally.counts(&mut node.suspicion);
    }
    let mut tally = world.tally;
    tally.detections.sort_unstable();
    tally.parted.sort_unstable();
    let a_node = |count: u64| count as f64 / tally.node_seconds.max(1) as f64;
    let peer_hours = tally.peer_seconds as f64 / 3600.0;
    Report {
        scenario: args.scenario().name(),
        nodes: n,
        observers: args.observers,
        real_tables: n <= args.tables,
        loss: args.loss,
        receive_loss: args.receive_loss,
        seed: args.seed,
        simulated_s: seconds,
        ttl_least_s: least,
        ttl_most_s: most,
        ttl_highest_s: tally.ttl.as_secs_f64(),
        heartbeats_per_s: tally.heartbeats as f64 / seconds,
        accusations_per_s: tally.accusations as f64 / seconds,
        verified_per_node_s: a_node(tally.verified),
        copies_per_message: tally.copies.came as f64 / tally.verified.max(1) as f64,
        bytes_came_per_node_s: a_node(tally.bytes_came),
        bytes_sent_per_node_s: a_node(tally.bytes_sent),
        offers_per_node_s: a_node(tally.verified) * OFFERS,
        pings_lost: tally.pings_lost,
        crashes: tally.crashes,
        detections: tally.detections.len(),
        by_suspicion: tally.by_suspicion,
        undetected,
        detect_p50_s: percentile(&tally.detections, 50),
        detect_p99_s: percentile(&tally.detections, 99),
        detect_max_s: percentile(&tally.detections, 100),
        false_drops: tally.false_drops,
        parted_drops: tally.parted.len(),
        parted_p50_s: percentile(&tally.parted, 50),
        parted_p99_s: percentile(&tally.parted, 99),
        peer_hours,
        false_drops_per_peer_hour: tally.false_drops as f64 / peer_hours.max(f64::EPSILON),
        full_s: tally.full.map(|at| at.saturating_sub(BEGIN).as_secs_f64()),
        suspicions: tally.counts,
    }
}
