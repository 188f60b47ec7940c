//! `casm demo`, in a network that has loopback alone.
#![cfg(target_os = "linux")]

mod common;

use common::{Running, children, eventually, isolated, runs};
use serde_json::Value;
use std::process::Stdio;

fn listens(line: &Value) -> bool {
    line["event"] == "listening"
}

#[test]
fn five_nodes_find_each_other() {
    let output = isolated(&["demo", "--for", "10s", "--json"])
        .stdin(Stdio::null())
        .output()
        .expect("unshare starts");
    let lines = common::json_lines(&output);
    let log = common::stderr(&output);
    let summary = lines.last().unwrap_or_else(|| panic!("nothing was printed\n{log}"));
    assert_eq!(summary["event"], "summary", "{log}");
    println!("{summary}");
    assert_eq!((&summary["nodes"], &summary["complete"]), (&5.into(), &true.into()), "{log}");
    for key in ["first_peer_ms", "full_view_ms", "first_answer_ms"] {
        let times = summary[key].as_array().unwrap();
        assert!(times.len() == 5 && times.iter().all(Value::is_u64), "{summary}");
    }
    assert!(output.status.success());
    // All are on loopback, and each tells of itself and the four others.
    let addrs: Vec<&str> = lines
        .iter()
        .filter(|line| listens(line))
        .flat_map(|line| line["addrs"].as_array().unwrap())
        .filter_map(Value::as_str)
        .collect();
    assert!(
        addrs.len() >= 5 && addrs.iter().all(|a| a.starts_with("/ip4/127.0.0.1/")),
        "{addrs:?}"
    );
    let id_of = |node: &Value| {
        let own = lines.iter().find(|line| listens(line) && line["node"] == *node);
        own.map(|line| line["peer"].clone())
    };
    for node in 1..=5 {
        // It was greeted by the one that it asked, which is another.
        let reply = lines.iter().find(|line| line["event"] == "reply" && line["node"] == node);
        let reply = reply.unwrap_or_else(|| panic!("node {node} was not answered\n{log}"));
        let text = reply["text"].as_str().unwrap_or_default();
        let from: u64 = text.strip_prefix("hello from node-").unwrap().parse().unwrap();
        assert!(from != node && id_of(&from.into()).as_ref() == Some(&reply["peer"]), "{reply}");
        assert!(lines.iter().any(|l| l["event"] == "view" && l["node"] == node && l["n"] == 5));
    }
}

#[test]
fn a_demo_without_time_is_not_complete() {
    let output = isolated(&["demo", "--nodes", "2", "--for", "0s", "--json"]).output().unwrap();
    let lines = common::json_lines(&output);
    assert_eq!(lines.last().unwrap()["complete"], false);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_interrupt_sums_up_and_leaves_no_process_behind() {
    let mut demo = Running::start(isolated(&["demo", "--nodes", "2", "--for", "5m", "--json"]));
    demo.wait_for("full view", |l| l["event"] == "view" && l["n"] == 2 && l["node"] == 1);
    demo.wait_for("full view", |l| l["event"] == "view" && l["n"] == 2 && l["node"] == 2);
    let nodes = children(demo.pid());
    assert_eq!(nodes.len(), 2);
    demo.signal("INT");
    let summary = demo.wait_for_event("summary");
    assert_eq!(summary["complete"], true);
    assert_eq!(demo.end().code(), Some(0));
    assert!(!nodes.iter().any(|pid| runs(*pid)));
}

#[test]
fn nodes_end_with_a_demo_that_is_killed() {
    let mut demo = Running::start(isolated(&["demo", "--nodes", "2", "--for", "5m", "--json"]));
    demo.wait_for("listening", listens);
    demo.wait_for("listening", listens);
    let nodes = children(demo.pid());
    assert_eq!(nodes.len(), 2);
    demo.signal("KILL");
    demo.end();
    eventually("the nodes end", || !nodes.iter().any(|pid| runs(*pid)));
}
