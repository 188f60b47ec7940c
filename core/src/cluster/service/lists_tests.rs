//! Peers that are not taken, and no longer taken.

use super::tests::{Fixture, beat};
use crate::{
    Event, LeaveReason,
    cluster::{Handed, Heartbeat, Outcome, Query},
    pubsub::Verdict,
    record::unix_nanos,
};
use libp2p::PeerId;
use std::time::Duration;

fn handed(source: PeerId, seq: u64) -> Handed {
    let data = beat(10, "there").encode();
    Handed { source, seq, data, signed: vec![1], age: Duration::ZERO }
}

#[tokio::test(start_paused = true)]
async fn a_denied_peer_leaves_the_view_is_not_taken_and_comes_back() {
    let mut f = Fixture::start(true, true);
    let (peer, other, seq) = (PeerId::random(), PeerId::random(), unix_nanos());
    for source in [peer, other] {
        let verdict = f.receive(source, seq, beat(10, "there").encode()).await;
        assert_eq!(verdict, Verdict::Accept);
        assert!(matches!(f.events.next().await.unwrap(), Event::PeerJoined { .. }));
    }
    f.who.deny(&[peer]).unwrap();
    let left = f.events.next().await.unwrap();
    assert_eq!(left, Event::PeerLeft { peer, reason: LeaveReason::Left });
    // Not by gossip, whoever relays it, nor by another that hands it over.
    assert_eq!(f.receive(peer, seq + 1, beat(10, "there").encode()).await, Verdict::Ignore);
    let outcomes = f.cluster.insert_verified(other, vec![handed(peer, seq + 2)]).await.unwrap();
    assert_eq!(outcomes, [Ok(Outcome::Stranger)]);
    assert_eq!((f.count("denied"), f.cluster.view().count(&Query::all())), (2, 1));

    f.who.undeny(&[peer]);
    // What it said before was heard then, or is none of its last.
    assert_eq!(f.receive(peer, seq, beat(10, "there").encode()).await, Verdict::Ignore);
    assert_eq!(f.receive(peer, seq + 3, beat(10, "there").encode()).await, Verdict::Accept);
    let back = f.events.next().await.unwrap();
    assert!(matches!(back, Event::PeerJoined { record } if record.peer() == peer));
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_of_a_denied_peer_is_not_handed_on() {
    let mut f = Fixture::start(true, true);
    let (peer, other, seq) = (PeerId::random(), PeerId::random(), unix_nanos());
    let goodbye = Heartbeat { ttl: None, ..beat(10, "") }.encode();
    for source in [peer, other] {
        assert_eq!(f.receive(source, seq, beat(10, "there").encode()).await, Verdict::Accept);
        assert_eq!(f.receive(source, seq + 1, goodbye.clone()).await, Verdict::Accept);
    }
    assert!(f.cluster.view().goodbyes().of(&peer).is_some());
    f.who.deny(&[peer]).unwrap();
    // The answer to a command comes after the view was renewed.
    f.cluster.insert_verified(other, vec![]).await.unwrap();
    f.cluster.insert_verified(other, vec![]).await.unwrap();
    let view = f.cluster.view();
    assert!(view.goodbyes().of(&peer).is_none() && view.goodbyes().of(&other).is_some());
    assert_eq!(f.receive(peer, seq + 2, goodbye).await, Verdict::Ignore);
    assert!(f.cluster.view().goodbyes().of(&peer).is_none());
}

#[tokio::test(start_paused = true)]
async fn only_those_on_an_allow_list_get_into_the_view() {
    let mut f = Fixture::start(false, true);
    f.published().await;
    let (peer, other, seq) = (PeerId::random(), PeerId::random(), unix_nanos());
    f.who.allow(&[peer]).unwrap();
    assert_eq!(f.receive(other, seq, beat(10, "there").encode()).await, Verdict::Ignore);
    assert_eq!(f.receive(peer, seq, beat(10, "there").encode()).await, Verdict::Accept);
    assert_eq!((f.count("not-allowed"), f.cluster.view().count(&Query::all())), (1, 2));
    f.who.disallow(&[peer]);
    assert!(matches!(f.events.next().await.unwrap(), Event::PeerJoined { .. }));
    let left = f.events.next().await.unwrap();
    assert_eq!(left, Event::PeerLeft { peer, reason: LeaveReason::Left });
    // The own record stays, although it is on no list.
    assert_eq!(f.cluster.view().count(&Query::all()), 1);
}
