//! What the tests of this folder share.

use super::{Certificate, Members, Revocation, Terms};
use crate::{Keypair, Namespace, PeerId, vectors};

/// When the tests happen.
pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const DAY: u64 = 24 * 3600;

/// An authority's key.
pub(super) fn ca() -> Keypair {
    vectors::key("ed25519-1")
}

/// Another one's.
pub(super) fn other_ca() -> Keypair {
    vectors::key("ed25519-2")
}

/// A peer of this number.
pub(super) fn peer(number: u16) -> PeerId {
    let id = [&[0, 8], &u64::from(number).to_be_bytes()[..]].concat();
    PeerId::from_bytes(&id).unwrap()
}

/// Terms for thirty days, which begin now.
pub(super) fn terms(peer: PeerId) -> Terms {
    Terms {
        peer,
        namespace: Namespace::default(),
        roles: vec!["worker".into()],
        not_before: NOW,
        not_after: NOW + 30 * DAY,
        issued: NOW,
        serial: [7; 16],
    }
}

pub(super) fn sign(terms: Terms) -> Certificate {
    Certificate::sign(&ca(), terms).unwrap()
}

/// A good one.
pub(super) fn certificate(peer: PeerId) -> Certificate {
    sign(terms(peer))
}

pub(super) fn revocation(peer: PeerId, at: u64) -> Revocation {
    Revocation::sign(&ca(), peer, at).unwrap()
}

/// What the peer of number 0 knows.
pub(super) fn members() -> Members {
    members_of(peer(0))
}

/// What a peer knows.
pub(super) fn members_of(peer: PeerId) -> Members {
    let cas = vec![ca().public().to_peer_id()];
    Members::new(cas, Namespace::default(), certificate(peer)).unwrap()
}
