use super::{
    super::{MAX_LIFETIME, MAX_ROLE, MAX_ROLES, fixtures::*},
    *,
};
use crate::{ErrorKind, Namespace, pubsub::fields::write_field, record};
use proptest::prelude::*;

fn encode_envelope(payload: &[u8]) -> Vec<u8> {
    record::seal(&ca(), KIND.domain, KIND.payload_type, payload.to_vec()).unwrap()
}

fn cas() -> [PeerId; 1] {
    [ca().public().to_peer_id()]
}

#[test]
fn a_certificate_comes_back_as_it_was_signed() {
    let mut terms = terms(peer(1));
    terms.roles = ["worker", "büro", "worker", "a"].map(String::from).into();
    let signed = sign(terms.clone());
    assert_eq!(signed.roles(), ["a", "büro", "worker"]);
    let read = Certificate::decode(signed.encoded()).unwrap();
    assert_eq!(read, signed);
    assert_eq!((read.peer(), read.ca()), (peer(1), cas()[0]));
    assert_eq!((read.namespace(), read.serial()), ("casm", &[7; 16]));
    let times = (read.not_before(), read.not_after(), read.issued());
    assert_eq!(times, (NOW, NOW + 30 * DAY, NOW));
    // The same terms are the same bytes, however their roles were written.
    terms.roles = ["a", "worker", "büro"].map(String::from).into();
    assert_eq!(sign(terms).encoded(), signed.encoded());
}

#[test]
fn the_longest_certificate_fits() {
    let role = |n: usize| format!("{n:02}{}", "x".repeat(MAX_ROLE - 2));
    // The longest id that there is.
    let hash = libp2p::multihash::Multihash::wrap(0, &[1; 42]).unwrap();
    let terms = Terms {
        peer: PeerId::from_multihash(hash).unwrap(),
        namespace: Namespace::new("n".repeat(Namespace::MAX_LEN)).unwrap(),
        roles: (0..MAX_ROLES).map(role).collect(),
        not_before: u64::MAX - 1,
        not_after: u64::MAX,
        issued: u64::MAX,
        serial: [0xff; 16],
    };
    let longest = sign(terms);
    assert!(longest.encoded().len() <= MAX_CERTIFICATE, "{}", longest.encoded().len());
    assert_eq!(Certificate::decode(longest.encoded()).unwrap(), longest);
    assert_eq!(Certificate::parse(longest.to_text().as_bytes()).unwrap(), longest);
}

#[test]
fn terms_that_are_not_acceptable_are_not_signed() {
    let changed = |change: fn(&mut Terms)| {
        let mut terms = terms(peer(1));
        change(&mut terms);
        terms
    };
    for (terms, value, hint) in [
        (changed(|t| t.roles = (0..17).map(|n| n.to_string()).collect()), "17", "at most 16 roles"),
        (changed(|t| t.roles = vec![String::new()]), "\"\"", "1 to 64 bytes"),
        (changed(|t| t.roles = vec!["x".repeat(65)]), "xxx", "1 to 64 bytes"),
        (changed(|t| t.roles = vec!["a b".into()]), "\"a b\"", "spaces"),
        (changed(|t| t.roles = vec!["a\u{1b}".into()]), "u{1b}", "control"),
        (changed(|t| t.not_after = t.not_before), "1800000000", "after the first second"),
        (changed(|t| t.not_after = NOW + MAX_LIFETIME + 1), "1831622401", "366 days"),
        // Nor by a first second that is long after it was signed.
        (
            changed(|t| (t.not_before, t.not_after) = (NOW + 2 * DAY, NOW + MAX_LIFETIME + DAY)),
            "1831708800",
            "366 days",
        ),
    ] {
        let error = Certificate::sign(&ca(), terms).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.message().contains(value), "{error} doesn't say {value}");
        assert!(error.message().contains(hint), "{error} doesn't say {hint}");
    }
    let longest = changed(|t| t.not_after = NOW + MAX_LIFETIME);
    assert!(Certificate::sign(&ca(), longest).is_ok());
    for name in ["secp256k1", "ecdsa", "rsa"] {
        let error = Certificate::sign(&crate::vectors::key(name), terms(peer(1))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("casm admit new"), "{error}");
    }
}

#[test]
fn what_was_changed_cut_or_goes_on_is_refused() {
    let bytes = certificate(peer(1)).encoded().to_vec();
    for cut in 0..bytes.len() {
        assert!(Certificate::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(Certificate::decode(&changed).is_err(), "bit {bit}");
    }
    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(Certificate::decode(&flipped), Err(AdmitError::Signature));
    let longer = [bytes.clone(), vec![9 << 3, 0]].concat();
    assert_eq!(Certificate::decode(&longer), Err(AdmitError::Envelope));
    let twice = [bytes.clone(), bytes.clone()].concat();
    assert_eq!(Certificate::decode(&twice), Err(AdmitError::Envelope));
    let (key, rest) = twice[..certificate(peer(1)).encoded().len()].split_at(2);
    let overlong = [&[key[0], key[1] | 0x80, 0], rest].concat();
    assert_eq!(Certificate::decode(&overlong), Err(AdmitError::Envelope));
    for len in [MAX_CERTIFICATE + 1, 1 << 20] {
        assert_eq!(Certificate::decode(&vec![b'x'; len]), Err(AdmitError::TooLarge));
    }
    let mut padded = bytes;
    write_field(5, &[0; 1 << 20], &mut padded);
    assert_eq!(Certificate::decode(&padded), Err(AdmitError::TooLarge));
}

#[test]
fn another_kind_of_thing_is_no_certificate() {
    let revocation = revocation(peer(1), NOW);
    assert_eq!(Certificate::decode(revocation.encoded()), Err(AdmitError::PayloadType));
    let payload = terms(peer(1)).encode();
    let seal = |key: &Keypair, domain, kind| record::seal(key, domain, kind, payload.clone());
    let elsewhere = seal(&ca(), "libp2p-peer-record", KIND.payload_type).unwrap();
    assert_eq!(Certificate::decode(&elsewhere), Err(AdmitError::Signature));
    let typed = seal(&ca(), KIND.domain, b"/casm/admit/revocation").unwrap();
    assert_eq!(Certificate::decode(&typed), Err(AdmitError::PayloadType));
    for name in ["secp256k1", "ecdsa", "rsa"] {
        let signed = seal(&crate::vectors::key(name), KIND.domain, KIND.payload_type).unwrap();
        assert_eq!(Certificate::decode(&signed), Err(AdmitError::Key), "{name}");
    }
}

#[test]
fn a_payload_that_is_signed_but_wrong_is_refused() {
    let good = terms(peer(1)).encode();
    assert!(Certificate::decode(&encode_envelope(&good)).is_ok());
    let unknown = [&good[..], &[9 << 3, 1]].concat();
    let skipped = Certificate::decode(&encode_envelope(&unknown)).unwrap();
    assert_eq!(skipped.terms(), &terms(peer(1)));
    // Every field is needed but the roles, and all but those come once.
    for number in [1, 2, 4, 5, 6, 7] {
        let parts = fields(&good);
        let of = |n: u32| parts.iter().filter(move |(number, _)| *number == n);
        let without = parts.iter().filter(|(n, _)| *n != number);
        let without: Vec<u8> = without.flat_map(|(_, bytes)| bytes.clone()).collect();
        let read = Certificate::decode(&encode_envelope(&without));
        assert!(matches!(read, Err(AdmitError::Malformed(_))), "without {number}: {read:?}");
        let again: Vec<u8> =
            good.iter().copied().chain(of(number).flat_map(|(_, b)| b.clone())).collect();
        let read = Certificate::decode(&encode_envelope(&again));
        assert_eq!(read, Err(AdmitError::Malformed("a field comes twice")), "{number}");
    }
    let encoded = |change: fn(&mut Terms)| {
        let mut terms = terms(peer(1));
        change(&mut terms);
        terms.encode()
    };
    for (payload, reason) in [
        (encoded(|t| t.not_after = NOW + MAX_LIFETIME + 1), "it is valid for more than 366 days"),
        (encoded(|t| t.issued = NOW - MAX_LIFETIME), "it is valid for more than 366 days"),
        (encoded(|t| t.not_after = NOW), "it ends before it begins"),
        (encoded(|t| t.not_before = u64::MAX), "it ends before it begins"),
        (encoded(|t| t.roles = vec!["b".into(), "a".into()]), "its roles are not in order"),
        (encoded(|t| t.roles = vec!["a".into(), "a".into()]), "its roles are not in order"),
        (encoded(|t| t.roles = (10..27).map(|n| n.to_string()).collect()), "it has too many roles"),
        (encoded(|t| t.roles = vec!["a b".into()]), "a role is none"),
        (encoded(|t| t.roles = vec![String::new()]), "a role is none"),
        (encoded(|t| t.roles = vec!["x".repeat(65)]), "a role is none"),
        (b"\xff".to_vec(), "it is no protobuf message"),
    ] {
        let read = Certificate::decode(&encode_envelope(&payload));
        assert_eq!(read, Err(AdmitError::Malformed(reason)));
    }
    for (number, value, reason) in [
        (1, &b"nobody"[..], "an id is no peer's"),
        (2, b"a//b", "its namespace is none"),
        (2, b"\xff", "its namespace is none"),
        (3, b"\xff", "a role is none"),
        (4, b"x", "a field is of another kind"),
        (7, &[7; 15], "its serial number has not 16 bytes"),
    ] {
        let mut payload = Vec::new();
        for (n, bytes) in fields(&good) {
            match n == number {
                true => write_field(n, value, &mut payload),
                false => payload.extend(bytes),
            }
        }
        let read = Certificate::decode(&encode_envelope(&payload));
        assert_eq!(read, Err(AdmitError::Malformed(reason)));
    }
}

/// The fields of a message, each as it is.
fn fields(message: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut fields = crate::pubsub::fields::Fields(message);
    let mut parts = Vec::new();
    loop {
        let before = fields.0;
        let Some(field) = fields.next() else { return parts };
        parts.push((field.unwrap().0, before[..before.len() - fields.0.len()].to_vec()));
    }
}

#[test]
fn it_counts_for_its_authority_namespace_and_time_alone() {
    let certificate = certificate(peer(1));
    let check = |now| certificate.check(now, "casm", &cas());
    let other = other_ca().public().to_peer_id();
    assert_eq!(certificate.check(NOW, "casm", &[other]), Err(Refusal::OtherAuthority));
    assert_eq!(certificate.check(NOW, "casm", &[]), Err(Refusal::OtherAuthority));
    assert_eq!(certificate.check(NOW, "casm", &[other, cas()[0]]), Ok(()));
    assert_eq!(certificate.check(NOW, "casm/b", &cas()), Err(Refusal::OtherNamespace));
    let end = NOW + 30 * DAY;
    for (now, expected) in [
        (0, Err(Refusal::NotYetValid)),
        (NOW - SKEW - 1, Err(Refusal::NotYetValid)),
        (NOW - SKEW, Ok(())),
        (end, Ok(())),
        (end + SKEW, Ok(())),
        (end + SKEW + 1, Err(Refusal::Expired)),
        (u64::MAX, Err(Refusal::Expired)),
    ] {
        assert_eq!(check(now), expected, "{now}");
    }
    // What is signed by a clock that is far ahead would outlive its revocation.
    let mut terms = terms(peer(1));
    terms.issued = NOW + DAY;
    assert_eq!(sign(terms.clone()).check_time(NOW), Err(Refusal::NotYetValid));
    assert_eq!(sign(terms).check_time(NOW + DAY), Ok(()));
}

#[test]
fn each_reason_has_a_name_of_its_own() {
    let mut labels: Vec<_> = Refusal::ALL.iter().map(|refusal| refusal.label()).collect();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), Refusal::ALL.len());
    assert_eq!(Refusal::from(AdmitError::Signature), Refusal::BadSignature);
    assert_eq!(Refusal::from(AdmitError::TooLarge), Refusal::TooLarge);
    assert_eq!(Refusal::from(AdmitError::Key), Refusal::OtherAuthority);
    assert_eq!(Refusal::from(AdmitError::Envelope), Refusal::Malformed);
}

proptest! {
    #[test]
    fn what_nobody_has_signed_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Certificate::decode(&bytes).is_err());
        let _ = Certificate::decode(&encode_envelope(&bytes));
    }

    /// Whatever an authority signs that is taken says what this code would write.
    #[test]
    fn what_is_signed_and_taken_keeps_the_rules(at in 0..60_usize, byte: u8, insert: bool) {
        let mut payload = terms(peer(1)).encode();
        let at = at.min(payload.len() - 1);
        match insert {
            true => payload.insert(at, byte),
            false => payload[at] = byte,
        }
        if let Ok(read) = Certificate::decode(&encode_envelope(&payload)) {
            let again = sign(read.terms().clone());
            prop_assert_eq!(again.terms(), read.terms());
        }
    }
}
