//! Builds the program `casm` and the peers on other stacks, and installs what
//! they need.

use crate::shell;
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where the programs are.
#[derive(Debug)]
pub struct Programs {
    /// The program `casm`.
    pub casm: PathBuf,
    /// The peer on rust-libp2p's gossipsub.
    pub libp2p: PathBuf,
    /// The owner of a channel.
    pub owner: PathBuf,
    /// The Go peer.
    pub go: PathBuf,
    /// The JavaScript peer's main file, which `node` runs.
    pub js: PathBuf,
    /// The Python of the Python peer's environment.
    pub python: PathBuf,
    /// The folder in which the Python peer is run.
    pub python_folder: PathBuf,
    /// A folder for keys and logs.
    pub scratch: PathBuf,
}

/// Builds all that is asked for.
pub fn build(casm: Option<&Path>, with_scripts: bool) -> Result<Programs> {
    shell::ensure_packages(&[
        ("iproute2", shell::works("ip", &["-V"])),
        ("nftables", shell::works("nft", &["--version"])),
    ])?;
    ensure!(
        shell::works("go", &["version"]),
        "the Go toolchain is missing: install Go 1.26 or newer (https://go.dev/dl)"
    );
    let folder = shell::workspace().join("interop");
    let scratch = shell::target().join("interop");
    fs::create_dir_all(&scratch)?;
    let (casm, libp2p) = match casm {
        Some(path) => {
            let casm = path.canonicalize().with_context(|| format!("{}", path.display()))?;
            let libp2p = casm.with_file_name(LIBP2P);
            ensure!(
                libp2p.exists(),
                "the program {LIBP2P} is not beside {}: build it with \
                 `cargo build -p casm-interop-rust`",
                casm.display()
            );
            (casm, libp2p)
        }
        None => build_rust()?,
    };
    let programs = Programs {
        casm,
        owner: libp2p.with_file_name(OWNER),
        libp2p,
        go: scratch.join("casm-go"),
        js: folder.join("js/src/main.js"),
        python: scratch.join("venv/bin/python"),
        python_folder: folder.join("py"),
        scratch,
    };
    shell::run(
        Command::new("go")
            .current_dir(folder.join("go"))
            .args(["build", "-p", "2", "-o"])
            .arg(&programs.go)
            .arg("."),
    )?;
    if with_scripts {
        install_js(&folder.join("js"))?;
        install_python(&programs)?;
    }
    Ok(programs)
}

/// The peer on rust-libp2p's gossipsub.
const LIBP2P: &str = "casm-libp2p";
/// The owner of a channel, beside it.
const OWNER: &str = "casm-owner";

fn build_rust() -> Result<(PathBuf, PathBuf)> {
    let packages = ["-p", "casm-cli", "-p", "casm-interop-rust"];
    shell::run(shell::cargo().args(["build", "--locked"]).args(packages))?;
    let folder = shell::target().join("debug");
    Ok((folder.join("casm"), folder.join(LIBP2P)))
}

fn install_js(folder: &Path) -> Result<()> {
    ensure!(
        shell::works("npm", &["--version"]),
        "Node.js and npm are missing: install Node.js 20 or newer"
    );
    if newer(&folder.join("node_modules/.package-lock.json"), &folder.join("package-lock.json")) {
        return Ok(());
    }
    shell::run(Command::new("npm").current_dir(folder).args(["ci", "--no-audit", "--no-fund"]))
}

fn install_python(programs: &Programs) -> Result<()> {
    ensure!(
        shell::works("python3", &["-c", "import sys, venv; assert sys.version_info >= (3, 11)"]),
        "Python 3.11 or newer with the module venv is missing: install it"
    );
    let requirements = programs.python_folder.join("requirements.txt");
    let done = programs.scratch.join("venv/installed");
    if newer(&done, &requirements) {
        return Ok(());
    }
    let venv = programs.scratch.join("venv");
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    shell::run(
        Command::new(&programs.python)
            .args(["-m", "pip", "install", "-q", "-r"])
            .arg(&requirements),
    )?;
    Ok(fs::write(done, "")?)
}

/// Whether what was installed is not older than what it was installed from.
fn newer(installed: &Path, source: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    time(installed).is_some_and(|installed| Some(installed) >= time(source))
}
