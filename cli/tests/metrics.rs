//! `--metrics`: what an HTTP client gets.
#![cfg(unix)]

mod common;

use common::{
    Running,
    http::{ask, value},
};
use std::{net::TcpStream, process::Command};

#[test]
fn metrics_are_served_over_http() {
    let mut a = Running::node("none", &["--metrics", "127.0.0.1:0"]);
    let (_, a_addr) = a.listening();
    let addr = a.logged("http://").trim_end_matches("/metrics").to_owned();
    let mut b = Running::node(&a_addr, &[]);
    a.joined(&b.listening().0);

    // One that says nothing holds nobody up.
    let _silent = TcpStream::connect(&addr).unwrap();
    let (head, text) = ask(&addr, "GET /metrics HTTP/1.1");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert_eq!(value(&text, "casm_cluster_peers"), Some(2.0));
    assert_eq!(value(&text, "casm_connections"), Some(1.0));
    assert!(value(&text, "casm_heartbeats_total{verdict=\"accepted\"}") >= Some(1.0));

    for queue in ["swarm", "topic", "cluster", "live", "events"] {
        assert!(value(&text, &format!("casm_queue_depth{{queue=\"{queue}\"}}")) >= Some(0.0));
    }
    assert_eq!(value(&text, "casm_rpc_queued_bytes"), Some(0.0));

    let (head, body) = ask(&addr, "HEAD /metrics HTTP/1.1");
    assert!(head.starts_with("http/1.1 200") && body.is_empty(), "{head}");
    assert!(ask(&addr, "GET / HTTP/1.1").0.starts_with("http/1.1 404"));
    assert!(ask(&addr, "POST /metrics HTTP/1.1").0.starts_with("http/1.1 405"));
}

#[test]
#[cfg(target_os = "linux")]
fn metrics_are_served_again_after_there_were_too_many_open_files() {
    let mut node = Running::node("none", &["--metrics", "127.0.0.1:0"]);
    node.listening();
    let addr = node.logged("http://").trim_end_matches("/metrics").to_owned();
    let allow = |files: &str| {
        let pid = node.pid().to_string();
        let limit = format!("--nofile={files}:");
        let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
        assert!(status.expect("the program prlimit").success());
    };
    // What is open stays so.
    allow("3");
    let asked = std::thread::spawn(move || ask(&addr, "GET /metrics HTTP/1.1").0);
    node.logged("metrics: cannot accept a connection");
    allow("1024");
    let head = asked.join().unwrap();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    node.logged("metrics: connections are accepted again");
    let failures = node.log().matches("cannot accept").count();
    assert_eq!(failures, 1, "{}", node.log());
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let args = ["run", "--boot", "none", "--listen", "/ip4/127.0.0.1/tcp/0", "--metrics", &addr];
    let output = common::finish(&args);
    assert_eq!(output.status.code(), Some(1));
    assert!(common::stderr(&output).contains(&addr), "{}", common::stderr(&output));
}
