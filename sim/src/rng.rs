//! Random streams that depend on what they are for, and not on the order in
//! which threads come to use them.

use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

/// The random numbers of one purpose: a run's seed, a time, a place.
pub fn stream(seed: u64, time: u64, place: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(mix(mix(mix(seed) ^ time) ^ place))
}

/// The finaliser of SplitMix64.
pub fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
