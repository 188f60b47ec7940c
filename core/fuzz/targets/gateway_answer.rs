//! What the network's gateway, or who says that it is, answers over UPnP: read in every way,
//! of few services, and as a whole.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| igd_next::read_all(data));
