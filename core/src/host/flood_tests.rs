//! Two thousand message ids in three seconds, as many as a large cluster has.

use super::tests::{TCP, TestHost, ed25519};
use crate::{
    Keypair,
    event::Event,
    gossip::mesh::HIGH,
    pubsub::{TopicEvent, Verdict, signed::SignedMessage},
};
use futures::{FutureExt, future::join_all};
use std::{collections::HashSet, time::Duration};
use tokio::time::{interval, timeout};

const MESSAGES: usize = 2000;
/// Messages that are published at a time, and how often.
const BATCH: usize = 10;
const PACE: Duration = Duration::from_millis(15);
/// Around one host: more than are in its mesh.
const LEAVES: usize = HIGH + 4;
const PATIENCE: Duration = Duration::from_secs(60);

/// Those who are not in the mesh are offered all of them at once: that must
/// neither end a stream nor leave out any.
#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_messages_in_three_seconds_reach_all_also_outside_the_mesh() {
    let hub = ed25519(TCP).await;
    let mut topic = hub.host.join("casm").await.unwrap();
    let mut leaves = vec![];
    for _ in 0..LEAVES {
        let leaf = ed25519(TCP).await;
        let topic = leaf.host.join("casm").await.unwrap();
        leaf.host.connect(&hub.info()).await.unwrap();
        leaves.push((leaf, topic));
    }
    for (_, topic) in &mut leaves {
        assert!(matches!(topic.next().await, Some(TopicEvent::Subscribed { .. })));
    }
    for _ in 0..LEAVES {
        assert!(matches!(topic.next().await, Some(TopicEvent::Subscribed { .. })));
    }
    let mut events = hub.events.subscribe();
    let hearing = leaves.into_iter().map(|(leaf, mut topic)| {
        tokio::spawn(async move {
            let mut heard = HashSet::new();
            while heard.len() < MESSAGES {
                let Ok(event) = timeout(PATIENCE, topic.next()).await else { break };
                if let TopicEvent::Received(received) = event.unwrap() {
                    heard.insert(received.message.id().clone());
                    topic.report(received.ticket(), Verdict::Accept).await;
                }
            }
            (leaf, topic, heard.len())
        })
    });
    let hearing: Vec<_> = hearing.collect();
    let (key, first) = (Keypair::generate_ed25519(), crate::record::unix_nanos());
    let mut pace = interval(PACE);
    for n in 0..MESSAGES {
        if n % BATCH == 0 {
            pace.tick().await;
        }
        let message = SignedMessage::sign(&key, "casm", first + n as u64, b"beat").unwrap();
        topic.publish(message).await.unwrap();
    }
    let mut quiet = vec![];
    for heard in join_all(hearing).await {
        let (leaf, topic, heard) = heard.unwrap();
        assert_eq!(heard, MESSAGES);
        quiet.push((leaf, topic));
    }
    while let Some(Some(event)) = events.next().now_or_never() {
        assert!(!matches!(event, Event::Disconnected { .. }), "a stream, and so a peer, was lost");
    }
    assert_eq!(gossip(&hub, "links"), HIGH);
    // Who publishes sends to its mesh and to one more.
    let by_offers = (LEAVES - HIGH - 1) * MESSAGES;
    let asked_for = gossip(&hub, "ids_total{ids=\"asked-for\"}");
    assert!(asked_for >= by_offers, "{asked_for} of {by_offers}");
    let offered = quiet.iter().map(|(leaf, _)| gossip(leaf, "ids_total{ids=\"offered\"}"));
    let offered: usize = offered.sum();
    assert!(offered >= by_offers, "{offered} of {by_offers}");
    for (leaf, _) in quiet {
        leaf.close().await;
    }
    hub.close().await;
}

/// A metric of gossip; 0 if there is none.
fn gossip(host: &TestHost, name: &str) -> usize {
    let (text, name) = (host.metrics.encode(), format!("casm_gossip_{name} "));
    text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |n| n.parse().unwrap())
}
