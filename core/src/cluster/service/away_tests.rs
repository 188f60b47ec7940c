//! Pauses, processes that are stopped and machines that sleep, on virtual time with
//! a wall clock of its own.

use super::tests::{Fixture, Time, beat};
use crate::{
    Event, LeaveReason,
    cluster::{Change, Heartbeat, Query},
    life::Phase,
    pubsub::{TopicCommand, Verdict},
};
use libp2p::PeerId;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{Instant, advance, sleep, timeout};

const SEC: Duration = Duration::from_secs(1);

/// A node that has heard of a peer which is there, and of one that will say no
/// more.
async fn among_two(time: &Time) -> (Fixture, PeerId, PeerId) {
    let f = Fixture::start_as(PeerId::random(), (false, true), time.clone(), 0);
    joined_by_two(f, time).await
}

/// The same with low power: nothing looks at the clocks for its own sake.
async fn among_two_with_low_power(time: &Time) -> (Fixture, PeerId, PeerId) {
    let own = PeerId::random();
    let f = Fixture::start_looking(None, own, (false, true), time.clone(), 0);
    joined_by_two(f, time).await
}

async fn joined_by_two(mut f: Fixture, time: &Time) -> (Fixture, PeerId, PeerId) {
    let (here, gone) = (PeerId::random(), PeerId::random());
    for peer in [here, gone] {
        hear(&mut f, peer, time).await;
        assert!(matches!(f.events.next().await.unwrap(), Event::PeerJoined { .. }));
    }
    (f, here, gone)
}

async fn hear(f: &mut Fixture, peer: PeerId, time: &Time) {
    assert_eq!(f.receive(peer, time.now(), beat(10, "there").encode()).await, Verdict::Accept);
}

/// The next heartbeat, and how long it took.
async fn next_beat(f: &mut Fixture) -> (Heartbeat, Duration) {
    let begun = Instant::now();
    loop {
        let beat = f.published().await;
        if beat.ttl.is_some() {
            return (beat, begun.elapsed());
        }
    }
}

/// Both others were heard, and the next heartbeat would come in three seconds.
async fn right_after_a_beat(f: &mut Fixture, time: &Time, here: PeerId, gone: PeerId) {
    for _ in 0..3 {
        f.published().await;
    }
    hear(f, gone, time).await;
    hear(f, here, time).await;
}

/// Two seconds after the node is back nobody is gone; then who says nothing is.
async fn nobody_expires_for_two_seconds(f: &mut Fixture, time: &Time, here: PeerId, gone: PeerId) {
    let begun = Instant::now();
    while begun.elapsed() < SEC * 3 / 2 {
        assert!(f.cluster.view().get(&gone).is_some(), "after {:?}", begun.elapsed());
        let _ = timeout(SEC / 4, f.published()).await;
    }
    hear(f, here, time).await;
    let left = Event::PeerLeft { peer: gone, reason: LeaveReason::Expired };
    let told = async {
        loop {
            tokio::select! {
                event = f.events.next() => return event.unwrap(),
                _ = async { drop(f.commands.recv().await) } => {}
            }
        }
    };
    assert_eq!(told.await, left);
    assert!(begun.elapsed() < SEC * 3, "{:?}", begun.elapsed());
    assert!(f.cluster.view().get(&here).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_paused_node_says_goodbye_and_then_nothing_and_forgets_nobody() {
    let time = Time::ahead(0);
    let (mut f, here, gone) = among_two(&time).await;
    let mut changes = f.cluster.subscribe(Query::all());
    for _ in 0..3 {
        assert!(matches!(changes.next().await, Some(Change::Current(_))));
    }
    f.life.set(Phase::Leaving);
    while f.published().await.ttl.is_some() {}
    let goodbye = f.last_seq;
    f.life.set(Phase::Paused);
    // An hour.
    assert!(timeout(SEC * 3600, f.commands.recv()).await.is_err(), "it says something");
    assert_eq!(f.cluster.view().len(), 3);
    // It is told when the node is back.
    f.cluster.set_meta(BTreeMap::from([("life".into(), "2".into())])).await.unwrap();
    assert_eq!(f.cluster.view().get(&f.own).unwrap().meta().get("life"), Some("2"));
    assert!(timeout(SEC, f.commands.recv()).await.is_err());

    f.life.set(Phase::Up);
    let (beat, took) = next_beat(&mut f).await;
    assert_eq!((beat.meta, beat.ttl), (vec!["life=2".to_owned()], Some(SEC * 10)));
    assert!(took < SEC / 10 && f.last_seq > goodbye, "{took:?}");
    nobody_expires_for_two_seconds(&mut f, &time, here, gone).await;
    assert!(f.cluster.view().goodbyes().of(&f.own).is_none(), "its own goodbye is over");
    let mut told = Vec::new();
    while let Ok(Some(change)) = timeout(SEC / 100, changes.next()).await {
        told.push(match change {
            Change::Updated(record) if record.peer() == f.own => "updated",
            Change::Left(record) if record.peer() == gone => "left",
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(told, ["updated", "left"]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_node_that_closes_says_no_second_goodbye() {
    let mut f = Fixture::start(false, true);
    f.published().await;
    f.life.set(Phase::Leaving);
    assert_eq!(f.published().await.ttl, None);
    f.life.set(Phase::Paused);
    f.scope.cancel();
    while let Some(command) = f.commands.recv().await {
        assert!(!matches!(command, TopicCommand::Publish { .. }), "{command:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_stopped_is_back_at_once() {
    let time = Time::ahead(0);
    let (mut f, here, gone) = among_two(&time).await;
    let mut wakings = f.life.wakings();
    right_after_a_beat(&mut f, &time, here, gone).await;
    sleep(SEC / 2).await;
    // Both clocks go on, and the process does nothing.
    advance(SEC * 300).await;
    let (_, took) = next_beat(&mut f).await;
    assert!(took < SEC / 10, "{took:?}");
    timeout(SEC, wakings.changed()).await.expect("it is noticed").unwrap();
    nobody_expires_for_two_seconds(&mut f, &time, here, gone).await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_is_noticed_by_its_wall_clock_within_a_second() {
    let time = Time::ahead(0);
    let (mut f, here, gone) = among_two(&time).await;
    let mut wakings = f.life.wakings();
    right_after_a_beat(&mut f, &time, here, gone).await;
    // The monotonic clock stands still while it sleeps.
    time.set(300);
    let (_, took) = next_beat(&mut f).await;
    assert!(took <= SEC + SEC / 10, "{took:?}");
    assert!(wakings.has_changed().unwrap());
    wakings.mark_unchanged();
    // Its records have all their time.
    assert_eq!(f.cluster.view().len(), 3);
    let mut beats = 0;
    while timeout(SEC * 4, f.published()).await.is_ok() && beats < 3 {
        hear(&mut f, here, &time).await;
        beats += 1;
    }
    assert!(!wakings.has_changed().unwrap(), "it is told once");
    let _ = gone;
}

#[tokio::test(start_paused = true)]
async fn with_low_power_a_machine_that_slept_is_noticed_once_the_system_tells() {
    let time = Time::ahead(0);
    let (mut f, here, gone) = among_two_with_low_power(&time).await;
    let mut wakings = f.life.wakings();
    right_after_a_beat(&mut f, &time, here, gone).await;
    time.set(300);
    assert!(timeout(SEC, f.published()).await.is_err(), "nothing looks at the clocks");
    assert!(!wakings.has_changed().unwrap());
    f.jumps.send_replace(());
    let (_, took) = next_beat(&mut f).await;
    assert!(took < SEC / 10, "{took:?}");
    assert!(wakings.has_changed().unwrap());
    wakings.mark_unchanged();
    // Its records have all their time.
    assert_eq!(f.cluster.view().len(), 3);
    f.jumps.send_replace(());
    next_beat(&mut f).await;
    assert!(!wakings.has_changed().unwrap(), "it is told once");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_only_set_right_is_no_sleep_when_the_system_tells() {
    let time = Time::ahead(0);
    let (mut f, ..) = among_two_with_low_power(&time).await;
    let wakings = f.life.wakings();
    for _ in 0..3 {
        f.published().await;
    }
    // Back, by nothing, and a little ahead.
    for ahead in [-300, -300, -296] {
        time.set(ahead);
        f.jumps.send_replace(());
        assert!(timeout(SEC / 2, f.published()).await.is_err(), "{ahead}: it says that it lives");
    }
    assert!(!wakings.has_changed().unwrap());
}

/// What was told to a paused node is no news after the resume.
#[tokio::test(start_paused = true)]
async fn a_paused_node_looks_at_no_clock() {
    let time = Time::ahead(0);
    let (mut f, ..) = among_two_with_low_power(&time).await;
    let wakings = f.life.wakings();
    f.life.set(Phase::Leaving);
    while f.published().await.ttl.is_some() {}
    f.life.set(Phase::Paused);
    time.set(300);
    f.jumps.send_replace(());
    assert!(timeout(SEC * 60, f.commands.recv()).await.is_err(), "it says something");
    f.life.set(Phase::Up);
    next_beat(&mut f).await;
    let _ = timeout(SEC, f.published()).await;
    assert!(!wakings.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_or_by_little_is_no_sleep() {
    let time = Time::ahead(0);
    let mut f = Fixture::start_as(PeerId::random(), (false, true), time.clone(), 0);
    let wakings = f.life.wakings();
    f.published().await;
    for ahead in [-300, -290, -285] {
        time.set(ahead);
        f.published().await;
    }
    assert!(!wakings.has_changed().unwrap());
}
