//! A peer that is connected and no longer reads: closing costs a bounded time,
//! and the others hear the goodbye. In a network namespace whose sockets take
//! little, so that what is sent to it is soon stuck.

mod netns;

use casm::{Event, Node};
use netns::{Netns, say};
use std::{io::BufRead, time::Duration};

const SLOW: Duration = Duration::from_secs(60);
/// How often the node that closes has said something new before.
const ROUNDS: usize = 32;

#[test]
#[ignore = "a role of the other tests"]
fn role() {
    let Some((role, args)) = netns::role() else { return };
    netns::block_on(async {
        match role.as_str() {
            "closer" => closer().await,
            "member" => member(&args).await,
            other => panic!("no role {other}"),
        }
    });
}

/// A node that connects to nobody of itself, and whose record outlasts the test.
async fn start() -> Node {
    let node = Node::builder().boot(["none"]).pex(None).ttl(Duration::from_secs(3600));
    node.listen("/ip4/127.0.0.1/tcp/0").start().await.unwrap()
}

/// `closer`: says `addr` with its address; once it is told to go on, it says so
/// much of itself that its connection to who doesn't read is full; once more:
/// `stuck` with how much that is, and closes, and says `closed`, or else what is
/// left behind.
async fn closer() {
    let node = start().await;
    say(format!("addr {}", node.addrs()[0]));
    let mut lines = std::io::stdin().lock().lines();
    lines.next();
    for round in 1..=ROUNDS {
        let filling = ["a", "b"].map(|key| (key.to_owned(), "x".repeat(1900)));
        let round = ("round".to_owned(), round.to_string());
        node.set_meta(filling.into_iter().chain([round]).collect()).await.unwrap();
    }
    lines.next();
    say(format!("stuck {}", unsent()));
    match node.close().await {
        Ok(()) => say("closed"),
        Err(error) => say(format!("left behind: {error}")),
    }
    netns::until_killed().await;
}

/// What the sockets of this namespace hold that the other end has not taken, in
/// bytes.
fn unsent() -> u64 {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let queue = |line: &str| {
        let mut fields = line.split_whitespace().skip(3);
        let (state, queues) = (fields.next()?, fields.next()?);
        let (sending, _) = queues.split_once(':')?;
        (state == "01").then(|| u64::from_str_radix(sending, 16).unwrap())
    };
    table.lines().skip(1).filter_map(queue).sum()
}

/// `member ADDR`: a node that connects there, and says `full` when it sees three,
/// `round N` when a peer says something new, and `left` with why.
async fn member(args: &[String]) {
    let node = start().await;
    let mut events = node.events();
    node.connect(args[0].parse::<casm::Target>().unwrap()).await.unwrap();
    node.wait_for(3).await.unwrap();
    say("full");
    loop {
        match events.next().await.unwrap() {
            Event::PeerUpdated { record } => {
                if let Some(round) = record.meta().get("round") {
                    say(format!("round {round}"));
                }
            }
            Event::PeerLeft { peer, reason } => say(format!("left {peer} {reason:?}")),
            _ => {}
        }
    }
}

#[test]
fn who_no_longer_reads_holds_up_no_goodbye() {
    if !netns::available() {
        return;
    }
    // On a machine that is very busy the dead connection may be found out first.
    assert!((0..5).any(|_| closes_beside_a_deaf_peer()), "the connection was never stuck");
}

/// False if nothing was stuck in the end.
fn closes_beside_a_deaf_peer() -> bool {
    let host = Netns::new();
    host.ip("link set lo mtu 1500");
    for buffers in ["net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"] {
        host.set(buffers, "4096 16384 16384");
    }
    let mut closer = host.run("closer", "");
    let addr = closer.expect("addr", SLOW);
    let id = addr.rsplit('/').next().unwrap();
    let [deaf, member] = [(); 2].map(|()| host.run("member", &addr));
    for node in [&deaf, &member] {
        node.expect("full", SLOW);
    }
    deaf.signal("STOP");
    closer.tell();
    // Who reads has it all: what is unsent now is for who doesn't.
    member.expect(&format!("round {ROUNDS}"), SLOW);
    closer.tell();
    let stuck = closer.expect("stuck", SLOW);
    member.expect(&format!("left {id} Left"), SLOW);
    // Closing has a limit of its own, after which it would say what is left.
    closer.expect("closed", SLOW);
    println!("{stuck} bytes were stuck");
    stuck != "0"
}
