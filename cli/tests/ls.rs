//! `casm ls`: the view once, as an observer, and what of it is asked for.
#![cfg(unix)]

mod common;

use common::{PATIENCE, Running, finish, json_lines, stderr};
use serde_json::Value;
use std::{collections::BTreeSet, time::Instant};

/// Asks until as many records come as must, since a view fills with time.
fn ls(boot: &str, query: &[&str], wanted: usize) -> Vec<Value> {
    let end = Instant::now() + PATIENCE;
    loop {
        let mut args = vec!["ls", "--json", "--ns", "test", "--wait", "1s", "--boot", boot];
        args.extend(["--listen", "/ip4/127.0.0.1/tcp/0"]);
        args.extend(query);
        let output = finish(&args);
        assert!(output.status.success(), "{}", stderr(&output));
        let lines = json_lines(&output);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let records = lines[0]["records"].as_array().unwrap().clone();
        if records.len() == wanted || Instant::now() > end {
            return records;
        }
    }
}

fn hosts(records: &[Value]) -> Vec<&str> {
    records.iter().map(|r| r["host"].as_str().unwrap()).collect()
}

#[test]
fn an_observer_sees_the_others_and_is_not_seen() {
    let mut a = Running::node("none", &["--host", "a", "--meta", "role=worker", "--meta", "n=1"]);
    let (a_id, boot) = a.listening();
    let mut b = Running::node(&boot, &["--host", "ab", "--meta", "role=worker", "--meta", "n=2"]);
    let mut c = Running::node(&boot, &["--host", "c", "--meta", "role=work"]);
    let b_id = b.listening().0;
    let c_id = c.listening().0;
    for (node, others) in
        [(&mut a, [&b_id, &c_id]), (&mut b, [&a_id, &c_id]), (&mut c, [&a_id, &b_id])]
    {
        let mut missing = BTreeSet::from(others.map(String::as_str));
        while !missing.is_empty() {
            let line = node.wait_for("all others", |l| l["event"] == "peer-joined");
            missing.remove(line["record"]["peer"].as_str().unwrap());
        }
    }

    let mut ids: Vec<&str> = [&a_id, &b_id, &c_id].map(String::as_str).into();
    ids.sort_unstable();
    let all = ls(&boot, &[], 3);
    assert_eq!(all.iter().map(|r| r["peer"].as_str().unwrap()).collect::<Vec<_>>(), ids);

    for (query, wanted) in [
        (&["--match", "host:a"][..], &["a"][..]),
        (&["--match", "host:a", "--prefix"], &["a", "ab"]),
        (&["--match", "host:a", "--prefix", "--reverse"], &["ab", "a"]),
        (&["--from", "host:ab"], &["ab", "c"]),
        (&["--from", "host:a", "--to", "host:ab"], &["a", "ab"]),
        (&["--to", "host:b"], &["a", "ab"]),
        (&["--from", "host:c", "--to", "host:ab", "--reverse"], &["c", "ab"]),
        (&["--from", "host:a", "--limit", "2"], &["a", "ab"]),
        (&["--match", "meta:n=2"], &["ab"]),
        (&["--match", "meta:role=work"], &["c"]),
        (&["--match", "host:nobody"], &[]),
        // What a peer claims is no role.
        (&["--match", "role:work", "--prefix"], &[]),
    ] {
        let records = ls(&boot, query, wanted.len());
        let mut found = hosts(&records);
        if query[1].starts_with("meta:") {
            found.sort_unstable();
        }
        assert_eq!(found, wanted, "{query:?}");
    }
    let workers = ls(&boot, &["--match", "meta:role=work", "--prefix"], 3);
    assert_eq!(hosts(&workers)[0], "c", "`role=work` is before `role=worker`");
    assert_eq!(ls(&boot, &["--match", &format!("peer:{b_id}")], 1)[0]["peer"], *b_id);
    let server = all[0]["server"].as_str().unwrap();
    assert_eq!(ls(&boot, &["--match", &format!("server:{server}")], 1)[0]["server"], server);

    // One member answers the same over RPC.
    let ask = |query: &[&str]| {
        let args = ["ls", "--json", "--ns", "test", "--peer", &boot, "--wait", "30s"];
        let listen = ["--listen", "/ip4/127.0.0.1/tcp/0"];
        let output = finish(&[&args[..], &listen, query].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        json_lines(&output).remove(0)["records"].as_array().unwrap().clone()
    };
    assert_eq!(hosts(&ask(&["--from", "host:a"])), ["a", "ab", "c"]);
    assert_eq!(hosts(&ask(&["--from", "host:c", "--reverse", "--limit", "2"])), ["c", "ab"]);
    assert_eq!(hosts(&ask(&["--match", "host:a", "--prefix"])), ["a", "ab"]);
    assert_eq!(
        ask(&["--match", "meta:n=2"])[0]["meta"],
        serde_json::json!({"role": "worker", "n": "2"})
    );

    assert!(all.iter().all(|record| record["roles"] == serde_json::json!([])), "{all:?}");
    let args = ["ls", "--ns", "test", "--peer", &boot, "--wait", "30s", "--match", "role:work"];
    let output = finish(&[&args[..], &["--listen", "/ip4/127.0.0.1/tcp/0"]].concat());
    assert!(stderr(&output).contains("cannot be asked for roles"), "{}", stderr(&output));

    // None of the observers was ever seen by a member.
    for node in [&mut a, &mut b, &mut c] {
        for line in node.seen() {
            if let Some(peer) = line["record"]["peer"].as_str() {
                assert!(ids.contains(&peer), "an observer was seen: {line}");
            }
        }
    }
}

#[test]
fn a_member_that_does_not_answer_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let silent = format!("/ip4/127.0.0.1/tcp/{port}");
    let output = finish(&[
        "ls",
        "--ns",
        "test",
        "--peer",
        &silent,
        "--wait",
        "300ms",
        "--listen",
        "/ip4/127.0.0.1/tcp/0",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&silent) && stderr(&output).contains("--wait"));
    drop(taken);
    let args = [
        "ls",
        "--ns",
        "test",
        "--peer",
        &silent,
        "--wait",
        "30s",
        "--json",
        "--listen",
        "/ip4/127.0.0.1/tcp/0",
    ];
    let output = finish(&args);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json_lines(&output)[0]["kind"], "Unreachable", "{}", stderr(&output));
}

#[test]
fn nobody_there_is_said_with_advice() {
    let args = ["ls", "--ns", "test", "--wait", "100ms", "--boot", "none"];
    let output = finish(&[&args[..], &["--listen", "/ip4/127.0.0.1/tcp/0"]].concat());
    assert!(output.status.success());
    assert!(stderr(&output).contains("nobody was seen") && stderr(&output).contains("casm doctor"));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("PEER"));
}
