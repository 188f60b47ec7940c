//! Clusters whose members have certificates, over loopback sockets.

use casm::{
    Error, ErrorKind, Event, Events, Keypair, LeaveReason, Node, NodeBuilder, PeerId,
    admit::{Certificate, MAX_LIFETIME, Revocation, SKEW, Terms},
    libp2p::multiaddr::Protocol,
};
use std::{
    future::Future,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const NS: &str = "orchard";
const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// What every wait in these tests is bounded by; none is expected to come near.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it happens within 60 s")
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("not within 60 s: {what}"));
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn key(n: u8) -> Keypair {
    Keypair::ed25519_from_bytes([n; 32]).unwrap()
}

fn id(key: &Keypair) -> PeerId {
    key.public().to_peer_id()
}

/// The authority of these tests.
fn ca() -> Keypair {
    key(200)
}

fn terms(peer: PeerId) -> Terms {
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

fn sign(peer: PeerId) -> Certificate {
    Certificate::sign(&ca(), terms(peer)).unwrap()
}

/// A node that looks for nobody.
fn bare(key: &Keypair, listen: &str) -> NodeBuilder {
    Node::builder().namespace(NS).boot(["none"]).listen(listen).key(key.clone())
}

fn member(n: u8, listen: &str) -> NodeBuilder {
    let key = key(n);
    bare(&key, listen).admit([id(&ca())]).certificate(sign(id(&key)))
}

fn metric(node: &Node, name: &str) -> u64 {
    let text = node.metrics().encode();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or(0)
}

fn refused(node: &Node, reason: &str) -> u64 {
    metric(node, &format!("casm_admit_refused_total{{reason=\"{reason}\"}}"))
}

async fn close(nodes: impl IntoIterator<Item = Node>) {
    for node in nodes {
        node.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_one_authority_see_each_other() {
    for listen in [TCP, QUIC] {
        let mut nodes = Vec::new();
        for n in 1..=4 {
            nodes.push(member(n, listen).start().await.unwrap());
        }
        // A line: the first and the last one know of each other by others alone.
        for pair in nodes.windows(2) {
            soon(pair[0].connect(&pair[1].info())).await.unwrap();
        }
        for node in &nodes {
            soon(node.wait_for(4)).await.unwrap();
        }
        let topics: Vec<_> = nodes.iter().map(|node| node.topic("news").unwrap()).collect();
        let mut messages = topics[3].subscribe();
        soon(topics[0].wait_for_peers(1)).await.unwrap();
        soon(topics[2].wait_for_peers(2)).await.unwrap();
        soon(topics[1].wait_for_peers(2)).await.unwrap();
        topics[0].publish(b"hello").await.unwrap();
        let message = soon(messages.next()).await.unwrap();
        assert_eq!((message.source(), message.data()), (nodes[0].id(), &b"hello"[..]));
        close(nodes).await;
    }
}

/// Who is not a member, and why a member says that it is not.
fn strangers() -> Vec<(&'static str, NodeBuilder, Option<&'static str>)> {
    let other = key(201);
    let with = |n: u8, change: &dyn Fn(&mut Terms)| {
        let mut terms = terms(id(&key(n)));
        change(&mut terms);
        Certificate::sign(&ca(), terms).unwrap()
    };
    let of_other = Certificate::sign(&other, terms(id(&key(11)))).unwrap();
    let old = with(12, &|terms| {
        (terms.issued, terms.not_before) = (terms.issued - 7200, terms.not_before - 7200);
        terms.not_after = now() - SKEW + 4;
    });
    vec![
        ("none", bare(&key(10), TCP), None),
        (
            "other-ca",
            bare(&key(11), TCP).admit([id(&other), id(&ca())]).certificate(of_other),
            Some("signed by another authority"),
        ),
        ("expired", bare(&key(12), TCP).admit([id(&ca())]).certificate(old), Some("has expired")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_valid_certificate_gets_no_connection_and_is_told_why() {
    let nodes = [member(1, TCP).start().await.unwrap(), member(2, TCP).start().await.unwrap()];
    soon(nodes[0].connect(&nodes[1].info())).await.unwrap();
    for node in &nodes {
        soon(node.wait_for(2)).await.unwrap();
    }
    for (name, builder, why) in strangers() {
        println!("stranger: {name}");
        let stranger = builder.start().await.unwrap();
        if name == "expired" {
            let over = || now() > stranger.certificate().unwrap().not_after() + SKEW;
            until("its certificate ends", over).await;
        }
        // It dials: it is shown nothing, and the connection ends.
        let dialled = soon(stranger.connect(&nodes[0].info())).await;
        if let Err(error) = &dialled {
            assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        }
        until("it is put out", || !stranger.connected().contains(&nodes[0].id())).await;
        // It is dialled.
        let error = soon(nodes[0].connect(&stranger.info())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        let expected = why.unwrap_or("asks for no certificates");
        println!("{error}");
        assert!(error.message().contains(expected) || name != "none", "{error}");
        until("it is counted", || {
            ["other-ca", "expired", "open", "io", "not-accepted"]
                .iter()
                .map(|reason| refused(&nodes[0], reason))
                .sum::<u64>()
                >= 2
        })
        .await;
        assert_eq!((stranger.view().len(), stranger.connected().len()), (1, 0));
        stranger.close().await.unwrap();
    }
    for node in &nodes {
        assert_eq!((node.view().len(), node.connected().len()), (2, 1));
    }
    close(nodes).await;
}
