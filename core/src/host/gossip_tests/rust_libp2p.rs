//! Gossip with libp2p's own gossipsub.

use super::*;
use crate::gossip::mesh::HIGH;
use futures::StreamExt as _;
use libp2p::{
    Multiaddr, Swarm,
    swarm::{SwarmEvent, dial_opts::DialOpts},
};
use libp2p_gossipsub::{
    Behaviour, Config, ConfigBuilder, Event, IdentTopic, MessageAuthenticity, MessageId, TopicHash,
};
use std::collections::HashSet;
use tokio::sync::mpsc;

/// What such a peer is told to do.
enum Do {
    Publish(Vec<u8>),
    Dial(Multiaddr),
    /// Close the nth oldest of its connections.
    Close(usize),
    /// Tell how many are in its mesh.
    Count,
}

/// What it tells.
#[derive(Debug, PartialEq, Eq)]
enum Tells {
    Listens(Multiaddr),
    Subscribed(PeerId),
    Received(Vec<u8>),
    Disconnected,
    InMesh(usize),
}

/// A peer with libp2p's gossipsub, that has joined the topic.
struct Peer {
    id: PeerId,
    tell: mpsc::UnboundedSender<Do>,
    told: mpsc::UnboundedReceiver<Tells>,
    received: HashSet<Vec<u8>>,
}

/// As Go's nodes have it.
fn config() -> ConfigBuilder {
    let mut config = ConfigBuilder::default();
    config.message_id_fn(|message| {
        let mut id = message.source.map_or_else(Vec::new, |peer| peer.to_bytes());
        id.extend(message.sequence_number.unwrap_or_default().to_be_bytes());
        MessageId(id)
    });
    config.max_transmit_size(1 << 20);
    // It looks at ten frames with offers from one heartbeat to the next, and without
    // this has its first after six seconds.
    config.heartbeat_initial_delay(Duration::from_millis(100));
    config
}

impl Peer {
    fn start(config: Config) -> Self {
        let mut swarm = libp2p::SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(
                Default::default(),
                libp2p::noise::Config::new,
                libp2p::yamux::Config::default,
            )
            .unwrap()
            .with_behaviour(|key| {
                Behaviour::new(MessageAuthenticity::Signed(key.clone()), config).unwrap()
            })
            .unwrap()
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(Duration::from_secs(3600))
            })
            .build();
        swarm.listen_on(TCP.parse().unwrap()).unwrap();
        swarm.behaviour_mut().subscribe(&IdentTopic::new(TOPIC)).unwrap();
        let id = *swarm.local_peer_id();
        let (tell, doing) = mpsc::unbounded_channel();
        let (telling, told) = mpsc::unbounded_channel();
        tokio::spawn(run(swarm, doing, telling));
        Self { id, tell, told, received: HashSet::new() }
    }

    fn tell(&self, what: Do) {
        assert!(self.tell.send(what).is_ok());
    }

    async fn told(&mut self) -> Tells {
        soon(self.told.recv()).await.unwrap()
    }

    /// Passes over what it tells before.
    async fn tells(&mut self, what: Tells) {
        while self.told().await != what {}
    }

    async fn addr(&mut self) -> Multiaddr {
        match self.told().await {
            Tells::Listens(addr) => addr,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until it has received so many, all in all.
    async fn receives(&mut self, n: usize) {
        while self.received.len() < n {
            let tells = self.told().await;
            self.count(tells);
        }
    }

    /// How many it has received by now.
    fn has_received(&mut self) -> usize {
        while let Ok(tells) = self.told.try_recv() {
            self.count(tells);
        }
        self.received.len()
    }

    fn count(&mut self, tells: Tells) {
        match tells {
            Tells::Received(data) => _ = self.received.insert(data),
            other => assert_ne!(other, Tells::Disconnected),
        }
    }
}

async fn run(
    mut swarm: Swarm<Behaviour>,
    mut doing: mpsc::UnboundedReceiver<Do>,
    telling: mpsc::UnboundedSender<Tells>,
) {
    let mut open = Vec::new();
    loop {
        tokio::select! {
            what = doing.recv() => match what {
                None => return,
                Some(Do::Publish(data)) => {
                    swarm.behaviour_mut().publish(TopicHash::from_raw(TOPIC), data).unwrap();
                }
                Some(Do::Dial(addr)) => {
                    let dial = DialOpts::unknown_peer_id().address(addr).allocate_new_port().build();
                    swarm.dial(dial).unwrap();
                }
                Some(Do::Close(nth)) => {
                    swarm.close_connection(open.remove(nth));
                }
                Some(Do::Count) => {
                    let links = swarm.behaviour().mesh_peers(&TopicHash::from_raw(TOPIC)).count();
                    let _ = telling.send(Tells::InMesh(links));
                }
            },
            event = swarm.select_next_some() => {
                let tells = match event {
                    SwarmEvent::NewListenAddr { address, .. } => Tells::Listens(address),
                    SwarmEvent::ConnectionEstablished { connection_id, .. } => {
                        open.push(connection_id);
                        continue;
                    }
                    SwarmEvent::ConnectionClosed { .. } => Tells::Disconnected,
                    SwarmEvent::Behaviour(Event::Subscribed { peer_id, .. }) => {
                        Tells::Subscribed(peer_id)
                    }
                    SwarmEvent::Behaviour(Event::Message { message, .. }) => {
                        Tells::Received(message.data)
                    }
                    _ => continue,
                };
                let _ = telling.send(tells);
            }
        }
    }
}

#[tokio::test]
async fn messages_go_both_ways_whoever_dials() {
    for we_dial in [true, false] {
        let key = Keypair::generate_ed25519();
        let (host, mut peer) =
            (start(key.clone(), TCP).await, Peer::start(config().build().unwrap()));
        let mut topic = host.host.join(TOPIC).await.unwrap();
        let addr = peer.addr().await;
        match we_dial {
            true => assert_eq!(host.host.connect_addr(addr).await.unwrap(), peer.id),
            false => peer.tell(Do::Dial(host.info().addrs[0].clone())),
        }
        assert_eq!(joins(&mut topic).await, peer.id);
        peer.tells(Tells::Subscribed(host.host.id())).await;
        for n in 0..20_u8 {
            topic.publish(sign(&key, &[n, 0])).await.unwrap();
            peer.tells(Tells::Received(vec![n, 0])).await;
            peer.tell(Do::Publish(vec![n, 1]));
            let received = message(&mut topic).await;
            assert_eq!(
                (received.message.source(), received.message.data()),
                (peer.id, &[n, 1][..])
            );
            topic.report(received.ticket(), Verdict::Accept).await;
        }
        let large = vec![7; 1_000_000];
        topic.publish(sign(&key, &large)).await.unwrap();
        peer.tells(Tells::Received(large.clone())).await;
        let large = vec![8; 1_000_000];
        peer.tell(Do::Publish(large.clone()));
        assert_eq!(message(&mut topic).await.message.data(), large);
        host.close().await;
    }
}

/// It greets on its first connection only, and sends on any.
#[tokio::test]
async fn of_several_connections_the_newest_is_used_and_its_end_is_no_end() {
    let key = Keypair::generate_ed25519();
    let (host, mut peer) = (start(key.clone(), TCP).await, Peer::start(config().build().unwrap()));
    let mut topic = host.host.join(TOPIC).await.unwrap();
    let addr = host.info().addrs[0].clone();
    let exchange = async |topic: &mut Topic, peer: &mut Peer, n: u8, connections: usize| {
        soon(async {
            let open = || host.host.status(&peer.id).map_or(0, |status| status.addrs.len());
            while open() != connections {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            topic.publish(sign(&key, &[n, 0])).await.unwrap();
            peer.tells(Tells::Received(vec![n, 0])).await;
            peer.tell(Do::Publish(vec![n, 1]));
            // It sends on a connection that it hasn't sent on when something
            // comes there, and not before.
            loop {
                topic.publish(sign(&key, b"go on")).await.unwrap();
                let next = tokio::time::timeout(Duration::from_millis(50), topic.next()).await;
                if let Ok(Some(TopicEvent::Received(received))) = next
                    && received.message.data() == [n, 1]
                {
                    break;
                }
            }
        })
        .await;
    };
    peer.tell(Do::Dial(addr.clone()));
    peer.tells(Tells::Subscribed(host.host.id())).await;
    assert_eq!(joins(&mut topic).await, peer.id);
    exchange(&mut topic, &mut peer, 0, 1).await;
    for n in 1..4 {
        peer.tell(Do::Dial(addr.clone()));
        exchange(&mut topic, &mut peer, n, usize::from(n) + 1).await;
    }
    // The one that is used, which is the newest; the oldest; what is left.
    for (n, nth) in [(4, 3), (5, 0), (6, 1)] {
        peer.tell(Do::Close(nth));
        exchange(&mut topic, &mut peer, n, 7 - usize::from(n)).await;
    }
    host.close().await;
}

const MESSAGES: usize = 2000;

/// How many messages, in how many parts of how long.
fn paces() -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..MESSAGES).step_by(MESSAGES / 30).map(|n| n..MESSAGES.min(n + MESSAGES / 30))
}

fn data(n: usize) -> Vec<u8> {
    n.to_be_bytes().to_vec()
}

fn no_offence(host: &TestHost) {
    let text = host.metrics.encode();
    for reason in ["further-substream", "malformed-frame", "bad-signature", "too-many"] {
        assert!(!text.contains(reason), "{text}");
    }
}

/// Waits until as many as are in a mesh have all but the last 3 parts up to this one,
/// and all, who may have to wait for two heartbeats, all but the last 20.
async fn all_but(peers: &mut [Peer], part: std::ops::Range<usize>) {
    let parts = |n: usize| part.end.saturating_sub(n * part.len());
    loop {
        let mut have: Vec<_> = peers.iter_mut().map(Peer::has_received).collect();
        have.sort_unstable_by(|a, b| b.cmp(a));
        if have[HIGH - 1] >= parts(3) && have.iter().all(|n| *n >= parts(20)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Ours in the middle has more peers than its mesh holds: the others have all by
/// offers, of all ids of three seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_messages_in_three_seconds_reach_all_of_libp2ps() {
    let key = Keypair::generate_ed25519();
    let host = start(key.clone(), TCP).await;
    let mut topic = host.host.join(TOPIC).await.unwrap();
    let mut peers: Vec<_> = (0..HIGH + 4).map(|_| Peer::start(config().build().unwrap())).collect();
    for peer in &mut peers {
        peer.tell(Do::Dial(host.info().addrs[0].clone()));
        peer.tells(Tells::Subscribed(host.host.id())).await;
        joins(&mut topic).await;
    }
    for part in paces() {
        for n in part.clone() {
            topic.publish(sign(&key, &data(n))).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        // On a busy machine more slowly: who is behind for longer than messages are
        // offered and kept does not get them, and is given up.
        soon(all_but(&mut peers, part)).await;
    }
    for peer in &mut peers {
        peer.receives(MESSAGES).await;
        peer.has_received();
    }
    // They know nobody else.
    let mut links = 0;
    for peer in &mut peers {
        peer.tell(Do::Count);
        links += loop {
            if let Tells::InMesh(links) = peer.told().await {
                break links;
            }
        };
    }
    assert_eq!(links, HIGH);
    // Who publishes sends to its mesh and to one more.
    let asked_for = metric(&host, "casm_gossip_ids_total{ids=\"asked-for\"}");
    assert!(asked_for >= 3 * MESSAGES as u64, "{asked_for}");
    no_offence(&host);
    host.close().await;
}

/// One of libp2p's in the middle, with a mesh of two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_messages_in_three_seconds_come_from_libp2ps() {
    let mut config = config();
    config.mesh_n(2).mesh_n_low(1).mesh_n_high(2).mesh_outbound_min(0);
    // On a busy machine nothing is too late, and all ids are offered each time.
    config.history_length(60).history_gossip(60);
    let long = Duration::from_secs(60);
    config.publish_queue_duration(long).forward_queue_duration(long);
    let mut peer = Peer::start(config.build().unwrap());
    let addr = peer.addr().await;
    let mut hosts = Vec::new();
    for _ in 0..5 {
        let host = ed25519(TCP).await;
        let mut topic = host.host.join(TOPIC).await.unwrap();
        host.host.connect_addr(addr.clone()).await.unwrap();
        joins(&mut topic).await;
        hosts.push((host, topic));
    }
    let publishing = async {
        for part in paces() {
            part.for_each(|n| peer.tell(Do::Publish(data(n))));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let receiving = hosts.iter_mut().map(async |(_, topic)| {
        let mut received = HashSet::new();
        while received.len() < MESSAGES {
            let next = message(topic).await;
            received.insert(next.message.data().to_vec());
            topic.report(next.ticket(), Verdict::Accept).await;
        }
    });
    futures::join!(publishing, futures::future::join_all(receiving));
    for (host, _) in hosts {
        no_offence(&host);
        assert_eq!(host.host.connected(), [peer.id]);
        host.close().await;
    }
}
