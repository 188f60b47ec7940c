//! The code that uniffi generates for Swift and Kotlin.

use crate::shell;
use anyhow::{Context, Result};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The program that generates.
const GENERATOR: &str = "casm-uniffi-generate";

/// The code of both languages, of the library of the dev profile, which is built.
pub fn code() -> Result<PathBuf> {
    shell::run(
        shell::cargo()
            .args(["build", "--locked", "--workspace", "--lib", "--bin", GENERATOR])
            // One test is enough for the features of all tests: after those no
            // dependency is compiled anew.
            .args(["--test", "parity"]),
    )?;
    generate()
}

/// Writes the code of both languages into target/uniffi/generated, having
/// checked that the library has all that every language has; gives back that
/// folder.
fn generate() -> Result<PathBuf> {
    let generated = fresh(&shell::target().join("uniffi/generated"))?;
    let bindings = shell::workspace().join("bindings");
    let program = format!("{GENERATOR}{}", env::consts::EXE_SUFFIX);
    shell::run(
        Command::new(shell::target().join("debug").join(program))
            .arg(built(env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX))
            .args([bindings.join("uniffi"), bindings.join("api.toml"), generated.clone()]),
    )?;
    Ok(generated)
}

/// The library, as it was built.
pub fn built(prefix: &str, suffix: &str) -> PathBuf {
    shell::target().join("debug").join(format!("{prefix}casm_uniffi{suffix}"))
}

/// An empty folder in this place.
pub fn fresh(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    // Programs that run elsewhere are told of it.
    fs::canonicalize(folder).with_context(|| format!("{} cannot be found", folder.display()))
}

/// Copies what is in a folder, with its folders.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if path.is_dir() {
            copy(&path, &to.join(name))?;
        } else {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
