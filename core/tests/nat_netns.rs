//! Nodes behind NATs: two homes and public nodes, in an "Internet" of namespaces.
#![cfg(target_os = "linux")]

mod netns;

use casm::{Event, Node};
use netns::{Host, Internet, Nat, say};
use std::time::Duration;

const SLOW: Duration = Duration::from_secs(60);

#[test]
#[ignore = "a role of the other tests"]
fn role() {
    let Some((role, args)) = netns::role() else { return };
    match role.as_str() {
        "node" => netns::block_on(node(&args)),
        other => panic!("no role {other}"),
    }
}

/// `node LISTEN [relay] [BOOT]…`: a node that says what happens to it.
async fn node(args: &[String]) {
    let mut builder = Node::builder().namespace("homes").listen(&args[0]).ttl(Duration::from_secs(5));
    let mut boot = Vec::new();
    for arg in &args[1..] {
        match arg.as_str() {
            "relay" => builder = builder.relay(true),
            addr => boot.push(addr.to_owned()),
        }
    }
    if boot.is_empty() {
        boot.push("none".into());
    }
    let node = builder.boot(boot).start().await.unwrap();
    let mut events = node.events();
    say(format!("at {}/p2p/{}", node.info().addrs[0], node.id()));
    let told = node.clone();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                Event::Relayed { peer } => say(format!("relayed {peer}")),
                Event::Direct { peer } => say(format!("direct {peer}")),
                Event::ReachabilityChanged { reachability } => {
                    say(format!("reach {}", reachability.reach.name()));
                    for at in reachability.addrs {
                        say(format!("found {} {}", at.found.name(), at.addr));
                    }
                }
                Event::PeerJoined { record } => say(format!("joined {}", record.peer())),
                Event::Connected { peer } => {
                    say(format!("connected {peer} {:?}", told.peer_status(&peer).map(|p| p.addrs)));
                }
                _ => {}
            }
        }
    });
    netns::until_killed().await;
}

#[test]
fn two_homes_see_each_other_over_a_relay_and_then_directly() {
    if !netns::available() {
        return;
    }
    for (listen, port) in [("tcp/0", "tcp/4001"), ("udp/0/quic-v1", "udp/4001/quic-v1")] {
        let internet = Internet::new();
        let (public, ip) = internet.host();
        let relay = public.run("node", &format!("/ip4/{ip}/{port} relay"));
        let boot = relay.expect("at ", SLOW);
        let homes: Vec<_> = (0..2).map(|_| internet.home(Nat::PortRestricted)).collect();
        let nodes: Vec<Host> = homes
            .iter()
            .map(|(_, inner)| inner.run("node", &format!("/ip4/0.0.0.0/{listen} {boot}")))
            .collect();
        let ids: Vec<String> = nodes
            .iter()
            .map(|node| node.expect("at ", SLOW).rsplit('/').next().unwrap().to_owned())
            .collect();
        std::thread::sleep(Duration::from_secs(25));
        for (node, other) in nodes.iter().zip([&ids[1], &ids[0]]) {
            println!("---- other is {other}");
            for line in node.said() { println!("{line}"); }
        }
        println!("---- relay");
        for line in relay.said() { println!("{line}"); }
    }
    panic!("look");
}
