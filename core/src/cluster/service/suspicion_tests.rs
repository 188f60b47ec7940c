//! Suspicions at the service, on virtual time.

use super::tests::{Fixture, beat};
use crate::{
    Event, LeaveReason,
    cluster::{Action, Heartbeat, Noticed, Suspect, Suspects},
    life::Phase,
    pubsub::Verdict,
    record::unix_nanos,
};
use futures::FutureExt as _;
use libp2p::PeerId;
use std::time::Duration;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

const SEC: Duration = Duration::from_secs(1);
/// For so long a peer must have been there.
const PROBATION: Duration = Duration::from_secs(600);

fn ours() -> Heartbeat {
    Heartbeat { sent_at: Some(Duration::from_nanos(unix_nanos())), ..beat(30, "there") }
}

fn data(all: &[(PeerId, u64)]) -> Vec<u8> {
    Suspects(all.iter().map(|(peer, seq)| Suspect { peer: *peer, seq: *seq }).collect()).encode()
}

/// A node, and others who have been there for long; the number of their last heartbeats.
async fn established<const N: usize>() -> (Fixture, [PeerId; N], u64) {
    let (mut f, peers) = (Fixture::start(false, true), [(); N].map(|()| PeerId::random()));
    f.published().await;
    let (start, mut seq) = (Instant::now(), unix_nanos());
    loop {
        for peer in peers {
            assert_eq!(f.receive(peer, seq, ours().encode()).await, Verdict::Accept);
        }
        if start.elapsed() > PROBATION + SEC {
            break;
        }
        seq += 1;
        pass(&mut f, 9 * SEC).await;
    }
    while let Some(Some(_)) = f.events.next().now_or_never() {}
    (f, peers, seq)
}

/// The next event, while what the node publishes is taken.
async fn next_event(f: &mut Fixture) -> Event {
    loop {
        tokio::select! {
            event = f.events.next() => return event.unwrap(),
            _ = f.commands.recv() => {}
        }
    }
}

/// What is next to be done, while what the node publishes is taken.
async fn next_action(f: &mut Fixture, actions: &mut mpsc::Receiver<Action>) -> Action {
    loop {
        tokio::select! {
            action = actions.recv() => return action.unwrap(),
            _ = f.commands.recv() => {}
        }
    }
}

/// Lets time pass, while what the node publishes is taken.
async fn pass(f: &mut Fixture, time: Duration) {
    let end = Instant::now() + time;
    while tokio::time::timeout_at(end, f.commands.recv()).await.is_ok() {}
}

async fn accuse(f: &Fixture, by: PeerId, number: u64, all: &[(PeerId, u64)]) -> Verdict {
    f.cluster.suspects((by, number), data(all)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_peer_whose_neighbours_accuse_it_is_gone_as_failed_and_back_at_once() {
    let (mut f, [gone, one, two, _], seq) = established().await;
    let begun = Instant::now();
    for by in [one, two] {
        assert_eq!(accuse(&f, by, 1, &[(gone, seq)]).await, Verdict::Accept);
    }
    let left = Event::PeerLeft { peer: gone, reason: LeaveReason::Failed };
    assert_eq!(next_event(&mut f).await, left);
    let took = begun.elapsed();
    assert!(took >= 3 * SEC && took < 4 * SEC, "{took:?}, long before its TTL");
    assert!(f.metrics.encode().contains("casm_suspicions_total{what=\"removed\"} 1\n"));
    // What was said before does not bring it back, and what it says now does.
    assert_eq!(f.receive(gone, seq, ours().encode()).await, Verdict::Ignore);
    assert_eq!(f.receive(gone, seq + 1, ours().encode()).await, Verdict::Accept);
    let Event::PeerJoined { record } = next_event(&mut f).await else { panic!() };
    assert_eq!(record.peer(), gone);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_stays() {
    let (mut f, [accused, one, two, _], seq) = established().await;
    for by in [one, two] {
        accuse(&f, by, 1, &[(accused, seq)]).await;
    }
    pass(&mut f, 2 * SEC).await;
    assert_eq!(f.receive(accused, seq + 1, ours().encode()).await, Verdict::Accept);
    pass(&mut f, 20 * SEC).await;
    assert!(f.cluster.view().get(&accused).is_some());
}

#[tokio::test(start_paused = true)]
async fn who_is_accused_says_at_once_that_it_lives() {
    let (mut f, [one, two, ..], _) = established::<4>().await;
    f.published().await;
    // Half a second after a heartbeat.
    sleep(SEC / 2).await;
    let (own, seq, begun) = (f.own, f.last_seq, Instant::now());
    assert_eq!(accuse(&f, one, 1, &[(own, seq)]).await, Verdict::Accept);
    let (before, said) = (f.last_seq, f.published().await);
    assert!(begun.elapsed() < SEC / 100 && f.last_seq > before && said.ttl.is_some());
    // Accused with that number it does so again, but not sooner than it may.
    accuse(&f, two, 1, &[(own, f.last_seq)]).await;
    f.published().await;
    let took = begun.elapsed();
    assert!(took >= 2 * SEC && took < 2 * SEC + SEC / 100, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_noticed_of_neighbours_is_acted_on_but_not_while_the_node_is_away() {
    let (mut f, peers, _) = established::<6>().await;
    let mut actions = f.cluster.actions().unwrap();
    for peer in peers {
        f.cluster.noticed(peer, Noticed::Here).await.unwrap();
    }
    f.cluster.noticed(peers[0], Noticed::Broken).await.unwrap();
    assert_eq!(next_action(&mut f, &mut actions).await, Action::Dial(peers[0]));
    f.cluster.noticed(peers[0], Noticed::Dialled(false)).await.unwrap();
    let Action::Say(said) = next_action(&mut f, &mut actions).await else { panic!() };
    assert_eq!(said.0.len(), 1);
    f.life.set(Phase::Leaving);
    f.life.set(Phase::Paused);
    pass(&mut f, SEC).await;
    f.cluster.noticed(peers[1], Noticed::Broken).await.unwrap();
    pass(&mut f, SEC).await;
    assert!(actions.try_recv().is_err());
}
