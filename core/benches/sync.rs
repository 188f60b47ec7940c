//! What anti-entropy costs: two tables that differ are compared, both sides in one
//! place. `cargo xtask bench sync --records 100,10000`. Prints a JSON line for each
//! size and number of records that differ.

mod clock;

use anyhow::{Context, Result};
use casm::cluster::{Compared, Items};
use clap::Parser;
use clock::Clock;
use rand::{RngExt, SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;
use std::hint::black_box;

#[derive(Parser)]
struct Args {
    /// Records of each side.
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000,100000")]
    records: Vec<usize>,
    /// Comparisons of each, with other tables.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// One JSON object per line on stdout; there is no other form.
    #[arg(long = "json")]
    _json: bool,
    /// What `cargo bench` says to every benchmark.
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

const NOW: u64 = 1_767_225_600_000_000_000;
/// Heartbeats of the last 200 s.
const AGES: u64 = 200_000_000_000;

fn main() -> Result<()> {
    let args = Args::parse();
    for records in args.records {
        for differ in [0, 10, 150, records / 3] {
            if differ <= records {
                println!("{}", measure(records, differ, args.runs)?);
            }
        }
    }
    Ok(())
}

/// Records that are compared in a run at least, one comparison after the other.
const REPEATED: usize = 400_000;

/// Compares tables of so many records of which so many are older on one side.
fn measure(records: usize, differ: usize, runs: u64) -> Result<serde_json::Value> {
    let (mut bytes, mut frames, mut micros, mut left) = (vec![], 0, 0.0, false);
    for seed in 0..runs {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let first: Vec<(u64, u64)> =
            (0..records).map(|_| (rng.random(), NOW - rng.random_range(0..AGES))).collect();
        let mut both = [first.clone(), first];
        for place in index::sample(&mut rng, records, differ) {
            both[rng.random_range(0..2)][place].1 -= rng.random_range(1..AGES);
        }
        let (key, at) = (rng.random(), rng.random());
        // As often as the clock needs to tell.
        let times = (REPEATED / records.max(1)).max(1);
        let clock = Clock::start();
        let mut found = Compared::default();
        for _ in 0..times {
            let [opener, acceptor] =
                both.each_ref().map(|of| Items::new(of.iter().copied(), std::iter::empty(), &key));
            found = black_box(Compared::of(opener, acceptor, at)).context("it is refused")?;
        }
        micros += clock.elapsed().as_secs_f64() * 1e6 / times as f64;
        bytes.push(found.bytes);
        frames = frames.max(found.frames);
        left |= found.left;
    }
    bytes.sort_unstable();
    // The ids and numbers of all, in parts of 4096 in exchanges of their own, and the
    // half of those that differ as wanted: so it was before ranges.
    let whole = records.div_ceil(4096) * 26 + 16 * records + 8 * differ.div_ceil(2);
    Ok(serde_json::json!({
        "bench": "sync",
        "impl": "casm",
        "records": records,
        "differ": differ,
        "bytes_p50": bytes[bytes.len() / 2],
        "bytes_max": bytes[bytes.len() - 1],
        "whole_digest_bytes": whole,
        "frames_max": frames,
        "more_exchanges": left,
        "cpu_us_per_side": (micros / runs as f64 / 2.0).round(),
    }))
}
