//! The engine against the [naive model](super::model), in thousands of runs that
//! chance makes.

use super::model::{Bytes, World};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Set to a seed that a failed test has printed, it says what happens in that run.
const AGAIN: &str = "CASM_MODEL_SEED";

fn run(seed: u64, tells: bool) {
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let bytes = std::iter::repeat_with(move || rng.next_u32() as u8);
    let mut world = World::new(Bytes::new(bytes), seed, tells);
    world.run(150);
    world.end();
}

fn runs(from: u64) {
    if let Ok(seed) = std::env::var(AGAIN) {
        return run(seed.parse().expect("a seed is a number"), true);
    }
    (from..from + 1000).for_each(|seed| run(seed, false));
}

#[test]
fn whatever_happens_the_engine_does_what_a_naive_one_would() {
    runs(0);
}

#[test]
fn whatever_else_happens_the_engine_does_what_a_naive_one_would() {
    runs(1_000_000);
}
