//! Clocks that are set back and stepped, ahead and corrected; own heartbeats that
//! come back; sources that say too much. On virtual time.

use super::tests::{Fixture, Time, beat};
use crate::{
    Event, LeaveReason,
    cluster::{Handed, Heartbeat, Outcome},
    pubsub::Verdict,
};
use libp2p::PeerId;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

const SEC: Duration = Duration::from_secs(1);
const MINUTE: i64 = 60;

/// A node, and another one with a right clock that hears it.
struct Pair {
    node: Fixture,
    time: Time,
    other: Fixture,
}

impl Pair {
    /// A node whose clock is so much ahead, and what an earlier run has kept.
    fn start(ahead_s: i64, kept: u64) -> Self {
        let right = Time::ahead(0);
        let other = Fixture::start_as(PeerId::random(), (true, true), right.clone(), 0);
        let (node, time) = node(PeerId::random(), right.other(ahead_s), kept);
        Self { node, time, other }
    }

    /// The node is killed, and starts again with this clock.
    fn restart(&mut self, ahead_s: i64, kept: u64) {
        (self.node, self.time) = node(self.node.own, self.time.other(ahead_s), kept);
    }

    /// The node's next heartbeat comes to the other one: what that makes of it.
    async fn heartbeat(&mut self) -> Verdict {
        let beat = self.node.published().await;
        self.other.receive(self.node.own, self.node.last_seq, beat.encode()).await
    }

    /// The next so many are taken.
    async fn is_heard(&mut self, heartbeats: usize) {
        for n in 0..heartbeats {
            assert_eq!(self.heartbeat().await, Verdict::Accept, "{n}");
        }
    }

    /// What the node has kept on its disk.
    fn kept(&self) -> u64 {
        *self.node.kept.borrow()
    }
}

fn node(own: PeerId, time: Time, kept: u64) -> (Fixture, Time) {
    (Fixture::start_as(own, (false, true), time.clone(), kept), time)
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_while_the_node_runs_hides_it_for_no_heartbeat() {
    for back in [20, 5 * MINUTE, 9 * MINUTE, 11 * MINUTE, 86_400] {
        let mut pair = Pair::start(0, 0);
        pair.is_heard(3).await;
        pair.time.set(-back);
        if back <= 9 * MINUTE {
            pair.is_heard(10).await;
            // By NTP, at once and in steps.
            for ahead in [-back / 2, -1, 0] {
                pair.time.set(ahead);
                pair.is_heard(3).await;
            }
            continue;
        }
        // Who took the last one doesn't take those from so far behind: the clock
        // is right again, and so is the node.
        assert_eq!(pair.heartbeat().await, Verdict::Ignore);
        pair.time.set(0);
        pair.is_heard(3).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_is_corrected() {
    for ahead in [20, 5 * MINUTE, 9 * MINUTE] {
        let mut pair = Pair::start(ahead, 0);
        pair.is_heard(3).await;
        pair.time.set(0);
        pair.is_heard(10).await;
    }
    // Nobody has believed it: the numbers begin with the right time.
    for ahead in [11 * MINUTE, 86_400, 365 * 86_400] {
        let mut pair = Pair::start(ahead, 0);
        assert_eq!(pair.heartbeat().await, Verdict::Ignore);
        pair.time.set(0);
        pair.is_heard(10).await;
        // With what such a run has kept, too.
        let mut pair = Pair::start(ahead, 0);
        assert_eq!(pair.heartbeat().await, Verdict::Ignore);
        let kept = pair.kept();
        pair.restart(0, kept);
        pair.is_heard(3).await;
    }
}

#[tokio::test(start_paused = true)]
async fn with_data_a_clock_that_was_set_back_between_two_runs_hides_nobody() {
    for back in [20, 5 * MINUTE, 7 * MINUTE] {
        let mut pair = Pair::start(0, 0);
        pair.is_heard(3).await;
        let kept = pair.kept();
        assert!(kept > pair.node.last_seq);
        pair.restart(-back, kept);
        pair.is_heard(10).await;
        // Again, and then its clock is stepped.
        let kept = pair.kept();
        pair.restart(-back, kept);
        pair.is_heard(2).await;
        pair.time.set(0);
        pair.is_heard(10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_data_it_is_hidden_until_it_hears_of_itself_or_the_clock_is_stepped() {
    let mut pair = Pair::start(0, 0);
    pair.is_heard(3).await;
    let (old, said) = (pair.node.last_seq, beat(10, "here").encode());
    pair.restart(-20, 0);
    assert_eq!(pair.heartbeat().await, Verdict::Ignore);
    pair.time.set(0);
    pair.is_heard(3).await;

    pair.restart(-5 * MINUTE, 0);
    assert_eq!(pair.heartbeat().await, Verdict::Ignore);
    // Whoever has its last heartbeat hands it over: it is answered at once.
    let (own, start) = (pair.node.own, Instant::now());
    let old = old.max(pair.other.cluster.view().get(&own).unwrap().seq());
    let handed =
        Handed { source: own, seq: old, data: said.clone(), signed: said, age: Duration::ZERO };
    let outcomes = pair.node.cluster.insert_verified(PeerId::random(), vec![handed]).await;
    assert_eq!(outcomes.unwrap(), [Ok(Outcome::OwnAhead)]);
    pair.is_heard(1).await;
    assert_eq!((start.elapsed(), pair.node.last_seq), (Duration::ZERO, old + 1));
    pair.is_heard(5).await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_is_answered_once_in_a_ttl_and_not_if_it_is_far_ahead() {
    let (mut node, time) = node(PeerId::random(), Time::ahead(0), 0);
    node.published().await;
    let (own, start, other) = (node.own, Instant::now(), beat(10, "h").encode());
    let far = time.now() + 601_000_000_000;
    assert_eq!(node.receive(own, far, other.clone()).await, Verdict::Ignore);
    let first = node.last_seq;
    assert_eq!(node.receive(own, first, other.clone()).await, Verdict::Ignore);
    node.published().await;
    assert!(start.elapsed() > 2 * SEC, "that was the regular one");
    let echo = node.last_seq;
    for (n, answered) in [(1, true), (2, false), (3, false)] {
        let ahead = time.now() + n * 1_000_000_000;
        let before = Instant::now();
        assert_eq!(node.receive(own, ahead, other.clone()).await, Verdict::Ignore);
        node.published().await;
        assert_eq!(before.elapsed() < SEC, answered, "{n}");
        assert!(node.last_seq > ahead);
    }
    // The echoes of its own are nothing: what it sent itself, and older.
    let seen = node.count("own-ahead");
    assert_eq!(node.receive(own, 5, other).await, Verdict::Ignore);
    assert_eq!((node.count("own-ahead"), node.count("own")), (seen, 1));
    assert!(echo < node.last_seq);
    assert_eq!(node.cluster.view().get(&own).unwrap().host(), "here");
}

#[tokio::test(start_paused = true)]
async fn another_node_with_the_key_is_told_of_once_at_both() {
    let own = PeerId::random();
    let (mut one, time) = node(own, Time::ahead(0), 0);
    one.published().await;
    tokio::time::sleep(2 * SEC).await;
    // A copy starts later, with a clock that is a little behind.
    let (mut two, _) = node(own, time.other(-1), 0);
    let mut told = [0, 0];
    for _ in 0..40 {
        for (n, told) in told.iter_mut().enumerate() {
            let (from, to) = if n == 0 { (&mut one, &mut two) } else { (&mut two, &mut one) };
            let said = from.published().await;
            assert_eq!(to.receive(own, from.last_seq, said.encode()).await, Verdict::Ignore);
            while let Ok(event) = tokio::time::timeout(Duration::ZERO, to.events.next()).await {
                let Some(Event::KeyShared { record }) = event else { panic!("{event:?}") };
                assert_eq!((record.peer(), record.host()), (own, "here"));
                *told += 1;
            }
        }
    }
    assert_eq!(told, [1, 1]);
    for node in [&one, &two] {
        assert!(node.metrics.encode().contains("casm_key_shared 1\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_restarted_node_that_meets_its_former_heartbeats_tells_of_no_twin() {
    for back in [0, 3 * MINUTE] {
        let own = PeerId::random();
        let (mut former, time) = node(own, Time::ahead(0), 0);
        let mut said = Vec::new();
        for _ in 0..4 {
            let beat = former.published().await;
            said.push((former.last_seq, beat.encode()));
        }
        let (mut node, _) = node(own, time.other(-back), 0);
        node.published().await;
        for (seq, data) in &said {
            node.receive(own, *seq, data.clone()).await;
            tokio::time::sleep(SEC).await;
        }
        // From others, who had them for longer than it runs.
        for (seq, data) in said {
            tokio::time::sleep(2 * SEC).await;
            let age = 30 * SEC;
            let handed = Handed { source: own, seq, data: data.clone(), signed: data, age };
            let cluster = node.cluster.clone();
            let handed = tokio::spawn(async move {
                cluster.insert_verified(PeerId::random(), vec![handed]).await.unwrap();
            });
            while !handed.is_finished() {
                node.published().await;
            }
        }
        let told = tokio::time::timeout(Duration::ZERO, node.events.next()).await;
        assert!(told.is_err(), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_one_source_is_not_passed_on_and_costs_the_others_nothing() {
    let mut f = Fixture::start_as(PeerId::random(), (true, true), Time::ahead(0), 0);
    let (flood, honest) = (PeerId::random(), PeerId::random());
    let time = crate::record::unix_nanos();
    let (mut accepted, mut refused) = (0, 0);
    for n in 0..10_000 {
        let verdict = f.receive(flood, time + n, beat(10, "flood").encode()).await;
        accepted += u64::from(verdict == Verdict::Accept);
        tokio::time::sleep(Duration::from_millis(1)).await;
        if n % 3300 == 0 {
            let verdict = f.receive(honest, time + n, beat(10, "honest").encode()).await;
            refused += u64::from(verdict != Verdict::Accept);
        }
    }
    assert!((17..=18).contains(&accepted) && refused == 0, "{accepted} {refused}");
    assert_eq!(f.count("over-rate"), 10_000 - accepted);
    let joined = [f.events.next().await, f.events.next().await];
    assert!(joined.iter().all(|event| matches!(event, Some(Event::PeerJoined { .. }))));
    // What it says of its TTL gives it more, from 5 s down.
    let quick = PeerId::random();
    let mut taken = 0;
    for n in 0..10_000 {
        let verdict = f.receive(quick, time + n, beat(1, "quick").encode()).await;
        taken += u64::from(verdict == Verdict::Accept);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!((56..=58).contains(&taken), "{taken}");
}

/// What a source said long ago is well signed for ever.
#[tokio::test(start_paused = true)]
async fn heartbeats_that_are_played_again_spend_nothing_of_their_source() {
    let mut f = Fixture::start_as(PeerId::random(), (true, true), Time::ahead(0), 0);
    let (source, time) = (PeerId::random(), crate::record::unix_nanos());
    f.receive(source, time, beat(10, "now").encode()).await;
    for n in 1..30 {
        for old in 0..20 {
            f.receive(source, time - 1000 + old, beat(10, "old").encode()).await;
        }
        let verdict = f.receive(source, time + n, beat(10, "now").encode()).await;
        assert_eq!(verdict, Verdict::Accept, "{n}");
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(f.count("over-rate"), 0);
}

#[tokio::test(start_paused = true)]
async fn large_heartbeats_of_others_have_a_budget_and_ours_are_small() {
    let mut f = Fixture::start_as(PeerId::random(), (true, true), Time::ahead(0), 0);
    let time = crate::record::unix_nanos();
    // As Go's, whose messages hold what earlier ones held: here a long list.
    let large = |sent_at| {
        let meta = vec![format!("k={}", "v".repeat(4000)); 5];
        Heartbeat { meta, sent_at, ..beat(10, "go") }.encode()
    };
    let theirs = large(None);
    assert!(theirs.len() > Heartbeat::MAX_OURS);
    let source = PeerId::random();
    let mut counted = BTreeMap::new();
    for n in 0..8 {
        f.receive(source, time + n, theirs.clone()).await;
        *counted.entry(f.count("meta-too-long")).or_insert(0) += 1;
    }
    assert_eq!(f.count("meta-too-long"), 8, "{counted:?}");
    let huge = vec![0; Heartbeat::MAX_LEN - 1000];
    for n in 0..3 {
        f.receive(PeerId::random(), time + n, huge.clone()).await;
    }
    assert_eq!((f.count("over-source-bytes"), f.count("over-bytes")), (0, 0));
    let one = PeerId::random();
    for n in 0..4 {
        f.receive(one, time + n, huge.clone()).await;
    }
    assert_eq!(f.count("over-source-bytes"), 2);
}

#[tokio::test(start_paused = true)]
async fn changes_that_follow_each_other_fast_go_out_as_fast_as_others_take_them() {
    let mut pair = Pair::start(0, 0);
    pair.is_heard(1).await;
    let (cluster, start) = (pair.node.cluster.clone(), Instant::now());
    let changes = tokio::spawn(async move {
        for n in 0..1000 {
            cluster.set_meta([("n".into(), n.to_string())].into()).await.unwrap();
        }
    });
    let mut heard = 0;
    while pair.other.cluster.view().get(&pair.node.own).unwrap().meta().get("n") != Some("999") {
        pair.is_heard(1).await;
        heard += 1;
    }
    changes.await.unwrap();
    assert!(heard <= 7 && start.elapsed() < 2 * SEC, "{heard} in {:?}", start.elapsed());
    // Its own view had it at once, and others go on hearing of it.
    pair.is_heard(5).await;
    tokio::time::sleep(20 * SEC).await;
    let left = loop {
        if let Some(Event::PeerLeft { peer, reason }) = pair.other.events.next().await {
            break (peer, reason);
        }
    };
    assert_eq!(left, (pair.node.own, LeaveReason::Expired), "nobody took its heartbeats from it");
}
