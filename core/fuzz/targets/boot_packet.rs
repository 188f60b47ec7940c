//! A boot datagram: as bytes, and as a payload under a signature that is
//! right, which no mutation would ever find.
#![no_main]

use casm::boot::packet::{Body, MAX_ADDRS, MAX_LEN, Packet, Unverified};
use libfuzzer_sys::fuzz_target;
use libp2p::{core::SignedEnvelope, identity::Keypair};
use std::sync::LazyLock;

static KEY: LazyLock<Keypair> =
    LazyLock::new(|| Keypair::ed25519_from_bytes([7; 32]).expect("any 32 bytes are a key"));

/// Bytes of addresses, with what leads to them, that leave room for all else in
/// what a packet may unpack to.
const UNPACKED: usize = 7 << 10;

fuzz_target!(|data: &[u8]| {
    check(data);
    let envelope =
        SignedEnvelope::new(&KEY, "casm-boot-record".into(), vec![0x1f, 0x00], data.to_vec())
            .expect("an ed25519 key signs");
    let envelope = envelope.into_protobuf_encoding();
    // What the payload claims counts only if the key is the claimed peer's.
    if let Ok(unverified) = Unverified::parse(&envelope) {
        let mut claim = unverified.claim().clone();
        let own = KEY.public().to_peer_id();
        assert_eq!(claim.peer == own, unverified.verify().is_ok());
        claim.peer = own;
        // Short of its limits, what was read can be written and read again. (Whoever
        // wrote it may have left out fields, and have had more room for the rest.)
        let addrs = match &claim.body {
            Body::Response { addrs } => addrs.iter().map(|addr| addr.len() + 16).sum(),
            _ => 0,
        };
        if let Ok(bytes) = claim.encode(&KEY)
            && addrs < UNPACKED
        {
            assert_eq!(Packet::decode(&bytes), Ok(claim));
        }
    }
});

fn check(bytes: &[u8]) {
    let Ok(packet) = Packet::decode(bytes) else { return };
    assert!(bytes.len() <= MAX_LEN);
    if let Body::Response { addrs } = packet.body {
        assert!(addrs.len() <= MAX_ADDRS);
    }
}
