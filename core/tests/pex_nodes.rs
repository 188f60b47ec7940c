//! Whole nodes that exchange peers over loopback sockets, with discovery off.

use casm::{Event, Keypair, Namespace, Node, NodeBuilder, PeerId, boot::FindOptions};
use futures::StreamExt;
use std::{collections::BTreeSet, future::Future, time::Duration};

/// What every wait in these tests is bounded by; none is expected to come near.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(180), what).await.expect("it happens within 180 s")
}

fn builder() -> NodeBuilder {
    Node::builder()
        .namespace("test")
        .listen("/ip4/127.0.0.1/tcp/0")
        .boot(["none"])
        .pex_tick(Duration::from_millis(500))
}

/// Waits until a node's peer-exchange view holds all of these.
async fn knows(node: &Node, peers: &[PeerId]) {
    let mut events = node.events();
    let wanted: BTreeSet<PeerId> = peers.iter().copied().filter(|p| *p != node.id()).collect();
    while !wanted.is_subset(&view(node, node.namespace()).await) {
        while !matches!(events.next().await.unwrap(), Event::ViewChanged { .. }) {}
    }
}

/// The peers of a node's peer-exchange view of a namespace.
async fn view(node: &Node, namespace: &Namespace) -> BTreeSet<PeerId> {
    let options = FindOptions::default().timeout(Duration::from_millis(1));
    let found = node.find_peers_of(namespace, options);
    found
        .filter_map(async |f| f.ok().filter(|f| f.source == "pex").map(|f| f.peer.id))
        .collect()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_node_that_knows_one_of_two_is_known_to_all() {
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(builder().start().await.unwrap());
        if let [.., before, last] = &nodes[..] {
            soon(last.connect(&before.info())).await.unwrap();
        }
    }
    let all: Vec<PeerId> = nodes.iter().map(Node::id).collect();
    for node in &nodes {
        soon(knows(node, &all)).await;
        soon(node.wait_for(3)).await.unwrap();
    }
    for closed in futures::future::join_all(nodes.iter().map(Node::close)).await {
        closed.unwrap();
    }
}

/// Four nodes in a chain, and who of them exchanges peers in which other
/// namespace: what is told in one is told in no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_keeps_the_peers_of_its_namespaces_apart() {
    let members =
        [("test/all", [0, 1, 2, 3].as_slice()), ("all", &[0, 1, 3]), ("all/some", &[0, 3])];
    let members = members.map(|(name, who)| (Namespace::new(name).unwrap(), who));
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(builder().start().await.unwrap());
    }
    for (namespace, who) in &members {
        for &i in *who {
            nodes[i].exchange_peers(namespace).unwrap();
            nodes[i].exchange_peers(namespace).expect("once more does nothing");
        }
    }
    for pair in nodes.windows(2) {
        soon(pair[1].connect(&pair[0].info())).await.unwrap();
    }
    let others = |node: &Node, who: &[usize]| -> BTreeSet<PeerId> {
        who.iter().map(|&i| nodes[i].id()).filter(|&id| id != node.id()).collect()
    };
    for (namespace, who) in &members {
        for &i in *who {
            let wanted = others(&nodes[i], who);
            // No event tells of views but the own namespace's.
            soon(async {
                while view(&nodes[i], namespace).await != wanted {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            })
            .await;
        }
    }
    // Now that all have heard of all in one of them, too.
    for (namespace, who) in &members {
        for (i, node) in nodes.iter().enumerate() {
            let wanted = if who.contains(&i) { others(node, who) } else { BTreeSet::new() };
            assert_eq!(view(node, namespace).await, wanted, "node {i} in {namespace}");
        }
    }
    let own = others(&nodes[0], &[1, 2, 3]);
    assert_eq!(view(&nodes[0], nodes[0].namespace()).await, own);
    for closed in futures::future::join_all(nodes.iter().map(Node::close)).await {
        closed.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_comes_back_from_its_store_with_discovery_off() {
    let dir = tempfile::tempdir().unwrap();
    let key = Keypair::generate_ed25519();
    let other = builder().start().await.unwrap();
    let node = builder().key(key.clone()).data(dir.path()).start().await.unwrap();
    soon(node.connect(&other.info())).await.unwrap();
    soon(knows(&node, &[other.id()])).await;
    node.close().await.unwrap();
    drop(node);

    let again = builder().key(key).data(dir.path()).start().await.unwrap();
    soon(again.wait_for(2)).await.unwrap();
    assert_eq!(again.connected(), [other.id()]);
    again.close().await.unwrap();
    other.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_a_closed_node_can_be_opened_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut closed = Vec::new();
    for _ in 0..30 {
        // It closes in the midst of what it writes when it starts.
        let node = builder().data(dir.path()).start().await.unwrap();
        node.close().await.unwrap();
        closed.push(node);
    }
}

/// All nodes start from the same four, which gossipsub alone can't get over.
#[tokio::test(flavor = "multi_thread")]
async fn a_star_of_a_hundred_nodes_fills_every_view() {
    // So slow that a hundred of them run on one small, busy machine.
    const TTL: Duration = Duration::from_secs(60);
    let mut nodes = Vec::new();
    for _ in 0..100 {
        nodes.push(builder().pex_tick(TTL).ttl(TTL).start().await.unwrap());
    }
    let start = std::time::Instant::now();
    for node in &nodes {
        for hub in nodes[..4].iter().filter(|hub| hub.id() != node.id()) {
            // A busy machine may need longer than a handshake may take.
            soon(async { while node.connect(&hub.info()).await.is_err() {} }).await;
        }
    }
    println!("all are connected to the hubs after {:?}", start.elapsed());
    soon(async {
        for node in &nodes {
            node.wait_for(100).await.unwrap();
        }
    })
    .await;
    let took = start.elapsed();
    println!("every view of 100 is full after {took:?}, {:.1} TTL", took.div_duration_f32(TTL));
    let connections: usize = nodes[4..].iter().map(|n| n.connected().len()).sum();
    println!("connections of a leaf: {:.1} on average", connections as f64 / 96.0);
    for closed in futures::future::join_all(nodes.iter().map(Node::close)).await {
        closed.unwrap();
    }
}
