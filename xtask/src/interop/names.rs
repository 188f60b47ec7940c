//! A node of ours that serves a great many names, and a Go peer: what it is told of
//! them fits, and it sees our restart.

use super::{
    build::Programs,
    net::{Lan, address},
    peer::{PATIENCE, Peer},
    protocols::{fresh_key, seq},
    report::Report,
    stack::{Stack, Start},
};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::{
    path::Path,
    time::{Duration, Instant},
};

const NS: &str = "interop/names";
const NAMES: usize = 1000;
/// What identify may have: go-libp2p takes 8 KiB, others 4.
const IDENTIFY: u64 = 2 << 10;

pub fn check(report: &mut Report, programs: &Programs) {
    let name = "go joins one of rust with 1,000 names, calls it, and sees its restart";
    report.check("Services", name, || go_sees_many_names(programs));
}

fn start(programs: &Programs, lan: &Lan, key: &Path) -> Result<Peer> {
    let mut owner = lan.host(0).command(&programs.owner.to_string_lossy());
    let listen = format!("/ip4/{}/tcp/0", address(0));
    owner.args(["--ns", NS, "--listen", &listen, "--services", &NAMES.to_string()]);
    owner.arg("--key").arg(key);
    Peer::start(Stack::Rust, "names".into(), &mut owner, &programs.scratch)
}

fn go_sees_many_names(programs: &Programs) -> Result<String> {
    let lan = Lan::new(2)?;
    let key = fresh_key(programs, "names.key")?;
    let mut before = start(programs, &lan, &key)?;
    let mut go =
        Start::new(Stack::Go, 1, NS).ttl("10m").option("--degree=0").start(programs, &lan)?;
    connect(&mut go, &before)?;
    let listed = before.wait("it listens", PATIENCE, |e| e["event"] == "listening")?["listed"]
        .as_u64()
        .context("how many are in its record")?;
    // What the record says of them comes a moment after its start.
    let old = record(&mut go, &before.id, |r| services(r) == listed)?;

    let told = go.command(json!({"cmd": "identify", "peer": before.id}))?;
    let identify = told["bytes"].as_u64().context("no size")?;
    ensure!(0 < identify && identify < IDENTIFY, "identify has {identify} bytes");
    for n in [0, NAMES - 1] {
        let service = format!("s{n}");
        let told = go.command(json!({
            "cmd": "call", "peer": before.id, "service": service, "data": service,
        }))?;
        ensure!(told["text"] == service, "{told}");
    }

    before.kill()?;
    let begin = Instant::now();
    let after = start(programs, &lan, &key)?;
    ensure!(after.id == before.id, "the key file gives another id");
    connect(&mut go, &after)?;
    let last = seq(&old)?;
    let new = record(&mut go, &after.id, |r| {
        seq(r).is_ok_and(|seq| seq > last) && services(r) == listed
    })?;
    let seen = begin.elapsed();
    ensure!(new["server"] == old["server"], "the server number has changed");
    let told = go.command(json!({
        "cmd": "call", "peer": after.id, "service": "s999", "data": "again",
    }))?;
    ensure!(told["text"] == "again", "{told}");
    Ok(format!(
        "identify has {identify} bytes, the record {listed} names; the restart is seen after {:.1} s",
        seen.as_secs_f32()
    ))
}

fn connect(go: &mut Peer, to: &Peer) -> Result<Value> {
    let addr = to.addrs.first().context("no address")?;
    go.command(json!({"cmd": "connect", "addr": addr}))
}

/// How many services a record names.
fn services(record: &Value) -> u64 {
    let fields = record["meta"].as_object().into_iter().flatten();
    fields.filter(|(key, _)| key.starts_with("svc.")).count() as u64
}

/// Waits until go's view has a record of a peer of which this holds.
fn record(go: &mut Peer, id: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let records = go.records()?;
        let found = records.into_iter().find(|record| record["peer"] == id);
        match found {
            Some(record) if holds(&record) => return Ok(record),
            found if Instant::now() > deadline => bail!("go has no such record: {found:?}"),
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
