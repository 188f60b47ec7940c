//! Answers and requests of services: what is read is within the limits, and is
//! written as it was read.
#![no_main]

use casm::service::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some((bytes, headers)) = fuzzing::answer(data) {
        assert!(bytes <= 1 << 20 && headers <= 16);
    }
    if let Some((bytes, headers)) = fuzzing::call(data) {
        assert!(bytes <= data.len() && headers <= 16);
    }
});
