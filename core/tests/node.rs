//! Whole nodes over loopback sockets: they find each other, see each other
//! leave, and leave nothing behind.

use casm::{Config, ErrorKind, Event, Keypair, LeaveReason, Node, NodeBuilder, cluster::Query};
use futures::FutureExt;
use std::{future::Future, pin::pin, time::Duration};

/// What every wait in these tests is bounded by; none is expected to come near.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("it happens within 30 s")
}

/// A free block of loopback ports for the boot services of one test.
fn ports() -> String {
    let base = 20_000 + rand::random_range(0..4_000_u16) * 8;
    format!("/ip4/127.0.0.1/udp/{base}/ports/8")
}

fn builder(boot: &str) -> NodeBuilder {
    Node::builder().namespace("test").listen("/ip4/127.0.0.1/tcp/0").boot([boot])
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_find_each_other_and_see_each_other_leave() {
    let boot = ports();
    println!("boot {boot}");
    let mut nodes = Vec::new();
    for i in 0..3 {
        nodes.push(
            builder(&boot).meta("i", i.to_string()).host(format!("h{i}")).start().await.unwrap(),
        );
    }
    for node in &nodes {
        let view = soon(node.wait_for(3)).await.unwrap();
        let mut hosts: Vec<String> = view.iter(Query::all()).map(|r| r.host().to_owned()).collect();
        hosts.sort();
        assert_eq!(hosts, ["h0", "h1", "h2"]);
    }
    let leaver = nodes.remove(0);
    let mut events = nodes[0].events();
    soon(leaver.close()).await.unwrap();
    let gone = soon(async {
        loop {
            if let Event::PeerLeft { peer, reason } = events.next().await.unwrap() {
                break (peer, reason);
            }
        }
    })
    .await;
    assert_eq!(gone, (leaver.id(), LeaveReason::Left));
    for node in nodes {
        node.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_meta_is_seen_and_a_restart_replaces_at_once() {
    let boot = ports();
    println!("boot {boot}");
    let watcher = builder(&boot).start().await.unwrap();
    let key = Keypair::generate_ed25519();
    let first = builder(&boot).key(key.clone()).meta("life", "1").start().await.unwrap();
    soon(watcher.wait_for(2)).await.unwrap();
    let sees = async |life: &str| {
        let mut live = watcher.subscribe(Query::matching(casm::cluster::Index::meta("life", life)));
        soon(live.next()).await.unwrap()
    };
    first.set_meta([("life".into(), "2".into())].into()).await.unwrap();
    sees("2").await;
    drop(first);
    let second = builder(&boot).key(key).meta("life", "3").start().await.unwrap();
    sees("3").await;
    second.close().await.unwrap();
    watcher.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_sees_and_is_not_seen() {
    let boot = ports();
    println!("boot {boot}");
    let member = builder(&boot).start().await.unwrap();
    let observer = builder(&boot).observer(true).start().await.unwrap();
    let view = soon(observer.wait_for(1)).await.unwrap();
    assert_eq!(view.iter(Query::all()).map(|r| r.peer()).collect::<Vec<_>>(), [member.id()]);
    soon(async {
        while member.connected().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(member.view().len(), 1);
    observer.close().await.unwrap();
    member.close().await.unwrap();
}

#[tokio::test]
async fn closing_twice_is_harmless_and_calls_after_it_say_closed() {
    let node = builder("none").start().await.unwrap();
    let mut events = node.events();
    node.close().await.unwrap();
    node.close().await.unwrap();
    assert_eq!(soon(node.wait_for(2)).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(soon(node.set_host("x")).await.unwrap_err().kind(), ErrorKind::Closed);
    let info = node.info();
    assert_eq!(soon(node.connect(&info)).await.unwrap_err().kind(), ErrorKind::Closed);
    drop(node);
    soon(async { while events.next().await.is_some() {} }).await;
}

#[tokio::test]
async fn the_end_of_a_node_is_waited_for_whether_it_was_closed_or_dropped() {
    for close in [true, false] {
        let node = builder("none").start().await.unwrap();
        let mut ended = pin!(node.ended());
        assert!(ended.as_mut().now_or_never().is_none());
        if close {
            node.close().await.unwrap();
        }
        drop(node);
        soon(ended).await;
    }
}

#[tokio::test]
async fn a_bad_configuration_names_field_value_and_remedy() {
    let start = async |builder: NodeBuilder| builder.start().await.unwrap_err();
    for (builder, kind, words) in [
        (Node::builder().namespace("a/../b"), ErrorKind::Config, ["namespace", "a/../b"]),
        (Node::builder().listen("nonsense"), ErrorKind::Address, ["listen", "nonsense"]),
        (
            Node::builder().boot(["/ip4/1.2.3.4/sctp/1"]),
            ErrorKind::Address,
            ["boot", "/ip4/1.2.3.4/sctp/1"],
        ),
        (builder("none").ttl(Duration::from_millis(1)), ErrorKind::Config, ["ttl", "1ms"]),
        (builder("none").meta("a=b", "c"), ErrorKind::Config, ["meta", "a=b"]),
        (builder("none").key_file("/nowhere/key"), ErrorKind::Io, ["/nowhere/key", "key"]),
    ] {
        let error = start(builder).await;
        assert_eq!(error.kind(), kind, "{error}");
        for word in words {
            assert!(error.message().contains(word), "{word}: {error}");
        }
    }
    let mut config = Config::default();
    config.boot.clear();
    assert_eq!(Node::start(config).await.unwrap_err().kind(), ErrorKind::Config);
}
