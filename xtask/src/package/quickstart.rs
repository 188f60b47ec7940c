//! The first snippet of a package's README, run twice with nothing but the
//! installed package: the two programs find each other.

use crate::{interop::net::Netns, shell};
use anyhow::{Context, Result, ensure};
use std::{
    env,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// How long they may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What each program prints of each of the two.
const SEEN: &str = "here: ";

/// The first snippet of a README in this language.
pub fn snippet(readme: &str, language: &str) -> Result<String> {
    let text = fs::read_to_string(shell::workspace().join(readme))?;
    let (_, code) = text
        .split_once(&format!("```{language}\n"))
        .with_context(|| format!("{readme} has no snippet in {language}"))?;
    let (code, _) = code.split_once("\n```").with_context(|| format!("{readme}: no end"))?;
    Ok(format!("{code}\n"))
}

/// Where the programs look for each other.
pub enum Place {
    /// A network of their own, where they do it with no configuration.
    Alone(Netns),
    /// The loopback interface.
    Loopback,
}

impl Place {
    /// A network of their own, if one can be made here.
    pub fn new() -> Result<Self> {
        if cfg!(target_os = "linux") && shell::works("unshare", &["--net", "true"]) {
            return Netns::new().map(Self::Alone);
        }
        eprintln!("no network namespace can be made here: the quickstart uses the loopback ports");
        Ok(Self::Loopback)
    }

    /// A program that finds others only in this search path.
    pub fn command(&self, program: &Path, path: &OsStr) -> Command {
        match self {
            Self::Alone(network) => {
                let mut command = network.command("env");
                command.arg(assign("PATH", path)).arg(program);
                command
            }
            Self::Loopback => {
                let mut command = Command::new(program);
                command.env("PATH", path).env("CASM_BOOT", "/ip4/127.0.0.1/udp/8822/ports/32");
                command
            }
        }
    }
}

fn assign(name: &str, value: &OsStr) -> std::ffi::OsString {
    let mut text = std::ffi::OsString::from(name);
    text.push("=");
    text.push(value);
    text
}

/// Runs programs, each of which is to print a line about each of them.
pub fn meet(programs: Vec<Command>) -> Result<()> {
    let many = programs.len();
    let running: Vec<_> = programs.into_iter().map(Running::start).collect::<Result<_>>()?;
    for program in &running {
        let lines = program.wait(many)?;
        println!("{}", lines.join("\n"));
    }
    Ok(())
}

/// A program that is killed when dropped.
struct Running {
    child: Child,
    name: String,
    lines: mpsc::Receiver<String>,
}

impl Running {
    fn start(mut command: Command) -> Result<Self> {
        let name = format!("{command:?}");
        // Not where it would find the sources.
        let folder = command.get_current_dir().map_or_else(env::temp_dir, Path::to_path_buf);
        let mut child = command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{name} cannot be run"))?;
        let stdout = child.stdout.take().context("it was asked for")?;
        let (sink, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.take_while(|line| sink.send(line.clone()).is_ok()).for_each(drop);
        });
        Ok(Self { child, name, lines })
    }

    /// Its lines about this many programs.
    fn wait(&self, many: usize) -> Result<Vec<String>> {
        let end = Instant::now() + PATIENCE;
        let mut seen = vec![];
        while seen.len() < many {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with(SEEN) => seen.push(line),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        ensure!(seen.len() == many, "{} sees {seen:?} of {many} programs", self.name);
        Ok(seen)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended if this fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
