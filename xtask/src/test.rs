//! Every test, by one command.

use crate::{fuzz, kotlin, languages, node, python, shell, swift};
use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

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
    if everything && cfg!(target_os = "linux") {
        failed.extend(with_one_beside(cargo_test).err());
    } else if everything || !packages.is_empty() {
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

/// Tests that wait for minutes, and neither mind what else runs nor disturb it: their
/// program runs beside all others, and says so to itself among those by a variable.
const BESIDE: &str = "power_netns";
const IS_BESIDE: &str = "CASM_BESIDE";

/// Runs all tests of the workspace, and one of their programs beside the others.
fn with_one_beside(mut cargo_test: Command) -> Result<()> {
    let (mut beside, said) = start_beside()?;
    let others = shell::run(cargo_test.env(IS_BESIDE, BESIDE));
    let status = beside.wait()?;
    print!("     Beside them: {BESIDE}\n{}", fs::read_to_string(said)?);
    others?;
    ensure!(status.success(), "{BESIDE} failed: {status}");
    Ok(())
}

/// Builds all tests and starts the one; what it says goes into a file.
fn start_beside() -> Result<(Child, PathBuf)> {
    let mut build = shell::cargo();
    build.args(["test", "--locked", "--workspace", "--no-run"]);
    build.args(["--message-format", "json-render-diagnostics"]);
    let built = shell::output(build.stderr(Stdio::inherit()))?;
    let messages = built.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = messages.filter(|message| message["target"]["name"] == BESIDE);
    let program = programs.find_map(|message| Some(message["executable"].as_str()?.to_owned()));
    let program = program.with_context(|| format!("cargo has built no test {BESIDE}"))?;
    let said = shell::target().join(BESIDE);
    let out = fs::File::create(&said)?;
    let mut command = Command::new(program);
    command.current_dir(shell::workspace().join("core"));
    let child = command.stderr(out.try_clone()?).stdout(out).spawn()?;
    Ok((child, said))
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
