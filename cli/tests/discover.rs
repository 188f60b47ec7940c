//! `casm discover`: finding peers, and looking at the packets.
#![cfg(target_os = "linux")]

mod common;

use common::{Running, casm, finish, json_lines, stderr};
use std::net::UdpSocket;

/// A UDP port that was free a moment ago.
fn port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_node_is_found_at_the_port_that_it_serves() {
    let boot = format!("/ip4/127.0.0.1/udp/{}", port());
    let mut a = Running::node("none", &["--serve", &boot]);
    let (a_id, a_addr) = a.listening();
    let find = |ns: &str, timeout: &str| {
        let args = ["discover", "find", "--json", "--ns", ns, "--boot", &boot];
        finish(&[&args[..], &["--limit", "1", "--timeout", timeout]].concat())
    };
    let output = find("test", "30s");
    assert!(output.status.success(), "{}", stderr(&output));
    let found = json_lines(&output).remove(0);
    assert_eq!((&found["event"], &found["peer"]), (&"peers-found".into(), &a_id.clone().into()));
    assert_eq!(found["source"], *boot);
    assert!(found["addrs"].as_array().unwrap().contains(&a_addr.into()), "{found}");

    let output = find("other", "500ms");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(stderr(&output).contains("casm doctor"), "{}", stderr(&output));
}

#[test]
fn packets_are_shown_as_they_come() {
    let port = port();
    let boot = format!("/ip4/127.0.0.1/udp/{port}");
    let args = ["discover", "listen", "--json", "--boot", "none", "--serve", &boot];
    let mut listener = Running::start(casm(&args));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Until it listens, packets are lost.
    let mut heard = Vec::new();
    common::eventually("a packet is shown", || {
        socket.send_to(b"no packet", ("127.0.0.1", port)).unwrap();
        heard = listener.seen().to_vec();
        !heard.is_empty()
    });
    assert_eq!((&heard[0]["kind"], &heard[0]["bytes"]), (&"invalid".into(), &9.into()));
    assert_eq!(heard[0]["from"], socket.local_addr().unwrap().to_string());

    let output = finish(&[
        "discover", "emit", "request", "--json", "--ns", "shown", "--boot", &boot, "--repeat", "2",
        "--wait", "0s",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let sent = json_lines(&output);
    assert_eq!(sent.len(), 2);
    assert!(
        sent.iter().all(|l| l["event"] == "sent" && l["kind"] == "request" && l["packets"] == 1)
    );
    let request = listener.wait_for("request", |l| l["kind"] == "request");
    assert_eq!(request["ns"], "shown");
    assert!(request["peer"].is_string() && request["distance"].is_null());
    assert!(request["nonce"].is_null(), "{request}");
}

#[test]
fn an_answer_to_a_request_is_shown() {
    let boot = format!("/ip4/127.0.0.1/udp/{}", port());
    let mut a = Running::node("none", &["--serve", &boot]);
    let (a_id, _) = a.listening();
    let output =
        finish(&["discover", "emit", "request", "--json", "--ns", "test", "--boot", &boot]);
    let lines = json_lines(&output);
    let answer = lines.iter().find(|l| l["kind"] == "response");
    let answer = answer.unwrap_or_else(|| panic!("no answer in {lines:?}\n{}", stderr(&output)));
    assert_eq!((&answer["peer"], &answer["ns"]), (&a_id.into(), &"test".into()));
    assert!(!answer["addrs"].as_array().unwrap().is_empty());
}

#[test]
fn a_private_node_is_found_and_heard_by_who_holds_its_secret() {
    let dir = tempfile::tempdir().unwrap();
    let made = |name: &str| {
        let path = dir.path().join(name).to_str().unwrap().to_owned();
        assert!(finish(&["key", "secret", &path]).status.success());
        path
    };
    let (secret, other) = (made("swarm.key"), made("other"));
    // An address of this process alone: who waits long for a port that was free may
    // find it taken.
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let ip = format!("127.{}.{b}.{c}", 64 | a);
    let [boot, heard] = [8822, 8823].map(|port| format!("/ip4/{ip}/udp/{port}"));
    let mut a = Running::start({
        let mut a = common::node("none", &["--serve", &boot]);
        a.env("CASM_SECRET_FILE", &secret);
        a
    });
    let (a_id, _) = a.listening();
    let find = |more: &[&str], timeout: &str| {
        let args = ["discover", "find", "--json", "--ns", "test", "--boot", &boot, "--limit", "1"];
        finish(&[&args[..], &["--timeout", timeout], more].concat())
    };
    let found = json_lines(&find(&["--secret", &secret], "30s")).remove(0);
    assert_eq!(found["peer"], *a_id);
    for stranger in [&[][..], &["--secret", &other]] {
        let output = find(stranger, "500ms");
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    }

    let listen = ["discover", "listen", "--json", "--boot", "none", "--serve", &heard];
    let mut listener =
        Running::start(casm(&[&listen[..], &["--ns", "test", "--secret", &secret]].concat()));
    // Who emits to an address that nobody has takes it.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    common::eventually("it listens", || {
        // An error tells that it doesn't yet.
        let _ = socket.send_to(b"no packet", (ip.as_str(), 8823));
        assert!(!listener.is_over(), "{}", listener.log());
        !listener.seen().is_empty()
    });
    let mut emit = |more: &[&str], verdict: &str| {
        let is = |l: &serde_json::Value| l["verdict"] == verdict && l["bytes"] != 9;
        common::eventually(verdict, || {
            let args = ["discover", "emit", "request", "--ns", "test", "--boot", &heard];
            finish(&[&args[..], &["--wait", "0s"], more].concat());
            assert!(!listener.is_over(), "{}", listener.log());
            listener.seen().iter().any(&is)
        });
        let line = listener.seen().iter().find(|l| is(l)).unwrap();
        (line["kind"].as_str().unwrap().to_owned(), line["ns"].clone())
    };
    let invalid = ("invalid".to_owned(), serde_json::Value::Null);
    assert_eq!(emit(&[], "not-sealed"), invalid);
    assert_eq!(emit(&["--secret", &other], "other-seal"), invalid);
    let shown = emit(&["--secret", &secret], "not-advertised");
    assert_eq!(shown, ("request".to_owned(), "test".into()));
}

/// A survey, in a network of its own whose loopback can multicast.
#[test]
fn a_survey_reaches_who_listens_to_the_group() {
    let group = "/ip4/228.8.8.8/udp/8822/multicast/lo";
    let script = format!(
        "ip link set lo multicast on up
         for i in $(seq 40); do
             \"$0\" discover emit survey --distance 7 --ns shown --boot {group} --wait 100ms || exit 1
         done >&2 &
         exec \"$0\" discover listen --json --boot {group}"
    );
    let mut survey = std::process::Command::new("unshare");
    let isolated: Vec<_> = common::isolated(&[]).get_args().map(ToOwned::to_owned).collect();
    let flags = isolated.iter().take_while(|arg| *arg != "sh");
    survey.args(flags).args(["sh", "-c", &script, common::CASM]);
    let mut shown = Running::start(survey);
    let packet = shown.wait_for("survey", |l| l["kind"] == "survey");
    assert_eq!((&packet["ns"], &packet["distance"]), (&"shown".into(), &7.into()));
    let nonce = packet["nonce"].as_str().and_then(|nonce| nonce.parse::<u64>().ok());
    assert!(nonce.is_some_and(|nonce| nonce > 0), "{packet}");
    shown.signal("TERM");
}
