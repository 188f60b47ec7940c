//! `cargo xtask …`: build, test and measure CASM with the same commands by
//! hand and in CI.

mod codegen;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build, test and measure CASM")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Regenerate the Rust code of core/schema/*.capnp.
    Codegen(codegen::Args),
}

fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Codegen(args) => codegen::run(&args),
    }
}
