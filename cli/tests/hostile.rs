//! What others say of themselves, where it is shown to people.
#![cfg(target_os = "linux")]

mod common;

use casm::logs::is_harmful;
use common::{Running, casm, eventually, finish, isolated, stderr};
use std::{
    fs::{self, File},
    process::{Command, Stdio},
};

/// Sets the title of a terminal, clears it, turns the direction of writing, ends
/// the line, and hides.
const TEXT: &str = "owned\u{1b}]0;x\u{7}\u{9b}2J\u{202e}\u{61c}\u{2028}\n\u{200b}";

fn assert_harmless(what: &str, text: &str) {
    let harmful = |c: char| c != '\n' && is_harmful(c);
    let found = text.lines().find(|line| line.contains(harmful));
    assert!(found.is_none(), "{what}: {found:?}");
}

#[test]
fn what_others_say_of_themselves_steers_no_terminal() {
    let mut other = Running::node("none", &["--host", TEXT, "--meta", &format!("{TEXT}={TEXT}")]);
    let (_, addr) = other.listening();
    let dir = tempfile::tempdir().unwrap();
    let args = ["run", "--ns", "test", "--boot", &addr, "--listen", "/ip4/127.0.0.1/tcp/0"];
    for form in [&["-vvv"][..], &["--json", "-vvv", "--log-format", "json"]] {
        let files = ["out", "err"].map(|name| dir.path().join(name));
        let [out, err] = files.each_ref().map(|path| File::create(path).unwrap());
        let mut command = casm(&[&args[..], &["--view", "100ms"], form].concat());
        let mut node =
            command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().expect("it starts");
        let read = || files.each_ref().map(|path| fs::read_to_string(path).unwrap_or_default());
        eventually("it shows the other, joined and in its view", || {
            read()[0].matches("owned").count() >= 6
        });
        let pid = node.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        assert!(node.wait().unwrap().success());
        let [shown, logged] = read();
        assert_harmless("what it shows", &shown);
        assert_harmless("what it logs", &logged);
        assert!(logged.lines().count() > 10, "{logged}");
    }
    let args = ["ls", "--ns", "test", "--peer", &addr, "--listen", "/ip4/127.0.0.1/tcp/0"];
    let listed = finish(&[&args[..], &["--wait", "30s"]].concat());
    let shown = String::from_utf8(listed.stdout.clone()).unwrap();
    assert!(shown.contains("owned"), "{shown}: {}", stderr(&listed));
    assert_harmless("ls", &shown);
}

#[test]
fn an_error_steers_no_terminal() {
    let addr = format!("/dns/{}/tcp/1", TEXT.replace('\n', ""));
    for args in [
        &["ls", "--peer", &addr, "--listen", "/ip4/127.0.0.1/tcp/0"][..],
        &["ls", "--json", "--peer", &addr, "--listen", "/ip4/127.0.0.1/tcp/0"],
    ] {
        // Where no name can be asked for.
        let output = isolated(args).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let told = stderr(&output);
        assert!(told.contains("owned"), "{told}");
        assert_harmless("the error", &told);
        assert_harmless("its JSON", &String::from_utf8(output.stdout).unwrap());
    }
}
