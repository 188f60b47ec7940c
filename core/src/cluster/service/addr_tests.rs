//! Where nodes say that they are reached.

use super::tests::{Fixture, beat};
use crate::{
    Event,
    cluster::{Addrs, Heartbeat},
    record::unix_nanos,
};
use libp2p::{Multiaddr, PeerId};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

fn list(addrs: &[&str]) -> Arc<[Multiaddr]> {
    addrs.iter().map(|addr| addr.parse().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn addresses_that_change_within_a_moment_go_in_one_heartbeat() {
    let mut f = Fixture::start(false, true);
    assert!(f.published().await.addrs.is_empty());
    let start = Instant::now();
    let (first, second) = ("/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.2/tcp/1");
    f.addrs.send_replace(list(&[first, "/ip4/127.0.0.1/tcp/1"]));
    tokio::time::sleep(Duration::from_millis(30)).await;
    f.addrs.send_replace(list(&[first, second]));
    let sent: Vec<_> = f.published().await.addrs.iter().collect();
    assert_eq!(sent[..], list(&[first, second])[..]);
    assert!(start.elapsed() < Duration::from_millis(60), "{:?}", start.elapsed());
    f.cluster.insert_verified(f.own, vec![]).await.unwrap();
    assert_eq!(f.cluster.view().get(&f.own).unwrap().addrs(), sent);
    // What others are not told of is no change.
    f.addrs.send_replace(list(&[first, second, "/ip4/127.0.0.1/tcp/2"]));
    let next = f.published().await;
    assert!(start.elapsed() > Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(next.addrs.iter().collect::<Vec<_>>(), sent);
    // Who leaves is nowhere.
    let (scope, leave) = (f.scope.clone(), f.published());
    scope.cancel();
    assert!(leave.await.addrs.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_moved_is_updated() {
    let mut f = Fixture::start(true, true);
    let (peer, now) = (PeerId::random(), unix_nanos());
    for (seq, addrs) in [(0, &["/ip4/10.0.0.1/tcp/1"][..]), (1, &["/ip4/10.0.0.2/tcp/1"]), (2, &[])]
    {
        let addrs = list(addrs);
        let said = Heartbeat { addrs: Addrs::told(&addrs), ..beat(10, "there") };
        f.receive(peer, now + seq * 1000, said.encode()).await;
        f.cluster.insert_verified(f.own, vec![]).await.unwrap();
        let record = f.cluster.view().get(&peer).unwrap();
        assert_eq!(record.addrs()[..], addrs[..]);
        let told = f.events.next().await.unwrap();
        match (seq, told) {
            (0, Event::PeerJoined { record: told }) | (_, Event::PeerUpdated { record: told }) => {
                assert_eq!(told, record);
            }
            other => panic!("{other:?}"),
        }
        // The same again is no news.
        f.receive(peer, now + seq * 1000 + 1, said.encode()).await;
    }
}
