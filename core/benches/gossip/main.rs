//! Messages of a topic from one peer to another, over loopback TCP: how many in a
//! second, and what one takes. With `--peer rust-libp2p`, by its gossipsub, as it
//! comes. `cargo xtask bench gossip --peers` runs both.
//!
//! Both sign each message and check each signature. The publisher has at most
//! `--window` messages under way, so that no queue overflows.

#[path = "../machine/mod.rs"]
mod machine;
mod peer;

use anyhow::{Result, ensure};
use casm::fuzzing::Heard;
use clap::Parser;
use machine::{cpu_seconds, resident_bytes};
use peer::{Kind, Peer};
use std::{
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Notify;

#[derive(Parser)]
struct Args {
    /// The bytes of a message.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=65536))]
    bytes: u32,
    /// Messages that are under way at a time.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=2000))]
    window: u32,
    /// How long messages are counted, after a second in which they are not.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Whose gossip, if it is not ours.
    #[arg(long)]
    peer: Option<Kind>,
    /// One JSON object on stdout; there is no other form.
    #[arg(long = "json")]
    _json: bool,
    /// What `cargo bench` says to every benchmark.
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

/// Until then nothing is counted.
const WARM: Duration = Duration::from_secs(1);
/// When no message comes for so long, one was lost.
const STALLED: Duration = Duration::from_secs(5);
/// Of so many messages, one is timed.
const TIMED: u64 = 16;

/// What the receiver has.
#[derive(Default)]
struct Received {
    count: AtomicU64,
    more: Notify,
    ways: Mutex<Vec<Duration>>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.seconds > 0.0, "--seconds must be positive");
    let kind = args.peer.unwrap_or(Kind::Casm);
    let (mut from, mut to) = (Peer::new(kind)?, Peer::new(kind)?);
    let addr = loop {
        if let Heard::Listening(addr) = to.next().await {
            break addr;
        }
    };
    from.dial(addr)?;
    let epoch = Instant::now();
    let received = Arc::new(Received::default());
    tokio::spawn(receive(to, received.clone(), epoch));
    while !matches!(from.next().await, Heard::Subscribed) {}
    let lost = tokio::spawn(publish(from, received.clone(), epoch, args.bytes, args.window));

    tokio::time::sleep(WARM).await;
    received.ways.lock().expect("nobody panics").clear();
    let (began, cpu) = (Instant::now(), cpu_seconds()?);
    let before = received.count.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs_f64(args.seconds)).await;
    let count = received.count.load(Ordering::Relaxed) - before;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    ensure!(!lost.is_finished(), "{}", lost.await?.unwrap_err());
    ensure!(count > 0, "no message came within {seconds} s");
    let mut ways = std::mem::take(&mut *received.ways.lock().expect("nobody panics"));
    ways.sort_unstable();
    let way = |percent| {
        ways.get(ways.len() * percent / 100).map(|way: &Duration| way.as_secs_f64() * 1e3)
    };
    let line = serde_json::json!({
        "bench": "gossip", "impl": kind.name(), "bytes": args.bytes, "window": args.window,
        "seconds": seconds,
        "messages_per_s": count as f64 / seconds,
        "cpu_us_per_message": cpu * 1e6 / count as f64,
        "cpu_cores": cpu / seconds,
        // With a full window: what a message waits for others is in it.
        "way_p50_ms": way(50),
        "way_p99_ms": way(99),
        "rss_bytes": resident_bytes()?,
    });
    println!("{line}");
    std::io::stdout().flush()?;
    // What the swarms still do is of no use.
    std::process::exit(0)
}

/// Publishes for ever, as soon as the receiver has enough of what was published.
async fn publish(
    mut peer: Peer,
    received: Arc<Received>,
    epoch: Instant,
    bytes: u32,
    window: u32,
) -> Result<()> {
    let mut sent = 0;
    let mut data = vec![7; bytes as usize];
    loop {
        let taken = received.count.load(Ordering::Acquire);
        while sent - taken < u64::from(window) {
            let nanos = u64::try_from(epoch.elapsed().as_nanos())?;
            data[..8].copy_from_slice(&u64::to_be_bytes(sent));
            data[8..16].copy_from_slice(&nanos.to_be_bytes());
            peer.publish(&data)?;
            sent += 1;
        }
        tokio::select! {
            _ = peer.next() => {}
            () = received.more.notified() => {}
            () = tokio::time::sleep(STALLED) => {
                let taken = received.count.load(Ordering::Acquire);
                anyhow::bail!("only {taken} of {sent} messages came");
            }
        }
    }
}

async fn receive(mut peer: Peer, received: Arc<Received>, epoch: Instant) {
    loop {
        let Heard::Message(data) = peer.next().await else { continue };
        let count = received.count.fetch_add(1, Ordering::Release);
        received.more.notify_one();
        if count.is_multiple_of(TIMED)
            && let Some(nanos) = data[8..].first_chunk()
        {
            let way =
                epoch.elapsed().saturating_sub(Duration::from_nanos(u64::from_be_bytes(*nanos)));
            received.ways.lock().expect("nobody panics").push(way);
        }
    }
}
