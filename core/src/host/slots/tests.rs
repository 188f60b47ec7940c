//! Connections without sockets.

use super::*;
use proptest::prelude::*;
use std::{
    collections::hash_map::DefaultHasher,
    hash::BuildHasherDefault,
    net::{IpAddr, Ipv4Addr},
};

type Admission = Result<Admitted<u32>, Refusal>;
type Hasher = BuildHasherDefault<DefaultHasher>;

struct Full {
    slots: Slots<u32, Hasher>,
    next: u32,
    now: Duration,
}

impl Full {
    fn new(connections: u32) -> Self {
        let slots = Slots::new(Sizes::new(connections, 4, 128), Hasher::default());
        Self { slots, next: 0, now: Duration::ZERO }
    }

    fn id(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn inbound(&mut self, prefix: Prefix) -> (u32, Admission) {
        self.inbound_of(PeerId::random(), prefix)
    }

    fn inbound_of(&mut self, peer: PeerId, prefix: Prefix) -> (u32, Admission) {
        let id = self.id();
        let admitted = self.slots.inbound(id, peer, prefix, self.now);
        if let Ok(Admitted { instead: Some(victim), .. }) = admitted {
            self.slots.closed(victim);
        }
        (id, admitted)
    }

    /// So many connections of each of these networks.
    fn come(&mut self, each: usize, networks: impl IntoIterator<Item = usize>) {
        for i in networks {
            for _ in 0..each {
                let _ = self.inbound(network(i));
            }
        }
    }

    /// Others' connections, each of another network, until no place is left.
    fn fill(&mut self) -> Vec<u32> {
        let places = self.slots.sizes.inbound();
        let all = (0..places).map(|i| {
            let (id, admitted) = self.inbound(network(i));
            assert_eq!(admitted, Ok(PLACE));
            id
        });
        all.collect()
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        for id in self.slots.due(self.now) {
            self.slots.closed(id);
        }
    }

    fn has(&self, id: u32) -> bool {
        self.slots.slots.get(&id).is_some_and(|slot| slot.kind == Kind::Inbound)
    }
}

const PLACE: Admitted<u32> = Admitted { guest: false, instead: None };
const GUEST: Admitted<u32> = Admitted { guest: true, instead: None };

/// A network of public addresses.
fn network(i: usize) -> Prefix {
    IpAddr::V4(Ipv4Addr::from_bits(0x2000_0000 + ((i as u32) << 8))).into()
}

#[test]
fn the_sizes_follow_from_the_limit() {
    let sizes = |connections| {
        let sizes = Sizes::new(connections, 4, 128);
        (sizes.reserved, sizes.inbound(), sizes.share(), sizes.guests)
    };
    assert_eq!(sizes(512), (128, 384, 48, 32));
    assert_eq!(sizes(4096), (128, 3968, 496, 32));
    assert_eq!(sizes(64), (16, 48, 6, 4));
    assert_eq!(sizes(4), (1, 3, 1, 1));
    assert_eq!(sizes(2), (1, 1, 1, 1));
    assert_eq!(sizes(1), (0, 1, 1, 1));
}

#[test]
fn one_address_gets_half_and_keeps_nobody_from_coming_or_this_node_from_dialling() {
    let mut full = Full::new(512);
    let results: Vec<_> = (0..540).map(|_| full.inbound(network(0)).1).collect();
    let count = |what| results.iter().filter(|r| **r == what).count();
    // Of the guest slots it has half, too.
    let expected = (192, 16, 540 - 192 - 16);
    assert_eq!((count(Ok(PLACE)), count(Ok(GUEST)), count(Err(Refusal::Share))), expected);
    for i in 1..=192 {
        assert_eq!(full.inbound(network(i)).1, Ok(PLACE), "{i}");
    }
    for _ in 0..128 {
        let id = full.id();
        full.slots.outgoing(id).unwrap();
        full.slots.outbound(id, PeerId::random(), full.now).unwrap();
    }
    let id = full.id();
    assert_eq!(full.slots.outgoing(id), Err(Refusal::Full));
    assert_eq!((full.slots.taken().inbound, full.slots.taken().outbound), (384, 128));

    // A newcomer replaces the youngest of that address, at once.
    let (_, admitted) = full.inbound(network(500));
    assert_eq!(admitted.unwrap().instead, Some(192));
    assert_eq!(full.slots.taken().inbound, 384);
}

#[test]
fn a_crowd_over_one_relay_keeps_nobody_who_comes_over_another_from_coming() {
    let over = |relay: PeerId| {
        let local = format!("/ip4/127.0.0.1/tcp/1/p2p/{relay}/p2p-circuit").parse().unwrap();
        let remote = format!("/p2p/{}", PeerId::random()).parse().unwrap();
        Prefix::of_incoming(&local, &remote)
    };
    let [relay, other] = [(); 2].map(|()| PeerId::random());
    // Before the handshake.
    let mut full = Full::new(512);
    let begun = (0..1000).filter(|_| {
        let id = full.id();
        full.slots.incoming(id, over(relay)).is_ok()
    });
    assert_eq!(begun.count(), 64);
    for _ in 0..16 {
        let id = full.id();
        full.slots.incoming(id, over(other)).unwrap();
    }
    // After it.
    let mut full = Full::new(512);
    let places = (0..1000).filter(|_| full.inbound(over(relay)).1 == Ok(PLACE));
    assert_eq!(places.count(), 192);
    for _ in 0..full.slots.sizes.share() {
        assert_eq!(full.inbound(over(other)).1, Ok(PLACE));
    }
}

#[test]
fn whoever_is_told_to_close_has_no_place_and_does_not_pile_up() {
    let mut full = Full::new(512);
    full.come(192, [0]);
    full.come(1, 1..=192);
    let mut replaced = 0;
    for i in 1000..1200 {
        let id = full.id();
        let admitted = full.slots.inbound(id, PeerId::random(), network(i), full.now);
        replaced += usize::from(admitted.is_ok_and(|a| a.instead.is_some()));
    }
    assert_eq!((replaced, full.slots.taken().closing), (32, 32));
    assert_eq!((full.slots.taken().inbound, full.slots.taken().guests), (384, 32));
}

#[test]
fn an_outbound_connection_is_never_given_up() {
    let mut full = Full::new(512);
    let mine: Vec<u32> = (0..200)
        .map(|_| {
            let id = full.id();
            full.slots.outbound(id, PeerId::random(), full.now).unwrap();
            id
        })
        .collect();
    full.come(7, 0..300);
    full.pass(Duration::from_secs(60));
    full.come(1, 0..2000);
    assert!(mine.iter().all(|id| full.slots.slots[id].kind == Kind::Outbound));
    assert_eq!(full.slots.taken().inbound, 512 - 200);
}

#[test]
fn whatever_this_node_dials_others_keep_a_part() {
    let mut full = Full::new(512);
    let dialled = (0..600).filter(|_| {
        let id = full.id();
        full.slots.outgoing(id).is_ok()
            && full.slots.outbound(id, PeerId::random(), full.now).is_ok()
    });
    assert_eq!((dialled.count(), full.slots.room()), (384, 0));
    full.come(1, 0..600);
    assert_eq!((full.slots.taken().inbound, full.slots.taken().outbound), (128, 384));
}

#[test]
fn those_with_merits_stay_and_of_the_others_the_youngest_go_first() {
    let mut full = Full::new(512);
    let all: Vec<u32> = (0..384)
        .map(|i| {
            let of = if i < 336 { i } else { 1000 };
            let (id, admitted) = full.inbound(network(of));
            assert_eq!(admitted, Ok(PLACE));
            id
        })
        .collect();
    // The network that holds most, and the youngest.
    let (near, useful, others) = (&all[336..352], &all[352..368], &all[368..]);
    near.iter().for_each(|id| full.slots.answered(*id, Duration::from_millis(1)));
    for id in useful {
        let peer = full.slots.peer(*id).unwrap();
        full.slots.brought(&peer, full.now);
    }
    for i in 0..others.len() {
        let (_, admitted) = full.inbound(network(2000 + i));
        let instead = admitted.unwrap().instead.unwrap();
        // But the one that a keyed hash may have chosen.
        let expected = others[others.len() - 1 - i];
        assert!(instead == expected || i + 1 == others.len(), "{instead} {expected}");
    }
    for i in 0..100 {
        full.pass(STAY);
        let _ = full.inbound(network(3000 + i));
    }
    for (what, ids) in [("old", &all[..16]), ("near", near), ("useful", useful)] {
        assert!(ids.iter().all(|id| full.has(*id)), "{what}");
    }
    // Of networks that hold as much, newcomers replace each other.
    let stayed = all.iter().filter(|id| full.has(**id)).count();
    assert_eq!(stayed, 384 - others.len());
}

#[test]
fn what_was_brought_long_ago_counts_less() {
    let mut full = Full::new(512);
    let peer = PeerId::random();
    let (id, _) = full.inbound_of(peer, network(1));
    (0..8).for_each(|_| full.slots.brought(&peer, full.now));
    // No guest need ever have to go.
    full.now += HALF_LIFE * 2;
    full.slots.brought(&peer, full.now);
    assert_eq!(full.slots.slots[&id].brought, 3);
    full.now += HALF_LIFE;
    let _ = full.inbound(network(2));
    assert_eq!(full.slots.slots[&id].brought, 1);
}

#[test]
fn a_network_pushes_out_none_that_holds_less() {
    let mut full = Full::new(512);
    full.fill();
    full.pass(STAY);
    let (_, first) = full.inbound(network(1000));
    let (second, _) = full.inbound(network(1000));
    assert!(first.unwrap().instead.is_some());
    full.pass(Duration::from_secs(1));
    // The second is a guest: every other network holds one.
    assert!(!full.has(second) && full.slots.peer(second).is_some());
}

#[test]
fn a_peer_that_comes_again_takes_its_own_place() {
    let mut full = Full::new(512);
    full.fill();
    let peer = full.slots.peer(300).unwrap();
    let (_, admitted) = full.inbound_of(peer, network(299));
    assert_eq!(admitted, Ok(Admitted { guest: false, instead: Some(300) }));
    // As a guest, too.
    let guest = PeerId::random();
    let (first, admitted) = full.inbound_of(guest, network(5000));
    assert_eq!(admitted, Ok(GUEST));
    let (_, again) = full.inbound_of(guest, network(5000));
    assert_eq!(again, Ok(Admitted { guest: true, instead: Some(first) }));
}

#[test]
fn a_peer_has_a_few_connections() {
    let mut full = Full::new(512);
    let peer = PeerId::random();
    for _ in 0..4 {
        assert!(full.inbound_of(peer, network(1)).1.is_ok());
    }
    assert_eq!(full.inbound_of(peer, network(1)).1, Err(Refusal::PerPeer));
    let id = full.id();
    assert_eq!(full.slots.outbound(id, peer, full.now), Err(Refusal::PerPeer));
    full.slots.closed(1);
    assert!(full.inbound_of(peer, network(1)).1.is_ok());
}

#[test]
fn a_guest_stays_for_one_exchange() {
    let mut full = Full::new(512);
    full.fill();
    let peer = PeerId::random();
    let (quick, admitted) = full.inbound_of(peer, network(1000));
    assert_eq!(admitted, Ok(GUEST));
    let (slow, _) = full.inbound(network(1001));
    full.slots.exchanged(&peer, full.now);
    assert_eq!(full.slots.next_due(), Some(AFTERWARDS));
    full.pass(AFTERWARDS);
    assert_eq!((full.slots.peer(quick), full.slots.peer(slow).is_some()), (None, true));
    full.pass(STAY);
    assert_eq!(full.slots.peer(slow), None);
    assert_eq!(full.slots.next_due(), None);

    // For whom there is a place by then, it stays.
    let (lucky, _) = full.inbound(network(1002));
    full.slots.closed(300);
    full.pass(STAY);
    assert!(full.has(lucky));
}

#[test]
fn guest_slots_are_shared_among_networks() {
    let mut full = Full::new(512);
    full.fill();
    let guests =
        |full: &mut Full, i| (0..100).filter(|_| full.inbound(network(i)).1.is_ok()).count();
    assert_eq!(guests(&mut full, 1000), 16, "half of them");
    for i in 1001..1005 {
        assert_eq!(guests(&mut full, i), 4);
    }
    // Full: who has fewer takes the place of one who has most.
    for i in 2000..2010 {
        let (_, admitted) = full.inbound(network(i));
        assert!(matches!(admitted, Ok(Admitted { guest: true, instead: Some(_) })), "{admitted:?}");
    }
    assert_eq!(full.slots.taken().guests, 32);
}

/// Of networks that each hold one guest, those whose turn it is get in.
#[test]
fn a_network_that_comes_often_has_no_more_turns_as_a_guest() {
    let mut full = Full::new(512);
    full.fill();
    full.come(1, 1000..1032);
    full.pass(HURRY);
    assert_eq!(full.inbound(network(1000)).1, Err(Refusal::Full));
    let admitted = full.inbound(network(2000)).1;
    assert!(admitted.is_ok_and(|a| a.guest && a.instead.is_some()), "{admitted:?}");
    // A minute later; the first of these takes a place.
    full.pass(TURN);
    full.come(1, 3000..3033);
    assert_eq!(full.slots.taken().guests, 32);
    full.pass(HURRY);
    let admitted = full.inbound(network(1000)).1;
    assert!(admitted.is_ok_and(|a| a.guest && a.instead.is_some()), "{admitted:?}");
}

/// Else each of them would be taken for one that comes for the first time.
#[test]
fn the_last_turns_are_remembered_though_more_networks_come_than_that() {
    let mut full = Full::new(512);
    full.fill();
    // They go at once.
    let all = 1000..1000 + MAX_TURNS.get() + 500;
    for i in all.clone() {
        let (id, admitted) = full.inbound(network(i));
        assert_eq!(admitted, Ok(GUEST));
        full.slots.closed(id);
    }
    full.come(1, 9000..9032);
    full.pass(HURRY);
    assert_eq!(full.inbound(network(all.end - 1)).1, Err(Refusal::Full));
    // The turn of the first is forgotten.
    assert!(full.inbound(network(all.start)).1.is_ok());
    assert_eq!(full.slots.turns.len(), MAX_TURNS.get());
}

/// Whatever 2,000 identities of any number of networks do, who comes from
/// another network than they gets a place, and the node dials.
#[test]
fn hostile_identities_keep_no_newcomer_out_and_no_member_from_dialling() {
    for networks in [1, 8, 40, 192, 380] {
        let mut full = Full::new(512);
        full.come(1, (0..2000).map(|i| i % networks));
        assert!(full.slots.room() >= 128, "{networks}");
        full.pass(STAY);
        let mut honest = Vec::new();
        for i in 0..100 {
            let (id, admitted) = full.inbound(network(5000 + i));
            assert!(admitted.is_ok(), "{networks} {i}");
            honest.push((id, admitted.unwrap().guest));
            // They come again, ten for each.
            full.come(1, (10 * i..10 * (i + 1)).map(|i| i % networks));
            full.pass(Duration::from_secs(1));
        }
        // Of networks with more than one place each, they take it for good.
        if networks <= 192 {
            let stay = honest.iter().filter(|(id, _)| full.has(*id)).count();
            assert_eq!(stay, 100, "{networks}");
        }
    }
}

#[test]
fn handshakes_are_shared_among_networks() {
    let mut full = Full::new(512);
    let mut begin = |i: usize| {
        let id = full.id();
        full.slots.incoming(id, network(i)).map(|()| id)
    };
    let one: Vec<_> = (0..200).map_while(|_| begin(0).ok()).collect();
    assert_eq!(one.len(), 64);
    assert_eq!(begin(0), Err(Refusal::PendingShare));
    assert_eq!((0..100).filter(|_| begin(1).is_ok()).count(), 16);
    assert_eq!((0..100).filter(|_| begin(2).is_ok()).count(), 16);
    // The last quarter.
    assert_eq!((0..100).filter(|i| begin(3 + i % 50).is_ok()).count(), 32);
    assert_eq!(begin(1000), Err(Refusal::Pending));
    full.slots.closed(one[0]);
    let id = full.id();
    assert_eq!(full.slots.incoming(id, network(1000)), Ok(()));
}

#[derive(Clone, Debug)]
enum Step {
    In(usize, u8),
    Out(u8),
    Close(u32),
    Exchanged(u8),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..60_usize, 0..32_u8).prop_map(|(n, peer)| Step::In(n, peer)),
        2 => (0..32_u8).prop_map(Step::Out),
        2 => (1..400_u32).prop_map(Step::Close),
        1 => (0..32_u8).prop_map(Step::Exchanged),
        1 => (0..6000_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_order_of_events_breaks_the_bounds(
        connections in 1..80_u32,
        steps in prop::collection::vec(step(), 0..400),
    ) {
        let peers: Vec<PeerId> = (0..32).map(|_| PeerId::random()).collect();
        let mut full = Full::new(connections);
        let sizes = full.slots.sizes;
        for step in steps {
            match step {
                Step::In(i, peer) => {
                    let _ = full.inbound_of(peers[usize::from(peer)], network(i));
                }
                Step::Out(peer) => {
                    let (id, before) = (full.id(), full.slots.taken());
                    let result = full.slots.outbound(id, peers[usize::from(peer)], full.now);
                    // What is reserved is there.
                    if before.outbound < sizes.reserved.min(sizes.outbound()) {
                        prop_assert_ne!(result, Err(Refusal::Full));
                    }
                }
                Step::Close(id) => full.slots.closed(id),
                Step::Exchanged(peer) => full.slots.exchanged(&peers[usize::from(peer)], full.now),
                Step::Pass(ms) => full.pass(Duration::from_millis(ms)),
            }
            let taken = full.slots.taken();
            prop_assert!(taken.inbound <= sizes.inbound());
            prop_assert!(taken.outbound <= sizes.outbound());
            prop_assert!(taken.inbound + taken.outbound <= sizes.connections);
            prop_assert!(taken.guests <= sizes.guests && taken.closing <= 2 * sizes.guests);
            for peer in &peers {
                prop_assert!(full.slots.held(peer).count() <= sizes.per_peer);
            }
            let indexed: usize = full.slots.by_peer.values().map(Vec::len).sum();
            prop_assert_eq!(indexed, full.slots.slots.len());
        }
    }
}
