//! Benchmarks: ours, and with `--peers` other people's programs that do the
//! same, in the same run.
//!
//! - `list`: the benchmarks
//! - `smoke`: all of them, small, to see that they run

mod list;
mod smoke;

use crate::{node, python, shell};
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};
use std::process::{Command, Stdio};

#[derive(clap::Args)]
pub struct Args {
    /// Which benchmark.
    #[arg(required_unless_present = "smoke")]
    name: Option<String>,
    /// Run it, or all if none is named, as small as can be and not optimised:
    /// to see that it runs. Those of packages need
    /// them: `cargo xtask package python`, `… node`.
    #[arg(long)]
    smoke: bool,
    /// One JSON object per run on stdout, and nothing else.
    #[arg(long)]
    json: bool,
    /// Also run what others made, and give the ratio ours / theirs.
    #[arg(long)]
    peers: bool,
    /// The benchmark's own options (`--nodes 100` …).
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// A benchmark: each side prints the same keys.
struct Bench {
    name: &'static str,
    sides: &'static [Side],
    /// Options with which it takes a moment and says nothing.
    small: &'static [&'static str],
}

/// A program of ours, and those with which it is compared.
struct Side {
    ours: Program,
    peers: &'static [Peer],
}

enum Program {
    /// A benchmark in core/benches.
    Core(&'static str),
    /// A scenario of the simulator.
    Sim(&'static str),
    /// A script in python/bench, with the wheel that was packaged last.
    Python(&'static str),
    /// A script in node/bench, with the npm package that was packaged last.
    Node(&'static str),
}

/// Another's program that prints the same keys.
enum Peer {
    /// A Go module.
    Go {
        module: &'static str,
        /// Options of ours that mean nothing to it.
        without: &'static [&'static str],
    },
    /// The program of ours, with `--peer` and this name.
    Named(&'static str),
}

pub fn run(args: &Args) -> Result<()> {
    // Options of this command may also stand behind the name.
    let (flags, options): (Vec<_>, Vec<_>) = args
        .options
        .iter()
        .cloned()
        .partition(|o| matches!(&**o, "--json" | "--peers" | "--smoke"));
    let given = |flag: &str| flags.iter().any(|given| given == flag);
    let json = args.json || given("--json");
    let peers = args.peers || given("--peers");
    let bench = args.name.as_deref().map(named).transpose()?;
    if args.smoke || given("--smoke") {
        return smoke::run(bench, peers);
    }
    let bench = bench.context("clap asks for a name")?;
    let mut failed = vec![];
    let mut tell = |run: &Map<String, Value>| {
        print(run, json);
        failed.extend(failure(run));
    };
    for side in bench.sides {
        let ours = runs(&mut side.ours.command(&options, None)?)?;
        ours.iter().for_each(&mut tell);
        if !peers {
            continue;
        }
        for peer in side.peers {
            let theirs = runs(&mut peer.command(&side.ours, &options)?)?;
            // With certificates it is compared with itself.
            let plain: Vec<_> = ours.iter().filter(|run| !run.contains_key("admit")).collect();
            for (i, mut theirs) in theirs.into_iter().enumerate() {
                if let Some(ours) = plain.get(i) {
                    let ratio = ratio(ours, &theirs);
                    theirs.insert("ratio".into(), ratio.into());
                }
                tell(&theirs);
            }
        }
        if side.peers.is_empty() {
            eprintln!("bench {}: there is no peer to compare with", bench.name);
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(())
}

/// The benchmark of this name.
fn named(name: &str) -> Result<&'static Bench> {
    list::BENCHES.iter().find(|bench| bench.name == name).with_context(|| {
        let names: Vec<_> = list::BENCHES.iter().map(|bench| bench.name).collect();
        format!("there is no benchmark {name:?}, only {}", names.join(", "))
    })
}

/// Whether there is a benchmark of this name.
pub fn is_there(name: &str) -> bool {
    named(name).is_ok()
}

impl Program {
    /// With the name of a peer: the program that measures that one.
    fn command(&self, options: &[String], peer: Option<&str>) -> Result<Command> {
        let named = || peer.iter().flat_map(|peer| ["--peer", peer]);
        let cargo = |args: &[&str], before: &[&str]| {
            let mut cargo = shell::cargo();
            cargo.args(args).args(["--quiet", "--locked", "--"]).args(before);
            cargo.args(options).arg("--json").args(named());
            cargo
        };
        let script = |mut command: Command| {
            command.args(options).args(named());
            command
        };
        Ok(match self {
            Self::Core(name) => cargo(&["bench", "-p", "casm-p2p", "--bench", name], &[]),
            Self::Sim(scenario) => cargo(&["run", "--release", "-p", "casm-sim"], &[scenario]),
            Self::Python(name) => script(python::bench(name, peer.is_some())?),
            Self::Node(name) => script(node::bench(name, peer.is_some())?),
        })
    }
}

impl Peer {
    fn command(&self, ours: &Program, options: &[String]) -> Result<Command> {
        match self {
            Self::Named(name) => ours.command(options, Some(name)),
            Self::Go { module, without } => {
                ensure!(
                    shell::works("go", &["version"]),
                    "{module} needs Go: install it from https://go.dev/dl"
                );
                Ok(go(module, without, options))
            }
        }
    }
}

/// A Go module, with the options that mean something to it.
fn go(module: &str, without: &[&str], options: &[String]) -> Command {
    let mut go = Command::new("go");
    go.current_dir(shell::workspace().join(module)).args(["run", "."]);
    let mut options = options.iter().peekable();
    while let Some(option) = options.next() {
        let (name, joined) = option.split_once('=').map_or((&**option, false), |o| (o.0, true));
        if !without.contains(&name) {
            go.arg(option);
        } else if !joined {
            // Its value, if it has one.
            options.next_if(|next| !next.starts_with("--"));
        }
    }
    go
}

/// Runs a program to its end; each line that it prints is one run's result.
fn runs(command: &mut Command) -> Result<Vec<Map<String, Value>>> {
    let text = shell::output(command.stderr(Stdio::inherit()))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let runs: Vec<_> = lines
        .map(|line| {
            serde_json::from_str(line).with_context(|| format!("not a JSON object: {line:?}"))
        })
        .collect::<Result<_>>()?;
    ensure!(!runs.is_empty(), "the benchmark printed nothing");
    Ok(runs)
}

/// Why a run gives not all of its figures, if it doesn't: others have theirs all
/// the same.
fn failure(run: &Map<String, Value>) -> Option<String> {
    let told = |key: &str| run.get(key).and_then(Value::as_str);
    let nodes = run.get("nodes").map(|nodes| format!(", {nodes} nodes")).unwrap_or_default();
    Some(format!("{}{nodes}: {}", told("impl").unwrap_or_default(), told("failed")?))
}

/// Ours divided by theirs, for each figure that both have. What was asked of
/// both is the same and says nothing.
fn ratio(ours: &Map<String, Value>, theirs: &Map<String, Value>) -> Map<String, Value> {
    let figure = |run: &Map<String, Value>, key: &str| run.get(key).and_then(Value::as_f64);
    let asked = [
        "nodes",
        "degree",
        "hubs",
        "seconds",
        "seed",
        "records",
        "changes",
        "window",
        "bytes",
        "piece",
        "subscribers",
        "callers",
    ];
    let keys = ours.keys().filter(|key| !asked.contains(&key.as_str()));
    keys.filter_map(|key| Some((key, figure(ours, key)?, figure(theirs, key)?)))
        .filter(|(_, _, theirs)| *theirs != 0.0)
        .map(|(key, ours, theirs)| (key.clone(), (ours / theirs).into()))
        .collect()
}

fn print(run: &Map<String, Value>, json: bool) {
    if json {
        println!("{}", Value::Object(run.clone()));
        return;
    }
    for (key, value) in run {
        println!("{key:>24}  {value}");
    }
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn a_ratio_is_of_figures_that_both_have_and_that_were_measured() {
        let ours = object(serde_json::json!({
            "impl": "casm", "nodes": 8, "cpu_cores": 1.0, "false_drops": 3, "only_ours": 1
        }));
        let theirs = object(serde_json::json!({
            "impl": "other", "nodes": 8, "cpu_cores": 4.0, "false_drops": 0
        }));
        let expected = object(serde_json::json!({ "cpu_cores": 0.25 }));
        assert_eq!(ratio(&ours, &theirs), expected);
    }

    #[test]
    fn a_peer_is_not_given_what_it_does_not_know() {
        let options = ["--admit", "--nodes", "8", "--ttl", "10s", "--ttl=5s", "--seconds=3"];
        let options = options.map(str::to_owned);
        let command = go("interop/go-memberlist", &["--admit", "--ttl"], &options);
        let args: Vec<_> = command.get_args().collect();
        assert_eq!(args, ["run", ".", "--nodes", "8", "--seconds=3"]);
    }
}
