//! The platforms for which there is a native module on npm.

use super::native::Libc;
use crate::shell;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::process::Command;

/// The package that programs ask for.
pub const PACKAGE: &str = "casm-p2p";

/// A platform for which there is a package.
#[derive(Debug, PartialEq, Eq)]
pub struct Platform {
    /// As Node.js names it: system, processor, and what the module is linked
    /// with.
    pub name: &'static str,
    /// As Rust names it.
    pub target: &'static str,
}

pub const PLATFORMS: [Platform; 7] = [
    Platform { name: "linux-x64-gnu", target: "x86_64-unknown-linux-gnu" },
    Platform { name: "linux-arm64-gnu", target: "aarch64-unknown-linux-gnu" },
    Platform { name: "linux-x64-musl", target: "x86_64-unknown-linux-musl" },
    Platform { name: "linux-arm64-musl", target: "aarch64-unknown-linux-musl" },
    Platform { name: "darwin-arm64", target: "aarch64-apple-darwin" },
    Platform { name: "darwin-x64", target: "x86_64-apple-darwin" },
    Platform { name: "win32-x64-msvc", target: "x86_64-pc-windows-msvc" },
];

impl Platform {
    pub fn of(target: &str) -> Result<&'static Self> {
        PLATFORMS.iter().find(|platform| platform.target == target).with_context(|| {
            let known = PLATFORMS.map(|platform| platform.target).join(", ");
            format!("there is no package for {target:?}, only for {known}")
        })
    }

    pub fn package(&self) -> String {
        format!("{PACKAGE}-{}", self.name)
    }

    pub fn libc(&self) -> Option<Libc> {
        match self.name.split('-').nth(2) {
            Some("gnu") => Some(Libc::Glibc),
            Some("musl") => Some(Libc::Musl),
            _ => None,
        }
    }

    /// What tells npm where the package may be installed.
    pub fn requirements(&self) -> Value {
        let mut parts = self.name.split('-');
        let mut wanted = json!({ "os": [parts.next()], "cpu": [parts.next()] });
        match self.libc() {
            Some(Libc::Glibc) => wanted["libc"] = json!(["glibc"]),
            Some(Libc::Musl) => wanted["libc"] = json!(["musl"]),
            None => {}
        }
        wanted
    }
}

/// What Rust calls this machine.
pub fn host() -> Result<String> {
    let text = shell::output(Command::new("rustc").arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV tells no host")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_workflow_builds_every_platform() {
        const WORKFLOW: &str = include_str!("../../../.github/workflows/release-node.yml");
        let jobs = WORKFLOW.lines().filter_map(|line| line.trim().strip_prefix("- { name: "));
        let names = jobs.filter_map(|job| job.split(',').next());
        assert!(names.eq(PLATFORMS.iter().map(|platform| platform.name)));
    }

    #[test]
    fn npm_is_told_where_a_package_may_be_installed() {
        let requirements = |target| Platform::of(target).unwrap().requirements();
        let musl = json!({ "os": ["linux"], "cpu": ["arm64"], "libc": ["musl"] });
        assert_eq!(requirements("aarch64-unknown-linux-musl"), musl);
        let windows = json!({ "os": ["win32"], "cpu": ["x64"] });
        assert_eq!(requirements("x86_64-pc-windows-msvc"), windows);
        assert!(Platform::of("riscv64gc-unknown-linux-gnu").is_err());
    }
}
