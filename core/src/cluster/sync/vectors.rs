//! Test vectors of anti-entropy.

use super::{
    digest::Digest,
    tests::view,
    wire::{self, Frame, Header},
};
use crate::{
    PeerId,
    pubsub::signed::SignedMessage,
    vectors::{KEYS, bytes, compare, hex, key, list, number, peer, text},
};
use futures::executor::block_on;
use serde_json::{Value, json};
use std::time::Duration;

const ABOUT: &str = "Frames of anti-entropy. hex: the frame with its length and kind in front. Ids \
                     are the last eight bytes of peer ids, in hexadecimal digits. written: false: \
                     a later version may write it so.";

fn id(id: u64) -> String {
    format!("{id:016x}")
}

fn frame(frame: &Frame) -> Vec<u8> {
    let mut out = Vec::new();
    frame.push(&mut out);
    out
}

/// A frame of any kind with any content.
fn raw(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(1 + bytes.len()).unwrap();
    [&len.to_be_bytes()[..], &[kind], bytes].concat()
}

fn headers() -> Vec<Value> {
    let time = 1_767_225_600_123;
    let unknown = [&[0, 9, 0, 2, 7, 7, 0, 1, 0, 8][..], &7_u64.to_be_bytes(), &[255; 2], &[0; 2]];
    let said = |time: Option<u64>| time.map(|time| time.to_string());
    [
        (Some(time), true, frame(&Frame::Header(Header { time: Some(time) }))),
        (None, true, frame(&Frame::Header(Header { time: None }))),
        (Some(7), false, raw(0, &unknown.concat())),
    ]
    .map(|(time, written, bytes)| {
        json!({"time_ms": said(time), "written": written, "hex": hex(bytes)})
    })
    .into()
}

fn digest(first: u64, last: u64, peers: &[(PeerId, u64)]) -> Value {
    let entries: Vec<_> = peers.iter().map(|(peer, seq)| (Digest::id(peer), *seq)).collect();
    let said: Vec<_> =
        entries.iter().map(|(of, seq)| json!({"id": id(*of), "seq": seq.to_string()})).collect();
    let bytes = frame(&Frame::Digest(Digest { first, last, entries }));
    json!({"first": id(first), "last": id(last), "entries": said, "hex": hex(bytes)})
}

fn peers() -> [(PeerId, u64); 3] {
    [(peer("ed25519-1"), 5), (peer("ecdsa"), 7), (peer("rsa"), 0x18ea_8940_15c0_b7d2)]
}

fn ids() -> Vec<Value> {
    [&peers()[..0], &peers()[..2]]
        .map(|peers| {
            let ids: Vec<_> = peers.iter().map(|(peer, _)| Digest::id(peer)).collect();
            let said: Vec<_> = ids.iter().map(|of| id(*of)).collect();
            json!({"ids": said, "hex": hex(frame(&Frame::Wanted(ids)))})
        })
        .into()
}

fn items() -> Vec<Value> {
    let message =
        SignedMessage::sign(&key("ed25519-1"), "casm", 7, b"data").unwrap().encoded().to_vec();
    let mut handed: Vec<_> = [0u64, 2_500, u64::MAX]
        .map(|age| {
            let out = frame(&Frame::Handed(Duration::from_millis(age), message.clone()));
            let age_ms = u32::try_from(age).unwrap_or(u32::MAX);
            json!({"kind": "heartbeat", "age_ms": age_ms, "message": hex(&message), "hex": hex(out)})
        })
        .into();
    for (kind, more) in [("end", false), ("end, there is more", true)] {
        handed.push(json!({"kind": kind, "hex": hex(frame(&Frame::End { more }))}));
    }
    handed
}

/// Two tables, and who lacks what.
fn difference() -> Value {
    let ours = peers();
    let theirs = [(ours[0].0, 6), (ours[1].0, 7), (peer("secp256k1"), 1)];
    let say = |peers: &[(PeerId, u64)]| -> Vec<Value> {
        let each =
            |(peer, seq): &(PeerId, u64)| json!({"peer": peer.to_base58(), "seq": seq.to_string()});
        peers.iter().map(each).collect()
    };
    let found = Digest::of(&view(&theirs), 0).compare(&view(&ours));
    let mut newer: Vec<_> = found.newer.into_iter().map(PeerId::to_base58).collect();
    let mut older: Vec<_> = found.older.into_iter().map(id).collect();
    newer.sort();
    older.sort();
    json!({
        "digest_of": say(&theirs), "table": say(&ours), "hands_over": newer, "wants": older,
    })
}

fn refused() -> Vec<Value> {
    let time = [&[0, 1, 0, 8][..], &[0; 8]].concat();
    [
        ("a kind that is not known", raw(5, &[])),
        ("no kind", [0; 4].to_vec()),
        ("a header's field that is cut off", raw(0, &[0, 9, 0, 2, 7])),
        ("a header's time of four bytes", raw(0, &[0, 1, 0, 4, 0, 0, 0, 0])),
        ("a header with two times", raw(0, &[&time[..], &time].concat())),
        ("a header above the limit", [0, 0, 4, 2, 0].to_vec()),
        ("a digest with an odd number of numbers", raw(1, &[0; 24])),
        ("a digest of no whole numbers", raw(1, &[0; 17])),
        ("a digest without a range", raw(1, &[])),
        ("a digest above the limit", [0, 1, 0, 0x12, 1].to_vec()),
        ("ids that are no whole numbers", raw(2, &[0; 7])),
        ("ids above the limit", [0, 0, 0x80, 2, 2].to_vec()),
        ("a heartbeat with no room for an age", raw(3, &[0; 3])),
        ("a heartbeat above the limit", [0, 0, 0x20, 6, 3].to_vec()),
        ("a heartbeat that is cut off", [0, 0, 0, 9, 3].to_vec()),
        ("an end that says neither", raw(4, &[2])),
        ("an end that says nothing", raw(4, &[])),
    ]
    .map(|(name, bytes)| json!({"name": name, "reason": refusal(&bytes), "hex": hex(bytes)}))
    .into()
}

fn refusal(mut bytes: &[u8]) -> &'static str {
    block_on(wire::read(&mut bytes)).expect_err("it is refused").label()
}

fn read(vector: &Value) -> Frame {
    block_on(wire::read(&mut &bytes(vector, "hex")[..])).unwrap()
}

#[test]
fn vectors_of_sync() {
    let short: Vec<_> = KEYS
        .iter()
        .map(|name| json!({"peer": peer(name).to_base58(), "id": id(Digest::id(&peer(name)))}))
        .collect();
    let made = json!({
        "about": ABOUT,
        "short_ids": short,
        "headers": headers(),
        "digests": [digest(0, u64::MAX, &[]), digest(0, u64::MAX, &peers()), digest(16, 1 << 60, &peers()[..1])],
        "ids": ids(),
        "items": items(),
        "difference": difference(),
        "refused": refused(),
    });
    let file = compare("sync.json", &made);
    let parse = |of: &Value, field: &str| u64::from_str_radix(text(of, field), 16).unwrap();
    for vector in list(&file, "short_ids") {
        assert_eq!(Digest::id(&text(vector, "peer").parse().unwrap()), parse(vector, "id"));
    }
    for vector in list(&file, "headers") {
        let time = vector["time_ms"].as_str().map(|time| time.parse().unwrap());
        assert_eq!(read(vector), Frame::Header(Header { time }));
    }
    for vector in list(&file, "digests") {
        let (first, last) = (parse(vector, "first"), parse(vector, "last"));
        let said = vector["entries"].as_array().unwrap();
        let entries = said.iter().map(|e| (parse(e, "id"), number(e, "seq"))).collect();
        assert_eq!(read(vector), Frame::Digest(Digest { first, last, entries }));
    }
    for vector in list(&file, "ids") {
        let Frame::Wanted(ids) = read(vector) else { panic!("ids: {vector}") };
        assert_eq!(vector["ids"], json!(ids.into_iter().map(id).collect::<Vec<_>>()));
    }
    for vector in list(&file, "items") {
        let said = match text(vector, "kind") {
            "heartbeat" => {
                let age = Duration::from_millis(vector["age_ms"].as_u64().unwrap());
                Frame::Handed(age, bytes(vector, "message"))
            }
            kind => Frame::End { more: kind != "end" },
        };
        assert_eq!(read(vector), said);
    }
    for vector in list(&file, "refused") {
        let reason = refusal(&bytes(vector, "hex"));
        assert_eq!(reason, text(vector, "reason"), "{}", vector["name"]);
    }
}
