//! The numbers of a node's heartbeats, over loopback sockets and with data: a
//! clock that was set back between two runs hides nobody.

use casm::{Event, Keypair, Node, NodeBuilder, PeerId};
use futures::FutureExt;
use redb::{Database, ReadableDatabase, TableDefinition};
use std::{
    future::Future,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");
const MINUTE: u64 = 60_000_000_000;

/// What every wait in these tests is bounded by; none is expected to come near.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it happens within 60 s")
}

fn builder(boot: &str) -> NodeBuilder {
    let builder = Node::builder().namespace("test").listen("/ip4/127.0.0.1/tcp/0");
    builder.boot([boot]).ttl(Duration::from_secs(4))
}

fn nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos().try_into().unwrap()
}

/// What a node has kept for its next run.
fn kept(dir: &Path) -> u64 {
    let database = Database::create(dir.join("casm.redb")).unwrap();
    let read = database.begin_read().unwrap();
    let value = read.open_table(VALUES).unwrap().get("beat").unwrap().unwrap();
    u64::from_le_bytes(value.value().try_into().unwrap())
}

/// As a run has left it whose clock was so much ahead of that of the next one.
fn keep(dir: &Path, number: u64) {
    let database = Database::create(dir.join("casm.redb")).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(VALUES).unwrap().insert("beat", &number.to_le_bytes()[..]).unwrap();
    write.commit().unwrap();
}

/// The number of a peer's record, once it is in the view in this life.
async fn number(node: &Node, peer: PeerId, life: &str) -> u64 {
    soon(async {
        loop {
            let view = node.view();
            let record = view.get(&peer);
            match record.filter(|record| record.meta().get("life") == Some(life)) {
                Some(record) => break record.seq(),
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_set_back_between_two_runs_hides_nobody() {
    let watcher = builder("none").start().await.unwrap();
    let (boot, id) = (watcher.addrs()[0].to_string(), watcher.id());
    let (dir, key) = (tempfile::tempdir().unwrap(), Keypair::generate_ed25519());
    let start = async |life: &str, data: bool| {
        let node = builder(&boot).key(key.clone()).meta("life", life);
        let node = if data { node.data(dir.path()) } else { node };
        node.start().await.unwrap()
    };
    // The first run's clock is right: what it keeps is near the time.
    let node = start("1", true).await;
    number(&watcher, node.id(), "1").await;
    node.close().await.unwrap();
    drop(node);
    let first = kept(dir.path());
    assert!(first > nanos() && first < nanos() + 3 * MINUTE);

    // From now on it is five minutes behind: with data nothing is lost.
    let far = nanos() + 5 * MINUTE;
    keep(dir.path(), far);
    let mut last = far;
    for life in ["2", "3"] {
        let node = start(life, true).await;
        let seq = number(&watcher, node.id(), life).await;
        assert!(seq > last && seq < far + MINUTE / 60, "{seq} after {last}");
        last = seq;
        node.close().await.unwrap();
    }
    // Without, it hears of itself by what the watcher has of its goodbye.
    let mut node = start("4", false).await;
    assert!(number(&watcher, node.id(), "4").await > last);
    // And the clock is stepped: nobody is hidden, and nobody is called a twin.
    let mut events = node.events();
    node.close().await.unwrap();
    while let Some(Some(event)) = events.next().now_or_never() {
        assert!(!matches!(event, Event::KeyShared { .. }), "{event:?}");
    }
    keep(dir.path(), far);
    node = start("5", true).await;
    assert!(number(&watcher, node.id(), "5").await > last);
    assert!(node.connected().contains(&id));
    for node in [node, watcher] {
        node.close().await.unwrap();
    }
}
