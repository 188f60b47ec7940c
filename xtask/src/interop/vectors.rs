//! The test vectors of docs/spec, read by the peers on other stacks.

use super::{build::Programs, report::Report};
use crate::shell;
use anyhow::{Result, ensure};
use std::process::Command;

const SECTION: &str = "Test vectors of docs/spec/vectors, which Rust has made";

/// Checks that every stack reads them as they are meant.
pub fn check(report: &mut Report, programs: &Programs, with_scripts: bool) {
    let interop = shell::workspace().join("interop");
    report.check(SECTION, "go reads all but those of anti-entropy, which it lacks", || {
        let mut command = Command::new("go");
        command.current_dir(interop.join("go")).args(["test", "-p", "1", "-count=1", "-v"]);
        // With the fields of the golden files that are there, if any.
        tests(command.args(["-run", "Vectors", "./internal/wire", "./internal/peer"]), "--- PASS")
    });
    if with_scripts {
        report.check(SECTION, "js reads the heartbeats", || {
            let mut command = Command::new("node");
            command.current_dir(interop.join("js")).args(["--test", "--test-reporter=tap"]);
            tests(command.args(["--test-name-pattern=vectors", "test/"]), "ok 1 - ")
        });
        report.check(SECTION, "py reads the heartbeats", || {
            let mut command = Command::new(&programs.python);
            command.current_dir(&programs.python_folder).args(["-m", "unittest", "-v"]);
            // What it tells, it tells on stderr.
            command.args(["-k", "vectors", "tests.test_heartbeat"]);
            shell::output(&mut command).map(|_| "1 test".to_owned())
        });
    }
}

/// Runs tests, and says how many have passed.
fn tests(command: &mut Command, passed: &str) -> Result<String> {
    let output = shell::output(command)?;
    let count = output.lines().filter(|line| line.trim_start().starts_with(passed)).count();
    ensure!(count > 0, "no test has run: {output}");
    Ok(format!("{count} tests"))
}
