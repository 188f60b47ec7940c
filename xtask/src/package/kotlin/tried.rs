//! The package, installed into an empty project: there is no library elsewhere, and the
//! README's program and its like in Java find each other.

use super::{GROUP, REPOSITORY, url};
use crate::{
    kotlin::{self, snippets::snippets},
    package::{fresh, quickstart},
    shell,
};
use anyhow::{Context, Result, ensure};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Installs the package from the repository in target, and runs the programs.
pub fn try_out(library: &Path) -> Result<()> {
    let repository = std::path::absolute(shell::target().join(REPOSITORY))?;
    let project = std::path::absolute(fresh("kotlin-package/tried")?)?;
    let manifest = include_str!("consumer.xml")
        .replace("@REPOSITORY@", &url::of(&repository))
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"));
    fs::write(project.join("pom.xml"), manifest)?;
    let readme = fs::read_to_string(shell::workspace().join("kotlin/README.md"))?;
    let found = snippets(&readme);
    for (language, file) in [("kotlin", "kotlin/Quickstart.kt"), ("java", "java/Worker.java")] {
        let (_, code) =
            found
                .iter()
                .find(|(of, code)| *of == language && code.contains("main("))
                .with_context(|| format!("kotlin/README.md has no program in {language}"))?;
        let file = project.join("src/main").join(file);
        fs::create_dir_all(file.parent().context("it lies in a folder")?)?;
        fs::write(file, code)?;
    }
    forget()?;
    let list = project.join("classpath");
    let mut maven = kotlin::maven(&project)?;
    maven.args(["compile", "dependency:build-classpath"]);
    shell::run(maven.arg(format!("-Dmdep.outputFile={}", list.display())))?;
    let mut classes = project.join("target/classes").into_os_string();
    classes.push(if cfg!(windows) { ";" } else { ":" });
    classes.push(fs::read_to_string(&list)?.trim());

    // The library of the dev profile is taken away from where a test finds it, too.
    let hidden = library.join("library");
    ensure!(hidden.exists(), "{} is not there", hidden.display());
    fs::remove_dir_all(&hidden)?;
    let (java, path) = java()?;
    let place = quickstart::Place::new()?;
    let programs = ["QuickstartKt", "Worker"].map(|main| {
        let mut program = place.command(&java, path.as_os_str());
        program.env_remove("LD_LIBRARY_PATH").env_remove("CLASSPATH");
        program.arg("-cp").arg(&classes).arg(main);
        program
    });
    quickstart::meet(programs.into())
}

/// Has Maven forget what it has of us: it believes that a version never changes.
fn forget() -> Result<()> {
    let home = env::var_os("HOME").or_else(|| env::var_os("USERPROFILE")).unwrap_or_default();
    let mut ours = Path::new(&home).join(".m2/repository");
    ours.extend(GROUP.split('.'));
    for artifact in ["casm", "casm-android"] {
        let version = ours.join(artifact).join(env!("CARGO_PKG_VERSION"));
        if version.exists() {
            fs::remove_dir_all(version)?;
        }
    }
    Ok(())
}

/// Java, and the folder in which it is.
fn java() -> Result<(PathBuf, PathBuf)> {
    let home = env::var_os("JAVA_HOME").map(PathBuf::from);
    let found = home
        .map(|home| home.join("bin"))
        .into_iter()
        .chain(env::var_os("PATH").iter().flat_map(env::split_paths).collect::<Vec<_>>());
    let name = if cfg!(windows) { "java.exe" } else { "java" };
    let folder = found.into_iter().find(|folder| folder.join(name).exists());
    let folder = folder.context("there is no java: install a JDK")?;
    Ok((folder.join(name), folder))
}
