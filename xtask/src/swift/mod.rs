//! Swift: the package at the workspace's root, compiled and tested as its users get
//! it.
//!
//! - `generated`: the code of uniffi that lies in the package
//! - `toolchain`: the Swift that is here, or in `trixie`, a Debian in target/
//! - `snippets`: the code that README and documentation show, as Swift compiles it
//! - `parity`: what is public, beside the table of what every language has

pub mod generated;
mod parity;
mod snippets;
pub mod toolchain;
pub mod trixie;

use crate::{languages::Program, shell, uniffi};
use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};
use toolchain::Toolchain;

/// The package that depends on ours, in language mode 5.
const CLIENT: &str = "swift/Tests/Client";
/// The program `casm`, in the folder in which is built.
const PROGRAM: &str = "casm";

/// Compiles the package without warnings, in language mode 6; runs its tests, and those
/// of a package that depends on it in mode 5, in which the code of README and
/// documentation is; compares what is public with what every language has; and has DocC
/// read the documentation.
pub fn test() -> Result<()> {
    let code = uniffi::code()?;
    generated::install(&code, true)?;
    let (build, library, swift) = prepare()?;
    authority(&build)?;

    let there = swift.build();
    let scratch =
        |name: &str| fresher(&build.join(name), library).map(|()| format!("{there}/{name}"));
    let package = scratch("package")?;
    // Written only when something is compiled.
    let (graph, symbols) = (format!("{package}/symbols"), build.join("package/symbols"));
    fs::create_dir_all(&symbols)?;
    let strict = ["-warnings-as-errors", "-emit-symbol-graph", "-emit-symbol-graph-dir", &graph];
    let strict: Vec<_> = strict.iter().flat_map(|flag| ["-Xswiftc", flag]).collect();
    let link = link();
    let compile = ["build", "--build-tests", "--scratch-path", &package];
    swift.run(&swift.root(), &[&compile[..], &strict, link].concat())?;
    parity::check(&symbols)?;
    let tested = swift.run(&swift.root(), &["test", "--skip-build", "--scratch-path", &package]);

    let client = uniffi::fresh(&build.join("client"))?;
    lay_out_client(&client, &swift)?;
    let scratch = scratch("client-build")?;
    let client = format!("{there}/client");
    let compile = ["build", "--build-tests", "--scratch-path", &scratch];
    swift.run(&client, &[&compile[..], link].concat())?;
    swift.run(&client, &["test", "--skip-build", "--scratch-path", &scratch])?;
    tested?;
    swift.docs(&graph)
}

/// The program that signs certificates for the tests, where Swift sees it.
fn authority(build: &Path) -> Result<()> {
    // With the features of all tests, as the library.
    let program = ["build", "--locked", "--workspace", "--bin", "casm", "--test", "parity"];
    shell::run(shell::cargo().args(program))?;
    fs::copy(shell::target().join("debug/casm"), build.join(PROGRAM)).map(drop)?;
    Ok(())
}

/// What a package that depends on ours is built with: where, when the library of the dev
/// profile, which is there, was built, and by which Swift.
fn prepare() -> Result<(PathBuf, SystemTime, Toolchain)> {
    let build = folder()?;
    let library = lay_out(&build)?;
    let swift = Toolchain::find()?;
    if matches!(swift, Toolchain::Here) {
        // On a Mac, and with Swift 6.2, the manifest takes it as a binary target.
        let mut package = Command::new(std::env::current_exe()?);
        package.args(["package", "swift", "--unpacked", "--library"]);
        shell::run(package.arg(uniffi::built("lib", ".a")))?;
    }
    Ok((build, library, swift))
}

/// On Linux, Observation of Swift 6.0 lacks a function that it calls before it gives up.
fn link() -> &'static [&'static str] {
    if cfg!(target_os = "linux") {
        &["-Xlinker", "--unresolved-symbols=ignore-in-shared-libs"]
    } else {
        &[]
    }
}

/// Compiles the member for the tests across languages, with the library of the dev
/// profile, which is there; gives back the program.
pub fn across() -> Result<Program> {
    let (build, library, swift) = prepare()?;
    fresher(&build.join("client-build"), library)?;
    let client = uniffi::fresh(&build.join("client"))?;
    lay_out_client(&client, &swift)?;
    let there = swift.build();
    let (client, scratch) = (format!("{there}/client"), format!("{there}/client-build"));
    let compile = ["build", "--product", "across", "--scratch-path", &scratch];
    swift.run(&client, &[&compile[..], link()].concat())?;
    Ok(swift.program_of(build.join("client-build/debug/across")))
}

/// Where all of this is built.
fn folder() -> Result<PathBuf> {
    let folder = shell::target().join("swift/test");
    fs::create_dir_all(&folder)?;
    fs::canonicalize(&folder).with_context(|| format!("{} cannot be found", folder.display()))
}

/// The library and what pkg-config says of it, as its tarball has them; gives back when
/// the library was built.
fn lay_out(build: &Path) -> Result<SystemTime> {
    let linux = uniffi::fresh(&build.join("linux"))?;
    let library = uniffi::built("lib", ".a");
    let copy = linux.join("libcasm.a");
    // It is large.
    fs::hard_link(&library, &copy)
        .or_else(|_| fs::copy(&library, &copy).map(drop))
        .with_context(|| format!("{} cannot be copied", library.display()))?;
    fs::write(
        linux.join("casm.pc"),
        "Name: casm\nDescription: CASM, Cluster Assembly\nVersion: 0\n\
         Libs: -L${pcfiledir} -lcasm -lm -ldl -lpthread\n",
    )?;
    Ok(fs::metadata(library)?.modified()?)
}

/// Drops what was built with another library: Swift does not see that one has changed.
fn fresher(scratch: &Path, library: SystemTime) -> Result<()> {
    let made = scratch.join("casm-library");
    let stamp = format!("{library:?}");
    if fs::read_to_string(&made).is_ok_and(|there| there == stamp) {
        return Ok(());
    }
    uniffi::fresh(scratch)?;
    Ok(fs::write(made, stamp)?)
}

/// The client, which finds our package by its path, and the code that is shown.
fn lay_out_client(client: &Path, swift: &Toolchain) -> Result<()> {
    uniffi::copy(&shell::workspace().join(CLIENT), client)?;
    let manifest = client.join("Package.swift");
    let text = fs::read_to_string(&manifest)?;
    fs::write(manifest, text.replace("../../..", &swift.root()))?;
    let count = snippets::write(&client.join("Sources/Snippets"))?;
    println!("swift: {count} pieces of code of README and documentation");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_bars_the_package_from_being_depended_on() {
        for manifest in ["Package.swift", "Package@swift-6.2.swift"] {
            let text = fs::read_to_string(shell::workspace().join(manifest)).unwrap();
            // SwiftPM refuses a package of a version that has them.
            assert!(!text.contains("unsafeFlags"), "{manifest}");
            // And takes no path out of the package.
            assert!(!text.contains(".."), "{manifest}");
            assert!(text.contains("checksum:"), "{manifest}");
        }
    }

    #[test]
    fn both_manifests_are_of_one_version_and_that_of_the_workspace() {
        let line = format!("let version = \"{}\"", env!("CARGO_PKG_VERSION"));
        for manifest in ["Package.swift", "Package@swift-6.2.swift"] {
            let text = fs::read_to_string(shell::workspace().join(manifest)).unwrap();
            assert!(text.lines().any(|there| there == line), "{manifest}");
        }
    }
}
