//! Readers that stop reading what the program prints hold up neither its node
//! nor its end.
#![cfg(unix)]

mod common;

use common::{PATIENCE, Running, casm, contract, stuck};
use std::{
    io::Read,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A program that is killed when the test ends.
struct Killed(Child);

impl Killed {
    fn start(mut command: Command, stdout: Stdio, stderr: Stdio) -> Self {
        Self(command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(
            Command::new("kill").args([&format!("-{name}"), &*pid]).status().unwrap().success()
        );
    }

    fn end(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn node(boot: &str, more: &[&str]) -> Command {
    let args = ["run", "--ns", "test", "--ttl", "2s", "--listen", "/ip4/127.0.0.1/tcp/0"];
    casm(&[&args[..], &["--boot", boot], more].concat())
}

/// Whether a node whose output is stuck is a member like any other, and leaves
/// like one.
fn lives_and_leaves(more: &[&str], stdout: Stdio, stderr: Stdio) {
    let mut a = Running::node("none", &[]);
    let (_, a_addr) = a.listening();
    let mut stuck =
        Killed::start(node(&a_addr, &[&["--host", "stuck"], more].concat()), stdout, stderr);
    let joined = a.wait_for("the stuck one", |l| l["record"]["host"] == "stuck");
    let id = joined["record"]["peer"].as_str().unwrap().to_owned();
    // It renews its record: it would expire after 2.5 s.
    let start = Instant::now();
    let mut ours = Running::node(&a_addr, &[]);
    ours.joined(&id);
    while start.elapsed() < Duration::from_secs(5) {
        thread::sleep(Duration::from_millis(100));
        assert!(!a.seen().iter().any(|l| l["event"] == "peer-left"), "{:#?}", a.seen());
    }
    stuck.signal("TERM");
    let left = a.wait_for("a goodbye", |l| l["event"] == "peer-left" && l["peer"] == *id);
    assert_eq!(left["reason"], "left");
    assert_eq!(stuck.end().code(), Some(0));
}

#[test]
fn a_node_whose_results_nobody_reads_lives_and_leaves() {
    for form in [&["--json"][..], &[]] {
        let (stdout, _reader) = stuck::stream();
        lives_and_leaves(&[&["--view", "10ms"], form].concat(), stdout, Stdio::null());
    }
}

#[test]
fn a_node_whose_log_nobody_reads_lives_and_leaves() {
    for form in [&["--log-format", "json"][..], &[]] {
        let (stderr, _reader) = stuck::stream();
        lives_and_leaves(&[&["-vvv"], form].concat(), Stdio::null(), stderr);
    }
}

#[test]
fn whoever_reads_on_is_told_how_much_is_missing() {
    let (stdout, mut reader) = stuck::stream();
    // A view of one node with this meta is 24 KB of JSON, a hundred times a
    // second: more than the reader below takes.
    let meta = format!("k={}", "\u{1}".repeat(4000));
    let command = node("none", &["--json", "--view", "10ms", "--meta", &meta]);
    let mut stuck = Killed::start(command, stdout, Stdio::null());
    let mut text = Vec::new();
    let end = Instant::now() + PATIENCE;
    let dropped = loop {
        assert!(Instant::now() < end, "nothing is told to be dropped");
        thread::sleep(Duration::from_millis(50));
        let mut bytes = [0; 32 * 1024];
        let read = reader.read(&mut bytes).unwrap();
        text.extend_from_slice(&bytes[..read]);
        let whole = text.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let lines = String::from_utf8_lossy(&text[..whole]).into_owned();
        // Each line is whole, also those around the gap.
        let lines: Vec<_> =
            lines.lines().filter(|l| !l.is_empty()).map(contract::checked).collect();
        if let Some(at) = lines.iter().position(|line| line["event"] == "dropped")
            && lines.len() > at + 1
        {
            assert_eq!(lines[at + 1]["event"], "view");
            break lines[at]["count"].as_u64().unwrap();
        }
    };
    println!("{dropped} lines were dropped");
    assert!(dropped > 0);
    stuck.signal("INT");
    assert_eq!(stuck.end().code(), Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn a_demo_that_nobody_reads_ends_and_leaves_no_process_behind() {
    let (stdout, _reader) = stuck::stream();
    let (stderr, _log) = stuck::stream();
    let args = ["demo", "-vvv", "--nodes", "2", "--for", "5m", "--json"];
    let mut demo = Killed::start(common::isolated(&args), stdout, stderr);
    common::eventually("both nodes run", || common::children(demo.0.id()).len() == 2);
    let nodes = common::children(demo.0.id());
    demo.signal("TERM");
    // Not by the signal, nor since it was too slow.
    assert!(matches!(demo.end().code(), Some(0 | 1)));
    common::eventually("the nodes end", || !nodes.iter().any(|pid| common::runs(*pid)));
}
