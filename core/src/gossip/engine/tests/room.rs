//! Whether there is room for what is published, and who is on a topic.

use super::*;
use crate::gossip::engine::{PublishError, config};

fn joins() -> Rpc {
    Rpc { subscriptions: vec![subscribe()], ..rpc() }
}

/// An engine on a topic with a peer, of which nothing but subscriptions comes.
fn with_peer() -> Net {
    let mut net = Net::new(1);
    let now = net.now;
    net.engine(0).connected(now, peer(1), true);
    net.engine(0).is_ours(&peer(1));
    net.receive(0, peer(1), joins());
    net
}

/// Publishes as much as there is room for, at most so many messages. How many.
fn publish(engine: &mut Engine, now: Duration, from: u64, most: u64) -> u64 {
    for number in from..from + most {
        match engine.publish_if_room(now, good(peer(0), number)) {
            Ok(peers) => assert_eq!(peers, 1),
            Err(error) => {
                assert_eq!(error, PublishError::NoRoom);
                return number - from;
            }
        }
    }
    most
}

fn frames(engine: &mut Engine, now: Duration) -> (u64, u64) {
    let (mut frames, mut room) = (0, 0);
    while let Some(output) = engine.poll(now) {
        frames += u64::from(matches!(output, Output::Send { .. }));
        room += u64::from(matches!(output, Output::Room));
    }
    (frames, room)
}

#[test]
fn what_is_published_waits_for_room_and_loses_nothing() {
    let mut net = with_peer();
    net.run_for(secs(3.0));
    let now = net.now;
    let engine = net.engine(0);
    let room = config::CROWDED as u64;
    assert_eq!(publish(engine, now, 0, 10_000), room);
    // Nobody is woken before something has gone.
    assert_eq!(frames(engine, now), (1, 0));
    assert_eq!(publish(engine, now, room, 10_000), 500);
    engine.sent(now, &peer(1));
    let now = now + secs(0.1);
    assert_eq!(frames(engine, now), (1, 1));
    assert_eq!(publish(engine, now, room + 500, 10_000), 500);
    // Heartbeats don't wait.
    assert_eq!(engine.publish(now, good(peer(0), 1 << 40)), Ok(1));
    assert_eq!(engine.counts.dropped.get_or_create(&[("queue", "connection")]).get(), 0);
}

#[test]
fn bytes_have_no_room_either_but_for_one_message() {
    let mut net = with_peer();
    net.run_for(secs(3.0));
    let now = net.now;
    let data = vec![7; 1 << 19];
    let taken = (0..100).take_while(|number| {
        let message = message(peer(0), *number, &data, GOOD);
        net.engine(0).publish_if_room(now, message).is_ok()
    });
    assert_eq!(taken.count(), 3);
}

#[test]
fn who_takes_nothing_is_not_waited_for() {
    let mut net = with_peer();
    net.run_for(secs(3.0));
    let now = net.now;
    let engine = net.engine(0);
    let room = publish(engine, now, 0, 10_000);
    assert_eq!(frames(engine, now), (1, 0));
    let more = publish(engine, now, room, 10_000);
    // Its frame is under way for long: who waits is told.
    let now = now + config::STUCK;
    assert_eq!(frames(engine, now), (0, 1));
    assert_eq!(publish(engine, now, room + more, 10_000), 10_000);
    // Gone, with somebody waiting: told at once.
    net.engine(0).sent(now, &peer(1));
    frames(net.engine(0), now);
    publish(net.engine(0), now, 20_000, 10_000);
    net.engine(0).disconnected(now, &peer(1));
    assert_eq!(frames(net.engine(0), now), (0, 1));
    let nobody = net.engine(0).publish_if_room(now, good(peer(0), 1 << 40));
    assert_eq!(nobody, Err(PublishError::NoPeers));
}

#[test]
fn who_is_on_a_topic_is_told_as_they_come_and_go() {
    let mut net = Net::new(3);
    net.connect(0, 1);
    net.connect(0, 2);
    net.run_for(secs(1.0));
    let there = |net: &mut Net| net.engine(0).subscribed(TOPIC).collect::<Vec<_>>();
    assert_eq!(there(&mut net), [peer(1), peer(2)]);
    let told = |net: &mut Net| {
        let told = std::mem::take(&mut net.told).into_iter();
        told.filter(|(at, ..)| *at == peer(0)).map(|(_, of, here)| (of, here)).collect::<Vec<_>>()
    };
    let mut first = told(&mut net);
    first.sort_unstable();
    assert_eq!(first, [(peer(1), true), (peer(2), true)]);
    // Said again, and again: no news.
    for _ in 0..3 {
        net.receive(0, peer(1), joins());
    }
    assert_eq!(told(&mut net), []);
    let now = net.now;
    net.engine(1).leave(now, TOPIC);
    net.run_for(secs(1.0));
    assert_eq!((told(&mut net), there(&mut net)), (vec![(peer(1), false)], vec![peer(2)]));
    net.disconnect(peer(0), peer(2));
    net.settle();
    assert_eq!((told(&mut net), there(&mut net)), (vec![(peer(2), false)], vec![]));
    // Of a topic that was left nothing is told.
    let now = net.now;
    net.engine(1).join(now, TOPIC);
    net.run_for(secs(1.0));
    net.told.clear();
    net.engine(0).leave(now, TOPIC);
    net.disconnect(peer(0), peer(1));
    net.settle();
    assert_eq!(told(&mut net), []);
}

#[test]
fn what_is_said_on_a_quick_topic_waits_for_little_more() {
    for (quick, wait) in [(false, Config::default().pause), (true, Config::default().spacing)] {
        let mut net = with_peer();
        net.run_for(secs(3.0));
        let now = net.now;
        let engine = net.engine(0);
        if quick {
            engine.quicken(TOPIC);
        }
        engine.publish(now, good(peer(0), 1)).unwrap();
        assert_eq!(frames(engine, now).0, 1);
        engine.sent(now, &peer(1));
        engine.publish(now, good(peer(0), 2)).unwrap();
        assert_eq!(frames(engine, now + wait - Duration::from_millis(1)).0, 0);
        assert_eq!(frames(engine, now + wait).0, 1);
    }
}
