//! The Python package: its tests and its distributions.

use crate::{package, shell};
use anyhow::{Context, Result, ensure};
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What the tests need from PyPI.
const TEST: [&str; 3] = ["pytest==9.*", "mypy==2.*", "pyright==1.1.*"];

/// Runs the tests of the package, with the native module of the dev profile.
///
/// `workspace` says that the whole workspace's tests were built just now: then
/// the module is built with their features, and so needs no dependency anew.
pub fn test(workspace: bool) -> Result<()> {
    let package = stage(workspace)?;
    let python = venv("test", &TEST)?;
    shell::run(
        Command::new(python)
            // Not from its own folder, where the package has no native module.
            .current_dir(shell::workspace())
            .env("PYTHONPATH", package)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "python/tests"]),
    )
}

/// Lays the package out under target/python, as an installation would, and
/// gives back that folder.
pub fn stage(workspace: bool) -> Result<PathBuf> {
    let mut build = shell::cargo();
    build.args(["build", "--locked", "--lib"]);
    build.args(if workspace { &["--workspace", "--tests"][..] } else { &["-p", "casm-python"] });
    shell::run(&mut build)?;
    lay_out()
}

/// The same, of what is built already.
pub fn lay_out() -> Result<PathBuf> {
    let staged = shell::target().join("python");
    let package = staged.join("casm");
    if package.exists() {
        fs::remove_dir_all(&package)?;
    }
    fs::create_dir_all(&package)?;
    for entry in fs::read_dir(shell::workspace().join("python/casm"))? {
        let path = entry?.path();
        if path.is_file() {
            fs::copy(&path, package.join(path.file_name().context("a file has a name")?))?;
        }
    }
    let library = shell::target().join("debug").join(if cfg!(windows) {
        "_casm.dll"
    } else if cfg!(target_os = "macos") {
        "lib_casm.dylib"
    } else {
        "lib_casm.so"
    });
    let module = if cfg!(windows) { "_casm.pyd" } else { "_casm.abi3.so" };
    fs::copy(&library, package.join(module))
        .with_context(|| format!("{} cannot be copied", library.display()))?;
    Ok(staged)
}

/// What pip needs for the peers of the benchmarks.
const PEERS: [&str; 5] =
    ["eclipse-zenoh==1.*", "iroh==1.*", "libp2p==0.8.*", "opendal==0.*", "tokenizers==0.*"];

/// A script of python/bench, in an environment that has the wheel that was
/// packaged last; for a peer, in one that has those with which it is compared.
pub fn bench(script: &str, peer: bool) -> Result<Command> {
    let mut command;
    if peer {
        command = Command::new(venv("peers", &PEERS)?);
    } else {
        let wheel = package::wheel_built()?;
        let python = venv("bench", &[])?;
        shell::run(
            Command::new(&python)
                .args(["-m", "pip", "install", "-q", "--no-index", "--no-deps"])
                .arg("--force-reinstall")
                .arg(&wheel),
        )?;
        command = Command::new(python);
        command.env("CASM_WHEEL", wheel);
    }
    command.arg(shell::workspace().join("python/bench").join(script));
    Ok(command)
}

/// A virtual environment under target/venv that holds these requirements; gives
/// back its interpreter.
pub fn venv(name: &str, requirements: &[&str]) -> Result<PathBuf> {
    let folder = shell::target().join("venv").join(name);
    let python = interpreter(&folder);
    let list = folder.join("casm-requirements");
    let wanted = requirements.join("\n");
    if fs::read_to_string(&list).is_ok_and(|there| there == wanted) {
        return Ok(python);
    }
    new_venv(&folder)?;
    if !requirements.is_empty() {
        eprintln!("installing {} from PyPI into {}", requirements.join(", "), folder.display());
        shell::run(Command::new(&python).args(["-m", "pip", "install", "-q"]).args(requirements))?;
    }
    fs::write(list, wanted)?;
    Ok(python)
}

/// A fresh virtual environment.
pub fn new_venv(folder: &Path) -> Result<PathBuf> {
    shell::run(Command::new(system_python()?).args(["-m", "venv", "--clear"]).arg(folder))?;
    Ok(interpreter(folder))
}

fn interpreter(venv: &Path) -> PathBuf {
    venv.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}

/// `$PYTHON`, or the first Python that is there.
fn system_python() -> Result<OsString> {
    let given = std::env::var_os("PYTHON").into_iter();
    let found = given
        .chain(["python3".into(), "python".into()])
        .find(|python| shell::works(&python.to_string_lossy(), &["-c", "import venv, ensurepip"]));
    ensure!(found.is_some(), "Python 3.10 or later with venv is needed: install it");
    found.context("checked just now")
}
