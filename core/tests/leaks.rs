//! Nodes that are dropped without a close leave no task, thread or file
//! descriptor behind. Alone in its process, so that it can count.

use casm::Node;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
struct Held {
    tasks: usize,
    threads: usize,
    files: usize,
}

fn held() -> Held {
    let entries = |path| std::fs::read_dir(path).unwrap().count();
    Held {
        tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        threads: entries("/proc/self/task"),
        files: entries("/proc/self/fd"),
    }
}

async fn start_and_drop(other: Option<&Node>) {
    let node = Node::builder()
        .listen("/ip4/127.0.0.1/tcp/0")
        .listen("/ip4/127.0.0.1/udp/0/quic-v1")
        .boot(["/ip4/127.0.0.1/udp/19822/ports/4"])
        .start()
        .await
        .unwrap();
    if let Some(other) = other {
        node.connect(&other.info()).await.unwrap();
    }
    drop(node);
}

async fn keeper() -> Node {
    Node::builder().listen("/ip4/127.0.0.1/tcp/0").boot(["none"]).start().await.unwrap()
}

async fn settles(at_most: Held) -> Held {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let now = held();
        if now <= at_most && now.threads <= at_most.threads && now.files <= at_most.files {
            return now;
        }
        assert!(Instant::now() < deadline, "{now:?} is left, at first it was {at_most:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_dropped_nodes_leave_nothing_behind() {
    start_and_drop(None).await;
    // What the process keeps for good is there after two have heard of each other:
    // the threads that check signatures among it.
    let first = [keeper().await, keeper().await];
    first[0].connect(&first[1].info()).await.unwrap();
    for node in &first {
        tokio::time::timeout(Duration::from_secs(60), node.wait_for(2)).await.unwrap().unwrap();
    }
    drop(first);
    let mut first = held();
    loop {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let now = held();
        if now == first {
            break;
        }
        first = now;
    }
    let keeper = keeper().await;
    for i in 0..99 {
        start_and_drop((i % 3 == 0).then_some(&keeper)).await;
    }
    keeper.close().await.unwrap();
    drop(keeper);
    println!("after the first: {first:?}, after a hundred: {:?}", settles(first).await);
}
