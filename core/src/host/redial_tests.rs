//! A peer that says that it restarted.

use super::*;
use futures::{AsyncWriteExt as _, StreamExt as _};
use libp2p::{StreamProtocol, swarm::dummy};
use std::time::Duration;

const TCP: &str = "/ip4/127.0.0.1/tcp/0";

async fn start(key: Keypair) -> (Host, EventBus, Scope) {
    let (scope, events, listen) = (Scope::default(), EventBus::default(), [TCP.parse().unwrap()]);
    let (limits, metrics) = (Limits::default(), Metrics::default());
    let host = Host::start(key, &listen, &limits, &metrics, events.clone(), &scope, 0);
    (host.await.unwrap(), events, scope)
}

/// A field of a protobuf message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut len = unsigned_varint::encode::usize_buffer();
    [&[number << 3 | 2], unsigned_varint::encode::usize(bytes.len(), &mut len), bytes].concat()
}

/// Else each identity that connects gets one of the places that are kept for
/// this node's own dials, which nobody gives up.
#[tokio::test]
async fn a_peer_that_came_by_itself_is_not_dialled_for_saying_that_it_restarted() {
    let (victim, _, scope) = start(Keypair::generate_ed25519()).await;
    let key = Keypair::generate_ed25519();
    let (peer, _, peer_scope) = start(key.clone()).await;
    let at = victim.record().borrow().info().clone();
    peer.connect(&at).await.unwrap();
    while victim.status(&peer.id()).is_none_or(|status| status.agent.is_none()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // A second connection, on which nothing is said.
    let mut silent = libp2p::SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(Default::default(), libp2p::noise::Config::new, libp2p::yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| dummy::Behaviour)
        .unwrap()
        .with_swarm_config(|c| c.with_idle_connection_timeout(Duration::from_secs(3600)))
        .build();
    silent.dial(at.addrs[0].clone()).unwrap();
    let silent = tokio::spawn(async move { while silent.next().await.is_some() {} });
    while victim.status(&peer.id()).is_none_or(|status| status.addrs.len() < 2) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // And on the first one, that this is another instance, and where it is.
    let place = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    place.set_nonblocking(true).unwrap();
    let addr: Multiaddr =
        format!("/ip4/127.0.0.1/tcp/{}", place.local_addr().unwrap().port()).parse().unwrap();
    let agent = b"casm/0.1.0 (instance 2)".as_slice();
    let told = [field(2, &addr.to_vec()), field(6, agent)].concat();
    let mut len = unsigned_varint::encode::usize_buffer();
    let told = [unsigned_varint::encode::usize(told.len(), &mut len), &told].concat();
    let push = StreamProtocol::new("/ipfs/id/push/1.0.0");
    let mut stream = peer.open_stream(victim.id(), push).await.unwrap();
    stream.write_all(&told).await.unwrap();
    stream.close().await.unwrap();
    let is_told =
        |status: PeerStatus| status.agent.is_some_and(|agent| agent.contains("instance 2"));
    while !victim.status(&peer.id()).is_some_and(is_told) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    // What would be dialled is dialled by the time of another dial.
    let (other, _, other_scope) = start(Keypair::generate_ed25519()).await;
    let info = other.record().borrow().info().clone();
    victim.connect(&info).await.unwrap();
    let dialled = place.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(dialled, Err(std::io::ErrorKind::WouldBlock));
    silent.abort();
    for scope in [scope, peer_scope, other_scope] {
        assert!(scope.close(Duration::from_secs(5)).await);
    }
}
