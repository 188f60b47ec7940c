//! Drives the real program: starts it, reads its lines as they come, and waits
//! on conditions.
#![allow(dead_code, reason = "each test uses some of it")]

pub mod contract;
pub mod http;
#[cfg(unix)]
pub mod stuck;

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

/// Long enough for anything that works, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const CASM: &str = env!("CARGO_BIN_EXE_casm");

/// The program with these arguments, and nothing of this process's
/// configuration.
pub fn casm(args: &[&str]) -> Command {
    clean(Command::new(CASM), args)
}

/// A node on loopback that knows these peers and no other.
pub fn node(boot: &str, more: &[&str]) -> Command {
    let mut args = vec!["run", "--json", "--boot", boot];
    for default in [["--ns", "test"], ["--ttl", "2s"], ["--listen", "/ip4/127.0.0.1/tcp/0"]] {
        if !more.contains(&default[0]) {
            args.extend(default);
        }
    }
    args.extend(more);
    casm(&args)
}

/// The program in a network of its own, which has loopback alone.
pub fn isolated(args: &[&str]) -> Command {
    isolated_after("ip link set lo up", args)
}

/// The same in a network of its own, after some commands there, before which
/// there is nothing, not even loopback.
pub fn isolated_after(commands: &str, args: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    // Who is not root becomes so in a user namespace.
    if !std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
    {
        command.arg("--map-root-user");
    }
    command.args(["--net", "sh", "-c", &format!("{commands} && exec \"$@\""), "sh", CASM]);
    clean(command, args)
}

/// The program in a network whose loopback is down, where a node is slow to
/// start.
pub fn without_loopback(args: &[&str]) -> Command {
    let isolated = isolated(&[]);
    let shell = isolated.get_args().position(|arg| arg == "sh").unwrap();
    let mut command = Command::new("unshare");
    command.args(isolated.get_args().take(shell)).arg(CASM).args(args);
    command
}

fn clean(mut command: Command, args: &[&str]) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CASM_") {
            command.env_remove(name);
        }
    }
    command.args(args);
    command
}

/// Runs the program to its end.
pub fn finish(args: &[&str]) -> Output {
    casm(args).stdin(Stdio::null()).output().expect("the program starts")
}

/// Runs it to its end in a network of its own, after some commands there.
pub fn finish_isolated(commands: &str, args: &[&str]) -> Output {
    isolated_after(commands, args).stdin(Stdio::null()).output().expect("the program starts")
}

/// The lines of JSON that it printed, each as the contract says.
pub fn json_lines(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout).lines().map(contract::checked).collect()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The program while it runs. Killed when dropped.
pub struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<Value>,
    stderr: Arc<Mutex<String>>,
    what: String,
}

impl Running {
    /// Starts the program with `--json` output on stdout.
    pub fn start(mut command: Command) -> Self {
        let what = format!("{:?}", command.get_args().collect::<Vec<_>>());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let stderr = Arc::new(Mutex::new(String::new()));
        let (text, mut from) = (stderr.clone(), child.stderr.take().unwrap());
        thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(n @ 1..) = from.read(&mut bytes) {
                text.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        });
        Self { child, lines, seen: Vec::new(), stderr, what }
    }

    /// A node on loopback that knows these peers and no other.
    pub fn node(boot: &str, more: &[&str]) -> Self {
        Self::start(node(boot, more))
    }

    /// Runs commands in the network of a program that is isolated.
    pub fn in_its_network(&self, commands: &str) {
        let pid = self.pid().to_string();
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--target", &pid, "--net"]);
        if isolated(&[]).get_args().any(|arg| arg == "--map-root-user") {
            nsenter.args(["--user", "--preserve-credentials"]);
        }
        let status = nsenter.args(["sh", "-c", commands]).status().expect("the program nsenter");
        assert!(status.success(), "{commands}");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line, from those not yet waited for.
    pub fn wait_for(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let value = contract::checked(&line);
                    self.seen.push(value.clone());
                    if is(&value) {
                        return value;
                    }
                }
                Err(_) => panic!(
                    "{}: no {what}; it printed {:#?} and logged\n{}",
                    self.what,
                    self.seen,
                    self.log()
                ),
            }
        }
    }

    pub fn wait_for_event(&mut self, event: &str) -> Value {
        self.wait_for(event, |line| line["event"] == event)
    }

    /// Waits until the node listens. Its id, and an address to find it by.
    pub fn listening(&mut self) -> (String, String) {
        let line = self.wait_for("listening", |line| {
            line["event"] == "listening" && !line["addrs"].as_array().unwrap().is_empty()
        });
        let addr = line["addrs"][0].as_str().unwrap();
        (line["peer"].as_str().unwrap().to_owned(), addr.to_owned())
    }

    /// Waits until the node sees a peer join.
    pub fn joined(&mut self, peer: &str) -> Value {
        self.wait_for(peer, |l| l["event"] == "peer-joined" && l["record"]["peer"] == peer)
    }

    /// Every line that was waited for, and those that came since.
    pub fn seen(&mut self) -> &[Value] {
        self.seen.extend(self.lines.try_iter().map(|line| contract::checked(&line)));
        &self.seen
    }

    pub fn log(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits for something in the log, and gives the rest of its line.
    pub fn logged(&self, what: &str) -> String {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some((_, rest)) = self.log().split_once(what)
                && let Some((rest, _)) = rest.split_once('\n')
            {
                return rest.to_owned();
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("{}: {what} is not logged in\n{}", self.what, self.log());
    }

    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &*pid]).status().unwrap();
        assert!(status.success());
    }

    /// Whether the program has ended.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until the program ends.
    pub fn end(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "{} does not end:\n{}", self.what, self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// No more lines are read: whoever writes them finds the pipe broken.
    pub fn close_stdout(&mut self) {
        self.lines = mpsc::channel().1;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits on a condition.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The processes that this one started and that still run.
pub fn children(pid: u32) -> Vec<u32> {
    let parent = |stat: &str| {
        // The name before it is in parentheses, and may hold spaces.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|child| {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            parent(&stat) == Some(pid)
        })
        .collect()
}

/// Whether a process runs; one that ended and waits to be reaped doesn't.
pub fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(')').map(|(_, rest)| !rest.trim_start().starts_with('Z')))
        .unwrap_or(false)
}

/// Whether a process takes SIGINT over. Without that it ends by it.
pub fn takes_over(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() & 0b10 != 0)
}
