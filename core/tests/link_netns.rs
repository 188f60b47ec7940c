//! Links that die without a word, between hosts of their own: how soon it is
//! noticed. The waits print what they took.

mod netns;

use casm::{Event, Node};
use netns::{Lan, say};
use std::time::{Duration, Instant};

const SLOW: Duration = Duration::from_secs(60);
/// A ping is sent every 10 s, and has 10 s for its answer. The rest is for a
/// machine that has much else to do.
const NOTICED: Duration = Duration::from_secs(20 + 6);

/// The processes that run in the namespaces.
#[test]
#[ignore = "a role of the other tests"]
fn role() {
    let Some((role, args)) = netns::role() else { return };
    assert_eq!(role, "linked");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.unwrap().block_on(linked(&args));
}

/// `linked PEX`: a node without discovery, that exchanges peers every second if
/// PEX is `pex`. It says `addr` with its addresses over TCP and IPv4, connects to
/// the address that it reads, and says `connected`, `disconnected`, and `view`
/// with the number of peers that it exchanges with.
async fn linked(args: &[String]) {
    let mut pex = casm::pex::Config::default();
    (pex.tick, pex.timeout) = (Duration::from_secs(1), Duration::from_secs(2));
    let pex = (args[0] == "pex").then_some(pex);
    let node = Node::builder().namespace("lan").boot(["none"]).pex(pex).start().await.unwrap();
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
            Event::ViewChanged { peers } => say(format!("view {}", peers.len())),
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
    let mut nodes: Vec<_> = lan.hosts.iter().map(|host| host.run("linked", "alone")).collect();
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
/// socket that is closed with it.
#[test]
fn without_netlink_connections_are_checked_when_an_address_is_lost() {
    if !netns::available() {
        return;
    }
    let lan = Lan::new(2, 24);
    let args = ["alone without=netlink", "alone"];
    let mut nodes: Vec<_> =
        lan.hosts.iter().zip(args).map(|(host, args)| host.run("linked", args)).collect();
    let addrs: Vec<String> = nodes.iter().map(|node| node.expect("addr", SLOW)).collect();
    nodes[0].write(&addrs[1]);
    nodes.iter().for_each(|node| drop(node.expect("connected", SLOW)));
    // Right behind the first ping, as below; and it looks every 5 s.
    lan.hosts[0].ip("addr del 10.77.0.1/24 dev eth0");
    let begun = Instant::now();
    nodes[0].expect("disconnected", Duration::from_secs(5 + 5 + 6));
    println!("noticed after {:?}", begun.elapsed());
}

#[test]
fn a_host_whose_address_changes_is_soon_connected_again() {
    if !netns::available() {
        return;
    }
    let lan = Lan::new(2, 24);
    let mut nodes: Vec<_> = lan.hosts.iter().map(|host| host.run("linked", "pex")).collect();
    let addrs: Vec<String> = nodes.iter().map(|node| node.expect("addr", SLOW)).collect();
    nodes[0].write(&addrs[1]);
    nodes.iter().for_each(|node| drop(node.expect("connected", SLOW)));
    nodes.iter().for_each(|node| drop(node.expect("view 1", SLOW)));
    // Right behind the first ping: of itself, the next would fail in 20 s.
    let begun = Instant::now();
    lan.hosts[0].ip("addr del 10.77.0.1/24 dev eth0");
    lan.hosts[0].ip("addr add 10.77.0.101/24 dev eth0");
    nodes[0].expect("disconnected", Duration::from_secs(5 + 6));
    println!("the one that moved noticed after {:?}", begun.elapsed());
    nodes[0].expect("connected", SLOW);
    println!("and was connected again after {:?}", begun.elapsed());
}
