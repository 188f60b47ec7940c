//! What could not be had at the start is had as soon as it can be.

use casm::{
    Keypair, Namespace,
    boot::{Boot, BootConfig, FindOptions},
};
use futures::StreamExt;
use std::{
    net::UdpSocket,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(60);

fn boot(addr: &str) -> (casm::PeerId, Boot) {
    let (key, mut config) = (Keypair::generate_ed25519(), BootConfig::default());
    config.boot = vec![addr.parse().unwrap()];
    let id = key.public().to_peer_id();
    let addrs = Arc::from(["/ip4/127.0.0.1/tcp/1".parse().unwrap()]);
    (id, Boot::standalone(config, key, watch::channel(addrs).1).unwrap())
}

#[tokio::test]
async fn a_port_that_was_taken_is_served_once_it_is_free() {
    for suffix in ["", "/ports/1"] {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = taken.local_addr().unwrap();
        let (id, late) = boot(&format!("/ip4/127.0.0.1/udp/{}{suffix}", at.port()));
        late.advertise(&Namespace::default());
        drop(taken);
        let end = Instant::now() + PATIENCE;
        while UdpSocket::bind(at).is_ok() {
            assert!(Instant::now() < end, "nobody serves {at}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (_, seeker) = boot(&format!("/ip4/127.0.0.1/udp/{}", at.port()));
        let options = FindOptions::default().limit(1).timeout(PATIENCE);
        let mut found = seeker.find_peers(&Namespace::default(), options);
        assert_eq!(found.next().await.unwrap().unwrap().peer.id, id);
        seeker.close().await;
        late.close().await;
    }
}
