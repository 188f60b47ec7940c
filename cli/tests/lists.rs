//! `--allow` and `--deny`: files that are read, and read again when they change.
#![cfg(unix)]

mod common;

use common::{Running, casm, finish, json_lines, stderr};
use serde_json::Value;
use std::fs;

/// How often a node has seen a peer join.
fn joins(node: &mut Running, peer: &str) -> usize {
    let joined = |line: &&Value| line["event"] == "peer-joined" && line["record"]["peer"] == peer;
    node.seen().iter().filter(joined).count()
}

#[test]
fn a_file_that_changes_puts_a_member_out_and_takes_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (key, deny) = (at("key"), at("deny"));
    let made = json_lines(&finish(&["key", "new", &key, "--json"])).remove(0);
    let b_id = made["peer"].as_str().unwrap().to_owned();
    fs::write(&deny, "# nobody yet\n").unwrap();
    let mut a = Running::node("none", &["--deny", &deny]);
    let (_, a_addr) = a.listening();
    // One that stays, and brings each what the other says.
    let mut c = Running::node(&a_addr, &[]);
    let (c_id, c_addr) = c.listening();
    a.joined(&c_id);
    let mut b = Running::node(&format!("{a_addr},{c_addr}"), &["--key", &key]);
    assert_eq!(b.listening().0, b_id);
    a.joined(&b_id);

    fs::write(&deny, format!("{b_id} # no more\n")).unwrap();
    let left = a.wait_for("peer-left", |l| l["event"] == "peer-left" && l["peer"] == *b_id);
    assert_eq!(left["reason"], "left");
    a.logged("the deny file was read again: 1 peers are denied");
    // What it said last holds.
    fs::write(&deny, "worker-7\n").unwrap();
    a.logged("line 1: \"worker-7\" is no peer id");
    fs::remove_file(&deny).unwrap();
    a.logged("cannot read the deny file");
    assert_eq!(joins(&mut a, &b_id), 1);
    fs::write(&deny, "").unwrap();
    a.joined(&b_id);
    a.logged("0 peers are denied");
}

#[test]
fn files_that_are_none_are_refused_before_a_node_starts() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("nobody"), "# nobody\n\n").unwrap();
    fs::write(at("names"), "worker-7\n").unwrap();
    fs::write(at("long"), vec![b'#'; (8 << 20) + 1]).unwrap();
    for (option, file, code, hint) in [
        ("--allow", "absent", 1, "make it first"),
        ("--deny", "absent", 1, "make it first"),
        ("--allow", "names", 2, "line 1: \"worker-7\" is no peer id"),
        ("--deny", "names", 2, "casm key show"),
        ("--allow", "nobody", 2, "it names no peer"),
        ("--deny", "long", 2, "more than 8388608 bytes"),
    ] {
        for command in [&["run", "--boot", "none"][..], &["ls"], &["discover", "find"], &["doctor"]]
        {
            let output = finish(&[command, &[option, &at(file)]].concat());
            let message = stderr(&output);
            assert_eq!(output.status.code(), Some(code), "{command:?} {option} {file}: {message}");
            assert!(message.contains(hint) && message.contains(&at(file)), "{message}");
        }
    }
    let mut node = casm(&["run", "--boot", "none"]);
    let output = node.env("CASM_ALLOW_FILE", at("nobody")).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let key = at("key");
    let made = json_lines(&finish(&["key", "new", &key, "--json"])).remove(0);
    fs::write(at("own"), made["peer"].as_str().unwrap()).unwrap();
    let mut node = casm(&["run", "--boot", "none", "--key", &key]);
    let output = node.env("CASM_DENY_FILE", at("own")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("the id of this node itself"), "{}", stderr(&output));
}

#[test]
fn an_allow_file_takes_those_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (key, allow) = (at("key"), at("allow"));
    let made = json_lines(&finish(&["key", "new", &key, "--json"])).remove(0);
    let b_id = made["peer"].as_str().unwrap().to_owned();
    fs::write(&allow, format!("# ours\n{b_id}\n")).unwrap();
    let mut a = Running::node("none", &["--allow", &allow]);
    let (a_id, a_addr) = a.listening();
    let mut stranger = Running::node(&a_addr, &[]);
    let (stranger_id, _) = stranger.listening();
    let mut b = Running::node(&a_addr, &["--key", &key]);
    b.joined(&a_id);
    a.joined(&b_id);
    assert_eq!(joins(&mut a, &stranger_id), 0);
    // Half written or emptied, it puts nobody out.
    fs::write(&allow, "").unwrap();
    a.logged("it names no peer");
    fs::write(&allow, format!("{b_id}\n{stranger_id}\n")).unwrap();
    a.joined(&stranger_id);
    assert!(!a.seen().iter().any(|l| l["event"] == "peer-left"), "{:?}", a.seen());
}
