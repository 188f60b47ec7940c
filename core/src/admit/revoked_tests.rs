use super::{super::fixtures::*, *};
use crate::Keypair;
use proptest::prelude::*;

fn cas() -> [PeerId; 2] {
    [ca(), other_ca()].map(|key| key.public().to_peer_id())
}

/// As if it were signed: signing thousands takes long.
fn unsigned(number: u16, at: u64) -> Revocation {
    Revocation::unsigned(cas()[0], peer(number), at, at + 366 * DAY)
}

fn of(revocations: impl IntoIterator<Item = Revocation>) -> Revoked {
    let mut revoked = Revoked::default();
    for revocation in revocations {
        revoked.put(revocation);
    }
    revoked
}

#[test]
fn what_was_signed_until_then_is_void_and_what_follows_is_not() {
    let mut revoked = Revoked::default();
    let issued = |issued, key: &Keypair| {
        Certificate::sign(key, super::super::Terms { issued, ..terms(peer(1)) }).unwrap()
    };
    let revocation = revocation(peer(1), NOW + 5);
    assert_eq!(revoked.insert(revocation.clone(), NOW + 5, &cas()), Ok(Insert::New));
    assert_eq!(revoked.insert(revocation, NOW + 5, &cas()), Ok(Insert::Known));
    assert!(revoked.voids(&issued(NOW, &ca())));
    assert!(revoked.voids(&issued(NOW + 5, &ca())));
    assert!(!revoked.voids(&issued(NOW + 6, &ca())));
    assert!(!revoked.voids(&issued(NOW, &other_ca())), "another authority's");
    assert!(!revoked.voids(&certificate(peer(2))), "another peer's");
    // An earlier one says nothing new; a later one takes its place.
    let earlier = super::super::fixtures::revocation(peer(1), NOW);
    assert_eq!(revoked.insert(earlier, NOW + 5, &cas()), Ok(Insert::Known));
    let later = super::super::fixtures::revocation(peer(1), NOW + 6);
    assert_eq!(revoked.insert(later, NOW + 5, &cas()), Ok(Insert::New));
    assert!(revoked.voids(&issued(NOW + 6, &ca())));
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked.get(&cas()[0], &peer(1)).unwrap().at(), NOW + 6);
    assert_eq!(revoked.get(&cas()[1], &peer(1)), None);
}

#[test]
fn what_does_not_count_is_not_taken() {
    let mut revoked = Revoked::default();
    let good = revocation(peer(1), NOW);
    let strange = revoked.insert(good.clone(), NOW, &cas()[1..]);
    assert_eq!(strange, Err(Refusal::OtherAuthority));
    assert_eq!(revoked.insert(good.clone(), NOW - DAY, &cas()), Err(Refusal::NotYetValid));
    assert_eq!(revoked.insert(good, NOW + 367 * DAY, &cas()), Err(Refusal::Expired));
    assert!(revoked.is_empty());
}

#[test]
fn of_too_many_the_last_ones_stay() {
    let most = MAX_REVOKED as u16;
    let mut revoked = of((0..most).map(|n| unsigned(n, NOW + u64::from(n))));
    assert_eq!(revoked.len(), MAX_REVOKED);
    assert_eq!(revoked.put(unsigned(most, NOW - 1)), Insert::Known, "there is no room for it");
    assert_eq!(revoked.put(unsigned(most, NOW + DAY)), Insert::New);
    assert_eq!(revoked.len(), MAX_REVOKED);
    assert_eq!(revoked.by_peer.len(), MAX_REVOKED);
    assert!(revoked.get(&cas()[0], &peer(0)).is_none());
    assert!(revoked.get(&cas()[0], &peer(1)).is_some());
    // A later one of a peer that is there pushes out nobody.
    assert_eq!(revoked.put(unsigned(1, NOW + 2 * DAY)), Insert::New);
    assert!(revoked.get(&cas()[0], &peer(2)).is_some());
    let first = revoked.iter().next().unwrap();
    assert_eq!((first.peer(), first.at()), (peer(1), NOW + 2 * DAY));
}

#[test]
fn what_need_not_be_kept_goes() {
    let until = |number, until| Revocation::sign_until(&ca(), peer(number), NOW, until).unwrap();
    let mut revoked = of([until(1, NOW + 10), until(2, NOW + 20)]);
    assert_eq!(revoked.next_end(), Some(NOW + 10));
    revoked.expire(NOW + 10);
    assert_eq!(revoked.len(), 2);
    revoked.expire(NOW + 11);
    assert_eq!(revoked.iter().map(Revocation::peer).collect::<Vec<_>>(), [peer(2)]);
    assert_eq!(revoked.next_end(), Some(NOW + 20));
    revoked.expire(u64::MAX);
    assert_eq!((revoked.len(), revoked.by_peer.len(), revoked.next_end()), (0, 0, None));
}

#[test]
fn what_was_written_is_read_again() {
    let revoked = of((0..9).map(|n| revocation(peer(n), NOW)));
    let bytes = revoked.encode();
    let read = Revoked::decode(&bytes, NOW, &cas()).unwrap();
    assert_eq!((read.digest(), read.ids()), (revoked.digest(), revoked.ids()));
    assert_eq!(Revoked::decode(&[], NOW, &cas()).unwrap().len(), 0);
    // What counts no more is left out, and so is what was damaged.
    assert!(Revoked::decode(&bytes, NOW, &cas()[1..]).unwrap().is_empty());
    assert!(Revoked::decode(&bytes, NOW + 367 * DAY, &cas()).unwrap().is_empty());
    let mut changed = bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(Revoked::decode(&changed, NOW, &cas()).unwrap().len(), 8);
    assert!(matches!(
        Revoked::decode(&bytes[..bytes.len() - 1], NOW, &cas()),
        Err(AdmitError::Malformed(_))
    ));
    let long = vec![0; MAX_REVOKED * (MAX_REVOCATION + 4) + 1];
    assert_eq!(Revoked::decode(&long, NOW, &cas()).unwrap_err(), AdmitError::TooLarge);
    let many = [1 << 3 | 2, 0].repeat(MAX_REVOKED + 1);
    assert!(matches!(Revoked::decode(&many, NOW, &cas()), Err(AdmitError::Malformed(_))));
}

#[test]
fn two_sets_tell_what_each_lacks() {
    let (a, b) = (of((0..5).map(|n| unsigned(n, NOW))), of((3..9).map(|n| unsigned(n, NOW))));
    let lacks: HashSet<_> = a.lacking(&b.ids()).map(Revocation::peer).collect();
    assert_eq!(lacks, (0..3).map(peer).collect());
    assert_eq!(a.unknown(&b.ids()).len(), 4);
    assert!(a.unknown(&a.ids()).is_empty());
    assert!(a.lacking(&a.ids()).next().is_none());
    assert_ne!(a.digest(), b.digest());
}

/// Revocations of few peers and times, so that they meet; some end early, though they
/// were signed late.
fn some() -> impl Strategy<Value = Vec<Revocation>> {
    let one = (0..2_usize, 0..12_u16, 0..6_u64, 1..4_u64);
    let one = one.prop_map(|(ca, number, at, long)| {
        Revocation::unsigned(cas()[ca], peer(number), NOW + at, NOW + at + long * DAY)
    });
    prop::collection::vec(one, 0..60)
}

/// As [`Revoked`], with room for few.
fn small(revocations: &[Revocation]) -> Vec<(u64, u64, ShortId)> {
    let mut revoked = Revoked { room: 8, ..Revoked::default() };
    for revocation in revocations {
        revoked.put(revocation.clone());
        assert!(revoked.len() <= 8 && revoked.len() == revoked.by_peer.len());
    }
    revoked.iter().map(Revocation::rank).collect()
}

proptest! {
    /// However often, in which sequence and by whom they are told: all hold the same.
    #[test]
    fn all_come_to_hold_the_same(revocations in some(), other in some(), seed in any::<u64>()) {
        use rand::{SeedableRng as _, seq::SliceRandom as _};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let all = [revocations.clone(), other.clone()].concat();
        let mut shuffled = [all.clone(), all.clone()].concat();
        shuffled.shuffle(&mut rng);
        prop_assert_eq!(small(&shuffled), small(&all));
        // By way of sets that have thrown out what they had no room for.
        let kept = |of: &[Revocation]| {
            let ranks = small(of);
            let kept = all.iter().filter(|revocation| ranks.contains(&revocation.rank()));
            kept.cloned().collect::<Vec<_>>()
        };
        let merged = [kept(&other), kept(&revocations)].concat();
        prop_assert_eq!(small(&merged), small(&all));
        // Of each authority and peer the last one, and of all the last eight.
        let mut model: HashMap<_, Rank> = HashMap::new();
        for revocation in &all {
            let rank = model.entry((revocation.ca(), revocation.peer())).or_default();
            *rank = (*rank).max(revocation.rank());
        }
        let mut model: Vec<_> = model.into_values().collect();
        model.sort_unstable_by(|a, b| b.cmp(a));
        model.truncate(8);
        prop_assert_eq!(small(&all), model);
    }
}
