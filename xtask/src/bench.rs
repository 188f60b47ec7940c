//! Benchmarks: ours, and with `--peers` other people's programs that do the
//! same, in the same run.

use crate::{node, python, shell};
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};
use std::process::{Command, Stdio};

#[derive(clap::Args)]
pub struct Args {
    /// Which benchmark.
    name: String,
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

struct Bench {
    name: &'static str,
    ours: Program,
    peers: &'static [Peer],
}

enum Program {
    /// An example of the library.
    Example(&'static str),
    /// A scenario of the simulator.
    Sim(&'static str),
    /// A script in python/bench, with the wheel that was packaged last.
    Python(&'static str),
    /// A script in node/bench, with a release build.
    Node(&'static str),
}

/// Another's program that prints the same keys.
enum Peer {
    /// A Go module.
    Go {
        module: &'static str,
        /// Options of ours that mean nothing to it; each has a value.
        without: &'static [&'static str],
    },
    /// The same script in python/bench, with `--peer`.
    Python(&'static str),
}

const BENCHES: [Bench; 10] = [
    Bench {
        name: "cluster",
        ours: Program::Example("bench_cluster"),
        peers: &[Peer::Go { module: "interop/go-memberlist", without: &["--ttl"] }],
    },
    Bench { name: "codec", ours: Program::Example("bench_codec"), peers: &[] },
    Bench {
        name: "events",
        ours: Program::Python("events.py"),
        peers: &[Peer::Python("events.py")],
    },
    Bench {
        name: "import",
        ours: Program::Python("importing.py"),
        peers: &[Peer::Python("importing.py")],
    },
    Bench { name: "newcomer", ours: Program::Example("bench_newcomer"), peers: &[] },
    Bench { name: "node-events", ours: Program::Node("events.mjs"), peers: &[] },
    Bench { name: "node-import", ours: Program::Node("importing.mjs"), peers: &[] },
    Bench { name: "survey", ours: Program::Sim("survey"), peers: &[] },
    Bench {
        name: "table",
        ours: Program::Example("bench_table"),
        peers: &[Peer::Go { module: "interop/go-memdb", without: &[] }],
    },
    Bench { name: "verify", ours: Program::Example("bench_verify"), peers: &[] },
];

pub fn run(args: &Args) -> Result<()> {
    // Options of this command may also stand behind the name.
    let (flags, options): (Vec<_>, Vec<_>) =
        args.options.iter().cloned().partition(|o| o == "--json" || o == "--peers");
    let json = args.json || flags.iter().any(|flag| flag == "--json");
    let peers = args.peers || flags.iter().any(|flag| flag == "--peers");

    let bench = BENCHES.iter().find(|bench| bench.name == args.name).with_context(|| {
        let names: Vec<_> = BENCHES.iter().map(|bench| bench.name).collect();
        format!("there is no benchmark {:?}, only {}", args.name, names.join(", "))
    })?;
    let ours = runs(&mut bench.ours.command(&options)?)?;
    ours.iter().for_each(|run| print(run, json));
    if !peers {
        return Ok(());
    }
    for peer in bench.peers {
        for (i, mut theirs) in runs(&mut peer.command(&options)?)?.into_iter().enumerate() {
            if let Some(ours) = ours.get(i) {
                let ratio = ratio(ours, &theirs);
                theirs.insert("ratio".into(), ratio.into());
            }
            print(&theirs, json);
        }
    }
    if bench.peers.is_empty() {
        eprintln!("bench {}: there is no peer to compare with", bench.name);
    }
    Ok(())
}

impl Program {
    fn command(&self, options: &[String]) -> Result<Command> {
        let mut cargo = shell::cargo();
        cargo.args(["run", "--quiet", "--release", "--locked"]);
        match self {
            Self::Python(script) => {
                let mut python = python::bench(script)?;
                python.args(options);
                return Ok(python);
            }
            Self::Node(script) => {
                let mut node = node::bench(script)?;
                node.args(options);
                return Ok(node);
            }
            Self::Example(name) => cargo.args(["-p", "casm-p2p", "--example", name, "--"]),
            Self::Sim(scenario) => cargo.args(["-p", "casm-sim", "--", scenario]),
        };
        cargo.args(options).arg("--json");
        Ok(cargo)
    }
}

impl Peer {
    fn command(&self, options: &[String]) -> Result<Command> {
        match self {
            Self::Python(script) => {
                let mut python = python::bench(script)?;
                python.args(options).arg("--peer");
                Ok(python)
            }
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
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let (name, joined) = option.split_once('=').map_or((&**option, false), |o| (o.0, true));
        if !without.contains(&name) {
            go.arg(option);
        } else if !joined {
            options.next();
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

/// Ours divided by theirs, for each figure that both have. What was asked of
/// both is the same and says nothing.
fn ratio(ours: &Map<String, Value>, theirs: &Map<String, Value>) -> Map<String, Value> {
    let figure = |run: &Map<String, Value>, key: &str| run.get(key).and_then(Value::as_f64);
    let asked = ["nodes", "degree", "seconds", "seed", "records"];
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
        let options = ["--nodes", "8", "--ttl", "10s", "--ttl=5s", "--seconds=3"];
        let options = options.map(str::to_owned);
        let command = go("interop/go-memberlist", &["--ttl"], &options);
        let args: Vec<_> = command.get_args().collect();
        assert_eq!(args, ["run", ".", "--nodes", "8", "--seconds=3"]);
    }
}
