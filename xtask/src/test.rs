//! Every test, by one command.

use crate::{fuzz, kotlin, languages, node, python, shell, swift};
use anyhow::{Result, bail};
use clap::ValueEnum;
use std::path::Path;

#[derive(clap::Args)]
pub struct Args {
    /// The parts to test; everything if none is named.
    suites: Vec<Suite>,
    /// How long each fuzz target runs, in seconds.
    #[arg(long, default_value_t = 10)]
    fuzz_seconds: u32,
}

/// A part that can be tested alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// The library.
    Core,
    /// What the bindings share, and its export for Swift and Kotlin.
    Bindings,
    /// The program `casm`.
    Cli,
    /// The simulator.
    Sim,
    /// These commands.
    Xtask,
    /// The fuzz targets, for a short time.
    Fuzz,
    /// The Python package.
    Python,
    /// The Node.js package.
    Node,
    /// The Swift package.
    Swift,
    /// The Kotlin package, with its examples and for Java.
    Kotlin,
    /// Members in all languages together. (Linux)
    Languages,
}

impl Suite {
    /// The packages whose tests these are, if `cargo test` runs them.
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Core => &["casm-p2p"],
            Self::Bindings => &["casm-bindings", "casm-uniffi", "casm-uniffi-generate"],
            Self::Cli => &["casm-cli"],
            Self::Sim => &["casm-sim"],
            Self::Xtask => &["xtask"],
            Self::Fuzz
            | Self::Python
            | Self::Node
            | Self::Swift
            | Self::Kotlin
            | Self::Languages => &[],
        }
    }
}

pub fn run(args: &Args) -> Result<()> {
    ensure_tools()?;
    let mut failed = vec![];
    let mut cargo_test = shell::cargo();
    cargo_test.args(["test", "--locked", "--no-fail-fast"]);
    let packages: Vec<_> = args.suites.iter().flat_map(|suite| suite.packages()).collect();
    for package in &packages {
        cargo_test.args(["-p", package]);
    }
    let everything = args.suites.is_empty();
    if everything {
        // One call for all packages: features are unified, and so each
        // dependency is compiled once.
        cargo_test.arg("--workspace");
    }
    if everything || !packages.is_empty() {
        failed.extend(shell::run(&mut cargo_test).err());
    }
    if everything || args.suites.contains(&Suite::Fuzz) {
        failed.extend(fuzz::run(&fuzz::Args::all(args.fuzz_seconds)).err());
    }
    if everything || args.suites.contains(&Suite::Python) {
        failed.extend(python::test(everything).err());
    }
    if everything || args.suites.contains(&Suite::Node) {
        failed.extend(node::test(everything).err());
    }
    if everything || args.suites.contains(&Suite::Swift) {
        failed.extend(swift::test().err());
    }
    if everything || args.suites.contains(&Suite::Kotlin) {
        failed.extend(kotlin::test().err());
    }
    if (everything && cfg!(target_os = "linux")) || args.suites.contains(&Suite::Languages) {
        failed.extend(languages::test().err());
    }
    if failed.is_empty() {
        return Ok(());
    }
    let failures: Vec<_> = failed.iter().map(|error| format!("{error:#}")).collect();
    bail!("tests failed: {}", failures.join("; "))
}

/// What the tests call: network namespaces, packet filters, the Cap'n Proto
/// compiler, a C++ compiler for libFuzzer, a terminal, and clocks that are wrong.
fn ensure_tools() -> Result<()> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    shell::ensure_packages(&[
        ("iproute2", shell::works("ip", &["-V"])),
        ("nftables", shell::works("nft", &["--version"]) || Path::new("/usr/sbin/nft").exists()),
        ("g++", shell::works("c++", &["--version"])),
        ("tmux", shell::works("tmux", &["-V"])),
        ("faketime", shell::works("faketime", &["--version"])),
    ])
}
