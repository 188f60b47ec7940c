//! Channels: what owners and their users send each other keeps its limits, and
//! whatever one of them says in whatever order, no value is lost or comes twice at
//! an honest owner, and all who wait at an honest user are told.
#![no_main]

use casm::csp::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&what, bytes)) = data.split_first() else { return };
    match what % 3 {
        0 => drop(fuzzing::message(bytes)),
        1 => fuzzing::calls(bytes),
        _ => fuzzing::replies(bytes),
    }
});
