//! CASM's own protocols between Rust and Go, in both directions.

use super::{
    build::Programs,
    names,
    net::{Lan, address},
    peer::{PATIENCE, Peer, text},
    report::Report,
    stack::{Stack, Start},
};
use crate::shell;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::{
    process::Command,
    time::{Duration, Instant},
};

const NS: &str = "interop/protocols";
const GROUP: &str = "/ip4/228.8.8.8/udp/8822/multicast/eth0";
/// So long that nothing expires during a check.
const LONG_TTL: &str = "10m";

/// Checks them all.
pub fn check(report: &mut Report, programs: &Programs) {
    let unicast = format!("/ip4/{}/udp/8822", address(0));
    let gradual = format!("{GROUP}/survey");
    for (name, serve, boot) in [
        ("one address", unicast.as_str(), unicast.as_str()),
        ("crawl of a block", "/ip4/10.77.0.0/udp/8822/cidr/28", "/ip4/10.77.0.0/udp/8822/cidr/28"),
        ("survey", GROUP, GROUP),
        ("gradual survey", &gradual, &gradual),
    ] {
        report.check("Boot", format!("{name}: rust asks, go answers"), || {
            rust_finds_go(programs, serve, boot)
        });
        report.check("Boot", format!("{name}: go asks, rust answers"), || {
            go_finds_rust(programs, serve, boot)
        });
    }
    report.check("Peer exchange", "go starts a round with rust", || go_starts_round(programs));
    report.check("Peer exchange", "rust starts a round with go", || rust_starts_round(programs));
    for encoding in ["plain", "packed", "lz4", "packed/lz4"] {
        report.check("View over RPC", format!("go asks rust: {encoding}"), || {
            go_asks_rust(programs, encoding)
        });
    }
    report.check("View over RPC", "rust asks go (`casm ls --peer`)", || rust_asks_go(programs));
    report.check("Services", "go asks rust for an answer", || go_calls_rust(programs));
    report.check("Services", "go asks rust for parts", || go_reads_parts_of_rust(programs));
    names::check(report, programs);
    report.check("Restart with the same key", "rust, seen by go", || rust_restarts(programs));
    report.check("Restart with the same key", "go, seen by rust", || go_restarts(programs));
}

fn rust_finds_go(programs: &Programs, serve: &str, boot: &str) -> Result<String> {
    let lan = Lan::new(2)?;
    let go = Start::new(Stack::Go, 0, NS).serve(serve).start(programs, &lan)?;
    let begin = Instant::now();
    let rust = Start::new(Stack::Rust, 1, NS).boot(boot).start(programs, &lan)?;
    rust.wait("the other", PATIENCE, |e| e["event"] == "peers-found" && e["peer"] == go.id)?;
    let found = begin.elapsed();
    rust.sees(&go, PATIENCE)?;
    Ok(format!("found after {:.1} s", found.as_secs_f32()))
}

fn go_finds_rust(programs: &Programs, serve: &str, boot: &str) -> Result<String> {
    let lan = Lan::new(2)?;
    let rust = Start::new(Stack::Rust, 0, NS).serve(serve).start(programs, &lan)?;
    let mut go = Start::new(Stack::Go, 1, NS).option("--degree=0").start(programs, &lan)?;
    let begin = Instant::now();
    let reply = go.command(json!({
        "cmd": "find", "addr": boot, "limit": 1, "timeout": "30s", "tick": "20ms",
    }))?;
    ensure!(reply["peers"] == json!([rust.id]), "found {reply}");
    let found = begin.elapsed();
    let answer = go.wait("an answer", PATIENCE, |e| e["event"] == "peers-found")?;
    let addr = answer["addrs"].get(0).map(text).context("the answer has no address")?;
    go.command(json!({"cmd": "connect", "addr": format!("{addr}/p2p/{}", rust.id)}))?;
    go.sees(&rust, PATIENCE)?;
    Ok(format!("found after {:.1} s", found.as_secs_f32()))
}

/// A Go peer, and a Rust one that is connected to it.
fn connected(programs: &Programs, lan: &Lan, pex_tick: &str) -> Result<(Peer, Peer)> {
    let go = Start::new(Stack::Go, 0, NS).ttl(LONG_TTL).pex_tick("1h").option("--degree=0");
    let go = go.start(programs, lan)?;
    let addr = go.addrs.first().context("no address")?;
    let rust = Start::new(Stack::Rust, 1, NS).ttl(LONG_TTL).boot(addr).pex_tick(pex_tick);
    let rust = rust.start(programs, lan)?;
    go.sees(&rust, PATIENCE)?;
    rust.sees(&go, PATIENCE)?;
    Ok((go, rust))
}

/// A Rust peer that serves something, and a Go peer that is connected to it.
fn served(
    programs: &Programs,
    lan: &Lan,
    (name, command): (&str, &[&str]),
    option: Option<&str>,
) -> Result<(Peer, Peer)> {
    let mut rust = Start::new(Stack::Rust, 0, NS).ttl(LONG_TTL).service(name, command);
    if let Some(option) = option {
        rust = rust.option(option);
    }
    let rust = rust.start(programs, lan)?;
    let mut go =
        Start::new(Stack::Go, 1, NS).ttl(LONG_TTL).option("--degree=0").start(programs, lan)?;
    let addr = rust.addrs.first().context("no address")?;
    go.command(json!({"cmd": "connect", "addr": addr}))?;
    go.sees(&rust, PATIENCE)?;
    Ok((rust, go))
}

/// The Go peer knows services by the published schema alone.
fn go_calls_rust(programs: &Programs) -> Result<String> {
    let lan = Lan::new(2)?;
    let (rust, mut go) = served(programs, &lan, ("shout", &["tr", "a-z", "A-Z"]), None)?;
    let mut ask = |service: &str, data: &str| {
        go.command(json!({"cmd": "call", "peer": rust.id, "service": service, "data": data}))
    };
    let told = ask("shout", "hello")?;
    ensure!(told["text"] == "HELLO", "{told}");
    let told = ask("nobody", "")?;
    ensure!(told["failed"] == "notFound", "{told}");
    let begin = Instant::now();
    for n in 0..50 {
        let told = ask("shout", &format!("n{n}"))?;
        ensure!(told["text"] == format!("N{n}"), "{told}");
    }
    let each = begin.elapsed() / 50;
    let view = go.command(json!({"cmd": "view", "match": {
        "field": "meta", "value": "svc.shout=1",
    }}))?;
    ensure!(view["n"] == 1, "its record doesn't say so: {view}");
    Ok(format!("50 answers, a process and {:.1} ms each", each.as_secs_f64() * 1000.0))
}

fn go_reads_parts_of_rust(programs: &Programs) -> Result<String> {
    let lan = Lan::new(2)?;
    let command = ("count", &["seq", "1", "20000"][..]);
    let (rust, mut go) = served(programs, &lan, command, Some("--parts"))?;
    let told = go.command(json!({
        "cmd": "call", "peer": rust.id, "service": "count", "parts": true,
    }))?;
    let parts = told["parts"].as_array().context("no parts")?;
    let whole: String = parts.iter().map(text).collect();
    let expected: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    ensure!(whole == expected && told["whole"] == true, "{} bytes came", whole.len());
    Ok(format!("{} bytes in {} parts", whole.len(), parts.len()))
}

fn is_round(event: &Value, direction: &str) -> bool {
    event["event"] == "pex-round" && event["direction"] == direction && event["ok"] == true
}

/// What one Go peer told in a round, the next one hears from Rust, older by a
/// hop and still signed by the first.
fn go_starts_round(programs: &Programs) -> Result<String> {
    let lan = Lan::new(3)?;
    let (mut go, rust) = connected(programs, &lan, "1h")?;
    go.command(json!({"cmd": "pex", "peer": rust.id}))?;
    let own = go.wait("a round", PATIENCE, |e| is_round(e, "out"))?;
    let last = own["received"].as_array().and_then(|r| r.last()).context("nothing received")?;
    ensure!(last["peer"] == rust.id && last["hop"] == "0", "the last record is {last}");

    let mut third = Start::new(Stack::Go, 2, NS).pex_tick("1h").option("--degree=0");
    third = third.option("--ttl=1m");
    let mut third = third.start(programs, &lan)?;
    let addr = rust.addrs.first().context("no address")?;
    third.command(json!({"cmd": "connect", "addr": addr}))?;
    third.command(json!({"cmd": "pex", "peer": rust.id}))?;
    let round = third.wait("a round", PATIENCE, |e| is_round(e, "out"))?;
    let records = round["received"].as_array().context("nothing received")?;
    let relayed = records.iter().find(|r| r["peer"] == go.id);
    let relayed = relayed.with_context(|| format!("go's record is not in {round}"))?;
    ensure!(relayed["hop"] != "0", "a relayed record has hop 0");
    Ok(format!("{} records, go's with hop {}", records.len(), text(&relayed["hop"])))
}

fn rust_starts_round(programs: &Programs) -> Result<String> {
    let lan = Lan::new(2)?;
    let (go, rust) = connected(programs, &lan, "1s")?;
    let round = go.wait("a round", PATIENCE, |e| is_round(e, "in") && e["peer"] == rust.id)?;
    let records = round["received"].as_array().context("nothing received")?;
    rust.wait("a change of its view", PATIENCE, |e| {
        e["event"] == "view-changed"
            && e["peers"].as_array().is_some_and(|p| p.contains(&json!(go.id)))
    })?;
    Ok(format!("{} records", records.len()))
}

fn go_asks_rust(programs: &Programs, encoding: &str) -> Result<String> {
    let lan = Lan::new(2)?;
    let (mut go, rust) = connected(programs, &lan, "1h")?;
    let mut both = vec![go.id.clone(), rust.id.clone()];
    both.sort();
    let reversed: Vec<String> = both.iter().rev().cloned().collect();
    let host = json!({"field": "host", "value": rust.name});
    let part = json!({"field": "host", "value": &rust.name[..3]});
    let prefix = json!({"field": "meta", "value": "stack=", "prefix": true});
    let queries = [
        (json!({}), both.clone()),
        (json!({"reverse": true}), reversed),
        (json!({"lookup": true}), both[..1].to_vec()),
        (json!({"limit": 1}), both[..1].to_vec()),
        (json!({"match": host}), vec![rust.id.clone()]),
        (json!({"match": host, "lookup": true}), vec![rust.id.clone()]),
        (json!({"match": part}), vec![]),
        (json!({"match": part, "lookup": true}), vec![]),
        // Indexes are in the order of their keys: stack=go, stack=rust.
        (json!({"match": prefix}), vec![go.id.clone(), rust.id.clone()]),
        (json!({"from": {"field": "peer", "value": both[1]}}), both[1..].to_vec()),
        (json!({"to": {"field": "peer", "value": both[0]}}), both[..1].to_vec()),
    ];
    let count = queries.len();
    for (mut query, expected) in queries {
        let shown = query.to_string();
        query["cmd"] = "view-of".into();
        query["peer"] = rust.id.clone().into();
        query["encoding"] = encoding.into();
        let reply = go.command(query)?;
        let records = reply["records"].as_array().context("no records")?;
        let ids: Vec<String> = records.iter().map(|r| text(&r["peer"])).collect();
        ensure!(ids == expected, "{shown} gives {reply}, not {expected:?}");
    }
    Ok(format!("{count} queries"))
}

fn rust_asks_go(programs: &Programs) -> Result<String> {
    let lan = Lan::new(3)?;
    let (go, rust) = connected(programs, &lan, "1h")?;
    let addr = go.addrs.first().context("no address")?;
    let mut ls = lan.host(2).command(&programs.casm.to_string_lossy());
    ls.args(["ls", "--json", "--ns", NS, "--boot", "none", "--peer", addr]);
    ls.args(["--match", "meta:stack=rust"]);
    let output = shell::output(&mut ls)?;
    let view: Value = serde_json::from_str(output.lines().last().context("no output")?)?;
    let records = view["records"].as_array().context("no records")?;
    ensure!(records.len() == 1 && records[0]["peer"] == rust.id, "go's view is {view}");
    Ok("one match of two records".into())
}

/// A fresh key file that both stacks read.
pub(super) fn fresh_key(programs: &Programs, name: &str) -> Result<std::path::PathBuf> {
    let path = programs.scratch.join(name);
    if path.exists() {
        std::fs::remove_file(&path)?;
    }
    shell::output(Command::new(&programs.casm).args(["key", "new"]).arg(&path))?;
    Ok(path)
}

/// With so long a TTL the old record would stay if the new one were refused.
fn rust_restarts(programs: &Programs) -> Result<String> {
    let lan = Lan::new(2)?;
    let key = fresh_key(programs, "restart-rust.key")?;
    let mut go =
        Start::new(Stack::Go, 0, NS).ttl(LONG_TTL).option("--degree=0").start(programs, &lan)?;
    let addr = go.addrs.first().context("no address")?.clone();
    let rust = Start::new(Stack::Rust, 1, NS).ttl(LONG_TTL).boot(addr).key(key);
    let mut before = rust.start(programs, &lan)?;
    let old = go.sees(&before, PATIENCE)?;
    before.kill()?;
    let begin = Instant::now();
    let after = rust.start(programs, &lan)?;
    ensure!(after.id == before.id, "the key file gives another id");
    loop {
        let view = go.command(json!({"cmd": "view"}))?;
        let records = view["records"].as_array().context("no records")?;
        let new = records.iter().find(|r| r["peer"] == after.id).context("the record is gone")?;
        if seq(new)? > seq(&old)? {
            ensure!(new["server"] == old["server"], "the server number has changed");
            return Ok(format!("seen after {:.1} s", begin.elapsed().as_secs_f32()));
        }
        if begin.elapsed() > PATIENCE {
            bail!("go keeps the record of the former instance");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn go_restarts(programs: &Programs) -> Result<String> {
    let lan = Lan::new(2)?;
    let key = fresh_key(programs, "restart-go.key")?;
    let rust = Start::new(Stack::Rust, 0, NS).ttl(LONG_TTL).start(programs, &lan)?;
    let addr = rust.addrs.first().context("no address")?.clone();
    let go = Start::new(Stack::Go, 1, NS).ttl(LONG_TTL).boot(addr).key(key);
    let mut before = go.start(programs, &lan)?;
    let old = rust.sees(&before, PATIENCE)?;
    before.kill()?;
    let (begin, mark) = (Instant::now(), rust.mark());
    let after = go.start(programs, &lan)?;
    ensure!(after.id == before.id, "the key file gives another id");
    rust.wait_since(mark, "the new instance", PATIENCE, |e| {
        e["event"] == "peer-updated"
            && e["record"]["peer"] == after.id
            && e["record"]["server"] != old["server"]
    })?;
    Ok(format!("seen after {:.1} s", begin.elapsed().as_secs_f32()))
}

pub(super) fn seq(record: &Value) -> Result<u64> {
    Ok(text(&record["seq"]).parse()?)
}
