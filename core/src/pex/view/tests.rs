//! The rules of the view one by one, and what holds whatever happens.

use super::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::Hasher,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Peer {
    id: u32,
    seq: u64,
}

/// Ids from here on are in networks of so many, where they are not alone.
const IN_NETWORKS: u32 = 1 << 20;
const OF_A_NETWORK: u32 = 1 << 10;

impl Record for Peer {
    type Id = u32;

    fn id(&self) -> u32 {
        self.id
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn networks(&self) -> impl Iterator<Item = impl Hash> {
        let named = self.seq.clamp(1, 8) as u32;
        let first = self.id / OF_A_NETWORK;
        // A higher number names further ones.
        (0..named).filter(|_| self.id >= IN_NETWORKS).map(move |n| first + n * self.id)
    }
}

#[derive(Clone, Copy, Debug)]
struct Secret(u64);

impl BuildHasher for Secret {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

type Tested = View<Peer, Secret>;

const OWN: u32 = 0;

fn peer(id: u32) -> Peer {
    Peer { id, seq: 0 }
}

fn told(ids: impl IntoIterator<Item = u32>) -> Vec<Gossip<Peer>> {
    ids.into_iter().map(|id| Gossip { record: peer(id), hop: 1 }).collect()
}

fn view(secret: u64) -> (Tested, ChaCha8Rng) {
    println!("seed {secret}");
    let view = View::new(OWN, Params::default(), Secret(secret));
    (view, ChaCha8Rng::seed_from_u64(secret))
}

/// A view that was full before a restart.
fn restored(secret: u64) -> (Tested, ChaCha8Rng) {
    let (mut view, mut rng) = view(secret);
    view.restore((1..200).map(peer), [], &mut rng);
    assert_eq!(view.len(), view.params.capacity());
    (view, rng)
}

fn ids(view: &Tested) -> BTreeSet<u32> {
    view.iter().map(|g| g.record.id).collect()
}

fn hop(view: &Tested, id: u32) -> u32 {
    view.iter().find(|g| g.record.id == id).expect("in the view").hop
}

#[test]
fn of_two_records_the_later_counts_and_then_the_younger() {
    let (mut view, mut rng) = view(1);
    let mut hear = |seq, hop| {
        let heard = Gossip { record: Peer { id: 5, seq }, hop };
        view.merge(Origin::Pulled, peer(1), vec![heard], &mut rng);
        *view.iter().find(|g| g.record.id == 5).expect("there is room")
    };
    assert_eq!(hear(3, 7), Gossip { record: Peer { id: 5, seq: 3 }, hop: 8 });
    assert_eq!(hear(3, 9).hop, 8, "older");
    assert_eq!(hear(3, 2).hop, 3, "younger");
    assert_eq!(hear(2, 1), Gossip { record: Peer { id: 5, seq: 3 }, hop: 3 }, "outdated");
    assert_eq!(hear(4, 9), Gossip { record: Peer { id: 5, seq: 4 }, hop: 10 }, "renewed");
    assert_eq!(hear(4, u32::MAX).hop, 10);
}

#[test]
fn hops_do_not_wrap() {
    let (mut view, mut rng) = view(1);
    let oldest = Gossip { record: peer(5), hop: u32::MAX };
    view.merge(Origin::Pulled, peer(1), vec![oldest], &mut rng);
    view.tick(&mut rng);
    assert_eq!(hop(&view, 5), u32::MAX);
}

#[test]
fn no_round_brings_more_than_a_view_and_never_oneself() {
    let (mut view, mut rng) = view(1);
    view.merge(Origin::Pulled, peer(1), told((0..1000).map(|i| i + OWN)), &mut rng);
    assert!(!view.contains(OWN));
    assert!(view.iter().all(|g| g.record.id < 32), "only the first 32 count");
    assert_eq!(view.len(), 31);
}

#[test]
fn what_is_pushed_is_no_more_than_half_of_what_was_pulled() {
    let (mut view, mut rng) = view(1);
    view.tick(&mut rng);
    let changes = view.merge(Origin::Pushed, peer(100), told(101..116), &mut rng);
    assert_eq!(changes.over_limit, 15, "nothing was pulled");
    assert!(view.is_empty(), "and the caller has to wait");
    view.merge(Origin::Pulled, peer(1), told(2..12), &mut rng);
    let changes = view.merge(Origin::Pushed, peer(100), told(101..116), &mut rng);
    assert_eq!(changes.over_limit, 10);
    assert_eq!(ids(&view).range(101..).count(), 5);
    view.merge(Origin::Pulled, peer(1), told(2..12), &mut rng);
    view.tick(&mut rng);
    let changes = view.merge(Origin::Pushed, peer(100), told(101..116), &mut rng);
    assert_eq!(changes.over_limit, 15, "what was pulled before the tick is used up");
}

#[test]
fn a_caller_gets_a_place_in_the_next_tick_and_loses_it_to_later_ones() {
    let (mut view, mut rng) = restored(1);
    view.merge(Origin::Pushed, peer(900), vec![], &mut rng);
    assert!(!view.contains(900));
    view.tick(&mut rng);
    assert!(view.contains(900));
    for caller in 901..905 {
        view.merge(Origin::Pushed, peer(caller), vec![], &mut rng);
        view.tick(&mut rng);
        assert!(view.contains(caller));
    }
    assert!(!view.contains(900), "there are four places");
}

#[test]
fn a_flood_of_callers_gets_no_places_and_gives_up_those_it_had() {
    let (mut view, mut rng) = restored(2);
    view.merge(Origin::Pulled, peer(1), told(300..331), &mut rng);
    for caller in 900..904 {
        view.merge(Origin::Pushed, peer(caller), vec![], &mut rng);
        view.tick(&mut rng);
    }
    assert_eq!(ids(&view).range(900..).count(), 4);
    for tick in 0..6 {
        for caller in 0..10 {
            let pushed = told([8000 + caller]);
            view.merge(Origin::Pulled, peer(1), told(300..331), &mut rng);
            let caller = peer(1000 + 10 * tick + caller);
            view.merge(Origin::Pushed, caller, pushed, &mut rng);
        }
        view.tick(&mut rng);
    }
    assert_eq!(ids(&view).range(900..1000).count(), 0);
    assert!(ids(&view).range(1000..2000).count() <= 2);
}

#[test]
fn a_steady_flood_below_the_limit_of_a_tick_is_noticed_too() {
    let (mut view, mut rng) = restored(3);
    let mut noticed = None;
    for tick in 0..100 {
        for caller in 0..4 {
            view.merge(Origin::Pushed, peer(1000 + 4 * tick + caller), vec![], &mut rng);
        }
        noticed = noticed.or(view.flooded().then_some(tick));
        view.tick(&mut rng);
    }
    let noticed = noticed.expect("noticed");
    assert!((2..40).contains(&noticed), "{noticed}");
    assert!(view.flooded());
    for _ in 0..40 {
        view.tick(&mut rng);
    }
    assert!(!view.flooded());
}

#[test]
fn who_is_called_seldom_calls_more() {
    let rounds = |calls: u32| {
        let (mut view, mut rng) = restored(4);
        let mut caller = 1000;
        let ticks = 400;
        let mut rounds = 0;
        for tick in 0..ticks + 100 {
            for _ in 0..calls {
                caller += 1;
                view.merge(Origin::Pushed, peer(caller), vec![], &mut rng);
            }
            let plan = view.tick(&mut rng);
            rounds += if tick >= 100 { plan.rounds.len() } else { 0 };
        }
        rounds as f64 / f64::from(ticks)
    };
    let (never, once, usual, often) = (rounds(0), rounds(1), rounds(2), rounds(6));
    println!("{never} {once} {usual} {often}");
    assert!(never > 3.9 && never <= 4.0);
    assert!(once > 3.9);
    assert!((2.0..2.5).contains(&usual));
    assert!((2.0..2.1).contains(&often), "a flood changes nothing");
}

#[test]
fn who_holds_a_place_since_before_a_restart_is_not_driven_out() {
    let (mut view, mut rng) = restored(5);
    let held: BTreeSet<u32> =
        view.places.iter().take(view.places.held()).map(|e| e.gossip.record.id).collect();
    assert!(held.len() > 20);
    for round in 0..100 {
        let told = told((0..31).map(|i| 1000 + round * 31 + i));
        view.merge(Origin::Pulled, peer(1), told, &mut rng);
    }
    assert!(ids(&view).is_superset(&held));
}

#[test]
fn a_slot_changes_hands_in_its_turn() {
    let (mut view, mut rng) = restored(6);
    let before = ids(&view);
    let mut changed = Vec::new();
    for tick in 1..=200 {
        let told = told((0..31).map(|i| 1000 + (tick * 31 + i) % 5000));
        view.merge(Origin::Pulled, peer(1), told, &mut rng);
        let plan = view.tick(&mut rng);
        for peer in plan.probes.iter().filter(|p| p.id >= 1000) {
            view.alive(peer.id, &mut rng);
        }
        changed.push(ids(&view).range(1000..).count());
    }
    println!("{changed:?}");
    assert_eq!(changed[62], 0, "much is to be heard first");
    assert!(ids(&view).difference(&before).count() >= view.params.sampled() * 9 / 10);
    assert!(changed.windows(2).all(|w| w[1].abs_diff(w[0]) <= 2), "one slot at a time");
}

#[test]
fn a_successor_that_cannot_be_reached_gets_no_place() {
    let (mut view, mut rng) = restored(7);
    view.merge(Origin::Pulled, peer(1), told(1000..1031), &mut rng);
    let mut failed = 0;
    for _ in 0..200 {
        let plan = view.tick(&mut rng);
        for peer in plan.probes.iter().filter(|p| p.id >= 1000) {
            failed += 1;
            view.failed(peer.id, &mut rng);
            assert!(!view.contains(peer.id));
        }
    }
    assert!(failed > 10);
    assert_eq!(view.standby().len(), failed);
}

#[test]
fn a_small_view_from_before_a_restart_is_not_kept() {
    let (mut view, mut rng) = view(8);
    view.restore((1..5).map(peer), [], &mut rng);
    for i in 0..40 {
        view.merge(Origin::Pulled, peer(100 + i), told(100 + 31 * i..131 + 31 * i), &mut rng);
    }
    assert!(ids(&view).range(..5).count() < 4);
}

#[test]
fn it_matters_whether_a_peer_is_heard_of_and_not_how_often() {
    for seed in 0..50 {
        let (mut a, mut rng) = view(seed);
        let (mut b, _) = view(seed);
        let all: Vec<u32> = (1..400).collect();
        for &id in &all {
            a.merge(Origin::Pulled, peer(id), vec![], &mut rng);
        }
        for &id in all.iter().rev() {
            b.merge(Origin::Pulled, peer(id), told((390..400).cycle().take(20)), &mut rng);
        }
        let chosen = |view: &Tested| {
            let held = view.places.iter().take(view.places.held()).map(|e| e.gossip.record.id);
            held.map(|id| (view.slot(id), id)).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(chosen(&a), chosen(&b));
        let successors = |view: &Tested| -> BTreeSet<u32> {
            let next = view.sampler.successors(99, &mut ChaCha8Rng::seed_from_u64(0));
            next.iter().map(|g| g.record.id).collect()
        };
        assert_eq!(successors(&a), successors(&b));
    }
}

#[test]
fn the_sampler_prefers_nobody() {
    let mut held = vec![0u32; 201];
    let runs = 400;
    for seed in 0..runs {
        let mut view: Tested = View::new(OWN, Params::default(), Secret(seed));
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for id in 1..=200 {
            // The later ones push harder.
            for _ in 0..1 + id / 50 {
                view.merge(Origin::Pulled, peer(1), told([id]), &mut rng);
            }
        }
        for entry in view.places.iter().take(view.places.held()) {
            held[entry.gossip.record.id as usize] += 1;
        }
    }
    let expected = f64::from(held.iter().sum::<u32>()) / 200.0;
    let chi: f64 = held[1..].iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
    println!("seeds 0 to {runs}: {expected} each, chi-square {chi} of 199 degrees");
    assert!(chi < 199.0 + 4.0 * (2.0f64 * 199.0).sqrt());
}

/// Of how many slots a network of many ids has the holder, among 270 peers that
/// are each alone in theirs: about ten a slot.
fn held_by_a_network(seed: u64, seq: u64) -> usize {
    let mut view: Tested = View::new(OWN, Params::default(), Secret(seed));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for n in 0..270 {
        let alone = IN_NETWORKS + (n + 1) * OF_A_NETWORK;
        view.merge(Origin::Pulled, peer(alone), vec![], &mut rng);
    }
    for id in IN_NETWORKS..IN_NETWORKS + OF_A_NETWORK {
        view.merge(Origin::Pulled, Peer { id, seq }, vec![], &mut rng);
    }
    let of_it = |e: &&places::Entry<Peer>| e.gossip.record.id < IN_NETWORKS + OF_A_NETWORK;
    view.places.iter().take(view.places.held()).filter(of_it).count()
}

#[test]
fn a_network_stands_in_a_slot_once_however_many_peers_it_has() {
    let mean = |seq| (0..40).map(|seed| held_by_a_network(seed, seq)).sum::<usize>() as f64 / 40.0;
    let (plain, naming_others) = (mean(0), mean(8));
    println!("{plain} and {naming_others} of 27 slots");
    // By ids alone it would hold 21.
    assert!((1.0..5.0).contains(&plain));
    assert!(naming_others < plain, "whoever says that it is elsewhere too gains nothing");
}

#[test]
fn within_a_network_ids_decide() {
    let mut held = vec![0u32; 200];
    for seed in 0..400 {
        let mut view: Tested = View::new(OWN, Params::default(), Secret(seed));
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for n in 0..200 {
            view.merge(Origin::Pulled, peer(IN_NETWORKS + n), vec![], &mut rng);
        }
        assert_eq!(view.len(), view.params.capacity(), "one network has a view of its own");
        for entry in view.places.iter().take(view.places.held()) {
            held[(entry.gossip.record.id - IN_NETWORKS) as usize] += 1;
        }
    }
    let expected = f64::from(held.iter().sum::<u32>()) / 200.0;
    let chi: f64 = held.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
    println!("seeds 0 to 400: {expected} each, chi-square {chi} of 199 degrees");
    assert!(chi < 199.0 + 4.0 * (2.0f64 * 199.0).sqrt());
}

#[test]
fn who_discovery_named_holds_no_slot_that_another_could() {
    let (mut view, mut rng) = view(8);
    view.merge(Origin::Pulled, peer(1), told(2..32), &mut rng);
    view.merge(Origin::Boot, peer(777), told(40..55), &mut rng);
    assert!(!view.contains(777));
    view.merge(Origin::Pulled, peer(1), told(100..131), &mut rng);
    view.merge(Origin::Pulled, peer(2), told([777]), &mut rng);
    assert!(!view.contains(777), "the view is full of others");
}

#[test]
fn entries_age_until_a_sign_of_life() {
    let (mut view, mut rng) = view(9);
    view.merge(Origin::Pulled, peer(1), told([2]), &mut rng);
    assert_eq!((hop(&view, 1), hop(&view, 2)), (1, 2));
    for _ in 0..5 {
        view.tick(&mut rng);
    }
    assert_eq!((hop(&view, 1), hop(&view, 2)), (6, 7));
    view.alive(2, &mut rng);
    assert_eq!((hop(&view, 1), hop(&view, 2)), (6, 1));
}

#[test]
fn who_was_met_is_told_of_for_a_while() {
    let (mut view, mut rng) = restored(10);
    view.merge(Origin::Pushed, peer(900), vec![], &mut rng);
    view.tick(&mut rng);
    for caller in 901..910 {
        view.merge(Origin::Pushed, peer(caller), vec![], &mut rng);
        view.tick(&mut rng);
    }
    assert!(!view.contains(900));
    let tells = |view: &Tested, rng: &mut ChaCha8Rng| {
        (0..200).any(|_| view.tell(rng).iter().any(|g| g.record.id == 900))
    };
    assert!(tells(&view, &mut rng));
    for _ in 0..OLDEST_PASSING {
        view.tick(&mut rng);
    }
    assert!(!tells(&view, &mut rng));
}

#[test]
fn the_longest_silent_are_probed_and_more_after_deaths() {
    let (mut view, mut rng) = restored(11);
    let young: Vec<u32> = ids(&view).into_iter().take(10).collect();
    for &id in &young {
        view.alive(id, &mut rng);
    }
    let plan = view.tick(&mut rng);
    assert_eq!(plan.probes.len(), view.params.probes);
    assert!(plan.probes.iter().all(|p| !young.contains(&p.id)));
    for peer in &plan.probes {
        view.failed(peer.id, &mut rng);
    }
    assert_eq!(view.tick(&mut rng).probes.len(), 4 * view.params.probes);
}

#[test]
fn who_fails_is_told_to_nobody_and_tried_again_with_growing_pauses() {
    let (mut view, mut rng) = restored(12);
    let gone = *ids(&view).first().expect("full");
    view.failed(gone, &mut rng);
    assert!(!view.contains(gone));
    let mut tries = Vec::new();
    for tick in 1..1500u32 {
        assert!(view.tell(&mut rng).iter().all(|g| g.record.id != gone));
        let plan = view.tick(&mut rng);
        if plan.retries.iter().any(|p| p.id == gone) {
            tries.push(tick);
            view.failed(gone, &mut rng);
        }
    }
    let pauses: Vec<u32> = tries.windows(2).map(|w| w[1] - w[0]).collect();
    println!("{pauses:?}");
    for (n, &pause) in pauses.iter().enumerate() {
        let longest = (4u32 << n).min(288);
        assert!((longest / 2..=longest).contains(&pause), "{pause} after {n}");
    }
    assert!(pauses.len() >= 8);
    view.alive(gone, &mut rng);
    assert!(view.contains(gone) && view.standby().is_empty());
}

#[test]
fn hearsay_older_than_a_failure_does_not_bring_a_peer_back() {
    let (mut view, mut rng) = restored(13);
    let gone = *ids(&view).first().expect("full");
    for _ in 0..10 {
        view.tick(&mut rng);
    }
    view.failed(gone, &mut rng);
    for _ in 0..6 {
        view.tick(&mut rng);
    }
    let hear = |view: &mut Tested, seq, hop, rng: &mut ChaCha8Rng| {
        let heard = Gossip { record: Peer { id: gone, seq }, hop };
        view.merge(Origin::Pulled, peer(1), vec![heard], rng).stale
    };
    assert_eq!(hear(&mut view, 0, 3, &mut rng), 1);
    assert_eq!(view.standby().len(), 1);
    assert_eq!(hear(&mut view, 0, 2, &mut rng), 0, "seen alive since");
    assert!(view.standby().is_empty());
    view.failed(gone, &mut rng);
    let (mut other, _) = (view.clone(), ());
    other.standby.insert(peer(gone), other.now, &mut rng);
    assert_eq!(hear(&mut other, 1, 20, &mut rng), 0, "a new record");
}

#[test]
fn after_a_split_the_standby_is_tried_first() {
    let (mut view, mut rng) = restored(14);
    for id in ids(&view).into_iter().take(12) {
        view.failed(id, &mut rng);
    }
    let tries: usize = (0..2).map(|_| view.tick(&mut rng).retries.len()).sum();
    assert!(tries > 2, "{tries}");
    for id in ids(&view) {
        view.failed(id, &mut rng);
    }
    assert!(view.is_empty());
    let plan = view.tick(&mut rng);
    assert_eq!(plan.retries.len(), 4, "whatever their pauses");
    assert!(!plan.is_empty());
}

/// What happens to a view, in any order.
fn happen(view: &mut Tested, rng: &mut ChaCha8Rng) {
    // Half of them are in networks.
    let place =
        |id: u32| if id.is_multiple_of(2) || id == OWN { id } else { IN_NETWORKS + 500 * id };
    let id = place(rng.random_range(1..120));
    let sender = Peer { id, seq: rng.random_range(0..3) };
    let many = rng.random_range(0..40);
    let told = (0..many).map(|_| Gossip {
        record: Peer { id: place(rng.random_range(0..120)), seq: rng.random_range(0..3) },
        hop: if rng.random_bool(0.1) { u32::MAX } else { rng.random_range(0..40) },
    });
    let told: Vec<_> = told.collect();
    match rng.random_range(0..10) {
        0..3 => drop(view.tick(rng)),
        3 | 4 => drop(view.merge(Origin::Pulled, sender, told, rng)),
        5 | 6 => drop(view.merge(Origin::Pushed, sender, told, rng)),
        7 => drop(view.merge(Origin::Boot, sender, told, rng)),
        8 => view.failed(id, rng),
        _ => view.alive(id, rng),
    }
}

#[test]
fn whatever_happens_the_view_is_sound() {
    for seed in 0..60 {
        println!("seed {seed}");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let max_view = [8, 32, 224][seed as usize % 3];
        let params = Params { max_view, max_standby: 20, turn: 1, ..Params::default() };
        let mut view: Tested = View::new(OWN, params, Secret(seed));
        let restored: Vec<Peer> = (0..40).map(peer).collect();
        view.restore(restored.iter().copied(), (30..60).map(peer), &mut rng);
        for _ in 0..400 {
            happen(&mut view, &mut rng);
            let in_view = ids(&view);
            let standby: BTreeSet<u32> = view.standby().iter().map(|p| p.id).collect();
            assert!(view.len() <= params.capacity() && in_view.len() == view.len());
            assert!(standby.len() == view.standby().len() && standby.len() <= 20);
            assert!(in_view.is_disjoint(&standby));
            assert!(!in_view.contains(&OWN) && !standby.contains(&OWN));
            let mut held = BTreeSet::new();
            for (at, entry) in view.places.iter().enumerate() {
                let id = entry.gossip.record.id();
                let key = view.sampler.key(id);
                assert_eq!(entry.slot, view.sampler.slot(key));
                assert_eq!(entry.rank, view.sampler.rank(&entry.gossip.record, key, entry.slot));
                let found = view.places.find(id, entry.slot);
                let holds = at < view.places.held();
                assert_eq!((found.peer, found.holder == Some(at)), (Some(at), holds));
                assert!(!holds || held.insert(entry.slot), "one holder a slot");
                assert!(holds || !entry.settled);
            }
            let told = view.tell(&mut rng);
            let about: BTreeSet<u32> = told.iter().map(|g| g.record.id).collect();
            assert!(told.len() <= params.told() && about.len() == told.len());
            assert!(about.is_disjoint(&standby) && !about.contains(&OWN));
            assert!(told.iter().all(|g| g.hop > 0));
            assert!(view.passing.len() <= max_view && view.asked.len() <= MAX_ASKED);
            assert!(view.waiting.len() <= 3 * params.rounds);
        }
    }
}

#[test]
fn who_is_not_kept_is_nowhere_and_the_others_are_where_they_were() {
    let keep = |id: u32| !id.is_multiple_of(3);
    for seed in 0..30 {
        let (mut view, mut rng) = restored(seed);
        (0..200).for_each(|_| happen(&mut view, &mut rng));
        let kept = |ids: BTreeSet<u32>| -> BTreeSet<u32> {
            ids.into_iter().filter(|id| keep(*id)).collect()
        };
        let (before, standby) = (kept(ids(&view)), |view: &Tested| -> BTreeSet<u32> {
            view.standby().iter().map(|p| p.id).collect()
        });
        let stood = kept(standby(&view));
        view.keep_only(keep);
        assert_eq!((ids(&view), standby(&view)), (before, stood));
        // Nor do they come back by themselves.
        for _ in 0..100 {
            let plan = view.tick(&mut rng);
            let mut named = [plan.rounds, plan.retries, plan.probes].concat();
            named.extend(view.tell(&mut rng).iter().map(|gossip| gossip.record));
            named.extend(view.iter().map(|gossip| gossip.record));
            named.extend(view.waiting.iter().chain(&view.rising).map(|gossip| gossip.record));
            assert!(named.iter().all(|peer| keep(peer.id)), "{named:?}");
            for (at, entry) in view.places.iter().enumerate() {
                let found = view.places.find(entry.gossip.record.id(), entry.slot);
                let holds = at < view.places.held();
                assert_eq!((found.peer, found.holder == Some(at)), (Some(at), holds));
            }
        }
    }
}
