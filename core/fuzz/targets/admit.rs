//! What members tell each other: messages keep the limits and are the same when they
//! are written again, and two nodes that compare what they hold then hold the same,
//! whatever they have heard before.
#![no_main]

use casm::{
    Keypair, Namespace, PeerId,
    admit::{
        Certificate, MAX_REVOKED, Members, Revocation, Terms,
        gate::{Hello, MAX_HELLO},
        talk::{self, MAX_STEPS, News},
        wire::{Answer, Ask, MAX_ITEMS, MAX_MESSAGE, unframe},
    },
};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 24 * 3600;
/// Peers of whom there are certificates and revocations.
const PEERS: u8 = 16;

struct Signed {
    peers: Vec<PeerId>,
    certificates: Vec<Certificate>,
    revocations: Vec<Revocation>,
}

static SIGNED: LazyLock<Signed> = LazyLock::new(|| {
    let ca = key(255);
    let peers: Vec<_> = (0..PEERS).map(|n| key(n + 1).public().to_peer_id()).collect();
    let certificate = |peer: &PeerId, issued| {
        let terms = Terms {
            peer: *peer,
            namespace: Namespace::default(),
            roles: vec!["worker".into()],
            not_before: NOW - DAY,
            not_after: NOW + DAY,
            issued,
            serial: [0; 16],
        };
        Certificate::sign(&ca, terms).expect("good terms")
    };
    let all = || peers.iter().flat_map(|peer| [(peer, NOW - 2), (peer, NOW)]);
    let certificates = all().map(|(peer, at)| certificate(peer, at)).collect();
    let revoke = |peer: &PeerId, at| Revocation::sign(&ca, *peer, at).expect("good times");
    let revocations = all().map(|(peer, at)| revoke(peer, at - 1)).collect();
    Signed { certificates, revocations, peers }
});

fn key(seed: u8) -> Keypair {
    Keypair::ed25519_from_bytes([seed; 32]).expect("any 32 bytes are a key")
}

fn members(own: usize) -> Members {
    let cas = vec![key(255).public().to_peer_id()];
    let own = SIGNED.certificates[2 * own].clone();
    Members::new(cas, Namespace::default(), own).expect("a good one")
}

fuzz_target!(|data: &[u8]| {
    if let Ok(Some((message, rest))) = unframe(data, MAX_MESSAGE) {
        assert!(message.len() <= MAX_MESSAGE && message.len() + rest.len() < data.len());
        read(message);
    }
    read(data);
    told(data);
});

fn read(message: &[u8]) {
    if let Ok(hello) = Hello::decode(message) {
        let frame = hello.frame();
        let (again, _) = unframe(&frame, MAX_HELLO).expect("short").expect("whole");
        assert_eq!(Hello::decode(again).expect("written"), hello);
    }
    if let Ok(ask) = Ask::decode(message) {
        assert!(ask.want.len() <= MAX_ITEMS && ask.revocations.len() <= MAX_ITEMS);
        assert!(ask.held.as_ref().is_none_or(|held| held.len() <= MAX_REVOKED));
        assert_eq!(ask_again(&ask), ask);
        talk::answer(&mut members(0), &SIGNED.peers[1], ask, NOW);
    }
    if let Ok(answer) = Answer::decode(message) {
        assert!(answer.certificates.len() <= MAX_ITEMS && answer.revocations.len() <= MAX_ITEMS);
        assert_eq!(answer_again(&answer), answer);
        let mut members = members(0);
        let asked = talk::greet(&members);
        talk::heard(&mut members, &asked, answer, NOW);
    }
}

fn ask_again(ask: &Ask) -> Ask {
    let frame = ask.frame();
    let (message, _) = unframe(&frame, MAX_MESSAGE).expect("short").expect("whole");
    Ask::decode(message).expect("written")
}

fn answer_again(answer: &Answer) -> Answer {
    let frame = answer.frame();
    let (message, _) = unframe(&frame, MAX_MESSAGE).expect("short").expect("whole");
    Answer::decode(message).expect("written")
}

/// Each byte has one of two nodes hear of something.
fn told(data: &[u8]) {
    let mut nodes = [members(0), members(1)];
    for byte in data.iter().take(64) {
        let (node, kind, n) = (byte >> 7, byte >> 6 & 1, usize::from(byte & 31));
        let node = &mut nodes[usize::from(node)];
        if kind == 0 {
            let certificate = SIGNED.certificates[n].clone();
            let peer = certificate.peer();
            let taken = node.admit(certificate.clone(), NOW);
            assert_eq!(taken.is_err(), node.revoked().voids(&certificate));
            // The node's own is renewed by another call.
            let own = peer == node.own().peer();
            assert!(own || taken.is_err() || node.check(&peer, NOW).is_ok());
        } else {
            let revocation = SIGNED.revocations[n].clone();
            let (peer, was) = (revocation.peer(), node.check(&revocation.peer(), NOW));
            let done = node.revoke(revocation, NOW).expect("it counts");
            let is = node.check(&peer, NOW);
            assert_eq!(done.voided, (was.is_ok() && is.is_err()).then_some(peer));
        }
    }
    let [a, b] = &mut nodes;
    let mut next = Some(talk::greet(a));
    let mut steps = 0;
    while let Some(ask) = next {
        steps += 1;
        assert!(steps <= MAX_STEPS);
        let (answer, _) = talk::answer(b, &a.own().peer(), ask_again(&ask), NOW);
        (_, next) = talk::heard(a, &ask, answer_again(&answer), NOW);
    }
    assert_eq!(a.revoked().digest(), b.revoked().digest());
    let want = talk::want(a, &SIGNED.peers);
    let (answer, news) = talk::answer(b, &a.own().peer(), want.clone(), NOW);
    assert_eq!(news, News::default());
    let (news, _) = talk::heard(a, &want, answer, NOW);
    assert!(news.refused.is_empty(), "both hold the same revocations");
    // What each knows of itself, it does not have from others.
    for peer in SIGNED.peers.iter().filter(|peer| **peer != a.own().peer()) {
        assert!(b.check(peer, NOW).is_err() || a.check(peer, NOW).is_ok());
    }
}
