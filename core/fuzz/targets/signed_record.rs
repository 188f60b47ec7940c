//! A signed peer record: as bytes, and as a payload under a signature that is
//! right, which no mutation would ever find.
#![no_main]

use casm::record::SignedRecord;
use libfuzzer_sys::fuzz_target;
use libp2p::{core::SignedEnvelope, identity::Keypair};
use std::sync::LazyLock;

static KEY: LazyLock<Keypair> = LazyLock::new(|| {
    let mut seed = [7; 32];
    Keypair::ed25519_from_bytes(&mut seed).expect("any 32 bytes are a key")
});

fuzz_target!(|data: &[u8]| {
    check(data);
    let envelope =
        SignedEnvelope::new(&KEY, "libp2p-peer-record".into(), vec![0x03, 0x01], data.to_vec())
            .expect("an ed25519 key signs");
    check(&envelope.into_protobuf_encoding());
});

fn check(bytes: &[u8]) {
    let Ok(record) = SignedRecord::decode(bytes) else { return };
    assert!(bytes.len() <= SignedRecord::MAX_LEN);
    assert_eq!(record.envelope(), bytes);
    assert_eq!(record.peer(), record.info().id);
    // What was accepted once is accepted when it is passed on.
    assert_eq!(SignedRecord::decode(record.envelope()).as_ref(), Ok(&record));
}
