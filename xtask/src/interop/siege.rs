//! Abuse that goes on for a while: what an honest peer must get of the node
//! meanwhile.

use super::{
    abuse::{METRICS_PORT, NS, SECTION, Scene, metrics_text},
    build::Programs,
    net::address,
    peer::{PATIENCE, Peer},
    report::Report,
    stack::{Stack, Start},
};
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::time::{Duration, Instant};

/// One kind.
struct Siege {
    kind: &'static str,
    /// How many peers do it.
    peers: u64,
    /// For how long.
    hold: &'static str,
    /// The counter that tells that it is at its height, by its name and label.
    height: (&'static str, f64),
    /// The counters that must have risen in the end, and by how much.
    shown: &'static [(&'static str, f64)],
    /// How much the node's peak memory may grow.
    growth_mib: u64,
    /// What must go on. Gives what was measured.
    still: fn(&mut Scene, &Programs) -> Result<String>,
}

/// How many hosts a network needs: the three of the scene, a newcomer and one
/// that only the newcomer knows.
const HOSTS: usize = 5;
const NEWCOMER: usize = 3;
const ASIDE: usize = 4;

const SIEGES: [(&str, Siege); 4] = [
    (
        "a newcomer joins, and the node dials",
        Siege {
            kind: "connections",
            peers: 600,
            hold: "60s",
            height: ("connections_refused_total{reason=\"share\"", 100.0),
            shown: &[("connections_refused_total{reason=\"share\"", 200.0)],
            growth_mib: 64,
            still: joins_and_is_dialled,
        },
    ),
    (
        "a newcomer gets the table",
        Siege {
            kind: "sync-slow",
            peers: 24,
            hold: "50s",
            height: ("sync_exchanges_total{outcome=\"slow\"", 1.0),
            shown: &[("sync_exchanges_total{outcome=\"slow\"", 16.0)],
            growth_mib: 48,
            still: gets_the_table,
        },
    ),
    (
        "an honest peer is answered",
        Siege {
            kind: "rpc-iter",
            peers: 40,
            hold: "20s",
            height: ("rpc_ended_total{reason=\"too-many-streams\"", 1.0),
            shown: &[("rpc_ended_total{reason=\"too-many-streams\"", 50.0)],
            growth_mib: 32,
            still: is_answered,
        },
    ),
    (
        "an honest peer is answered",
        Siege {
            kind: "rpc-partial",
            peers: 16,
            hold: "20s",
            height: ("rpc_ended_total{reason=\"over-budget\"", 10.0),
            shown: &[("rpc_ended_total{reason=\"over-budget\"", 50.0)],
            growth_mib: 96,
            still: is_answered,
        },
    ),
];

/// Does every kind to a node of its own.
pub fn check(report: &mut Report, programs: &Programs) {
    for (meanwhile, siege) in SIEGES {
        let name = format!("{}, by {} peers: {meanwhile}", siege.kind, siege.peers);
        report.check(SECTION, name, || siege.check(programs));
    }
}

impl Siege {
    fn check(&self, programs: &Programs) -> Result<String> {
        let mut scene = Scene::start(programs, HOSTS, "2s")?;
        let record = scene.node.sees(&scene.honest, PATIENCE)?;
        let (mark, honest_mark) = (scene.node.mark(), scene.honest.mark());
        let (before, memory) = (scene.metrics()?, scene.node.peak_memory()?);
        let addr = scene.node.addrs[0].clone();
        let abuse = scene.attacker.begin(json!({
            "cmd": "abuse", "kind": self.kind, "times": self.peers, "addr": addr,
            "hold": self.hold, "timeout": "110s",
        }))?;
        let deadline = Instant::now() + 2 * PATIENCE;
        let (height, least) = self.height;
        while rise(&scene, &before, height)? < least {
            ensure!(!scene.attacker.has_replied(&abuse), "it ends below {least} of {height}");
            ensure!(Instant::now() < deadline, "it does not come to {least} of {height}");
            std::thread::sleep(Duration::from_millis(200));
        }
        let measured = (self.still)(&mut scene, programs)?;
        ensure!(!scene.attacker.has_replied(&abuse), "the abuse is over too soon");
        let reply = scene.attacker.reply(&abuse)?;
        ensure!(reply["done"].as_u64().unwrap_or(0) > 0, "nothing was done: {reply}");
        scene.view_was_unchanged(mark, honest_mark, &record)?;
        scene.streams_end()?;
        let peak = scene.node.peak_memory()?;
        let grown = peak.saturating_sub(memory) / 1024;
        ensure!(grown < self.growth_mib, "peak memory {} MiB, +{grown}", peak / 1024);
        let shown = scene.shown(&before, self.shown)?;
        Ok(format!("{measured}; peak memory {} MiB, +{grown}; {shown}", peak / 1024))
    }
}

fn rise(scene: &Scene, before: &Counters, counter: &str) -> Result<f64> {
    let rises = scene.rises(before)?;
    Ok(rises.iter().filter(|(name, _)| name.contains(counter)).map(|(_, by)| by).sum())
}

type Counters = std::collections::BTreeMap<String, f64>;

/// The number of connections of a kind that the node has.
fn connections(scene: &Scene, kind: &str) -> Result<u64> {
    let name = format!("casm_connection_slots{{kind=\"{kind}\"}} ");
    let text = metrics_text(&scene.lan, 0)?;
    let value = text.lines().find_map(|line| line.strip_prefix(&name));
    Ok(value.with_context(|| format!("no gauge {name}"))?.trim().parse()?)
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
    while connections(scene, "outbound")? <= dialled {
        ensure!(begin.elapsed() < PATIENCE, "the node dials nobody");
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(format!(
        "joined after {:.1} s, dialled after {:.1} s, with {inbound} connections that others have \
         made and {guests} guests",
        joined.as_secs_f32(),
        begin.elapsed().as_secs_f32()
    ))
}

/// A newcomer has nearly the whole table, most of which it cannot have by gossip.
fn gets_the_table(scene: &mut Scene, programs: &Programs) -> Result<String> {
    const MOST: usize = 1000;
    let begin = Instant::now();
    let mut newcomer = newcomer(scene, programs)?;
    newcomer.sees(&scene.honest, PATIENCE)?;
    loop {
        let known = newcomer.view()?.len();
        if known >= MOST {
            return Ok(format!("{known} records after {:.1} s", begin.elapsed().as_secs_f32()));
        }
        if begin.elapsed() > PATIENCE {
            bail!("the newcomer has {known} records, not {MOST}");
        }
    }
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
    let text = metrics_text(&scene.lan, 0)?;
    let gauge = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let (streams, used) = (gauge("casm_rpc_streams "), gauge("casm_rpc_used_bytes "));
    Ok(format!(
        "three queries answered in {:.1} s, while {} streams hold {} bytes",
        begin.elapsed().as_secs_f32(),
        streams.context("no gauge of streams")?,
        used.context("no gauge of bytes")?
    ))
}
