//! Comparisons beside a naive one, what they cost, and other sides that mean harm.

use super::{
    items::{Item, Items, ShortId},
    ranges::{self, MAX_RANGES, Range, RangesError, Read, Said, Writer},
    reconcile::{Compared, FEW, MAX_FRAMES, Reconcile},
};
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

type Table = BTreeMap<ShortId, u64>;

const NOW: u64 = 1_767_225_600_000_000_000;
/// Numbers of the last 200 s.
const AGES: u64 = 200_000_000_000;

fn items(table: &Table, seed: u64) -> Items {
    let mut key = [9; 16];
    key[..8].copy_from_slice(&seed.to_be_bytes());
    Items::new(table.iter().map(|(id, seq)| (*id, *seq)), std::iter::empty(), &key)
}

fn compared(a: &Table, b: &Table, seed: u64) -> Compared {
    Compared::of(items(a, seed), items(b, seed), seed).expect("both keep to it")
}

/// Whose records are newer in `a`.
fn newer(a: &Table, b: &Table) -> Vec<ShortId> {
    let newer = a.iter().filter(|(id, seq)| b.get(id).is_none_or(|other| other < seq));
    newer.map(|(id, _)| *id).collect()
}

/// Two tables of so many, which differ in some: lacking on a side, or older there.
fn tables(n: usize, differ: usize, ids: impl Fn(u64) -> u64, rng: &mut ChaCha8Rng) -> [Table; 2] {
    let mut all = Table::new();
    while all.len() < n {
        all.insert(ids(rng.random()), NOW - rng.random_range(0..AGES));
    }
    let mut both = [all.clone(), all.clone()];
    let mut ids: Vec<_> = all.into_keys().collect();
    ids.shuffle(rng);
    for id in ids.into_iter().take(differ) {
        let side = &mut both[rng.random_range(0..2)];
        if rng.random_bool(0.3) {
            side.remove(&id);
        } else {
            side.entry(id).and_modify(|seq| *seq -= rng.random_range(1..AGES));
        }
    }
    both
}

/// What the digests and the wanted ids took that came before comparing by ranges: 16
/// bytes for each that the opener has, at most 4096 in an exchange.
fn whole_digest(a: &Table, b: &Table) -> usize {
    let parts = a.len().div_ceil(4096).max(1);
    parts * (5 + 16 + 5) + 16 * a.len() + 8 * newer(a, b).len()
}

#[test]
fn a_comparison_finds_what_a_naive_one_does() {
    for seed in 0..600 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let n = [0, 1, 9, 60, FEW, FEW + 1, 300, 700, 3000][rng.random_range(0..9)];
        let differ = [0, 1, 10, n / 10, n / 3, n][rng.random_range(0..6)].min(n);
        // Ids by chance, and such that somebody has made alike.
        let bits = rng.random_range(0..40);
        let alike = |id: u64| if id.is_multiple_of(3) { id >> bits } else { id };
        let [a, b] = tables(n, differ, alike, &mut rng);
        let found = compared(&a, &b, seed);
        assert!(!found.left && found.frames <= MAX_FRAMES + 2, "seed {seed}: {}", found.frames);
        assert_eq!(found.hand, [newer(&a, &b), newer(&b, &a)], "seed {seed}");
    }
}

#[test]
fn a_table_beside_a_smaller_one_or_none_is_compared_as_well() {
    for (seed, n) in (0..).zip([1, FEW, FEW + 1, 5000]) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let [all, _] = tables(n, 0, |id| id, &mut rng);
        let some: Table = all.clone().into_iter().step_by(2).collect();
        for other in [Table::new(), some] {
            let found = compared(&other, &all, seed);
            assert_eq!(found.hand, [vec![], newer(&all, &other)]);
            let found = compared(&all, &other, seed);
            assert_eq!(found.hand, [newer(&all, &other), vec![]]);
        }
        // A newcomer is told at once, and tells what it lacks as soon as it is asked.
        assert_eq!(compared(&Table::new(), &all, seed).frames, 3);
        assert!(compared(&all, &Table::new(), seed).frames <= 4);
    }
}

#[test]
fn ten_of_ten_thousand_cost_no_more_than_eight_kilobytes() {
    let mut most = 0;
    for seed in 0..50 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let [a, b] = tables(10_000, 10, |id| id, &mut rng);
        let found = compared(&a, &b, seed);
        assert_eq!(found.hand, [newer(&a, &b), newer(&b, &a)], "seed {seed}");
        // Frames by turns, of which the last two go at the same time.
        assert!(found.frames <= 7, "seed {seed}");
        most = most.max(found.bytes);
    }
    println!("{most} bytes at most");
    assert!(most <= 8000, "{most}");
}

#[test]
fn a_comparison_costs_no_more_than_the_whole_digest() {
    for (seed, n) in (0..).zip([100, 150, 300, 1000, 3000, 10_000, 30_000]) {
        for differ in [0, 1, 10, 150, n / 10, n / 3, n / 2, n] {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let [a, b] = tables(n, differ.min(n), |id| id, &mut rng);
            let (found, before) = (compared(&a, &b, seed), whole_digest(&a, &b));
            println!("{n}, {differ} differ: {} bytes, {before} before", found.bytes);
            assert!(found.bytes <= before, "{n}, {differ} differ: {} {before}", found.bytes);
        }
    }
}

#[test]
fn what_has_no_room_in_one_exchange_has_it_in_others() {
    for seed in 0..3 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let [mut a, mut b] = tables(40_000, 30_000, |id| id, &mut rng);
        let (mut exchanges, mut left) = (0, true);
        while left {
            exchanges += 1;
            let found = compared(&a, &b, rng.random());
            for id in found.hand[0].iter().take(4096) {
                b.insert(*id, a[id]);
            }
            for id in found.hand[1].iter().take(4096) {
                a.insert(*id, b[id]);
            }
            left = found.left || found.hand.iter().any(|hand| hand.len() > 4096);
        }
        println!("{exchanges} exchanges");
        assert!(exchanges <= 16 && a == b, "seed {seed}: {exchanges}");
    }
}

#[test]
fn several_peers_of_one_id_are_handed_over_until_both_sides_have_all() {
    let both = |a: &[Item], b: &[Item]| {
        let items = |of: &[Item]| Items::new(of.iter().copied(), std::iter::empty(), &[1; 16]);
        Compared::of(items(a), items(b), 0).unwrap().hand
    };
    let none = Vec::<ShortId>::new;
    assert_eq!(both(&[(7, 1), (7, 3)], &[(7, 3)]), [vec![7], none()]);
    assert_eq!(both(&[(7, 1), (7, 3)], &[(7, 2)]), [vec![7], vec![7]]);
    assert_eq!(both(&[(7, 1), (7, 3)], &[(7, 3), (7, 1)]), [none(), none()]);
    assert_eq!(both(&[(7, 2)], &[(7, 3)]), [none(), vec![7]]);
    // So many that they have no room in a list, which nobody can make.
    let many: Vec<_> =
        (0..1000).map(|seq| (7, seq)).chain((0..300).map(|id| (id << 40, 1))).collect();
    assert_eq!(both(&many, &many[1..]), [vec![7], none()]);
}

#[test]
fn what_was_heard_beside_the_table_is_neither_wanted_nor_handed_over() {
    let (known, heard, key) = ([(1, 5), (2, 5)], [(3, 9), (2, 4)], [1; 16]);
    let ours = || Items::new(known.into_iter(), heard.into_iter(), &key);
    let theirs = |of: &[Item]| Items::new(of.iter().copied(), std::iter::empty(), &key);
    let found = Compared::of(ours(), theirs(&[(1, 5), (2, 5), (3, 9)]), 0).unwrap();
    assert!(found.hand.iter().all(Vec::is_empty));
    let found = Compared::of(theirs(&[(1, 5), (2, 5), (3, 8)]), ours(), 0).unwrap();
    assert_eq!(found.hand, [vec![], vec![3]], "nothing there is to hand over");
}

/// An own side that was asked with this first frame.
fn asked(frame: &[u8]) -> Result<Option<Vec<u8>>, RangesError> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let [a, _] = tables(1000, 0, |id| id, &mut rng);
    Reconcile::new(items(&a, 0)).take(frame, 0)
}

#[test]
fn what_is_not_as_it_should_be_is_refused() {
    let frame = |rest: &[u8]| [&[0, 0, 0, 0, 0, 0, 0, 9][..], rest].concat();
    let item = |id: u8, lower: u8| [0, 0, 0, 0, 0, 0, 0, id, lower];
    let list =
        |items: &[[u8; 9]]| frame(&[&[0x80, items.len() as u8], items.as_flattened()].concat());
    for (what, bytes, error) in [
        ("nothing", vec![], RangesError::Length),
        ("no bits", frame(&[]), RangesError::Length),
        ("a bit of no range", frame(&[0x40]), RangesError::Unknown),
        ("nothing said of a range", frame(&[0x80]), RangesError::Length),
        ("what is not known", frame(&[0x80, 249]), RangesError::Unknown),
        ("more than is said", frame(&[0x80, 255, 0]), RangesError::Length),
        ("more of ranges that are equal", frame(&[0, 0]), RangesError::Length),
        ("too few items", frame(&[0x80, 3, 0, 0]), RangesError::Length),
        ("a list of far too many", frame(&[0x80, 240, 255, 255, 255, 255]), RangesError::Length),
        ("an item that is cut off", frame(&[0x80, 1, 0, 0]), RangesError::Length),
        (
            "a number without an end",
            frame(&[&[0x80, 1][..], &[255; 19]].concat()),
            RangesError::Length,
        ),
        ("a number below 0", list(&[item(1, 10)]), RangesError::Items),
        ("items that go down", list(&[item(2, 0), item(1, 0)]), RangesError::Items),
        ("numbers that go down", list(&[item(2, 1), item(2, 2)]), RangesError::Items),
        ("an item twice", list(&[item(2, 1), item(2, 1)]), RangesError::Items),
        ("too few sums", frame(&[0x80, 241, 0, 0, 0, 0]), RangesError::Length),
    ] {
        assert_eq!(asked(&bytes), Err(error), "{what}");
    }
    assert_eq!(asked(&list(&[item(1, 0), item(2, 9)])), Ok(None));
    assert_eq!(asked(&frame(&[0])), Ok(None), "nothing differs");
    assert_eq!(asked(&frame(&[0x80, 255])), Ok(None), "another time");
    let mut over = Reconcile::new(items(&Table::new(), 0));
    over.begin();
    assert_eq!(over.take(&frame(&[0]), 0), Err(RangesError::Over));
}

/// How a side ends with another one that divides every range by so many bits, and
/// after how many frames.
fn divided(table: &Table, by: u8) -> (u32, Result<(), RangesError>) {
    let (mut side, mut open) = (Reconcile::new(items(table, 0)), vec![Range::WHOLE]);
    for frames in 1.. {
        let mut writer = Writer::new(0, open.len());
        for (place, range) in open.iter().enumerate() {
            writer.say(place, *range, Said::Split(by, &vec![7; 1 << by]));
        }
        let answer = match side.take(&writer.done(), 0) {
            Ok(Some(answer)) => answer,
            Ok(None) => return (frames, Ok(())),
            Err(error) => return (frames, Err(error)),
        };
        assert!(answer.len() <= MAX_RANGES);
        let parts: Vec<_> = open.iter().flat_map(|range| range.parts(by)).collect();
        open.clear();
        ranges::read(&answer, parts.into_iter(), |_, range, said| {
            if let Read::Split(by, _) = said {
                open.extend(range.parts(by));
            }
        })
        .unwrap();
        if open.is_empty() {
            return (frames, Ok(()));
        }
    }
    unreachable!()
}

#[test]
fn a_side_that_divides_without_end_comes_to_one() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    // Ids that begin alike are divided again and again.
    let [alike, _] = tables(300, 0, |id| id >> 40, &mut rng);
    for by in 1..=2 {
        assert_eq!(divided(&alike, by), (MAX_FRAMES / 2, Ok(())), "listed in the last frame");
    }
    let [all, _] = tables(300, 0, |id| id, &mut rng);
    assert_eq!(divided(&all, 1), (3, Ok(())));
    assert_eq!(divided(&Table::new(), 8), (1, Ok(())));

    // Who asks divides in the first, the third and so on: also the last is ours.
    let mut side = Reconcile::new(items(&alike, 0));
    let (mut frame, mut taken) = (side.begin(), 0);
    let mut open = vec![Range::WHOLE];
    let error = loop {
        let mut parts = Vec::new();
        ranges::read(&frame, open.iter().copied(), |_, range, said| {
            if let Read::Split(by, _) = said {
                parts.extend(range.parts(by));
            }
        })
        .unwrap();
        let mut writer = Writer::new(0, parts.len());
        for (place, range) in parts.iter().enumerate() {
            writer.say(place, *range, Said::Split(1, &[7, 7]));
        }
        taken += 1;
        match side.take(&writer.done(), 0) {
            Ok(Some(answer)) => frame = answer,
            end => break end,
        }
        open = parts.iter().flat_map(|range| range.parts(1)).collect();
    };
    assert_eq!((taken, error), (MAX_FRAMES / 2, Err(RangesError::Endless)));
}

#[test]
fn ids_have_no_more_than_64_bits() {
    let read = |bits: u8, by: u8| {
        let (mut said, range) = (None, Range { first: 0, bits });
        let mut writer = Writer::new(0, 1);
        writer.say(0, range, Said::Split(by, &vec![7; 1 << by]));
        ranges::read(&writer.done(), [range].into_iter(), |_, _, read| said = Some(read))
            .map(|()| said)
    };
    assert_eq!(read(57, 8), Err(RangesError::Split));
    assert_eq!(read(56, 8), Ok(Some(Read::Split(8, vec![7; 256]))));
    assert_eq!(read(64, 1), Err(RangesError::Split));
    let last: Vec<_> = Range { first: 0xff00, bits: 56 }.parts(8).collect();
    assert_eq!(last[255], Range { first: 0xffff, bits: 64 });
    // Nothing is left of an id where all have all of it.
    let one = Range { first: 7, bits: 64 };
    let mut writer = Writer::new(9, 1);
    writer.say(0, one, Said::List(&[(7, 1), (7, 9)]));
    let bytes = writer.done();
    assert_eq!(bytes[8..], [0x80, 2, 8, 0]);
    let mut said = None;
    ranges::read(&bytes, [one].into_iter(), |_, _, read| said = Some(read)).unwrap();
    assert_eq!(said, Some(Read::List(vec![(7, 1), (7, 9)])));
}

#[test]
fn frames_that_somebody_has_changed_break_nothing() {
    for seed in 0..400 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let [a, b] = tables(800, 300, |id| id >> (id % 30), &mut rng);
        let mut sides = [Reconcile::new(items(&a, seed)), Reconcile::new(items(&b, seed))];
        let mut frame = sides[0].begin();
        for receiver in [1, 0].into_iter().cycle() {
            assert!(frame.len() <= MAX_RANGES);
            for _ in 0..rng.random_range(0..4) {
                let at = rng.random_range(0..frame.len());
                frame[at] = [0, 1, 255, rng.random()][rng.random_range(0..4)];
            }
            if rng.random_bool(0.1) {
                frame.truncate(rng.random_range(0..frame.len()));
            }
            match sides[receiver].take(&frame, seed) {
                Ok(Some(answer)) => frame = answer,
                Ok(None) | Err(_) => break,
            }
        }
        let [one, other] = sides.map(Reconcile::found);
        // Nothing is handed over that is not there.
        assert!(one.hand.iter().all(|id| a.contains_key(id)), "seed {seed}");
        assert!(other.hand.iter().all(|id| b.contains_key(id)), "seed {seed}");
    }
}
