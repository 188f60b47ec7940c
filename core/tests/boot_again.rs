//! What could not be had at the start is had as soon as it can be.

use casm::{
    Keypair, Namespace,
    boot::{Boot, BootConfig, FindOptions},
};
use futures::StreamExt;
use std::{
    net::{SocketAddr, UdpSocket},
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

fn troubles(boot: &Boot) -> u64 {
    let text = boot.metrics().encode();
    let line = text.lines().find_map(|line| line.strip_prefix("casm_troubles "));
    line.unwrap().parse().unwrap()
}

async fn until(done: impl Fn() -> bool, or: &str) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{or}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_port_that_was_taken_is_served_once_it_is_free() {
    // Of the last, one family of two is taken.
    let forms = [
        "/ip4/127.0.0.1/udp/P",
        "/ip4/127.0.0.1/udp/P/ports/1",
        "/ip4/127.0.0.1/udp/P/cidr/32",
        "/dns4/localhost/udp/P",
        "/dns/localhost/udp/P",
    ];
    futures::future::join_all(forms.map(freed)).await;
}

async fn freed(form: &str) {
    let taken = UdpSocket::bind("0.0.0.0:0").unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], taken.local_addr().unwrap().port()));
    let (id, late) = boot(&form.replace('P', &at.port().to_string()));
    late.advertise(&Namespace::default());
    // At one named address it may be another's.
    if form.contains("cidr") || form.contains("dns") {
        until(|| troubles(&late) > 0, &format!("{form} is taken, and nobody is told")).await;
    }
    drop(taken);
    until(|| UdpSocket::bind(at).is_err(), &format!("nobody serves {form}")).await;
    until(|| troubles(&late) == 0, &format!("{form} is not taken back")).await;
    let (_, seeker) = boot(&format!("/ip4/127.0.0.1/udp/{}", at.port()));
    let options = FindOptions::default().limit(1).timeout(PATIENCE);
    let mut found = seeker.find_peers(&Namespace::default(), options);
    assert_eq!(found.next().await.unwrap().unwrap().peer.id, id);
    seeker.close().await;
    late.close().await;
}
