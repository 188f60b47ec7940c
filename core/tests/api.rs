//! What a program builds on: streams, events from the start, waits and changes.

use casm::{
    Direction, ErrorKind, Event, Index, Namespace, Node, NodeBuilder, PeerInfo, Query, Result,
    boot::{Discovery, FindOptions, Finding, Found},
};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// What every wait in these tests is bounded by; none is expected to come near.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("it happens within 30 s")
}

fn builder() -> NodeBuilder {
    Node::builder().namespace("test").listen("/ip4/127.0.0.1/tcp/0").boot(["none"])
}

/// A program's own way to find peers: it knows one.
struct Known(PeerInfo, Arc<AtomicUsize>);

impl Discovery for Known {
    fn find_peers(&self, _: &Namespace, _: FindOptions) -> Finding {
        self.1.fetch_add(1, Ordering::Relaxed);
        let found = Found::new("known", self.0.clone());
        stream::iter([Ok(found)]).boxed()
    }

    fn advertise(&self, _: &Namespace, _: Duration) -> BoxFuture<'static, Result<()>> {
        futures::future::ready(Ok(())).boxed()
    }
}

#[tokio::test]
async fn events_and_discoveries_are_there_from_the_very_start() {
    let first = builder().start().await.unwrap();
    let searches = Arc::new(AtomicUsize::new(0));
    let second = builder().discovery(Known(first.info(), searches.clone()));
    let events = second.events();
    let second = second.start().await.unwrap();
    soon(second.wait_for(2)).await.unwrap();
    assert!(searches.load(Ordering::Relaxed) > 0);
    second.close().await.unwrap();
    drop(second);
    // A stream as any other, which ends with the node.
    let all: Vec<Event> = soon(events.collect()).await;
    let Some(Event::Listening { addrs, .. }) = all.first() else { panic!("{all:?}") };
    assert!(!addrs.is_empty());
    let found = |event: &Event| matches!(event, Event::PeersFound { source, peer } if source == "known" && peer.id == first.id());
    assert!(all.iter().any(found), "{all:?}");
    assert!(all.iter().any(|event| matches!(event, Event::PeerJoined { .. })), "{all:?}");
    first.close().await.unwrap();
}

/// What was listened to when it closed, and what is listened to later.
#[tokio::test]
async fn the_streams_of_a_closed_node_end_though_it_is_held() {
    let node = builder().start().await.unwrap();
    let (events, tap) = (node.events(), node.boot().tap());
    let topic = node.topic("news").unwrap();
    let messages = topic.subscribe();
    node.close().await.unwrap();
    soon(events.collect::<Vec<_>>()).await;
    assert_eq!(soon(messages.collect::<Vec<_>>()).await.len(), 0);
    assert_eq!(soon(tap.collect::<Vec<_>>()).await, []);
    assert_eq!(soon(node.events().collect::<Vec<_>>()).await, []);
    assert_eq!(soon(node.boot().tap().collect::<Vec<_>>()).await, []);
    assert_eq!(soon(topic.subscribe().collect::<Vec<_>>()).await.len(), 0);
}

#[tokio::test]
async fn the_events_of_a_node_that_does_not_start_end() {
    let builder = builder().meta("a=b", "");
    let events = builder.events();
    assert_eq!(builder.start().await.unwrap_err().kind(), ErrorKind::Config);
    let told: Vec<_> = soon(events.collect()).await;
    assert!(!told.iter().any(|event| matches!(event, Event::PeerJoined { .. })));
}

#[tokio::test]
async fn a_live_query_is_a_stream_that_ends_with_the_node() {
    let node = builder().meta("role", "worker").start().await.unwrap();
    let live = node.subscribe(Query::matching(Index::meta("role", "worker")));
    node.close().await.unwrap();
    let changes: Vec<_> = soon(live.collect()).await;
    assert_eq!(changes.len(), 1, "{changes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_meta_that_are_made_at_once_lose_nothing() {
    let node = builder().meta("old", "1").start().await.unwrap();
    let changes = (0..20).map(|i| {
        let node = node.clone();
        tokio::spawn(async move {
            node.update_meta(|meta| {
                meta.insert(format!("key-{i}"), "x".into());
                meta.remove("old");
            })
            .await
        })
    });
    for change in futures::future::join_all(changes).await {
        change.unwrap().unwrap();
    }
    let error = node.update_meta(|meta| drop(meta.insert("a=b".into(), "".into()))).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Config);
    let own = node.view().get(&node.id()).unwrap();
    assert_eq!(own.meta().len(), 20, "{own:?}");
    // A change that panics is its caller's own trouble.
    let panics = node.clone();
    let panicked = tokio::spawn(async move { panics.update_meta(|_| panic!("on purpose")).await });
    assert!(panicked.await.is_err());
    node.update_meta(|meta| drop(meta.insert("after".into(), "".into()))).await.unwrap();
    node.close().await.unwrap();
    assert_eq!(node.update_meta(|_| ()).await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_connected_peer_has_a_status() {
    let (a, b) = (builder().start().await.unwrap(), builder().start().await.unwrap());
    assert_eq!(a.peer_status(&b.id()), None);
    a.connect(&b.info()).await.unwrap();
    let told = |node: &Node, peer: &Node| {
        let (node, peer) = (node.clone(), peer.id());
        async move {
            loop {
                match node.peer_status(&peer) {
                    Some(status) if status.agent.is_some() && status.round_trip.is_some() => {
                        break status;
                    }
                    _ => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        }
    };
    let (of_b, of_a) = soon(futures::future::join(told(&a, &b), told(&b, &a))).await;
    assert_eq!((of_b.peer, of_b.direction), (b.id(), Direction::Outbound));
    assert_eq!((of_a.peer, of_a.direction), (a.id(), Direction::Inbound));
    assert_eq!(of_b.addrs, b.info().addrs);
    assert!(of_b.agent.unwrap().starts_with("casm/"));
    b.close().await.unwrap();
    soon(async {
        while a.peer_status(&b.id()).is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    a.close().await.unwrap();
}

#[tokio::test]
async fn a_wait_for_a_query_counts_what_it_finds() {
    let node = builder().start().await.unwrap();
    let workers = Query::matching(Index::meta("role", "worker"));
    let mut waiting = Box::pin(node.wait_for_query(workers.clone(), 1));
    assert!((&mut waiting).now_or_never().is_none(), "there is a record, but no worker");
    node.update_meta(|meta| drop(meta.insert("role".into(), "worker".into()))).await.unwrap();
    assert_eq!(soon(waiting).await.unwrap().count(&workers), 1);
    let never = node.wait_for_query(workers.clone().limit(1), 2).await.unwrap_err();
    assert_eq!(never.kind(), ErrorKind::Invalid);
    assert!(never.message().contains("limit is 1"), "{never}");
    let crossed = Query::from(Index::host("a")).to(Index::meta("a", "b"));
    assert_eq!(node.wait_for_query(crossed, 1).await.unwrap_err().kind(), ErrorKind::Invalid);
    let waiting = node.wait_for_query(workers, 5);
    let (waited, closed) = soon(futures::future::join(waiting, node.close())).await;
    closed.unwrap();
    assert_eq!(waited.unwrap_err().kind(), ErrorKind::Closed);
}
