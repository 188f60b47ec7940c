//! Test vectors of heartbeats, and of the pubsub messages that carry them.

use super::{
    Addrs, Heartbeat,
    heartbeat::tests::{packed, raw},
    server_of,
};
use crate::{
    Multiaddr,
    pubsub::{
        Verdict,
        keys::Keys,
        signed::{SignedError, SignedMessage, tests::Raw},
    },
    schema::cluster_capnp::heartbeat,
    vectors::{KEY_TYPES, KEYS, bytes, compare, hex, key, list, number, peer, text, texts},
};
use capnp::{
    message::{self, ReaderSegments},
    serialize_packed,
};
use serde_json::{Value, json};
use std::time::Duration;

const ABOUT: &str = "Heartbeats. hex: the data of a pubsub message; sent_ttl_ms: the number in it; \
                     ttl_ms: for how long the record is to be kept, null for a goodbye; sent_at_ms: \
                     when it was sent, since 1970, null if it doesn't say; addrs: where its \
                     sender is reached, those of known kinds; canonical: whether \
                     encoding what it means gives these bytes; go: whether Go's encoding does. \
                     messages: \
                     signed pubsub messages; id: the message id. refused: reason, and the verdict \
                     given to gossipsub; extension: whether \
                     what is wrong is in a field that Go's nodes read past.";

fn beat(ttl_ms: Option<u64>, host: &str, meta: &[&str]) -> Heartbeat {
    Heartbeat {
        server: 0xfedc_ba98_7654_3210,
        ttl: ttl_ms.map(Duration::from_millis),
        host: host.into(),
        meta: meta.iter().map(|&field| field.into()).collect(),
        sent_at: None,
        addrs: Default::default(),
    }
}

/// A heartbeat with words behind it that nothing refers to: a text that is
/// replaced stays behind in the message, which is how Go's messages grow.
fn with_orphans() -> Vec<u8> {
    let mut message = message::Builder::new_default();
    let mut root = message.init_root::<heartbeat::Builder<'_>>();
    root.set_ttl(10_000);
    for host in ["node-1.example", "another", "node-1.example"] {
        root.set_host(host);
    }
    root.init_meta(1).set(0, "a=b");
    let mut bytes = Vec::new();
    serialize_packed::write_message(&mut bytes, &message).unwrap();
    bytes
}

fn vector(name: &str, sent_ttl_ms: u32, data: &[u8]) -> Value {
    let beat = Heartbeat::decode(data).unwrap();
    json!({
        "name": name,
        "sent_ttl_ms": sent_ttl_ms,
        "ttl_ms": beat.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap()),
        "server": format!("{:016x}", beat.server),
        "host": beat.host,
        "meta": beat.meta,
        "sent_at_ms": beat.sent_at.map(|at| u64::try_from(at.as_millis()).unwrap()),
        "addrs": beat.addrs.iter().map(|addr| addr.to_string()).collect::<Vec<_>>(),
        "canonical": beat.encode() == data,
        "go": words(data)[0] == GO_ROOT,
        "hex": hex(data),
    })
}

/// What a relay says of itself.
const RELAY: &str = "casm.relay=2";

fn heartbeats() -> Vec<Value> {
    let meta = ["role=worker", "zone=a=b", "empty="];
    let sent = |beat: Heartbeat| beat.encode();
    let sent_at = Some(Duration::from_millis(1_732_550_400_123));
    let known: Multiaddr = "/ip4/10.0.0.1/tcp/4001".parse().unwrap();
    let whole = known.clone().with_p2p(key("ed25519-1").public().to_peer_id()).unwrap();
    let told = Addrs::told(&[known.clone(), "/dns/a.example/udp/4001/quic-v1".parse().unwrap()]);
    [
        ("usual", 10_000, sent(beat(Some(10_000), "node-1.example", &meta))),
        ("nothing to say", 10_000, sent(beat(Some(10_000), "", &[]))),
        ("not only ASCII", 2_500, sent(beat(Some(2_500), "höst", &["städte=東京"]))),
        ("a key twice", 10_000, sent(beat(Some(10_000), "h", &["k=1", "k=2", "=v"]))),
        ("it relays for others", 10_000, sent(beat(Some(10_000), "h", &["role=worker", RELAY]))),
        ("a goodbye", 1, sent(beat(None, "h", &[]))),
        (
            "it says when it was sent",
            10_000,
            sent(Heartbeat { sent_at, ..beat(Some(10_000), "h", &meta) }),
        ),
        (
            "it says where it is reached",
            10_000,
            sent(Heartbeat { addrs: told, sent_at, ..beat(Some(10_000), "h", &meta) }),
        ),
        (
            "an address of an unknown kind, none, and one with an id",
            10_000,
            with_addrs(&[&[0xe4, 0x0f, 0x01, b'x'], &[0xff], &[], whole.as_ref(), known.as_ref()]), // code 2020
        ),
        ("as Go's nodes write it", 10_000, as_go(&beat(Some(10_000), "node-1.example", &meta))),
        ("no TTL given", 0, raw(0, b"h", &[])),
        ("a TTL below the range", 20, raw(20, b"h", &[])),
        ("a TTL above the range", u32::MAX, raw(u32::MAX, b"h", &[])),
        ("words that nothing refers to", 10_000, with_orphans()),
    ]
    .map(|(name, ttl, data)| vector(name, ttl, &data))
    .into()
}

/// A heartbeat with addresses.
fn with_addrs(addrs: &[&[u8]]) -> Vec<u8> {
    let mut message = message::Builder::new_default();
    let mut root = message.init_root::<heartbeat::Builder<'_>>();
    root.set_ttl(10_000);
    root.set_host("h");
    let mut list = root.init_addrs(u32::try_from(addrs.len()).unwrap());
    for (i, addr) in (0..).zip(addrs) {
        list.set(i, addr);
    }
    let mut bytes = Vec::new();
    serialize_packed::write_message(&mut bytes, &message).unwrap();
    bytes
}

/// The pointer to a struct of two words and two pointers, as the schema of Go's
/// nodes has it.
const GO_ROOT: u64 = 2 << 32 | 2 << 48;

/// What Go's nodes write: a struct without the fields that are ours.
fn as_go(beat: &Heartbeat) -> Vec<u8> {
    let mut words = words(&beat.encode());
    // The pointers are relative: those to host and meta, at 4 and 5, come one
    // word nearer to what they point to.
    words[4] -= 1 << 2;
    words[5] -= 1 << 2;
    words.remove(6);
    words.remove(3);
    words[0] = GO_ROOT;
    packed(&words)
}

/// The words of a message of one segment.
fn words(data: &[u8]) -> Vec<u64> {
    let message = serialize_packed::read_message(data, message::ReaderOptions::new()).unwrap();
    let segments = message.into_segments();
    let (words, _) = segments.get_segment(0).unwrap().as_chunks();
    words.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

/// A heartbeat of the host `h` and the field `a=b`, with one word changed: 4 is
/// the pointer to the host, 5 the one to the fields, 6 the one to the addresses,
/// 7 the text of the host.
fn changed(at: usize, to: u64) -> Vec<u8> {
    let mut words = words(&raw(10_000, b"h", &[b"a=b"]));
    words[at] = to;
    packed(&words)
}

fn refused() -> Vec<Value> {
    let list = |offset: u64, kind: u64, count: u64| 1 | offset << 2 | kind << 32 | count << 35;
    let long = "x".repeat(256);
    let many = vec![&b"a=b"[..]; 65];
    let much = format!("a={}", "x".repeat(4095));
    [
        ("no bytes", vec![]),
        ("not Cap'n Proto", b"not Cap'n Proto at all".to_vec()),
        ("a host beyond the end", changed(4, list(1000, 2, 5))),
        ("meta that is a text", changed(5, list(0, 2, 8))),
        ("a host that is a capability", changed(4, 3)),
        ("a host that is too long", raw(10_000, long.as_bytes(), &[])),
        ("too many fields", raw(10_000, b"h", &many)),
        ("fields that are too long", raw(10_000, b"h", &[much.as_bytes()])),
        ("a host that is not UTF-8", raw(10_000, b"\xff", &[])),
        ("a field without =", raw(10_000, b"h", &[b"role"])),
        ("addresses beyond the end", changed(6, list(1000, 6, 1))),
        ("addresses that are a text", changed(6, list(0, 2, 2))),
        ("an address that is no list", changed(6, list(0, 6, 1))),
        ("too many addresses", with_addrs(&[&b"a"[..]; 9])),
        ("addresses that are too long", with_addrs(&[&[7; 512], b"a"])),
    ]
    .map(|(name, data)| {
        let error = Heartbeat::decode(&data).unwrap_err();
        json!({
            "name": name,
            "reason": error.label(),
            "verdict": verdict(error.verdict()),
            "extension": name.contains("address"),
            "hex": hex(data),
        })
    })
    .into()
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accept => "accept",
        Verdict::Ignore => "ignore",
        Verdict::Reject => "reject",
    }
}

const SEQ: u64 = 0x18ea_8940_15c0_b7d2;

fn messages() -> Vec<Value> {
    let data = beat(Some(10_000), "node-1.example", &["role=worker"]).encode();
    (SEQ..)
        .zip(KEY_TYPES)
        .map(|(seq, name)| {
            let message = SignedMessage::sign(&key(name), "casm/a.b", seq, &data).unwrap();
            json!({
                "name": format!("by {name}"),
                "key": name,
                "from": peer(name).to_base58(),
                "seq": seq.to_string(),
                "topic": "casm/a.b",
                "data": hex(&data),
                "id": hex(message.id().as_bytes()),
                "hex": hex(message.encoded()),
            })
        })
        .collect()
}

fn verify(message: &[u8], keys: &Keys) -> Result<(), SignedError> {
    SignedMessage::decode(message)?.verify(keys)
}

fn refused_messages() -> Vec<Value> {
    let sign = |name| Raw::of(&SignedMessage::sign(&key(name), "casm", SEQ, b"data").unwrap());
    let (inline, rsa) = (sign("ed25519-1"), sign("rsa"));
    let short = inline.with(|message| message.seqno.as_mut().unwrap().truncate(7));
    let flipped = inline.with(|message| message.data.as_mut().unwrap()[0] ^= 1);
    let keyless = rsa.with(|message| message.key = None);
    let foreign = inline.with(|message| message.key = rsa.key.clone());
    [
        ("a sequence number of 7 bytes", short),
        ("data that was not signed", flipped),
        ("no key where the id has none", keyless),
        ("another's key", foreign),
    ]
    .map(|(name, message)| {
        let error = verify(&message, &Keys::default()).unwrap_err();
        json!({"name": name, "reason": error.to_string(), "hex": hex(message)})
    })
    .into()
}

#[test]
fn vectors_of_heartbeats() {
    let servers: Vec<_> = KEYS
        .iter()
        .map(|name| {
            let server = format!("{:016x}", server_of(&peer(name)));
            json!({"peer": peer(name).to_base58(), "server": server})
        })
        .collect();
    let made = json!({
        "about": ABOUT,
        "heartbeats": heartbeats(),
        "refused": refused(),
        "messages": messages(),
        "refused_messages": refused_messages(),
        "servers": servers,
    });
    let file = compare("heartbeat.json", &made);
    for vector in list(&file, "heartbeats") {
        let beat = Heartbeat::decode(&bytes(vector, "hex")).unwrap();
        let ttl = vector["ttl_ms"].as_u64().map(Duration::from_millis);
        assert_eq!((beat.ttl, beat.host.as_str()), (ttl, text(vector, "host")));
        assert_eq!(format!("{:016x}", beat.server), text(vector, "server"));
        assert_eq!(beat.meta, texts(vector, "meta"));
        let sent_at = vector["sent_at_ms"].as_u64().map(Duration::from_millis);
        assert_eq!(beat.sent_at, sent_at);
        let addrs: Vec<_> = beat.addrs.iter().map(|addr| addr.to_string()).collect();
        assert_eq!(addrs, texts(vector, "addrs"));
        assert_eq!(beat.encode() == bytes(vector, "hex"), vector["canonical"] == true);
    }
    for vector in list(&file, "refused") {
        let error = Heartbeat::decode(&bytes(vector, "hex")).unwrap_err();
        assert_eq!(error.label(), text(vector, "reason"), "{}", vector["name"]);
        assert_eq!(verdict(error.verdict()), text(vector, "verdict"), "{}", vector["name"]);
    }
    let keys = Keys::default();
    for vector in list(&file, "messages") {
        let message = SignedMessage::decode(&bytes(vector, "hex")).unwrap();
        assert_eq!(message.id().as_bytes(), bytes(vector, "id"));
        message.verify(&keys).unwrap();
        assert_eq!(message.source().to_base58(), text(vector, "from"));
        assert_eq!(message.seq(), number(vector, "seq"));
        assert_eq!(message.data(), bytes(vector, "data"));
        assert_eq!(message.topic(), text(vector, "topic"));
        assert_eq!(message.encoded(), bytes(vector, "hex"));
    }
    for vector in list(&file, "refused_messages") {
        let error = verify(&bytes(vector, "hex"), &keys).unwrap_err();
        assert_eq!(error.to_string(), text(vector, "reason"), "{}", vector["name"]);
    }
    for vector in list(&file, "servers") {
        let server = server_of(&text(vector, "peer").parse().unwrap());
        assert_eq!(format!("{server:016x}"), text(vector, "server"));
    }
}
