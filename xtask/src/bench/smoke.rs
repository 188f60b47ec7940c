//! Whether the benchmarks run: each small, with what the tests have built.

use super::{Bench, Peer, Program, list::BENCHES, runs};
use crate::{built::Built, shell};
use anyhow::{Result, bail, ensure};
use serde_json::Value;
use std::process::Command;

/// Runs a benchmark, or all.
pub fn run(bench: Option<&'static Bench>, peers: bool) -> Result<()> {
    let built = Built::all()?;
    if bench.is_none() {
        are_listed(&built)?;
    }
    let benches = BENCHES.iter().filter(|listed| bench.is_none_or(|b| b.name == listed.name));
    let mut count = 0;
    let mut failed = vec![];
    for bench in benches {
        for side in bench.sides {
            let options: Vec<String> = bench.small.iter().map(ToString::to_string).collect();
            let theirs = side.peers.iter().filter(|_| peers);
            let theirs = theirs.map(|peer| match peer {
                Peer::Named(name) => command(&built, &side.ours, &options, Some(name)),
                Peer::Go { .. } => peer.command(&side.ours, &options),
            });
            let ours = command(&built, &side.ours, &options, None);
            let commands = std::iter::once(ours).chain(theirs);
            for command in commands {
                count += 1;
                if let Err(error) = command.and_then(|mut command| tried(bench, &mut command)) {
                    failed.push(format!("{}: {error:#}", bench.name));
                }
            }
        }
    }
    ensure!(failed.is_empty(), "{} of {count} fail:\n{}", failed.len(), failed.join("\n"));
    println!("bench: {count} programs run");
    Ok(())
}

/// Runs a program. It must print figures, each a number that was measured.
fn tried(bench: &Bench, command: &mut Command) -> Result<()> {
    eprintln!("+ {}", shell::line(command));
    for run in runs(command)? {
        if let Some(failure) = super::failure(&run) {
            bail!(failure);
        }
        let figures: Vec<f64> = run.values().filter_map(Value::as_f64).collect();
        ensure!(!figures.is_empty(), "it prints no figures: {}", Value::Object(run));
        println!("{:>12}  {} figures", bench.name, figures.len());
    }
    Ok(())
}

/// Whether each benchmark that there is can be run by its name.
fn are_listed(built: &Built) -> Result<()> {
    let sides = || BENCHES.iter().flat_map(|bench| bench.sides);
    for name in built.benches() {
        let listed = sides().any(|side| matches!(side.ours, Program::Core(n) if n == name));
        ensure!(listed, "{name} is a benchmark that `cargo xtask bench` doesn't know: list it");
    }
    for (folder, end) in [("python/bench", ".py"), ("node/bench", ".mjs")] {
        for entry in std::fs::read_dir(shell::workspace().join(folder))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let listed = sides().any(
                |side| matches!(side.ours, Program::Python(n) | Program::Node(n) if n == name),
            );
            ensure!(
                listed || !name.ends_with(end),
                "{folder}/{name} is a benchmark that `cargo xtask bench` doesn't know: list it"
            );
        }
    }
    Ok(())
}

/// A program of ours as the tests have built it; with the name of a peer, as it
/// measures that one.
fn command(
    built: &Built,
    program: &Program,
    options: &[String],
    peer: Option<&str>,
) -> Result<Command> {
    let mut command = match program {
        Program::Core(name) => Command::new(built.program(name)?),
        Program::Sim(scenario) => {
            let mut sim = Command::new(built.program("casm-sim")?);
            sim.arg(scenario);
            sim
        }
        Program::Python(_) | Program::Node(_) => return program.command(options, peer),
    };
    command.current_dir(shell::workspace()).args(options).arg("--json");
    command.args(peer.iter().flat_map(|peer| ["--peer", peer]));
    Ok(command)
}
