//! The gossip engine itself: bytes are what happens to a node, one choice each,
//! frames as they come among them. A naive model of the protocol, which the tests
//! use too, says what it has to do, may do and must not.
#![no_main]

use casm::gossip;
use libfuzzer_sys::fuzz_target;

#[path = "../../src/gossip/engine/tests/model/mod.rs"]
mod model;

/// Things that happen, at most: what an input of the longest kind makes.
const STEPS: usize = 300;

fuzz_target!(|data: &[u8]| {
    let Some((&seed, choices)) = data.split_first() else { return };
    let choices = model::Bytes::new(choices.iter().copied());
    let mut world = model::World::new(choices, seed.into(), false);
    world.run(STEPS);
    world.end();
});
