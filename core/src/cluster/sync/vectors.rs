//! Test vectors of anti-entropy.

use super::{
    items::{Item, Items, short_id},
    ranges::{self, Range, Read, Said, Writer},
    reconcile::Reconcile,
    sums::{Key, share},
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

const ABOUT: &str = "Frames of anti-entropy. hex: the frame with its length and kind in front, of \
                     ranges and of comparisons what follows these. Ids are the last eight bytes of \
                     peer ids, in hexadecimal digits. written: false: a later version may write it \
                     so. A range is all ids that begin with the first bits of first. Of a \
                     comparison the table is of the numbers n from 0 on, each with the id n × \
                     0x9e3779b97f4a7c15 mod 2^64 and the number 1767225600000000000 + n; one side \
                     lacks some, of others it has the number before. Another implementation may \
                     divide otherwise.";

/// The key of sums.
const KEY: Key = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

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
    let written = |time, key| (time, key, true, frame(&Frame::Header(Header { time, key })));
    [
        written(Some(time), None),
        written(Some(time), Some(KEY)),
        written(None, None),
        (Some(7), None, false, raw(0, &unknown.concat())),
    ]
    .map(|(time, key, written, bytes)| {
        let key = key.map(hex);
        json!({"time_ms": said(time), "key": key, "written": written, "hex": hex(bytes)})
    })
    .into()
}

/// Some items, each with its share of sums under the key.
fn shares() -> Vec<Value> {
    let items = [(0, 0), (1, 2), (0x9e37_79b9_7f4a_7c15, 1_767_225_600_000_000_000)];
    let each = |(of, seq): Item| {
        json!({
            "id": id(of), "seq": seq.to_string(), "share": share(&KEY, (of, seq)),
        })
    };
    items.map(each).into()
}

fn said_of(range: Range, said: &Read) -> Value {
    let how = match said {
        Read::List(items) => {
            let each = |(of, seq): &Item| json!({"id": id(*of), "seq": seq.to_string()});
            json!({"list": items.iter().map(each).collect::<Vec<_>>()})
        }
        Read::Split(by, sums) => json!({"bits": by, "sums": sums}),
        Read::Left => json!("left"),
    };
    json!({"first": id(range.first), "bits": range.bits, "said": how})
}

/// Frames about ranges, and what they say.
fn frames_of_ranges() -> Vec<Value> {
    let low: Vec<Item> = (0..3).map(|n| (n << 40 | 5, 1_000 + n * 500)).collect();
    let parts: Vec<_> = Range::WHOLE.parts(2).collect();
    let deep = Range { first: 0x0102_0304_0506_0708, bits: 61 };
    let twice: [Item; 2] = [(0x0102_0304_0506_0709, 3), (0x0102_0304_0506_0709, 9)];
    /// The base, what it is about, and what is said of which of that.
    type Frame<'a> = (u64, Vec<Range>, Vec<(usize, Said<'a>)>);
    let all: [Frame<'_>; 6] = [
        (0, vec![Range::WHOLE], vec![]),
        (0, vec![Range::WHOLE], vec![(0, Said::List(&[]))]),
        (2_500, vec![Range::WHOLE], vec![(0, Said::List(&low))]),
        (0, vec![Range::WHOLE], vec![(0, Said::Split(2, &[0, 1, 1 << 31, u32::MAX]))]),
        (2_000, parts, vec![(0, Said::List(&low)), (2, Said::Split(1, &[3, 0])), (3, Said::Left)]),
        (9, vec![deep], vec![(0, Said::List(&twice))]),
    ];
    // The number of items may be told at length, also if they are few.
    let long = [&2_500_u64.to_be_bytes()[..], &[0x80, 240, 0, 0, 0, 1], &[7; 8], &[5]].concat();
    let written = all.map(|(base, about, said)| {
        let mut writer = Writer::new(base, about.len());
        for (place, said) in said {
            writer.say(place, about[place], said);
        }
        (about, writer.done(), true)
    });
    let each = |(about, bytes, written): (Vec<Range>, Vec<u8>, bool)| {
        let mut each = Vec::new();
        ranges::read(&bytes, about.iter().copied(), |_, range, read| {
            each.push(said_of(range, &read));
        })
        .unwrap();
        let about: Vec<_> =
            about.iter().map(|r| json!({"first": id(r.first), "bits": r.bits})).collect();
        json!({"about": about, "differ": each, "written": written, "hex": hex(bytes)})
    };
    written.into_iter().chain([(vec![Range::WHOLE], long, false)]).map(each).collect()
}

/// What the sides of a comparison have.
fn sides(count: u64, lacking: &[u64], older: &[u64]) -> [Vec<Item>; 2] {
    let item = |n: u64| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15), 1_767_225_600_000_000_000 + n);
    let opener = (0..count).filter(|n| !lacking.contains(n)).map(|n| {
        let (of, seq) = item(n);
        (of, seq - u64::from(older.contains(&n)))
    });
    [opener.collect(), (0..count).map(item).collect()]
}

/// Comparisons of tables, frame by frame.
fn comparisons() -> Vec<Value> {
    [(0, &[][..], &[][..]), (5, &[1], &[3]), (300, &[7, 8], &[250]), (300, &[], &[])]
        .map(|(count, lacking, older)| {
            let mut both = sides(count, lacking, older).map(|items| {
                Reconcile::new(Items::new(items.into_iter(), std::iter::empty(), &KEY))
            });
            let mut frames = vec![both[0].begin()];
            for receiver in [1, 0].into_iter().cycle() {
                match both[receiver].take(&frames[frames.len() - 1], 0).unwrap() {
                    Some(answer) => frames.push(answer),
                    None => break,
                }
            }
            let [opener, acceptor] = both.map(|side| {
                let found = side.found();
                let ids = |of: Vec<u64>| of.into_iter().map(id).collect::<Vec<_>>();
                json!({"hands_over": ids(found.hand), "wants": ids(found.want)})
            });
            json!({
                "table": count, "opener_lacks": lacking, "opener_has_older": older,
                "frames": frames.into_iter().map(hex).collect::<Vec<_>>(),
                "opener": opener, "acceptor": acceptor,
            })
        })
        .into()
}

fn peers() -> [(PeerId, u64); 3] {
    [(peer("ed25519-1"), 5), (peer("ecdsa"), 7), (peer("rsa"), 0x18ea_8940_15c0_b7d2)]
}

fn ids() -> Vec<Value> {
    [&peers()[..0], &peers()[..2]]
        .map(|peers| {
            let ids: Vec<_> = peers.iter().map(|(peer, _)| short_id(peer)).collect();
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

fn refused() -> Vec<Value> {
    let time = [&[0, 1, 0, 8][..], &[0; 8]].concat();
    [
        ("a kind that is not known", raw(5, &[])),
        ("no kind", [0; 4].to_vec()),
        ("a header's field that is cut off", raw(0, &[0, 9, 0, 2, 7])),
        ("a header's time of four bytes", raw(0, &[0, 1, 0, 4, 0, 0, 0, 0])),
        ("a header with two times", raw(0, &[&time[..], &time].concat())),
        ("a header above the limit", [0, 0, 4, 2, 0].to_vec()),
        ("a header's key of eight bytes", raw(0, &[&[0, 2, 0, 8][..], &[0; 8]].concat())),
        ("ranges above the limit", [0, 1, 0, 2, 1].to_vec()),
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

/// Frames about one range.
fn refused_ranges() -> Vec<Value> {
    let frame = |rest: &[u8]| [&[0, 0, 0, 0, 0, 0, 0, 9][..], rest].concat();
    let item = |id: u8, lower: u8| [0, 0, 0, 0, 0, 0, 0, id, lower];
    [
        ("no number in front", 0, vec![0; 7]),
        ("no bits", 0, frame(&[])),
        ("a bit behind the last range", 0, frame(&[0x40])),
        ("nothing said of the range", 0, frame(&[0x80])),
        ("a way to go on that is not known", 0, frame(&[0x80, 249])),
        ("more than is said of the range", 0, frame(&[0x80, 255, 0])),
        ("an item that is cut off", 0, frame(&[0x80, 1, 0, 0])),
        ("more items than there are bytes", 0, frame(&[0x80, 240, 255, 255, 255, 255])),
        ("a number below 0", 0, frame(&[&[0x80, 1][..], &item(1, 10)].concat())),
        ("items that go down", 0, frame(&[&[0x80, 2][..], &item(2, 0), &item(1, 0)].concat())),
        ("an item twice", 0, frame(&[&[0x80, 2][..], &item(1, 0), &item(1, 0)].concat())),
        ("an item of another range", 57, frame(&[0x80, 1, 0x80, 0])),
        ("too few sums", 0, frame(&[0x80, 241, 0, 0, 0, 0])),
        ("more bits than an id has", 57, frame(&[&[0x80, 248][..], &[0; 1024]].concat())),
    ]
    .map(|(name, bits, bytes)| json!({"name": name, "bits": bits, "hex": hex(bytes)}))
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
        .map(|name| json!({"peer": peer(name).to_base58(), "id": id(short_id(&peer(name)))}))
        .collect();
    let made = json!({
        "about": ABOUT,
        "short_ids": short,
        "headers": headers(),
        "key": hex(KEY),
        "shares": shares(),
        "ranges": frames_of_ranges(),
        "ids": ids(),
        "items": items(),
        "comparisons": comparisons(),
        "refused": refused(),
        "refused_ranges": refused_ranges(),
    });
    let file = compare("sync.json", &made);
    let parse = |of: &Value, field: &str| u64::from_str_radix(text(of, field), 16).unwrap();
    for vector in list(&file, "short_ids") {
        assert_eq!(short_id(&text(vector, "peer").parse().unwrap()), parse(vector, "id"));
    }
    for vector in list(&file, "headers") {
        let time = vector["time_ms"].as_str().map(|time| time.parse().unwrap());
        let key = vector["key"].as_str().map(|_| bytes(vector, "key").try_into().unwrap());
        assert_eq!(read(vector), Frame::Header(Header { time, key }));
    }
    let key = bytes(&file, "key").try_into().unwrap();
    for vector in list(&file, "shares") {
        let item = (parse(vector, "id"), number(vector, "seq"));
        assert_eq!(vector["share"], share(&key, item));
    }
    let range =
        |of: &Value| Range { first: parse(of, "first"), bits: of["bits"].as_u64().unwrap() as u8 };
    for vector in list(&file, "ranges") {
        let about: Vec<_> = list(vector, "about").iter().map(range).collect();
        let mut said = Vec::new();
        ranges::read(&bytes(vector, "hex"), about.into_iter(), |_, range, read| {
            said.push(said_of(range, &read));
        })
        .unwrap();
        assert_eq!(vector["differ"], json!(said));
    }
    for vector in list(&file, "refused_ranges") {
        let range = Range { first: 0, bits: vector["bits"].as_u64().unwrap() as u8 };
        let read = ranges::read(&bytes(vector, "hex"), [range].into_iter(), |_, _, _| ());
        assert!(read.is_err(), "{}", vector["name"]);
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
