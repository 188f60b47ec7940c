//! Topics of whole nodes over loopback sockets.

use casm::{
    ErrorKind, Message, Messages, Node, NodeBuilder, Query, Topic, TopicOptions,
    topics::{Full, SubscribeOptions},
};
use std::{future::Future, time::Duration};

/// What every wait in these tests is bounded by; none is expected to come near.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it happens within 60 s")
}

fn builder(namespace: &str) -> NodeBuilder {
    Node::builder().namespace(namespace).listen("/ip4/127.0.0.1/tcp/0").boot(["none"])
}

async fn connect(one: &Node, other: &Node) {
    one.connect(other.addrs()[0].clone()).await.unwrap();
}

async fn next(messages: &mut Messages) -> Message {
    soon(messages.next()).await.unwrap()
}

fn only(role: &str) -> TopicOptions {
    TopicOptions::default().accept(Query::matching(format!("meta:role={role}").parse().unwrap()))
}

/// A line of three: publishers, one that relays, and one behind it. Records come by the
/// same way. (With peer exchange the publishers would come to know each other, and relay
/// for each other.)
#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_found_by_the_query_is_neither_delivered_nor_relayed() {
    let start = async |builder: NodeBuilder| builder.pex(None).start().await.unwrap();
    let chief = start(builder("test").meta("role", "chief")).await;
    let guest = start(builder("test").meta("role", "guest")).await;
    let between = start(builder("test")).await;
    let end = start(builder("test")).await;
    for node in [&chief, &guest, &end] {
        connect(node, &between).await;
    }
    for node in [&between, &end] {
        soon(node.wait_for(4)).await.unwrap();
    }
    let topics: Vec<Topic> = [&chief, &guest].map(|node| node.topic("orders").unwrap()).into();
    let mut messages: Vec<Messages> = [&between, &end]
        .map(|node| node.topic_with("orders", only("chief")).unwrap().subscribe())
        .into();
    let relay = between.topic("orders").unwrap();
    soon(relay.wait_for_peers(3)).await.unwrap();
    for topic in &topics {
        soon(topic.wait_for_peers(1)).await.unwrap();
    }
    assert!(soon(topics[1].publish("mutiny")).await.unwrap() > 0);
    assert!(soon(topics[0].publish("sail")).await.unwrap() > 0);
    for messages in &mut messages {
        let message = next(messages).await;
        assert_eq!((message.source(), message.data()), (chief.id(), &b"sail"[..]));
    }
    let not_accepted = "casm_topic_messages_total{verdict=\"not-accepted\"} 1";
    soon(async {
        while !between.metrics().encode().contains(not_accepted) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // A guest that becomes a chief is heard.
    guest.set_meta([("role".into(), "chief".into())].into()).await.unwrap();
    for node in [&between, &end] {
        let chiefs = Query::matching("meta:role=chief".parse().unwrap());
        soon(node.wait_for_query(chiefs, 2)).await.unwrap();
    }
    soon(topics[1].publish("ahoy")).await.unwrap();
    for messages in &mut messages {
        assert_eq!(next(messages).await.data(), b"ahoy");
    }
    for node in [chief, guest, between, end] {
        node.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_of_their_namespace_unless_their_name_is_exact() {
    let (one, other) =
        (builder("one").start().await.unwrap(), builder("other").start().await.unwrap());
    connect(&one, &other).await;
    let exact = TopicOptions::default().exact(true);
    let mut messages = Vec::new();
    for options in [TopicOptions::default(), exact.clone()] {
        messages.push(other.topic_with("news", options).unwrap().subscribe());
    }
    let (near, far) = (one.topic("news").unwrap(), one.topic_with("news", exact).unwrap());
    assert_eq!(near.full_name(), "/casm/1.0.0/one/topic/news");
    assert_eq!(far.full_name(), "news");
    soon(far.wait_for_peers(1)).await.unwrap();
    assert_eq!(near.peers(), []);
    assert_eq!(soon(near.publish("near")).await.unwrap(), 0);
    assert_eq!(soon(far.publish("far")).await.unwrap(), 1);
    assert_eq!(next(&mut messages[1]).await.data(), b"far");
    for bad in ["", "a/b", "one"] {
        let exact = TopicOptions::default().exact(bad == "one");
        let error = one.topic_with(bad, exact).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
    one.close().await.unwrap();
    assert_eq!(one.topic("news").unwrap_err().kind(), ErrorKind::Closed);
    other.close().await.unwrap();
    assert!(soon(messages[0].next()).await.is_none());
}

/// What ten publishers say comes to all others, once, through relays.
#[tokio::test(flavor = "multi_thread")]
async fn ten_nodes_hear_each_other_once() {
    let mut nodes = Vec::new();
    for n in 0..10_usize {
        let node = builder("ten").start().await.unwrap();
        for other in nodes.iter().skip(n.saturating_sub(2)) {
            connect(&node, other).await;
        }
        nodes.push(node);
    }
    let topics: Vec<Topic> = nodes.iter().map(|node| node.topic("chat").unwrap()).collect();
    let options = SubscribeOptions::default().echo(true).full(Full::DropNewest);
    let heard: Vec<Messages> =
        topics.iter().map(|topic| topic.subscribe_with(options).unwrap()).collect();
    for topic in &topics {
        soon(topic.wait_for_peers(1)).await.unwrap();
    }
    // Links are made within a second or two.
    for (n, topic) in topics.iter().enumerate() {
        for m in 0..5 {
            soon(topic.publish(format!("{n}.{m}"))).await.unwrap();
        }
    }
    let mut expected: Vec<String> =
        (0..10).flat_map(|n| (0..5).map(move |m| format!("{n}.{m}"))).collect();
    expected.sort();
    for mut messages in heard {
        let mut got = Vec::new();
        while got.len() < expected.len() {
            got.push(String::from_utf8(next(&mut messages).await.data().to_vec()).unwrap());
        }
        got.sort();
        assert_eq!(got, expected);
    }
    for node in nodes {
        node.close().await.unwrap();
    }
}

/// More than a node can be told of: the peer is cut off, and told why in the
/// metrics; the node goes on.
#[tokio::test(flavor = "multi_thread")]
async fn who_joins_ten_thousand_topics_is_cut_off() {
    let (node, greedy) =
        (builder("test").start().await.unwrap(), builder("test").start().await.unwrap());
    connect(&greedy, &node).await;
    let topics = (0..10_000).map(|n| greedy.topic(&format!("t{n}")).unwrap());
    let topics: Vec<_> = topics.collect();
    let refused = "casm_gossip_refused_total{reason=\"too-many-topics\"}";
    soon(async {
        while !node.metrics().encode().contains(refused) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    drop(topics);
    soon(greedy.close()).await.unwrap();
    let other = builder("test").start().await.unwrap();
    connect(&other, &node).await;
    soon(node.wait_for(2)).await.unwrap();
    other.close().await.unwrap();
    node.close().await.unwrap();
}
