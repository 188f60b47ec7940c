//! `cargo xtask …`: build, test and measure CASM with the same commands by
//! hand and in CI.

mod bench;
mod built;
mod codegen;
mod deny;
mod documented;
mod fuzz;
mod interop;
mod kotlin;
mod languages;
mod lines;
mod node;
mod package;
mod python;
mod sancov;
mod shell;
mod swift;
mod test;
mod uniffi;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build, test and measure CASM")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure, and compare with what others made.
    Bench(bench::Args),
    /// Regenerate the Rust code of core/schema/*.capnp, and the Swift code of
    /// bindings/uniffi.
    Codegen(codegen::Args),
    /// Check the licenses, bans and sources of the dependencies.
    Deny,
    /// Check that the commands in the documentation can be given.
    Documented(documented::Args),
    /// Run the fuzz targets.
    Fuzz(fuzz::Args),
    /// Prove that CASM works with other people's stacks.
    Interop(interop::Args),
    /// Check that no source file has grown too long.
    Lines,
    /// Build the package of a language, check it, and try it where nothing else
    /// is installed.
    Package(package::Args),
    /// Run every test, or those of some parts, having installed what they need.
    Test(test::Args),
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    if std::env::var_os(sancov::SWITCH).is_some() {
        return sancov::compile();
    }
    match Args::parse().command {
        Command::Bench(args) => bench::run(&args),
        Command::Codegen(args) => codegen::run(&args),
        Command::Deny => deny::run(),
        Command::Documented(args) => documented::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Interop(args) => interop::run(&args),
        Command::Lines => lines::run(),
        Command::Package(args) => package::run(&args),
        Command::Test(args) => test::run(&args),
    }
}

/// Whether these words are a command.
fn parse(words: &[&str]) -> anyhow::Result<()> {
    Args::try_parse_from(std::iter::once("xtask").chain(words.iter().copied()))?;
    Ok(())
}
