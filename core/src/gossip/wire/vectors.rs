//! Test vectors of frames.

use super::{FrameBuilder, MAX_TOPIC, Malformed, MessageId, Rpc, SignedMessage};
use crate::{
    pubsub::{
        fields::{write_field, write_number},
        keys::Keys,
    },
    vectors::{KEY_TYPES, bytes, compare, hex, key, list, peer, text},
};
use serde_json::{Value, json};
use std::time::Duration;

const ABOUT: &str = "Frames of gossipsub. hex: the frame with its length in front; what it says; \
                     left_out: what is not taken of it, by reason; written: whether ours writes it \
                     so. encodings: hex: a message as another may hand it on, canonical: as ours \
                     does. malformed: frames that are refused \
                     whole.";

/// Fields that hold bytes, texts and messages.
fn fields(of: &[(u32, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    of.iter().for_each(|(tag, value)| write_field(*tag, value, &mut bytes));
    bytes
}

fn framed(content: &[u8]) -> Vec<u8> {
    let mut len = unsigned_varint::encode::usize_buffer();
    [unsigned_varint::encode::usize(content.len(), &mut len), content].concat()
}

fn id(name: &str, seq: u64) -> MessageId {
    MessageId::new(&peer(name).to_bytes(), seq.to_be_bytes())
}

fn signed(name: &str) -> SignedMessage {
    SignedMessage::sign(&key(name), "casm", 7, b"data").unwrap()
}

fn ids(ids: &[MessageId]) -> Vec<String> {
    ids.iter().map(|id| hex(id.as_bytes())).collect()
}

fn said(rpc: &Rpc) -> Value {
    let secs = |backoff: Option<Duration>| backoff.map(|backoff| backoff.as_secs());
    let joins: Vec<_> = rpc.subscriptions.iter().map(|s| json!([s.subscribe, s.topic])).collect();
    let messages: Vec<_> = rpc.messages.iter().map(|m| hex(m.encoded())).collect();
    let offers: Vec<_> = rpc.ihave.iter().map(|(topic, of)| json!([topic, ids(of)])).collect();
    let prunes: Vec<_> = rpc.prune.iter().map(|p| json!([p.topic, secs(p.backoff)])).collect();
    json!({
        "subscriptions": joins, "messages": messages, "ihave": offers, "iwant": ids(&rpc.iwant),
        "graft": rpc.graft, "prune": prunes, "idontwant": ids(&rpc.idontwant),
    })
}

fn frame(name: &str, written: bool, frame: &[u8]) -> Value {
    let rpc = read(frame).unwrap();
    json!({
        "name": name,
        "written": written,
        "says": said(&rpc),
        "left_out": rpc.refused.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        "hex": hex(frame),
    })
}

fn read(frame: &[u8]) -> Result<Rpc, Malformed> {
    let (len, content) = unsigned_varint::decode::usize(frame).unwrap();
    assert_eq!(len, content.len());
    Rpc::decode(content)
}

fn frames() -> Vec<Value> {
    let make = |parts: &dyn Fn(&mut FrameBuilder)| {
        let mut frame = FrameBuilder::new();
        parts(&mut frame);
        frame.finish()
    };
    let (a, b) = (id("ed25519-1", 7), id("rsa", 0x18ea_8940_15c0_b7d2));
    let both = [a.clone(), b.clone()];
    let written = [
        (
            "topics joined and left",
            make(&|frame| {
                assert!(frame.subscription(true, "casm") && frame.subscription(false, "a.b/c"));
            }),
        ),
        (
            "messages",
            make(&|frame| assert!(KEY_TYPES.iter().all(|name| frame.message(&signed(name))))),
        ),
        (
            "control",
            make(&|frame| {
                assert!(frame.graft("casm") && frame.prune("a.b/c", Duration::from_secs(60)));
                assert_eq!((frame.ihave("casm", &both), frame.ihave("a.b/c", &both[1..])), (2, 1));
                assert_eq!((frame.iwant(&both), frame.idontwant(&both[..1])), (2, 1));
            }),
        ),
    ];
    let mut all: Vec<_> = written.iter().map(|(name, bytes)| frame(name, true, bytes)).collect();

    let mut joined = fields(&[(2, b"casm")]);
    [1, 3, 4].into_iter().for_each(|tag| write_number(tag, 1, &mut joined));
    let mut extensions = Vec::new();
    write_number(10, 1, &mut extensions);
    let peers = fields(&[(1, b"peer"), (2, b"record")]);
    let topic = fields(&[(1, b"casm")]);
    let control = fields(&[
        (1, &fields(&[(2, a.as_bytes()), (1, b"casm")])),
        (4, &fields(&[(1, b"casm"), (2, &peers)])),
        (6, &extensions),
    ]);
    let later =
        fields(&[(1, &joined), (10, b"partial"), (3, &control), (3, &fields(&[(3, &topic)]))]);
    all.push(frame("of a later version, fields in another order", false, &framed(&later)));

    let long = "x".repeat(MAX_TOPIC + 1);
    let unsigned = fields(&[(1, &peer("ed25519-1").to_bytes()), (3, &[0; 8]), (4, b"casm")]);
    let control = fields(&[
        (2, &fields(&[(1, &[0; 8]), (1, &[0; 65]), (1, b.as_bytes())])),
        (3, &fields(&[(1, b"\xff")])),
        (3, &[]),
    ]);
    let partly = fields(&[
        (1, &fields(&[(2, long.as_bytes())])),
        (2, &unsigned),
        (2, &fields(&[(1, b"nobody"), (3, &[0; 8]), (4, b"casm")])),
        (2, &fields(&[(1, &peer("ed25519-1").to_bytes()), (3, &[0; 7]), (4, b"casm")])),
        (2, &signed("ed25519-1").encoded()[..50]),
        (2, signed("ed25519-1").encoded()),
        (3, &control),
    ]);
    all.push(frame("parts of which are not taken", false, &framed(&partly)));
    all
}

fn encodings() -> Vec<Value> {
    let (inline, rsa) = (signed("ed25519-1"), signed("rsa"));
    let own = key("ed25519-1").public().encode_protobuf();
    let unknown = fields(&[(7, b"?"), (900, b"?")]);
    [
        ("the source's id holds the key", &inline, [inline.encoded(), &fields(&[(6, &own)])].concat()),
        ("unknown fields", &rsa, [&unknown, rsa.encoded(), &unknown].concat()),
        ("fields twice", &rsa, [rsa.encoded(), rsa.encoded()].concat()),
        ("data twice", &inline, [&fields(&[(2, b"other")]), inline.encoded()].concat()),
    ]
    .map(|(name, message, other)| {
        json!({"name": name, "hex": hex(other), "canonical": hex(message.encoded())})
    })
    .into()
}

fn malformed() -> Vec<Value> {
    let deep = [[9 << 3 | 3; 101], [9 << 3 | 4; 101]].concat();
    [
        ("a field that is cut off", vec![1 << 3 | 2, 5, 0]),
        ("a length of 2^64 - 1", [&[2 << 3 | 2][..], &[0xff; 9], &[1]].concat()),
        ("a number of more than 64 bits", [&[1 << 3][..], &[0xff; 9], &[2]].concat()),
        ("the field 0", vec![0, 0]),
        ("a kind of value that there is not", vec![1 << 3 | 6]),
        ("a group without an end", vec![9 << 3 | 3]),
        ("groups in groups", deep),
        ("an id that is cut off", fields(&[(3, &fields(&[(2, &[1 << 3 | 2, 9, 0])]))])),
    ]
    .map(|(name, content)| json!({"name": name, "hex": hex(framed(&content))}))
    .into()
}

#[test]
fn vectors_of_gossip() {
    let made = json!({
        "about": ABOUT,
        "frames": frames(),
        "encodings": encodings(),
        "malformed": malformed(),
    });
    let file = compare("gossip.json", &made);
    for vector in list(&file, "frames") {
        let rpc = read(&bytes(vector, "hex")).unwrap();
        assert_eq!(said(&rpc), vector["says"], "{}", vector["name"]);
        for (reason, count) in &rpc.refused {
            assert_eq!(vector["left_out"][reason], *count, "{}", vector["name"]);
        }
        assert_eq!(rpc.refused.len(), vector["left_out"].as_object().unwrap().len());
    }
    for vector in list(&file, "encodings") {
        let message = SignedMessage::decode(&bytes(vector, "hex")).unwrap();
        assert_eq!(hex(message.encoded()), text(vector, "canonical"));
        assert_eq!(message.verify(&Keys::default()), Ok(()), "{}", vector["name"]);
    }
    for vector in list(&file, "malformed") {
        assert_eq!(read(&bytes(vector, "hex")), Err(Malformed), "{}", vector["name"]);
    }
}
