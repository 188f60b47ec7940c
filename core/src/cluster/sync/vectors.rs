//! Test vectors of anti-entropy.

use super::{
    digest::Digest,
    tests::view,
    wire::{self, Item},
};
use crate::{
    PeerId,
    pubsub::signed::SignedMessage,
    vectors::{KEYS, bytes, compare, hex, key, list, number, peer, text},
};
use futures::executor::block_on;
use serde_json::{Value, json};
use std::time::Duration;

const ABOUT: &str = "Frames of anti-entropy. hex: the frame with its length in front. Ids are the \
                     last eight bytes of peer ids, in hexadecimal digits.";

fn id(id: u64) -> String {
    format!("{id:016x}")
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    block_on(wire::write_frame(&mut out, bytes)).unwrap();
    out
}

fn digest(first: u64, last: u64, peers: &[(PeerId, u64)]) -> Value {
    let entries: Vec<_> = peers.iter().map(|(peer, seq)| (Digest::id(peer), *seq)).collect();
    let said: Vec<_> =
        entries.iter().map(|(of, seq)| json!({"id": id(*of), "seq": seq.to_string()})).collect();
    let bytes = wire::encode_digest(&Digest { first, last, entries });
    json!({"first": id(first), "last": id(last), "entries": said, "hex": hex(frame(&bytes))})
}

fn peers() -> [(PeerId, u64); 3] {
    [(peer("ed25519-1"), 5), (peer("ecdsa"), 7), (peer("rsa"), 0x18ea_8940_15c0_b7d2)]
}

fn ids() -> Vec<Value> {
    [&peers()[..0], &peers()[..2]]
        .map(|peers| {
            let ids: Vec<_> = peers.iter().map(|(peer, _)| Digest::id(peer)).collect();
            let said: Vec<_> = ids.iter().map(|of| id(*of)).collect();
            json!({"ids": said, "hex": hex(frame(&wire::encode_ids(&ids)))})
        })
        .into()
}

fn items() -> Vec<Value> {
    let message = SignedMessage::sign(&key("ed25519-1"), "casm", 7, b"data").unwrap().encode();
    let mut handed: Vec<_> = [0u64, 2_500, u64::MAX]
        .map(|age| {
            let mut out = Vec::new();
            wire::push_handed(Duration::from_millis(age), &message, &mut out);
            let age_ms = u32::try_from(age).unwrap_or(u32::MAX);
            json!({"kind": "heartbeat", "age_ms": age_ms, "message": hex(&message), "hex": hex(out)})
        })
        .into();
    for (kind, more) in [("end", false), ("end, there is more", true)] {
        let mut out = Vec::new();
        wire::push_end(more, &mut out);
        handed.push(json!({"kind": kind, "hex": hex(out)}));
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
    [
        ("digest", "an odd number of numbers", frame(&[0; 24])),
        ("digest", "no whole numbers", frame(&[0; 17])),
        ("digest", "no range", frame(&[])),
        ("digest", "a length above the limit", [0, 1, 0, 0x11].to_vec()),
        ("ids", "no whole numbers", frame(&[0; 7])),
        ("item", "no room for an age", frame(&[0; 3])),
        ("item", "a length above the limit", [0, 0, 0x20, 0x05].to_vec()),
        ("item", "it is cut off", [0, 0, 0, 9, 1].to_vec()),
    ]
    .map(|(what, name, bytes)| {
        json!({"frame": what, "name": name, "reason": refusal(what, &bytes), "hex": hex(bytes)})
    })
    .into()
}

fn refusal(what: &str, mut bytes: &[u8]) -> &'static str {
    match what {
        "digest" => {
            block_on(wire::read_list(&mut bytes)).and_then(|b| wire::decode_digest(&b)).err()
        }
        "ids" => block_on(wire::read_list(&mut bytes)).and_then(|b| wire::decode_ids(&b)).err(),
        _ => block_on(wire::read_item(&mut bytes)).err(),
    }
    .expect("it is refused")
    .label()
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
    for vector in list(&file, "digests") {
        let list = block_on(wire::read_list(&mut &bytes(vector, "hex")[..])).unwrap();
        let digest = wire::decode_digest(&list).unwrap();
        assert_eq!((digest.first, digest.last), (parse(vector, "first"), parse(vector, "last")));
        let said = vector["entries"].as_array().unwrap();
        let said: Vec<_> = said.iter().map(|e| (parse(e, "id"), number(e, "seq"))).collect();
        assert_eq!(digest.entries, said);
    }
    for vector in list(&file, "ids") {
        let list = block_on(wire::read_list(&mut &bytes(vector, "hex")[..])).unwrap();
        let ids: Vec<_> = wire::decode_ids(&list).unwrap().into_iter().map(id).collect();
        assert_eq!(vector["ids"], json!(ids));
    }
    for vector in list(&file, "items") {
        let item = block_on(wire::read_item(&mut &bytes(vector, "hex")[..])).unwrap();
        let said = match text(vector, "kind") {
            "heartbeat" => {
                let age = Duration::from_millis(vector["age_ms"].as_u64().unwrap());
                Item::Handed(age, bytes(vector, "message"))
            }
            kind => Item::End { more: kind != "end" },
        };
        assert_eq!(item, said);
    }
    for vector in list(&file, "refused") {
        let reason = refusal(text(vector, "frame"), &bytes(vector, "hex"));
        assert_eq!(reason, text(vector, "reason"), "{}", vector["name"]);
    }
}
