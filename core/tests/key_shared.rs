//! Nodes that run with one key, as those of a copied machine, beside others, over
//! loopback sockets.

use casm::{Event, Events, Keypair, Node, NodeBuilder};
use futures::FutureExt;
use std::{future::Future, time::Duration};

/// What every wait in these tests is bounded by; none is expected to come near.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(300), what).await.expect("it happens within 300 s")
}

/// A copy that is in no mesh hears of another by exchanges alone, and only of those
/// that bring the other's heartbeat and not its own: it would wait for several pauses
/// of 20 s each.
fn builder(boot: &[String]) -> NodeBuilder {
    let builder = Node::builder().namespace("test").listen("/ip4/127.0.0.1/tcp/0");
    let boot = boot.iter().map(String::as_str).chain(boot.is_empty().then_some("none"));
    builder.boot(boot).ttl(TTL).exchange_pause(Some(Duration::from_secs(1)))
}

const TTL: Duration = Duration::from_secs(4);
/// For how long it goes on when all have been told: some TTLs, and many rounds of a
/// storm of connections, which are several a second.
const AFTER: Duration = Duration::from_secs(10);

/// How many connections were made with a node.
fn made(node: &Node) -> u64 {
    let text = node.metrics().encode();
    let values = text.lines().filter(|line| line.starts_with("casm_connections_made_total"));
    values.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// How often a node has told that its key is another's, and of whom.
fn told(events: &mut Events) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        if let Event::KeyShared { record } = event {
            told.push(record.host().to_owned());
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn two_copies_of_a_node_are_told_and_disturb_nobody() {
    are_told_and_disturb_nobody(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_copies_of_a_node_are_told_and_disturb_nobody() {
    are_told_and_disturb_nobody(3).await;
}

async fn are_told_and_disturb_nobody(copies: u64) {
    let first = builder(&[]).start().await.unwrap();
    let mut boot = vec![first.addrs()[0].to_string()];
    let second = builder(&boot).start().await.unwrap();
    boot.push(second.addrs()[0].to_string());
    let third = builder(&boot).start().await.unwrap();
    let others = [first, second, third];
    for node in &others {
        soon(node.wait_for(3)).await.unwrap();
    }
    let mut seen: Vec<_> = others.iter().map(Node::events).collect();
    let before = others.each_ref().map(made);

    let key = Keypair::generate_ed25519();
    let mut nodes = Vec::new();
    let begun = std::time::Instant::now();
    for n in 0..copies {
        let node = builder(&boot).key(key.clone()).host(format!("copy-{n}"));
        let events = node.events();
        nodes.push((node.start().await.unwrap(), events));
    }
    let id = nodes[0].0.id();
    for (n, (_, events)) in nodes.iter_mut().enumerate() {
        let record = soon(async {
            loop {
                if let Event::KeyShared { record } = events.next().await.unwrap() {
                    break record;
                }
            }
        });
        let record = record.await;
        println!("copy {n} of {copies} is told after {:?}", begun.elapsed());
        assert_eq!(record.peer(), id);
        let own = format!("copy-{n}");
        assert!(record.host().starts_with("copy-") && record.host() != own, "{record:?}");
    }
    tokio::time::sleep(AFTER).await;
    for (node, events) in &mut nodes {
        assert!(told(events).is_empty(), "once");
        assert!(node.metrics().encode().contains("casm_key_shared 1\n"));
        assert!(!node.connected().is_empty());
    }
    for (n, node) in others.iter().enumerate() {
        let made = made(node) - before[n];
        assert!(made <= 4 * copies + 2, "{made} connections with {copies} copies");
        let view = node.view();
        assert_eq!(view.len(), 4);
        while let Some(Some(event)) = seen[n].next().now_or_never() {
            assert!(
                !matches!(event, Event::PeerLeft { .. } | Event::KeyShared { .. }),
                "{event:?}"
            );
            let parted = matches!(event, Event::Disconnected { peer } if peer != id);
            assert!(!parted, "{event:?}");
        }
    }
    for node in others.iter().chain(nodes.iter().map(|(node, _)| node)) {
        node.close().await.unwrap();
    }
}
