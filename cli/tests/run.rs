//! `casm run`: joins, is seen, leaves, comes back.
#![cfg(unix)]

mod common;

use common::{
    PATIENCE, Running, casm,
    http::{ask, value},
};
use std::{process::Command, time::Instant};

#[test]
fn a_node_is_seen_with_what_it_says_and_seen_leaving() {
    for signal in ["INT", "TERM"] {
        let mut a = Running::node("none", &[]);
        let (a_id, a_addr) = a.listening();
        let mut b = Running::node(
            &a_addr,
            &["--host", "b-host", "--meta", "role=worker", "--meta", "k=a,b"],
        );
        let (b_id, _) = b.listening();
        let record = a.joined(&b_id)["record"].clone();
        assert_eq!(record["host"], "b-host");
        assert_eq!(record["meta"], serde_json::json!({"role": "worker", "k": "a,b"}));
        assert_eq!(record["ttl_ms"], 2000);
        b.joined(&a_id);

        let start = Instant::now();
        b.signal(signal);
        let left = a.wait_for("peer-left", |l| l["event"] == "peer-left" && l["peer"] == *b_id);
        println!("a leave by SIG{signal} was seen after {:?}", start.elapsed());
        assert_eq!(left["reason"], "left");
        assert_eq!(b.end().code(), Some(0), "{}", b.log());
    }
}

#[test]
fn a_node_that_was_killed_is_seen_again_with_the_same_key() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    let key = key.to_str().unwrap();
    assert!(common::finish(&["key", "new", key]).status.success());

    let mut a = Running::node("none", &[]);
    let (_, a_addr) = a.listening();
    let mut b = Running::node(&a_addr, &["--key", key, "--meta", "life=1"]);
    let (b_id, _) = b.listening();
    assert_eq!(a.joined(&b_id)["record"]["meta"]["life"], "1");
    b.signal("KILL");
    b.end();

    let start = Instant::now();
    let mut b = Running::node(&a_addr, &["--key", key, "--meta", "life=2"]);
    assert_eq!(b.listening().0, b_id);
    a.wait_for("second life", |l| {
        l["record"]["peer"] == *b_id && l["record"]["meta"]["life"] == "2"
    });
    println!("seen again after {:?}", start.elapsed());
}

#[test]
fn a_node_that_was_killed_expires() {
    let mut a = Running::node("none", &[]);
    let (_, a_addr) = a.listening();
    let mut b = Running::node(&a_addr, &["--ttl", "1s"]);
    let (b_id, _) = b.listening();
    a.joined(&b_id);
    b.signal("KILL");
    let left = a.wait_for("peer-left", |l| l["event"] == "peer-left" && l["peer"] == *b_id);
    assert_eq!(left["reason"], "expired");
}

#[test]
fn the_view_is_printed_at_its_pace() {
    let mut a = Running::node("none", &["--view", "50ms"]);
    let (id, _) = a.listening();
    for _ in 0..3 {
        let view = a.wait_for("view", |l| l["event"] == "view" && l["n"] == 1);
        assert_eq!(view["records"][0]["peer"], *id);
    }
}

#[test]
fn nobody_reading_is_a_quiet_end() {
    let mut a = Running::node("none", &["--view", "50ms"]);
    a.listening();
    a.close_stdout();
    assert_eq!(a.end().code(), Some(0));
    assert_eq!(a.log(), "");
}

#[test]
fn options_can_come_from_the_environment() {
    let mut a = Running::node("none", &[]);
    let (_, a_addr) = a.listening();
    let dead = "/ip4/127.0.0.1/udp/9";
    let mut command = casm(&["run", "--json"]);
    command
        .env("CASM_NS", "test")
        .env("CASM_LISTEN", "/ip4/127.0.0.1/tcp/0")
        .env("CASM_BOOT", format!("{dead},{a_addr}"))
        .env("CASM_META", "role=db,zone=eu")
        .env("CASM_HOST", "from-env")
        .env("CASM_TTL", "3s");
    let mut b = Running::start(command);
    let record = a.joined(&b.listening().0)["record"].clone();
    assert_eq!(record["meta"], serde_json::json!({"role": "db", "zone": "eu"}));
    assert_eq!((&record["host"], &record["ttl_ms"]), (&"from-env".into(), &3000.into()));
}

#[test]
fn the_ttl_is_adapted_to_a_budget_unless_the_pace_is_fixed() {
    let none = ("CASM_OTHER", "");
    // One heartbeat in a second, of a node that sends one after 0.3 of its TTL.
    for (args, (name, value), ttl) in [
        (&["--budget", "1"][..], none, 3334),
        (&[], ("CASM_BUDGET", "1"), 3334),
        (&["--budget", "1", "--pace", "fixed"], none, 1000),
        (&["--budget", "1"], ("CASM_PACE", "fixed"), 1000),
        (&["--pace", "auto"], none, 1000),
    ] {
        let mut command = casm(&["run", "--json", "--boot", "none", "--ns", "test"]);
        command
            .args(["--listen", "/ip4/127.0.0.1/tcp/0", "--ttl", "1s", "--view", "50ms"])
            .args(args)
            .env(name, value);
        let mut node = Running::start(command);
        let view = node.wait_for("view", |line| line["event"] == "view" && line["n"] == 1);
        assert_eq!(view["records"][0]["ttl_ms"], ttl, "{args:?} {name}={value}");
    }
}

#[test]
fn what_is_announced_is_told_alone_or_beside_what_is_found() {
    let mapped = "/dns/node.example.org/tcp/4001";
    let mut beside = Running::node("none", &["--announce", mapped]);
    let told = beside.wait_for_event("listening");
    assert_eq!(told["addrs"].as_array().unwrap().len(), 2, "{told}");
    for only in ["1", "true"] {
        let mut command = casm(&["run", "--json", "--boot", "none", "--ns", "test"]);
        command
            .env("CASM_LISTEN", "/ip4/127.0.0.1/tcp/0")
            .env("CASM_ANNOUNCE", format!("{mapped},/ip4/203.0.113.7/udp/4001/quic-v1"))
            .env("CASM_ANNOUNCE_ONLY", only);
        let mut alone = Running::start(command);
        let (id, first) = alone.listening();
        assert_eq!(first, format!("{mapped}/p2p/{id}"));
        assert_eq!(alone.seen()[0]["addrs"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn a_peer_is_reached_over_a_relay_unless_it_uses_none() {
    let limits = ["--relay-circuits", "4", "--relay-bytes", "4294967296", "--relay-time", "1h"];
    let mut relay = Running::node("none", &[&["--relay"][..], &limits].concat());
    let (relay_id, addr) = relay.listening();
    // The relay knows no address at which it reaches these: they come to it over TCP, and
    // listen on QUIC alone. Each is in another namespace: they don't hear of each other, nor
    // meet over QUIC.
    let hidden = |ns: &str, boot: &str, uses: &str| {
        let mut command = casm(&["run", "--json", "--ns", ns, "--boot", boot]);
        command
            .env("CASM_LISTEN", "/ip4/127.0.0.1/udp/0/quic-v1")
            .env("CASM_NO_RELAYS", uses)
            .env("CASM_UPNP", "0");
        Running::start(command)
    };
    let mut alone = hidden("alone", &addr, "1");
    alone.wait_for("the relay", |l| l["event"] == "connected" && l["peer"] == *relay_id);
    let mut node = hidden("test", &addr, "0");
    let (id, _) = node.listening();
    let over = |line: &serde_json::Value| {
        let known = &line["reachability"];
        let found = known["addrs"].as_array()?.iter().find(|at| at["found"] == "relay")?;
        assert_eq!(known["reach"], "private");
        Some(found["addr"].as_str().unwrap().to_owned())
    };
    let told = node.wait_for("a relay takes what is for it", |line| over(line).is_some());
    let at = format!("{}/p2p/{id}", over(&told).unwrap());
    assert!(at.contains(&format!("/p2p/{relay_id}/p2p-circuit")), "{at}");
    let mut other = Running::node(&at, &["--ns", "other"]);
    other.wait_for("it is relayed", |l| l["event"] == "relayed" && l["peer"] == *id);
    // It was there before, and asked for nothing.
    assert!(alone.seen().iter().all(|line| over(line).is_none()));
}

#[test]
fn text_that_is_not_for_a_terminal_has_no_colour() {
    let mut child = casm(&["run", "--ns", "test", "--boot", "none"]);
    let mut child = child
        .args(["--listen", "/ip4/127.0.0.1/tcp/0", "--view", "50ms"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let end = Instant::now() + PATIENCE;
    // In either order.
    let is_there = |text: &str| text.contains("PEER") && text.contains("listening");
    while !is_there(&text) && Instant::now() < end {
        std::io::BufRead::read_line(&mut out, &mut text).unwrap();
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    assert!(text.contains("listening") && text.contains("/ip4/127.0.0.1/tcp/"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn namespaces_are_apart() {
    let mut a = Running::node("none", &[]);
    let (_, a_addr) = a.listening();
    let mut other = Running::node(&a_addr, &["--ns", "test/other"]);
    let (other_id, other_addr) = other.listening();
    a.wait_for("the other's connection", |l| l["event"] == "connected" && l["peer"] == *other_id);
    // The other's heartbeats arrive where they are meant to.
    let mut neighbour = Running::node(&other_addr, &["--ns", "test/other"]);
    let (neighbour_id, _) = neighbour.listening();
    neighbour.joined(&other_id);
    let mut same = Running::node(&a_addr, &[]);
    a.joined(&same.listening().0);
    let apart = |id: &str| id == other_id || id == neighbour_id;
    let peers = |l: &serde_json::Value| l["record"]["peer"].as_str().is_some_and(apart);
    assert!(!a.seen().iter().any(peers));
}

/// The ids that a line of the peer-exchange view holds.
fn knows(line: &serde_json::Value, peer: &str) -> bool {
    line["event"] == "view-changed" && line["peers"].as_array().unwrap().contains(&peer.into())
}

#[test]
fn peers_of_peers_are_known_and_survive_a_restart() {
    let dirs = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let key = dirs[0].path().join("key");
    let key = key.to_str().unwrap();
    assert!(common::finish(&["key", "new", key]).status.success());
    let data = |i: usize| dirs[i].path().to_str().unwrap();

    let mut a = Running::node("none", &["--pex-tick", "1s"]);
    let (a_id, a_addr) = a.listening();
    let mut b = Running::node(&a_addr, &["--pex-tick", "1s", "--data", data(1)]);
    let (b_id, b_addr) = b.listening();
    // The third knows only of the second, and is known to all.
    let mut c = Running::node(&b_addr, &["--pex-tick", "1s", "--key", key, "--data", data(0)]);
    let (c_id, _) = c.listening();
    a.wait_for("the third", |l| knows(l, &c_id));
    c.wait_for("the first", |l| knows(l, &a_id));

    // Two nodes in one directory would overwrite each other's peers.
    let output = common::finish(&["run", "--json", "--boot", "none", "--data", data(1)]);
    assert_eq!(output.status.code(), Some(1), "{}", common::stderr(&output));
    assert_eq!(common::json_lines(&output)[0]["kind"], "Busy");

    // What a node knew when it left outlasts it, and then also a kill.
    for signal in ["TERM", "KILL"] {
        c.signal(signal);
        c.end();
        let start = Instant::now();
        c = Running::node("none", &["--pex-tick", "1s", "--key", key, "--data", data(0)]);
        assert_eq!(c.listening().0, c_id);
        for id in [&a_id, &b_id] {
            let joined =
                |l: &serde_json::Value| l["event"] == "peer-joined" && l["record"]["peer"] == **id;
            // In whichever order.
            if !c.seen().iter().any(joined) {
                c.joined(id);
            }
        }
        let took = start.elapsed();
        println!("after SIG{signal}: back from its store, with no boot address, in {took:?}");
    }
}

#[test]
fn a_node_that_exchanges_no_peers_says_so_to_those_who_ask() {
    let mut a = Running::node("none", &["--pex-tick", "off"]);
    let (a_id, a_addr) = a.listening();
    let mut command = casm(&["run", "--json", "--ns", "test", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    command.env("CASM_BOOT", &a_addr).env("CASM_PEX_TICK", "200ms").env("CASM_TTL", "2s");
    command.env("CASM_METRICS", "127.0.0.1:0");
    let mut b = Running::start(command);
    b.joined(&a_id);
    let metrics = b.logged("http://").trim_end_matches("/metrics").to_owned();
    common::eventually("several rounds are refused", || {
        let (_, text) = ask(&metrics, "GET /metrics HTTP/1.1");
        value(&text, "casm_pex_rounds_total{verdict=\"unsupported\"}") >= Some(3.0)
    });
    assert!(!b.seen().iter().any(|l| l["event"] == "view-changed"));
}
