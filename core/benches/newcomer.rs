//! How soon a newcomer sees everybody: one member holds the real signed
//! heartbeats of many nodes, and the newcomer makes its first connection to it.
//! `cargo xtask bench newcomer`. Prints one JSON line.

use anyhow::{Context, Result, ensure};
use casm::{
    Config, Keypair, Node, PeerInfo,
    boot::BootAddr,
    cluster::{Heartbeat, server_of},
    fuzzing::sign_message,
};
use clap::Parser;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{
    StreamProtocol, SwarmBuilder, noise,
    swarm::{SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use std::time::{Duration, Instant, SystemTime};

#[derive(Parser)]
struct Args {
    /// Heartbeats that the member holds.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=4000))]
    records: u16,
    /// Newcomers, one after the other.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// One JSON object on stdout; there is no other form.
    #[arg(long = "json")]
    _json: bool,
    /// What `cargo bench` says to every benchmark.
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

const TTL: Duration = Duration::from_secs(600);
/// Give up when a view is not full by then.
const FULL_WITHIN: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let records = usize::from(args.records);
    let member = start().await?;
    let keys: Vec<_> = (0..records).map(|_| Keypair::generate_ed25519()).collect();
    tokio::time::timeout(FULL_WITHIN, hand_over(&member, &keys))
        .await
        .context("the member did not take the heartbeats")??;
    full(&member, records + 1).await?;

    let mut taken = Vec::new();
    for _ in 0..args.runs {
        let newcomer = start().await?;
        let began = Instant::now();
        newcomer.connect(&member.info()).await?;
        full(&newcomer, records + 2).await?;
        taken.push(began.elapsed().as_secs_f64() * 1000.0);
        newcomer.close().await?;
        full(&member, records + 1).await?;
    }
    taken.sort_by(f64::total_cmp);
    let line = serde_json::json!({
        "bench": "newcomer", "impl": "casm", "records": records, "runs": args.runs,
        "full_view_ms_min": taken[0],
        "full_view_ms_p50": taken[taken.len() / 2],
        "full_view_ms_max": taken[taken.len() - 1],
    });
    println!("{line}");
    Ok(())
}

async fn start() -> Result<Node> {
    let mut config = Config::default();
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
    config.boot = vec![BootAddr::None];
    config.pex = None;
    config.ttl = TTL;
    Ok(Node::start(config).await?)
}

/// Waits until a view holds so many records, not more and not fewer.
async fn full(node: &Node, n: usize) -> Result<()> {
    let began = Instant::now();
    while node.view().len() != n {
        ensure!(began.elapsed() < FULL_WITHIN, "{} records instead of {n}", node.view().len());
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    Ok(())
}

/// Hands the heartbeats of many nodes to a member, as one that knows them would:
/// with the protocol by which nodes hand each other what they know.
async fn hand_over(member: &Node, keys: &[Keypair]) -> Result<()> {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|_| libp2p_stream::Behaviour::new())?
        .with_swarm_config(|config| config.with_idle_connection_timeout(FULL_WITHIN))
        .build();
    let PeerInfo { id, addrs } = member.info();
    swarm.dial(DialOpts::peer_id(id).addresses(addrs).build())?;
    let mut control = swarm.behaviour().new_control();
    while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {}
    let running = tokio::spawn(async move { while swarm.next().await.is_some() {} });

    let seq = u64::try_from(SystemTime::UNIX_EPOCH.elapsed()?.as_nanos())?;
    let protocol = format!("/casm/1.0.0/{}/sync/2", member.namespace());
    let mut stream = control.open_stream(id, StreamProtocol::try_from_owned(protocol)?).await?;
    // Field 2 of the header, a key of 16 bytes; and of all ids (a bit), in a list (240)
    // of so many, each that there is, in order, with its number: the same for all.
    let mut ids: Vec<[u8; 8]> = Vec::new();
    for key in keys {
        let id = key.public().to_peer_id().to_bytes();
        ids.push(*id.last_chunk().context("short")?);
    }
    ids.sort_unstable();
    let mut ranges = [&seq.to_be_bytes()[..], &[0x80, 240]].concat();
    ranges.extend(u32::try_from(ids.len())?.to_be_bytes());
    ranges.extend(ids.iter().flat_map(|id| [&id[..], &[0]].concat()));
    write_frame(&mut stream, HEADER, &[&[0, 2, 0, 16][..], &[7; 16]].concat()).await?;
    write_frame(&mut stream, RANGES, &ranges).await?;
    write_frame(&mut stream, WANTED, &[]).await?;
    // What the member wants, which is all, and then what it has itself.
    read_frame(&mut stream, HEADER).await?;
    let wanted = read_frame(&mut stream, WANTED).await?.context("an end")?;
    ensure!(wanted.len() == 8 * keys.len(), "it does not want them all");
    while read_frame(&mut stream, HEARTBEAT).await?.is_some() {}
    for key in keys {
        let beat = Heartbeat {
            server: server_of(&key.public().to_peer_id()),
            ttl: Some(TTL),
            host: "node-0000001.example".into(),
            meta: ["role=worker", "zone=eu-1", "version=1.2.3"].map(Into::into).to_vec(),
            sent_at: None,
            addrs: Default::default(),
        };
        let message = sign_message(key, member.namespace().as_str(), seq, &beat.encode())
            .context("the key signs")?;
        // For how long this has been known, in milliseconds: no time at all.
        write_frame(&mut stream, HEARTBEAT, &[&[0; 4], &message[..]].concat()).await?;
    }
    write_frame(&mut stream, END, &[0]).await?;
    stream.close().await?;
    full(member, keys.len() + 1).await?;
    running.abort();
    Ok(())
}

/// The kinds of frames.
const HEADER: u8 = 0;
const RANGES: u8 = 1;
const WANTED: u8 = 2;
const HEARTBEAT: u8 = 3;
const END: u8 = 4;

async fn write_frame(stream: &mut libp2p::Stream, kind: u8, bytes: &[u8]) -> Result<()> {
    stream.write_all(&u32::try_from(1 + bytes.len())?.to_be_bytes()).await?;
    stream.write_all(&[kind]).await?;
    Ok(stream.write_all(bytes).await?)
}

/// Reads a frame of this kind; nothing if it is an end.
async fn read_frame(stream: &mut libp2p::Stream, kind: u8) -> Result<Option<Vec<u8>>> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).await?;
    let mut bytes = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut bytes).await?;
    let read = bytes.first().copied().context("a frame without a kind")?;
    ensure!(read == kind || read == END, "a frame of kind {read} instead of {kind}");
    Ok((read == kind).then(|| bytes.split_off(1)))
}
