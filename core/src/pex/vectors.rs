//! Test vectors of rounds of peer exchange.

use super::{
    codec::{Puller, Raw, encode, message},
    error::RoundError,
    round::{Told, Verifier, judge},
    view::{Gossip, Params},
};
use crate::{
    Multiaddr, PeerId,
    record::SignedRecord,
    vectors::{bytes, compare, hex, key, list, number, peer, text, texts},
};
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use serde_json::{Value, json};
use std::io::{Read, Write};

const ABOUT: &str = "One direction of a round of peer exchange each. raw: the packed messages, one \
                     after the other; hex: what travels, raw in one LZ4 frame. records: what is \
                     taken, the sender's own last; skipped: why others are not.";

const SEQ: u64 = 1_700_000_000_000_000_000;

fn record(name: &str, seq: u64) -> SignedRecord {
    let addrs: [Multiaddr; 2] = ["/ip4/10.0.0.1/tcp/4001", "/ip4/10.0.0.1/udp/4001/quic-v1"]
        .map(|addr| addr.parse().unwrap());
    SignedRecord::sign(&key(name), &addrs, seq).unwrap()
}

/// The packed messages of records with these hops.
fn raw(records: &[(u64, &[u8])]) -> Vec<u8> {
    records.iter().flat_map(|(hop, envelope)| message(envelope, *hop).unwrap()).collect()
}

fn framed(raw: &[u8], info: FrameInfo) -> Vec<u8> {
    let mut frame = FrameEncoder::with_frame_info(info, Vec::new());
    frame.write_all(raw).unwrap();
    frame.finish().unwrap()
}

/// As we write it.
fn ours(raw: &[u8]) -> Vec<u8> {
    framed(raw, FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent))
}

fn pull(bytes: &[u8]) -> Result<Vec<Raw>, RoundError> {
    let mut puller = Puller::new(&Params::default());
    puller.push(bytes)?;
    puller.end()
}

fn told(bytes: &[u8], from: PeerId) -> Result<Told, RoundError> {
    judge(pull(bytes)?, from, &Verifier::default())
}

fn taken(record: &SignedRecord, hop: u32) -> Value {
    json!({
        "peer": record.peer().to_base58(),
        "hop": hop,
        "seq": record.seq().to_string(),
        "addrs": record.info().addrs.iter().map(Multiaddr::to_string).collect::<Vec<_>>(),
        "envelope": hex(record.envelope()),
    })
}

fn vector(name: &str, from: &str, raw: &[u8], frame: &[u8]) -> Value {
    let told = told(frame, peer(from)).unwrap();
    let others = told.others.iter().map(|g| taken(&g.record, g.hop));
    json!({
        "name": name,
        "sender": peer(from).to_base58(),
        "records": others.chain([taken(&told.sender, 0)]).collect::<Vec<_>>(),
        "skipped": told.skipped,
        "raw": hex(raw),
        "hex": hex(frame),
    })
}

fn rounds() -> Vec<Value> {
    let own = record("ed25519-1", SEQ);
    let others = [record("secp256k1", SEQ + 1), record("ecdsa", SEQ + 2), record("rsa", SEQ + 3)];
    let gossip: Vec<_> =
        (1..).zip(&others).map(|(hop, r)| Gossip { record: r.clone(), hop }).collect();
    let all = raw(&[
        (1, others[0].envelope()),
        (2, others[1].envelope()),
        (3, others[2].envelope()),
        (0, own.envelope()),
    ]);
    let mut forged = others[0].envelope().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let newer = record("ecdsa", SEQ + 9);
    let mixed = raw(&[
        (1, &forged),
        (0, others[2].envelope()),
        (7, own.envelope()),
        (1, others[1].envelope()),
        (5, newer.envelope()),
        (u64::MAX, others[0].envelope()),
        (1 << 20, others[0].envelope()),
        (0, own.envelope()),
    ]);
    // As other writers may do it: large blocks that refer to each other, with
    // checksums.
    let linked = FrameInfo::new()
        .block_size(BlockSize::Max4MB)
        .block_mode(BlockMode::Linked)
        .block_checksums(true)
        .content_checksum(true);
    let alone = raw(&[(0, own.envelope())]);
    vec![
        vector("alone", "ed25519-1", &alone, &encode(&[], &own).unwrap()),
        vector("records of every key type", "ed25519-1", &all, &encode(&gossip, &own).unwrap()),
        vector("the same in another frame", "ed25519-1", &all, &framed(&all, linked)),
        vector("bad records are skipped", "ed25519-1", &mixed, &ours(&mixed)),
    ]
}

fn refused() -> Vec<Value> {
    let (own, other) = (record("ed25519-1", SEQ), record("ed25519-2", SEQ));
    let mut forged = own.envelope().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let good = raw(&[(0, own.envelope())]);
    let many = vec![(1, other.envelope()); 32];
    let many: Vec<_> = many.into_iter().chain([(0, own.envelope())]).collect();
    let bomb = ours(&[0, 255].repeat(100));
    [
        ("no record", ours(&[])),
        ("the last is another's", ours(&raw(&[(0, other.envelope())]))),
        ("the last has a hop", ours(&raw(&[(1, own.envelope())]))),
        ("another's behind the own", ours(&raw(&[(0, own.envelope()), (1, other.envelope())]))),
        ("the last has a wrong signature", ours(&raw(&[(0, &forged)]))),
        ("more records than a view holds", ours(&raw(&many))),
        ("no LZ4 frame", good.clone()),
        ("it ends inside a message", ours(&good[..good.len() - 9])),
        ("a message that is too large", ours(&raw(&[(1, &[7; 2100]), (0, own.envelope())]))),
        ("a message of zeros without end", bomb),
    ]
    .map(|(name, frame)| {
        let reason = told(&frame, own.peer()).unwrap_err().label();
        json!({
            "name": name,
            "sender": own.peer().to_base58(),
            "reason": reason,
            "hex": hex(frame),
        })
    })
    .into()
}

#[test]
fn vectors_of_rounds() {
    let made = json!({"about": ABOUT, "rounds": rounds(), "refused": refused()});
    let file = compare("pex.json", &made);
    for vector in list(&file, "rounds") {
        let (raw, frame) = (bytes(vector, "raw"), bytes(vector, "hex"));
        let mut unframed = Vec::new();
        FrameDecoder::new(&frame[..]).read_to_end(&mut unframed).unwrap();
        assert_eq!(unframed, raw);
        let told = told(&frame, text(vector, "sender").parse().unwrap()).unwrap();
        assert_eq!(told.skipped, texts(vector, "skipped"));
        let all = told.others.iter().map(|g| (&g.record, g.hop)).chain([(&told.sender, 0)]);
        let records = list(vector, "records");
        assert_eq!(all.clone().count(), records.len());
        for ((record, hop), said) in all.zip(records) {
            assert_eq!(said["hop"], hop);
            assert_eq!(record.peer().to_base58(), text(said, "peer"));
            assert_eq!(record.seq(), number(said, "seq"));
            assert_eq!(record.envelope(), bytes(said, "envelope"));
            let addrs: Vec<_> = record.info().addrs.iter().map(Multiaddr::to_string).collect();
            assert_eq!(addrs, texts(said, "addrs"));
        }
    }
    for vector in list(&file, "refused") {
        let sender = text(vector, "sender").parse().unwrap();
        let error = told(&bytes(vector, "hex"), sender).unwrap_err();
        assert_eq!(error.label(), text(vector, "reason"), "{}", vector["name"]);
    }
}
