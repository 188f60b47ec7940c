//! Nodes in one process, over loopback TCP, each connected to a few random
//! earlier ones (or all to the same few hubs, with peer exchange): how soon every
//! view is full, what it costs to keep it so, and how long a change takes to
//! reach all. `cargo xtask bench cluster` runs this, beside what others made; with
//! `--admit` each size also with certificates of members.
//!
//! - `admit`: certificates of all nodes, and what they cost
//! - `kill`: how soon all know of who was killed
//! - `measure`: one cluster
//! - `way`: how long changes are under way

mod admit;
#[path = "../clock/mod.rs"]
mod clock;
mod kill;
#[path = "../machine/mod.rs"]
mod machine;
mod measure;
mod way;

use anyhow::{Context, Error, Result, ensure};
use clap::Parser;
use serde_json::{Value, json};
use std::{
    io::Write,
    process::{Command, Stdio},
    str::FromStr,
    time::Duration,
};

#[derive(Parser)]
struct Args {
    /// Nodes in one process; several numbers with commas between them are
    /// measured one after the other, each in a process of its own. A number may
    /// have a TTL of its own: `100,400@30s`.
    #[arg(long, value_delimiter = ',', default_value = "100")]
    nodes: Vec<Size>,
    /// Earlier nodes that each node connects to.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    degree: u32,
    /// Connect each node to so many first ones, the same for all, instead of to
    /// random earlier ones; they exchange peers as nodes do by default.
    #[arg(long, conflicts_with = "degree", value_parser = clap::value_parser!(u32).range(1..))]
    hubs: Option<u32>,
    /// The nodes' TTL, where a number of nodes has none of its own.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// How long the full cluster is measured, in seconds.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Give up when the views are not full by then, counted from when the first
    /// node connects.
    #[arg(long, default_value = "2m", value_parser = humantime::parse_duration)]
    full_within: Duration,
    /// Changes of a node's meta, four in a second, of which the way to every
    /// other node is timed.
    #[arg(long, default_value_t = 40)]
    changes: u32,
    /// Nodes that are killed after all that, one after the other, of which is timed when
    /// each other one takes them for gone. Before that as long passes as it takes until
    /// nodes believe each other: one and a half TTLs.
    #[arg(long, default_value_t = 0)]
    kill: u32,
    /// Seed of the choice of earlier nodes, and of those that change.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Measure each number of nodes twice, in processes of their own: as it is, and
    /// with certificates of members. Of the second run the ratio to the first is told.
    #[arg(long)]
    admit: bool,
    /// Give the nodes certificates: the second of the two.
    #[arg(long, hide = true, conflicts_with = "admit")]
    certificates: bool,
    /// One JSON object on stdout for each number of nodes; there is no other
    /// form.
    #[arg(long = "json")]
    _json: bool,
    /// What `cargo bench` says to every benchmark.
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

/// How many nodes, and the TTL if it isn't that of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    nodes: u32,
    ttl: Option<Duration>,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (nodes, ttl) = match text.split_once('@') {
            None => (text, None),
            Some((nodes, ttl)) => {
                let ttl = humantime::parse_duration(ttl)
                    .map_err(|error| format!("{ttl:?} is no duration: {error}"))?;
                (nodes, Some(ttl))
            }
        };
        match nodes.parse() {
            Ok(nodes) if nodes > 0 => Ok(Self { nodes, ttl }),
            _ => Err(format!("{nodes:?}: write a number of nodes, 1 or more")),
        }
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.seconds > 0.0, "--seconds must be positive");
    match *args.nodes {
        [size] if !args.admit => one(&args, size),
        _ => each_by_itself(args.admit),
    }
}

/// Measures a cluster, and ends the process: what nodes still do is of no use.
fn one(args: &Args, size: Size) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(measure::measure(args, size))?;
    println!("{result}");
    std::io::stdout().flush()?;
    std::process::exit(0)
}

/// Runs this program once for each number of nodes, or twice: memory that was freed
/// is not given back to the system, and would be counted for the next.
fn each_by_itself(admit: bool) -> Result<()> {
    let mut sizes = vec![];
    let mut others = vec![];
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let given = match word.strip_prefix("--nodes") {
            Some("") => words.next(),
            Some(joined) => joined.strip_prefix('=').map(str::to_owned),
            None => None,
        };
        match given {
            Some(given) => sizes.extend(given.split(',').map(str::to_owned)),
            None if word == "--admit" => {}
            None => others.push(word),
        }
    }
    let program = std::env::current_exe()?;
    for size in sizes {
        let command = || {
            let mut command = Command::new(&program);
            command.args(&others).arg("--nodes").arg(&size);
            command
        };
        let plain = by_itself(&mut command(), &size)?;
        println!("{plain}");
        if admit {
            let mut with = by_itself(command().arg("--certificates"), &size)?;
            with["ratio"] = admit::ratio(&with, &plain);
            println!("{with}");
        }
    }
    Ok(())
}

/// What one run of this program prints.
fn by_itself(command: &mut Command, size: &str) -> Result<Value> {
    let program = command.get_program().to_owned();
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("{} cannot be run", program.display()))?;
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout)?);
    }
    let nodes = size.parse::<Size>().map_err(Error::msg)?.nodes;
    Ok(json!({
        "bench": "cluster", "impl": "casm", "nodes": nodes,
        "failed": format!("the process ended with {}", output.status),
    }))
}
