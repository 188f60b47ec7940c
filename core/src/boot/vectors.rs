//! Test vectors of the boot protocol.

use super::{
    packet::{Body, MAX_LEN, Packet, Unverified, in_range, position},
    packing::pack,
    survey::{Replies, Schedule, backoff},
};
use crate::{
    Multiaddr, Namespace, PeerId,
    record::seal,
    schema::boot_capnp::packet,
    vectors::{KEY_TYPES, bytes, compare, hex, key, list, number, peer, text, texts},
};
use capnp::{message::ReaderSegments as _, serialize_packed};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::time::Duration;

const ABOUT: &str = "Boot datagrams. hex: the datagram; payload: the packed message inside; \
                     padding: how many bytes that nothing refers to stand at its end; unknown: how \
                     many addresses of unknown kinds the message has beside addrs; go: whether Go's \
                     encoding gives the payload.";
const DOMAIN: &str = "casm-boot-record";
const PAYLOAD_TYPE: [u8; 2] = [0x1f, 0x00];

fn addrs() -> Vec<Multiaddr> {
    ["/ip4/10.0.0.1/tcp/4001", "/ip6/fd00::1/udp/4001/quic-v1"]
        .map(|addr| addr.parse().unwrap())
        .into()
}

fn packet(key_name: &str, namespace: &str, body: Body) -> Packet {
    Packet { peer: peer(key_name), namespace: Namespace::new(namespace).unwrap(), nonce: 0, body }
}

fn vector(name: &str, key_name: &str, packet: &Packet, padding: usize, datagram: &[u8]) -> Value {
    let mut vector = json!({
        "name": name,
        "key": key_name,
        "kind": packet.body.name(),
        "peer": packet.peer.to_base58(),
        "namespace": packet.namespace.as_str(),
        "nonce": packet.nonce.to_string(),
        "padding": padding,
        "go": false,
        "payload": hex(packet.payload(padding)),
        "hex": hex(datagram),
    });
    match &packet.body {
        Body::Request => {}
        Body::Survey { distance } => vector["distance"] = (*distance).into(),
        Body::Response { addrs } => {
            vector["addrs"] = addrs.iter().map(Multiaddr::to_string).collect();
            vector["unknown"] = 0.into();
        }
    }
    vector
}

/// Every kind by a key of every type, bare and as it is sent.
fn packets() -> Vec<Value> {
    let mut vectors = Vec::new();
    for name in KEY_TYPES {
        let response = Body::Response { addrs: addrs() };
        for body in [Body::Request, Body::Survey { distance: 20 }, response] {
            let packet = packet(name, "casm/a.b", body);
            let what = format!("{} by {name}", packet.body.name());
            let bare = packet.sign(&key(name), 0).unwrap();
            vectors.push(vector(&what, name, &packet, 0, &bare));
            let sent = packet.encode(&key(name)).unwrap();
            if sent != bare {
                vectors.push(vector(&format!("{what}, padded"), name, &packet, 512, &sent));
            }
        }
    }
    for (name, namespace, body) in [
        ("everyone", "casm", Body::Survey { distance: 255 }),
        ("nobody but oneself", "casm", Body::Survey { distance: 0 }),
        ("no address", "casm", Body::Response { addrs: vec![] }),
        ("not only ASCII", "zürich/東京", Body::Request),
    ] {
        let packet = packet("ed25519-2", namespace, body);
        let bare = packet.sign(&key("ed25519-2"), 0).unwrap();
        vectors.push(vector(name, "ed25519-2", &packet, 0, &bare));
    }
    for (name, nonce, body) in [
        ("a survey with a nonce", 0x0102_0304_0506_0708, Body::Survey { distance: 255 }),
        ("its answer", 0x0102_0304_0506_0708, Body::Response { addrs: addrs() }),
        ("the largest nonce", u64::MAX, Body::Survey { distance: 22 }),
    ] {
        let packet = Packet { nonce, ..packet("ed25519-2", "casm", body) };
        let bare = packet.sign(&key("ed25519-2"), 0).unwrap();
        vectors.push(vector(name, "ed25519-2", &packet, 0, &bare));
        let sent = packet.encode(&key("ed25519-2")).unwrap();
        if sent != bare {
            vectors.push(vector(&format!("{name}, padded"), "ed25519-2", &packet, 512, &sent));
        }
    }
    vectors.push(unknown_address());
    for body in [Body::Survey { distance: 20 }, Body::Response { addrs: addrs() }] {
        vectors.push(as_go(&packet("ed25519-1", "casm/a.b", body)));
    }
    vectors
}

/// What Go's nodes write: a struct without the nonce, which is ours.
fn as_go(packet: &Packet) -> Value {
    let payload = packet.payload(0);
    let message = serialize_packed::read_message(&payload[..], Default::default()).unwrap();
    let segments = message.into_segments();
    let (words, _) = segments.get_segment(0).unwrap().as_chunks::<8>();
    let mut words = words.to_vec();
    // A struct of one word and three pointers. They are relative, and stay as
    // they are.
    words[0] = (1_u64 << 32 | 3 << 48).to_le_bytes();
    words.remove(2);
    let payload = pack(&capnp::OutputSegments::SingleSegment([words.as_flattened()]));
    let datagram = sealed(&payload);
    let mut vector = vector("", "ed25519-1", packet, 0, &datagram);
    vector["name"] = format!("a {} as Go's nodes write it", packet.body.name()).into();
    vector["payload"] = hex(payload).into();
    vector["go"] = true.into();
    vector
}

/// A response with an address of a kind that nobody knows before a good one.
fn unknown_address() -> Value {
    let known = addrs().remove(0);
    let unknown = [0xe4, 0x0f, 0x01, b'x']; // code 2020
    let payload = by_hand("casm", &peer("ed25519-1").to_bytes(), &[&unknown, known.as_ref()]);
    let packet = packet("ed25519-1", "casm", Body::Response { addrs: vec![known] });
    let datagram = sealed(&payload);
    let mut vector = vector("an unknown address is skipped", "ed25519-1", &packet, 0, &datagram);
    vector["payload"] = hex(payload).into();
    vector["unknown"] = 1.into();
    vector
}

/// The payload of a response, whatever its parts are.
fn by_hand(namespace: &str, peer: &[u8], addrs: &[&[u8]]) -> Vec<u8> {
    let mut message = capnp::message::Builder::new_default();
    let mut root: packet::Builder<'_> = message.init_root();
    root.set_namespace(namespace);
    let mut response = root.init_response();
    response.set_peer(capnp::text::Reader(peer));
    let mut list = response.init_addrs(addrs.len() as u32);
    for (i, addr) in addrs.iter().enumerate() {
        list.set(i as u32, addr);
    }
    pack(&message.get_segments_for_output())
}

fn sealed(payload: &[u8]) -> Vec<u8> {
    seal(&key("ed25519-1"), DOMAIN, &PAYLOAD_TYPE, payload.to_vec()).unwrap()
}

fn refused() -> Vec<Value> {
    let id = peer("ed25519-1").to_bytes();
    let good = by_hand("casm", &id, &[]);
    let signed_as = |domain, payload_type: &[u8]| {
        seal(&key("ed25519-1"), domain, payload_type, good.clone()).unwrap()
    };
    let mut flipped = sealed(&good);
    *flipped.last_mut().unwrap() ^= 1;
    let truncated = sealed(&good)[..100].to_vec();
    // A segment table that promises half a gigabyte, and 255 zero words for
    // each two bytes.
    let bomb = [0x10, 0xff, 0x0f, 0xff, 0x0f].into_iter().chain([0u8, 255].repeat(200));
    let bomb: Vec<u8> = bomb.collect();
    [
        ("a wrong signature", flipped),
        ("signed for another domain", signed_as("libp2p-peer-record", &PAYLOAD_TYPE)),
        ("another type of payload", signed_as(DOMAIN, &[0x03, 0x01])),
        ("an envelope that is cut off", truncated),
        ("another's peer id", sealed(&by_hand("casm", &peer("ed25519-2").to_bytes(), &[]))),
        ("no peer id", sealed(&by_hand("casm", b"nobody", &[]))),
        ("an empty namespace", sealed(&by_hand("", &id, &[]))),
        ("a namespace that leaves its prefix", sealed(&by_hand("a/../b", &id, &[]))),
        ("not Cap'n Proto", sealed(b"not Cap'n Proto at all")),
        ("a message that unpacks to too much", sealed(&bomb)),
    ]
    .map(|(name, datagram)| {
        let reason = Packet::decode(&datagram).unwrap_err().label();
        json!({"name": name, "reason": reason, "hex": hex(datagram)})
    })
    .into()
}

/// What is answered to questions of some lengths.
fn answers() -> Vec<Value> {
    let all: Vec<Multiaddr> =
        (1..=40).map(|i| format!("/ip4/10.0.0.1/tcp/{}", 4000 + i).parse().unwrap()).collect();
    let key = key("ed25519-1");
    [230usize, 300, 800, MAX_LEN]
        .map(|budget| {
            let ns = Namespace::default();
            let answer = Packet::answer(&key, &ns, 0, &all, budget).unwrap().unwrap();
            let Body::Response { addrs } = Packet::decode(&answer).unwrap().body else { panic!() };
            json!({"offered": 40, "budget": budget, "addrs": addrs.len(), "hex": hex(answer)})
        })
        .into()
}

#[test]
fn vectors_of_datagrams() {
    let made = json!({
        "about": ABOUT,
        "packets": packets(),
        "refused": refused(),
        "answers": answers(),
    });
    let file = compare("boot.json", &made);
    for vector in list(&file, "packets") {
        let datagram = bytes(vector, "hex");
        let packet = Packet::decode(&datagram).unwrap();
        assert_eq!(packet.body.name(), text(vector, "kind"));
        assert_eq!(packet.peer.to_base58(), text(vector, "peer"));
        assert_eq!(packet.peer, peer(text(vector, "key")));
        assert_eq!(packet.namespace.as_str(), text(vector, "namespace"));
        assert_eq!(packet.nonce, number(vector, "nonce"));
        match packet.body {
            Body::Request => {}
            Body::Survey { distance } => assert_eq!(vector["distance"], distance),
            Body::Response { addrs } => {
                let addrs: Vec<_> = addrs.iter().map(Multiaddr::to_string).collect();
                assert_eq!(addrs, texts(vector, "addrs"));
            }
        }
        let opened = crate::record::open(&datagram, DOMAIN, &PAYLOAD_TYPE).unwrap();
        assert_eq!(opened, (bytes(vector, "payload"), packet.peer));
    }
    for vector in list(&file, "refused") {
        let error = Packet::decode(&bytes(vector, "hex")).unwrap_err();
        assert_eq!(error.label(), text(vector, "reason"), "{}", vector["name"]);
    }
    for vector in list(&file, "answers") {
        let datagram = bytes(vector, "hex");
        assert!(datagram.len() as u64 <= vector["budget"].as_u64().unwrap());
        let packet = Unverified::parse(&datagram).unwrap().verify().unwrap();
        let Body::Response { addrs } = packet.body else { panic!("{vector}") };
        assert_eq!(vector["addrs"], addrs.len());
    }
}

#[test]
fn vectors_of_distances() {
    let peers: Vec<_> = crate::vectors::KEYS
        .iter()
        .map(|name| json!({"peer": peer(name).to_base58(), "position": position(&peer(name)).to_string()}))
        .collect();
    let mut pairs = Vec::new();
    for (a, b) in [("ed25519-1", "ed25519-2"), ("secp256k1", "ecdsa"), ("rsa", "ed25519-3")] {
        let xor = position(&peer(a)) ^ position(&peer(b));
        let nearest = (0..=255).find(|d| in_range(&peer(a), &peer(b), *d)).unwrap();
        pairs.push(json!({
            "asker": peer(a).to_base58(),
            "peer": peer(b).to_base58(),
            "xor": xor.to_string(),
            "answers_from_distance": nearest,
        }));
    }
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let mut schedule = Schedule::gradual();
    let gradual: Vec<_> = (0..5).map(|_| schedule.next(rng).distance).collect();
    let delays: Vec<_> = [0.0, 0.1, 0.5, 0.9, 1.0]
        .map(|uniform| json!({"uniform": uniform, "delay_us": micros(backoff(uniform))}))
        .into();
    let about = "Which peers a survey is for, at which distances a gradual survey asks, and by how \
                 much an answer is delayed for a uniform random number in 0 to 1.";
    let made = json!({
        "about": about,
        "positions": peers,
        "pairs": pairs,
        "gradual_distances": gradual,
        "answer_delays": delays,
        "enough_answers": Replies::ENOUGH,
        "resolute": Replies::RESOLUTE,
    });
    let file = compare("distance.json", &made);
    let id = |of: &Value, field: &str| text(of, field).parse::<PeerId>().unwrap();
    for vector in list(&file, "positions") {
        assert_eq!(u64::from(position(&id(vector, "peer"))), number(vector, "position"));
    }
    for vector in list(&file, "pairs") {
        let (asker, peer) = (id(vector, "asker"), id(vector, "peer"));
        assert_eq!(u64::from(position(&asker) ^ position(&peer)), number(vector, "xor"));
        let from = vector["answers_from_distance"].as_u64().unwrap();
        for distance in 0..=255 {
            assert_eq!(in_range(&asker, &peer, distance), u64::from(distance) >= from);
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap()
}
