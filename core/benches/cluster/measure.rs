//! One cluster, measured.

use crate::{
    Args, Size, admit,
    clock::Clock,
    kill::{self, Gone, Victim},
    machine::{cpu_seconds, loopback_bytes, resident_bytes},
    way::Ways,
};
use anyhow::{Context, Result};
use casm::{Config, Event, Keypair, Node, boot::BootAddr, pex};
use futures::future::try_join_all;
use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How often the views are looked at while they are measured.
const SAMPLE: Duration = Duration::from_millis(500);
/// What a heartbeat's signature is over, about.
const SIGNED_BYTES: usize = 200;
/// Signatures that are checked to know how long one takes, and of how many
/// sources.
const CHECKS: usize = 1000;
const SOURCES: u8 = 250;

/// The figures of one cluster. If its views don't get full in time, what is
/// missing, and `failed` says so.
pub async fn measure(args: &Args, size: Size) -> Result<Value> {
    let ttl = size.ttl.unwrap_or(args.ttl);
    let mut result = json!({
        "bench": "cluster", "impl": "casm", "nodes": size.nodes,
        "ttl_ms": u64::try_from(ttl.as_millis())?, "seed": args.seed,
    });
    match args.hubs {
        None => result["degree"] = args.degree.into(),
        Some(hubs) => result["hubs"] = hubs.into(),
    }
    if args.certificates {
        result["admit"] = true.into();
    }
    let mut say = |figures: Value| {
        let Value::Object(figures) = figures else { unreachable!("figures have names") };
        result.as_object_mut().expect("figures have names").extend(figures);
    };

    let check = check_seconds();
    let empty = resident_bytes()?;
    let (mut nodes, mut victims) = (Vec::new(), Vec::new());
    let ca = args.certificates.then(Keypair::generate_ed25519);
    kill::check(args.kill, size.nodes)?;
    for i in 0..size.nodes {
        let config = config(args, ttl, ca.as_ref())?;
        if i < size.nodes - args.kill {
            nodes.push(Node::start(config).await?);
        } else {
            let victim = Victim::start(config).await?;
            nodes.push(victim.node.clone());
            victims.push(victim);
        }
    }
    let counts = Arc::new(Counts::default());
    for node in &nodes {
        tokio::spawn(count(node.clone(), counts.clone()));
    }

    let (began, cpu, bytes) = (Instant::now(), cpu_seconds()?, loopback_bytes()?);
    let full = tokio::time::timeout(args.full_within, async {
        connect(&nodes, args).await?;
        let connect_s = began.elapsed().as_secs_f64();
        while !nodes.iter().all(|node| node.view().len() == nodes.len()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::Ok(connect_s)
    });
    let connect_s = match full.await {
        Ok(Ok(connect_s)) => connect_s,
        ended => {
            let (missing, elapsed) = (missing(&nodes), began.elapsed());
            let why = match ended {
                Ok(Err(error)) => format!("{error:#}; "),
                _ => String::new(),
            };
            say(json!({
                "missing_per_view": missing,
                "failed": format!("{why}after {elapsed:?} {missing} records are missing per view"),
            }));
            return Ok(result);
        }
    };
    let full_view_s = began.elapsed().as_secs_f64();
    say(json!({
        "connect_s": connect_s,
        "full_view_s": full_view_s,
        "full_view_ttls": full_view_s / ttl.as_secs_f64(),
        "full_view_cpu_s": cpu_seconds()? - cpu,
        "full_view_bytes_per_node": (loopback_bytes()? - bytes) / f64::from(size.nodes),
    }));

    let (from, cpu, bytes) = (Instant::now(), cpu_seconds()?, loopback_bytes()?);
    let (left, taken) = (counts.left.load(Ordering::Relaxed), taken_in(&nodes)?);
    let (mut sum, mut samples) = (0.0, 0u32);
    while from.elapsed().as_secs_f64() < args.seconds {
        tokio::time::sleep(SAMPLE).await;
        sum += missing(&nodes);
        samples += 1;
    }
    let seconds = from.elapsed().as_secs_f64();
    let cores = (cpu_seconds()? - cpu) / seconds;
    let bytes_per_s = (loopback_bytes()? - bytes) / seconds;
    let taken_per_s = (taken_in(&nodes)? - taken) / seconds;
    let false_drops = counts.left.load(Ordering::Relaxed) - left;
    // The machine may not run as fast all the time.
    let check = (check + check_seconds()) / 2.0;
    say(json!({
        "seconds": seconds,
        "cpu_cores": cores,
        "bytes_per_node_per_s": bytes_per_s / f64::from(size.nodes),
        "rss_bytes_per_node": (resident_bytes()? - empty) / i64::from(size.nodes),
        "missing_per_view": sum / f64::from(samples),
        "false_drops": false_drops,
        // Those that were sent: each is taken in by every other node.
        "heartbeats_per_s": taken_per_s / (nodes.len() as f64 - 1.0).max(1.0),
        "verify_us": check * 1e6,
    }));
    if taken_per_s > 0.0 {
        say(json!({ "verify_bound": cores / (taken_per_s * check) }));
    }
    if args.changes > 0 && nodes.len() > 1 {
        match counts.ways.measure(&nodes, args.changes, ttl, args.seed).await {
            Ok(ways) => say(ways),
            Err(error) => say(json!({ "failed": format!("a change was not made: {error:#}") })),
        }
    }
    if !victims.is_empty() {
        say(counts.gone.measure(&nodes, victims, ttl).await?);
    }
    let lost = counts.lost.load(Ordering::Relaxed);
    if lost > 0 {
        say(json!({ "failed": format!("{lost} events were lost: false_drops is not true") }));
    }
    Ok(result)
}

/// Of a node; with an authority, of one that has its certificate, and asks for them.
fn config(args: &Args, ttl: Duration, ca: Option<&Keypair>) -> Result<Config> {
    let mut config = Config::default();
    if let Some(ca) = ca {
        admit::certify(&mut config, ca)?;
    }
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
    config.boot = vec![BootAddr::None];
    config.pex = args.hubs.map(|_| pex::Config::default());
    config.ttl = ttl;
    if args.kill > 0 {
        config.limits.table.probation = kill::PROBATION;
    }
    Ok(config)
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
    ways: Ways,
    gone: Gone,
}

/// Counts who leaves a node's view, which nobody should, and takes note of
/// changes.
async fn count(node: Node, counts: Arc<Counts>) {
    let mut events = node.events();
    while let Some(event) = events.next().await {
        match event {
            Event::PeerLeft { peer, .. } => {
                counts.left.fetch_add(1, Ordering::Relaxed);
                counts.gone.left(peer);
            }
            Event::Dropped { count } => _ = counts.lost.fetch_add(count, Ordering::Relaxed),
            Event::PeerUpdated { record } => counts.ways.updated(&record),
            _ => {}
        }
    }
}

/// Records that a view lacks, in the mean.
fn missing(nodes: &[Node]) -> f64 {
    let sum: usize =
        nodes.iter().map(|node| nodes.len() - node.view().len().min(nodes.len())).sum();
    sum as f64 / nodes.len() as f64
}

/// Heartbeats of others that all nodes have taken in, together. One that came by an
/// exchange and then by gossip counts twice, as it is checked twice.
fn taken_in(nodes: &[Node]) -> Result<f64> {
    let mut accepted = 0.0;
    for node in nodes {
        for line in node.metrics().encode().lines() {
            if let Some(n) = line.strip_prefix("casm_heartbeats_total{verdict=\"accepted\"} ") {
                accepted += n.parse::<f64>()?;
            }
        }
    }
    Ok(accepted)
}

/// How long checking one signature takes, with the key decoded. As in a node,
/// each is of another source than the one before.
fn check_seconds() -> f64 {
    let signed: Vec<_> = (0..SOURCES)
        .map(|i| {
            let (key, bytes) = (Keypair::generate_ed25519(), [i; SIGNED_BYTES]);
            (key.public(), bytes, key.sign(&bytes).expect("the key signs"))
        })
        .collect();
    let clock = Clock::start();
    for (public, bytes, signature) in signed.iter().cycle().take(CHECKS) {
        assert!(public.verify(bytes, signature));
    }
    clock.elapsed().as_secs_f64() / CHECKS as f64
}
