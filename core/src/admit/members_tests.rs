use super::{
    super::{SKEW, Terms, fixtures::*, talk::shown},
    *,
};
use crate::{ErrorKind, Keypair, vectors};

fn with(number: u16, change: impl FnOnce(&mut Terms)) -> Certificate {
    let mut terms = terms(peer(number));
    change(&mut terms);
    sign(terms)
}

#[test]
fn who_has_shown_a_good_certificate_is_a_member_and_nobody_else() {
    let mut members = members();
    assert_eq!(members.check(&peer(0), NOW), Ok(()), "the node itself");
    assert_eq!(members.check(&peer(1), NOW), Err(Refusal::Missing));
    assert_eq!(members.admit(certificate(peer(1)), NOW), Ok(()));
    assert_eq!(members.check(&peer(1), NOW), Ok(()));
    assert_eq!(members.roles(&peer(1), NOW), ["worker"]);
    assert_eq!(members.roles(&peer(2), NOW), [""; 0]);
    let by_other = Certificate::sign(&other_ca(), terms(peer(2))).unwrap();
    let elsewhere = with(2, |t| t.namespace = Namespace::new("other").unwrap());
    let over = with(2, |t| {
        (t.issued, t.not_before, t.not_after) = (NOW - 9 * DAY, NOW - 9 * DAY, NOW - DAY);
    });
    let early = with(2, |t| t.not_before = NOW + DAY);
    for (certificate, refusal) in [
        (by_other, Refusal::OtherAuthority),
        (elsewhere, Refusal::OtherNamespace),
        (over, Refusal::Expired),
        (early, Refusal::NotYetValid),
    ] {
        assert_eq!(members.admit(certificate, NOW), Err(refusal));
        assert_eq!(members.check(&peer(2), NOW), Err(Refusal::Missing));
    }
    let others = shown(&mut members, &peer(2), certificate(peer(3)), NOW);
    assert_eq!(others, Err(Refusal::OtherPeer));
    assert_eq!(members.certificate(&peer(3)), None);
    assert!(shown(&mut members, &peer(3), certificate(peer(3)), NOW).is_ok());
    assert_eq!(members.len(), 2);
}

#[test]
fn there_may_be_sixteen_authorities_and_there_must_be_one() {
    let authority = |_| Keypair::generate_ed25519().public().to_peer_id();
    let first = ca().public().to_peer_id();
    let with = |more: usize| {
        let cas = std::iter::once(first).chain((0..more).map(authority)).collect();
        Members::new(cas, Namespace::default(), certificate(peer(0)))
    };
    assert_eq!(with(15).unwrap().cas().len(), 16);
    for refused in [with(16), Members::new(vec![], Namespace::default(), certificate(peer(0)))] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("1 to 16"), "{error}");
    }
}

#[test]
fn a_member_is_one_until_its_certificate_ends() {
    let mut members = members();
    members.pin(peer(1));
    members.admit(certificate(peer(1)), NOW).unwrap();
    members.admit(with(2, |t| t.not_after = NOW + DAY), NOW).unwrap();
    let first = NOW + DAY + SKEW + 1;
    assert_eq!(members.next_change(NOW), Some(first));
    assert_eq!(members.check(&peer(2), first - 1), Ok(()));
    assert_eq!(members.check(&peer(2), first), Err(Refusal::Expired));
    assert_eq!(members.roles(&peer(2), first), [""; 0]);
    assert_eq!(members.expired(first), [peer(2)], "connected or not");
    assert_eq!(members.certificate(&peer(2)), None);
    let second = NOW + 30 * DAY + SKEW + 1;
    assert_eq!(members.next_change(first), Some(second));
    assert_eq!(members.expired(second), [peer(1), peer(0)]);
    assert_eq!(members.expired(second), [peer(0)], "the node itself, again");
    assert_eq!(members.next_change(second), None);
}

#[test]
fn what_begins_later_is_a_change_too() {
    let cas = vec![ca().public().to_peer_id()];
    let own = with(0, |t| t.not_before = NOW + DAY);
    let mut members = Members::new(cas, Namespace::default(), own).unwrap();
    assert_eq!(members.check(&peer(0), NOW), Err(Refusal::NotYetValid));
    let begins = NOW + DAY - SKEW;
    assert_eq!(members.next_change(NOW), Some(begins));
    assert_eq!(members.check(&peer(0), begins), Ok(()));
    let until = begins + DAY;
    let short = Revocation::sign_until(&ca(), peer(1), NOW, until).unwrap();
    members.revoke(short, NOW).unwrap();
    assert_eq!(members.next_change(begins), Some(until + 1));
    members.expired(until + 1);
    assert!(members.revoked().is_empty());
}

#[test]
fn a_revoked_member_is_none_until_it_has_a_later_certificate() {
    let mut members = members();
    members.admit(certificate(peer(1)), NOW).unwrap();
    let first = revocation(peer(1), NOW);
    let done = members.revoke(first.clone(), NOW);
    assert_eq!(done, Ok(Revoking { fresh: true, voided: Some(peer(1)) }));
    assert_eq!(members.check(&peer(1), NOW), Err(Refusal::Revoked));
    assert_eq!(members.roles(&peer(1), NOW), [""; 0]);
    assert_eq!(members.admit(certificate(peer(1)), NOW), Err(Refusal::Revoked));
    assert_eq!(members.revoke(first, NOW), Ok(Revoking { fresh: false, voided: None }));
    let unknown = members.revoke(revocation(peer(2), NOW), NOW);
    assert_eq!(unknown, Ok(Revoking { fresh: true, voided: None }));
    assert_eq!(members.admit(with(1, |t| t.issued = NOW + 1), NOW), Ok(()));
    assert_eq!(members.check(&peer(1), NOW), Ok(()));
    let strange = Revocation::sign(&other_ca(), peer(1), NOW + 1).unwrap();
    assert_eq!(members.revoke(strange, NOW), Err(Refusal::OtherAuthority));
    let own = members.revoke(revocation(peer(0), NOW), NOW);
    assert_eq!(own, Ok(Revoking { fresh: true, voided: Some(peer(0)) }));
    assert_eq!(members.check(&peer(0), NOW), Err(Refusal::Revoked));
}

#[test]
fn revocations_that_were_kept_count_again() {
    let mut before = members();
    before.revoke(revocation(peer(1), NOW), NOW).unwrap();
    let kept = before.revoked().encode();
    let mut members = members();
    members.restore(&Revoked::decode(&kept, NOW, members.cas()).unwrap(), NOW);
    assert_eq!(members.admit(certificate(peer(1)), NOW), Err(Refusal::Revoked));
}

#[test]
fn the_certificate_that_was_signed_last_stays() {
    let mut members = members();
    let (old, new) = (with(1, |t| t.roles.clear()), with(1, |t| t.issued = NOW + 5));
    for certificate in [&old, &new, &old] {
        members.admit(certificate.clone(), NOW).unwrap();
    }
    assert_eq!(members.certificate(&peer(1)), Some(&new));
    // Unless it counts no more: here it ends first.
    let short = with(1, |t| (t.issued, t.not_after) = (NOW + 9, NOW + 10));
    members.admit(short.clone(), NOW).unwrap();
    assert_eq!(members.certificate(&peer(1)), Some(&short));
    members.admit(old.clone(), NOW + DAY).unwrap();
    assert_eq!(members.certificate(&peer(1)), Some(&old));
}

#[test]
fn a_node_takes_its_next_certificate_and_no_worse_one() {
    let mut members = members();
    let next = with(0, |t| (t.issued, t.not_after) = (NOW + 1, NOW + 60 * DAY));
    assert_eq!(members.renew(certificate(peer(1)), NOW), Err(Refusal::OtherPeer));
    let early = with(0, |t| t.not_before = NOW + DAY);
    assert_eq!(members.renew(early, NOW), Err(Refusal::NotYetValid));
    members.revoke(revocation(peer(0), NOW), NOW).unwrap();
    assert_eq!(members.renew(certificate(peer(0)), NOW), Err(Refusal::Revoked));
    assert_eq!(members.renew(next.clone(), NOW), Ok(()));
    assert_eq!((members.own(), members.check(&peer(0), NOW)), (&next, Ok(())));
    // Others' copies of an older one change nothing.
    members.admit(with(0, |t| t.issued = NOW + 3), NOW).unwrap();
    assert_eq!(members.certificate(&peer(0)), Some(&next));
}

#[test]
fn of_too_many_those_stay_that_are_connected_or_were_shown_last() {
    let mut members = members();
    members.seen.resize(NonZeroUsize::new(3).unwrap());
    members.pin(peer(1));
    members.admit(certificate(peer(1)), NOW).unwrap();
    members.admit(certificate(peer(2)), NOW).unwrap();
    members.pin(peer(2));
    for number in 3..7 {
        members.admit(certificate(peer(number)), NOW).unwrap();
        members.admit(certificate(peer(3)), NOW).unwrap();
    }
    let known =
        |members: &Members| (1..7).filter(|n| members.check(&peer(*n), NOW).is_ok()).collect();
    let ids: Vec<u16> = known(&members);
    assert_eq!((ids, members.len()), (vec![1, 2, 3, 5, 6], 5));
    for number in [1, 2] {
        members.unpin(&peer(number));
    }
    let ids: Vec<u16> = known(&members);
    assert_eq!((ids, members.len()), (vec![1, 2, 3], 3));
    assert!(members.held.is_empty() && members.pinned.is_empty());
}

#[test]
fn a_node_that_cannot_be_a_member_is_told_why() {
    let id = |key: &Keypair| key.public().to_peer_id();
    let new = |cas: Vec<PeerId>, namespace: &str| {
        let namespace = Namespace::new(namespace).unwrap();
        let error = Members::new(cas, namespace, certificate(peer(0))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.message().to_owned()
    };
    let good = id(&ca());
    assert!(new(vec![], "casm").contains("1 to 16"));
    assert!(new(vec![good; 17], "casm").contains("17"));
    assert!(new(vec![good, vectors::peer("rsa")], "casm").contains("casm admit new"));
    let foreign = new(vec![id(&other_ca())], "casm");
    assert!(
        foreign.contains(&good.to_base58()) && foreign.contains("casm admit sign"),
        "{foreign}"
    );
    let elsewhere = new(vec![good], "team/b");
    assert!(elsewhere.contains("casm admit sign --ns team/b"), "{elsewhere}");
}
