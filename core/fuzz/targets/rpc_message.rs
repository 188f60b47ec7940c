//! A stream of RPC messages in each encoding, whole and in pieces: both give
//! the same, and no message is larger than the limit.
#![no_main]

use casm::rpc::{Encoding, fuzzing};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&piece, bytes)) = data.split_first() else { return };
    for encoding in Encoding::ALL {
        let whole = fuzzing::messages(encoding, bytes, bytes.len());
        assert!(whole.0.iter().all(|words| words * 8 <= fuzzing::MAX_MESSAGE));
        assert_eq!(fuzzing::messages(encoding, bytes, piece.into()), whole);
    }
});
