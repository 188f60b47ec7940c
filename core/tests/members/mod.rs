//! Nodes on the loopback interface that are all connected, and waits for what they see.
#![allow(dead_code, reason = "not every test uses all of it")]

use casm::{
    Node, Query,
    service::{CallOptions, Request},
};
use std::{convert::Infallible, time::Duration};

/// What every wait in these tests is bounded by; none is expected to come near.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it happens within 60 s")
}

pub async fn until(what: impl Fn() -> bool) {
    soon(async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Deadlines that pass soon, and longer ones, since a busy machine may do nothing in a
/// short one.
pub fn limits() -> impl Iterator<Item = Duration> {
    (0..10).map(|n| Duration::from_millis(100 << n))
}

/// Nodes that are all connected, and see each other.
pub async fn cluster<const N: usize>() -> [Node; N] {
    let mut nodes: Vec<Node> = Vec::new();
    for n in 0..N {
        let builder = Node::builder().namespace("test").listen("/ip4/127.0.0.1/tcp/0");
        let node = builder.boot(["none"]).pex(None).meta("n", n.to_string()).start().await.unwrap();
        for other in &nodes {
            node.connect(&other.info()).await.unwrap();
        }
        nodes.push(node);
    }
    for node in &nodes {
        soon(node.wait_for(N)).await.unwrap();
    }
    nodes.try_into().unwrap()
}

pub async fn sees(node: &Node, service: &str, n: usize) {
    soon(node.wait_for_query(Query::service(service), n)).await.unwrap();
}

pub async fn close(nodes: impl IntoIterator<Item = Node>) {
    for node in nodes {
        node.close().await.unwrap();
    }
}

pub async fn echo(request: Request) -> Result<Vec<u8>, Infallible> {
    Ok(request.data().to_vec())
}

pub fn to(node: &Node) -> CallOptions {
    CallOptions::new().peer(node.id())
}
