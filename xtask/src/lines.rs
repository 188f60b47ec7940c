//! No source file may outgrow one sitting.

use crate::shell;
use anyhow::{Result, ensure};
use std::{fs, process::Command};

const MOST: usize = 600;
const EXTENSIONS: [&str; 7] = [".rs", ".py", ".ts", ".js", ".swift", ".kt", ".go"];
/// Written by tools, not by people.
const GENERATED: [&str; 5] =
    ["_capnp.rs", ".capnp.go", ".d.ts", "/generated/", "/CasmFFI/CasmFFI.swift"];

pub fn run() -> Result<()> {
    let files = shell::output(
        Command::new("git")
            .current_dir(shell::workspace())
            // Files that are not committed yet count too.
            .args(["ls-files", "--cached", "--others", "--exclude-standard"]),
    )?;
    let written = files.lines().filter(|file| {
        EXTENSIONS.iter().any(|end| file.ends_with(end))
            && !GENERATED.iter().any(|part| file.contains(part))
    });
    let mut count = 0;
    let mut long = vec![];
    for file in written {
        // A file that was deleted and is not committed yet is still listed.
        let Ok(text) = fs::read_to_string(shell::workspace().join(file)) else { continue };
        count += 1;
        let lines = text.lines().count();
        if lines > MOST {
            long.push(format!("{file} has {lines} lines"));
        }
    }
    ensure!(long.is_empty(), "more than {MOST} lines, divide them: {}", long.join("; "));
    println!("lines: {count} source files, none longer than {MOST} lines");
    Ok(())
}
