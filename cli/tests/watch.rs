//! `casm watch`, in a terminal that tmux provides.
#![cfg(unix)]

mod common;

use common::{CASM, Running, eventually};
#[cfg(target_os = "linux")]
use common::{isolated, takes_over, without_loopback};
use std::process::Command;

/// A tmux server of its own, ended with the test.
struct Tmux {
    dir: tempfile::TempDir,
}

impl Tmux {
    /// None where tmux is not installed, which is a failure in CI.
    fn new() -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "tmux is not installed");
            println!("skipped: tmux is not installed");
            return None;
        }
        Some(Self { dir: tempfile::tempdir().unwrap() })
    }

    fn run(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .arg("-S")
            .arg(self.dir.path().join("socket"))
            .args(args)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn screen(&self) -> String {
        self.run(&["capture-pane", "-p"])
    }

    fn shows(&self, what: &str) {
        eventually(what, || self.screen().contains(what));
    }

    fn press(&self, keys: &[&str]) {
        self.run(&[&["send-keys"], keys].concat());
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}

#[test]
fn the_view_is_live_filtered_sorted_and_left() {
    let Some(tmux) = Tmux::new() else { return };
    let mut a = Running::node("none", &["--host", "alpha", "--meta", "role=worker"]);
    let (_, boot) = a.listening();
    let command = format!(
        "{CASM} watch --ns test --boot {boot} --listen /ip4/127.0.0.1/tcp/0; echo ended with $?; sleep 60"
    );
    tmux.run(&["-f", "/dev/null", "new-session", "-d", "-x", "150", "-y", "40", &command]);
    tmux.shows("alpha");
    tmux.shows("role=worker");
    tmux.shows("test · 1 peers");

    let mut b = Running::node(&boot, &["--host", "beta", "--meta", "role=db"]);
    let (b_id, _) = b.listening();
    tmux.shows("test · 2 peers");
    tmux.shows("joined");

    tmux.press(&["/", "WORK"]);
    tmux.shows("filter: WORK");
    tmux.shows("2 peers, 1 shown");
    let table = |screen: &str| screen.split("events").next().unwrap_or_default().to_owned();
    assert!(table(&tmux.screen()).contains("alpha") && !table(&tmux.screen()).contains("beta"));
    tmux.press(&["Escape"]);
    tmux.shows("2 peers ·");

    tmux.press(&["s", "s", "r"]);
    tmux.shows("by host, reversed");
    eventually("beta stands before alpha", || {
        let screen = table(&tmux.screen());
        matches!((screen.find("beta"), screen.find("alpha")), (Some(b), Some(a)) if b < a)
    });

    b.signal("INT");
    tmux.shows(&format!("{b_id} (left)"));
    tmux.shows("test · 1 peers");

    tmux.press(&["q"]);
    tmux.shows("ended with 0");
    // The observer was never seen.
    assert!(!a.seen().iter().any(|l| l["event"] == "peer-joined"
        && l["record"]["host"] != "alpha"
        && l["record"]["host"] != "beta"));
}

#[test]
#[cfg(target_os = "linux")]
fn a_signal_ends_it_from_its_first_moment_on_and_gives_the_terminal_back() {
    for (name, network, signal, shown) in [
        ("starting", without_loopback as fn(&[&str]) -> Command, "INT", None),
        ("showing", isolated, "TERM", Some("0 peers")),
    ] {
        // One server each: it ends with its last session, and a session that is
        // asked for meanwhile comes to nothing.
        let Some(tmux) = Tmux::new() else { return };
        let watch = network(&["watch", "--ns", "test", "--boot", "none"]);
        let pid = tmux.dir.path().join(name);
        // What the command runs in the end has the number of the shell.
        let quoted: Vec<_> = std::iter::once(watch.get_program())
            .chain(watch.get_args())
            .map(|word| format!("'{}'", word.to_string_lossy()))
            .collect();
        let command = format!(
            "echo before; sh -c 'echo $$ > {}; exec \"$@\"' sh {}; echo ended with $?; sleep 60",
            pid.display(),
            quoted.join(" "),
        );
        tmux.run(&["-f", "/dev/null", "new-session", "-d", "-x", "150", "-y", "40", &command]);
        let number = || std::fs::read_to_string(&pid).ok()?.trim().parse::<u32>().ok();
        eventually("it takes signals over", || number().is_some_and(takes_over));
        if let Some(shown) = shown {
            tmux.shows(shown);
        }
        let number = number().unwrap().to_string();
        let kill = Command::new("kill").args([&format!("-{signal}"), &*number]).status().unwrap();
        assert!(kill.success());
        tmux.shows("ended with 0");
        // The screen is what it was before.
        tmux.shows("before");
    }
}
