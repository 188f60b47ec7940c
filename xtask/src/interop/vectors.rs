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
        command.args(["-run", "Vectors", "./internal/wire", "./internal/peer"]);
        let output = shell::output(&mut command)?;
        let passed = output.lines().filter(|line| line.starts_with("--- PASS")).count();
        ensure!(passed > 0, "no test has run: {output}");
        Ok(format!("{passed} tests"))
    });
    if with_scripts {
        report.check(SECTION, "js reads the heartbeats", || {
            js_tests(1, &["--test-name-pattern=vectors", "test/"])?;
            Ok("1 test".into())
        });
        report.check(SECTION, "py reads the heartbeats", || {
            let mut command = Command::new(&programs.python);
            command.current_dir(&programs.python_folder);
            command.args(["-m", "unittest", "-k", "vectors", "tests.test_heartbeat"]);
            let output = command.output()?;
            let told = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success() && told.contains("Ran 1 test"), "{told}");
            Ok("1 test".into())
        });
    }
}

/// Runs tests of the JavaScript peer, so many of which have to pass.
pub(super) fn js_tests(passed: usize, args: &[&str]) -> Result<()> {
    let mut command = Command::new("node");
    command.current_dir(shell::workspace().join("interop/js"));
    let output = shell::output(command.args(["--test", "--test-reporter=tap"]).args(args))?;
    ensure!(output.contains(&format!("# pass {passed}\n")), "not {passed} have passed: {output}");
    Ok(())
}
