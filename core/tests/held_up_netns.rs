//! A process that is stopped for longer than its peers wait for it: it is dropped
//! after its TTL and not before, and back within 2 s, with everybody that it knew.
//! The waits print what they took.

mod netns;

use casm::{Event, Node};
use netns::{Lan, say};
use std::time::{Duration, Instant};

const SLOW: Duration = Duration::from_secs(60);
/// For how many seconds it is stopped, unless `CASM_STOPPED_SECONDS` says more: by then
/// the others have given its connections up.
const STOPPED: u64 = 25;
/// How soon it is back. The rest is for a machine that has much else to do.
const BACK: Duration = Duration::from_secs(2 + 8);
const TTL: Duration = Duration::from_secs(4);

#[test]
#[ignore = "a role of the other tests"]
fn role() {
    let Some((role, args)) = netns::role() else { return };
    assert_eq!(role, "member");
    netns::block_on(member(&args));
}

/// `member PEX [ADDR…]`: a node without discovery, which connects there. It says
/// `addr`, `full` when it sees three, and who leaves and joins.
async fn member(args: &[String]) {
    let pex = (args[0] == "pex").then(casm::pex::Config::default);
    let node = Node::builder().namespace("lan").boot(["none"]).ttl(TTL).pex(pex);
    let node = node.start().await.unwrap();
    let mut events = node.events();
    let addrs: Vec<String> = node.addrs().iter().map(ToString::to_string).collect();
    let of_lan = |addr: &&String| addr.starts_with("/ip4/10.77.") && addr.contains("/tcp/");
    say(format!("addr {}", addrs.iter().find(of_lan).expect("an address of the LAN")));
    for addr in &args[1..] {
        node.connect(addr.parse::<casm::Multiaddr>().unwrap()).await.unwrap();
    }
    node.wait_for(3).await.unwrap();
    say("full");
    loop {
        match events.next().await.unwrap() {
            Event::PeerLeft { peer, reason } => say(format!("left {peer} {}", reason.name())),
            Event::PeerJoined { record } => say(format!("joined {}", record.peer())),
            _ => {}
        }
    }
}

/// How long it is stopped.
fn stopped() -> Duration {
    let seconds = std::env::var("CASM_STOPPED_SECONDS").map_or(STOPPED, |text| {
        let seconds = text.parse().ok().filter(|seconds| *seconds >= STOPPED);
        seconds.unwrap_or_else(|| panic!("CASM_STOPPED_SECONDS={text}: give {STOPPED} or more"))
    });
    println!("stopped for {seconds} s");
    Duration::from_secs(seconds)
}

fn stopped_and_back(pex: &str) {
    if !netns::available() {
        return;
    }
    let lan = Lan::new(3, 24);
    let first = lan.hosts[0].run("member", pex);
    let addr = first.expect("addr", SLOW);
    let id = addr.rsplit('/').next().unwrap().to_owned();
    let second = lan.hosts[1].run("member", &format!("{pex} {addr}"));
    let beside = second.expect("addr", SLOW);
    let third = lan.hosts[2].run("member", &format!("{pex} {addr} {beside}"));
    for host in [&first, &second, &third] {
        host.expect("full", SLOW);
    }
    for host in [&second, &third] {
        // What was told before it was full.
        assert_eq!(host.rest("left"), Vec::<String>::new());
    }
    first.rest("joined");

    first.signal("STOP");
    let begun = Instant::now();
    for host in [&second, &third] {
        host.expect(&format!("left {id} expired"), SLOW);
        println!("dropped after {:?}", begun.elapsed());
        // Its last heartbeat may have been a third of the TTL ago.
        assert!(begun.elapsed() > TTL * 2 / 3, "before its TTL");
    }
    std::thread::sleep(stopped().saturating_sub(begun.elapsed()));
    first.signal("CONT");
    let begun = Instant::now();
    for host in [&second, &third] {
        host.expect(&format!("joined {id}"), BACK);
        println!("back after {:?}", begun.elapsed());
    }
    // It has dropped nobody, also once it would.
    std::thread::sleep(TTL * 2);
    assert_eq!(first.rest("left"), Vec::<String>::new());
    for host in [&second, &third] {
        assert_eq!(host.rest("left"), Vec::<String>::new());
    }
}

#[test]
fn a_process_that_was_stopped_is_back_soon_and_has_dropped_nobody() {
    stopped_and_back("alone");
}

#[test]
fn with_peer_exchange_too() {
    stopped_and_back("pex");
}
