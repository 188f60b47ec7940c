//! The generated Swift code, compiled and tested with its package manager.

use super::{built, copy, fresh, trixie};
use crate::shell;
use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

pub fn test(generated: &Path) -> Result<()> {
    let package = lay_out(&generated.join("swift"))?;
    // Not any program of that name: another one talks to object stores.
    let here = shell::output(Command::new("swift").arg("--version"));
    if here.is_ok_and(|version| version.contains("Swift version 6")) {
        return shell::run(
            Command::new("swift").args(["test", "--disable-swift-testing"]).current_dir(package),
        );
    }
    trixie::swift_test(&package)
}

/// A Swift package with the generated code and the library. It is compiled from
/// nothing: Swift does not see that a library has changed.
fn lay_out(generated: &Path) -> Result<PathBuf> {
    let package = fresh(&shell::target().join("uniffi/swift"))?;
    copy(&shell::workspace().join("bindings/uniffi/swift"), &package)?;
    let put = |file: PathBuf, folder: &str, name: &str| -> Result<()> {
        let folder = package.join(folder);
        fs::create_dir_all(&folder)?;
        fs::copy(&file, folder.join(name))
            .with_context(|| format!("{} cannot be copied", file.display()))?;
        Ok(())
    };
    put(generated.join("CasmFFI.swift"), "Sources/CasmFFI", "CasmFFI.swift")?;
    let headers = "Sources/CasmFFIC/include";
    put(generated.join("CasmFFIC.h"), headers, "CasmFFIC.h")?;
    put(generated.join("CasmFFIC.modulemap"), headers, "module.modulemap")?;
    // A C module must have a source file.
    fs::write(package.join("Sources/CasmFFIC/empty.c"), "")?;
    let (prefix, suffix) = if cfg!(windows) { ("", ".lib") } else { ("lib", ".a") };
    let library = format!("{prefix}casm_uniffi{suffix}");
    put(built(prefix, suffix), "library", &library)?;
    Ok(package)
}
