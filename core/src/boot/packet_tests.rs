use super::*;
use proptest::prelude::*;

pub(crate) fn key(seed: u8) -> Keypair {
    Keypair::ed25519_from_bytes([seed; 32]).unwrap()
}

fn packet(key: &Keypair, body: Body) -> Packet {
    Packet { peer: key.public().to_peer_id(), namespace: Namespace::default(), nonce: 0, body }
}

fn addrs(n: u16) -> Vec<Multiaddr> {
    (1..=n).map(|i| format!("/ip4/10.0.0.1/tcp/{i}").parse().unwrap()).collect()
}

fn sealed(key: &Keypair, payload: Vec<u8>) -> Vec<u8> {
    record::seal(key, DOMAIN, PAYLOAD_TYPE, payload).unwrap()
}

#[test]
fn questions_are_padded_inside_the_signed_payload() {
    let key = key(1);
    for (nonce, body) in [(0, Body::Request), (u64::MAX, Body::Survey { distance: 7 })] {
        let packet = Packet { nonce, ..packet(&key, body) };
        let bytes = packet.encode(&key).unwrap();
        assert!((600..1232).contains(&bytes.len()), "{}", bytes.len());
        assert_eq!(Packet::decode(&bytes).unwrap(), packet);
    }
}

#[test]
fn an_answer_takes_as_many_addresses_as_fit_from_the_first() {
    let key = key(1);
    let all = addrs(40);
    let ns = Namespace::default();
    let question = packet(&key, Body::Request).sign(&key, 0).unwrap().len();
    let small = Packet::answer(&key, &ns, 0, &all, question + MAX_GROWTH).unwrap().unwrap();
    assert!(small.len() <= question + MAX_GROWTH);
    let Body::Response { addrs } = Packet::decode(&small).unwrap().body else { panic!() };
    assert!(addrs.len() >= 2 && addrs[..] == all[..addrs.len()], "{addrs:?}");

    let padded = packet(&key, Body::Request).encode(&key).unwrap().len();
    let large = Packet::answer(&key, &ns, 0, &all, padded + MAX_GROWTH).unwrap().unwrap();
    let Body::Response { addrs } = Packet::decode(&large).unwrap().body else { panic!() };
    assert_eq!(addrs, all);
    assert_eq!(Packet::answer(&key, &ns, 0, &all, question - 20).unwrap(), None);
    assert_eq!(Packet::answer(&key, &ns, 0, &[], 2000).unwrap(), None);

    // What doesn't fit alone doesn't keep out the rest.
    let mut long: Vec<Multiaddr> = vec![format!("/dns/{}/tcp/1", "x".repeat(250)).parse().unwrap()];
    long.extend(all);
    let small = Packet::answer(&key, &ns, 0, &long, question + MAX_GROWTH).unwrap().unwrap();
    let Body::Response { addrs } = Packet::decode(&small).unwrap().body else { panic!() };
    assert_eq!(addrs[..], long[1..=addrs.len()]);
}

#[test]
fn a_packet_of_another_signer_is_refused() {
    let theirs = packet(&key(1), Body::Request);
    let bytes = sealed(&key(2), theirs.payload(0));
    assert_eq!(Packet::decode(&bytes), Err(PacketError::Signer));
}

#[test]
fn bombs_are_refused_before_they_are_unpacked() {
    // 255 zero words for two bytes, about a thousand times.
    let zeros = [0u8, 255].repeat(800);
    let mut payload = vec![0x10, 0xff, 0x0f, 0xff, 0x0f];
    payload.extend(&zeros);
    assert_eq!(Packet::decode(&sealed(&key(1), payload)), Err(PacketError::Malformed));

    // A segment table that promises half a gigabyte.
    let payload = vec![0xf0, 0xff, 0xff, 0xff, 0x03];
    assert_eq!(Packet::decode(&sealed(&key(1), payload)), Err(PacketError::Malformed));

    // 512 list elements that all point to the same blob: reading is metered.
    let mut words: Vec<[u8; 8]> = vec![[0, 0, 0, 0, 1, 0, 3, 0], [2, 0, 0, 0, 0, 0, 0, 0]];
    let id = key(1).public().to_peer_id().to_bytes();
    let list = |at: i32, kind: u64, count: u64| -> [u8; 8] {
        ((kind << 32) | (count << 35) | (((at as u32) << 2) as u64) | 1).to_le_bytes()
    };
    // Pointers: namespace, peer, addrs; their targets follow.
    words.push(list(2, 2, 5));
    words.push(list(2, 2, id.len() as u64 + 1));
    words.push(list(6, 6, 512));
    words.push(*b"casm\0\0\0\0");
    let mut text = id.clone();
    text.resize(40, 0);
    words.extend(text.as_chunks::<8>().0);
    for i in 0..512 {
        words.push(list(511 - i, 2, 2048));
    }
    words.extend([[1; 8]; 256]);
    let payload = pack(&[words.as_flattened()]);
    assert!(payload.len() < MAX_LEN * 4, "{}", payload.len());
    assert_eq!(decode_payload(&payload), Err(PacketError::Malformed));
}

#[test]
fn a_datagram_that_is_too_long_is_refused() {
    assert_eq!(Packet::decode(&[0; MAX_LEN + 1]), Err(PacketError::TooLarge));
}

#[test]
fn a_survey_is_in_range_of_those_whose_ids_end_alike() {
    let (a, b) = (key(1).public().to_peer_id(), key(2).public().to_peer_id());
    let last = |id: &PeerId| *id.to_bytes().last().unwrap();
    assert_eq!(position(&a) >> 24, u32::from(last(&a)));
    assert!(in_range(&a, &b, 255) && in_range(&a, &b, 32));
    assert!(!in_range(&a, &b, 0) && in_range(&a, &a, 0));
    let bits = 32 - (position(&a) ^ position(&b)).leading_zeros() as u8;
    assert!(in_range(&a, &b, bits) && !in_range(&a, &b, bits - 1));
}

fn body() -> impl Strategy<Value = Body> {
    let addr = prop_oneof![
        (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| {
            format!("/ip4/{}/tcp/{port}", std::net::Ipv4Addr::from(ip)).parse().unwrap()
        }),
        (any::<u128>(), any::<u16>()).prop_map(|(ip, port)| {
            format!("/ip6/{}/udp/{port}/quic-v1", std::net::Ipv6Addr::from(ip)).parse().unwrap()
        }),
    ];
    prop_oneof![
        Just(Body::Request),
        any::<u8>().prop_map(|distance| Body::Survey { distance }),
        prop::collection::vec(addr, 0..30).prop_map(|addrs| Body::Response { addrs }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_packet_comes_back_as_it_was_sent(
        seed: u8, name in "[a-z]{1,20}(/[a-z.]{3,9})?", nonce: u64, body in body(),
    ) {
        let key = key(seed);
        let Ok(namespace) = Namespace::new(name) else { return Ok(()) };
        let packet = Packet { peer: key.public().to_peer_id(), namespace, nonce, body };
        let bytes = packet.encode(&key).unwrap();
        prop_assert!(bytes.len() <= MAX_LEN);
        prop_assert_eq!(Packet::decode(&bytes).unwrap(), packet);
    }

    #[test]
    fn an_answer_keeps_to_its_budget(n in 0u16..64, nonce: u64, budget in 0usize..2500) {
        let answer = Packet::answer(&key(1), &Namespace::default(), nonce, &addrs(n), budget).unwrap();
        prop_assert!(answer.is_none_or(|bytes| bytes.len() <= budget.min(MAX_LEN)));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2100)) {
        let _ = Packet::decode(&bytes);
        let _ = decode_payload(&bytes);
        let _ = Packet::decode(&sealed(&key(1), bytes));
    }

    #[test]
    fn a_damaged_payload_never_panics(
        body in body(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let key = key(1);
        let mut payload = packet(&key, body).payload(0);
        for (at, byte) in damage {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        payload.truncate(cut.index(payload.len()) + 1);
        let _ = decode_payload(&payload);
    }
}
