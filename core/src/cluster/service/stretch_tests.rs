//! A node among a thousand, on virtual time: which TTL it announces, how often it says
//! that it lives, and what readers see of it.

use super::tests::{Fixture, Time, beat};
use crate::{
    Event,
    cluster::{Change, ClusterConfig, Handed, Heartbeat, Outcome, Query},
    life::Phase,
    pubsub::Verdict,
    record::unix_nanos,
};
use libp2p::PeerId;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{Instant, timeout};

const SEC: Duration = Duration::from_secs(1);
/// That of 1,000 nodes with the default budget.
const STRETCHED: Duration = Duration::from_millis(22_223);

/// So many others come to the table, of whom nothing more is heard for a minute.
async fn come(f: &Fixture, others: usize) {
    come_with(f, others, 48).await;
}

/// The same with a TTL of so many seconds.
async fn come_with(f: &Fixture, others: usize, ttl: u64) {
    let (now, data) = (unix_nanos(), beat(ttl, "there").encode());
    let one = |_| Handed {
        source: PeerId::random(),
        seq: now,
        data: data.clone(),
        signed: b"signed".to_vec(),
        age: Duration::ZERO,
    };
    let outcomes = f.cluster.insert_verified(PeerId::random(), (0..others).map(one).collect());
    assert!(outcomes.await.unwrap().iter().all(|outcome| *outcome == Ok(Outcome::Joined)));
}

/// The next heartbeat, and how long it took.
async fn next(f: &mut Fixture) -> (Heartbeat, Duration) {
    let begun = Instant::now();
    (f.published().await, begun.elapsed())
}

fn is_paced_by(ttl: Duration, pause: Duration) -> bool {
    let ms = Duration::from_millis(1);
    pause + ms >= ttl * 4 / 15 && pause <= ttl / 3 + ms
}

/// The TTL of the own record, as readers see it.
async fn own_ttl(f: &Fixture) -> Duration {
    f.cluster.insert_verified(f.own, vec![]).await.unwrap();
    f.cluster.view().get(&f.own).unwrap().ttl()
}

#[tokio::test(start_paused = true)]
async fn among_a_thousand_it_says_less_often_that_it_lives_and_among_ten_as_before() {
    let mut f = Fixture::start(false, true);
    let mut changes = f.cluster.subscribe(Query::all());
    let (first, _) = next(&mut f).await;
    assert_eq!(first.ttl, Some(SEC * 10));
    come(&f, 9).await;
    assert_eq!(next(&mut f).await.0.ttl, Some(SEC * 10));

    let joined = Instant::now();
    come(&f, 990).await;
    assert_eq!(own_ttl(&f).await, SEC * 10, "what nobody was told does not show");
    // The longer TTL is announced by the next heartbeat, at its time. The pace is the one
    // before until nobody goes by the shorter TTL any more: 12.5 s after it was said last.
    let mut paused = Vec::new();
    while joined.elapsed() < SEC * 12 {
        let (beat, pause) = next(&mut f).await;
        assert!(is_paced_by(SEC * 10, pause), "{pause:?}");
        assert_eq!(beat.ttl, Some(STRETCHED));
        // Nothing else is in it than before, and so Go's nodes read it as before.
        assert_eq!(Heartbeat { ttl: first.ttl, sent_at: first.sent_at, ..beat }, first);
        paused.push(pause);
    }
    assert!((4..=6).contains(&paused.len()), "{paused:?}");
    assert_eq!(own_ttl(&f).await, STRETCHED);
    assert!(f.metrics.encode().contains("casm_heartbeat_ttl_seconds 22.223\n"));
    assert!(f.metrics.encode().contains("casm_heartbeat_budget 150\n"));
    next(&mut f).await;
    for _ in 0..3 {
        let (beat, pause) = next(&mut f).await;
        assert!(is_paced_by(STRETCHED, pause) && beat.ttl == Some(STRETCHED), "{pause:?}");
    }

    // They are gone a minute after they came, and the TTL is back a minute after that.
    let back = loop {
        let (beat, _) = next(&mut f).await;
        if beat.ttl != Some(STRETCHED) {
            break beat.ttl;
        }
        assert!(joined.elapsed() < SEC * 130, "it stays stretched");
    };
    assert_eq!((back, own_ttl(&f).await, f.cluster.view().len()), (Some(SEC * 10), SEC * 10, 1));
    assert!(joined.elapsed() >= SEC * 120, "{:?}", joined.elapsed());
    let (_, pause) = next(&mut f).await;
    assert!(is_paced_by(SEC * 10, pause), "{pause:?}");

    // No reader was told anything of it.
    while let Ok(Some(change)) = timeout(SEC / 100, changes.next()).await {
        assert!(!matches!(change, Change::Updated(_)), "{change:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fixed_pace_stays_and_a_budget_is_what_is_given() {
    for (budget, ttl) in [(None, SEC * 10), (Some(15), SEC * 60), (Some(500), SEC * 10)] {
        let change = |config: &mut ClusterConfig| config.budget = budget;
        let (own, time) = (PeerId::random(), Time::ahead(0));
        let mut f = Fixture::start_changed(change, own, (false, true), time, 0);
        next(&mut f).await;
        come(&f, 999).await;
        assert_eq!(next(&mut f).await.0.ttl, Some(ttl), "{budget:?}");
    }
    let observer = Fixture::start(true, true);
    come(&observer, 999).await;
    assert!(observer.metrics.encode().contains("casm_heartbeat_ttl_seconds 0.0\n"));
}

#[tokio::test(start_paused = true)]
async fn those_whose_ttl_is_longer_than_any_stretched_one_hold_nobody_up() {
    let mut f = Fixture::start(false, true);
    next(&mut f).await;
    // A day each, for one heartbeat; and a thousand who have to go on sending.
    for ttl in [86_400, 601] {
        come_with(&f, 3000, ttl).await;
        assert_eq!(next(&mut f).await.0.ttl, Some(SEC * 10), "{ttl} s");
    }
    come_with(&f, 999, 600).await;
    assert_eq!(next(&mut f).await.0.ttl, Some(STRETCHED));
    assert_eq!(f.cluster.view().len(), 7000);
}

#[tokio::test(start_paused = true)]
async fn what_the_user_sets_goes_at_once_and_is_stretched_from_there() {
    let mut f = Fixture::start(false, true);
    next(&mut f).await;
    come(&f, 999).await;
    assert_eq!(next(&mut f).await.0.ttl, Some(STRETCHED));
    for (set, announced) in [(SEC * 5, STRETCHED), (SEC * 40, SEC * 40), (SEC * 10, STRETCHED)] {
        let (cluster, begun) = (f.cluster.clone(), Instant::now());
        let (changed, beat) = tokio::join!(cluster.set_ttl(set), f.published());
        changed.unwrap();
        assert_eq!((beat.ttl, begun.elapsed()), (Some(announced), Duration::ZERO));
        assert_eq!(own_ttl(&f).await, announced);
        // Nobody goes by less than 10 s at first, nor by less than 22 s later.
        let (_, pause) = next(&mut f).await;
        assert!(pause <= announced / 3, "{pause:?}");
    }
    // Another change takes the TTL along, and does not wait for the pace.
    let (cluster, begun) = (f.cluster.clone(), Instant::now());
    let (changed, beat) = tokio::join!(cluster.set_meta(BTreeMap::new()), f.published());
    changed.unwrap();
    assert_eq!((beat.ttl, beat.meta.len()), (Some(STRETCHED), 0));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_pause_says_goodbye_and_then_goes_on_stretched() {
    let mut f = Fixture::start(false, true);
    next(&mut f).await;
    come(&f, 999).await;
    next(&mut f).await;
    f.life.set(Phase::Leaving);
    while f.published().await.ttl.is_some() {}
    f.life.set(Phase::Paused);
    f.cluster.set_ttl(SEC * 30).await.unwrap();
    assert_eq!(own_ttl(&f).await, SEC * 30);
    f.life.set(Phase::Up);
    assert_eq!(f.published().await.ttl, Some(SEC * 30));
    f.cluster.insert_verified(f.own, vec![]).await.unwrap();
    let cluster = f.cluster.clone();
    let (set, beat) = tokio::join!(cluster.set_ttl(SEC), f.published());
    set.unwrap();
    assert_eq!(beat.ttl, Some(STRETCHED));
}

#[tokio::test(start_paused = true)]
async fn another_ttl_alone_of_a_peer_shows_in_the_view_and_is_no_news() {
    let mut f = Fixture::start(true, true);
    let (peer, now) = (PeerId::random(), unix_nanos());
    let (mut all, mut one) =
        (f.cluster.subscribe(Query::all()), f.cluster.subscribe(Query::all().limit(1)));
    for (number, ttl) in (0..).zip([10, 20, 222, 22]) {
        let verdict = f.receive(peer, now + number, beat(ttl, "there").encode()).await;
        assert_eq!(verdict, Verdict::Accept);
        f.cluster.insert_verified(peer, vec![]).await.unwrap();
        assert_eq!(f.cluster.view().get(&peer).unwrap().ttl(), SEC * u32::try_from(ttl).unwrap());
    }
    // What is news brings the TTL along.
    let said = beat(33, "elsewhere").encode();
    assert_eq!(f.receive(peer, now + 9, said).await, Verdict::Accept);
    assert!(matches!(f.events.next().await.unwrap(), Event::PeerJoined { .. }));
    let Some(Event::PeerUpdated { record }) = f.events.next().await else { panic!() };
    assert_eq!((record.host(), record.ttl()), ("elsewhere", SEC * 33));
    for changes in [&mut all, &mut one] {
        assert!(matches!(changes.next().await, Some(Change::Joined(_))));
        let Some(Change::Updated(record)) = changes.next().await else { panic!() };
        assert_eq!(record.ttl(), SEC * 33);
        assert!(timeout(SEC / 100, changes.next()).await.is_err());
    }
    // It is kept for as long as it said last.
    let begun = Instant::now();
    assert!(matches!(f.events.next().await.unwrap(), Event::PeerLeft { .. }));
    assert_eq!(begun.elapsed().as_secs(), 41);
}
