//! Members in every language that find each other in a network of their own, by
//! crawling it and by a survey, and work together.
//!
//! The member of each language is a program that does what it is told
//! (`bindings/examples/across.rs` and its likes); `bindings/examples/across_all.rs`
//! looks at them.

use crate::{interop::net::Lan, kotlin, node, python, shell, swift};
use anyhow::{Context, Result, ensure};
use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

/// How they find each other, and where.
const WAYS: [(&str, &str); 2] = [
    ("by crawl", "/ip4/10.77.0.0/udp/8822/cidr/28"),
    ("by survey", "/ip4/228.8.8.8/udp/8822/multicast/eth0"),
];

/// How long a member may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program with its first arguments, and what it needs in its environment.
#[derive(Debug)]
pub struct Program {
    pub args: Vec<OsString>,
    pub env: Vec<(&'static str, OsString)>,
}

impl Program {
    pub fn new(args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self { args: args.into_iter().map(Into::into).collect(), env: vec![] }
    }

    #[must_use]
    pub fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.env.push((name, value.into()));
        self
    }
}

/// A member, killed when dropped.
struct Member(Child);

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn test() -> Result<()> {
    ensure!(
        cfg!(target_os = "linux") && shell::works("sh", &["-c", "[ \"$(id -u)\" = 0 ]"]),
        "network namespaces need root on Linux"
    );
    // It builds the libraries of all languages.
    let kotlin = kotlin::across()?;
    let swift = swift::across()?;
    shell::run(
        shell::cargo().args(["build", "--locked", "--workspace", "--test", "parity"]).args([
            "--example",
            "across",
            "--example",
            "across_all",
        ]),
    )?;
    let example = |name| std::path::absolute(shell::target().join("debug/examples").join(name));
    let python = Program::new([
        std::path::absolute(python::venv("bare", &[])?)?,
        shell::workspace().join("python/tests/across.py"),
    ]);
    let python = python.env("PYTHONPATH", std::path::absolute(python::lay_out()?)?);
    let members = [
        ("kotlin", kotlin),
        ("node", node::across()?),
        ("python", python.env("PYTHONDONTWRITEBYTECODE", "1")),
        ("rust", Program::new([example("across")?])),
        ("swift", swift),
    ];
    WAYS.iter().try_for_each(|(way, boot)| {
        together(&members, boot, &example("across_all")?)
            .with_context(|| format!("found {way}"))?;
        println!("languages: those found {way} work together");
        Ok(())
    })
}

/// Starts the members, each on a host of its own, and has them looked at from one more.
fn together(members: &[(&str, Program)], boot: &str, all: &Path) -> Result<()> {
    let lan = Lan::new(members.len() + 1)?;
    let namespace = "languages";
    let command = |host: usize, program: &Program| {
        let mut command = lan.host(host).command(&program.args[0].to_string_lossy());
        command.args(&program.args[1..]).arg(namespace).env("ACROSS_BOOT", boot);
        command.envs(program.env.iter().map(|(name, value)| (name, value)));
        command
    };
    let mut running = vec![];
    for (host, (language, program)) in members.iter().enumerate() {
        let started = start(&mut command(host, program));
        running.push(started.with_context(|| format!("the member in {language}"))?);
    }
    let mut look = command(members.len(), &Program::new([all]));
    shell::run(look.args(members.iter().map(|(language, _)| language)))
}

/// Starts a member, and waits until it is there.
fn start(command: &mut Command) -> Result<Member> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("it is piped")?;
    let member = Member(child);
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = tell.send(line);
        }
    });
    loop {
        let line = told.recv_timeout(PATIENCE).context("it does not say that it is here")?;
        if line.starts_with("here ") {
            return Ok(member);
        }
    }
}
