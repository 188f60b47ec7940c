//! What could not be had at the start is had as soon as it can be.

use casm::{
    Error, ErrorKind, Keypair, Namespace, Result,
    boot::{Boot, BootConfig, Discovery, FindOptions, Finding},
};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
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

/// A program's own discovery, which finds nobody and advertises as it is told:
/// 0 with an error, 1 never, 2 well.
struct Moody(Arc<AtomicU8>);

impl Discovery for Moody {
    fn find_peers(&self, _: &Namespace, _: FindOptions) -> Finding {
        futures::stream::empty().boxed()
    }

    fn advertise(&self, _: &Namespace, _: Duration) -> BoxFuture<'static, Result<()>> {
        match self.0.load(Ordering::Relaxed) {
            0 => futures::future::ready(Err(Error::new(ErrorKind::Io, "not now"))).boxed(),
            1 => futures::future::pending().boxed(),
            _ => futures::future::ready(Ok(())).boxed(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_discovery_that_cannot_advertise_is_told_until_it_can() {
    let (_, boot) = boot("none");
    let mood = Arc::new(AtomicU8::new(0));
    boot.add(Arc::new(Moody(mood.clone())));
    // Another does not hold it up, nor is taken for it.
    boot.add(Arc::new(Moody(Arc::new(AtomicU8::new(2)))));
    boot.advertise(&Namespace::default());
    for bad in [0, 1] {
        mood.store(bad, Ordering::Relaxed);
        until(|| troubles(&boot) == 1, "nobody is told").await;
        mood.store(2, Ordering::Relaxed);
        until(|| troubles(&boot) == 0, "it is not taken back").await;
    }
    boot.close().await;
}
