//! Two thousand message ids in three seconds, as many as a large cluster has:
//! offered all at once, they must neither end a stream nor be left out.

use super::{
    abuse::{METRICS_PORT, metrics_text},
    build::Programs,
    gossip::{no_mesh, others, part, tcp},
    net::{Lan, address},
    peer::{PATIENCE, Peer, text},
    report::Report,
    stack::{Stack, Start},
};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const NS: &str = "interop/flood";
const SECTION: &str = "Two thousand message ids in three seconds";
const IDS: usize = 2000;
/// So long that nothing expires, and that few messages are but those of the
/// flood.
const TTL: &str = "10m";
/// The links that a node of ours has at most (`HIGH` of `gossip::mesh`), and Rust
/// nodes around one: more than are in its mesh.
const HIGH: usize = 8;
const LEAVES: usize = HIGH + 4;

/// Why little of what py passes on arrives.
const PY_LOSES: &str = "py-libp2p 0.8.1 has room for 32 frames that wait for a peer \
                        (`OutBoundQueueSize`), and one message in each: what comes faster than it \
                        writes is thrown away";

/// Checks it.
pub fn check(report: &mut Report, programs: &Programs, with_scripts: bool) {
    report.check(SECTION, format!("rust to {LEAVES} of rust, more than its mesh holds"), || {
        among_rust(programs)
    });
    for &stack in others(with_scripts) {
        for lazy in [false, true] {
            let how = if lazy { "by IHAVE and IWANT alone" } else { "in each other's mesh" };
            report.check(SECTION, format!("rust to {stack}, {how}"), || {
                with_other(programs, stack, true, lazy)
            });
            let lossy = (stack == Stack::Py && !lazy).then_some(PY_LOSES);
            report.check_known(SECTION, format!("{stack} to rust, {how}"), lossy, || {
                with_other(programs, stack, false, lazy)
            });
        }
    }
}

/// Begins to publish, as so many peers that don't exist, at this address.
fn begin(source: &mut Peer, addr: &str) -> Result<Value> {
    source.begin(json!({
        "cmd": "abuse", "kind": "burst", "times": IDS, "addr": addr, "hold": "60s",
        "timeout": "100s",
    }))
}

fn is_of_flood(event: &Value) -> bool {
    event["event"] == "peer-joined" && text(&event["record"]["host"]).starts_with("burst-")
}

/// Waits until each of these has heard all, and loses nobody.
fn hear_all(peers: &[(&Peer, usize)], source: &Peer, flood: &Value) -> Result<Duration> {
    let begin = Instant::now();
    for (peer, mark) in peers {
        loop {
            let heard = peer.count(*mark, is_of_flood);
            if heard == IDS {
                break;
            }
            if source.has_replied(flood) {
                source.reply(flood)?;
            }
            ensure!(
                begin.elapsed() < PATIENCE,
                "{} has heard of {heard}, not of {IDS} ({} s)",
                peer.name,
                PATIENCE.as_secs()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    let took = begin.elapsed();
    for (peer, mark) in peers {
        let lost =
            peer.events(*mark, |e| e["event"] == "disconnected" || e["event"] == "peer-left");
        ensure!(lost.is_empty(), "{} loses {lost:?}", peer.name);
    }
    Ok(took)
}

/// From Rust to another, or from the other to Rust. If the other is in nobody's
/// mesh, all must be offered and asked for.
fn with_other(programs: &Programs, stack: Stack, from_rust: bool, lazy: bool) -> Result<String> {
    let lan = Lan::new(3)?;
    part(&lan, 2, usize::from(from_rust))?;
    let other = Start::new(stack, 1, NS).ttl(TTL).pex_tick("1h");
    let other = if lazy { other.option("--lazy") } else { other };
    let other = match stack {
        // What it has no room for in a busy moment is lost (it has some for 32), unless
        // it is offered again: no more than twice.
        Stack::Go => other.option("--degree=0").option("--validate-queue=2000"),
        _ => other,
    };
    let mut other = other.start(programs, &lan)?;
    let rust = Start::new(Stack::Rust, 0, NS).boot(tcp(&other)?).ttl(TTL).pex_tick("1h").view("5s");
    let rust = rust.start(programs, &lan)?;
    let mut source = source(programs, &lan, 2)?;
    rust.sees(&other, PATIENCE)?;
    other.sees(&rust, PATIENCE)?;
    if lazy {
        no_mesh(&mut other)?;
    }
    let marks = [(&rust, rust.mark()), (&other, other.mark())];
    let addr = tcp(if from_rust { &rust } else { &other })?;
    let flood = begin(&mut source, &addr)?;
    let took = hear_all(&marks, &source, &flood)?;
    if lazy {
        no_mesh(&mut other)?;
    }
    // What is said next passes, too.
    let mark = rust.mark();
    let meta = [format!("stack={stack}"), "note=after".to_owned()];
    other.command(json!({"cmd": "update", "meta": meta}))?;
    rust.wait_since(mark, "an update after the flood", PATIENCE, |e| {
        e["event"] == "peer-updated"
            && e["record"]["peer"] == other.id
            && e["record"]["meta"]["note"] == "after"
    })?;
    Ok(format!("all {IDS} heard after {:.1} s, nobody lost", took.as_secs_f32()))
}

/// Who begins the flood.
fn source(programs: &Programs, lan: &Lan, host: usize) -> Result<Peer> {
    let source = Start::new(Stack::Go, host, NS).option("--degree=0").option("--observer");
    source.start(programs, lan)
}

/// From one Rust node to more than are in its mesh, who know nobody else.
fn among_rust(programs: &Programs) -> Result<String> {
    let source_host = LEAVES + 1;
    let lan = Lan::new(LEAVES + 2)?;
    for a in 1..=LEAVES {
        for b in a + 1..=source_host {
            part(&lan, a, b)?;
        }
    }
    let start = |host| {
        let metrics = format!("--metrics={}:{METRICS_PORT}", address(host));
        Start::new(Stack::Rust, host, NS).ttl(TTL).pex_tick("1h").view("5s").option(metrics)
    };
    let hub = start(0).start(programs, &lan)?;
    let leaves: Vec<Peer> = (1..=LEAVES)
        .map(|host| start(host).boot(tcp(&hub)?).start(programs, &lan))
        .collect::<Result<_>>()?;
    let mut source = source(programs, &lan, source_host)?;
    for leaf in &leaves {
        leaf.sees(&hub, PATIENCE)?;
        hub.sees(leaf, PATIENCE)?;
    }
    let exchanged = |host| counter(&lan, host, "casm_sync_records_total");
    let before = (1..=LEAVES).map(exchanged).collect::<Result<Vec<_>>>()?;
    let marks: Vec<(&Peer, usize)> = leaves.iter().chain([&hub]).map(|p| (p, p.mark())).collect();
    let flood = begin(&mut source, &tcp(&hub)?)?;
    let took = hear_all(&marks, &source, &flood)?;
    for host in 0..=LEAVES {
        for lost in [
            "casm_dropped_total{queue=\"topic\"",
            "casm_gossip_refused_total{reason=\"too-many-waiting\"",
        ] {
            let times = counter(&lan, host, lost)?;
            ensure!(times == 0, "{times} of `{lost}` on host {host}");
        }
    }
    let links = counter(&lan, 0, "casm_gossip_links ")?;
    // Of heartbeats; with those of ours also of suspicions.
    ensure!(links >= HIGH as u64, "the hub has {links} links, not {HIGH}");
    let asked_for = counter(&lan, 0, "casm_gossip_ids_total{ids=\"asked-for\"")?;
    ensure!(asked_for > IDS as u64, "the hub was asked for {asked_for} ids");
    let mut shares = vec![];
    for (host, before) in (1..=LEAVES).zip(before) {
        shares.push(exchanged(host)? - before);
    }
    Ok(format!(
        "all {IDS} heard by each after {:.1} s, nobody lost; by exchanges {shares:?}, {asked_for} \
         asked for",
        took.as_secs_f32()
    ))
}

/// The sum of a counter over its labels.
pub(super) fn counter(lan: &Lan, host: usize, name: &str) -> Result<u64> {
    let text = metrics_text(lan, host)?;
    let values = text.lines().filter(|line| line.starts_with(name));
    let values = values.filter_map(|line| line.rsplit_once(' ')?.1.trim().parse::<u64>().ok());
    Ok(values.sum())
}
