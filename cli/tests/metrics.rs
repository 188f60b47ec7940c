//! `--metrics`: what an HTTP client gets.
#![cfg(unix)]

mod common;

use common::Running;
use std::{
    io::{Read, Write},
    net::TcpStream,
};

/// Sends a request, and gives the head of the answer and its body.
fn ask(addr: &str, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(stream, "{request}\r\nHost: {addr}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}

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
    assert_eq!(value(&text, "casm_cluster_peers"), 2.0);
    assert_eq!(value(&text, "casm_connections"), 1.0);
    assert!(value(&text, "casm_heartbeats_total{verdict=\"accepted\"}") >= 1.0);

    for queue in ["swarm", "topic", "cluster", "live", "events"] {
        assert!(value(&text, &format!("casm_queue_depth{{queue=\"{queue}\"}}")) >= 0.0);
    }
    assert_eq!(value(&text, "casm_rpc_queued_bytes"), 0.0);

    let (head, body) = ask(&addr, "HEAD /metrics HTTP/1.1");
    assert!(head.starts_with("http/1.1 200") && body.is_empty(), "{head}");
    assert!(ask(&addr, "GET / HTTP/1.1").0.starts_with("http/1.1 404"));
    assert!(ask(&addr, "POST /metrics HTTP/1.1").0.starts_with("http/1.1 405"));
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
