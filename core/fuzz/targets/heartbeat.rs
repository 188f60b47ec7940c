//! A heartbeat: whatever is read keeps its limits, and can be written and read
//! again.
#![no_main]

use casm::cluster::Heartbeat;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(beat) = Heartbeat::decode(data) else { return };
    assert!(beat.host.len() <= Heartbeat::MAX_HOST);
    assert!(beat.meta.len() <= Heartbeat::MAX_META);
    assert!(beat.meta.iter().map(String::len).sum::<usize>() <= Heartbeat::MAX_META_LEN);
    assert!(beat.meta.iter().all(|field| field.contains('=')));
    let ttls = Heartbeat::MIN_TTL..=Heartbeat::MAX_TTL;
    assert!(beat.ttl.is_none_or(|ttl| ttls.contains(&ttl)));
    assert_eq!(Heartbeat::decode(&beat.encode()), Ok(beat));
});
