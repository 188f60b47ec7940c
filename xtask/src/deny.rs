//! cargo-deny, built once into target/tools.

use crate::shell;
use anyhow::Result;
use std::{fs, process::Command};

const VERSION: &str = "0.20.2";

pub fn run() -> Result<()> {
    let tools = shell::target().join("tools");
    let program = tools.join("bin/cargo-deny");
    let there = shell::output(Command::new(&program).arg("--version"))
        .is_ok_and(|version| version.trim().ends_with(VERSION));
    if !there {
        eprintln!("building cargo-deny {VERSION}: this takes a few minutes, once");
        let build = tools.join("build");
        shell::run(
            shell::cargo()
                .args(["install", "--quiet", "--locked", "--debug", "--force"])
                .args(["cargo-deny", "--version", VERSION])
                .arg("--root")
                .arg(&tools)
                .arg("--target-dir")
                .arg(&build)
                // Nothing here is worth optimising for one run of a second.
                .env("CARGO_PROFILE_DEV_OPT_LEVEL", "0")
                .env("CARGO_PROFILE_DEV_DEBUG", "0"),
        )?;
        fs::remove_dir_all(build)?;
    }
    // Advisories need a database from the network: see DEVELOPERS.md.
    shell::run(Command::new(program).current_dir(shell::workspace()).args([
        "--workspace",
        "--locked",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))
}
