//! What a hostile peer can do, and what it can't.

use super::*;
use crate::gossip::{
    engine::{Offence, config},
    wire::Prune,
};

/// A node, and peers without engines that have joined its topic.
pub(super) fn node_with(peers: u64) -> Net {
    let mut net = Net::new(1);
    (1..=peers).for_each(|number| net.stranger(number, false));
    net.run(secs(1.5));
    net
}

pub(super) fn messages(messages: impl IntoIterator<Item = SignedMessage>) -> Rpc {
    Rpc { messages: messages.into_iter().collect(), ..rpc() }
}

fn bad(source: PeerId, number: u64) -> SignedMessage {
    message(source, number, b"forged", b"evil")
}

#[test]
fn a_forged_copy_shadows_nothing_first_or_last() {
    let (forger, honest) = (peer(1), peer(2));
    for forged_first in [true, false] {
        let mut net = node_with(2);
        let (real, forged) = (good(peer(7), 5), bad(peer(7), 5));
        assert_eq!(real.id(), forged.id());
        let now = net.now;
        let mut frames = [(forger, forged), (honest, real.clone())];
        if !forged_first {
            frames.reverse();
        }
        // Both arrive before either is checked.
        for (from, message) in frames {
            net.engine(0).received(now, &from, messages([message]));
        }
        net.run_for(secs(1.0));
        assert_eq!(net.delivered[&peer(0)], [real.id().clone()]);
        assert!(net.closed.is_empty());
    }
}

#[test]
fn a_forged_copy_shadows_nothing_of_who_has_much_to_say() {
    let mut net = node_with(2);
    let (real, forged) = (good(peer(7), 5), bad(peer(7), 5));
    let now = net.now;
    net.engine(0).received(now, &peer(1), messages([forged]));
    let many = (0..1000).map(|number| good(peer(8), number));
    net.engine(0).received(now, &peer(2), messages(many.chain([real.clone()])));
    net.run_for(secs(1.0));
    assert_eq!(net.have(real.id()), 1);
}

#[test]
fn a_forged_copy_that_is_checked_first_is_no_news_and_the_real_one_is() {
    let mut net = node_with(2);
    net.receive(0, peer(1), messages([bad(peer(7), 5)]));
    assert_eq!(net.have(bad(peer(7), 5).id()), 0);
    assert_eq!(net.refused(0, "bad-signature"), 1);
    net.receive(0, peer(2), messages([good(peer(7), 5)]));
    assert_eq!(net.have(good(peer(7), 5).id()), 1);
}

#[test]
fn what_failed_is_asked_of_the_next_who_offers_it() {
    let mut net = node_with(2);
    let (real, forged) = (good(peer(7), 5), bad(peer(7), 5));
    let now = net.now;
    let ihave = vec![(TOPIC.into(), vec![real.id().clone()])];
    net.engine(0).received(now, &peer(1), Rpc { ihave: ihave.clone(), ..messages([forged]) });
    net.engine(0).received(now, &peer(2), Rpc { ihave, ..rpc() });
    let before = net.frames;
    net.run_for(secs(0.2));
    assert!(net.frames > before);
    assert!(net.engine(0).wants.is_asked(real.id()));
    net.receive(0, peer(2), messages([real.clone()]));
    assert_eq!(net.have(real.id()), 1);
}

#[test]
fn three_forged_messages_close_and_refuse() {
    let mut net = node_with(1);
    net.receive(0, peer(1), messages((0..3).map(|number| bad(peer(7), number))));
    assert_eq!(net.closed, [(peer(0), peer(1), "bad-signature", true)]);
}

/// Other makes take keys and signatures that ours doesn't, and sign fields that it
/// leaves out: an honest peer may have checked them.
#[test]
fn what_others_may_take_for_good_is_held_against_nobody() {
    let mut net = node_with(1);
    for number in 0..5 {
        let extended = [bad(peer(7), number).encoded(), &[9 << 3, 1]].concat();
        net.receive(0, peer(1), messages([SignedMessage::decode(&extended).unwrap()]));
    }
    assert_eq!((net.closed.len(), net.refused(0, "unverifiable")), (0, 5));
}

/// One who has cut out of it what was signed besides blames nobody else.
#[test]
fn who_handed_on_what_others_may_take_for_good_answers_for_no_other_copy_of_it() {
    for cut_first in [true, false] {
        let mut net = node_with(2);
        let now = net.now;
        for number in 0..3 {
            let cut = bad(peer(7), number);
            let whole = [cut.encoded(), &[9 << 3, 1]].concat();
            let mut frames = [(1, cut), (2, SignedMessage::decode(&whole).unwrap())];
            if !cut_first {
                frames.reverse();
            }
            for (from, message) in frames {
                net.engine(0).received(now, &peer(from), messages([message]));
            }
        }
        net.run_for(secs(0.1));
        assert_eq!(net.closed, [(peer(0), peer(1), "bad-signature", true)]);
    }
}

#[test]
fn who_joins_again_and_again_takes_nobodys_turn() {
    let mut net = node_with(8);
    let mut leave = subscribe();
    leave.subscribe = false;
    for _ in 0..10 {
        for sybil in 6..=8 {
            for said in [leave.clone(), subscribe()] {
                net.receive(0, peer(sybil), Rpc { subscriptions: vec![said], ..rpc() });
            }
        }
        net.run_for(secs(1.0));
    }
    let (engine, now) = (&net.engines[&peer(0)], net.now);
    let topic = &engine.topics[TOPIC];
    for honest in 1..=5 {
        let key = engine.keys[&peer(honest)];
        assert!(topic.mesh.contains(&key) || now - topic.told[&key] <= secs(3.0));
    }
    let said = net.subscribed.len();
    let toggles = [leave, subscribe()].into_iter().cycle().take(1000).collect();
    net.receive(0, peer(8), Rpc { subscriptions: toggles, ..rpc() });
    assert!(net.subscribed.len() <= said + 1);
}

#[test]
fn who_offers_and_keeps_it_back_delays_it_little_and_answers_for_it() {
    let mut net = node_with(4);
    let id = good(peer(7), 1).id().clone();
    for from in 1..=4 {
        let ihave = vec![(TOPIC.into(), vec![id.clone()])];
        net.receive(0, peer(from), Rpc { ihave, ..rpc() });
    }
    // Two keep it back; the third is asked within three seconds.
    net.run_for(secs(3.1));
    assert_eq!((net.asked.len(), &net.asked[0]), (3, &(peer(1), id)));
    net.run_for(secs(10.0));
    let asked: BTreeSet<_> = net.asked.iter().map(|(peer, _)| *peer).collect();
    assert_eq!(asked.len(), net.asked.len());
    assert_eq!(net.refused(0, "broken-promise"), asked.len() as u64, "each who was asked");
}

/// However many offer it first: whom this node chose is asked next.
#[test]
fn many_who_offer_first_and_keep_it_back_hide_it_from_nobody() {
    let mut net = node_with(40);
    net.stranger(99, true);
    let id = good(peer(7), 1).id().clone();
    let offer = || Rpc { ihave: vec![(TOPIC.into(), vec![id.clone()])], ..rpc() };
    for from in (1..=20).chain([99]).chain(21..=40) {
        net.receive(0, peer(from), offer());
    }
    net.run_for(secs(2.0));
    assert!(net.asked.contains(&(peer(99), id.clone())));
}

#[test]
fn who_goes_or_comes_anew_is_not_rid_of_its_promises() {
    let mut net = node_with(2);
    for number in 0..60 {
        let ids = [number, 1000 + number].map(|number| good(peer(9), number).id().clone());
        let offer = |id: &MessageId| vec![(TOPIC.into(), vec![id.clone()])];
        net.receive(0, peer(1), Rpc { ihave: offer(&ids[0]), ..rpc() });
        net.receive(0, peer(2), Rpc { ihave: offer(&ids[1]), ..rpc() });
        net.run_for(secs(1.0));
        let now = net.now;
        net.engine(0).replaced(now, peer(1), false);
        net.engine(0).disconnected(now, &peer(2));
        net.engine(0).connected(now, peer(2), false);
    }
    net.receive(
        0,
        peer(2),
        Rpc { prune: vec![Prune { topic: "x".into(), backoff: None }], ..rpc() },
    );
    let closed = |net: &Net, number| net.closed.iter().any(|(_, of, ..)| *of == peer(number));
    assert!(closed(&net, 1) && closed(&net, 2), "{:?}", net.closed);
}

#[test]
fn who_is_asked_and_uses_another_connection_is_asked_there() {
    let mut net = node_with(1);
    let id = good(peer(7), 1).id().clone();
    net.receive(0, peer(1), Rpc { ihave: vec![(TOPIC.into(), vec![id.clone()])], ..rpc() });
    net.run_for(secs(0.1));
    let now = net.now;
    net.engine(0).replaced(now, peer(1), false);
    net.run_for(secs(0.1));
    assert_eq!(net.asked, [(peer(1), id.clone()), (peer(1), id)]);
}

#[test]
fn a_node_that_was_held_up_blames_nobody_for_it() {
    for held_up in [true, false] {
        let mut net = node_with(1);
        let id = good(peer(7), 1).id().clone();
        net.receive(0, peer(1), Rpc { ihave: vec![(TOPIC.into(), vec![id])], ..rpc() });
        let later = net.now + secs(10.0);
        if held_up {
            net.now = later;
        }
        net.run(later + secs(0.1));
        assert_eq!(net.refused(0, "broken-promise"), u64::from(!held_up));
        net.run_for(secs(5.0));
        assert_eq!(net.refused(0, "broken-promise"), 1);
    }
}

#[test]
fn those_who_offer_what_there_is_not_leave_room_for_others() {
    let mut net = node_with(9);
    let ids = |from: u64, to| (from..to).map(|n| good(peer(9), n).id().clone()).collect();
    for round in 0..2 {
        for sybil in 1..=8 {
            let first = 100_000 * sybil + round * 5000;
            let ihave = vec![(TOPIC.into(), ids(first, first + 5000))];
            net.receive(0, peer(sybil), Rpc { ihave, ..rpc() });
        }
        net.run_for(secs(1.0));
    }
    assert_eq!(net.engine(0).wants.len(), config::MAX_WANTS);
    let ihave = vec![(TOPIC.into(), ids(1, 100))];
    net.receive(0, peer(9), Rpc { ihave, ..rpc() });
    assert!((1..100).all(|n| net.engine(0).wants.is_asked(good(peer(9), n).id())));
    assert_eq!(net.engine(0).wants.len(), config::MAX_WANTS);
}

#[test]
fn who_offers_what_there_is_not_leaves_room_for_others() {
    let mut net = node_with(2);
    let ids = |from: u64, to| (from..to).map(|n| good(peer(9), n).id().clone()).collect();
    for second in 0..4 {
        let ihave = vec![(TOPIC.into(), ids(second * 5000, (second + 1) * 5000))];
        net.receive(0, peer(1), Rpc { ihave, ..rpc() });
        net.run_for(secs(0.4));
    }
    assert!(net.refused(0, "too-many-wanted") > 0);
    let ihave = vec![(TOPIC.into(), ids(90_000, 90_001))];
    net.receive(0, peer(2), Rpc { ihave, ..rpc() });
    assert!(net.engine(0).wants.is_asked(good(peer(9), 90_000).id()));
}

#[test]
fn each_who_hands_on_a_forged_message_answers_for_it() {
    let mut net = node_with(3);
    let now = net.now;
    for number in 0..3 {
        for from in 1..=3 {
            let forged = messages([bad(peer(7), number)]);
            net.engine(0).received(now, &peer(from), forged);
        }
    }
    net.run_for(secs(0.1));
    let mut closed: Vec<_> = net.closed.iter().map(|(_, other, ..)| *other).collect();
    closed.sort();
    let mut all = [peer(1), peer(2), peer(3)];
    all.sort();
    assert_eq!(closed, all);
}

#[test]
fn another_connection_makes_nobody_honest() {
    let mut net = node_with(1);
    for number in 0..3 {
        let now = net.now;
        net.engine(0).replaced(now, peer(1), false);
        net.receive(0, peer(1), messages([bad(peer(7), number)]));
    }
    assert_eq!(net.closed, [(peer(0), peer(1), "bad-signature", true)]);
}

#[test]
fn what_was_asked_for_on_a_connection_that_is_gone_is_held_against_nobody() {
    let mut net = node_with(2);
    let id = good(peer(7), 1).id().clone();
    let ihave = vec![(TOPIC.into(), vec![id.clone()])];
    net.receive(0, peer(1), Rpc { ihave: ihave.clone(), ..rpc() });
    net.receive(0, peer(2), Rpc { ihave, ..rpc() });
    let now = net.now;
    net.engine(0).replaced(now, peer(1), false);
    net.run_for(secs(2.0));
    assert!(net.asked.contains(&(peer(2), id.clone())));
    net.receive(0, peer(2), messages([good(peer(7), 1)]));
    net.run_for(secs(5.0));
    assert_eq!((net.have(&id), net.refused(0, "broken-promise")), (1, 0));
}

#[test]
fn who_grafts_in_its_backoff_is_closed_in_the_end() {
    let mut net = node_with(1);
    let now = net.now;
    net.engine(0).leave(now, TOPIC);
    net.engine(0).join(now, TOPIC);
    for _ in 0..10 {
        net.receive(0, peer(1), Rpc { graft: vec![TOPIC.into()], ..rpc() });
    }
    assert_eq!(net.closed, [(peer(0), peer(1), "graft-in-backoff", false)]);
    assert_eq!(net.engine(0).links(TOPIC), 0);
}

#[test]
fn a_link_that_the_peer_itself_took_back_can_be_made_again() {
    let mut net = node_with(1);
    net.receive(
        0,
        peer(1),
        Rpc { prune: vec![Prune { topic: TOPIC.into(), backoff: Some(secs(60.0)) }], ..rpc() },
    );
    assert_eq!(net.engine(0).links(TOPIC), 0);
    net.receive(0, peer(1), Rpc { graft: vec![TOPIC.into()], ..rpc() });
    assert_eq!((net.engine(0).links(TOPIC), net.closed.len()), (1, 0));
    assert_eq!(net.refused(0, "graft-in-backoff"), 0);
}

#[test]
fn a_prune_of_what_was_never_joined_is_held_against_it() {
    let mut net = node_with(1);
    for number in 0..10 {
        // Nor does it leave anything behind (GHSA-vrx6-jcp8-vm7m).
        let engine = net.engine(0);
        assert!(engine.peers[&engine.keys[&peer(1)]].backoff.is_empty());
        assert_eq!((engine.topics.len(), net.closed.len()), (1, 0));
        let prune = vec![Prune { topic: format!("other {number}"), backoff: None }];
        net.receive(0, peer(1), Rpc { prune, ..rpc() });
    }
    assert_eq!(net.closed, [(peer(0), peer(1), "prune-of-unknown-topic", false)]);
}

#[test]
fn malformed_frames_and_further_streams_close() {
    for (offence, times) in [(Offence::Malformed, 2), (Offence::Substream, 10)] {
        let mut net = node_with(1);
        let now = net.now;
        for _ in 1..times {
            net.engine(0).offended(now, &peer(1), offence);
        }
        net.settle();
        assert!(net.closed.is_empty());
        net.engine(0).offended(now, &peer(1), offence);
        net.settle();
        assert_eq!(net.closed.len(), 1);
    }
}

#[test]
fn an_id_is_sent_three_times_and_asking_on_is_held_against_it() {
    let mut net = node_with(1);
    net.publish(0, good(peer(0), 1));
    let iwant = Rpc { iwant: vec![good(peer(0), 1).id().clone(); 10], ..rpc() };
    let copies = net.copies;
    net.receive(0, peer(1), iwant);
    net.run_for(secs(1.0));
    assert_eq!((net.copies - copies, net.refused(0, "asked-again")), (3, 7));
    let iwant = Rpc { iwant: vec![good(peer(0), 1).id().clone(); 14], ..rpc() };
    net.receive(0, peer(1), iwant);
    assert_eq!(net.closed, [(peer(0), peer(1), "asked-again", false)]);
}

#[test]
fn promises_that_are_broken_again_and_again_close_and_others_are_asked() {
    let mut net = node_with(2);
    let mut number = 0;
    while net.closed.is_empty() && number < 30 {
        let id = good(peer(7), number).id().clone();
        let ihave = vec![(TOPIC.into(), vec![id.clone()])];
        net.receive(0, peer(1), Rpc { ihave: ihave.clone(), ..rpc() });
        net.receive(0, peer(2), Rpc { ihave, ..rpc() });
        // The second one is asked after three seconds, and keeps its promise.
        net.run_for(secs(4.2));
        net.receive(0, peer(2), messages([good(peer(7), number)]));
        assert_eq!(net.have(&id), 1);
        number += 1;
        net.run_for(secs(10.0));
    }
    // Spread over so much time they are forgiven.
    assert!(net.closed.is_empty());
    for round in 0..60_u64 {
        let id = good(peer(8), round).id().clone();
        net.receive(0, peer(1), Rpc { ihave: vec![(TOPIC.into(), vec![id])], ..rpc() });
        net.run_for(secs(1.0));
    }
    assert_eq!(net.closed, [(peer(0), peer(1), "broken-promise", false)]);
}

#[test]
fn a_flood_waits_for_itself_and_not_for_others() {
    let mut net = node_with(2);
    let now = net.now;
    // More than there is room for, before anything is checked.
    let flood = messages((0..9000).map(|number| good(peer(1), number)));
    net.engine(0).received(now, &peer(1), flood);
    let honest = good(peer(2), 1);
    net.engine(0).received(now, &peer(2), messages([honest.clone()]));
    let mut place = 0;
    while let Some(output) = net.engine(0).poll(now) {
        let Output::Verify { check, message } = output else { continue };
        if message.id() == honest.id() {
            break;
        }
        place += 1;
        net.engine(0).verified(now, check, true);
    }
    assert!(place <= config::MAX_RUNNING + 1, "{place}");
    assert!(net.refused(0, "too-many-waiting") > 4000);
}

#[test]
fn nothing_grows_without_limit() {
    let mut net = node_with(3);
    let mut number = 0;
    for _ in 0..40 {
        let now = net.now;
        let ids = |from: u64| (from..from + 5000).map(|n| good(peer(9), n).id().clone()).collect();
        let rpc = Rpc {
            ihave: vec![(TOPIC.into(), ids(number))],
            idontwant: ids(number),
            iwant: ids(number),
            messages: (0..200).map(|n| good(peer(n), number + n)).collect(),
            ..rpc()
        };
        number += 5000;
        for from in 1..=3 {
            net.engine(0).received(now, &peer(from), rpc.clone());
        }
        net.run_for(secs(0.3));
    }
    let engine = net.engine(0);
    assert!(engine.wants.len() <= config::MAX_WANTS);
    for peer in engine.peers.values() {
        assert!(peer.waiting <= config::MAX_WAITING + 256);
        assert!(peer.unwanted.len() <= 2 * config::MAX_UNWANTED);
    }
}
