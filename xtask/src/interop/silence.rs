//! Somebody who answers every question in a multicast group with as many answers as
//! would silence it: who asks finds each of the honest all the same.

use super::{
    abuse::{METRICS_PORT, NS, SECTION, is_refusal, metrics_text},
    build::Programs,
    net::{Lan, address},
    peer::{PATIENCE, Peer, text},
    report::Report,
    stack::{Stack, Start},
};
use crate::shell;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    time::Instant,
};

const GROUP: &str = "/ip4/228.8.8.8/udp/8822/multicast/eth0/survey";
/// So many know each other that each heeds the answers of others every second time,
/// and eight from as many addresses are enough.
const MEMBERS: usize = 8;
const ASKER: usize = MEMBERS;
const NEWCOMER: usize = MEMBERS + 1;
const ATTACKER: usize = MEMBERS + 2;
const ADDRESSES: usize = 8;

pub fn check(report: &mut Report, programs: &Programs) {
    let name = format!("boot-answers from {ADDRESSES} addresses, in a group of {MEMBERS}");
    report.check(SECTION, name, || all_are_found(programs));
}

fn all_are_found(programs: &Programs) -> Result<String> {
    let lan = Lan::new(ATTACKER + 1)?;
    for n in 1..ADDRESSES {
        let addr = format!("10.77.0.{}/24", 200 + n);
        shell::run(lan.host(ATTACKER).command("ip").args(["addr", "add", &addr, "dev", "eth0"]))?;
    }
    let members = members(programs, &lan)?;
    let attacker = Start::new(Stack::Go, ATTACKER, NS).option("--degree=0").option("--observer");
    let mut attacker = attacker.start(programs, &lan)?;
    let abuse = attacker.begin(json!({
        "cmd": "abuse", "kind": "boot-answers", "times": 1_000_000, "addr": members[0].addrs[0],
        "boot": "228.8.8.8:8822", "timeout": "100s",
    }))?;

    let begin = Instant::now();
    let false_ones = finds_each(programs, &lan, &members)?;
    let found = begin.elapsed();

    let begin = Instant::now();
    let metrics = format!("--metrics={}:{METRICS_PORT}", address(NEWCOMER));
    let newcomer = Start::new(Stack::Rust, NEWCOMER, NS).boot(GROUP).option(metrics);
    let newcomer = newcomer.start(programs, &lan)?;
    for member in &members {
        newcomer.sees(member, PATIENCE)?;
        member.sees(&newcomer, PATIENCE)?;
    }
    let joined = begin.elapsed();
    ensure!(!attacker.has_replied(&abuse), "the abuse is over too soon");

    // Of what was asked, and of what others were heard to answer.
    let sum = |counter: &str| -> Result<u64> {
        (0..MEMBERS).map(|host| count(&metrics_text(&lan, host)?, counter)).sum()
    };
    let asked = sum("boot_received_total{verdict=\"answered\"}")?;
    let answered = sum("boot_sent_total{verdict=\"response\"}")?;
    let overheard = sum("boot_received_total{verdict=\"overheard\"}")?;
    ensure!(overheard >= ADDRESSES as u64, "only {overheard} answers were heard by others");
    ensure!(answered < asked, "nobody was silenced: {answered} answers to {asked} questions");
    let text = metrics_text(&lan, NEWCOMER)?;
    let received = text.lines().filter(|line| line.starts_with("casm_boot_received_total{"));
    let refused: Vec<String> =
        received.filter(|line| is_refusal(line)).map(|line| format!("`{line}`")).collect();
    for verdict in ["bad-signature", "source-rate"] {
        ensure!(refused.iter().any(|l| l.contains(verdict)), "no {verdict} in {refused:?}");
    }
    Ok(format!(
        "each found after {:.1} s, among {false_ones} that don't exist; one who joins sees all \
         after {:.1} s; {answered} answers to {asked} questions, since {overheard} of others were \
         heard; at the one who joined: {}",
        found.as_secs_f32(),
        joined.as_secs_f32(),
        refused.join(", ")
    ))
}

/// Members that know each other, and answer in the group.
fn members(programs: &Programs, lan: &Lan) -> Result<Vec<Peer>> {
    let mut members: Vec<Peer> = Vec::new();
    for host in 0..MEMBERS {
        let start = Start::new(Stack::Rust, host, NS)
            .serve(GROUP)
            .option(format!("--metrics={}:{METRICS_PORT}", address(host)));
        let first = members.first().map(|first| first.addrs[0].clone());
        members.push(first.into_iter().fold(start, Start::boot).start(programs, lan)?);
    }
    for member in &members {
        for other in members.iter().filter(|other| other.id != member.id) {
            member.sees(other, PATIENCE)?;
        }
    }
    Ok(members)
}

/// Asks in the group until each member was found, and says how many others were.
fn finds_each(programs: &Programs, lan: &Lan, members: &[Peer]) -> Result<usize> {
    let mut missing: BTreeSet<&str> = members.iter().map(|member| &*member.id).collect();
    let mut find = lan.host(ASKER).command(&programs.casm.to_string_lossy());
    find.args(["discover", "find", "--json", "--ns", NS, "--boot", GROUP, "--timeout", "80s"]);
    let mut find = Killed(find.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
    let lines = BufReader::new(find.0.stdout.take().context("no stdout")?).lines();
    let mut others = 0;
    for line in lines {
        let found: Value = serde_json::from_str(&line?)?;
        if found["event"] == "peers-found" && !missing.remove(&*text(&found["peer"])) {
            others += 1;
        }
        if missing.is_empty() {
            return Ok(others);
        }
    }
    Err(anyhow::anyhow!("{} of {MEMBERS} are not found, among {others} others", missing.len()))
}

/// A process that is not left behind.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a counter has come to.
fn count(text: &str, counter: &str) -> Result<u64> {
    let value = |line: &str| line.strip_prefix("casm_")?.strip_prefix(counter)?.trim().parse().ok();
    Ok(text.lines().find_map(value).unwrap_or(0))
}
