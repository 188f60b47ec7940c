//! Nodes whose connections are all taken, by honest peers and by others. Each
//! has a loopback address of its own, since those count as networks. (QUIC
//! connects from the address at which it listens, TCP from 127.0.0.1.)
#![cfg(target_os = "linux")]

use casm::{Node, NodeBuilder, config::Limits};
use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId,
    swarm::{SwarmEvent, dial_opts::DialOpts, dummy},
};
use std::{future::Future, time::Duration};

/// What every wait in these tests is bounded by; none is expected to come near.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(180), what).await.expect("it happens within 180 s")
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(180), async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("not within 180 s: {what}"));
}

/// Of these, 48 are for others, and four guests.
const CONNECTIONS: u32 = 64;

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.connections = CONNECTIONS;
    limits
}

/// A node at a loopback address of its own, so slow that many of them run on one
/// small, busy machine.
fn builder(block: u8, i: usize) -> NodeBuilder {
    let builder = Node::builder().namespace("test").ttl(Duration::from_secs(60));
    builder.listen(format!("/ip4/127.{block}.0.{i}/udp/0/quic-v1")).limits(limits())
}

/// The value of one of a node's metrics, 0 as long as it has none.
fn metric(node: &Node, name: &str) -> u64 {
    let text = node.metrics().encode();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or(0)
}

const INBOUND: &str = "casm_connection_slots{kind=\"inbound\"}";
const OUTBOUND: &str = "casm_connection_slots{kind=\"outbound\"}";
const GUESTS: &str = "casm_connections_closed_total{reason=\"guest\"}";
const FULL: &str = "casm_connections_refused_total{reason=\"full\"}";
const SHARE: &str = "casm_connections_refused_total{reason=\"share\"}";

#[tokio::test(flavor = "multi_thread")]
async fn more_nodes_join_through_a_seed_than_it_has_places() {
    const NODES: usize = 72;
    let seed = builder(1, 1).boot(["none"]).start().await.unwrap();
    let at = seed.addrs()[0].to_string();
    let mut nodes = Vec::new();
    for i in 0..NODES {
        nodes.push(builder(1, 2 + i).boot([&at]).start().await.unwrap());
    }
    let begun = std::time::Instant::now();
    for node in nodes.iter().chain([&seed]) {
        soon(node.wait_for(NODES + 1)).await.unwrap();
        assert!(node.connected().len() <= CONNECTIONS as usize + 4);
    }
    let (inbound, guests) = (metric(&seed, INBOUND), metric(&seed, GUESTS));
    println!(
        "all views were full after {:?}; the seed had {inbound} and {guests} guests",
        begun.elapsed()
    );
    assert!((1..=48).contains(&inbound), "{inbound}");
    // Others than the seed hold them together.
    let alone = nodes.iter().filter(|node| node.connected() == [seed.id()]).count();
    assert!(guests > 0 && alone < NODES / 2, "{guests} guests, {alone} know the seed alone");
    for closed in futures::future::join_all(nodes.iter().chain([&seed]).map(Node::close)).await {
        closed.unwrap();
    }
}

/// An identity at a loopback address that holds a connection, comes again when
/// it has lost it, and does nothing else.
async fn hold(listen: Multiaddr, victim: PeerId, at: Multiaddr) {
    let mut swarm = libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_quic()
        .with_behaviour(|_| dummy::Behaviour)
        .unwrap()
        .with_swarm_config(|c| c.with_idle_connection_timeout(Duration::from_secs(3600)))
        .build();
    swarm.listen_on(listen).unwrap();
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { .. }
            | SwarmEvent::OutgoingConnectionError { .. }
            | SwarmEvent::ConnectionClosed { num_established: 0, .. } => {
                tokio::time::sleep(Duration::from_millis(500)).await;
                let options = DialOpts::peer_id(victim).addresses(vec![at.clone()]).build();
                swarm.dial(options).unwrap();
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_identities_keep_no_newcomer_out_and_no_member_from_dialling() {
    let victim = builder(2, 1).boot(["none"]).start().await.unwrap();
    let at = victim.addrs()[0].clone();
    let attack: Vec<_> = (0..200)
        .map(|i| {
            let listen = format!("/ip4/127.3.0.{}/udp/0/quic-v1", 1 + i % 10).parse().unwrap();
            tokio::spawn(hold(listen, victim.id(), at.clone()))
        })
        .collect();
    until("they have all places", || metric(&victim, INBOUND) == 48).await;
    let refused = || metric(&victim, FULL) + metric(&victim, SHARE);
    until("they want more", || refused() > 20).await;

    // Friends that know each other, of whom one finds the victim.
    let mut friends = Vec::new();
    for i in 0..4 {
        friends.push(builder(4, 1 + i).boot(["none"]).start().await.unwrap());
    }
    for friend in &friends[1..] {
        soon(friend.connect(&friends[0].info())).await.unwrap();
    }
    soon(friends[0].wait_for(4)).await.unwrap();
    soon(friends[0].connect(&victim.info())).await.unwrap();
    for node in friends.iter().chain([&victim]) {
        soon(node.wait_for(5)).await.unwrap();
    }
    // The victim's keeper makes connections of its own meanwhile.
    until("it dials", || metric(&victim, OUTBOUND) >= 3).await;
    let before = refused() + metric(&victim, GUESTS);
    until("they go on", || refused() + metric(&victim, GUESTS) > before + 50).await;
    for friend in &friends {
        assert!(victim.connected().contains(&friend.id()), "{}", friend.id());
        assert!(friend.connected().contains(&victim.id()), "{}", friend.id());
    }
    assert!(metric(&victim, INBOUND) <= 48);

    attack.iter().for_each(tokio::task::JoinHandle::abort);
    for node in friends.iter().chain([&victim]) {
        node.close().await.unwrap();
    }
}
