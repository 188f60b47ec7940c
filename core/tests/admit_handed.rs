//! What a member hands over of those who are none, by all the ways that there are: over
//! loopback sockets.
//!
//! A node takes the certificates of one authority. A member that it is connected with
//! takes those of another one as well, and so knows peers that the node does not take.

mod certified;

use casm::{Node, NodeBuilder, PeerId, admit, boot::FindOptions};
use certified::*;
use futures::StreamExt;
use std::{collections::BTreeSet, time::Duration};

/// So long that no heartbeat comes twice while a test runs.
const TTL: Duration = Duration::from_secs(3600);

async fn start(builder: NodeBuilder) -> Node {
    builder.pex(None).ttl(TTL).start().await.unwrap()
}

/// A member that takes others' as well.
fn generous(n: u8) -> NodeBuilder {
    member(n, TCP).admit([id(&other_ca())])
}

fn of_other(n: u8) -> admit::Certificate {
    let terms = terms(id(&key(n)));
    // After all that the authority itself has signed.
    let terms = admit::Terms { issued: terms.issued + 5, ..terms };
    admit::Certificate::sign(&other_ca(), terms).unwrap()
}

/// Who is a member for the other authority alone.
fn stranger(n: u8) -> NodeBuilder {
    bare(&key(n), TCP).admit([id(&ca()), id(&other_ca())]).certificate(of_other(n))
}

/// Who was a member until so many seconds from now.
fn member_for(n: u8, secs: u64) -> NodeBuilder {
    let terms = terms(id(&key(n)));
    let before = 2 * admit::SKEW;
    let terms = admit::Terms {
        issued: terms.issued - before,
        not_before: terms.not_before - before,
        not_after: now() - admit::SKEW + secs,
        ..terms
    };
    let certificate = admit::Certificate::sign(&ca(), terms).unwrap();
    bare(&key(n), TCP).admit([id(&ca()), id(&other_ca())]).certificate(certificate)
}

fn members(node: &Node) -> BTreeSet<PeerId> {
    node.view().iter(casm::cluster::Query::all()).map(|record| record.peer()).collect()
}

fn ids<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> BTreeSet<PeerId> {
    nodes.into_iter().map(Node::id).collect()
}

/// Heartbeats that exchanges brought, and messages that gossip did, which were refused.
fn handed(node: &Node, reason: &str) -> u64 {
    metric(node, &format!("casm_heartbeats_total{{verdict=\"{reason}\"}}"))
}

fn relayed(node: &Node, reason: &str) -> u64 {
    metric(node, &format!("casm_gossip_refused_total{{reason=\"{reason}\"}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_and_topics_bring_members_and_no_strangers_nor_who_was_one() {
    let (node, between, far) =
        (start(member(1, TCP)).await, start(generous(2)).await, start(member(3, TCP)).await);
    let unknown = start(stranger(10)).await;
    let (revoked, ended) = (start(generous(11)).await, start(member_for(12, 6)).await);
    // Two were members of the node's.
    for other in [&revoked, &ended] {
        soon(node.connect(&other.info())).await.unwrap();
    }
    soon(node.wait_for(3)).await.unwrap();
    for (n, other) in [(11, &revoked), (12, &ended)] {
        other.renew(of_other(n)).unwrap();
    }
    node.revoke(vec![admit::Revocation::sign(&ca(), revoked.id(), now()).unwrap()]).unwrap();
    until("both have been put out", || members(&node) == ids([&node])).await;
    until("neither is connected", || node.connected().is_empty()).await;

    let strangers = [&unknown, &revoked, &ended];
    for other in strangers.into_iter().chain([&far]) {
        soon(between.connect(&other.info())).await.unwrap();
    }
    soon(between.wait_for(5)).await.unwrap();
    soon(node.connect(&between.info())).await.unwrap();
    // The certificate of one that it has not met is fetched for what an exchange brings:
    // no heartbeat comes again.
    until("the member behind it is known", || members(&node) == ids([&node, &between, &far])).await;
    until("the others' were handed over", || {
        handed(&node, "missing") >= 2 && handed(&node, "revoked") >= 1
    })
    .await;

    let topic = |node: &Node| node.topic("orders").unwrap();
    let (heard, passes) = (topic(&node), topic(&between));
    let (mut messages, mut passed) = (heard.subscribe(), passes.subscribe());
    soon(passes.wait_for_peers(1)).await.unwrap();
    for (n, other) in strangers.into_iter().enumerate() {
        let topic = topic(other);
        soon(topic.wait_for_peers(1)).await.unwrap();
        soon(topic.publish("mutiny")).await.unwrap();
        assert_eq!(soon(passed.next()).await.unwrap().source(), other.id(), "{n}");
    }
    until("they are refused", || relayed(&node, "missing") >= 2 && relayed(&node, "revoked") >= 1)
        .await;
    let said = topic(&far);
    soon(said.wait_for_peers(1)).await.unwrap();
    soon(said.publish("sail")).await.unwrap();
    let first = soon(messages.next()).await.unwrap();
    assert_eq!((first.source(), first.data()), (far.id(), &b"sail"[..]));
    assert_eq!(members(&node), ids([&node, &between, &far]));
    assert_eq!(node.connected(), [between.id()]);
    for node in [node, between, far, unknown, revoked, ended] {
        node.close().await.unwrap();
    }
}

/// Whom a node knows by peer exchange.
async fn exchanged(node: &Node) -> BTreeSet<PeerId> {
    let found = node.find_peers(FindOptions::default().timeout(Duration::from_millis(1)));
    found.filter_map(async |found| found.ok().map(|found| found.peer.id)).collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_known_by_peer_exchange_is_dialled_and_gets_no_further() {
    let exchanging = |builder: NodeBuilder| builder.pex_tick(Duration::from_millis(400)).ttl(TTL);
    let node = exchanging(member(1, TCP)).start().await.unwrap();
    let between = exchanging(generous(2)).start().await.unwrap();
    let unknown = exchanging(stranger(10)).start().await.unwrap();
    soon(between.connect(&unknown.info())).await.unwrap();
    soon(node.connect(&between.info())).await.unwrap();
    soon(async {
        while !exchanged(&node).await.contains(&unknown.id()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    until("it is dialled, and shows a certificate that is not taken", || {
        metric(&node, "casm_admit_refused_total{reason=\"other-ca\"}") > 0
    })
    .await;
    assert_eq!(node.connected(), [between.id()]);
    until("members see each other", || members(&node) == ids([&node, &between])).await;
    // It would take the node: until it is told that the node doesn't take it.
    until("nothing is left of it there", || unknown.connected() == [between.id()]).await;
    assert_eq!(members(&node), ids([&node, &between]));
    for node in [node, between, unknown] {
        node.close().await.unwrap();
    }
}
