//! Peers to which a connection takes long.

use super::*;
use crate::{
    rpc::{Limits, TestVat},
    service::stats::ServiceMetrics,
};
use futures::StreamExt;
use libp2p::{SwarmBuilder, identify, noise, tcp, yamux};

const TCP: &str = "/ip4/127.0.0.1/tcp/0";

async fn until(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it happens within 60 s");
}

/// Those who called drove it: when all were out of time it stood still, and the next
/// one, an hour later, was told of its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_made_or_fails_also_if_nobody_waits_for_it() {
    let vat = TestVat::start(TCP, Limits::default()).await;
    let registry = Registry::new(vat.host.id(), ServiceMetrics::default(), &vat.scope);
    let links = Links::new(vat.vat.clone(), registry);
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| {
            identify::Behaviour::new(identify::Config::new("/test".into(), key.public()))
        })
        .unwrap()
        .build();
    let peer = *swarm.local_peer_id();
    swarm.dial(vat.info().addrs.remove(0)).unwrap();
    tokio::select! {
        () = async { loop { swarm.select_next_some().await; } } => {}
        () = until(|| vat.host.is_connected(&peer)) => {}
    }
    // Nobody waits for it.
    drop(links.link(peer).now_or_never());
    let ended = || links.lock().get(&peer).unwrap().peek().map(|made| made.is_err());
    until(|| ended() == Some(true)).await;
    drop(swarm);
    vat.close().await;
}

#[test]
fn what_is_given_up_is_not_sent_and_what_is_sent_is_not_given_up() {
    let begun = Begun::default();
    assert!(begun.give_up() && !begun.begin() && !begun.is_begun());
    let begun = Begun::default();
    assert!(begun.begin() && !begun.give_up() && begun.is_begun());
}

#[test]
fn parts_that_wait_are_bounded() {
    let waiting = Rc::default();
    let parts: Vec<_> = (0..10).map_while(|_| Waiting::add(&waiting, 64 << 10)).collect();
    assert_eq!(parts.len(), 4);
    drop(parts);
    assert_eq!(waiting.get(), 0);
}
