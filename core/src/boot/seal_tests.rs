use super::*;
use crate::boot::packet::{Body, MAX_GROWTH, Packet, tests::key};
use proptest::prelude::*;

fn secret(n: u8) -> Secret {
    Secret::from_bytes([n; 32])
}

fn namespace(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

fn nonce(n: u64) -> Nonce {
    let mut nonce = [0; NONCE];
    nonce[..8].copy_from_slice(&n.to_le_bytes());
    nonce
}

/// draft-irtf-cfrg-xchacha-03, appendix A.3.1: the cipher is the one that is
/// meant.
#[test]
fn the_cipher_is_that_of_the_draft() {
    let key: Vec<u8> = (0x80..0xa0).collect();
    let nonce: Vec<u8> = (0x40..0x58).collect();
    let aad = [0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7];
    let msg = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for \
                the future, sunscreen would be it.";
    let cipher = XChaCha20Poly1305::new_from_slice(&key).unwrap();
    let nonce: Nonce = nonce.try_into().unwrap();
    let sealed = cipher.encrypt(&nonce.into(), Payload { msg, aad: &aad }).unwrap();
    assert_eq!(sealed[..8], [0xbd, 0x6d, 0x17, 0x9d, 0x3e, 0x83, 0xd4, 0x3b]);
    let tag = [
        0xc0, 0x87, 0x59, 0x24, 0xc1, 0xc7, 0x98, 0x79, 0x47, 0xde, 0xaf, 0xd8, 0x78, 0x0a, 0xcf,
        0x49,
    ];
    assert_eq!(sealed[msg.len()..], tag);
}

#[test]
fn only_who_holds_the_secret_opens_what_is_sealed_and_for_its_namespace() {
    let seal = Seal::new(&secret(1), &namespace("casm"));
    let sealed = seal.close(b"envelope", nonce(7));
    assert_eq!(sealed.len(), 8 + OVERHEAD);
    assert_eq!(sealed[..4], [0, b'C', b'S', 1]);
    assert!(!sealed.windows(4).any(|four| b"envelope".starts_with(four)));
    let same = Seal::new(&secret(1), &namespace("casm"));
    assert_eq!(same.open(&sealed), Ok((b"envelope".to_vec(), nonce(7))));
    for (secret, name) in [(secret(2), "casm"), (secret(1), "casn"), (secret(1), "casm/a")] {
        let other = Seal::new(&secret, &namespace(name));
        assert_eq!(other.open(&sealed), Err(PacketError::SealKey), "{name}");
        // Whoever puts the right id before it is no wiser.
        let mut claimed = other.close(b"envelope", nonce(7));
        claimed[4..8].copy_from_slice(&sealed[4..8]);
        assert_eq!(seal.open(&claimed), Err(PacketError::Seal), "{name}");
    }
}

#[test]
fn every_changed_bit_is_noticed_and_every_cut() {
    let seal = Seal::new(&secret(1), &namespace("casm"));
    let sealed = seal.close(b"envelope", nonce(7));
    for at in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[at / 8] ^= 1 << (at % 8);
        assert!(seal.open(&changed).is_err(), "bit {at}");
    }
    for len in 0..sealed.len() {
        assert!(seal.open(&sealed[..len]).is_err(), "{len} bytes");
    }
    let mut longer = sealed.clone();
    longer.push(0);
    assert_eq!(seal.open(&longer), Err(PacketError::Seal));
}

#[test]
fn what_is_not_sealed_is_told_apart_from_what_is_sealed_badly() {
    let seal = Seal::new(&secret(1), &namespace("casm"));
    let sealed = seal.close(b"", nonce(7));
    let of_version = |version| {
        let mut sealed = sealed.clone();
        sealed[3] = version;
        sealed
    };
    for (datagram, reason) in [
        (vec![], PacketError::Unsealed),
        (vec![0], PacketError::Unsealed),
        (b"\x0a\x24 an envelope".to_vec(), PacketError::Unsealed),
        (b"\0CS".to_vec(), PacketError::SealForm),
        (b"\0CS\x01".to_vec(), PacketError::SealForm),
        (of_version(0), PacketError::SealForm),
        (of_version(2), PacketError::SealForm),
        // Nothing is no envelope.
        (sealed.clone(), PacketError::SealForm),
        (vec![0; MAX_LEN + 1], PacketError::TooLarge),
    ] {
        assert_eq!(seal.open(&datagram), Err(reason), "{datagram:?}");
    }
}

#[test]
fn a_node_opens_what_is_of_its_namespaces_and_says_of_which() {
    let mut node = Seals::new(secret(1));
    let sealed = Seal::new(&secret(1), &namespace("b")).close(b"envelope", nonce(1));
    assert_eq!(node.open(&sealed), Err(PacketError::SealKey));
    node.of(&namespace("a"));
    node.of(&namespace("b"));
    let opened = node.open(&sealed).unwrap();
    assert_eq!((&opened.envelope[..], opened.namespace.as_str()), (&b"envelope"[..], "b"));
    for n in 0..3 * Seals::MOST.get() {
        node.of(&namespace(&format!("n{n}")));
    }
    assert_eq!(node.seals.len(), Seals::MOST.get());
}

#[test]
fn what_was_used_is_known_as_long_as_8192_others_have_not_come() {
    let mut node = Seals::new(secret(1));
    assert!(!node.knows(&nonce(0)) && node.uses(&nonce(0)) && node.knows(&nonce(0)));
    for n in 1..8192 {
        assert!(node.uses(&nonce(n)) && !node.uses(&nonce(n / 2)), "{n}");
    }
    assert!(node.knows(&nonce(0)) && node.uses(&nonce(8192)));
    assert!(!node.knows(&nonce(0)) && node.knows(&nonce(1)));
    for n in 0..40_000 {
        node.uses(&nonce(n));
    }
    assert_eq!((node.seen.known.len(), node.seen.order.len()), (8192, 8192));
}

#[test]
fn packets_leave_room_for_the_seal() {
    let key = key(1);
    let seal = Seal::new(&secret(1), &namespace("casm"));
    let peer = key.public().to_peer_id();
    let question = Packet::new(peer, namespace("casm"), Body::Request);
    let question = question.encode_within(&key, MAX_LEN - OVERHEAD).unwrap();
    let asked = seal.close(&question, nonce(1));
    assert!(asked.len() <= MAX_LEN);
    let addrs: Vec<_> =
        (1..=60).map(|i| format!("/ip4/10.0.0.1/tcp/{i}").parse().unwrap()).collect();
    for budget in [asked.len() + MAX_GROWTH, MAX_LEN] {
        let answer =
            Packet::answer(&key, &namespace("casm"), 0, &addrs, budget - OVERHEAD).unwrap();
        let answer = seal.close(&answer.unwrap(), nonce(2));
        assert!(answer.len() <= budget, "{} of {budget}", answer.len());
        let (envelope, _) = seal.open(&answer).unwrap();
        assert!(
            matches!(Packet::decode(&envelope).unwrap().body, Body::Response { addrs } if addrs.len() > 10)
        );
    }
}

proptest! {
    #[test]
    fn what_was_sealed_comes_back(
        key: u8, name in "[a-z]{1,20}", nonce: Nonce,
        envelope in prop::collection::vec(any::<u8>(), 1..MAX_LEN - OVERHEAD),
    ) {
        let seal = Seal::new(&secret(key), &namespace(&name));
        let sealed = seal.close(&envelope, nonce);
        prop_assert_eq!(seal.open(&sealed).unwrap(), (envelope, nonce));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2100), head: bool) {
        let mut node = Seals::new(secret(1));
        let id = node.of(&namespace("casm")).id;
        let start: &[u8] = if head { &[0, b'C', b'S', 1, id[0], id[1], id[2], id[3]] } else { &[] };
        prop_assert!(node.open(&[start, &bytes].concat()).is_err());
    }
}
