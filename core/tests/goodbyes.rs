//! Whole nodes over loopback sockets, of which many leave at once: who stays
//! hears every goodbye. No record expires meanwhile, so that nothing but a
//! goodbye can end one.
//!
//! Nor does one come with a comparison by chance: none is made but by nodes that have
//! just connected. So each comes by gossip's mesh or is pushed, at once: the longest
//! wait on its way is that before a push that failed is tried again, 0.35 s in all.
//! That time is not asserted by the clock of a machine that does other things too.
//!
//! Gossip may well bring them all. That none depends on it is shown beside the
//! code, by nodes on a topic that nobody hears; here, that they are also pushed.

use casm::{Event, Events, LeaveReason, Node, PeerId};
use futures::future::join_all;
use rand::{RngExt as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeSet, time::Duration};

/// What every wait is bounded by: a goodbye that is lost never comes.
async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    let limit = tokio::time::timeout(Duration::from_secs(20), wait);
    limit.await.unwrap_or_else(|_| panic!("{what}: not within 20 s"))
}

async fn start() -> Node {
    let node = Node::builder().namespace("goodbyes").listen("/ip4/127.0.0.1/tcp/0").boot(["none"]);
    let node = node.exchange_pause(None);
    node.ttl(Duration::from_secs(600)).start().await.unwrap()
}

/// Nodes of which each is connected to three earlier ones at random, and that
/// see each other.
async fn cluster(n: usize, rng: &mut ChaCha8Rng) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for i in 0..n {
        let node = start().await;
        for _ in 0..3.min(i) {
            node.connect(&nodes[rng.random_range(0..i)].info()).await.unwrap();
        }
        nodes.push(node);
    }
    for node in &nodes {
        soon("the view is full", node.wait_for(n)).await.unwrap();
    }
    nodes
}

/// Waits until all these peers have said goodbye.
async fn left(mut events: Events, mut waiting: BTreeSet<PeerId>) {
    while !waiting.is_empty() {
        if let Event::PeerLeft { peer, reason } = events.next().await.unwrap() {
            assert_eq!(reason, LeaveReason::Left);
            waiting.remove(&peer);
        }
    }
}

/// How often a node has told another of goodbyes, which that one acknowledged.
fn pushed(node: &Node) -> u64 {
    let name = "casm_sync_exchanges_total{outcome=\"told\"} ";
    let text = node.metrics().encode();
    text.lines().find_map(|line| line.strip_prefix(name)).map_or(0, |n| n.parse().unwrap())
}

/// So many of so many leave at once, again and again.
async fn all_goodbyes_are_heard(n: usize, leave: usize, times: u64) {
    for seed in 0..times {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut nodes = cluster(n, &mut rng).await;
        nodes.shuffle(&mut rng);
        let stay = nodes.split_off(leave);
        let gone: BTreeSet<_> = nodes.iter().map(Node::id).collect();
        let waits: Vec<_> = stay.iter().map(|node| left(node.events(), gone.clone())).collect();
        let begun = std::time::Instant::now();
        let closing = nodes.iter().map(|node| {
            tokio::spawn({
                let node = node.clone();
                async move { node.close().await.unwrap() }
            })
        });
        let closing = closing.collect::<Vec<_>>();
        soon(&format!("seed {seed}: all goodbyes are heard"), join_all(waits)).await;
        println!("seed {seed}: {leave} of {n} left, heard after {:?}", begun.elapsed());
        join_all(closing).await;
        let pushes: u64 = nodes.iter().chain(&stay).map(pushed).sum();
        assert!(pushes > 0, "seed {seed}: no goodbye was pushed");
        println!("seed {seed}: {pushes} pushes");
        for node in &stay {
            assert_eq!(node.view().len(), stay.len(), "seed {seed}");
        }
        join_all(stay.iter().map(Node::close)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_of_nine_leave_at_once() {
    all_goodbyes_are_heard(9, 8, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifteen_of_eighteen_leave_at_once() {
    all_goodbyes_are_heard(18, 15, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_twenty_leave_at_once() {
    all_goodbyes_are_heard(20, 10, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_right_after_it_joined_leaves_no_trace() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let nodes = cluster(7, &mut rng).await;
    for round in 0..20 {
        let newcomer = start().await;
        let mut events: Vec<_> = nodes.iter().map(Node::events).collect();
        newcomer.connect(&nodes[rng.random_range(0..7)].info()).await.unwrap();
        if round % 2 == 0 {
            soon("the view is full", newcomer.wait_for(8)).await.unwrap();
        }
        newcomer.close().await.unwrap();
        // What was on its way has come when this has.
        let marker = [("round".to_owned(), round.to_string())];
        nodes[round % 7].set_meta(marker.into()).await.unwrap();
        for (i, (node, events)) in nodes.iter().zip(&mut events).enumerate() {
            let (mut marked, mut there) = (i == round % 7, false);
            let what = format!("round {round}: node {i} sees it leave");
            soon(&what, async {
                while !marked || there {
                    match events.next().await.unwrap() {
                        Event::PeerJoined { record } => there |= record.peer() == newcomer.id(),
                        Event::PeerUpdated { .. } => marked = true,
                        Event::PeerLeft { peer, reason } if peer == newcomer.id() => {
                            assert_eq!(reason, LeaveReason::Left);
                            there = false;
                        }
                        _ => {}
                    }
                }
            })
            .await;
            assert_eq!(node.view().len(), 7, "round {round}: node {i}");
        }
    }
    join_all(nodes.iter().map(Node::close)).await;
}
