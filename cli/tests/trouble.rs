//! What is configured and does not work is told once, and taken back.
#![cfg(unix)]

mod common;

use common::{Running, finish};
use serde_json::Value;
use std::net::{TcpListener, UdpSocket};

const DOES_NOT: &str = "does not work";
const WORKS: &str = "works now";

/// A key file and its peer id.
fn key(dir: &tempfile::TempDir, name: &str) -> (String, String) {
    let file = dir.path().join(name).to_str().unwrap().to_owned();
    let made = finish(&["key", "new", &file, "--json"]);
    let line: Value = serde_json::from_slice(&made.stdout).unwrap();
    (file, line["peer"].as_str().unwrap().to_owned())
}

fn free_tcp_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn count(node: &Running, what: &str) -> usize {
    node.log().matches(what).count()
}

#[test]
fn a_peer_that_was_named_and_is_not_there_is_told_until_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let (file, peer) = key(&dir, "key");
    let listen = format!("/ip4/127.0.0.1/tcp/{}", free_tcp_port());
    let seed = format!("{listen}/p2p/{peer}");
    let mut node = Running::node(&seed, &[]);
    node.logged(&format!("the boot address {seed} {DOES_NOT}"));
    assert!(node.log().contains("refused"), "{}", node.log());
    let mut late = Running::node("none", &["--listen", &listen, "--key", &file]);
    late.listening();
    node.logged(&format!("the boot address {seed} {WORKS}"));
    node.joined(&peer);
    assert_eq!((count(&node, DOES_NOT), count(&node, WORKS)), (1, 1), "{}", node.log());
    let found = |line: &&Value| line["event"] == "peers-found" && line["peer"] == *peer;
    assert_eq!(node.seen().iter().filter(found).count(), 1);
}

#[test]
fn another_peer_than_the_one_that_was_named_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (_, other) = key(&dir, "other");
    let mut there = Running::node("none", &[]);
    let (id, addr) = there.listening();
    let named = addr.replace(&id, &other);
    let node = Running::node(&named, &[]);
    let told = node.logged(&format!("the boot address {named} {DOES_NOT}"));
    assert!(told.contains(&format!("another peer, {id}")), "{told}");
}

#[test]
fn an_address_where_nobody_answers_is_told_until_somebody_does() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let boot = format!("/ip4/127.0.0.1/udp/{}", socket.local_addr().unwrap().port());
    // What holds the port answers nothing.
    let mut node = Running::node(&boot, &[]);
    let told = node.logged(&format!("the boot address {boot} {DOES_NOT}"));
    assert!(told.contains("nobody answers") && told.contains("`test`"), "{told}");
    drop(socket);
    let mut late = Running::node("none", &["--serve", &boot]);
    let (id, _) = late.listening();
    node.logged(&format!("the boot address {boot} {WORKS}"));
    node.joined(&id);
    assert_eq!((count(&node, DOES_NOT), count(&node, WORKS)), (1, 1), "{}", node.log());
}

#[test]
fn a_node_that_is_the_only_one_at_its_boot_address_is_content() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let own = format!("/ip4/127.0.0.1/udp/{port}");
    let held = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dead = format!("/ip4/127.0.0.1/udp/{}", held.local_addr().unwrap().port());
    let node = Running::node(&format!("{own},{dead}"), &[]);
    // By now it would have told of the first as well.
    node.logged(&format!("the boot address {dead} {DOES_NOT}"));
    assert_eq!(count(&node, DOES_NOT), 1, "{}", node.log());
}

#[test]
fn a_data_directory_that_was_taken_away_is_told_and_filled_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let shown = data.to_str().unwrap();
    let mut peer = Running::node("none", &["--pex-tick", "1s"]);
    let (id, addr) = peer.listening();
    let mut node = Running::node(&addr, &["--pex-tick", "1s", "--data", shown]);
    node.wait_for("its peer", |l| l["event"] == "view-changed" && l["peers"][0] == *id);
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::write(&data, "").unwrap();
    node.logged(&format!("the data directory {shown} {DOES_NOT}"));
    std::fs::remove_file(&data).unwrap();
    node.logged(&format!("the data directory {shown} {WORKS}"));
    assert_eq!((count(&node, DOES_NOT), count(&node, WORKS)), (1, 1), "{}", node.log());
    node.signal("KILL");
    node.end();
    // It comes back without discovery.
    let mut again = Running::node("none", &["--pex-tick", "1s", "--data", shown]);
    again.joined(&id);
}

#[test]
#[cfg(target_os = "linux")]
fn a_group_to_which_nothing_can_be_sent_or_whose_interface_goes_is_told() {
    const IFACE: &str = "ip link add d0 type veth peer name d1 && ip link set d1 up && \
                         ip addr add 10.9.8.7/24 dev d0 && ip link set d0 up";
    let wall = "nft add table ip wall && \
                nft add chain ip wall out '{ type filter hook output priority 0; }' && \
                nft add rule ip wall out ip daddr 228.8.8.8 drop";
    let boot = "/ip4/228.8.8.8/udp/8822/multicast/d0/survey";
    let args = ["run", "--json", "--boot", boot, "--ttl", "2s"];
    let setup = format!("ip link set lo up && {IFACE} && {wall}");
    let node = Running::start(common::isolated_after(&setup, &args));
    let told = node.logged(&format!("the boot address {boot} {DOES_NOT}"));
    assert!(told.contains("sent to its multicast group: Operation not permitted"), "{told}");
    node.in_its_network("nft delete table ip wall");
    node.logged(&format!("the boot address {boot} {WORKS}"));
    let group = "the boot group 228.8.8.8:8822 on d0";
    node.in_its_network("ip link del d0");
    let told = node.logged(&format!("{group} {DOES_NOT}"));
    assert!(told.contains("no interface \"d0\""), "{told}");
    node.in_its_network(IFACE);
    node.logged(&format!("{group} {WORKS}"));
    assert_eq!((count(&node, DOES_NOT), count(&node, WORKS)), (2, 2), "{}", node.log());
}

#[test]
#[cfg(target_os = "linux")]
fn a_name_that_does_not_resolve_is_told_once() {
    let boot = "/dns/casm.invalid/udp/8822";
    let args = ["run", "--json", "--boot", boot, "--ttl", "2s", "--view", "1s"];
    let mut node = Running::start(common::isolated(&args));
    let told = node.logged(&format!("the boot address {boot} {DOES_NOT}"));
    assert!(told.contains("casm.invalid"), "{told}");
    // Longer than until the next searches.
    for _ in 0..8 {
        node.wait_for_event("view");
    }
    assert_eq!(count(&node, DOES_NOT), 1, "{}", node.log());
}
