//! Nodes in one process, over loopback TCP, each connected to a few random
//! earlier ones (or all to the same few hubs, with peer exchange): how soon every
//! view is full, and what it costs to keep it so.
//! `cargo xtask bench cluster` runs this, beside what others made.

use anyhow::{Context, Result, bail, ensure};
use casm::{Config, Event, Node, boot::BootAddr, pex};
use clap::Parser;
use futures::future::try_join_all;
use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

#[derive(Parser)]
struct Args {
    /// Nodes in this process.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    nodes: u32,
    /// Earlier nodes that each node connects to.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    degree: u32,
    /// Connect each node to so many first ones, the same for all, instead of to
    /// random earlier ones; they exchange peers as nodes do by default.
    #[arg(long, conflicts_with = "degree", value_parser = clap::value_parser!(u32).range(1..))]
    hubs: Option<u32>,
    /// The nodes' TTL.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// How long the full cluster is measured, in seconds.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Give up when the views are not full by then.
    #[arg(long, default_value = "2m", value_parser = humantime::parse_duration)]
    full_within: Duration,
    /// Seed of the choice of earlier nodes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object on stdout; there is no other form.
    #[arg(long = "json")]
    _json: bool,
    /// What `cargo bench` says to every benchmark.
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

/// How often the views are looked at while they are measured.
const SAMPLE: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.seconds > 0.0, "--seconds must be positive");
    let empty = resident_bytes()?;
    let mut nodes = Vec::new();
    for _ in 0..args.nodes {
        nodes.push(start(&args).await?);
    }
    let counts = Arc::new(Counts::default());
    for node in &nodes {
        tokio::spawn(count(node.clone(), counts.clone()));
    }

    let (began, cpu) = (Instant::now(), cpu_seconds()?);
    connect(&nodes, &args).await?;
    let connect_s = began.elapsed().as_secs_f64();
    while !nodes.iter().all(|node| node.view().len() == nodes.len()) {
        if began.elapsed() > args.full_within {
            bail!("after {:?} {} records are missing per view", began.elapsed(), missing(&nodes));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (full_view_s, full_view_cpu_s) = (began.elapsed().as_secs_f64(), cpu_seconds()? - cpu);

    let (from, cpu) = (Instant::now(), cpu_seconds()?);
    let (left, heard) = (counts.left.load(Ordering::Relaxed), heartbeats(&nodes)?);
    let (mut sum, mut samples) = (0.0, 0u32);
    while from.elapsed().as_secs_f64() < args.seconds {
        tokio::time::sleep(SAMPLE).await;
        sum += missing(&nodes);
        samples += 1;
    }
    let seconds = from.elapsed().as_secs_f64();
    let mut result = serde_json::json!({
        "bench": "cluster", "impl": "casm", "nodes": args.nodes,
        "ttl_ms": u64::try_from(args.ttl.as_millis())?, "seconds": seconds, "seed": args.seed,
        "connect_s": connect_s,
        "full_view_s": full_view_s,
        "full_view_cpu_s": full_view_cpu_s,
        "cpu_cores": (cpu_seconds()? - cpu) / seconds,
        "rss_bytes_per_node": (resident_bytes()? - empty) / i64::from(args.nodes),
        "missing_per_view": sum / f64::from(samples),
        "false_drops": counts.left.load(Ordering::Relaxed) - left,
        "heartbeats_per_s": (heartbeats(&nodes)? - heard) / seconds,
    });
    match args.hubs {
        None => result["degree"] = args.degree.into(),
        Some(hubs) => {
            result["hubs"] = hubs.into();
            result["full_view_ttls"] = (full_view_s / args.ttl.as_secs_f64()).into();
        }
    }
    ensure!(counts.lost.load(Ordering::Relaxed) == 0, "events were lost: false_drops is not true");
    println!("{result}");
    Ok(())
}

async fn start(args: &Args) -> Result<Node> {
    let mut config = Config::default();
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
    config.boot = vec![BootAddr::None];
    config.pex = args.hubs.map(|_| pex::Config::default());
    config.ttl = args.ttl;
    Ok(Node::start(config).await?)
}

/// Connects each node to random earlier ones or to the hubs, all of its own at
/// once, as a node does with the peers that discovery finds.
async fn connect(nodes: &[Node], args: &Args) -> Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(args.seed);
    for (i, node) in nodes.iter().enumerate().skip(1) {
        let earlier = match args.hubs {
            None => index::sample(&mut random, i, (args.degree as usize).min(i)).into_vec(),
            Some(hubs) => (0..(hubs as usize).min(i)).collect(),
        };
        let dials = earlier.into_iter().map(async |j| node.connect(&nodes[j].info()).await);
        try_join_all(dials).await.with_context(|| format!("node {i}"))?;
    }
    Ok(())
}

#[derive(Default)]
struct Counts {
    left: AtomicU64,
    lost: AtomicU64,
}

/// Counts who leaves a node's view: nobody should.
async fn count(node: Node, counts: Arc<Counts>) {
    let mut events = node.events();
    while let Some(event) = events.next().await {
        match event {
            Event::PeerLeft { .. } => counts.left.fetch_add(1, Ordering::Relaxed),
            Event::Dropped { count } => counts.lost.fetch_add(count, Ordering::Relaxed),
            _ => continue,
        };
    }
}

/// Records that a view lacks, in the mean.
fn missing(nodes: &[Node]) -> f64 {
    let sum: usize =
        nodes.iter().map(|node| nodes.len() - node.view().len().min(nodes.len())).sum();
    sum as f64 / nodes.len() as f64
}

/// Heartbeats that were sent by all nodes: those that were accepted, each by
/// every other node.
fn heartbeats(nodes: &[Node]) -> Result<f64> {
    let mut accepted = 0.0;
    for node in nodes {
        for line in node.metrics().encode().lines() {
            if let Some(n) = line.strip_prefix("casm_heartbeats_total{verdict=\"accepted\"} ") {
                accepted += n.parse::<f64>()?;
            }
        }
    }
    Ok(accepted / (nodes.len() as f64 - 1.0).max(1.0))
}

/// Processor time of this process so far.
fn cpu_seconds() -> Result<f64> {
    // Fields 14 and 15, counted from the pid, in hundredths of a second; the
    // second field is in brackets and may hold spaces.
    let stat = fs::read_to_string("/proc/self/stat").context("this benchmark needs Linux")?;
    let fields = stat.rsplit_once(") ").context("/proc/self/stat")?.1;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}

/// Memory of this process that is in RAM.
fn resident_bytes() -> Result<i64> {
    let status = fs::read_to_string("/proc/self/status").context("this benchmark needs Linux")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<i64>()? * 1024)
}
