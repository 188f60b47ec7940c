//! Relays that say one thing and do another, on the loopback interface: a node that is
//! connected to another relay as well goes on over that.

mod by_hand;
mod certified;

use by_hand::{
    nodes::{node, says_hi},
    relay::{Conduct, Does, Relay, stop},
};
use casm::{Event, Multiaddr, Node, PeerId, PeerInfo};
use certified::{metric, soon, until};
use futures::{AsyncWriteExt, future::join_all};
use std::time::Duration;

const CUT: &str = "casm_relayed_cut_total";

/// A node that both relays take something for, another, and where that finds it.
async fn held_by(relays: [&Relay; 2]) -> (Node, Node, PeerInfo) {
    let (a, b) = (node().await, node().await);
    for relay in relays {
        soon(a.connect(relay.at.clone())).await.unwrap();
    }
    until("both take what is for it", || {
        metric(&a, "casm_relay_reservations_total{result=\"accepted\"}") == 2
    })
    .await;
    let addrs = relays.map(|relay| over(&relay.at)).into();
    let info = PeerInfo { id: a.id(), addrs };
    (a, b, info)
}

fn over(relay: &Multiaddr) -> Multiaddr {
    format!("{relay}/p2p-circuit").parse().unwrap()
}

/// Whether a node is connected to a peer over this relay, and no other way.
fn is_over(node: &Node, peer: PeerId, relay: &Relay) -> bool {
    let addrs = node.peer_status(&peer).unwrap().addrs;
    addrs.iter().all(|addr| addr.to_string().starts_with(&over(&relay.at).to_string()))
}

/// One that is slower, and does what it says.
async fn honest() -> Relay {
    let takes = Duration::from_millis(500);
    Relay::start(Conduct { takes, ..Conduct::of(Does::Relays) }).await
}

/// Heartbeats that a node has taken.
fn beats(node: &Node) -> u64 {
    metric(node, "casm_heartbeats_total{verdict=\"accepted\"}")
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_relay_that_cuts_what_it_said_it_gives_a_peer_is_dialled_three_times() {
    let without_limit = |does| Conduct { says: None, ..Conduct::of(does) };
    let conducts = [
        Conduct::of(Does::EndsAfter(64 << 10)),
        without_limit(Does::EndsAfter(64 << 10)),
        Conduct::of(Does::Ends(Duration::from_secs(2))),
    ];
    join_all(conducts.map(|conduct| async move {
        let (liar, honest) = (Relay::start(conduct).await, honest().await);
        let (a, b, info) = held_by([&liar, &honest]).await;
        let mut streams = a.accept_streams("/sink/1").unwrap();
        tokio::spawn(async move {
            while let Some(mut stream) = streams.next().await {
                tokio::spawn(async move {
                    futures::io::copy(&mut stream, &mut futures::io::sink()).await
                });
            }
        });
        for n in 1..=3 {
            soon(b.connect(&info)).await.unwrap();
            assert!(is_over(&b, a.id(), &liar), "{conduct:?}: it is quicker");
            if matches!(conduct.does, Does::EndsAfter(_)) {
                let mut stream = soon(b.open_stream(a.id(), "/sink/1")).await.unwrap();
                let error = soon(stream.write_all(&[0; 1 << 20])).await.unwrap_err();
                println!("{conduct:?}: {error}");
            }
            until("both notice", || {
                b.peer_status(&a.id()).is_none() && a.peer_status(&b.id()).is_none()
            })
            .await;
            assert_eq!(metric(&b, CUT), n, "{conduct:?}");
        }
        let asked = liar.asked();
        soon(b.connect(&info)).await.unwrap();
        assert!(is_over(&b, a.id(), &honest), "{conduct:?}");
        assert_eq!(liar.asked(), asked, "{conduct:?}");
        says_hi(&b, &a).await;
        says_hi(&a, &b).await;
        let before = [&a, &b].map(beats);
        until("heartbeats come", || {
            [&a, &b].map(beats).iter().zip(before).all(|(now, before)| *now > before)
        })
        .await;
        for node in [&a, &b] {
            soon(node.wait_for(2)).await.unwrap();
        }
        // If there is no other way, this one is gone again.
        b.disconnect(a.id()).await;
        until("it is closed", || b.peer_status(&a.id()).is_none()).await;
        let alone = PeerInfo { addrs: vec![over(&liar.at)], ..info };
        soon(b.connect(&alone)).await.unwrap();
        assert!(is_over(&b, a.id(), &liar), "{conduct:?}");
        for node in [a, b] {
            node.close().await.unwrap();
        }
    }))
    .await;
}

/// One that takes reservations and relays nothing costs nothing where another is held.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_relays_nothing_keeps_nobody_from_another() {
    let all = [Does::Refuses, Does::Stalls(0), Does::EndsAfter(0), Does::Ends(Duration::ZERO)];
    join_all(all.map(|does| async move {
        let (liar, honest) = (Relay::start(Conduct::of(does)).await, honest().await);
        let (a, b, info) = held_by([&liar, &honest]).await;
        soon(b.connect(&info)).await.unwrap();
        assert!(is_over(&b, a.id(), &honest), "{does:?}");
        assert_eq!(liar.asked(), 1, "{does:?}");
        says_hi(&b, &a).await;
        says_hi(&a, &b).await;
        for node in [a, b] {
            node.close().await.unwrap();
        }
    }))
    .await;
}

/// What a relay brings waits without a bound in libp2p: its connection is closed, and
/// with it what waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_brings_peers_without_an_end_is_closed() {
    let relay = Relay::start(Conduct::of(Does::Relays)).await;
    let node = node().await;
    soon(node.connect(relay.at.clone())).await.unwrap();
    until("it takes what is for it", || {
        metric(&node, "casm_relay_reservations_total{result=\"accepted\"}") == 1
    })
    .await;
    let mut events = node.events();
    let brings = (0..8).map(|_| {
        let (mut control, to) = (relay.control.clone(), node.id());
        async move {
            let mut brought = 0;
            while brought < 1000
                && let Ok((_, true)) = stop(&mut control, to, PeerId::random(), None).await
            {
                brought += 1;
            }
            brought
        }
    });
    let brought: usize = soon(join_all(brings)).await.into_iter().sum();
    println!("{brought} were brought");
    assert!((1..1000).contains(&brought));
    // (It may connect again, and begin anew.)
    let gone = Event::Disconnected { peer: relay.id };
    soon(async { while events.next().await.unwrap() != gone {} }).await;
    until("the reservation has ended", || {
        metric(&node, "casm_relay_reservations_total{result=\"ended\"}") == 1
    })
    .await;
    node.close().await.unwrap();
}
