//! Machines whose network lacks something: what starts there, and what is said.
#![cfg(target_os = "linux")]

mod common;

use common::{Running, finish_isolated, isolated_after, stderr};

const NO_IPV6: &str = "ip link set lo up && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6";

#[test]
fn a_node_starts_without_ipv6_and_says_so() {
    let run = ["run", "--json", "-v", "--boot", "none"];
    let mut node = Running::start(isolated_after(NO_IPV6, &run));
    let (_, addr) = node.listening();
    assert!(addr.starts_with("/ip4/127.0.0.1/"), "{addr}");
    let said = node.logged("this machine has no IPv6 address now");
    assert!(said.contains("/ip6/::/"), "{said}");
    node.signal("INT");
    assert_eq!(node.end().code(), Some(0), "{}", node.log());
    let asked = ["ls", "--json", "--boot", "none", "--wait", "10ms"];
    let output = finish_isolated(NO_IPV6, &asked);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_node_starts_where_there_is_no_address_at_all_and_warns() {
    let run = ["run", "--json", "--boot", "auto"];
    let mut node = Running::start(isolated_after("true", &run));
    let line = node.wait_for_event("listening");
    assert_eq!(line["addrs"], serde_json::json!([]));
    node.logged("this machine has no address, not even of loopback");
    node.signal("TERM");
    assert_eq!(node.end().code(), Some(0), "{}", node.log());
}

#[test]
fn a_node_warns_that_every_boot_port_is_taken() {
    // What holds them goes on behind the program that is started.
    let take = "import socket, os, time
s = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(32)]
for i, one in enumerate(s): one.bind((\"127.0.0.1\", 8822 + i))
os.fork() or time.sleep(20)";
    let setup = format!("ip link set lo up && python3 -c '{take}' > /dev/null 2>&1");
    for boot in ["auto", "/ip4/127.0.0.1/udp/8822/ports/32"] {
        let mut node = Running::start(isolated_after(&setup, &["run", "--json", "--boot", boot]));
        node.listening();
        node.logged("answering boot requests at");
        node.signal("TERM");
        assert_eq!(node.end().code(), Some(0), "{}", node.log());
    }
}
