use super::{super::fixtures::*, *};
use crate::{ErrorKind, record};

fn cas() -> [PeerId; 1] {
    [ca().public().to_peer_id()]
}

fn seal(payload: &[u8]) -> Vec<u8> {
    record::seal(&ca(), KIND.domain, KIND.payload_type, payload.to_vec()).unwrap()
}

#[test]
fn a_revocation_comes_back_as_it_was_signed() {
    let signed = revocation(peer(1), NOW);
    let read = Revocation::decode(signed.encoded()).unwrap();
    assert_eq!(read, signed);
    assert_eq!((read.ca(), read.peer(), read.at()), (cas()[0], peer(1), NOW));
    assert_eq!(read.until(), NOW + 366 * DAY + SKEW);
    assert!(signed.encoded().len() <= MAX_REVOCATION);
    let short = Revocation::sign_until(&ca(), peer(1), NOW, NOW + DAY).unwrap();
    assert_eq!(Revocation::decode(short.encoded()).unwrap().until(), NOW + DAY);
    // An id is of all that is said.
    let others = [
        short,
        revocation(peer(2), NOW),
        revocation(peer(1), NOW + 1),
        Revocation::sign(&other_ca(), peer(1), NOW).unwrap(),
    ];
    assert!(others.iter().all(|other| other.id() != signed.id()));
}

#[test]
fn one_that_is_cut_changed_too_long_or_something_else_is_refused() {
    let bytes = revocation(peer(1), NOW).encoded().to_vec();
    for cut in 0..bytes.len() {
        assert!(Revocation::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(Revocation::decode(&changed).is_err(), "bit {bit}");
    }
    assert_eq!(Revocation::decode(&[0; MAX_REVOCATION + 1]), Err(AdmitError::TooLarge));
    let certificate = certificate(peer(1));
    assert_eq!(Revocation::decode(certificate.encoded()), Err(AdmitError::PayloadType));
    let payload = |peer: &[u8], at, until| {
        let mut payload = Vec::new();
        write_field(1, peer, &mut payload);
        write_number(2, at, &mut payload);
        write_number(3, until, &mut payload);
        payload
    };
    let id = peer(1).to_bytes();
    assert!(Revocation::decode(&seal(&payload(&id, NOW, NOW + 1))).is_ok());
    let twice = [payload(&id, NOW, NOW + 1), vec![2 << 3, 0]].concat();
    for (payload, reason) in [
        (payload(&id, NOW, NOW), "it ends before it begins"),
        (payload(&id, 0, u64::MAX), "it is kept for longer than a certificate can live"),
        (payload(b"x", NOW, NOW + 1), "an id is no peer's"),
        (twice, "a field comes twice"),
        (vec![9 << 3, 0], "it names no peer"),
        (vec![1 << 3, 0], "a field is of another kind"),
    ] {
        assert_eq!(Revocation::decode(&seal(&payload)), Err(AdmitError::Malformed(reason)));
    }
}

#[test]
fn one_whose_times_make_no_sense_is_not_signed() {
    for until in [NOW, 0, NOW + 366 * DAY + SKEW + 1] {
        let error = Revocation::sign_until(&ca(), peer(1), NOW, until).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(&until.to_string()), "{error}");
        assert!(error.message().contains("366 days"), "{error}");
    }
    let error = Revocation::sign(&crate::vectors::key("ecdsa"), peer(1), NOW).unwrap_err();
    assert!(error.message().contains("casm admit new"), "{error}");
}

#[test]
fn it_counts_for_its_authority_and_time_alone() {
    let revocation = revocation(peer(1), NOW);
    let other = [other_ca().public().to_peer_id()];
    assert_eq!(revocation.check(NOW, &other), Err(Refusal::OtherAuthority));
    for (now, expected) in [
        (NOW - SKEW - 1, Err(Refusal::NotYetValid)),
        (NOW - SKEW, Ok(())),
        (NOW + 366 * DAY + SKEW, Ok(())),
        (NOW + 366 * DAY + SKEW + 1, Err(Refusal::Expired)),
    ] {
        assert_eq!(revocation.check(now, &cas()), expected, "{now}");
    }
}
