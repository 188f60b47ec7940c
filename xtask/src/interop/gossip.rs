//! Everybody's gossipsub in one mesh: what each says reaches all, through each
//! of the others, and where only IHAVE and IWANT are left, too.

use super::{
    build::Programs,
    net::Lan,
    peer::{PATIENCE, Peer, text},
    report::Report,
    stack::{Stack, Start},
};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const NS: &str = "interop/gossip";
const SECTION: &str = "One gossipsub mesh of all stacks";
/// So short that heartbeats come often, and that what is lost is missed soon.
const TTL: &str = "5s";
/// How often each says something new: what a source may say at a time.
const UPDATES: usize = 5;
/// Heartbeats that must come after the first, with nobody in the mesh.
const BEATS: usize = 3;

/// The stacks other than ours.
pub(super) fn others(with_scripts: bool) -> &'static [Stack] {
    const OTHERS: [Stack; 4] = [Stack::Go, Stack::Libp2p, Stack::Js, Stack::Py];
    if with_scripts { &OTHERS } else { &OTHERS[..2] }
}

/// Checks it.
pub fn check(report: &mut Report, programs: &Programs, with_scripts: bool) {
    let others = others(with_scripts);
    let names = others.iter().map(Stack::to_string).collect::<Vec<_>>().join(", ");
    report.check(
        SECTION,
        format!("a ring of rust, {names}: each says {UPDATES} times what all hear"),
        || ring(programs, others),
    );
    for &stack in others {
        let name = format!(
            "a chain of rust, rust, {stack}, rust: through {stack} by IHAVE and IWANT alone"
        );
        report.check("Gossipsub message ids", name, || lazy(programs, stack));
    }
}

/// The address that every stack can dial.
pub(super) fn tcp(peer: &Peer) -> Result<String> {
    let addr = peer.addrs.iter().find(|addr| addr.contains("/tcp/"));
    addr.cloned().with_context(|| format!("{} has no TCP address", peer.name))
}

/// Two hosts don't reach each other.
pub(super) fn part(lan: &Lan, a: usize, b: usize) -> Result<()> {
    lan.host(a).block(b)?;
    lan.host(b).block(a)
}

/// A ring in which nobody reaches more than its two neighbours: a message passes
/// through every stack.
fn ring(programs: &Programs, others: &[Stack]) -> Result<String> {
    let count = others.len() + 1;
    let lan = Lan::new(count)?;
    for a in 0..count {
        for b in a + 1..count {
            if b - a != 1 && b - a != count - 1 {
                part(&lan, a, b)?;
            }
        }
    }
    let start = |stack, host| {
        let start = Start::new(stack, host, NS).ttl(TTL).pex_tick("1h");
        if stack == Stack::Go { start.option("--degree=0") } else { start }
    };
    let mut peers: Vec<Peer> = vec![];
    for (host, stack) in (1..).zip(others) {
        let mut peer = start(*stack, host).start(programs, &lan)?;
        if let Some(before) = peers.last() {
            peer.command(json!({"cmd": "connect", "addr": tcp(before)?}))?;
        }
        peers.push(peer);
    }
    let (first, last) = (peers.first().context("no peers")?, peers.last().context("no peers")?);
    let ours = start(Stack::Rust, 0).boot(tcp(first)?).boot(tcp(last)?).start(programs, &lan)?;
    for peer in &peers {
        ours.sees(peer, PATIENCE)?;
        peer.sees(&ours, PATIENCE)?;
        for other in peers.iter().filter(|other| other.id != peer.id) {
            peer.sees(other, PATIENCE)?;
        }
    }

    let mut slowest = Duration::ZERO;
    for n in 0..UPDATES {
        for i in 0..peers.len() {
            let marks: Vec<usize> = peers.iter().map(Peer::mark).collect();
            let mark = ours.mark();
            let (id, note) = (peers[i].id.clone(), format!("{i}-{n}"));
            let begin = Instant::now();
            let meta = [format!("stack={}", peers[i].stack), format!("note={note}")];
            peers[i].command(json!({"cmd": "update", "meta": meta}))?;
            let is_it = |e: &Value| {
                e["event"] == "peer-updated"
                    && e["record"]["peer"] == id
                    && e["record"]["meta"]["note"] == note
            };
            ours.wait_since(mark, &format!("note {note}"), PATIENCE, is_it)?;
            for (peer, mark) in peers.iter().zip(marks).filter(|(peer, _)| peer.id != id) {
                peer.wait_since(mark, &format!("note {note}"), PATIENCE, is_it)?;
            }
            slowest = slowest.max(begin.elapsed());
        }
    }
    // Ours takes no commands: its heartbeats are what it says.
    for _ in 0..UPDATES {
        for peer in &mut peers {
            next_beat(peer, &ours)?;
        }
    }
    for peer in peers.iter().chain([&ours]) {
        let lost = peer.events(0, |e| e["event"] == "disconnected" || e["event"] == "peer-left");
        ensure!(lost.is_empty(), "{} loses {lost:?}", peer.name);
    }
    let notes = UPDATES * peers.len() * peers.len();
    Ok(format!(
        "{notes} deliveries, all within {:.1} s; {UPDATES} heartbeats of rust at each",
        slowest.as_secs_f32()
    ))
}

/// The number of the newest heartbeat of another that a peer has.
pub(super) fn seq_of(peer: &mut Peer, other: &Peer) -> Result<u64> {
    let records = peer.records()?;
    let record = records.iter().find(|record| record["peer"] == other.id);
    let record = record.with_context(|| format!("{} does not see {}", peer.name, other.name))?;
    Ok(text(&record["seq"]).parse()?)
}

/// Waits for the next heartbeat of another.
pub(super) fn next_beat(peer: &mut Peer, other: &Peer) -> Result<()> {
    let (before, deadline) = (seq_of(peer, other)?, Instant::now() + PATIENCE);
    while seq_of(peer, other)? == before {
        if Instant::now() > deadline {
            bail!("{} hears nothing more of {}", peer.name, other.name);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Whether a peer has nobody in its mesh.
pub(super) fn no_mesh(peer: &mut Peer) -> Result<()> {
    let stats = peer.command(json!({"cmd": "stats"}))?;
    let none = stats["mesh"] == 0 || stats["mesh"] == json!([]);
    ensure!(none, "{} is in a mesh: {stats}", peer.name);
    Ok(())
}

/// A chain of Rust, Rust, another, Rust, in which nobody reaches more than his
/// neighbours, and the other is in nobody's mesh.
fn lazy(programs: &Programs, stack: Stack) -> Result<String> {
    let lan = Lan::new(4)?;
    for (a, b) in [(0, 2), (0, 3), (1, 3)] {
        part(&lan, a, b)?;
    }
    let other = Start::new(stack, 2, NS).ttl("3s").pex_tick("1h").option("--lazy");
    let other = if stack == Stack::Go { other.option("--degree=0") } else { other };
    let mut other = other.start(programs, &lan)?;
    let rust = |host, neighbour: &Peer| {
        let start = Start::new(Stack::Rust, host, NS).boot(tcp(neighbour)?);
        start.ttl("3s").pex_tick("1h").start(programs, &lan)
    };
    let second = rust(1, &other)?;
    let mut first = rust(0, &second)?;
    let mut last = rust(3, &other)?;
    first.sees(&last, PATIENCE)?;
    last.sees(&first, PATIENCE)?;
    other.sees(&first, PATIENCE)?;
    first.sees(&other, PATIENCE)?;
    no_mesh(&mut other)?;
    for _ in 0..BEATS {
        next_beat(&mut last, &first)?;
        next_beat(&mut first, &last)?;
    }
    no_mesh(&mut other)?;
    if stack != Stack::Go {
        return Ok(format!("{BEATS} heartbeats in each direction, with nobody in its mesh"));
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stats = other.command(json!({"cmd": "stats"}))?;
        let count = |direction: &str| stats[direction]["iwant"].as_u64().unwrap_or(0);
        if count("sent") > 0 && count("received") > 0 {
            return Ok(format!(
                "IWANT: {} of go's answered by rust, {} of rust's by go",
                count("sent"),
                count("received")
            ));
        }
        ensure!(Instant::now() < deadline, "no IWANT in both directions: {stats}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
