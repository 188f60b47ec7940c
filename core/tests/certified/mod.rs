//! Nodes with certificates: the keys of tests, what an authority signs for them, and
//! what they have counted.
#![allow(dead_code, reason = "not every test uses all of it")]

use casm::{
    Keypair, Node, NodeBuilder, PeerId,
    admit::{Certificate, Terms, unix_seconds},
};
use std::{
    future::Future,
    time::{Duration, SystemTime},
};

pub const NS: &str = "orchard";
pub const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// What every wait in these tests is bounded by; none is expected to come near.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it happens within 60 s")
}

pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("not within 60 s: {what}"));
}

pub fn now() -> u64 {
    unix_seconds(SystemTime::now())
}

pub fn key(n: u8) -> Keypair {
    Keypair::ed25519_from_bytes([n; 32]).unwrap()
}

pub fn id(key: &Keypair) -> PeerId {
    key.public().to_peer_id()
}

/// The authority, and another one.
pub fn ca() -> Keypair {
    key(200)
}

pub fn other_ca() -> Keypair {
    key(201)
}

/// Signed ten seconds ago, for an hour.
pub fn terms(peer: PeerId) -> Terms {
    let issued = now() - 10;
    Terms {
        peer,
        namespace: NS.parse().unwrap(),
        roles: vec![],
        not_before: issued,
        not_after: issued + 3600,
        issued,
        serial: rand::random(),
    }
}

pub fn sign(peer: PeerId) -> Certificate {
    Certificate::sign(&ca(), terms(peer)).unwrap()
}

/// A node that looks for nobody.
pub fn bare(key: &Keypair, listen: &str) -> NodeBuilder {
    Node::builder().namespace(NS).boot(["none"]).listen(listen).key(key.clone())
}

/// The same, as a member.
pub fn member(n: u8, listen: &str) -> NodeBuilder {
    let key = key(n);
    bare(&key, listen).admit([id(&ca())]).certificate(sign(id(&key)))
}

/// A counter, or all whose names and labels begin so.
pub fn metric(node: &Node, name: &str) -> u64 {
    let text = node.metrics().encode();
    let values = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
    values.map(|(_, value)| value.parse::<u64>().unwrap()).sum()
}
