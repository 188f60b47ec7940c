use super::{
    super::{MAX_REVOKED, Terms, fixtures::*},
    *,
};
use crate::admit::wire::MAX_MESSAGE;
use proptest::prelude::*;

/// One that holds these.
fn holding(number: u16, revocations: &[Revocation]) -> Members {
    let mut members = members_of(peer(number));
    for revocation in revocations {
        members.revoke(revocation.clone(), NOW).unwrap();
    }
    members
}

/// Asks until there is nothing more to ask: how often, and what each came to know.
fn compare(a: &mut Members, b: &mut Members, now: u64) -> (usize, News, News) {
    let (mut of_a, mut of_b) = (News::default(), News::default());
    let mut next = Some(greet(a));
    let mut steps = 0;
    while let Some(ask) = next {
        steps += 1;
        assert!(steps <= MAX_STEPS, "it goes on for ever");
        // As it travels.
        let asked = ask.frame();
        let (message, _) = crate::admit::wire::unframe(&asked, MAX_MESSAGE).unwrap().unwrap();
        let from = a.own().peer();
        let (answer, news) = answer(b, &from, Ask::decode(message).unwrap(), now);
        merge(&mut of_b, news);
        let answered = answer.frame();
        let (message, _) = crate::admit::wire::unframe(&answered, MAX_MESSAGE).unwrap().unwrap();
        let (news, then) = heard(a, &ask, Answer::decode(message).unwrap(), now);
        merge(&mut of_a, news);
        next = then;
    }
    (steps, of_a, of_b)
}

fn merge(all: &mut News, news: News) {
    all.revocations.extend(news.revocations);
    all.voided.extend(news.voided);
    all.admitted.extend(news.admitted);
    all.refused.extend(news.refused);
}

#[test]
fn certificates_are_told_to_who_asks() {
    let (mut a, mut b) = (members_of(peer(1)), members_of(peer(2)));
    b.admit(certificate(peer(3)), NOW).unwrap();
    b.admit(certificate(peer(4)), NOW).unwrap();
    b.revoke(revocation(peer(4), NOW), NOW).unwrap();
    let ask = want(&a, &[peer(2), peer(3), peer(4), peer(5)]);
    let (answer, news) = answer(&mut b, &peer(1), ask.clone(), NOW);
    assert_eq!(news, News::default());
    let told: Vec<_> = answer.certificates.iter().map(Certificate::peer).collect();
    assert_eq!(told, [peer(2), peer(3)], "neither who is out nor who is unknown");
    let (news, next) = heard(&mut a, &ask, answer.clone(), NOW);
    assert_eq!(news.admitted, [peer(2), peer(3)]);
    assert_eq!(a.check(&peer(3), NOW), Ok(()));
    assert_eq!(next, None, "their revocations differ, but that was no greeting");
    // What nobody has asked for is not taken.
    let (news, _) = heard(&mut members_of(peer(9)), &Ask::default(), answer, NOW);
    assert_eq!((news.admitted, news.refused), (vec![], vec![Refusal::OtherPeer; 2]));
    let many: Vec<_> = (0..200).map(peer).collect();
    assert_eq!(want(&a, &many).want.len(), MAX_ITEMS);
}

#[test]
fn a_later_certificate_goes_from_one_to_the_next_and_no_further_than_it_is_news() {
    let (mut a, mut b, mut c) = (members_of(peer(1)), members_of(peer(2)), members_of(peer(3)));
    let later = sign(Terms { issued: NOW + 1, roles: vec!["new".into()], ..terms(peer(1)) });
    a.renew(later.clone(), NOW).unwrap();
    let ask = renewed(&a, std::slice::from_ref(&later));
    // Of whom nothing is known, it says itself what is new.
    let (_, news) = answer(&mut b, &peer(3), ask.clone(), NOW);
    assert_eq!((news, b.check(&peer(1), NOW)), (News::default(), Err(Refusal::Missing)));
    let (_, news) = answer(&mut b, &peer(1), ask.clone(), NOW);
    assert_eq!((news.admitted, news.renewed), (vec![peer(1)], vec![]));
    // Who knew another is told by anybody, and tells others.
    c.admit(certificate(peer(1)), NOW).unwrap();
    let (_, news) = answer(&mut c, &peer(2), ask.clone(), NOW);
    assert_eq!((news.admitted, news.renewed), (vec![peer(1)], vec![later.clone()]));
    assert_eq!(c.roles(&peer(1), NOW), ["new"]);
    assert_eq!(answer(&mut c, &peer(2), ask, NOW).1, News::default());
    // One from before changes nothing, whoever shows it.
    let news = shown(&mut c, &peer(1), certificate(peer(1)), NOW).unwrap();
    assert_eq!((news.renewed, c.roles(&peer(1), NOW)), (vec![], &["new".to_owned()][..]));
}

#[test]
fn revocations_are_told_and_put_out_whom_they_name() {
    let (mut a, mut b) = (members_of(peer(1)), members_of(peer(2)));
    b.admit(certificate(peer(3)), NOW).unwrap();
    let revocations = [revocation(peer(3), NOW), revocation(peer(4), NOW)];
    for revocation in &revocations {
        a.revoke(revocation.clone(), NOW).unwrap();
    }
    let ask = tell(&a, &revocations);
    let (first, news) = answer(&mut b, &peer(1), ask.clone(), NOW);
    assert_eq!(news.revocations, revocations, "others are told");
    assert_eq!(news.voided, [peer(3)]);
    assert_eq!(heard(&mut a, &ask, first, NOW), (News::default(), None), "both hold the same");
    let (_, news) = answer(&mut b, &peer(1), ask, NOW);
    assert_eq!(news, News::default(), "nobody is told twice");
    let strange = Revocation::sign(&other_ca(), peer(1), NOW).unwrap();
    let (_, news) = answer(&mut b, &peer(1), tell(&a, &[strange]), NOW);
    assert_eq!(news.refused, [Refusal::OtherAuthority]);
}

#[test]
fn two_that_compare_hold_the_same_then() {
    let of = |numbers: std::ops::Range<u16>| {
        numbers.map(|n| revocation(peer(n), NOW)).collect::<Vec<_>>()
    };
    for (a, b, steps) in [
        (of(0..0), of(0..0), 1),
        (of(10..20), of(10..20), 1),
        (of(10..20), of(10..10), 3),
        (of(10..10), of(10..20), 2),
        (of(10..20), of(15..25), 3),
        (of(10..160), of(10..10), 5),
        (of(10..10), of(10..160), 4),
        (of(10..160), of(300..500), 8),
    ] {
        let (mut one, mut other) = (holding(1, &a), holding(2, &b));
        let (took, of_one, of_other) = compare(&mut one, &mut other, NOW);
        assert_eq!(one.revoked().ids(), other.revoked().ids());
        assert!(took <= steps, "{took} steps, and not {steps}");
        let fresh = |mine: &[Revocation], theirs: &[Revocation]| {
            theirs.iter().filter(|revocation| !mine.contains(revocation)).count()
        };
        assert_eq!(of_one.revocations.len(), fresh(&a, &b));
        assert_eq!(of_other.revocations.len(), fresh(&b, &a));
        assert!(of_one.refused.is_empty() && of_other.refused.is_empty());
    }
}

/// Of another authority, say, while one follows another.
#[test]
fn what_the_other_refuses_is_told_once() {
    let authorities: Vec<_> = [ca(), other_ca()].map(|key| key.public().to_peer_id()).into();
    let cas = authorities.clone();
    let namespace = crate::Namespace::default;
    let mut both = Members::new(cas, namespace(), certificate(peer(1))).unwrap();
    for number in 10..200 {
        let strange = Revocation::sign(&other_ca(), peer(number), NOW).unwrap();
        both.revoke(strange, NOW).unwrap();
    }
    both.revoke(revocation(peer(5), NOW), NOW).unwrap();
    let mut one = holding(2, &[revocation(peer(6), NOW)]);
    for _ in 0..2 {
        let (_, _, news) = compare(&mut both, &mut one, NOW);
        assert!(news.refused.iter().all(|refusal| *refusal == Refusal::OtherAuthority));
        compare(&mut one, &mut both, NOW);
    }
    assert!(both.revoked().get(&authorities[0], &peer(6)).is_some());
    assert_eq!(one.revoked().get(&authorities[1], &peer(10)), None);
}

/// A node that lies can have another one ask as often as that asks at all.
#[test]
fn a_liar_learns_nothing_and_changes_nothing() {
    let mut members = holding(1, &[revocation(peer(5), NOW)]);
    let before = members.revoked().digest();
    let lies = Answer {
        digest: [9; 32],
        lacking: (0..MAX_ITEMS as u64).collect(),
        next: Some(1),
        ..Answer::default()
    };
    let ask = greet(&members);
    let (_, next) = heard(&mut members, &ask, lies.clone(), NOW);
    let first = next.unwrap();
    assert_eq!((first.from, first.revocations.len()), (0, 0));
    let (_, next) = heard(&mut members, &first, lies.clone(), NOW);
    let second = next.unwrap();
    assert_eq!((second.from, second.revocations.len()), (1, 0));
    assert_eq!(heard(&mut members, &second, lies.clone(), NOW), (News::default(), None));
    // Nor is anything told to who has not been told its id.
    let id = members.revoked().ids()[0];
    let lies = Answer { lacking: vec![id], ..lies };
    let (_, next) =
        heard(&mut members, &renewed(&members_of(peer(1)), &[certificate(peer(1))]), lies, NOW);
    assert_eq!(next, None);
    assert_eq!(members.revoked().digest(), before);
}

#[test]
fn one_that_holds_all_there_can_be_tells_it_in_time() {
    let ca = ca().public().to_peer_id();
    let kept = |n: u16| Revocation::unsigned(ca, peer(n), NOW - u64::from(n), NOW + DAY);
    let all: Vec<_> = (1..=MAX_REVOKED as u16).map(kept).collect();
    let (mut full, mut empty) = (holding(1, &all), holding(2, &[]));
    assert_eq!(full.revoked().len(), MAX_REVOKED);
    let mut next = Some(greet(&empty));
    let mut steps = 0;
    while let Some(ask) = next {
        steps += 1;
        let (answer, _) = answer(&mut full, &peer(2), ask.clone(), NOW);
        (_, next) = heard(&mut empty, &ask, answer, NOW);
    }
    assert_eq!(empty.revoked().digest(), full.revoked().digest());
    assert!(steps <= MAX_STEPS, "{steps}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn all_come_to_hold_the_same(
        holdings in prop::collection::vec(prop::collection::vec((10..40_u16, 0..3_u64), 0..30), 3),
    ) {
        let mut nodes: Vec<_> = (0..).zip(&holdings).map(|(number, of)| {
            let of: Vec<_> = of.iter().map(|(n, at)| revocation(peer(*n), NOW + at)).collect();
            holding(number, &of)
        }).collect();
        for (a, b) in [(0, 1), (1, 2), (0, 1), (0, 2)] {
            let [a, b] = nodes.get_disjoint_mut([a, b]).unwrap();
            compare(a, b, NOW);
            prop_assert_eq!(a.revoked().ids(), b.revoked().ids());
        }
        prop_assert_eq!(nodes[1].revoked().digest(), nodes[2].revoked().digest());
    }
}
