//! Links that die without a word, between hosts of their own: how soon it is
//! noticed. The waits print what they took.

mod netns;

use casm::{Event, Node};
use netns::{Lan, say};
use std::time::{Duration, Instant};

const SLOW: Duration = Duration::from_secs(60);
/// A ping is sent every 2 s, and has 10 s for its answer. The rest is for a
/// machine that has much else to do.
const NOTICED: Duration = Duration::from_secs(12 + 8);

/// The processes that run in the namespaces.
#[test]
#[ignore = "a role of the other tests"]
fn role() {
    let Some((role, _)) = netns::role() else { return };
    assert_eq!(role, "linked");
    netns::block_on(linked());
}

/// `linked`: a node without discovery. It says `addr` with its address over TCP and
/// IPv4, connects to the address that it reads, and says `connected` and
/// `disconnected`.
async fn linked() {
    let node = Node::builder().namespace("lan").boot(["none"]).pex(None).start().await.unwrap();
    let mut events = node.events();
    let addrs: Vec<String> = node.addrs().iter().map(ToString::to_string).collect();
    let of_lan = |addr: &&String| addr.starts_with("/ip4/10.77.") && addr.contains("/tcp/");
    say(format!("addr {}", addrs.iter().find(of_lan).expect("an address of the LAN")));
    let told = node.clone();
    let handle = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
        handle
            .spawn(async move { told.connect(line.trim().parse::<casm::Target>().unwrap()).await });
    });
    loop {
        match events.next().await.unwrap() {
            Event::Connected { .. } => say("connected"),
            Event::Disconnected { .. } => say("disconnected"),
            _ => {}
        }
    }
}

#[test]
fn a_link_that_drops_everything_is_noticed_at_both_ends() {
    if !netns::available() {
        return;
    }
    let lan = Lan::new(2, 24);
    let mut nodes: Vec<_> = lan.hosts.iter().map(|host| host.run("linked", "")).collect();
    let addrs: Vec<String> = nodes.iter().map(|node| node.expect("addr", SLOW)).collect();
    nodes[0].write(&addrs[1]);
    nodes.iter().for_each(|node| drop(node.expect("connected", SLOW)));
    lan.hosts[0].cut_off(Some(&["10.77.0.2"]));
    let begun = Instant::now();
    for node in &nodes {
        node.expect("disconnected", NOTICED.saturating_sub(begun.elapsed()));
        println!("noticed after {:?}", begun.elapsed());
    }
}

/// Where netlink is forbidden, libp2p doesn't tell of a lost address, but of the
/// socket that is closed with it. With one address left, a new connection would be made
/// from that instead (`moved_netns`).
#[test]
fn without_netlink_connections_are_checked_when_all_addresses_are_lost() {
    if !netns::available() {
        return;
    }
    let lan = Lan::new(2, 24);
    let args = ["without=netlink", ""];
    let mut nodes: Vec<_> =
        lan.hosts.iter().zip(args).map(|(host, args)| host.run("linked", args)).collect();
    let addrs: Vec<String> = nodes.iter().map(|node| node.expect("addr", SLOW)).collect();
    nodes[0].write(&addrs[1]);
    nodes.iter().for_each(|node| drop(node.expect("connected", SLOW)));
    // Right behind the first ping: of itself, the next would fail in 20 s. It looks every
    // 5 s.
    lan.hosts[0].ip("addr flush dev eth0");
    let begun = Instant::now();
    nodes[0].expect("disconnected", Duration::from_secs(5 + 5 + 6));
    println!("noticed after {:?}", begun.elapsed());
}
