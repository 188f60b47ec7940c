//! One direction of a round of peer exchange: as bytes, as what an LZ4 frame
//! holds, and as messages between records that are right, which no mutation
//! would ever find. No more records come out than a round may have, the sender
//! is the stream's peer, and pieces of any size give the same.
#![no_main]

use casm::{PeerId, pex::fuzzing, record::SignedRecord};
use libfuzzer_sys::fuzz_target;
use libp2p::identity::Keypair;
use lz4_flex::frame::FrameEncoder;
use std::{io::Write, sync::LazyLock};

/// A peer, and the packed message in which it tells its own record.
static SENDER: LazyLock<(PeerId, Vec<u8>)> = LazyLock::new(|| {
    let key = Keypair::ed25519_from_bytes([7; 32]).expect("any 32 bytes are a key");
    let addr = "/ip4/127.0.0.1/tcp/1".parse().expect("an address");
    let record = SignedRecord::sign(&key, &[addr], 1).expect("an ed25519 key signs");
    (record.peer(), fuzzing::message(record.envelope(), 0))
});

fuzz_target!(|data: &[u8]| {
    let Some((&piece, bytes)) = data.split_first() else { return };
    let _ = check(bytes, piece.into());
    let _ = check(&framed(bytes), piece.into());
    // One message as it comes in a record's place, and the sender's.
    let (hop, envelope) = bytes.split_at(bytes.len().min(8));
    let hop = hop.iter().fold(0, |hop, byte| hop << 8 | u64::from(*byte));
    let told = [fuzzing::message(envelope, hop), SENDER.1.clone()].concat();
    let told = check(&framed(&told), piece.into());
    if envelope.len() < 1900 {
        assert_eq!(told.expect("a bad record is skipped").last(), Some(&(SENDER.0, 0)));
    }
});

fn check(bytes: &[u8], piece: usize) -> Result<fuzzing::Told, &'static str> {
    let whole = fuzzing::round(bytes, bytes.len(), SENDER.0);
    if let Ok(told) = &whole {
        assert!(told.len() <= fuzzing::max_records());
        assert_eq!(told.last(), Some(&(SENDER.0, 0)));
        assert!(told.iter().rev().skip(1).all(|(peer, hop)| *peer != SENDER.0 && *hop > 0));
    }
    assert_eq!(fuzzing::round(bytes, piece, SENDER.0), whole);
    whole
}

fn framed(content: &[u8]) -> Vec<u8> {
    let mut frame = FrameEncoder::new(Vec::new());
    frame.write_all(content).expect("a vector takes all");
    frame.finish().expect("a vector takes all")
}
