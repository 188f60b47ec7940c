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
    sides: &'static [Side],
}

/// A program of ours, and those with which it is compared.
struct Side {
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
    /// A script in node/bench, with the npm package that was packaged last.
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
    /// The script of ours, with `--peer` and this name.
    Named(&'static str),
}

/// Libraries of a language's registry that hold a native module too.
const PYPI: &[Peer] = &[
    Peer::Named("eclipse-zenoh"),
    Peer::Named("iroh"),
    Peer::Named("opendal"),
    Peer::Named("tokenizers"),
];
const NPM: &[Peer] =
    &[Peer::Named("@number0/iroh"), Peer::Named("@chainsafe/libp2p-quic"), Peer::Named("zeromq")];
const ZENOH: &[Peer] = &[Peer::Named("eclipse-zenoh")];
const ZEROMQ: &[Peer] = &[Peer::Named("zeromq")];

const BENCHES: [Bench; 11] = [
    Bench {
        name: "cluster",
        sides: &[Side {
            ours: Program::Example("bench_cluster"),
            peers: &[Peer::Go { module: "interop/go-memberlist", without: &["--ttl"] }],
        }],
    },
    Bench { name: "codec", sides: &[Side { ours: Program::Example("bench_codec"), peers: &[] }] },
    Bench {
        name: "events",
        sides: &[
            Side { ours: Program::Python("events.py"), peers: ZENOH },
            Side { ours: Program::Node("events.mjs"), peers: ZEROMQ },
        ],
    },
    Bench {
        name: "import",
        sides: &[
            Side { ours: Program::Python("importing.py"), peers: PYPI },
            Side { ours: Program::Node("importing.mjs"), peers: NPM },
        ],
    },
    Bench {
        name: "newcomer",
        sides: &[Side { ours: Program::Example("bench_newcomer"), peers: &[] }],
    },
    Bench { name: "pex", sides: &[Side { ours: Program::Example("bench_pex"), peers: &[] }] },
    Bench {
        name: "roundtrip",
        sides: &[
            Side { ours: Program::Python("roundtrip.py"), peers: ZENOH },
            Side { ours: Program::Node("roundtrip.mjs"), peers: ZEROMQ },
        ],
    },
    Bench {
        name: "size",
        sides: &[
            Side { ours: Program::Python("size.py"), peers: PYPI },
            Side { ours: Program::Node("size.mjs"), peers: NPM },
        ],
    },
    Bench { name: "survey", sides: &[Side { ours: Program::Sim("survey"), peers: &[] }] },
    Bench {
        name: "table",
        sides: &[Side {
            ours: Program::Example("bench_table"),
            peers: &[Peer::Go { module: "interop/go-memdb", without: &[] }],
        }],
    },
    Bench { name: "verify", sides: &[Side { ours: Program::Example("bench_verify"), peers: &[] }] },
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
    for side in bench.sides {
        let ours = runs(&mut side.ours.command(&options, None)?)?;
        ours.iter().for_each(|run| print(run, json));
        if !peers {
            continue;
        }
        for peer in side.peers {
            let theirs = runs(&mut peer.command(&side.ours, &options)?)?;
            for (i, mut theirs) in theirs.into_iter().enumerate() {
                if let Some(ours) = ours.get(i) {
                    let ratio = ratio(ours, &theirs);
                    theirs.insert("ratio".into(), ratio.into());
                }
                print(&theirs, json);
            }
        }
        if side.peers.is_empty() {
            eprintln!("bench {}: there is no peer to compare with", bench.name);
        }
    }
    Ok(())
}

impl Program {
    /// With the name of a peer: the program that measures that one.
    fn command(&self, options: &[String], peer: Option<&str>) -> Result<Command> {
        let cargo = |args: &[&str]| {
            let mut cargo = shell::cargo();
            cargo.args(["run", "--quiet", "--release", "--locked"]).args(args);
            cargo.args(options).arg("--json");
            cargo
        };
        let script = |mut command: Command| {
            command.args(options).args(peer.iter().flat_map(|peer| ["--peer", peer]));
            command
        };
        Ok(match self {
            Self::Example(name) => cargo(&["-p", "casm-p2p", "--example", name, "--"]),
            Self::Sim(scenario) => cargo(&["-p", "casm-sim", "--", scenario]),
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
    let asked = ["nodes", "degree", "hubs", "seconds", "seed", "records"];
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
