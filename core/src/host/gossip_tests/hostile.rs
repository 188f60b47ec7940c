//! Peers that do what they should not, written on bare streams.

use super::*;
use crate::host::PeerInfo;
use futures::{AsyncWriteExt as _, StreamExt as _};
use libp2p::{Stream, StreamProtocol, swarm::SwarmEvent};
use libp2p_stream::{Control, IncomingStreams};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/meshsub/1.1.0");

/// A peer that is connected to a host, and has no gossip of its own.
pub(super) struct Peer {
    pub(super) key: Keypair,
    host: PeerId,
    control: Control,
    /// What the host opens.
    pub(super) incoming: IncomingStreams,
    /// Ends with the last connection.
    pub(super) connected: tokio::task::JoinHandle<()>,
}

impl Peer {
    /// Connects; `None` if the host closes the connection at once.
    pub(super) async fn connect(key: Keypair, host: &TestHost) -> Option<Self> {
        let streams = libp2p_stream::Behaviour::new();
        let mut control = streams.new_control();
        let incoming = control.accept(PROTOCOL).unwrap();
        let mut swarm = libp2p::SwarmBuilder::with_existing_identity(key.clone())
            .with_tokio()
            .with_tcp(
                Default::default(),
                libp2p::noise::Config::new,
                libp2p::yamux::Config::default,
            )
            .unwrap()
            .with_behaviour(|_| streams)
            .unwrap()
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(Duration::from_secs(3600))
            })
            .build();
        let PeerInfo { id, addrs } = host.info();
        swarm.dial(addrs[0].clone()).unwrap();
        soon(async {
            while !swarm.is_connected(&id) {
                if let SwarmEvent::OutgoingConnectionError { .. } = swarm.select_next_some().await {
                    return None;
                }
            }
            Some(())
        })
        .await?;
        let connected = tokio::spawn(async move {
            loop {
                let event = swarm.select_next_some().await;
                if let SwarmEvent::ConnectionClosed { num_established: 0, .. } = event {
                    return;
                }
            }
        });
        Some(Self { key, host: id, control, incoming, connected })
    }

    pub(super) async fn open(&mut self) -> Option<Stream> {
        soon(self.control.open_stream(self.host, PROTOCOL)).await.ok()
    }

    /// Waits until the connection is closed.
    async fn closed(self) {
        soon(self.connected).await.unwrap();
    }
}

/// A field of a protobuf message.
pub(super) fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2], &frame(bytes)[..]].concat()
}

/// Bytes with their length before them.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let mut len = unsigned_varint::encode::usize_buffer();
    [unsigned_varint::encode::usize(bytes.len(), &mut len), bytes].concat()
}

pub(super) fn subscription() -> Vec<u8> {
    field(1, &[&[1 << 3, 1][..], &field(2, TOPIC.as_bytes())].concat())
}

pub(super) async fn write(stream: &mut Stream, rpc: &[u8]) -> std::io::Result<()> {
    stream.write_all(&frame(rpc)).await?;
    stream.flush().await
}

/// As Go's nodes do in a large cluster. (What rust-libp2p takes if it is told
/// nothing, 16 KiB, are the ids of some 340 heartbeats: offers above that ended
/// gossip between two nodes for good.)
#[tokio::test]
async fn offers_of_five_thousand_messages_break_no_gossip() {
    let host = ed25519(TCP).await;
    let mut topic = host.host.join(TOPIC).await.unwrap();
    let mut peer = Peer::connect(Keypair::generate_ed25519(), &host).await.unwrap();
    let mut stream = peer.open().await.unwrap();
    let (_, theirs) = soon(peer.incoming.next()).await.unwrap();
    tokio::spawn(async { futures::io::copy(theirs, &mut futures::io::sink()).await });
    let ids = (0_u64..5000).flat_map(|n| {
        let message_id = [&peer.host.to_bytes()[..], &n.to_be_bytes()].concat();
        field(2, &message_id)
    });
    let offer = [field(1, TOPIC.as_bytes()), ids.collect()].concat();
    let offer = field(3, &field(1, &offer));
    let sent = sign(&peer.key, b"beat");
    let rpcs = [subscription()].into_iter().chain(vec![offer; 8]);
    for rpc in rpcs.chain([field(2, sent.encoded())]) {
        write(&mut stream, &rpc).await.unwrap();
    }
    assert_eq!(message(&mut topic).await.message, sent);
    drop(peer);
    host.close().await;
}

#[tokio::test]
async fn who_sends_what_is_no_frame_is_cut_off_and_may_come_again() {
    // No protobuf; longer than a frame may be.
    for (malformed, key) in [&[1, 0xff][..], &[0xff, 0xff, 0xff, 0xff]]
        .map(|malformed| (malformed, Keypair::generate_ed25519()))
    {
        let host = ed25519(TCP).await;
        let _topic = host.host.join(TOPIC).await.unwrap();
        let mut peer = Peer::connect(key.clone(), &host).await.unwrap();
        for _ in 0..2 {
            let Some(mut stream) = peer.open().await else { break };
            let _ = stream.write_all(malformed).await;
            let _ = stream.flush().await;
            // What follows is not read: the stream ends.
            soon(async { while stream.write_all(&[0; 1024]).await.is_ok() {} }).await;
        }
        peer.closed().await;
        assert_eq!(metric(&host, "casm_gossip_refused_total{reason=\"malformed-frame\"}"), 2);
        assert!(Peer::connect(key, &host).await.is_some());
        host.close().await;
    }
}

#[tokio::test]
async fn who_opens_one_stream_after_the_other_is_cut_off() {
    let host = ed25519(TCP).await;
    let mut topic = host.host.join(TOPIC).await.unwrap();
    let mut peer = Peer::connect(Keypair::generate_ed25519(), &host).await.unwrap();
    let mut held = Vec::new();
    // The last one counts, and a few are nothing bad.
    for n in 0..5 {
        let mut stream = peer.open().await.unwrap();
        let sent = sign(&peer.key, &[n]);
        write(&mut stream, &[subscription(), field(2, sent.encoded())].concat()).await.unwrap();
        assert_eq!(message(&mut topic).await.message, sent);
        held.push(stream);
    }
    while let Some(mut stream) = peer.open().await {
        // Only what is written to is open.
        if write(&mut stream, &subscription()).await.is_err() {
            break;
        }
        held.push(stream);
    }
    peer.closed().await;
    let further = metric(&host, "casm_gossip_refused_total{reason=\"further-substream\"}");
    assert!((10..=11).contains(&further), "{further}");
    host.close().await;
}

#[tokio::test]
async fn who_forges_is_cut_off_and_not_taken_back() {
    let host = ed25519(TCP).await;
    let mut topic = host.host.join(TOPIC).await.unwrap();
    let key = Keypair::generate_ed25519();
    let mut peer = Peer::connect(key.clone(), &host).await.unwrap();
    let mut stream = peer.open().await.unwrap();
    // With a copy that is good, which counts.
    let good = sign(&Keypair::generate_ed25519(), b"good");
    let forged = (0..3_u8).map(|n| {
        let source = Keypair::generate_ed25519().public().to_peer_id();
        let (seqno, signature) = ([n; 8], [n; 64]);
        let source = source.to_bytes();
        let forged =
            SignedMessage::new(&source, b"forged", &seqno, TOPIC, &signature, None).unwrap();
        field(2, forged.encoded())
    });
    let messages = [field(2, good.encoded())].into_iter().chain(forged).collect::<Vec<_>>();
    write(&mut stream, &[subscription(), messages.concat()].concat()).await.unwrap();
    assert_eq!(message(&mut topic).await.message, good);
    peer.closed().await;
    assert_eq!(metric(&host, "casm_gossip_refused_total{reason=\"bad-signature\"}"), 3);
    assert!(
        topic
            .next()
            .now_or_never()
            .is_none_or(|event| { !matches!(event, Some(TopicEvent::Received(_))) })
    );
    // It is known by its id; who else is on this machine is not meant.
    if let Some(again) = Peer::connect(key, &host).await {
        again.closed().await;
    }
    assert_eq!(metric(&host, "casm_gossip_refused_total{reason=\"connection-of-forger\"}"), 1);
    let mut other = Peer::connect(Keypair::generate_ed25519(), &host).await.unwrap();
    let mut stream = other.open().await.unwrap();
    let sent = sign(&other.key, b"hello");
    write(&mut stream, &field(2, sent.encoded())).await.unwrap();
    assert_eq!(message(&mut topic).await.message, sent);
    host.close().await;
}

/// The peer goes on in everything else: only its stream is not read.
#[tokio::test]
async fn the_connection_of_who_does_not_read_is_closed() {
    let host = ed25519(TCP).await;
    let topic = host.host.join(TOPIC).await.unwrap();
    let mut peer = Peer::connect(Keypair::generate_ed25519(), &host).await.unwrap();
    let mut stream = peer.open().await.unwrap();
    write(&mut stream, &subscription()).await.unwrap();
    let _unread = soon(peer.incoming.next()).await.unwrap();
    let key = Keypair::generate_ed25519();
    soon(async {
        // More than there is room for on the way.
        while !peer.connected.is_finished() {
            let _ = topic.publish(sign(&key, &[7; 200 << 10])).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(metric(&host, "casm_dropped_total{queue=\"connection\"}") > 0);
    assert_eq!(host.host.connected(), []);
    host.close().await;
}
