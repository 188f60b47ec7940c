//! `casm pub` and `casm sub`: messages of topics.
#![cfg(unix)]

mod common;

use common::{Running, casm, finish, json_lines, stderr};
use std::{io::Write, process::Stdio};

const HERE: [&str; 4] = ["--ns", "test", "--listen", "/ip4/127.0.0.1/tcp/0"];

fn sub(more: &[&str]) -> (Running, String) {
    let args = [&["sub", "--json", "--boot", "none"], &HERE[..], more].concat();
    let mut sub = Running::start(casm(&args));
    let (_, addr) = sub.listening();
    (sub, addr)
}

fn publish<'a>(addr: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["pub", "--json", "--boot", addr], &HERE[..], more].concat()
}

#[test]
fn what_is_published_is_printed() {
    let (mut sub, addr) = sub(&["news", "other"]);
    for (topic, said) in [("news", "hello"), ("other", "\u{1b}[2J"), ("news", "")] {
        let output = finish(&publish(&addr, &[topic, said]));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let lines = json_lines(&output);
        assert_eq!(lines.len(), 1);
        assert_eq!((&lines[0]["topic"], &lines[0]["messages"]), (&topic.into(), &1.into()));
        assert_eq!(lines[0]["peers"], 1);
        let line = sub.wait_for_event("message");
        assert_eq!((&line["topic"], &line["text"]), (&topic.into(), &said.into()));
    }
    sub.signal("INT");
    assert_eq!(sub.end().code(), Some(0), "{}", sub.log());
}

/// Runs `casm pub` with this on its stdin.
fn piped(args: &[&str], stdin: &[u8]) {
    let mut child = casm(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{:?}", json_lines(&output));
}

#[test]
fn stdin_is_published_whole_or_line_by_line_and_bytes_come_in_base64() {
    let (mut sub, addr) = sub(&["--limit", "5", "pipe"]);
    piped(&publish(&addr, &["pipe", "-"]), b"\xff\0\n");
    assert_eq!(sub.wait_for_event("message")["base64"], "/wAK");
    piped(&publish(&addr, &["pipe"]), b"two\nlines\n");
    assert_eq!(sub.wait_for_event("message")["text"], "two\nlines\n");
    piped(&publish(&addr, &["pipe", "--lines"]), b"one\n\nthree");
    for line in ["one", "", "three"] {
        assert_eq!(sub.wait_for_event("message")["text"], line);
    }
    assert_eq!(sub.end().code(), Some(0), "{}", sub.log());
}

#[test]
fn what_the_query_does_not_find_is_not_printed() {
    let (mut sub, addr) = sub(&["--accept", "meta:role=chief", "--limit", "1", "orders"]);
    let guest = publish(&addr, &["--lines", "--meta", "role=guest", "orders"]);
    piped(&guest, "mutiny\n".repeat(20).as_bytes());
    let chief = publish(&addr, &["--lines", "--meta", "role=chief", "orders"]);
    let mut chief = casm(&chief).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = chief.stdin.take().unwrap();
    // Its record may come a moment later than what it says first.
    common::eventually("the chief is heard", || {
        let _ = writeln!(stdin, "sail");
        sub.is_over()
    });
    drop(stdin);
    chief.wait().unwrap();
    let lines = sub.seen();
    let said: Vec<_> = lines.iter().filter(|line| line["event"] == "message").collect();
    assert!(said.len() == 1 && said[0]["text"] == "sail", "{lines:?}");
}

#[test]
fn bad_usage_is_named() {
    for (args, said) in [
        (&["pub", "a/b", "x"][..], "another character"),
        (&["sub", "a", "--queue", "0"], "queue"),
        (&["sub", "a", "--max-data", "2000000"], "max_data"),
        (&["pub", "--exact", "/casm/x", "x"], "CASM's own"),
        (&["pub", "--max-data", "3", "a", "four"], "too large"),
        (&["pub", "--lines", "a", "x"], "--lines"),
    ] {
        let args = [
            args,
            &["--boot", "none", "--wait", "10ms"][..if args[0] == "pub" { 4 } else { 2 }],
            &HERE,
        ]
        .concat();
        let output = finish(&args);
        let code = if said == "too large" { 1 } else { 2 };
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{args:?}: {}", stderr(&output));
    }
}
