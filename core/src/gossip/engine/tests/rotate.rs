//! Links that bring nothing, and back-offs.

use super::{
    abuse::{messages, node_with},
    *,
};
use crate::gossip::{
    engine::config,
    mesh::{BACKOFF, HIGH},
};

fn graft() -> Rpc {
    Rpc { graft: vec![TOPIC.into()], ..rpc() }
}

fn joins() -> Rpc {
    Rpc { subscriptions: vec![subscribe()], ..graft() }
}

/// A message that is offered, and sent when it is asked for.
fn offered(number: u64) -> Rpc {
    let message = good(peer(77), number);
    Rpc { ihave: vec![(TOPIC.into(), vec![message.id().clone()])], ..messages([message]) }
}

/// Whether a peer is in the mesh of node 0.
fn linked(net: &Net, number: u64) -> bool {
    let engine = &net.engines[&peer(0)];
    engine.keys.get(&peer(number)).is_some_and(|key| engine.topics[TOPIC].mesh.contains(key))
}

/// A node whose links are all held by those who bring nothing, and honest peers
/// that it may or may not have chosen.
fn held(chosen: bool) -> Net {
    let mut net = Net::new(1);
    for sybil in 1..=HIGH as u64 {
        let now = net.now;
        net.engine(0).connected(now, peer(sybil), false);
        net.receive(0, peer(sybil), joins());
    }
    for honest in 11..=13 {
        let now = net.now;
        net.engine(0).connected(now, peer(honest), chosen);
        net.receive(0, peer(honest), joins());
    }
    net
}

#[test]
fn who_holds_links_and_brings_nothing_is_replaced() {
    for chosen in [true, false] {
        let mut net = held(chosen);
        net.run(secs(3.0));
        // What is honest comes of those who are outside, in answer to offers, or of
        // those who are linked: the least it can be.
        for number in 0..600 {
            let from = 11 + number % 3;
            net.receive(0, peer(from), offered(number));
            net.run_for(secs(1.0));
            for sybil in 1..=HIGH as u64 {
                net.receive(0, peer(sybil), graft());
                // Cut off in the end, it comes again.
                if !net.engine(0).keys.contains_key(&peer(sybil)) {
                    let now = net.now;
                    net.engine(0).connected(now, peer(sybil), false);
                    net.receive(0, peer(sybil), joins());
                }
            }
        }
        let honest = (11..=13).filter(|number| linked(&net, *number)).count();
        assert_eq!(honest, 3, "chosen: {chosen}");
        let links = net.engines[&peer(0)].topics[TOPIC].mesh.len();
        assert!(links <= HIGH + 1, "{links}");
    }
}

/// As on a topic with one source.
#[test]
fn links_stay_where_the_mesh_brings_what_there_is() {
    let mut net = held(true);
    net.run(secs(100.0));
    let of_mesh = |net: &Net| net.engines[&peer(0)].topics[TOPIC].mesh.clone();
    let mesh = of_mesh(&net);
    let members: Vec<_> = net.engines[&peer(0)].peers.iter().map(|(k, p)| (*k, p.id)).collect();
    let members: Vec<_> = members.into_iter().filter(|(key, _)| mesh.contains(key)).collect();
    for number in 0..1000 {
        let (_, from) = members[0];
        net.receive(0, from, messages([good(peer(77), number)]));
        net.run_for(secs(0.5));
    }
    assert_eq!(of_mesh(&net), mesh);
}

#[test]
fn who_sends_what_nobody_asked_for_takes_no_link() {
    let mut net = held(false);
    net.run(secs(3.0));
    let mesh = net.engines[&peer(0)].topics[TOPIC].mesh.clone();
    for number in 0..300 {
        let outside = 11 + number % 3;
        assert!(!linked(&net, outside));
        net.receive(0, peer(outside), messages([good(peer(77), number)]));
        net.run_for(secs(1.0));
    }
    assert_eq!(net.engines[&peer(0)].topics[TOPIC].mesh, mesh);
}

#[test]
fn who_came_by_itself_takes_no_link_that_this_node_chose() {
    let mut net = Net::new(1);
    for number in (1..=6).chain(20..=21).chain(11..=13) {
        let now = net.now;
        net.engine(0).connected(now, peer(number), number >= 20);
        net.receive(0, peer(number), joins());
    }
    assert!(linked(&net, 20) && linked(&net, 21) && !linked(&net, 11));
    for number in 0..600 {
        let from = if number % 2 == 0 { 1 + number / 2 % 6 } else { 11 + number / 2 % 3 };
        net.receive(0, peer(from), offered(number));
        net.run_for(secs(0.5));
    }
    assert!(linked(&net, 20) && linked(&net, 21));
}

#[test]
fn a_link_is_given_up_only_when_the_new_one_is_there() {
    let mut net = held(true);
    net.run(secs(3.0));
    let mut number = 0;
    let now = net.now;
    let swap = loop {
        number += 1;
        assert!(net.now - now < secs(200.0), "nothing is replaced");
        net.receive(0, peer(11 + number % 3), offered(number));
        let before = net.engines[&peer(0)].topics[TOPIC].mesh.len();
        net.run_for(secs(0.5));
        let topic = &net.engines[&peer(0)].topics[TOPIC];
        if let Some(swap) = topic.swap {
            assert_eq!(topic.mesh.len(), before + 1);
            assert!(topic.mesh.contains(&swap.old) && topic.mesh.contains(&swap.new));
            break swap;
        }
    };
    // It refuses: the old one stays.
    let refuses = net.engines[&peer(0)].peers[&swap.new].id;
    let prune = crate::gossip::wire::Prune { topic: TOPIC.into(), backoff: Some(BACKOFF) };
    net.receive(0, refuses, Rpc { prune: vec![prune], ..rpc() });
    net.run_for(secs(1.1));
    let topic = &net.engines[&peer(0)].topics[TOPIC];
    assert!(topic.mesh.contains(&swap.old) && !topic.mesh.contains(&swap.new));
}

/// Nodes that do as they should find no fault with each other for it.
#[test]
fn meshes_that_change_lose_nothing_and_blame_nobody() {
    let mut net = Net::new(40);
    net.connect_all(40, 6);
    net.run(secs(3.0));
    for number in 0..300 {
        net.publish(number % 40, good(peer(number % 40), 1000 + number));
        net.run_for(secs(1.0));
    }
    net.run_for(secs(10.0));
    for number in 0..300 {
        assert_eq!(net.have(good(peer(number % 40), 1000 + number).id()), 39);
    }
    assert!(net.closed.is_empty(), "{:?}", net.closed);
    for node in 0..40 {
        assert_eq!(net.refused(node, "graft-in-backoff"), 0);
    }
}

#[test]
fn another_connection_ends_no_backoff() {
    for gone in [true, false] {
        let mut net = node_with(1);
        let now = net.now;
        net.engine(0).leave(now, TOPIC);
        net.engine(0).join(now, TOPIC);
        let again = |net: &mut Net| {
            let now = net.now;
            if gone {
                net.engine(0).disconnected(now, &peer(1));
                net.engine(0).connected(now, peer(1), false);
            } else {
                net.engine(0).replaced(now, peer(1), false);
            }
        };
        again(&mut net);
        // It may have restarted, and not know of it.
        net.receive(0, peer(1), joins());
        assert_eq!((net.engine(0).links(TOPIC), net.refused(0, "graft-in-backoff")), (0, 0));
        assert_eq!(net.refused(0, "graft-in-former-backoff"), 1);
        // Now it does.
        net.receive(0, peer(1), graft());
        assert_eq!((net.engine(0).links(TOPIC), net.refused(0, "graft-in-backoff")), (0, 1));
        again(&mut net);
        net.receive(0, peer(1), joins());
        net.run_for(BACKOFF - secs(5.0));
        assert_eq!(net.engine(0).links(TOPIC), 0);
        net.run_for(secs(6.0));
        net.receive(0, peer(1), graft());
        assert_eq!((net.engine(0).links(TOPIC), net.refused(0, "graft-in-backoff")), (1, 1));
    }
}

#[test]
fn who_comes_back_is_not_forgiven() {
    let mut net = node_with(1);
    let forged = |number| messages([message(peer(7), number, b"forged", b"evil")]);
    for number in 0..3 {
        net.receive(0, peer(1), forged(number));
        net.run_for(secs(0.1));
        let now = net.now;
        net.engine(0).disconnected(now, &peer(1));
        net.engine(0).connected(now, peer(1), false);
    }
    assert_eq!(net.closed, [(peer(0), peer(1), "bad-signature", true)]);
    // One that is cut off begins with what it had.
    let now = net.now;
    net.engine(0).connected(now, peer(1), false);
    net.receive(0, peer(1), forged(9));
    assert_eq!(net.closed.len(), 2);
    // Time forgives.
    net.run_for(secs(3600.0));
    assert_eq!(net.engine(0).departed.len(), 0);
}

#[test]
fn those_who_are_gone_and_remembered_are_bounded() {
    let mut net = Net::new(1);
    for number in 1..=config::MAX_DEPARTED.get() as u64 + 10 {
        let now = net.now;
        net.engine(0).connected(now, peer(number), false);
        net.engine(0).offended(now, &peer(number), crate::gossip::engine::Offence::Substream);
        net.engine(0).disconnected(now, &peer(number));
        // Of who did nothing nothing is remembered.
        net.engine(0).connected(now, peer(1_000_000 + number), false);
        net.engine(0).disconnected(now, &peer(1_000_000 + number));
    }
    assert_eq!(net.engine(0).departed.len(), config::MAX_DEPARTED.get());
    assert_eq!(net.refused(0, "too-many-departed"), 10);
}
