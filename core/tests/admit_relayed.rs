//! A member that passes on what a stranger says: over loopback sockets.
//!
//! The member is rust-libp2p's gossipsub, which asks nobody for a certificate but has
//! one of its own. A node without any is connected with it, and says that it lives.

mod certified;
mod raw;

use casm::{
    Multiaddr, Node, NodeBuilder, PeerId,
    admit::{
        Certificate,
        wire::{Answer, Ask, MAX_MESSAGE},
    },
};
use certified::{NS, TCP, bare, key, metric, other_ca, sign, soon, terms, until};
use futures::{AsyncWriteExt, StreamExt};
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, Transport,
    swarm::{NetworkBehaviour, SwarmEvent},
};
use libp2p_gossipsub::{self as gossipsub, IdentTopic, MessageAuthenticity};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

const TTL: Duration = Duration::from_secs(1);

fn id(n: u8) -> PeerId {
    certified::id(&key(n))
}

/// What makes a node do what these tests wait for, soon and by itself.
fn quick(builder: NodeBuilder) -> NodeBuilder {
    builder.pex(None).ttl(TTL)
}

async fn member(n: u8) -> Node {
    quick(certified::member(n, TCP)).start().await.unwrap()
}

/// Messages that a node has not taken since no certificate of their source is known.
fn missing(node: &Node) -> u64 {
    metric(node, "casm_gossip_refused_total{reason=\"missing\"}")
}

fn other_authority(node: &Node) -> u64 {
    metric(node, "casm_admit_refused_total{reason=\"other-ca\"}")
}

/// What the member that relays answers who asks it for certificates.
#[derive(Clone, Debug)]
enum Answers {
    /// It does not speak that.
    No,
    /// With this, if there is any.
    With(Option<Certificate>),
}

/// What it has seen.
#[derive(Default)]
struct Seen {
    /// Messages, and of these the ones that went to the member in its mesh.
    messages: AtomicU64,
    relayed: AtomicU64,
    /// Questions for the certificate of their source.
    asked: AtomicU64,
}

type Relay = Swarm<Both>;

#[derive(NetworkBehaviour)]
struct Both {
    gossip: gossipsub::Behaviour,
    streams: libp2p_stream::Behaviour,
}

/// A member for whoever is at this address, and nobody special to all others.
fn relay(n: u8, member_at: Multiaddr) -> Relay {
    let (key, certificate) = (key(n), sign(id(n)));
    let transport = raw::tcp(&key).and_then(move |(peer, mut muxer), endpoint| {
        let gated = endpoint.get_remote_address() == &member_at;
        let certificate = certificate.clone();
        async move {
            if gated {
                raw::show(&mut muxer, certificate).await?;
            }
            Ok::<_, std::io::Error>((peer, muxer))
        }
    });
    let id_of = |message: &gossipsub::Message| {
        let mut id = message.source.map_or_else(Vec::new, |peer| peer.to_bytes());
        id.extend(message.sequence_number.unwrap_or_default().to_be_bytes());
        gossipsub::MessageId(id)
    };
    let config = gossipsub::ConfigBuilder::default()
        .message_id_fn(id_of)
        .heartbeat_initial_delay(Duration::from_millis(100))
        .build()
        .unwrap();
    SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_other_transport(|_| transport)
        .unwrap()
        .with_behaviour(|key| {
            let gossip =
                gossipsub::Behaviour::new(MessageAuthenticity::Signed(key.clone()), config);
            Both { gossip: gossip.unwrap(), streams: libp2p_stream::Behaviour::new() }
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
        .build()
}

/// Connects the two, and relays until the test ends.
async fn run(mut swarm: Relay, to: [&Node; 2], answers: Answers, seen: Arc<Seen>) {
    let topic = IdentTopic::new(NS);
    swarm.behaviour_mut().gossip.subscribe(&topic).unwrap();
    let (member, stranger) = (to[0].id(), to[1].id());
    for node in to {
        swarm.dial(addr(node)).unwrap();
    }
    let mut control = swarm.behaviour().streams.new_control();
    if let Answers::With(certificate) = answers {
        let protocol = StreamProtocol::try_from_owned(format!("/casm/1.0.0/{NS}/admit")).unwrap();
        let (mut incoming, seen) = (control.accept(protocol).unwrap(), seen.clone());
        tokio::spawn(async move {
            while let Some((_, mut stream)) = incoming.next().await {
                let Ok(message) = raw::read_frame(&mut stream, MAX_MESSAGE).await else { continue };
                let ask = Ask::decode(&message).unwrap();
                let asked = ask.want.contains(&stranger);
                seen.asked.fetch_add(u64::from(asked), Ordering::Relaxed);
                let certificates = certificate.iter().filter(|_| asked).cloned().collect();
                let answer = Answer { certificates, digest: ask.digest, ..Answer::default() };
                let _ = stream.write_all(&answer.frame()).await;
                let _ = stream.close().await;
            }
        });
    }
    loop {
        let event = swarm.select_next_some().await;
        if let SwarmEvent::Behaviour(BothEvent::Gossip(gossipsub::Event::Message {
            message, ..
        })) = event
            && message.source == Some(stranger)
        {
            seen.messages.fetch_add(1, Ordering::Relaxed);
            let hash = topic.hash();
            let relayed = swarm.behaviour().gossip.mesh_peers(&hash).any(|peer| *peer == member);
            seen.relayed.fetch_add(u64::from(relayed), Ordering::Relaxed);
        }
    }
}

fn addr(node: &Node) -> Multiaddr {
    node.info().addrs[0].clone()
}

/// Two members, a stranger, and a member between them that answers so.
struct Around {
    near: Node,
    far: Node,
    stranger: Node,
    seen: Arc<Seen>,
    relays: tokio::task::JoinHandle<()>,
}

async fn around(answers: Answers) -> Around {
    let (near, far, stranger) =
        (member(1).await, member(2).await, quick(bare(&key(10), TCP)).start().await.unwrap());
    soon(far.connect(&near.info())).await.unwrap();
    for node in [&near, &far] {
        soon(node.wait_for(2)).await.unwrap();
    }
    let seen = Arc::<Seen>::default();
    let (swarm, kept) = (relay(3, addr(&near)), seen.clone());
    let (one, other) = (near.clone(), stranger.clone());
    let relays = tokio::spawn(async move { run(swarm, [&one, &other], answers, kept).await });
    until("the relay is connected with both", || {
        [&near, &stranger].iter().all(|node| node.connected().contains(&id(3)))
    })
    .await;
    Around { near, far, stranger, seen, relays }
}

impl Around {
    fn relayed(&self) -> u64 {
        self.seen.relayed.load(Ordering::Relaxed)
    }

    fn asked(&self) -> u64 {
        self.seen.asked.load(Ordering::Relaxed)
    }

    async fn close(self) {
        self.relays.abort();
        for node in [self.near, self.far, self.stranger] {
            node.close().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_says_is_not_taken_from_a_member_nor_handed_on() {
    let of_other = Certificate::sign(&other_ca(), terms(id(10))).unwrap();
    for answers in [Answers::No, Answers::With(None), Answers::With(Some(of_other))] {
        println!("the relay answers: {answers:?}");
        let around = around(answers.clone()).await;
        let Around { near, far, .. } = &around;
        // Long after the first ones: what was handed on would have been counted there.
        until("many were relayed, and not taken", || around.relayed() >= 20 && missing(near) >= 15)
            .await;
        let heartbeats = metric(far, "casm_heartbeats_total{verdict=\"accepted\"}");
        until("members still hear each other", || {
            metric(far, "casm_heartbeats_total{verdict=\"accepted\"}") > heartbeats + 3
        })
        .await;
        assert_eq!((missing(far), other_authority(far)), (0, 0));
        for node in [near, far] {
            let view = node.view();
            assert!(view.get(&id(10)).is_none() && view.len() == 2, "{view:?}");
        }
        // It is asked for the certificate, and not put out because it has none: it may
        // not know better.
        match answers {
            Answers::No => assert_eq!(around.asked(), 0),
            Answers::With(None) => assert!(around.asked() > 0 && other_authority(near) == 0),
            Answers::With(Some(_)) => assert!(around.asked() > 0 && other_authority(near) > 0),
        }
        assert!(near.connected().contains(&id(3)));

        // When no more come, what waits is gone after its time.
        around.stranger.clone().close().await.unwrap();
        let (last, began) = (around.relayed(), Instant::now());
        until("all are counted that were relayed", || missing(near) >= last).await;
        println!("{last} relayed, the last refused after {:?}", began.elapsed());
        let all = missing(near);
        tokio::time::sleep(2 * casm_hold()).await;
        assert!(missing(near) - all <= 1, "the goodbye at most: {} after {all}", missing(near));
        around.close().await;
    }
}

/// How long a message waits for the certificate of its source.
fn casm_hold() -> Duration {
    Duration::from_secs(2)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_its_certificate_the_same_is_taken_and_handed_on() {
    let around = around(Answers::With(Some(sign(id(10))))).await;
    for node in [&around.near, &around.far] {
        soon(node.wait_for(3)).await.unwrap();
        assert!(node.view().get(&id(10)).is_some());
    }
    assert!(around.asked() > 0);
    around.close().await;
}
