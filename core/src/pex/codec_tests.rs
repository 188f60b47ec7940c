//! Rounds of our own, of Go's nodes, and of nobody's making.

use super::{
    codec::{MAX_BYTES, Puller, Raw, encode},
    error::RoundError,
    round::{Told, Verifier, judge as judge_with},
    view::{Gossip, Params},
};
use crate::{
    Keypair, Multiaddr, PeerId, dials::Said, metrics::ByLabel, record::SignedRecord,
    rpc::FrameError,
};
use lz4_flex::frame::{FrameDecoder, FrameEncoder};
use proptest::prelude::*;
use std::io::{Read, Write};

fn record(key: &Keypair, seq: u64) -> SignedRecord {
    let addr = format!("/ip4/10.0.0.1/tcp/{}", 1 + seq % 60_000).parse().unwrap();
    SignedRecord::sign(key, &[addr], seq).unwrap()
}

fn keys(n: usize) -> Vec<Keypair> {
    (0..n).map(|_| Keypair::generate_ed25519()).collect()
}

fn pull(bytes: &[u8], piece: usize) -> Result<Vec<Raw>, RoundError> {
    let mut puller = Puller::new(&Params::default());
    for piece in bytes.chunks(piece) {
        puller.push(piece)?;
    }
    puller.end()
}

fn judge(raw: Vec<Raw>, peer: PeerId) -> Result<Told, RoundError> {
    judge_with(raw, peer, &Verifier::default())
}

fn raw(record: &SignedRecord, hop: u64) -> Raw {
    Raw { hop, envelope: record.envelope().to_vec() }
}

#[test]
fn a_round_comes_back_as_it_was_told_in_pieces_of_any_size() {
    let keys = keys(16);
    let told: Vec<_> =
        (1..16).map(|i| Gossip { record: record(&keys[i], 7), hop: i as u32 }).collect();
    let own = record(&keys[0], 9);
    let bytes = encode(&told, &own).unwrap();
    let whole = pull(&bytes, bytes.len()).unwrap();
    for piece in [1, 7, 100] {
        assert_eq!(pull(&bytes, piece).unwrap(), whole);
    }
    let got = judge(whole, own.peer()).unwrap();
    assert_eq!((got.sender, got.others, got.skipped), (own, told, vec![]));
}

#[test]
fn addresses_that_make_no_sense_from_the_teller_are_not_used_and_are_passed_on() {
    let keys = keys(3);
    let record = |key: &Keypair, addrs: &[&str]| {
        let addrs: Vec<Multiaddr> = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
        SignedRecord::sign(key, &addrs, 1).unwrap()
    };
    let own =
        record(&keys[0], &["/ip4/9.9.9.9/tcp/1", "/dns/example.org/tcp/1", "/dnsaddr/example.org"]);
    let mixed =
        record(&keys[1], &["/ip4/127.0.0.1/tcp/22", "/ip4/10.0.0.1/tcp/1", "/ip4/8.8.8.8/tcp/1"]);
    let private = record(&keys[2], &["/ip4/10.0.0.1/tcp/22"]);
    let told = vec![raw(&mixed, 1), raw(&private, 1), raw(&own, 0)];
    for (from, used, skipped) in [
        (Said::Public, vec![(mixed.peer(), 1)], vec!["no-address"]),
        (Said::Private, vec![(mixed.peer(), 2), (private.peer(), 1)], vec![]),
        (Said::Machine, vec![(mixed.peer(), 3), (private.peer(), 1)], vec![]),
    ] {
        let mut got = judge(told.clone(), own.peer()).unwrap();
        let counted = ByLabel::default();
        got.keep_sensible(from.into(), &counted);
        let left: Vec<_> =
            got.others.iter().map(|g| (g.record.peer(), g.record.info().addrs.len())).collect();
        assert_eq!((left, got.skipped), (used, skipped), "{from:?}");
        assert_eq!(got.others[0].record.envelope(), mixed.envelope());
        assert_eq!(got.sender.info().addrs, own.info().addrs[..2]);
        assert_eq!(counted.get_or_create(&[("reason", "name")]).get(), 1);
    }
}

#[test]
fn of_two_records_of_a_peer_the_newer_counts_then_the_lower_hop() {
    let keys = keys(2);
    let own = record(&keys[0], 1);
    let (old, new) = (record(&keys[1], 1), record(&keys[1], 2));
    for order in [[(&old, 1), (&new, 9), (&new, 4)], [(&new, 4), (&new, 9), (&old, 1)]] {
        let mut told: Vec<Raw> = order.map(|(r, hop)| raw(r, hop)).into();
        told.push(raw(&own, 0));
        let got = judge(told, own.peer()).unwrap();
        assert_eq!(got.others, [Gossip { record: new.clone(), hop: 4 }]);
        assert_eq!(got.skipped, ["duplicate"; 2]);
    }
}

#[test]
fn a_bad_record_is_skipped_and_a_bad_last_one_refuses_the_round() {
    let keys = keys(4);
    let [own, other, third, old] = [0, 1, 2, 3].map(|i| record(&keys[i], 1));
    let mut forged = raw(&other, 1);
    *forged.envelope.last_mut().unwrap() ^= 1;
    let absurd = [u64::MAX, 1 << 32, (1 << 20) + 1].map(|hop| raw(&third, hop));
    let mut told = vec![forged, raw(&own, 3), raw(&third, 0), raw(&old, 1 << 20)];
    told.extend(absurd);
    told.push(raw(&own, 0));
    let got = judge(told, own.peer()).unwrap();
    assert_eq!(got.others, [Gossip { record: old, hop: 1 << 20 }]);
    let absurd = ["absurd-hop"; 3];
    assert_eq!(got.skipped, [&["bad-signature", "own-again", "no-hop"][..], &absurd].concat());

    let refused = |told: Vec<Raw>, peer: PeerId| judge(told, peer).unwrap_err();
    assert_eq!(refused(vec![], own.peer()), RoundError::Empty);
    assert_eq!(refused(vec![raw(&own, 0)], other.peer()), RoundError::Sender);
    assert_eq!(refused(vec![raw(&own, 1)], own.peer()), RoundError::Sender);
    assert_eq!(refused(vec![raw(&own, 0), raw(&other, 1)], own.peer()), RoundError::Sender);
}

#[test]
fn more_than_a_view_holds_is_refused() {
    let key = Keypair::generate_ed25519();
    let told: Vec<_> = (0..40).map(|_| Gossip { record: record(&key, 1), hop: 1 }).collect();
    let bytes = encode(&told, &record(&key, 1)).unwrap();
    assert_eq!(pull(&bytes, bytes.len()), Err(RoundError::TooMany));
}

/// A frame that decompresses to a thousand times its size, and one that never
/// ends: what the decoder holds stays within a few blocks.
#[test]
fn a_decompression_bomb_is_refused() {
    let mut frame = FrameEncoder::new(Vec::new());
    frame.write_all(&vec![0; 64 << 20]).unwrap();
    let bomb = frame.finish().unwrap();
    assert!(bomb.len() < 300_000, "{}", bomb.len());
    let refused = pull(&bomb, 1024).unwrap_err();
    assert!(
        matches!(refused, RoundError::Frame(FrameError::TooLarge) | RoundError::TooMany),
        "{refused:?}"
    );
    let mut endless = bomb[..7].to_vec();
    endless.extend(std::iter::repeat_n([4, 0, 0, 0x80, 0, 0, 0, 0], MAX_BYTES).flatten());
    let refused = pull(&endless, 4096).unwrap_err();
    println!("64 MiB of zeros in {} bytes; an endless frame: {refused:?}", bomb.len());
}

proptest! {
    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..2000), flip in any::<(prop::sample::Index, u8)>()) {
        let _ = pull(&bytes, 100);
        let key = Keypair::ed25519_from_bytes([7; 32]).unwrap();
        let own = record(&key, 1);
        let mut whole = encode(&[Gossip { record: own.clone(), hop: 3 }], &own).unwrap();
        let at = flip.0.index(whole.len());
        whole[at] ^= flip.1;
        if let Ok(told) = pull(&whole, 64).and_then(|raw| judge(raw, own.peer())) {
            prop_assert_eq!(told.sender.peer(), own.peer());
        }
    }
}

#[test]
fn what_go_nodes_pushed_decodes() {
    let Some(folder) = std::env::var_os("CASM_GOLDEN").map(std::path::PathBuf::from) else {
        return println!("skipped: CASM_GOLDEN is not set");
    };
    let index = std::fs::read(folder.join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    let mut seen = 0;
    for entry in index.as_array().unwrap() {
        let file = entry["file"].as_str().unwrap();
        if !file.starts_with("pex-push-") {
            continue;
        }
        seen += 1;
        let bytes = std::fs::read(folder.join(file)).unwrap();
        assert_eq!(bytes.len() as u64, entry["len"].as_u64().unwrap());
        // The library checks the frame's checksums, and there is one: of the
        // whole content, at the end.
        let whole = |bytes: &[u8]| FrameDecoder::new(bytes).read_to_end(&mut Vec::new());
        whole(&bytes).unwrap();
        let mut flipped = bytes.clone();
        *flipped.last_mut().unwrap() ^= 1;
        whole(&flipped).unwrap_err();

        let raw = pull(&bytes, 50).unwrap();
        if let Some(hops) = entry["hops"].as_array() {
            let hops: Vec<u64> = hops.iter().map(|h| h.as_u64().unwrap()).collect();
            assert_eq!(raw.iter().map(|r| r.hop).collect::<Vec<_>>(), hops);
            assert_eq!(raw.len() as u64, entry["records"].as_u64().unwrap());
        }
        let sender: PeerId = entry["sender"].as_str().unwrap().parse().unwrap();
        let count = raw.len();
        let told = judge(raw, sender).unwrap();
        let addrs: Vec<String> = told.sender.info().addrs.iter().map(ToString::to_string).collect();
        assert_eq!(serde_json::json!(addrs), entry["sender_addrs"]);
        assert_eq!(told.others.len(), count - 1, "every record is valid: {:?}", told.skipped);
    }
    assert_eq!(seen, 2);
}
