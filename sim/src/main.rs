//! CASM's protocol state machines on virtual time.

mod admit;
mod cluster;
mod connections;
mod flood;
mod gossip;
mod pex;
mod rng;
mod survey;

use clap::{Parser, Subcommand};

/// Simulates CASM's protocols: the production code, on virtual time.
#[derive(Debug, Parser)]
#[command(name = "casm-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Admit(admit::Args),
    Cluster(cluster::Args),
    Connections(connections::Args),
    Flood(flood::Args),
    Gossip(gossip::Args),
    Pex(Box<pex::Args>),
    Survey(survey::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Admit(args) => admit::run(&args),
        Command::Cluster(args) => cluster::run(&args),
        Command::Connections(args) => connections::run(&args),
        Command::Flood(args) => flood::run(&args),
        Command::Gossip(args) => gossip::run(&args),
        Command::Pex(args) => pex::run(&args),
        Command::Survey(args) => survey::run(args),
    }
}
