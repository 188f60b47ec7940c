//! Abuse that goes on for a while: what an honest peer must get of the node
//! meanwhile.

use super::{
    abuse::{METRICS_PORT, NS, SECTION, Scene, until},
    build::Programs,
    net::address,
    peer::{PATIENCE, Peer},
    report::Report,
    stack::{Stack, Start},
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// One kind.
struct Siege {
    kind: &'static str,
    /// How many peers do it, if not said otherwise.
    peers: u64,
    /// For how long.
    hold: &'static str,
    /// A counter, by its name and label: by how much it has risen when the siege
    /// is at its height, and by how much it must have in the end.
    counter: (&'static str, f64, f64),
    /// How much the node's peak memory may grow.
    growth_mib: u64,
    /// What the node is told beside the usual.
    options: &'static [&'static str],
    /// What must hold before it begins.
    first: fn(&Scene) -> Result<()>,
    /// What must go on, in words.
    meanwhile: &'static str,
    /// The check of it. Gives what was measured.
    still: fn(&mut Scene, &Programs) -> Result<String>,
}

/// How many hosts a network needs: the three of the scene, a newcomer and one
/// that only the newcomer knows.
const HOSTS: usize = 5;
const NEWCOMER: usize = 3;
const ASIDE: usize = 4;

/// What the table has taken in.
const ACCEPTED: &str = "heartbeats_total{verdict=\"accepted\"";
/// The limit on records of a node in a flood of identities.
const RECORDS: u64 = 512;

const SIEGES: [Siege; 6] = [
    Siege {
        kind: "message-flood",
        // Messages in a second, of one peer.
        peers: 6000,
        hold: "30s",
        counter: ("heartbeats_total{verdict=\"over-rate\"", 1000.0, 10_000.0),
        growth_mib: 32,
        options: &[],
        first: at_once,
        meanwhile: "all that an honest peer says is heard",
        still: hears_all,
    },
    Siege {
        kind: "connections",
        peers: 600,
        hold: "60s",
        counter: ("connections_refused_total{reason=\"share\"", 100.0, 200.0),
        growth_mib: 64,
        options: &[],
        first: at_once,
        meanwhile: "a newcomer joins, and the node dials",
        still: joins_and_is_dialled,
    },
    // Nobody of them comes to be established, though each would stay for a day.
    Siege {
        kind: "identities",
        peers: 2048,
        hold: "61s",
        counter: (ACCEPTED, 1500.0, 3000.0),
        growth_mib: 32,
        options: &["--table-limit=records=512,probation=5s"],
        first: the_honest_is_established,
        meanwhile: "members stay, newcomers come and stay",
        still: members_and_newcomers_stay,
    },
    Siege {
        kind: "sync-slow",
        peers: 24,
        hold: "50s",
        counter: ("sync_exchanges_total{outcome=\"slow\"", 1.0, 16.0),
        growth_mib: 48,
        options: &[],
        first: at_once,
        meanwhile: "a newcomer gets the table",
        still: gets_the_table,
    },
    Siege {
        kind: "rpc-iter",
        peers: 40,
        hold: "20s",
        counter: ("rpc_ended_total{reason=\"too-many-streams\"", 1.0, 50.0),
        growth_mib: 32,
        options: &[],
        first: at_once,
        meanwhile: "an honest peer is answered",
        still: is_answered,
    },
    Siege {
        kind: "rpc-partial",
        peers: 16,
        hold: "20s",
        counter: ("rpc_ended_total{reason=\"over-budget\"", 10.0, 50.0),
        growth_mib: 96,
        options: &[],
        first: at_once,
        meanwhile: "an honest peer is answered",
        still: is_answered,
    },
];

/// Does every kind to a node of its own.
pub fn check(report: &mut Report, programs: &Programs) {
    for siege in SIEGES {
        let much = match siege.kind {
            "message-flood" => format!("{} a second", siege.peers),
            _ => format!("by {} peers", siege.peers),
        };
        let name = format!("{}, {much}: {}", siege.kind, siege.meanwhile);
        report.check(SECTION, name, || siege.check(programs));
    }
}

impl Siege {
    fn check(&self, programs: &Programs) -> Result<String> {
        let mut scene = Scene::start(programs, HOSTS, "2s", self.options)?;
        let record = scene.node.sees(&scene.honest, PATIENCE)?;
        (self.first)(&scene)?;
        let (mark, honest_mark) = (scene.node.mark(), scene.honest.mark());
        let (before, memory) = (scene.metrics()?, scene.node.peak_memory()?);
        let addr = scene.node.addrs[0].clone();
        let abuse = scene.attacker.begin(json!({
            "cmd": "abuse", "kind": self.kind, "times": self.peers, "addr": addr,
            "hold": self.hold, "timeout": "170s",
        }))?;
        let (counter, height, least) = self.counter;
        until(2 * PATIENCE, || {
            let rise = scene.rise(&before, counter)?;
            let over = rise < height && scene.attacker.has_replied(&abuse);
            ensure!(!over, "it ends below {height} of {counter}");
            Ok((rise >= height, format!("it does not come to {height} of {counter}")))
        })?;
        let measured = (self.still)(&mut scene, programs)?;
        ensure!(!scene.attacker.has_replied(&abuse), "the abuse is over too soon");
        let reply = scene.attacker.reply(&abuse)?;
        ensure!(reply["done"].as_u64().unwrap_or(0) > 0, "nothing was done: {reply}");
        scene.view_was_unchanged(mark, honest_mark, &record)?;
        scene.streams_end()?;
        let peak = scene.node.peak_memory()?;
        let grown = peak.saturating_sub(memory) / 1024;
        ensure!(grown < self.growth_mib, "peak memory {} MiB, +{grown}", peak / 1024);
        let shown = scene.shown(&before, &[(counter, least)])?;
        Ok(format!("{measured}; peak memory {} MiB, +{grown}; {shown}", peak / 1024))
    }
}

fn at_once(_: &Scene) -> Result<()> {
    Ok(())
}

/// It has been heard of for its TTL of 10 s, which is longer than the probation.
fn the_honest_is_established(scene: &Scene) -> Result<()> {
    std::thread::sleep(Duration::from_secs(11));
    let before = scene.metrics()?;
    until(PATIENCE, || {
        Ok((scene.rise(&before, ACCEPTED)? > 0.0, "the honest peer sends no heartbeat".into()))
    })
}

/// A newcomer gets into a full table, and stays when all come again; then one more
/// does. (Who was there before is looked after in each siege.)
fn members_and_newcomers_stay(scene: &mut Scene, programs: &Programs) -> Result<String> {
    let before = scene.metrics()?;
    let first = newcomer(scene, programs)?;
    let begin = Instant::now();
    scene.node.sees(&first, PATIENCE)?;
    let joined = begin.elapsed();
    stops_rising(scene)?;
    // It came while others still did, and may have had to make room for one of them:
    // then it is back with its next heartbeat.
    let there = |event: &Value| {
        let mut records = event["records"].as_array().into_iter().flatten();
        event["event"] == "view" && records.any(|record| record["peer"] == first.id)
    };
    scene.node.wait_since(scene.node.mark(), "a view with the newcomer", PATIENCE, there)?;
    let (mark, full) = (scene.node.mark(), scene.gauge("cluster_peers")?);
    ensure!(full > RECORDS / 2 && full <= RECORDS + 1, "{full} of {RECORDS} records");
    let wave = scene.rise(&before, ACCEPTED)?;
    until(4 * PATIENCE, || {
        let rise = scene.rise(&before, ACCEPTED)? - wave;
        Ok((rise > 1500.0, format!("they don't come again: {rise} heartbeats")))
    })?;
    stops_rising(scene)?;
    let begin = Instant::now();
    let second = Start::new(Stack::Go, ASIDE, NS).boot(scene.node.addrs[0].clone());
    let second = second.start(programs, &scene.lan)?;
    scene.node.sees(&second, PATIENCE)?;
    first.sees(&second, PATIENCE)?;
    for view in scene.node.events(mark, |e| e["event"] == "view") {
        let records = view["records"].as_array().map_or(0, Vec::len);
        ensure!(there(&view), "the newcomer is missing in a view of {records}");
    }
    Ok(format!(
        "{full} of {RECORDS} records; one joined after {:.1} s and stayed, one more after {:.1} s",
        joined.as_secs_f32(),
        begin.elapsed().as_secs_f32()
    ))
}

/// Waits until the flood pauses: the honest send a heartbeat now and then.
fn stops_rising(scene: &Scene) -> Result<()> {
    let before = scene.metrics()?;
    let (mut last, mut same) = (0.0, 0);
    until(2 * PATIENCE, || {
        let rise = scene.rise(&before, ACCEPTED)?;
        same = if rise - last < 3.0 { same + 1 } else { 0 };
        last = rise;
        Ok((same == 5, format!("it goes on: {rise} heartbeats")))
    })
}

/// The number of connections of a kind that the node has.
fn connections(scene: &Scene, kind: &str) -> Result<u64> {
    scene.gauge(&format!("connection_slots{{kind=\"{kind}\"}}"))
}

fn newcomer(scene: &Scene, programs: &Programs) -> Result<Peer> {
    Start::new(Stack::Rust, NEWCOMER, NS)
        .boot(format!("/ip4/{}/udp/8822", address(0)))
        .serve(format!("/ip4/{}/udp/8822", address(NEWCOMER)))
        .option(format!("--metrics={}:{METRICS_PORT}", address(NEWCOMER)))
        .view("1s")
        .pex_tick("2s")
        .start(programs, &scene.lan)
}

/// A newcomer joins at the node; and the node connects to one that only the
/// newcomer knows, and that is content with the newcomer.
fn joins_and_is_dialled(scene: &mut Scene, programs: &Programs) -> Result<String> {
    let begin = Instant::now();
    let newcomer = newcomer(scene, programs)?;
    newcomer.sees(&scene.node, PATIENCE)?;
    newcomer.sees(&scene.honest, PATIENCE)?;
    scene.node.sees(&newcomer, PATIENCE)?;
    scene.honest.sees(&newcomer, PATIENCE)?;
    let joined = begin.elapsed();
    let (inbound, guests) = (connections(scene, "inbound")?, connections(scene, "guest")?);
    let dialled = connections(scene, "outbound")?;
    let begin = Instant::now();
    let aside = Start::new(Stack::Go, ASIDE, NS)
        .boot(format!("/ip4/{}/udp/8822", address(NEWCOMER)))
        .option("--degree=1")
        // It asks nobody of itself, and so connects to nobody else.
        .pex_tick("1h")
        .start(programs, &scene.lan)?;
    scene.node.sees(&aside, PATIENCE)?;
    until(PATIENCE, || {
        Ok((connections(scene, "outbound")? > dialled, "the node dials nobody".into()))
    })?;
    Ok(format!(
        "joined after {:.1} s, dialled after {:.1} s, with {inbound} connections that others have \
         made and {guests} guests",
        joined.as_secs_f32(),
        begin.elapsed().as_secs_f32()
    ))
}

/// An honest peer says something new again and again, which only gossip brings, and
/// nothing is lost on its way to the service.
fn hears_all(scene: &mut Scene, _: &Programs) -> Result<String> {
    // Fewer than a source may say at once.
    const TIMES: usize = 5;
    let before = scene.metrics()?;
    let mut slowest = Duration::ZERO;
    for n in 0..TIMES {
        let (mark, note, begin) = (scene.node.mark(), format!("siege-{n}"), Instant::now());
        let meta = ["stack=go".to_owned(), format!("note={note}")];
        scene.honest.command(json!({"cmd": "update", "meta": meta}))?;
        scene.node.wait_since(mark, "the honest peer's update", PATIENCE, |e| {
            e["event"] == "peer-updated"
                && e["record"]["peer"] == scene.honest.id
                && e["record"]["meta"]["note"] == *note
        })?;
        slowest = slowest.max(begin.elapsed());
    }
    let lost = scene.rise(&before, "dropped_total{queue=\"topic\"")?;
    ensure!(lost == 0.0, "{lost} messages were dropped before the service");
    Ok(format!("{TIMES} updates heard, each within {:.1} s, none dropped", slowest.as_secs_f32()))
}

/// A newcomer has nearly the whole table, most of which it cannot have by gossip.
fn gets_the_table(scene: &mut Scene, programs: &Programs) -> Result<String> {
    const MOST: usize = 1000;
    let begin = Instant::now();
    let mut newcomer = newcomer(scene, programs)?;
    newcomer.sees(&scene.honest, PATIENCE)?;
    let mut known = 0;
    until(PATIENCE, || {
        known = newcomer.view()?.len();
        Ok((known >= MOST, format!("the newcomer has {known} records, not {MOST}")))
    })?;
    Ok(format!("{known} records after {:.1} s", begin.elapsed().as_secs_f32()))
}

/// An honest peer, that has held no stream so far, asks for the view in each
/// encoding that it knows.
fn is_answered(scene: &mut Scene, _: &Programs) -> Result<String> {
    let begin = Instant::now();
    for encoding in ["plain", "packed", "packed/lz4"] {
        let reply = scene.honest.command(json!({
            "cmd": "view-of", "peer": scene.node.id, "encoding": encoding,
        }))?;
        let records = reply["records"].as_array().context("no records")?;
        ensure!(
            records.iter().any(|record| record["peer"] == scene.honest.id),
            "the honest peer is missing in the view: {reply}"
        );
    }
    let (streams, used) = (scene.gauge("rpc_streams")?, scene.gauge("rpc_used_bytes")?);
    Ok(format!(
        "three queries answered in {:.1} s, while {streams} streams hold {used} bytes",
        begin.elapsed().as_secs_f32()
    ))
}
