//! The generated Kotlin code, compiled and tested with Maven.

use super::{copy, fresh};
use crate::shell;
use anyhow::Result;
use std::{path::Path, process::Command};

pub fn test(generated: &Path) -> Result<()> {
    shell::ensure_packages(&[
        ("default-jdk-headless", shell::works("javac", &["-version"])),
        ("maven", shell::works("mvn", &["-v"])),
    ])?;
    let project = fresh(&shell::target().join("uniffi/kotlin"))?;
    copy(&shell::workspace().join("bindings/uniffi/kotlin"), &project)?;
    copy(&generated.join("kotlin"), &project.join("generated"))?;
    let library = std::path::absolute(shell::target().join("debug"))?;
    eprintln!("compiling and testing the Kotlin code: Maven gets what that needs, once");
    shell::run(
        Command::new(if cfg!(windows) { "mvn.cmd" } else { "mvn" })
            .current_dir(project)
            .args(["--batch-mode", "--no-transfer-progress", "test"])
            .arg(format!("-Dcasm.library={}", library.display())),
    )
}
