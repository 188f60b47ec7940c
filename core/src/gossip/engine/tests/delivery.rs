//! What is published reaches everybody.

use super::*;

#[test]
fn every_message_reaches_every_node_once() {
    let mut net = Net::new(50);
    net.connect_all(50, 6);
    net.run(secs(3.0));
    for number in 0..20 {
        net.publish(number * 2, good(peer(number * 2), 7));
        net.run_for(Duration::from_millis(20));
    }
    net.run_for(secs(5.0));
    for number in 0..20 {
        assert_eq!(net.have(good(peer(number * 2), 7).id()), 49);
    }
    for ids in net.delivered.values() {
        let distinct: BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    }
    assert!(net.closed.is_empty(), "{:?}", net.closed);
}

#[test]
fn what_the_mesh_loses_comes_by_offers() {
    let mut net = Net::new(20);
    for node in 0..20 {
        for other in 0..node {
            // Nothing but what was asked for gets through.
            net.blocked.extend([(peer(node), peer(other)), (peer(other), peer(node))]);
        }
    }
    net.connect_all(20, 5);
    net.run(secs(2.0));
    net.publish(3, good(peer(3), 1));
    net.run_for(secs(20.0));
    assert_eq!(net.have(good(peer(3), 1).id()), 19);
    assert!(net.closed.is_empty(), "{:?}", net.closed);
}

#[test]
fn a_burst_goes_in_few_frames_and_loses_nothing() {
    let mut net = Net::new(2);
    net.connect(0, 1);
    net.run(secs(1.5));
    let frames = net.frames;
    for number in 0..2000 {
        net.publish(0, good(peer(0), number));
        net.run_for(Duration::from_micros(100));
    }
    net.run_for(secs(1.0));
    assert_eq!(net.delivered[&peer(1)].len(), 2000);
    assert!(net.frames - frames < 40, "{}", net.frames - frames);
}

/// As Go's node, which throws away what it has no room for.
#[test]
fn a_stranger_is_sent_no_more_at_a_time_than_it_has_room_for_and_soon_the_rest() {
    let mut net = Net::new(1);
    let stranger = peer(9);
    net.stranger(9, true);
    net.run(secs(1.5));
    for number in 0..500 {
        let now = net.now;
        net.engine(0).publish(now, good(peer(0), number)).unwrap();
    }
    let (mut frames, mut messages, begin) = (0, 0, net.now);
    while messages < 500 {
        let now = net.now;
        while let Some(output) = net.engine(0).poll(now) {
            if let Output::Send { frame, .. } = output {
                let header = frame.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
                let sent = Rpc::decode(&frame[header..]).unwrap().messages.len();
                assert!(sent <= 24, "{sent}");
                (frames, messages) = (frames + 1, messages + sent);
                net.engine(0).sent(now, &stranger);
            }
        }
        assert!(net.now - begin < secs(0.2), "{messages}");
        net.now = net.engine(0).next_wake();
    }
    // The first went before the others were there, and alone.
    assert!(frames <= 1 + 499_usize.div_ceil(24), "{frames}");
}

/// Three of five are told at a time: by turns, each within two seconds.
#[test]
fn all_outside_the_mesh_are_told_in_turn() {
    let mut net = Net::new(1);
    let now = net.now;
    net.engine(0).join(now, "topic");
    for other in 1..=5 {
        let now = net.now;
        net.engine(0).connected(now, peer(other), false);
    }
    let topic: std::sync::Arc<str> = "topic".into();
    let keys: Vec<_> = net.engine(0).peers.keys().copied().collect();
    net.engine(0).topics.get_mut(&topic).unwrap().subscribed.extend(&keys);
    for round in 0..20 {
        let now = secs(100.0 + f64::from(round));
        net.engine(0).offer(now, &topic);
        let told = &net.engine(0).topics[&topic].told;
        assert_eq!(told.values().filter(|at| **at == now).count(), 3);
        assert!(round == 0 || keys.iter().all(|key| now - told[key] <= secs(2.0)), "{told:?}");
    }
}

#[test]
fn what_makes_a_frame_does_not_wait_for_more() {
    let mut net = Net::new(2);
    net.connect(0, 1);
    net.run(secs(1.5));
    let (count, frames) = (20_000, net.frames);
    for number in 0..count {
        net.publish(0, good(peer(0), number));
        net.run_for(Duration::from_micros(50));
    }
    net.run_for(Duration::from_millis(100));
    assert_eq!(net.delivered[&peer(1)].len() as u64, count);
    assert!(net.frames - frames < count / 50, "{}", net.frames - frames);
}

#[test]
fn a_lone_message_waits_for_nothing() {
    let mut net = Net::new(2);
    net.connect(0, 1);
    net.run(secs(1.5));
    net.publish(0, good(peer(0), 1));
    net.run_for(2 * net.latency);
    assert_eq!(net.delivered[&peer(1)].len(), 1);
}

#[test]
fn a_slow_peer_loses_the_oldest_and_memory_stays_bounded() {
    let mut net = Net::new(1);
    let slow = peer(9);
    net.stranger(9, true);
    net.run(secs(0.2));
    // No `sent` follows.
    let frame = |net: &mut Net| {
        let outputs = std::iter::from_fn(|| net.engines.get_mut(&peer(0))?.poll(secs(0.5)));
        outputs.filter(|output| matches!(output, Output::Send { .. })).count()
    };
    net.under_way.clear();
    net.engine(0).peers.values_mut().for_each(|peer| peer.under_way = true);
    for number in 0..5000 {
        net.engine(0).publish(secs(0.4), good(peer(0), number)).unwrap();
    }
    assert_eq!(frame(&mut net), 0);
    net.engine(0).sent(secs(0.5), &slow);
    assert_eq!(frame(&mut net), 1);
    assert_eq!(net.engine(0).counts.dropped.get_or_create(&[("queue", "connection")]).get(), 2952);
}

#[test]
fn a_large_message_is_not_wanted_twice() {
    let mut net = Net::new(30);
    net.byte = Duration::from_micros(20);
    net.connect_all(30, 5);
    net.run(secs(3.0));
    let copies = |net: &mut Net, data: &[u8]| {
        let before = net.copies;
        net.publish(0, message(peer(0), data.len() as u64, data, GOOD));
        net.run_for(secs(5.0));
        assert_eq!(net.have(message(peer(0), data.len() as u64, data, GOOD).id()), 29);
        net.copies - before
    };
    let (small, large) = (copies(&mut net, &[7; 100]), copies(&mut net, &[7; 5000]));
    assert!(large < small, "{large} {small}");
}

#[test]
fn a_message_that_is_ignored_goes_no_further() {
    // A line: 0, 1, 2.
    let mut net = Net::new(3);
    net.connect(0, 1);
    net.connect(1, 2);
    net.run(secs(2.0));
    let now = net.now;
    net.engine(0).publish(now, good(peer(0), 1)).unwrap();
    net.under_way.clear();
    let (from, id) = (peer(0), good(peer(0), 1));
    net.engine(1).received(now, &from, Rpc { messages: vec![id.clone()], ..rpc() });
    let outputs: Vec<_> = std::iter::from_fn(|| net.engine(1).poll(now)).collect();
    let [Output::Verify { check, .. }] = outputs[..] else { panic!("{outputs:?}") };
    net.engine(1).verified(now, check, true);
    assert!(matches!(net.engine(1).poll(now), Some(Output::Deliver { .. })));
    net.engine(1).verdict(now, id.id(), Verdict::Ignore);
    net.run_for(secs(5.0));
    assert_eq!(net.have(id.id()), 0);
}

#[test]
fn one_peer_can_be_told() {
    let mut net = Net::new(3);
    net.connect(0, 1);
    net.connect(0, 2);
    net.run(secs(2.0));
    let now = net.now;
    // Of a source that neither is.
    net.engine(0).tell(now, &peer(2), good(peer(5), 1));
    net.run_for(3 * net.latency);
    assert_eq!(net.delivered.keys().copied().collect::<Vec<_>>(), [peer(2)]);
}

#[test]
fn who_publishes_need_not_have_joined() {
    let mut net = Net::new(5);
    net.connect_all(5, 2);
    let now = net.now;
    net.engine(0).leave(now, TOPIC);
    net.run(secs(2.0));
    net.publish(0, good(peer(0), 1));
    net.run_for(secs(2.0));
    assert_eq!(net.have(good(peer(0), 1).id()), 4);
}

#[test]
fn what_was_told_meanwhile_is_not_asked_for() {
    let mut net = Net::new(1);
    (1..=2).for_each(|number| net.stranger(number, false));
    let id = good(peer(5), 1).id().clone();
    for from in 1..=2 {
        net.receive(0, peer(from), Rpc { ihave: vec![(TOPIC.into(), vec![id.clone()])], ..rpc() });
    }
    let now = net.now;
    net.engine(0).tell(now, &peer(1), good(peer(5), 1));
    net.run(secs(5.0));
    assert_eq!(net.asked, [(peer(1), id)], "and not the other");
    assert_eq!(net.refused(0, "broken-promise"), 0);
}

#[test]
fn what_is_published_anew_keeps_nothing_else() {
    let mut net = Net::new(1);
    net.stranger(1, false);
    net.run(secs(0.5));
    (1..=2).for_each(|number| net.publish(0, good(peer(0), number)));
    net.run(secs(7.0));
    net.publish(0, good(peer(0), 1));
    net.run(secs(9.2));
    let copies = net.copies;
    let iwant = vec![good(peer(0), 2).id().clone()];
    net.receive(0, peer(1), Rpc { iwant, ..rpc() });
    net.run(secs(9.4));
    assert_eq!(net.copies, copies);
}
