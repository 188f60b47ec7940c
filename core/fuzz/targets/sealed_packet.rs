//! A sealed boot datagram: as bytes, behind a right beginning, and as what a right
//! seal holds, which no mutation would ever find. And the file of a secret.
#![no_main]

use casm::{
    Namespace, Secret,
    boot::{
        packet::{MAX_LEN, Packet, PacketError},
        seal::{NONCE, OVERHEAD, Seal, Seals},
    },
};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static SECRET: LazyLock<Secret> = LazyLock::new(|| Secret::from_bytes([7; 32]));
static SEAL: LazyLock<Seal> = LazyLock::new(|| Seal::new(&SECRET, &Namespace::default()));
/// Its first eight bytes: what stands before the nonce.
static HEAD: LazyLock<Vec<u8>> = LazyLock::new(|| SEAL.close(b"x", [0; NONCE])[..8].to_vec());

fuzz_target!(|data: &[u8]| {
    let mut node = Seals::new(SECRET.clone());
    node.of(&Namespace::default());
    for datagram in [data, &[&HEAD, data].concat()] {
        let opened = node.open(datagram);
        assert_eq!(opened.is_ok(), SEAL.open(datagram).is_ok());
        // Each has one form alone.
        if let Ok(opened) = opened {
            assert!(datagram.len() <= MAX_LEN);
            assert_eq!(SEAL.close(&opened.envelope, opened.nonce), datagram);
        }
    }
    if let Some((nonce, envelope)) = data.split_first_chunk::<NONCE>() {
        let sealed = SEAL.close(envelope, *nonce);
        assert_eq!(sealed.len(), envelope.len() + OVERHEAD);
        match SEAL.open(&sealed) {
            Ok(opened) => {
                assert_eq!(opened, (envelope.to_vec(), *nonce));
                let _ = Packet::decode(envelope);
            }
            Err(PacketError::TooLarge) => assert!(sealed.len() > MAX_LEN),
            Err(PacketError::SealForm) => assert!(envelope.is_empty()),
            Err(other) => panic!("{other}"),
        }
    }
    for encoding in ["", "/base16/\n", "/base64/\n", "/bin/\n"] {
        let head = format!("/key/swarm/psk/1.0.0/\n{encoding}");
        let _ = Secret::parse(&[head.as_bytes(), data].concat());
    }
});
