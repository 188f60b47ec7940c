//! The view of another node, asked for over RPC.

use casm::{ErrorKind, Index, Node, Query};
use std::time::Duration;

async fn start(namespace: &str, role: &str) -> Node {
    Node::builder()
        .namespace(namespace)
        .listen("/ip4/127.0.0.1/tcp/0")
        .boot(["none"])
        .meta("role", role)
        .start()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_asked_for_its_view() {
    let (a, b) = (start("one", "worker").await, start("one", "head").await);
    let error = a.view_of(b.id()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");

    a.connect(&b.info()).await.unwrap();
    let full = async { tokio::try_join!(a.wait_for(2), b.wait_for(2)) };
    tokio::time::timeout(Duration::from_secs(30), full).await.unwrap().unwrap();

    let remote = a.view_of(b.id()).await.unwrap();
    assert_eq!((remote.peer(), remote.count(&Query::all()).await.unwrap()), (b.id(), 2));
    let head = remote.lookup(&Query::matching(Index::meta("role", "head"))).await.unwrap();
    assert_eq!(head.unwrap().peer(), b.id());
    let mut workers = remote.iter(Query::matching(Index::meta("role", "work")).prefix());
    assert_eq!(workers.next().await.unwrap().unwrap().peer(), a.id());
    assert!(workers.next().await.is_none());

    // Another namespace is another cluster, with a view of its own.
    let c = start("two", "worker").await;
    c.connect(&b.info()).await.unwrap();
    let error = c.view_of(b.id()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.message().contains("`two`"), "{error}");

    b.close().await.unwrap();
    let error = remote.count(&Query::all()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    a.close().await.unwrap();
    c.close().await.unwrap();
}
