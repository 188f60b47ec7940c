//! How often an idle node with low power wakes the processor, on virtual time: how
//! often the thread comes to rest on which all of its tasks run. That is at least once
//! for each timer and for each packet from another node.

use casm::{Node, NodeBuilder, Power};
use std::time::Duration;
use tokio::{runtime::Handle, time::sleep};

const MINUTE: Duration = Duration::from_secs(60);
/// What is done at first, or seldom, is over in this.
const SETTLED: Duration = Duration::from_secs(600);
const MINUTES: u32 = 60;

fn builder() -> NodeBuilder {
    Node::builder().namespace("power").listen("/ip4/127.0.0.1/tcp/0").boot(["none"])
}

/// How often a minute one of so many nodes that are connected wakes up, each taken
/// alike.
async fn wakes(power: Power, n: u32) -> f64 {
    let mut nodes: Vec<Node> = Vec::new();
    for _ in 0..n {
        let node = builder().power(power).start().await.unwrap();
        for other in &nodes {
            node.connect(other.info()).await.unwrap();
        }
        nodes.push(node);
    }
    for node in &nodes {
        node.wait_for(n as usize).await.unwrap();
    }
    sleep(SETTLED).await;
    let rests = || Handle::current().metrics().worker_park_count(0);
    let before = rests();
    sleep(MINUTES * MINUTE).await;
    let wakes = (rests() - before) as f64 / f64::from(MINUTES * n);
    for node in &nodes {
        assert_eq!(node.view().len(), n as usize, "all have been there all the time");
        assert!(n == 1 || !node.connected().is_empty());
    }
    for node in &nodes {
        node.close().await.unwrap();
    }
    println!("{power}, {n}: each wakes up {wakes:.1} times a minute");
    wakes
}

#[tokio::test(start_paused = true)]
async fn with_low_power_an_idle_node_wakes_up_twelve_times_a_minute_at_most() {
    assert!(wakes(Power::Low, 1).await <= 12.0);
}

#[tokio::test(start_paused = true)]
async fn with_three_others_thirty_times_at_most() {
    assert!(wakes(Power::Low, 4).await <= 30.0);
}

/// A paused node wakes up not once: all that there is are the steps of the test's own
/// timer.
#[tokio::test(start_paused = true)]
async fn a_paused_node_sleeps() {
    let node = builder().power(Power::Low).start().await.unwrap();
    node.pause().await.unwrap();
    sleep(SETTLED).await;
    let rests = || Handle::current().metrics().worker_park_count(0);
    let before = rests();
    sleep(MINUTES * MINUTE).await;
    let wakes = rests() - before;
    assert!(wakes <= 8, "{wakes} in an hour");
    node.close().await.unwrap();
}
