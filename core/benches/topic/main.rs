//! Messages of a topic between whole nodes, over loopback TCP: one publisher, a
//! process of its own, and as many subscribers as are said, in this one.
//! `cargo xtask bench topic`.
//!
//! What a message costs the receivers is set beside the bare check of its
//! signature. The publisher has at most `--window` messages under way to the
//! slowest, so that no queue overflows.

#[path = "../machine/mod.rs"]
mod machine;
mod publisher;

use anyhow::{Context, Result, ensure};
use casm::{
    Keypair, Messages, Node, Topic,
    fuzzing::{Verifier, sign_message},
    topics::SubscribeOptions,
};
use clap::Parser;
use machine::{cpu_seconds, resident_bytes};
use std::{
    hint::black_box,
    io::Write,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

#[derive(Clone, Parser)]
struct Args {
    /// The bytes of a message.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(0..=61440))]
    bytes: u32,
    /// Numbers of subscribers: a run for each.
    #[arg(long, value_delimiter = ',', default_value = "1,8")]
    subscribers: Vec<usize>,
    /// Messages that are under way at a time.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=2000))]
    window: u32,
    /// How long messages are counted, after a second in which they are not.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// What this program says to the one that it starts: the subscribers.
    #[arg(long, hide = true, value_delimiter = ',')]
    publish_to: Vec<String>,
    /// One JSON object a run on stdout; there is no other form.
    #[arg(long = "json")]
    _json: bool,
    /// What `cargo bench` says to every benchmark.
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

const NAMESPACE: &str = "bench";
const TOPIC: &str = "bench";
/// Until then nothing is counted.
const WARM: Duration = Duration::from_secs(1);
/// How often the publisher hears how far the slowest is.
const TELL: Duration = Duration::from_millis(2);

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if !args.publish_to.is_empty() {
        return publisher::run(&args).await;
    }
    ensure!(args.seconds > 0.0, "--seconds must be positive");
    for subscribers in &args.subscribers {
        ensure!(*subscribers > 0, "--subscribers must be positive");
        println!("{}", run(&args, *subscribers).await?);
    }
    Ok(())
}

/// A node on loopback that looks for nobody.
async fn node() -> Result<Node> {
    let node = Node::builder().namespace(NAMESPACE).listen("/ip4/127.0.0.1/tcp/0");
    Ok(node.boot(["none"]).start().await?)
}

async fn run(args: &Args, subscribers: usize) -> Result<serde_json::Value> {
    let mut nodes: Vec<Node> = vec![];
    let mut topics: Vec<Topic> = vec![];
    for _ in 0..subscribers {
        let node = node().await?;
        for other in &nodes {
            node.connect(other.addrs()[0].clone()).await?;
        }
        topics.push(node.topic(TOPIC)?);
        nodes.push(node);
    }
    let counts: Vec<_> = topics.iter().map(|_| Arc::new(AtomicU64::new(0))).collect();
    let options = SubscribeOptions::default().queue(65_536);
    for (topic, count) in topics.iter().zip(&counts) {
        tokio::spawn(receive(topic.subscribe_with(options)?, count.clone()));
    }
    let (mut child, stdin) = publisher_of(args, &nodes)?;
    let telling = tokio::task::spawn_blocking({
        let counts = counts.clone();
        move || tell(stdin, &counts)
    });
    let sum = || counts.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>();
    while sum() == 0 {
        ensure!(child.try_wait()?.is_none(), "the publisher has ended");
        tokio::time::sleep(TELL).await;
    }
    tokio::time::sleep(WARM).await;
    let (began, cpu, before) = (Instant::now(), cpu_seconds()?, sum());
    tokio::time::sleep(Duration::from_secs_f64(args.seconds)).await;
    let (count, seconds) = (sum() - before, began.elapsed().as_secs_f64());
    let cpu = cpu_seconds()? - cpu;
    let ended = child.try_wait()?;
    child.kill()?;
    child.wait()?;
    ensure!(ended.is_none(), "the publisher has ended");
    ensure!(count > 0, "no message came within {seconds} s");
    telling.await?;
    for node in nodes {
        node.close().await?;
    }
    let (each, verify) = (count as f64 / subscribers as f64, verify_us(args.bytes)?);
    let cpu_us = cpu * 1e6 / count as f64;
    Ok(serde_json::json!({
        "bench": "topic", "impl": "casm", "bytes": args.bytes, "subscribers": subscribers,
        "window": args.window, "seconds": seconds,
        "messages_per_s": each / seconds,
        "deliveries_per_s": count as f64 / seconds,
        "receiver_cpu_us_per_message": cpu_us,
        "verify_us": verify,
        "of_verifying": verify / cpu_us,
        "rss_bytes": resident_bytes()?,
    }))
}

async fn receive(mut messages: Messages, count: Arc<AtomicU64>) {
    while let Some(message) = messages.next().await {
        black_box(message.data());
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// The publisher, and where it hears how far the slowest is.
fn publisher_of(args: &Args, nodes: &[Node]) -> Result<(Child, ChildStdin)> {
    let addrs: Vec<String> = nodes.iter().map(|node| node.addrs()[0].to_string()).collect();
    let mut publisher = Command::new(std::env::current_exe()?);
    publisher.args(["--publish-to", &addrs.join(",")]);
    publisher.args(["--bytes", &args.bytes.to_string(), "--window", &args.window.to_string()]);
    let mut child = publisher.stdin(Stdio::piped()).spawn().context("the publisher")?;
    let stdin = child.stdin.take().context("the publisher has no input")?;
    Ok((child, stdin))
}

/// Tells the publisher how far the slowest is, as long as it listens.
fn tell(mut stdin: ChildStdin, counts: &[Arc<AtomicU64>]) {
    let slowest = || counts.iter().map(|count| count.load(Ordering::Relaxed)).min().unwrap_or(0);
    while writeln!(stdin, "{}", slowest()).is_ok() {
        std::thread::sleep(TELL);
    }
}

/// What the check of one signature takes, with the key at hand.
fn verify_us(bytes: u32) -> Result<f64> {
    const TIMES: u32 = 4000;
    let (key, data) = (Keypair::generate_ed25519(), vec![7; bytes as usize]);
    let signed = sign_message(&key, "/casm/1.0.0/bench/topic/bench", 1, &data)?;
    let verifier = Verifier::default();
    let cpu = cpu_seconds()?;
    let began = Instant::now();
    for _ in 0..TIMES {
        ensure!(black_box(verifier.verify(&signed)).is_some(), "it is well signed");
    }
    // By the processor's time, unless that is too coarse.
    let (cpu, clock) = (cpu_seconds()? - cpu, began.elapsed().as_secs_f64());
    Ok(if cpu > 0.05 { cpu } else { clock } * 1e6 / f64::from(TIMES))
}
