//! Each example runs, ends by itself, and prints what it says it does.
//! `cargo test` builds them before; `cargo test --test examples` does not.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

/// How long an example may take; none is expected to come near.
const PATIENCE: Duration = Duration::from_secs(120);

/// An example that runs, killed when dropped.
struct Example {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Example {
    fn start(name: &str, args: &[&str]) -> Self {
        let mut child = Command::new(program(name))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{name}: {error}: `cargo build --workspace --examples` builds it")
            });
        let lines = lines(child.stdout.take().expect("piped"));
        Self { child, lines }
    }

    /// The next line; `None` after the last.
    fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(error) => panic!("it doesn't end by itself: {error}"),
        }
    }

    /// Waits for the end, which must be a good one: all lines that are left.
    fn end(mut self) -> Vec<String> {
        let lines: Vec<_> = std::iter::from_fn(|| self.line()).collect();
        assert!(self.child.wait().expect("it ends").success(), "{lines:?}");
        lines
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A free block of loopback ports for the boot services of one test.
fn ports() -> String {
    let base = 20_000 + rand::random_range(0..4_000_u16) * 8;
    format!("/ip4/127.0.0.1/udp/{base}/ports/8")
}

fn lines(stdout: ChildStdout) -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            println!("{line}");
            let _ = send.send(line);
        }
    });
    lines
}

/// Beside the folder of the tests' programs.
fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("this program has a path");
    let profile = tests.ancestors().nth(2).expect("it lies in target/<profile>/deps");
    profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION)
}

#[test]
fn discover() {
    let boot = ports();
    let start = |more: &[&str]| {
        Example::start("discover", &[&["examples", "--boot", &boot], more].concat())
    };
    let first = start(&["--for", "10m"]);
    let id = first.line().expect("it says who it is");
    let id = id.strip_prefix("I am ").expect("it says who it is");

    let second = start(&["--for", "10m", "--limit", "1"]).end();
    let found = format!("found {id} at /ip4/127.0.0.1/tcp/");
    assert!(second.len() == 2 && second[1].starts_with(&found), "{second:?}");

    // The time of a search ends it too.
    let other = ["nobody", "--boot", &ports(), "--for", "100ms"];
    assert_eq!(Example::start("discover", &other).end().len(), 1);
}

#[test]
fn worker_pool() {
    let lines = Example::start("worker_pool", &[&ports()]).end();
    // Who did which job.
    let done: Vec<_> = lines.iter().filter_map(|line| line.split_once(" says ")).collect();
    let squares: BTreeMap<_, _> = done.iter().map(|(worker, job)| (*job, *worker)).collect();
    let all: Vec<_> = (1..=12).map(|n| format!("{n}² = {}", n * n)).collect();
    assert!(done.len() == 12 && all.iter().all(|job| squares.contains_key(&**job)), "{lines:?}");
    let (before, after) = all.split_at(6);
    let workers = |jobs: &[String]| -> Vec<_> {
        let mut workers: Vec<_> = jobs.iter().map(|job| squares[&**job]).collect();
        workers.sort_unstable();
        workers.dedup();
        workers
    };
    let (before, after) = (workers(before), workers(after));
    assert!(after.iter().any(|worker| !before.contains(worker)), "a new one works: {lines:?}");
}

#[test]
fn custom_discovery() {
    let lines = Example::start("custom_discovery", &[]).end();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines.iter().all(|line| line.ends_with(" sees 3 nodes")), "{lines:?}");
}

#[test]
fn file_transfer() {
    let lines = Example::start("file_transfer", &["4"]).end();
    let broke = |line: &&String| line.starts_with("the connection broke after ");
    let after = lines.iter().find(broke).and_then(|line| line.split(' ').nth(4)?.parse().ok());
    let after: u64 = after.unwrap_or_else(|| panic!("it goes on after a break: {lines:?}"));
    assert!((2 << 20..4 << 20).contains(&after), "{lines:?}");
    let end = [format!("all {} bytes are there", 4 << 20), "and they are the same".into()];
    assert!(lines.ends_with(&end), "{lines:?}");
}

#[test]
fn service() {
    let boot = ports();
    let start = |args: &[&str]| Example::start("service", &[args, &["--boot", &boot]].concat());
    let ann = start(&["Ann"]);
    assert!(ann.line().expect("it says who it is").starts_with("Ann is "));
    let lines = start(&["Bob", "--limit", "1"]).end();
    assert_eq!(lines.last().map(String::as_str), Some("hello Bob, this is Rust"), "{lines:?}");
}

#[test]
fn capability() {
    let lines = Example::start("capability", &[]).end();
    assert!(lines.iter().any(|line| line.ends_with(" adds 39: 42")), "{lines:?}");
    assert_eq!(lines.last().map(String::as_str), Some("the watcher saw 42"));
}
