//! CASM's protocol state machines on virtual time.

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
    Pex(Box<pex::Args>),
    Survey(survey::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Pex(args) => pex::run(&args),
        Command::Survey(args) => survey::run(args),
    }
}
