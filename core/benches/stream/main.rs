//! Bytes over one stream from a process to another, on loopback: how many in a
//! second, and what they take. With `--peer rust-libp2p`, over a stream of plain
//! rust-libp2p, as it comes. `cargo xtask bench stream --peers` runs both.
//!
//! The receiver says at the end how much it has, and the time goes from the first
//! bytes to the last.

#[path = "../machine/mod.rs"]
mod machine;
mod peer;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use futures::{AsyncReadExt, AsyncWriteExt};
use machine::{cpu_seconds, resident_bytes};
use peer::{Kind, Peer, Transport};
use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

#[derive(Clone, Parser)]
struct Args {
    /// How many bytes.
    #[arg(long, default_value_t = 1 << 30, value_parser = clap::value_parser!(u64).range(1..))]
    bytes: u64,
    /// Bytes that are written, and at most read, at a time.
    #[arg(long, default_value_t = 65536, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    piece: u32,
    /// Over what: a run for each.
    #[arg(long, value_delimiter = ',', default_value = "quic,tcp")]
    transport: Vec<Transport>,
    /// Whose streams, if they are not ours.
    #[arg(long)]
    peer: Option<Kind>,
    /// What this program says to the one that it starts: the receiver.
    #[arg(long, hide = true)]
    send_to: Option<String>,
    /// One JSON object a run on stdout; there is no other form.
    #[arg(long = "json")]
    _json: bool,
    /// What `cargo bench` says to every benchmark.
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

/// Until it has come this far, something is wrong.
const STARTED: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    for transport in &args.transport {
        match &args.send_to {
            Some(to) => send(&args, *transport, to).await?,
            None => println!("{}", receive(&args, *transport).await?),
        }
    }
    Ok(())
}

async fn receive(args: &Args, transport: Transport) -> Result<serde_json::Value> {
    let kind = args.peer.unwrap_or(Kind::Casm);
    let mut peer = Peer::start(kind, transport).await?;
    let mut sender = Command::new(std::env::current_exe()?);
    sender.args(["--send-to", peer.addr(), "--transport", transport.name()]);
    sender.args(["--bytes", &args.bytes.to_string(), "--piece", &args.piece.to_string()]);
    sender.args(args.peer.iter().flat_map(|peer| ["--peer", peer.name()]));
    let sender = sender.stdout(Stdio::piped()).spawn().context("the sender")?;
    let stream = tokio::time::timeout(STARTED, peer.accept()).await;
    let mut stream = stream.context("no stream came")??;
    let mut piece = vec![0; args.piece as usize];
    // The first bytes tell when to begin.
    let mut received = stream.read(&mut piece).await? as u64;
    let (began, cpu) = (Instant::now(), cpu_seconds()?);
    loop {
        match stream.read(&mut piece).await? {
            0 => break,
            n => received += n as u64,
        }
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    ensure!(received == args.bytes, "{received} bytes of {} came", args.bytes);
    stream.write_all(&received.to_be_bytes()).await?;
    stream.close().await?;
    let sender = tokio::task::spawn_blocking(|| sender.wait_with_output()).await??;
    ensure!(sender.status.success(), "the sender ends with {}", sender.status);
    let sender_cpu: f64 = String::from_utf8(sender.stdout)?.trim().parse()?;
    let gib = received as f64 / f64::from(1 << 30);
    Ok(serde_json::json!({
        "bench": "stream", "impl": kind.name(), "transport": transport.name(),
        "bytes": args.bytes, "piece": args.piece, "seconds": seconds,
        "mib_per_s": gib * 1024. / seconds,
        "sender_cpu_s_per_gib": sender_cpu / gib,
        "receiver_cpu_s_per_gib": cpu / gib,
        "rss_bytes": resident_bytes()?,
    }))
}

/// Sends all of it, and prints what processor time that took.
async fn send(args: &Args, transport: Transport, to: &str) -> Result<()> {
    let peer = Peer::start(args.peer.unwrap_or(Kind::Casm), transport).await?;
    let mut stream = peer.open(to).await?;
    let piece = vec![7; args.piece as usize];
    let cpu = cpu_seconds()?;
    let mut left = args.bytes;
    while left > 0 {
        let some = &piece[..usize::try_from(left).unwrap_or(usize::MAX).min(piece.len())];
        stream.write_all(some).await?;
        left -= some.len() as u64;
    }
    stream.close().await?;
    let mut there = [0; 8];
    stream.read_exact(&mut there).await.context("the receiver does not answer")?;
    ensure!(u64::from_be_bytes(there) == args.bytes, "the receiver has not all");
    println!("{}", cpu_seconds()? - cpu);
    Ok(())
}
