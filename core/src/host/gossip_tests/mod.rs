//! Gossip between hosts, and with others, over loopback sockets.

mod flood;
mod hostile;
mod rust_libp2p;

use super::tests::{QUIC, TCP, TestHost, ed25519, start};
use crate::{
    ErrorKind,
    pubsub::{Received, Topic, TopicEvent, Verdict, signed::SignedMessage},
    record::unix_nanos,
};
use futures::FutureExt as _;
use libp2p::{PeerId, identity::Keypair};
use std::time::Duration;

const TOPIC: &str = "casm";

/// What every wait is bounded by; none is expected to come near.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it happens within 60 s")
}

/// The next message on a topic, with a good signature.
async fn message(topic: &mut Topic) -> Received {
    soon(async {
        loop {
            if let TopicEvent::Received(received) = topic.next().await.unwrap() {
                received.message.verify(&Default::default()).unwrap();
                return received;
            }
        }
    })
    .await
}

/// The next peer to join a topic.
async fn joins(topic: &mut Topic) -> PeerId {
    soon(async {
        loop {
            if let TopicEvent::Subscribed { peer } = topic.next().await.unwrap() {
                return peer;
            }
        }
    })
    .await
}

/// Accepts what comes on a topic, for ever.
fn relay(mut topic: Topic) {
    tokio::spawn(async move {
        while let Some(event) = topic.next().await {
            if let TopicEvent::Received(received) = event {
                topic.report(received.ticket(), Verdict::Accept).await;
            }
        }
    });
}

fn sign(key: &Keypair, data: &[u8]) -> SignedMessage {
    SignedMessage::sign(key, TOPIC, unix_nanos(), data).unwrap()
}

/// The value of one of a host's metrics, 0 as long as it has none.
fn metric(host: &TestHost, name: &str) -> u64 {
    let text = host.metrics.encode();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or(0)
}

#[tokio::test]
async fn what_is_published_is_handed_on_to_all_who_have_joined() {
    for listen in [TCP, QUIC] {
        let keys = [(); 3].map(|()| Keypair::generate_ed25519());
        let (a, b, c) =
            (start(keys[0].clone(), listen).await, ed25519(listen).await, ed25519(listen).await);
        let (mut from, via) =
            (a.host.join(TOPIC).await.unwrap(), b.host.join(TOPIC).await.unwrap());
        let (mut to, mut other) =
            (c.host.join(TOPIC).await.unwrap(), c.host.join("other").await.unwrap());
        a.host.connect(&b.info()).await.unwrap();
        b.host.connect(&c.info()).await.unwrap();
        assert_eq!(joins(&mut from).await, b.host.id());
        assert_eq!(joins(&mut to).await, b.host.id());
        relay(via);
        let sent = sign(&keys[0], b"hello");
        from.publish(sent.clone()).await.unwrap();
        let received = message(&mut to).await;
        assert_eq!((&received.message, received.from), (&sent, b.host.id()));
        // Nobody who has it gets it again.
        assert!(from.next().now_or_never().is_none() && other.next().now_or_never().is_none());
        for host in [a, b, c] {
            host.close().await;
        }
    }
}

#[tokio::test]
async fn what_is_told_to_one_peer_comes_to_it_whoever_signed_it() {
    let (a, b, c) = (ed25519(TCP).await, ed25519(TCP).await, ed25519(TCP).await);
    let mut from = a.host.join(TOPIC).await.unwrap();
    let mut to = [b.host.join(TOPIC).await.unwrap(), c.host.join(TOPIC).await.unwrap()];
    for other in [&b, &c] {
        a.host.connect(&other.info()).await.unwrap();
        joins(&mut from).await;
    }
    let (told, published) =
        (sign(&Keypair::generate_ed25519(), b"told"), sign(&Keypair::generate_ed25519(), b"all"));
    from.tell(b.host.id(), told.clone()).await;
    from.tell(PeerId::random(), told.clone()).await;
    from.publish(published.clone()).await.unwrap();
    assert_eq!(message(&mut to[0]).await.message, told);
    assert_eq!(message(&mut to[0]).await.message, published);
    assert_eq!(message(&mut to[1]).await.message, published);
    for host in [a, b, c] {
        host.close().await;
    }
}

#[tokio::test]
async fn who_joins_later_is_told_who_has_joined_and_who_leaves_gets_no_more() {
    let (a, b) = (ed25519(TCP).await, ed25519(TCP).await);
    let first = a.host.join(TOPIC).await.unwrap();
    a.host.connect(&b.info()).await.unwrap();
    let mut then = b.host.join(TOPIC).await.unwrap();
    assert_eq!(joins(&mut then).await, a.host.id());
    drop(first);
    soon(async {
        // Until a has left, somebody is there.
        while then.publish(sign(&Keypair::generate_ed25519(), b"?")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn peers_of_every_key_type_connect_and_their_messages_are_verified() {
    let rsa =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rsa-2048.pk8")).unwrap();
    let keys = [
        Keypair::generate_ed25519(),
        Keypair::generate_secp256k1(),
        Keypair::generate_ecdsa(),
        Keypair::rsa_from_pkcs8(&mut rsa.clone()).unwrap(),
    ];
    let hub = ed25519(TCP).await;
    let mut topic = hub.host.join(TOPIC).await.unwrap();
    for key in keys {
        let peer = start(key.clone(), TCP).await;
        let mut peer_topic = peer.host.join(TOPIC).await.unwrap();
        peer.host.connect(&hub.info()).await.unwrap();
        assert_eq!(joins(&mut peer_topic).await, hub.host.id());
        let sent = sign(&key, b"beat");
        peer_topic.publish(sent.clone()).await.unwrap();
        let received = message(&mut topic).await;
        assert_eq!((received.message.source(), received.message), (peer.host.id(), sent));
        peer.close().await;
    }
    hub.close().await;
}

#[tokio::test]
async fn publishing_to_nobody_is_unreachable() {
    let a = ed25519(TCP).await;
    let topic = a.host.join(TOPIC).await.unwrap();
    let message = sign(&Keypair::generate_ed25519(), b"hello");
    let error = topic.publish(message.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    a.close().await;
    assert_eq!(topic.publish(message).await.unwrap_err().kind(), ErrorKind::Closed);
}

/// A killed peer's connections look alive for a while. The host that stays here
/// alive as the "killed" one does the same.
#[tokio::test]
async fn a_peer_that_restarts_at_once_is_greeted_again() {
    for listen in [TCP, QUIC] {
        let (key, survivor) = (Keypair::generate_ed25519(), ed25519(listen).await);
        let mut stays = survivor.host.join(TOPIC).await.unwrap();
        let killed = start(key.clone(), listen).await;
        survivor.host.connect(&killed.info()).await.unwrap();
        let again = start(key.clone(), listen).await;
        let mut topic = again.host.join(TOPIC).await.unwrap();
        // The other way round than the first connection, and at once: it looks
        // as if both had dialled each other.
        again.host.connect(&survivor.info()).await.unwrap();
        assert_eq!(joins(&mut topic).await, survivor.host.id());
        // Each is heard by the other.
        assert_eq!(joins(&mut stays).await, again.host.id());
        for (from, to) in [(0, 1), (1, 0)] {
            let sent = sign(&key, b"hello");
            let topics = [&mut topic, &mut stays];
            topics[from].publish(sent.clone()).await.unwrap();
            assert_eq!(message(topics[to]).await.message, sent);
        }
        for host in [killed, again, survivor] {
            host.close().await;
        }
    }
}
