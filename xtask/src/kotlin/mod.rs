//! The Kotlin package: laid out, compiled and tested with Maven.
//!
//! - `generated`: the generated code, which the package keeps to itself
//! - `snippets`: the code that the documentation shows

mod generated;
pub mod snippets;

use crate::{
    languages::Program,
    python, shell,
    uniffi::{self, copy, fresh},
};
use anyhow::{Context, Result};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The library's name in the package, as Java's native access looks for it.
pub const LIBRARY: &str = "casm";

/// Compiles the package and its examples and runs their tests, with the library of
/// the dev profile.
pub fn test() -> Result<()> {
    let project = lay_out()?;
    // It calls a service of ours; its module was built along with the library.
    let staged = python::lay_out()?;
    let python = python::venv("bare", &[])?;
    let table = shell::workspace().join("bindings/api.toml");
    let mut maven = maven(&project)?;
    maven.arg("test").arg(format!("-Dcasm.library={}", project.join("library").display()));
    maven.arg(format!("-Dcasm.table={}", table.display()));
    maven.env("CASM_PYTHON", std::path::absolute(python)?);
    maven.env("PYTHONPATH", std::path::absolute(staged)?).env("PYTHONDONTWRITEBYTECODE", "1");
    shell::run(&mut maven)
}

/// Compiles the package and its tests, among which is the member for the tests across
/// languages; gives back that program.
pub fn across() -> Result<Program> {
    let project = lay_out()?;
    shell::run(maven(&project)?.arg("test-compile"))?;
    let list = project.join("classpath");
    shell::run(
        maven(&project)?
            .arg("org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath")
            .args(["-DincludeScope=test", "-q"])
            .arg(format!("-Dmdep.outputFile={}", list.display())),
    )?;
    let jars = fs::read_to_string(list)?;
    let classes = ["target/classes", "target/test-classes"].map(|folder| project.join(folder));
    let path = env::join_paths(classes.into_iter().chain(env::split_paths(jars.trim())))?;
    let library = format!("-Djna.library.path={}", project.join("library").display());
    Ok(Program::new(["java".into(), library.into(), "-cp".into(), path, "casm.Across".into()]))
}

/// The package's project under target: its sources, the generated ones, and the
/// library of the dev profile.
pub fn lay_out() -> Result<PathBuf> {
    let code = uniffi::code()?;
    // What was compiled before stays: Maven looks at what has changed.
    let project = shell::target().join("kotlin");
    for folder in ["src", "examples", "generated", "snippets", "library"] {
        fresh(&project.join(folder))?;
    }
    copy(&shell::workspace().join("kotlin"), &project)?;
    let project = std::path::absolute(project)?;
    generated::keep_inside(&code.join("kotlin"), &project.join("generated"))?;
    snippets::lay_out(&project.join("snippets"))?;
    let library = uniffi::built(env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX);
    fs::copy(&library, project.join("library").join(file_name(env::consts::DLL_SUFFIX)))
        .with_context(|| format!("{} cannot be copied", library.display()))?;
    Ok(project)
}

/// What the library's file is called where names end so.
pub fn file_name(suffix: &str) -> String {
    let prefix = if suffix == ".dll" { "" } else { "lib" };
    format!("{prefix}{LIBRARY}{suffix}")
}

/// Maven, in this project.
pub fn maven(project: &Path) -> Result<Command> {
    shell::ensure_packages(&[
        ("default-jdk-headless", shell::works("javac", &["-version"])),
        ("maven", shell::works("mvn", &["-v"])),
    ])?;
    eprintln!("calling Maven, which gets what it needs, once");
    let mut maven = Command::new(if cfg!(windows) { "mvn.cmd" } else { "mvn" });
    maven.current_dir(project).args(["--batch-mode", "--no-transfer-progress"]);
    Ok(maven)
}
