//! Times what a round of peer exchange costs a node, on one core:
//! `cargo xtask bench pex`. Prints one JSON line.

mod clock;

use casm::{
    Keypair, Multiaddr,
    pex::{
        fuzzing::{Reader, encode},
        view::{Origin, Params, View},
    },
    record::SignedRecord,
};
use clock::Clock;
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use std::{hash::RandomState, hint::black_box, time::Duration};

/// Peers that there are: more than a view holds.
const PEERS: usize = 200;
const TIMES: u32 = 2_000;

fn main() -> casm::Result<()> {
    let addrs: Vec<Multiaddr> =
        ["/ip4/10.0.0.1/tcp/4001", "/ip4/10.0.0.1/udp/4001/quic-v1"].map(addr).to_vec();
    let records: Vec<SignedRecord> = (0..PEERS)
        .map(|_| SignedRecord::sign(&Keypair::generate_ed25519(), &addrs, 1))
        .collect::<casm::Result<_>>()?;
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let view = |own: usize, rng: &mut ChaCha12Rng| {
        let mut view = View::new(records[own].peer(), Params::default(), RandomState::new());
        let others = records.iter().enumerate().filter(|(i, _)| *i != own);
        view.restore(others.map(|(_, record)| record.clone()), [], rng);
        view
    };
    let (mut ours, theirs) = (view(0, &mut rng), view(1, &mut rng));
    let sender = &records[1];
    let bytes = encode(&theirs.tell(&mut rng), sender);

    let told = time(|| encode(&theirs.tell(&mut rng), sender));
    // As of a node that has just started, and as of one that runs.
    let new = time(|| Reader::default().read(&bytes, sender.peer()));
    let reader = Reader::default();
    let known = time(|| reader.read(&bytes, sender.peer()));
    let (others, _) = reader.read(&bytes, sender.peer()).expect("it is well formed");
    let copied = time(|| others.clone());
    let merged = time(|| ours.merge(Origin::Pulled, sender.clone(), others.clone(), &mut rng));
    let line = serde_json::json!({
        "bench": "pex",
        "impl": "casm",
        "records": others.len() + 1,
        "bytes": bytes.len(),
        "tell_encode_ns": told.as_nanos() as u64,
        "decode_verify_ns": new.as_nanos() as u64,
        "decode_known_ns": known.as_nanos() as u64,
        "merge_ns": merged.saturating_sub(copied).as_nanos() as u64,
    });
    println!("{line}");
    Ok(())
}

fn addr(text: &str) -> Multiaddr {
    text.parse().expect("an address")
}

/// The mean time of a call.
fn time<T>(mut run: impl FnMut() -> T) -> Duration {
    (0..TIMES / 10).for_each(|_| drop(black_box(run())));
    let start = Clock::start();
    (0..TIMES).for_each(|_| drop(black_box(run())));
    start.elapsed() / TIMES
}
