//! Owners, parties and selects on virtual time, over links that are late, cut and
//! half open, in thousands of random interleavings. `world` moves messages,
//! `actors` use the channels, `check` says what must hold.

mod actors;
mod check;
mod effects;
mod world;

use super::{
    owner::{self, Channel, Conn, Ended, Given, PartyId, Sent, Tried, Value, Way, Who},
    party::{self, Fault, Outcome, Party, Reply, Request},
    ticket::Turn,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};
use world::World;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct V(u64);

impl Value for V {
    fn size(&self) -> usize {
        100
    }
}

/// What is broken on purpose, to see that the checks find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// A receiver sees its value before the owner has confirmed it.
    SeenUnconfirmed,
    /// Every confirmation is granted.
    AlwaysConfirmed,
    /// Values that come too late for their receiver are forgotten.
    LateForgotten,
    /// What is sent again has another number.
    OtherNumber,
    /// A withdrawal is answered without being made.
    NotWithdrawn,
    /// Nobody is told that a select is free again.
    Untold,
}

fn run(seed: u64, planted: Planted) -> Result<(), String> {
    let mut world = World::new(seed, planted);
    world.run();
    world.check()
}

fn seeds() -> std::ops::Range<u64> {
    let read = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = read("CASM_CSP_SEED").unwrap_or(0);
    first..first + read("CASM_CSP_RUNS").unwrap_or(4000)
}

#[test]
fn whatever_happens_no_value_is_received_twice_or_lost_and_nobody_waits_for_ever() {
    for seed in seeds() {
        if let Err(wrong) = run(seed, Planted::Nothing) {
            panic!("CASM_CSP_SEED={seed} CASM_CSP_RUNS=1: {wrong}");
        }
    }
}

#[test]
fn what_is_broken_on_purpose_is_found() {
    use Planted::*;
    let all = [SeenUnconfirmed, AlwaysConfirmed, LateForgotten, OtherNumber, NotWithdrawn, Untold];
    for planted in all {
        let found = (0..4000).find_map(|seed| run(seed, planted).err().map(|e| (seed, e)));
        let (seed, wrong) = found.unwrap_or_else(|| panic!("{planted:?} is not found"));
        println!("{planted:?}: seed {seed}: {wrong}");
    }
}
