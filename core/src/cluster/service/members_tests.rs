//! Where members have certificates: whose records are taken, and whose no longer.

use super::tests::{Fixture, Time, beat};
use crate::{
    Event, Keypair, LeaveReason,
    admit::Revocation,
    cluster::{Handed, Outcome, Query},
    members::{
        Members, now,
        tests::{sign, state},
    },
    metrics::Metrics,
    pubsub::Verdict,
    record::unix_nanos,
    who::Who,
};
use libp2p::PeerId;
use std::time::Duration;

const DAY: u64 = 24 * 3600;

/// Who is here, and what is known of it.
struct World {
    ca: Keypair,
    members: Members,
    fixture: Fixture,
    good: PeerId,
    expired: PeerId,
    revoked: PeerId,
}

fn world() -> World {
    let (ca, own, now) = (Keypair::generate_ed25519(), PeerId::random(), now());
    let [good, expired, revoked] = [(); 3].map(|()| PeerId::random());
    let mut state = state(&ca, own);
    for peer in [good, revoked] {
        state.admit(sign(&ca, peer, now - 10, now + DAY), now).unwrap();
    }
    state.admit(sign(&ca, expired, now - 3 * DAY, now - DAY), now - 2 * DAY).unwrap();
    state.revoke(Revocation::sign(&ca, revoked, now).unwrap(), now).unwrap();
    let members = Members::new(own, state, &Metrics::default()).unwrap();
    let who = Who::new(own, &[], &[], Some(members.clone())).unwrap();
    let fixture = Fixture::start_taking(who, None, own, (true, true), Time::ahead(0), 0);
    World { ca, members, fixture, good, expired, revoked }
}

/// A source, and the reason that is counted.
type Stranger = (PeerId, &'static str);

impl World {
    fn strangers(&self) -> [Stranger; 3] {
        let stranger = PeerId::random();
        [(stranger, "missing"), (self.expired, "expired"), (self.revoked, "revoked")]
    }
}

#[tokio::test(start_paused = true)]
async fn records_are_taken_of_members_alone_whoever_hands_them_over() {
    let mut w = world();
    let (strangers, good, seq) = (w.strangers(), w.good, unix_nanos());
    let f = &mut w.fixture;
    for (source, reason) in strangers {
        // What gossip lets through, and what a member hands over.
        let verdict = f.receive(source, seq, beat(10, "there").encode()).await;
        assert_eq!((verdict, f.count(reason)), (Verdict::Ignore, 1), "{reason}");
        let data = beat(10, "there").encode();
        let handed = Handed { source, seq, data, signed: vec![1], age: Duration::ZERO };
        let outcomes = f.cluster.insert_verified(good, vec![handed]).await.unwrap();
        assert_eq!((&outcomes[..], f.count(reason)), (&[Ok(Outcome::Stranger)][..], 2), "{reason}");
        // Nor is it verified when it is handed over.
        assert!(f.cluster.refuses(&source), "{reason}");
        assert_eq!(f.cluster.view().count(&Query::all()), 0, "{reason}");
    }
    assert!(!f.cluster.refuses(&good));
    assert_eq!(f.receive(good, seq, beat(10, "there").encode()).await, Verdict::Accept);
    let joined = f.events.next().await.unwrap();
    assert!(matches!(joined, Event::PeerJoined { record } if record.peer() == good));
}

#[tokio::test(start_paused = true)]
async fn who_is_revoked_leaves_the_view_and_does_not_come_back() {
    let mut w = world();
    let (good, seq) = (w.good, unix_nanos());
    let f = &mut w.fixture;
    assert_eq!(f.receive(good, seq, beat(10, "there").encode()).await, Verdict::Accept);
    assert!(matches!(f.events.next().await, Some(Event::PeerJoined { .. })));
    w.members.revoke(vec![Revocation::sign(&w.ca, good, now()).unwrap()]).unwrap();
    let left = f.events.next().await.unwrap();
    assert_eq!(left, Event::PeerLeft { peer: good, reason: LeaveReason::Left });
    let verdict = f.receive(good, seq + 1, beat(10, "there").encode()).await;
    assert_eq!((verdict, f.count("revoked")), (Verdict::Ignore, 1));
    assert_eq!(f.cluster.view().count(&Query::all()), 0);
}
