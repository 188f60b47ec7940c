//! The code that uniffi generates for Swift. A package that is depended on by its
//! address has no build step, so it lies in the package.

use crate::shell;
use anyhow::{Context, Result, ensure};
use std::{fs, path::Path};

/// What is generated, and where it lies.
const FILES: [(&str, &str); 3] = [
    ("CasmFFI.swift", "swift/Sources/CasmFFI/CasmFFI.swift"),
    ("CasmFFIC.h", "swift/Sources/CasmFFIC/CasmFFIC.h"),
    ("CasmFFIC.modulemap", "swift/Sources/CasmFFIC/module.modulemap"),
];

/// Writes what was generated into the package, or fails if it is not what lies there.
pub fn install(code: &Path, check: bool) -> Result<()> {
    for (name, place) in FILES {
        let from = code.join("swift").join(name);
        let new = fs::read_to_string(&from)
            .with_context(|| format!("{} cannot be read", from.display()))?;
        let new = tidied(&new);
        let target = shell::workspace().join(place);
        if check {
            let old = fs::read_to_string(&target).unwrap_or_default();
            ensure!(
                old == new,
                "{place} is out of date: run `cargo xtask codegen` and commit the result"
            );
        } else {
            fs::create_dir_all(target.parent().context("a file has a folder")?)?;
            fs::write(target, new)?;
        }
    }
    println!("codegen: swift: {}", if check { "is up to date" } else { "written" });
    Ok(())
}

/// Without spaces at the ends of lines, and with an end of the last one.
fn tidied(code: &str) -> String {
    code.lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
}
