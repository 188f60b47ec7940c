//! The engine against a naive model: whatever happens, each message of a joined
//! topic is delivered exactly once if one good copy came, and never if none did.

use super::*;
use proptest::prelude::*;

/// What a peer sends.
#[derive(Clone, Debug)]
enum Step {
    /// A copy of a message, good or forged, by a peer.
    Copy {
        from: u64,
        number: u64,
        good: bool,
    },
    /// It is offered.
    Offer {
        from: u64,
        number: u64,
    },
    /// The oldest check ends.
    Checked,
    /// All do.
    AllChecked,
    Wait(u64),
    Reconnect {
        from: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..5_u64, 0..6_u64, any::<bool>())
            .prop_map(|(from, number, good)| Step::Copy { from, number, good }),
        2 => (1..5_u64, 0..6_u64).prop_map(|(from, number)| Step::Offer { from, number }),
        3 => Just(Step::Checked),
        1 => Just(Step::AllChecked),
        1 => (1..500_u64).prop_map(Step::Wait),
        1 => (1..5_u64).prop_map(|from| Step::Reconnect { from }),
    ]
}

proptest! {
    #[test]
    fn each_good_message_is_delivered_once(steps in prop::collection::vec(step(), 1..80)) {
        let mut engine = Engine::new(Duration::ZERO, Config::default(), Counts::default(), 1);
        engine.join(Duration::ZERO, TOPIC);
        let mut now = Duration::ZERO;
        (1..5).for_each(|number| engine.connected(now, peer(number), number % 2 == 0));
        let mut checks = std::collections::VecDeque::new();
        let mut delivered = Vec::new();
        // Good copies that were taken in, and could have been.
        let mut good_came = BTreeSet::new();
        let mut gone = BTreeSet::new();
        let all = steps.into_iter().chain([Step::AllChecked, Step::AllChecked]);
        for step in all {
            match step {
                Step::Copy { from, number, good: is_good } => {
                    let copy = match is_good {
                        true => good(peer(9), number),
                        false => message(peer(9), number, b"forged", b"evil"),
                    };
                    // A peer that already has a copy under check gets no second one in.
                    let rpc = Rpc { messages: vec![copy], ..rpc() };
                    let second = engine.counts.refused.get_or_create(&[("reason", "second-copy")]).get();
                    engine.received(now, &peer(from), rpc);
                    let refused = engine.counts.refused.get_or_create(&[("reason", "second-copy")]).get() > second;
                    if is_good && !refused && !gone.contains(&from) {
                        good_came.insert(number);
                    }
                }
                Step::Offer { from, number } => {
                    let ids = vec![good(peer(9), number).id().clone()];
                    engine.received(now, &peer(from), Rpc { ihave: vec![(TOPIC.into(), ids)], ..rpc() });
                }
                Step::Checked => {
                    if let Some((check, is_good)) = checks.pop_front() {
                        engine.verified(now, check, is_good);
                    }
                }
                Step::AllChecked => {
                    drain(&mut engine, now, &mut checks, &mut delivered, &mut gone);
                    while let Some((check, is_good)) = checks.pop_front() {
                        engine.verified(now, check, is_good);
                        drain(&mut engine, now, &mut checks, &mut delivered, &mut gone);
                    }
                }
                Step::Wait(millis) => now += Duration::from_millis(millis),
                Step::Reconnect { from } => {
                    // What waited of it alone is lost with it: all is checked first.
                    drain(&mut engine, now, &mut checks, &mut delivered, &mut gone);
                    while let Some((check, is_good)) = checks.pop_front() {
                        engine.verified(now, check, is_good);
                        drain(&mut engine, now, &mut checks, &mut delivered, &mut gone);
                    }
                    engine.disconnected(now, &peer(from));
                    engine.connected(now, peer(from), true);
                    gone.remove(&from);
                }
            }
            drain(&mut engine, now, &mut checks, &mut delivered, &mut gone);
        }
        delivered.sort_unstable();
        let expected: Vec<_> = good_came.into_iter().collect();
        prop_assert_eq!(delivered, expected);
        prop_assert!(engine.checks.is_empty() && engine.awaiting.is_empty());
    }
}

fn drain(
    engine: &mut Engine,
    now: Duration,
    checks: &mut std::collections::VecDeque<(super::super::CheckId, bool)>,
    delivered: &mut Vec<u64>,
    gone: &mut BTreeSet<u64>,
) {
    while let Some(output) = engine.poll(now) {
        match output {
            Output::Send { peer, .. } => engine.sent(now, &peer),
            Output::Verify { check, message } => {
                checks.push_back((check, message.encoded().ends_with(GOOD)));
            }
            Output::Deliver { message, .. } => {
                delivered.push(message.seq());
                engine.verdict(now, message.id(), Verdict::Accept);
            }
            Output::Close { peer: closed, .. } => {
                engine.disconnected(now, &closed);
                gone.extend((1..5).filter(|number| peer(*number) == closed));
            }
            Output::Subscribed { .. } => {}
        }
    }
}
