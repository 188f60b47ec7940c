//! Links: how they are made, kept and taken back.

use super::*;
use crate::gossip::{engine::config, mesh::HIGH, wire::Prune};

#[test]
fn meshes_have_their_size_and_are_mutual() {
    let mut net = Net::new(60);
    net.connect_all(60, 6);
    net.run(secs(70.0));
    let ids: Vec<_> = net.engines.keys().copied().collect();
    for id in &ids {
        let engine = &net.engines[id];
        let mesh = &engine.topics[TOPIC].mesh;
        assert!((engine.config.low..=HIGH + 1).contains(&mesh.len()), "{}", mesh.len());
        for key in mesh {
            let other = &net.engines[&engine.peers[key].id];
            let back = other.keys[id];
            assert!(other.topics[TOPIC].mesh.contains(&back));
        }
    }
    assert!(net.closed.is_empty(), "{:?}", net.closed);
}

#[test]
fn a_peer_that_joins_later_is_told_of_and_linked_at_once() {
    let mut net = Net::new(2);
    let now = net.now;
    net.engine(1).leave(now, TOPIC);
    net.connect(0, 1);
    net.run(secs(3.0));
    assert_eq!(net.engine(0).subscribers(TOPIC), 0);
    let now = net.now;
    net.engine(1).join(now, TOPIC);
    net.run_for(Duration::from_millis(200));
    assert_eq!((net.engine(0).subscribers(TOPIC), net.engine(0).links(TOPIC)), (1, 1));
    assert!(net.subscribed.contains(&(peer(0), peer(1))));
}

#[test]
fn who_leaves_a_topic_is_out_of_the_mesh_and_hears_nothing() {
    let mut net = Net::new(3);
    net.connect_all(3, 2);
    net.run(secs(2.0));
    let now = net.now;
    net.engine(2).leave(now, TOPIC);
    net.run_for(secs(1.0));
    net.publish(0, good(peer(0), 1));
    net.run_for(secs(3.0));
    assert_eq!(net.have(good(peer(0), 1).id()), 1);
    assert_eq!((net.engine(0).links(TOPIC), net.engine(2).subscribers(TOPIC)), (1, 0));
}

#[test]
fn a_restarted_peer_is_greeted_and_linked_again() {
    let mut net = Net::new(2);
    net.connect(0, 1);
    net.run(secs(2.0));
    net.engines.remove(&peer(1));
    net.subscribed.clear();
    net.add(1);
    let now = net.now;
    net.engine(1).connected(now, peer(0), true);
    net.engine(0).replaced(now, peer(1), false);
    net.run_for(secs(2.0));
    assert!(net.subscribed.contains(&(peer(0), peer(1))));
    assert_eq!((net.engine(0).links(TOPIC), net.engine(1).links(TOPIC)), (1, 1));
    net.publish(0, good(peer(0), 1));
    net.run_for(secs(1.0));
    assert_eq!(net.have(good(peer(0), 1).id()), 1);
}

#[test]
fn what_waits_for_a_peer_goes_on_its_new_connection() {
    let mut net = Net::new(2);
    net.connect(0, 1);
    net.run_for(secs(2.0));
    // The second one waits for more.
    for number in 1..=2 {
        net.publish(0, good(peer(0), number));
    }
    let now = net.now;
    net.engine(0).replaced(now, peer(1), false);
    net.run_for(secs(0.5));
    for number in 1..=2 {
        assert_eq!(net.have(good(peer(0), number).id()), 1, "{number}");
    }
}

#[test]
fn a_mesh_that_is_full_takes_no_more_from_outside() {
    let mut net = Net::new(1);
    net.grafted(1..20);
    assert_eq!(net.engine(0).links(TOPIC), HIGH);
}

#[test]
fn one_link_at_least_leads_to_whom_this_node_chose() {
    let mut net = Net::new(1);
    net.grafted(1..20);
    net.stranger(99, true);
    net.run(secs(5.0));
    let engine = &net.engines[&peer(0)];
    let chosen = engine.keys[&peer(99)];
    assert!(engine.topics[TOPIC].mesh.contains(&chosen));
}

#[test]
fn many_topics_of_one_peer_are_too_much_and_of_this_node_are_forgotten() {
    let mut net = Net::new(1);
    let now = net.now;
    net.engine(0).connected(now, peer(1), false);
    let topics = (0..=config::MAX_TOPICS).map(|number| subscribe_to(number.to_string()));
    net.receive(0, peer(1), Rpc { subscriptions: topics.collect(), ..rpc() });
    assert_eq!(net.closed, [(peer(0), peer(1), "too-many-topics", false)]);

    for number in 0..2000 {
        let topic = number.to_string();
        net.engine(0).join(now, &topic);
        net.engine(0).leave(now, &topic);
    }
    assert!(net.engine(0).topics.len() <= config::MAX_LOOSE_TOPICS + 1);
    net.run(secs(120.0));
    assert_eq!(net.engine(0).topics.len(), 1);
}

#[test]
fn a_topic_that_was_never_joined_can_be_published_on_however_many_there_are() {
    let mut net = Net::new(1);
    let now = net.now;
    net.engine(0).connected(now, peer(1), false);
    for number in 0..2 * config::MAX_LOOSE_TOPICS as u64 {
        let topic = number.to_string();
        net.receive(0, peer(1), Rpc { subscriptions: vec![subscribe_to(&topic)], ..rpc() });
        let (source, seqno) = (peer(0).to_bytes(), number.to_be_bytes());
        let message = SignedMessage::new(&source, b"", &seqno, &topic, GOOD, None).unwrap();
        net.engine(0).publish(now, message).unwrap();
        assert!(net.engine(0).topics.len() <= config::MAX_LOOSE_TOPICS + 1);
    }
}

/// A hub has no room for so many links. Who is refused hears of what there is
/// within a second all the same.
#[test]
fn whom_a_full_mesh_refuses_is_offered_all_there_is() {
    let leaves = 30;
    let mut net = Net::new(leaves + 1);
    (1..=leaves).for_each(|leaf| net.connect(leaf, 0));
    net.run(secs(3.0));
    assert_eq!(net.engine(0).links(TOPIC), HIGH);
    for number in 0..20 {
        let leaf = number % leaves + 1;
        net.publish(leaf, good(peer(leaf), number));
        net.run_for(secs(1.5));
        assert_eq!(net.have(good(peer(leaf), number).id()), leaves as usize, "{number}");
    }
}

/// And so is who comes back before the time is over in which it was refused.
#[test]
fn whom_a_former_backoff_refuses_is_offered_all_there_is() {
    let leaves = 20;
    let mut net = Net::new(leaves + 1);
    (1..=leaves).for_each(|leaf| net.connect(leaf, 0));
    net.run(secs(3.0));
    for leaf in 1..=leaves {
        net.disconnect(peer(0), peer(leaf));
        net.engines.remove(&peer(leaf));
        net.add(leaf);
        net.connect(leaf, 0);
        net.run_for(secs(0.1));
    }
    net.run_for(secs(1.0));
    assert!(net.refused(0, "graft-in-former-backoff") > 0);
    for number in 0..5 {
        net.publish(1, good(peer(1), number));
        net.run_for(secs(1.5));
        assert_eq!(net.have(good(peer(1), number).id()), leaves as usize, "{number}");
    }
}

#[test]
fn a_link_that_was_not_asked_for_yet_is_not_once_the_peer_wants_none() {
    let leave = || Subscription { subscribe: false, ..subscribe() };
    let prune = Prune { topic: TOPIC.into(), backoff: Some(secs(60.0)) };
    for no in [Rpc { prune: vec![prune], ..rpc() }, Rpc { subscriptions: vec![leave()], ..rpc() }] {
        let mut net = Net::new(1);
        let now = net.now;
        net.engine(0).connected(now, peer(1), true);
        net.settle();
        // The frame with the greeting is under way: what is said now waits for it.
        net.under_way.clear();
        net.engine(0).received(now, &peer(1), Rpc { subscriptions: vec![subscribe()], ..rpc() });
        assert_eq!(net.engine(0).links(TOPIC), 1);
        net.engine(0).received(now, &peer(1), no);
        net.engine(0).sent(now, &peer(1));
        let said = std::iter::from_fn(|| net.engine(0).poll(now));
        let said = said.filter(|output| matches!(output, Output::Send { .. }));
        assert_eq!((said.count(), net.engine(0).links(TOPIC)), (0, 0));
    }
}
