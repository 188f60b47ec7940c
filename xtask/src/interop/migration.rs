//! What those meet who come from Go's CASM (docs/migration.md).

use super::{
    abuse::{METRICS_PORT, metrics_text},
    build::Programs,
    net::{Lan, address},
    peer::{PATIENCE, Peer},
    report::Report,
    stack::{Stack, Start},
};
use crate::shell;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::{Duration, Instant};

const NS: &str = "interop/migration";

/// Checks it.
pub fn check(report: &mut Report, programs: &Programs) {
    report.check("Coming from Go", "300 meta fields of go, behind rust: told once", || {
        over_a_limit(programs)
    });
    report.check("Coming from Go", "fields without a key, and twice the same key", || {
        odd_fields(programs)
    });
}

/// What a Rust node would not send, but reads.
fn odd_fields(programs: &Programs) -> Result<String> {
    let lan = Lan::new(2)?;
    let mut go = Start::new(Stack::Go, 1, NS).option("--degree=0").start(programs, &lan)?;
    let rust = Start::new(Stack::Rust, 0, NS).boot(go.addrs.first().context("no address")?);
    let rust = rust.start(programs, &lan)?;
    rust.sees(&go, PATIENCE)?;
    go.command(json!({"cmd": "update", "meta": ["=nameless", "role=first", "role=second"]}))?;
    rust.wait("the update", PATIENCE, |e| {
        let record = &e["record"];
        e["event"] == "peer-updated"
            && record["peer"] == go.id
            && record["meta"] == json!({"": "nameless", "role": "first"})
    })?;
    let addr = rust.addrs.first().context("no address")?;
    for field in ["meta:=nameless", "meta:role=first", "meta:role=second"] {
        let mut ls = lan.host(0).command(&programs.casm.to_string_lossy());
        ls.args(["ls", "--json", "--ns", NS, "--boot", "none", "--peer", addr, "--match", field]);
        let found = shell::output(&mut ls)?;
        ensure!(found.contains(&go.id), "{field} is not found: {found}");
    }
    Ok("found by each of them".into())
}

/// Two Go peers that know each other through a Rust node only; one says more of
/// itself than is taken.
fn over_a_limit(programs: &Programs) -> Result<String> {
    let lan = Lan::new(3)?;
    let go = |host| {
        let go = Start::new(Stack::Go, host, NS).ttl("3s").pex_tick("1h").option("--degree=0");
        go.start(programs, &lan)
    };
    let (mut loud, other) = (go(1)?, go(2)?);
    let mut rust = Start::new(Stack::Rust, 0, NS)
        .ttl("3s")
        .pex_tick("1h")
        .option(format!("--metrics={}:{METRICS_PORT}", address(0)));
    for go in [&loud, &other] {
        rust = rust.boot(go.addrs.first().context("no address")?);
    }
    let rust = rust.start(programs, &lan)?;
    rust.sees(&loud, PATIENCE)?;
    other.sees(&loud, PATIENCE)?;

    let fields = (0..300).map(|i| format!("k{i}=v")).collect::<Vec<_>>();
    let marks = (rust.mark(), other.mark());
    loud.command(json!({"cmd": "update", "meta": fields}))?;
    let begin = Instant::now();
    let gone = |peer: &Peer, mark| {
        peer.wait_since(mark, "the other's end", PATIENCE, |e| {
            e["event"] == "peer-left" && e["peer"] == loud.id
        })
    };
    gone(&rust, marks.0)?;
    gone(&other, marks.1)?;
    let gone = begin.elapsed();
    let metrics = metrics_text(&lan, 0)?;
    let counted = "casm_heartbeats_refused_peers_total{reason=\"meta-too-many\"} 1\n";
    ensure!(metrics.contains(counted), "no `{counted}` in {metrics}");
    let log = std::fs::read_to_string(programs.scratch.join("rust-0.log"))?;
    let told = log.matches("300 meta fields, where 64 are the most").count();
    ensure!(told == 1, "told {told} times in {log}");

    loud.command(json!({"cmd": "update", "meta": ["few=1"]}))?;
    let back = Duration::from_secs(10);
    rust.sees(&loud, back)?;
    other.sees(&loud, back)?;
    Ok(format!(
        "gone from both views after {:.1} s, and back when it says less",
        gone.as_secs_f32()
    ))
}
