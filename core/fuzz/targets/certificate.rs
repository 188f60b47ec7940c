//! Certificates and revocations, signed and not, in envelopes and in files: what is
//! read keeps the limits, and its authority could have signed it.
#![no_main]

use casm::{
    Keypair,
    admit::{
        Certificate, MAX_CERTIFICATE, MAX_LIFETIME, MAX_REVOCATION, MAX_ROLE, MAX_ROLES,
        Revocation, Revoked, SKEW,
    },
};
use libfuzzer_sys::fuzz_target;
use libp2p::core::SignedEnvelope;
use std::sync::LazyLock;

static CA: LazyLock<Keypair> =
    LazyLock::new(|| Keypair::ed25519_from_bytes([1; 32]).expect("any 32 bytes are a key"));

fuzz_target!(|data: &[u8]| {
    // Whatever the bytes are, and whatever an authority may sign.
    certificate(data);
    revocation(data);
    certificate(&sealed("casm-admit-certificate", b"/casm/admit/certificate", data));
    revocation(&sealed("casm-admit-revocation", b"/casm/admit/revocation", data));
    for label in ["CERTIFICATE", "REVOCATION"] {
        let begin = format!("-----BEGIN CASM {label}-----\n");
        let end = format!("\n-----END CASM {label}-----\n");
        for file in [data, &[begin.as_bytes(), data, end.as_bytes()].concat()] {
            if let Ok(certificate) = Certificate::parse(file) {
                let text = certificate.to_text();
                assert_eq!(Certificate::parse(text.as_bytes()).expect("written"), certificate);
            }
            if let Ok(revocations) = Revocation::parse(file) {
                let text: String = revocations.iter().map(Revocation::to_text).collect();
                assert_eq!(Revocation::parse(text.as_bytes()).expect("written"), revocations);
            }
        }
    }
    let cas = [CA.public().to_peer_id()];
    if let Ok(revoked) = Revoked::decode(data, 0, &cas) {
        let again = Revoked::decode(&revoked.encode(), 0, &cas).expect("written");
        assert_eq!(again.digest(), revoked.digest());
    }
});

fn sealed(domain: &str, kind: &[u8], payload: &[u8]) -> Vec<u8> {
    SignedEnvelope::new(&CA, domain.into(), kind.into(), payload.to_vec())
        .expect("the key can sign")
        .into_protobuf_encoding()
}

fn certificate(bytes: &[u8]) {
    let Ok(certificate) = Certificate::decode(bytes) else { return };
    assert!(bytes.len() <= MAX_CERTIFICATE);
    assert_eq!(certificate.encoded(), bytes);
    let roles = certificate.roles();
    assert!(roles.len() <= MAX_ROLES && roles.is_sorted());
    assert!(roles.iter().all(|role| (1..=MAX_ROLE).contains(&role.len())));
    let (from, to) = (certificate.not_before(), certificate.not_after());
    assert!(from < to && to - from.min(certificate.issued()) <= MAX_LIFETIME);
    let again = Certificate::sign(&CA, certificate.terms().clone()).expect("it keeps the limits");
    assert_eq!(again.terms(), certificate.terms());
    if certificate.ca() == CA.public().to_peer_id() {
        let revocation = Revocation::sign(&CA, certificate.peer(), certificate.issued());
        // But at the end of time.
        let Ok(revocation) = revocation else { return };
        let (mut revoked, now) = (Revoked::default(), certificate.issued());
        revoked.insert(revocation.clone(), now, &[certificate.ca()]).expect("it counts");
        assert!(revoked.voids(&certificate));
        // It is kept for as long as the certificate would be taken.
        if let Some(after) = revocation.until().checked_add(1).filter(|_| to < u64::MAX - SKEW) {
            assert!(certificate.check_time(after).is_err());
        }
    }
}

fn revocation(bytes: &[u8]) {
    let Ok(revocation) = Revocation::decode(bytes) else { return };
    assert!(bytes.len() <= MAX_REVOCATION);
    assert_eq!(revocation.encoded(), bytes);
    assert!(revocation.at() < revocation.until());
    let (peer, at, until) = (revocation.peer(), revocation.at(), revocation.until());
    let again = Revocation::sign_until(&CA, peer, at, until).expect("it keeps the limits");
    assert_eq!((again.at(), again.until()), (at, until));
}
