//! Roles in the records of the service: those that are proven, and no others.

use super::tests::{Fixture, beat};
use crate::{
    Event, LeaveReason,
    cluster::{Change, Handed, Query, Roles},
    record::unix_nanos,
};
use libp2p::PeerId;
use std::time::Duration;

impl Fixture {
    /// These are proven of a peer from now on, of which the service is not told.
    fn prove(&self, peer: PeerId, roles: &[&str]) {
        self.roles.lock().unwrap().insert(peer, roles.iter().copied().collect());
    }

    fn roles_of(&self, peer: &PeerId) -> Vec<String> {
        let record = self.cluster.view().get(peer).unwrap();
        record.roles().map(str::to_owned).collect()
    }

    /// The answer to a command comes after the view was renewed.
    async fn settle(&self) {
        self.cluster.insert_verified(self.own, vec![]).await.unwrap();
        self.cluster.insert_verified(self.own, vec![]).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_has_the_roles_that_are_proven_whatever_way_it_came() {
    let mut f = Fixture::start(true, false);
    let (gossiped, handed) = (PeerId::random(), PeerId::random());
    f.prove(gossiped, &["worker", "b"]);
    f.prove(handed, &["worker"]);
    // What a heartbeat says is no proof.
    let mut says = beat(10, "h");
    says.meta = vec!["role=head".into(), "roles=head".into()];
    let seq = unix_nanos();
    f.receive(gossiped, seq, says.encode()).await;
    let handed_over =
        Handed { source: handed, seq, data: says.encode(), signed: vec![1], age: Duration::ZERO };
    f.cluster.insert_verified(gossiped, vec![handed_over]).await.unwrap();
    assert_eq!(f.roles_of(&gossiped), ["b", "worker"]);
    assert_eq!(f.roles_of(&handed), ["worker"]);
    let view = f.cluster.view();
    assert_eq!((view.count(&Query::role("worker")), view.count(&Query::role("head"))), (2, 0));
    assert!(view.get(&handed).unwrap().has_role("worker"));
}

#[tokio::test(start_paused = true)]
async fn the_own_record_has_them_at_once_and_when_they_change() {
    let mut f = Fixture::start(false, true);
    assert!(f.roles_of(&f.own).is_empty());
    f.prove(f.own, &["worker"]);
    let cluster = f.cluster.clone();
    let found = cluster.wait_for(Query::role("worker"), 1);
    // The first heartbeat, which comes before or after it, is waited for by the service.
    let changed = cluster.roles_changed(vec![f.own]);
    tokio::join!(changed, f.published()).0.unwrap();
    assert_eq!(found.await.unwrap().len(), 1);
    // A heartbeat keeps them, and asks anew.
    f.published().await;
    f.settle().await;
    assert_eq!(f.roles_of(&f.own), ["worker"]);
    f.prove(f.own, &[]);
    f.published().await;
    f.settle().await;
    assert!(f.roles_of(&f.own).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_change_is_told_at_once_and_only_if_there_is_one() {
    let mut f = Fixture::start(true, false);
    let [peer, other, stranger] = [(); 3].map(|()| PeerId::random());
    f.prove(peer, &["a"]);
    let seq = unix_nanos();
    for peer in [peer, other] {
        f.receive(peer, seq, beat(10, "h").encode()).await;
        assert!(matches!(f.events.next().await, Some(Event::PeerJoined { .. })));
    }
    let mut live = f.cluster.subscribe(Query::role("worker"));
    f.prove(peer, &["a", "worker"]);
    f.cluster.roles_changed(vec![stranger, other, peer]).await.unwrap();
    let Some(Event::PeerUpdated { record }) = f.events.next().await else { panic!() };
    assert_eq!((record.peer(), record.roles().collect::<Vec<_>>()), (peer, vec!["a", "worker"]));
    assert_eq!(record.seq(), seq);
    assert!(matches!(live.next().await, Some(Change::Joined(record)) if record.peer() == peer));
    // The same again is no news: the next event is that of the other change.
    f.cluster.roles_changed(vec![peer]).await.unwrap();
    f.prove(peer, &[]);
    f.cluster.roles_changed(vec![peer]).await.unwrap();
    let Some(Event::PeerUpdated { record }) = f.events.next().await else { panic!() };
    assert_eq!(record.roles().len(), 0);
    assert!(matches!(live.next().await, Some(Change::Left(record)) if record.peer() == peer));
    // It expires when it would have without that.
    let Some(Event::PeerLeft { reason, .. }) = f.events.next().await else { panic!() };
    assert_eq!(reason, LeaveReason::Expired);
    assert!(f.cluster.view().refs(&Query::all()).all(|record| record.roles().len() == 0));
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_says_the_same_is_news_if_the_roles_are_others() {
    let mut f = Fixture::start(true, false);
    let (peer, seq) = (PeerId::random(), unix_nanos());
    for (n, roles) in [vec!["a"], vec!["a"], vec!["b"]].into_iter().enumerate() {
        f.prove(peer, &roles);
        f.receive(peer, seq + n as u64, beat(10, "h").encode()).await;
    }
    assert!(matches!(f.events.next().await, Some(Event::PeerJoined { .. })));
    let Some(Event::PeerUpdated { record }) = f.events.next().await else { panic!() };
    assert_eq!((record.seq(), record.has_role("b")), (seq + 2, true));
    assert_eq!(Roles::from_iter(record.roles()).len(), 1);
}
