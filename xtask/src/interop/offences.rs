//! Offences against gossipsub by a Go peer: the node closes the connection after
//! so many of them, and what it knows of the honest stays; and forgeries, which
//! must not stand in the way of what they imitate.

use super::{
    abuse::{METRICS_PORT, NS, SECTION, Scene},
    build::Programs,
    gossip::{part, tcp},
    net::{Lan, address},
    peer::{PATIENCE, Peer, text},
    report::Report,
    stack::{Stack, Start},
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{ops::RangeInclusive, time::Duration};

/// One offence, how often it is done at the most, after how many of them the
/// connection must be closed, and the counter's label and number that show it.
struct Offence(&'static str, u64, RangeInclusive<u64>, (&'static str, f64));

/// One that is under way when the connection is closed may count as done, and
/// what was done ages by a half in a minute.
const OFFENCES: [Offence; 8] = [
    Offence("bad-signatures", 20, 3..=6, ("bad-signature", 3.0)),
    Offence("malformed-frames", 20, 1..=5, ("malformed-frame", 1.0)),
    // The first is none.
    Offence("graft-in-backoff", 60, 11..=16, ("graft-in-backoff", 10.0)),
    Offence("prune-unjoined", 60, 10..=16, ("prune-of-unknown-topic", 10.0)),
    Offence("further-streams", 60, 1..=16, ("further-substream", 10.0)),
    // Those of one second count as one.
    Offence("broken-promises", 400, 200..=350, ("broken-promise", 20.0)),
    Offence("asks-again", 200, 20..=80, ("asked-again", 20.0)),
    Offence("many-topics", 40, 10..=16, ("too-many-topics", 1.0)),
];
/// How much the node's peak memory may grow over one.
const GROWTH_KIB: u64 = 16 * 1024;
/// Rounds of forgeries, and how many forgeries precede and follow each message.
const ROUNDS: usize = 5;
const FORGERIES: u64 = 4;

/// Does each to a node of its own: some have the attacker's address refused.
pub fn check(report: &mut Report, programs: &Programs) {
    for offence in &OFFENCES {
        report.check(SECTION, format!("{}: cut off", offence.0), || offence.check(programs));
    }
    let name =
        format!("forged, {FORGERIES} before and after each of {ROUNDS}: nothing is shadowed");
    report.check(SECTION, name, || forged(programs));
}

impl Offence {
    fn check(&self, programs: &Programs) -> Result<String> {
        let Self(kind, times, within, (reason, least)) = self;
        let mut scene = Scene::start(programs, 3, "1h", &[])?;
        let record = scene.node.sees(&scene.honest, PATIENCE)?;
        let (mark, honest_mark) = (scene.node.mark(), scene.honest.mark());
        let (before, memory) = (scene.metrics()?, scene.node.peak_memory()?);
        let addr = tcp(&scene.node)?;
        let reply = scene.attacker.command(json!({
            "cmd": "abuse", "kind": kind, "times": times, "addr": addr, "timeout": "60s",
        }));
        // What the node counted tells why it was not cut off.
        let reply = reply.with_context(|| format!("{:?}", scene.shown(&before, &[])))?;
        let done = reply["done"].as_u64().context("no number")?;
        ensure!(within.contains(&done), "cut off after {done}, not {within:?}");
        // The honest are heard, and nobody else is cut off.
        scene.honest.command(json!({"cmd": "update", "meta": ["stack=go", "note=after"]}))?;
        let now = scene.node.wait_since(mark, "the honest peer's update", PATIENCE, |e| {
            e["event"] == "peer-updated"
                && e["record"]["peer"] == scene.honest.id
                && e["record"]["meta"]["note"] == "after"
        });
        now?;
        scene.node.wait_since(scene.node.mark(), "a view", PATIENCE, |e| e["event"] == "view")?;
        scene.view_was_unchanged(mark, honest_mark, &record)?;
        let peak = scene.node.peak_memory()?;
        let grown = peak.saturating_sub(memory);
        let sizes = format!("peak memory {} MiB, +{}", peak / 1024, grown / 1024);
        ensure!(grown < GROWTH_KIB, "too much: {sizes}");
        let counter = format!("gossip_refused_total{{reason=\"{reason}\"");
        let shown = scene.shown(&before, &[(&counter, *least)])?;
        Ok(format!("after {done}; {sizes}; {shown}"))
    }
}

/// An honest Go peer says something new, to a node and through it to another
/// one. Before, and after, an attacker gives the node that message, as it guesses
/// it, in other words.
fn forged(programs: &Programs) -> Result<String> {
    const BEHIND: usize = 3;
    let lan = Lan::new(4)?;
    for host in [1, 2] {
        part(&lan, host, BEHIND)?;
    }
    let rust = |host| {
        let metrics = format!("--metrics={}:{METRICS_PORT}", address(host));
        Start::new(Stack::Rust, host, NS).ttl("10m").pex_tick("1h").option(metrics)
    };
    let node = rust(0).start(programs, &lan)?;
    let behind = rust(BEHIND).boot(tcp(&node)?).start(programs, &lan)?;
    let honest = Start::new(Stack::Go, 1, NS).ttl("10m").boot(tcp(&node)?);
    let honest = honest.start(programs, &lan)?;
    let attacker = Start::new(Stack::Go, 2, NS).option("--degree=0").option("--observer");
    let attacker = attacker.start(programs, &lan)?;
    node.sees(&honest, PATIENCE)?;
    behind.sees(&honest, PATIENCE)?;
    let mut scene = Scene { lan, node, honest, attacker };
    let before = scene.metrics()?;
    let mut slowest = Duration::ZERO;
    for round in 0..ROUNDS {
        let itself = scene.honest.id.clone();
        let next = own_seq(&mut scene.honest)? + 1;
        forge(&mut scene, next)?;
        let note = format!("round-{round}");
        let marks = [scene.node.mark(), behind.mark()];
        let begin = std::time::Instant::now();
        scene
            .honest
            .command(json!({"cmd": "update", "meta": ["stack=go", format!("note={note}")]}))?;
        for (peer, mark) in [&scene.node, &behind].into_iter().zip(marks) {
            peer.wait_since(mark, &format!("the note of {note}"), PATIENCE, |e| {
                e["event"] == "peer-updated"
                    && e["record"]["peer"] == itself
                    && e["record"]["meta"]["note"] == note
            })?;
        }
        slowest = slowest.max(begin.elapsed());
        ensure!(own_seq(&mut scene.honest)? == next, "another number was used than was guessed");
        forge(&mut scene, next)?;
        for peer in [&scene.node, &behind] {
            let view =
                peer.wait_since(peer.mark(), "a view", PATIENCE, |e| e["event"] == "view")?;
            let records = view["records"].as_array().context("no records")?;
            let record = records.iter().find(|record| record["peer"] == itself);
            let record = record.context("the honest peer is missing")?;
            ensure!(record["meta"]["note"] == note, "{} has {record}", peer.name);
        }
    }
    let events = |peer: &Peer, name: &str| peer.events(0, |e: &Value| e["event"] == name);
    for peer in [&scene.node, &behind] {
        let lost = events(peer, "peer-left");
        ensure!(lost.is_empty(), "{} loses {lost:?}", peer.name);
    }
    let bad = ("gossip_refused_total{reason=\"bad-signature\"", ROUNDS as f64);
    let shown = scene.shown(&before, &[bad])?;
    Ok(format!("each heard by both within {:.1} s; {shown}", slowest.as_secs_f32()))
}

fn own_seq(peer: &mut Peer) -> Result<u64> {
    let id = peer.id.clone();
    let records = peer.records()?;
    let own = records.iter().find(|record| record["peer"] == id).context("not in its own view")?;
    Ok(text(&own["seq"]).parse()?)
}

fn forge(scene: &mut Scene, seq: u64) -> Result<()> {
    let reply = scene.attacker.command(json!({
        "cmd": "abuse", "kind": "forged", "times": FORGERIES, "addr": tcp(&scene.node)?,
        "victim": scene.honest.id, "seq": seq.to_string(), "timeout": "30s",
    }))?;
    ensure!(reply["done"] == FORGERIES, "not all was done: {reply}");
    Ok(())
}
