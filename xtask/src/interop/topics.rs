//! A topic by an exact name, of all stacks: what each publishes comes to all.

use super::{
    build::Programs,
    gossip::{others, part, tcp},
    net::{Lan, address},
    peer::{PATIENCE, Peer},
    report::Report,
    stack::{Stack, Start},
};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::{
    process::Stdio,
    time::{Duration, Instant},
};

const NS: &str = "interop/topics";
const TOPIC: &str = "/interop/chat/1";
/// How long a trial message may take before the next.
const TRIAL: Duration = Duration::from_secs(1);

/// Checks it.
pub fn check(report: &mut Report, programs: &Programs, with_scripts: bool) {
    let others = others(with_scripts);
    let names = others.iter().map(Stack::to_string).collect::<Vec<_>>().join(", ");
    report.check(
        "A topic by its exact name",
        format!("rust, {names}: what each publishes comes to all, once, by way of rust"),
        || chat(programs, others),
    );
}

/// `casm sub` in the middle, whom alone the others reach.
fn chat(programs: &Programs, stacks: &[Stack]) -> Result<String> {
    let lan = Lan::new(stacks.len() + 2)?;
    for a in 1..stacks.len() + 2 {
        for b in a + 1..stacks.len() + 2 {
            part(&lan, a, b)?;
        }
    }
    let mut listen = lan.host(0).command(&programs.casm.to_string_lossy());
    let here = format!("/ip4/{}/tcp/0", address(0));
    listen.args(["sub", "--json", "--exact", TOPIC, "--ns", NS, "--boot", "none"]);
    listen.args(["--listen", &here, "--meta", "stack=rust", "--host", "rust-0"]);
    let ours = Peer::start(Stack::Rust, "rust-0".into(), &mut listen, &programs.scratch)?;
    let mut peers = vec![];
    for (host, stack) in (1..).zip(stacks) {
        let start = Start::new(*stack, host, NS).pex_tick("1h");
        let start = if *stack == Stack::Go { start.option("--degree=0") } else { start };
        let mut peer = start.start(programs, &lan)?;
        peer.command(json!({"cmd": "join", "topic": TOPIC}))?;
        peer.command(json!({"cmd": "connect", "addr": tcp(&ours)?}))?;
        peers.push(peer);
    }
    // Until the meshes have formed, what is said may be lost.
    for speaker in 0..peers.len() {
        trial(&mut peers, &ours, speaker)?;
    }
    let begin = Instant::now();
    for speaker in 0..peers.len() {
        let text = format!("hello from {}", peers[speaker].name);
        peers[speaker].command(json!({"cmd": "say", "topic": TOPIC, "text": text}))?;
        all_hear(&peers, &ours, Some(speaker), &text, PATIENCE)?;
    }
    let last = stacks.len() + 1;
    let mut say = lan.host(last).command(&programs.casm.to_string_lossy());
    let boot = tcp(&ours)?;
    let there = format!("/ip4/{}/tcp/0", address(last));
    say.args(["pub", "--json", "--exact", TOPIC, "hello from rust", "--ns", NS]);
    say.args(["--boot", &boot, "--listen", &there]);
    let said = say.stderr(Stdio::inherit()).output()?;
    ensure!(said.status.success(), "casm pub ends with {}", said.status);
    let said: Value = serde_json::from_slice(&said.stdout).context("casm pub says no JSON")?;
    ensure!(said["peers"] == 1, "casm pub publishes to {said}");
    all_hear(&peers, &ours, None, "hello from rust", PATIENCE)?;
    let took = begin.elapsed();
    for peer in peers.iter().chain([&ours]) {
        for other in peers.iter().filter(|other| other.id != peer.id) {
            let times = peer.count(0, |e| is(e, &format!("hello from {}", other.name)));
            ensure!(times == 1, "{} hears {} {times} times", peer.name, other.name);
        }
    }
    Ok(format!("{} messages, each at all within {:.1} s", peers.len() + 1, took.as_secs_f32()))
}

fn is(event: &Value, text: &str) -> bool {
    event["event"] == "message" && event["topic"] == TOPIC && event["text"] == text
}

/// Waits until everybody but who said it has it.
fn all_hear(
    peers: &[Peer],
    ours: &Peer,
    speaker: Option<usize>,
    text: &str,
    within: Duration,
) -> Result<()> {
    let others = peers.iter().enumerate().filter(|(n, _)| Some(*n) != speaker).map(|(_, p)| p);
    for peer in others.chain([ours]) {
        let event = peer.wait(text, within, |e| is(e, text))?;
        if let Some(speaker) = speaker {
            ensure!(event["source"] == peers[speaker].id, "{} hears {event}", peer.name);
        }
    }
    Ok(())
}

/// Has a peer say something until all have heard some of it.
fn trial(peers: &mut [Peer], ours: &Peer, speaker: usize) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    for n in 0.. {
        let text = format!("trial {n} of {}", peers[speaker].name);
        peers[speaker].command(json!({"cmd": "say", "topic": TOPIC, "text": text}))?;
        match all_hear(peers, ours, Some(speaker), &text, TRIAL) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => bail!(error),
            Err(_) => {}
        }
    }
    Ok(())
}
