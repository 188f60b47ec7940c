//! The programs of the workspace as the tests build them.

use crate::shell;
use anyhow::{Context, Result};
use serde_json::Value;
use std::{collections::HashMap, path::PathBuf, process::Stdio};

/// What cargo has built, with the features of the tests: so that it compiles no
/// dependency that they have compiled.
pub struct Built {
    programs: HashMap<String, PathBuf>,
    benches: Vec<String>,
}

impl Built {
    /// Builds what is not built yet.
    pub fn all() -> Result<Self> {
        let mut cargo = shell::cargo();
        cargo.args(["build", "--locked", "--workspace"]);
        cargo.args(["--bins", "--tests", "--examples", "--benches"]);
        cargo.args(["--message-format", "json-render-diagnostics"]);
        let mut built = Self { programs: HashMap::new(), benches: vec![] };
        for line in shell::output(cargo.stderr(Stdio::inherit()))?.lines() {
            let message: Value = serde_json::from_str(line).context("cargo prints JSON")?;
            let Some(program) = message["executable"].as_str() else { continue };
            let target = &message["target"];
            let name = target["name"].as_str().context("a target has a name")?;
            let kinds = target["kind"].as_array().context("a target has kinds")?;
            let is = |kind: &str| kinds.contains(&kind.into());
            // The tests of a program have its name too.
            if !is("example") && !is("bench") && message["profile"]["test"] == true {
                continue;
            }
            if is("bench") {
                built.benches.push(name.to_owned());
            }
            built.programs.insert(name.to_owned(), program.into());
        }
        Ok(built)
    }

    /// The program of this name: a binary, an example or a benchmark.
    pub fn program(&self, name: &str) -> Result<&PathBuf> {
        self.programs.get(name).with_context(|| format!("cargo has built no {name}"))
    }

    /// The names of the benchmarks.
    pub fn benches(&self) -> &[String] {
        &self.benches
    }
}
