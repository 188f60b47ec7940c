//! Boot datagrams on the wire: those that Go's CASM made, and our own. (That
//! ours stay what they are is for the vectors in `docs/spec`.)

use casm::{
    Keypair, Multiaddr, Namespace,
    boot::packet::{Body, MAX_GROWTH, Packet, PacketError},
};
use libp2p::identity::{ecdsa, secp256k1};
use std::{ops::Range, path::PathBuf};

const KEY_TYPES: [&str; 4] = ["ed25519", "secp256k1", "ecdsa", "rsa"];

/// Keys from seeds; of RSA, which has none from a seed, the one that is kept
/// for tests.
fn key(kind: &str) -> Keypair {
    let mut seed = [7; 32];
    match kind {
        "ed25519" => Keypair::ed25519_from_bytes(seed).unwrap(),
        "secp256k1" => {
            let secret = secp256k1::SecretKey::try_from_bytes(&mut seed).unwrap();
            secp256k1::Keypair::from(secret).into()
        }
        "ecdsa" => ecdsa::Keypair::from(ecdsa::SecretKey::try_from_bytes(seed).unwrap()).into(),
        "rsa" => {
            let mut pkcs8 = include_bytes!("data/rsa-2048.pk8").to_vec();
            Keypair::rsa_from_pkcs8(&mut pkcs8).unwrap()
        }
        other => panic!("no key type {other}"),
    }
}

fn golden() -> Option<PathBuf> {
    let folder = std::env::var_os("CASM_GOLDEN").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: CASM_GOLDEN is not set");
    }
    folder
}

/// Every boot datagram of the index, with what it holds.
fn golden_packets() -> Vec<(String, Vec<u8>, Packet)> {
    let Some(folder) = golden() else { return Vec::new() };
    let index = std::fs::read_to_string(folder.join("index.json")).unwrap();
    let index: Vec<serde_json::Value> = serde_json::from_str(&index).unwrap();
    let packets: Vec<_> = index
        .iter()
        .filter_map(|entry| {
            let text = |field: &str| entry[field].as_str();
            let body = match text("kind")?.strip_prefix("boot ")? {
                "request" => Body::Request,
                "survey" => Body::Survey { distance: entry["distance"].as_u64().unwrap() as u8 },
                "response" => {
                    let addrs = entry["addrs"].as_array().unwrap().iter();
                    let addrs = addrs.map(|addr| addr.as_str().unwrap().parse().unwrap()).collect();
                    Body::Response { addrs }
                }
                other => panic!("no kind {other}"),
            };
            let peer = text("peer").unwrap().parse().unwrap();
            let namespace = Namespace::new(text("namespace").unwrap()).unwrap();
            let packet = Packet::new(peer, namespace, body);
            let file = text("file").unwrap().to_owned();
            let bytes = std::fs::read(folder.join(&file)).unwrap();
            assert_eq!(bytes.len() as u64, entry["len"].as_u64().unwrap(), "{file}");
            Some((file, bytes, packet))
        })
        .collect();
    assert_eq!(packets.len(), 14, "two by one key, three by each of four");
    packets
}

#[test]
fn what_go_sends_decodes_to_what_it_said() {
    for (file, bytes, packet) in golden_packets() {
        assert_eq!(Packet::decode(&bytes).as_ref(), Ok(&packet), "{file}");
    }
}

/// Where payload type, payload and signature are in a datagram.
fn signed_parts(bytes: &[u8]) -> Vec<(u8, Range<usize>)> {
    let (mut at, mut parts) = (0, Vec::new());
    while at < bytes.len() {
        let field = bytes[at] >> 3;
        let (mut len, mut shift) = (0, 0);
        loop {
            at += 1;
            len |= usize::from(bytes[at] & 0x7f) << shift;
            shift += 7;
            if bytes[at] & 0x80 == 0 {
                break;
            }
        }
        at += 1;
        parts.push((field, at..at + len));
        at += len;
    }
    parts.retain(|(field, _)| [2, 3, 5].contains(field));
    assert_eq!(parts.len(), 3);
    parts
}

fn refuses_every_flipped_bit(name: &str, bytes: &[u8]) {
    for (field, range) in signed_parts(bytes) {
        for bit in range.start * 8..range.end * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = Packet::decode(&flipped).expect_err(name);
            match field {
                2 => assert_eq!(error, PacketError::PayloadType, "{name}, bit {bit}"),
                5 => assert_eq!(error, PacketError::Signature, "{name}, bit {bit}"),
                _ => {}
            }
        }
    }
}

#[test]
fn any_flipped_bit_of_what_go_signed_is_refused() {
    for (file, bytes, _) in golden_packets() {
        refuses_every_flipped_bit(&file, &bytes);
    }
}

/// Our own three packets by a key.
fn own(kind: &str) -> [(String, Packet, Vec<u8>); 3] {
    let key = key(kind);
    let addrs: Vec<Multiaddr> = ["/ip4/10.0.0.1/tcp/4001", "/ip6/fd00::1/udp/4001/quic-v1"]
        .map(|addr| addr.parse().unwrap())
        .into();
    let (peer, namespace) = (key.public().to_peer_id(), Namespace::new("casm/a.b").unwrap());
    let packet = |body| Packet::new(peer, namespace.clone(), body);
    [Body::Request, Body::Survey { distance: 20 }, Body::Response { addrs }].map(|body| {
        let packet = packet(body);
        let bytes = packet.encode(&key).unwrap();
        (format!("{} by {kind}", packet.body.name()), packet, bytes)
    })
}

#[test]
fn any_flipped_bit_of_what_we_signed_is_refused() {
    // Those without padding: it is one part of the payload like any other.
    for (file, _, bytes) in KEY_TYPES.iter().map(|kind| own(kind)[2].clone()) {
        refuses_every_flipped_bit(&file, &bytes);
    }
}

#[test]
fn a_key_of_any_type_answers_our_request_whole() {
    for (asker, answerer) in KEY_TYPES.iter().flat_map(|a| KEY_TYPES.map(|b| (a, b))) {
        let [(_, request, question), _, (_, response, _)] = own(asker);
        let Body::Response { addrs } = response.body else { panic!() };
        let budget = question.len() + MAX_GROWTH;
        let answer = Packet::answer(&key(answerer), &request.namespace, 0, &addrs, budget).unwrap();
        let decoded = Packet::decode(&answer.expect("room for an address")).unwrap();
        assert_eq!(decoded.body, Body::Response { addrs }, "{asker} asks {answerer}");
    }
}
