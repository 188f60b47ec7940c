//! A running peer: what it says, line by line, and what it is told to do.

use super::stack::Stack;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// How long things that should happen soon may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The lines that a peer has written.
#[derive(Debug, Default)]
struct Lines {
    events: Mutex<Vec<Value>>,
    more: Condvar,
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Vec<Value>> {
        self.events.lock().expect("no panic under this lock")
    }
}

/// A peer's process, killed when dropped.
#[derive(Debug)]
pub struct Peer {
    pub stack: Stack,
    pub name: String,
    pub id: String,
    pub addrs: Vec<String>,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Arc<Lines>,
    commands: u64,
    log: PathBuf,
}

impl Peer {
    pub fn start(stack: Stack, name: String, command: &mut Command, logs: &Path) -> Result<Self> {
        let at = logs.join(format!("{name}.log"));
        let log = File::create(&at)?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{command:?} cannot be run"))?;
        let stdout = child.stdout.take().context("no stdout")?;
        let stdin = child.stdin.take();
        let lines = Arc::<Lines>::default();
        let sink = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(event) = serde_json::from_str(&line) {
                    sink.lock().push(event);
                    sink.more.notify_all();
                }
            }
        });
        let mut peer = Self {
            stack,
            name,
            id: String::new(),
            addrs: vec![],
            child,
            stdin,
            lines,
            commands: 0,
            log: at,
        };
        let listening = peer.wait("an address", PATIENCE, |e| {
            e["event"] == "listening" && e["addrs"].as_array().is_some_and(|a| !a.is_empty())
        })?;
        peer.id = text(&listening["peer"]);
        peer.addrs = texts(&listening["addrs"]);
        Ok(peer)
    }

    /// What it has written to its log.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }

    /// The number of events so far, to look at later ones only.
    pub fn mark(&self) -> usize {
        self.lines.lock().len()
    }

    /// Waits for the first event of all for which a condition holds.
    pub fn wait(
        &self,
        what: &str,
        within: Duration,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        self.wait_since(0, what, within, holds)
    }

    /// Waits for the first event behind a mark for which a condition holds.
    pub fn wait_since(
        &self,
        mark: usize,
        what: &str,
        within: Duration,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = Instant::now() + within;
        let mut seen = mark;
        let mut events = self.lines.lock();
        loop {
            if let Some(event) = events[seen..].iter().find(|e| holds(e)) {
                return Ok(event.clone());
            }
            seen = events.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let trouble = events[mark..].iter().rfind(|e| e["event"] == "error");
                let trouble = trouble.map(|e| format!("; it says {}", e["message"]));
                bail!(
                    "{} waits in vain for {what} ({} s){}",
                    self.name,
                    within.as_secs(),
                    trouble.unwrap_or_default()
                );
            }
            (events, _) = self
                .lines
                .more
                .wait_timeout(events, left)
                .map_err(|_| anyhow!("the reader has panicked"))?;
        }
    }

    /// Events for which a condition holds, behind a mark.
    pub fn events(&self, mark: usize, holds: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.lines.lock()[mark..].iter().filter(|e| holds(e)).cloned().collect()
    }

    /// How many events there were for which a condition holds, behind a mark.
    pub fn count(&self, mark: usize, holds: impl Fn(&Value) -> bool) -> usize {
        self.lines.lock()[mark..].iter().filter(|e| holds(e)).count()
    }

    /// Gives a command, and waits for its reply. Not for Rust, which takes none.
    pub fn command(&mut self, command: Value) -> Result<Value> {
        let command = self.begin(command)?;
        self.reply(&command)
    }

    /// Gives a command. What this gives is for [`reply`](Self::reply).
    pub fn begin(&mut self, mut command: Value) -> Result<Value> {
        self.commands += 1;
        command["id"] = self.commands.into();
        let stdin = self.stdin.as_mut().context("its input is closed")?;
        writeln!(stdin, "{command}").with_context(|| format!("{} is gone", self.name))?;
        Ok(command)
    }

    /// Waits for the reply to a command.
    pub fn reply(&self, command: &Value) -> Result<Value> {
        let what = format!("a reply to {command}");
        let reply = self.wait(&what, Duration::from_secs(120), |e| e["id"] == command["id"])?;
        ensure!(
            reply["event"] == "reply",
            "{}: {} fails: {}",
            self.name,
            command["cmd"],
            reply["message"]
        );
        Ok(reply)
    }

    /// Whether there is a reply to a command.
    pub fn has_replied(&self, command: &Value) -> bool {
        !self.events(0, |e| e["id"] == command["id"]).is_empty()
    }

    /// The records of its view.
    pub fn records(&mut self) -> Result<Vec<Value>> {
        let view = if self.stack == Stack::Rust {
            let mark = self.mark();
            self.wait_since(mark, "a view", PATIENCE, |e| e["event"] == "view")?
        } else {
            self.command(json!({"cmd": "view"}))?
        };
        Ok(view["records"].as_array().context("a view without records")?.clone())
    }

    /// The ids of the peers in its view.
    pub fn view(&mut self) -> Result<BTreeSet<String>> {
        Ok(self.records()?.iter().map(|record| text(&record["peer"])).collect())
    }

    /// Waits until a peer joins this one's view.
    pub fn sees(&self, other: &Self, within: Duration) -> Result<Value> {
        let what = format!("a heartbeat of {}", other.name);
        let event = self.wait(&what, within, |e| {
            e["event"] == "peer-joined" && e["record"]["peer"] == other.id
        })?;
        let record = event["record"].clone();
        let expected = [&record["host"], &record["meta"]["stack"]];
        ensure!(
            expected == [&json!(other.name), &json!(other.stack.to_string())],
            "{} got a wrong record of {}: {record}",
            self.name,
            other.name
        );
        Ok(record)
    }

    /// Ends it without a word to the others.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends it cleanly: `casm` by an interrupt, the others by the end of their
    /// input.
    pub fn leave(&mut self) -> Result<()> {
        if self.stack == Stack::Rust {
            let pid = self.child.id().to_string();
            crate::shell::output(Command::new("kill").args(["-INT", &pid]))?;
        }
        self.stdin = None;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "{} ends with {status}", self.name);
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{} does not end when interrupted", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The most memory it had, in kibibytes.
    pub fn peak_memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        let line = line.context("no VmHWM in /proc")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.kill();
    }
}

/// A string of JSON, empty if it is none.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A list of strings of JSON.
pub fn texts(value: &Value) -> Vec<String> {
    value.as_array().map(|list| list.iter().map(text).collect()).unwrap_or_default()
}
