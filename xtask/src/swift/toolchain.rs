//! The Swift that compiles.

use super::{PROGRAM, folder, trixie};
use crate::{languages::Program, shell};
use anyhow::{Context, Result};
use std::{path::PathBuf, process::Command};

/// Swift's programs, and where they see the workspace and what is built.
pub enum Toolchain {
    /// Those of this machine.
    Here,
    /// Those of the Debian whose root folder this is.
    Trixie(PathBuf),
}

impl Toolchain {
    pub fn find() -> Result<Self> {
        if is_here() {
            return Ok(Self::Here);
        }
        trixie::environment().map(Self::Trixie)
    }

    /// The workspace, as Swift sees it.
    pub fn root(&self) -> String {
        match self {
            Self::Here => shell::workspace().display().to_string(),
            Self::Trixie(_) => trixie::WORKSPACE.to_owned(),
        }
    }

    /// The folder in which it builds, as it sees it.
    pub fn build(&self) -> String {
        match self {
            Self::Here => folder().map(|folder| folder.display().to_string()).unwrap_or_default(),
            Self::Trixie(_) => trixie::BUILD.to_owned(),
        }
    }

    /// Runs `swift` in a folder that is as it sees it.
    pub fn run(&self, folder: &str, args: &[&str]) -> Result<()> {
        let mut swift = self.program(folder, "swift")?;
        swift.env("CASM_PROGRAM", format!("{}/{PROGRAM}", self.build())).args(&args[..1]);
        if matches!(self, Self::Trixie(_)) {
            // It sets up a sandbox of its own otherwise, in which it can't.
            swift.arg("--disable-sandbox");
        }
        swift.args(&args[1..]);
        if args[0] == "test" {
            swift.arg("--disable-swift-testing");
        }
        shell::run(&mut swift)
    }

    /// Has DocC read the catalogue and the comments. What it does not find is an error.
    pub fn docs(&self, symbols: &str) -> Result<()> {
        let (root, build) = (self.root(), self.build());
        // Xcode has it where no path leads.
        let (program, first) =
            if cfg!(target_os = "macos") { ("xcrun", &["docc"][..]) } else { ("docc", &[][..]) };
        let mut docc = self.program(&root, program)?;
        docc.args(first)
            .arg("convert")
            .arg(format!("{root}/swift/Sources/Casm/Casm.docc"))
            .args(["--additional-symbol-graph-dir", symbols])
            .args(["--fallback-display-name", "Casm", "--fallback-bundle-identifier", "casm"])
            .args(["--output-path", &format!("{build}/Casm.doccarchive")])
            .arg("--warnings-as-errors");
        shell::run(&mut docc)
    }

    /// A program that it has made. That of the Debian is run with the libraries from there.
    pub fn program_of(&self, program: PathBuf) -> Program {
        match self {
            Self::Here => Program::new([program]),
            Self::Trixie(root) => trixie::program_of(root, program),
        }
    }

    fn program(&self, folder: &str, name: &str) -> Result<Command> {
        let library = format!("{}/linux", self.build());
        Ok(match self {
            Self::Here => {
                let mut program = Command::new(name);
                program.current_dir(folder).env("PKG_CONFIG_PATH", library);
                program
            }
            Self::Trixie(root) => {
                let build = super::folder().context("target/ cannot be found")?;
                trixie::program(root, &build, folder, name, &library)?
            }
        })
    }
}

/// Whether this machine has a Swift that will do.
pub fn is_here() -> bool {
    // Not any program of that name: another one talks to object stores.
    let here = shell::output(Command::new("swift").arg("--version"));
    here.is_ok_and(|version| version.contains("Swift version 6"))
}
