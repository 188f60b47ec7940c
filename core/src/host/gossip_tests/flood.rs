//! A flood of one peer, and what the service of a topic hears of others meanwhile.

use super::{
    hostile::{Peer, field, subscription, write},
    *,
};
use crate::pubsub::keys::Keys;
use futures::StreamExt as _;
use std::collections::HashSet;
use tokio::time::{MissedTickBehavior, interval};

/// A hundredth of a second, where there are processors enough: six thousand
/// messages in a second, and a service that takes a third of them.
const ROUND: Duration = Duration::from_millis(10);
const ROUNDS: usize = 200;
const FLOOD: usize = 60;
const TAKEN: usize = 20;
/// Whom it speaks for, besides itself.
const SOURCES: usize = 64;
/// Rounds in which it says nothing new.
const AFTER: usize = 20;

/// Takes in so much at most, and says it is good. What was honest is noted.
async fn take(topic: &mut Topic, most: usize, honest: PeerId, heard: &mut HashSet<u64>) -> usize {
    for taken in 0..most {
        match topic.next().now_or_never() {
            Some(Some(TopicEvent::Received(received))) => {
                if received.message.source() == honest {
                    assert!(heard.insert(received.message.seq()), "heard twice");
                }
                topic.report(received.ticket(), Verdict::Accept).await;
            }
            Some(Some(TopicEvent::Subscribed { .. })) => {}
            Some(None) => panic!("the host has closed"),
            None => return taken,
        }
    }
    most
}

/// All that it will say, signed as it should be: half of it its own.
fn signed(own: &Keypair) -> Vec<Vec<u8>> {
    let others: Vec<_> = (0..SOURCES).map(|_| Keypair::generate_ed25519()).collect();
    let first = unix_nanos();
    let round = |round: usize| {
        let message = |n: usize| {
            let key = if n.is_multiple_of(2) { own } else { &others[n / 2 % SOURCES] };
            let message = SignedMessage::sign(key, TOPIC, first + n as u64, b"flood").unwrap();
            assert!(n > 0 || message.verify(&Keys::default()).is_ok());
            field(2, message.encoded())
        };
        (round * FLOOD..(round + 1) * FLOOD).flat_map(message).collect()
    };
    (0..ROUNDS).map(round).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_six_thousand_a_second_costs_the_honest_nothing() {
    let (victim, key) = (ed25519(TCP).await, Keypair::generate_ed25519());
    let honest = start(key.clone(), TCP).await;
    let mut topic = victim.host.join(TOPIC).await.unwrap();
    let mut from = honest.host.join(TOPIC).await.unwrap();
    honest.host.connect(&victim.info()).await.unwrap();
    joins(&mut from).await;

    let mut peer = Peer::connect(Keypair::generate_ed25519(), &victim).await.unwrap();
    let mut stream = peer.open().await.unwrap();
    write(&mut stream, &subscription()).await.unwrap();
    let (_, theirs) = soon(peer.incoming.next()).await.unwrap();
    tokio::spawn(async { futures::io::copy(theirs, &mut futures::io::sink()).await });
    let own = peer.key.clone();
    let flood = tokio::task::spawn_blocking(move || signed(&own)).await.unwrap();

    let (mut said, mut heard) = (HashSet::new(), HashSet::new());
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let source = honest.host.id();
    let silence = vec![Vec::new(); AFTER];
    for frame in flood.iter().chain(&silence) {
        rounds.tick().await;
        let message = sign(&key, b"honest");
        said.insert(message.seq());
        from.publish(message).await.unwrap();
        if !frame.is_empty() {
            write(&mut stream, frame).await.unwrap();
        }
        take(&mut topic, TAKEN, source, &mut heard).await;
    }
    soon(async {
        while heard != said {
            if take(&mut topic, TAKEN, source, &mut heard).await == 0 {
                rounds.tick().await;
            }
        }
    })
    .await;
    let refused =
        |reason| metric(&victim, &format!("casm_gossip_refused_total{{reason=\"{reason}\"}}"));
    assert_eq!(metric(&victim, "casm_dropped_total{queue=\"topic\"}"), 0);
    assert!(refused("too-many-waiting") > 0, "it was no flood");
    assert!(!peer.connected.is_finished());
    victim.close().await;
    honest.close().await;
}

/// A service that takes nothing for a while is told of all who joined, and of what
/// they said, as far as there is room for it.
#[tokio::test]
async fn who_joins_while_the_service_is_busy_is_told_of() {
    const PEERS: usize = 4;
    let victim = ed25519(TCP).await;
    let mut topic = victim.host.join(TOPIC).await.unwrap();
    let key = Keypair::generate_ed25519();
    let mut hosts = Vec::new();
    for n in 0..PEERS {
        let peer = ed25519(TCP).await;
        let mut joined = peer.host.join(TOPIC).await.unwrap();
        peer.host.connect(&victim.info()).await.unwrap();
        joins(&mut joined).await;
        // More than a service is given before it says what it thinks of it.
        for _ in 0..if n == 0 { 2 * crate::gossip::WINDOW } else { 0 } {
            joined.publish(sign(&key, b"much")).await.unwrap();
        }
        hosts.push((peer, joined));
    }
    let (mut told, mut heard) = (HashSet::new(), 0);
    soon(async {
        while told.len() < PEERS || heard < 2 * crate::gossip::WINDOW {
            match topic.next().await.unwrap() {
                TopicEvent::Subscribed { peer } => _ = told.insert(peer),
                TopicEvent::Received(received) => {
                    heard += 1;
                    topic.report(received.ticket(), Verdict::Ignore).await;
                }
            }
        }
    })
    .await;
    assert_eq!(metric(&victim, "casm_dropped_total{queue=\"topic\"}"), 0);
    for (host, _) in hosts {
        host.close().await;
    }
    victim.close().await;
}
