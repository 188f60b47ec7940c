//! xtask as cargo's compiler wrapper: adds coverage counters to the crates that
//! decode what comes from the network, and to no other, so that the rest of the
//! dependencies is compiled once for tests and fuzzing.

use anyhow::{Context, Result};
use std::{env, process::Command};

/// Set by `cargo xtask fuzz` for the compilers that cargo starts.
pub const SWITCH: &str = "CASM_XTASK_SANCOV";

/// The packages that get counters.
const PACKAGES: [&str; 5] = ["casm-p2p", "casm-fuzz", "capnp", "igd-next", "lz4_flex"];

/// What cargo-fuzz passes too. None of it needs a nightly compiler.
const FLAGS: [&str; 8] = [
    "--cfg=fuzzing",
    "-Ccodegen-units=1",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-sanitizer-coverage-stack-depth",
];

/// The settings that give the packages with counters a name of their own in
/// the target folder, and make them fast enough.
pub fn profile() -> impl Iterator<Item = String> {
    PACKAGES.iter().flat_map(|package| {
        ["--config".into(), format!("profile.dev.package.{package}.opt-level=2")]
    })
}

/// Runs the compiler as cargo asked: `xtask rustc ARGS…`.
pub fn compile() -> Result<()> {
    let mut args = env::args_os().skip(1);
    let rustc = args.next().context("cargo names the compiler first")?;
    let mut command = Command::new(rustc);
    command.args(args).env_remove(SWITCH);
    let package = env::var("CARGO_PKG_NAME").unwrap_or_default();
    let build_script = env::var("CARGO_CRATE_NAME").is_ok_and(|n| n.starts_with("build_script"));
    if PACKAGES.contains(&package.as_str()) && !build_script {
        command.args(FLAGS);
    }
    let status = command.status().context("the compiler cannot be run")?;
    std::process::exit(status.code().unwrap_or(1))
}
