//! Times what a heartbeat costs a receiver, on one core, beside the bare
//! signature: `cargo xtask bench verify`. Prints one JSON line.

mod clock;

use casm::{
    Keypair, PeerId,
    cluster::{Arrival, Detector, Heartbeat, Limits, Now, Roles, Table, Via, server_of},
    fuzzing::{Verifier, sign_message},
};
use clock::Clock;
use std::time::{Duration, Instant};

const UNIX: u64 = 1_700_000_000_000_000_000;
const NODES: usize = 500;
const ROUNDS: usize = 40;

fn main() {
    let keys: Vec<_> = (0..NODES).map(|_| Keypair::generate_ed25519()).collect();
    let messages: Vec<_> = (0..ROUNDS)
        .flat_map(|round| keys.iter().map(move |key| (key, UNIX + round as u64)))
        .map(|(key, seq)| sign_message(key, "casm", seq, &beat(key)).expect("the key signs"))
        .collect();

    let signed: Vec<_> = messages.iter().take(NODES * 4).zip(keys.iter().cycle()).collect();
    // The bare signature, over as many bytes.
    let signatures: Vec<_> =
        signed.iter().map(|(bytes, key)| key.sign(bytes).expect("the key signs")).collect();
    let publics: Vec<_> = keys.iter().map(Keypair::public).collect();
    let plain = |start: Clock| {
        for (i, (bytes, _)) in signed.iter().enumerate() {
            assert!(publics[i % NODES].verify(bytes, &signatures[i]));
        }
        start.elapsed() / signed.len() as u32
    };
    let plain_before = plain(Clock::start());

    let mut table = Table::new(PeerId::random(), Limits::default(), Detector::default(), 1);
    let verifier = Verifier::default();
    // The table's time is that of the machine, as in a node: reading the time on
    // the processor opens a file, and would cost as much as all of the storing.
    let began = Instant::now();
    let start = Clock::start();
    for bytes in &messages {
        let (peer, seq, data) = verifier.verify(bytes).expect("it is well signed");
        let beat = Heartbeat::decode(&data).expect("it is well formed");
        let now = Now { elapsed: began.elapsed(), unix_nanos: UNIX };
        let arrival = Arrival {
            peer,
            seq,
            from: peer,
            beat: &beat,
            signed: bytes,
            via: Via::Gossip,
            roles: Roles::NONE,
        };
        assert!(table.insert(now, arrival).is_accepted());
        table.take_differences();
        // As the service does: a view for the readers.
        std::hint::black_box(table.view());
    }
    let stored = start.elapsed() / messages.len() as u32;
    // The machine may not run as fast all the time.
    let plain = (plain_before + plain(Clock::start())) / 2;
    let line = serde_json::json!({
        "bench": "verify",
        "impl": "casm",
        "nodes": NODES,
        "message_bytes": messages[0].len(),
        "plain_verify_ns": plain.as_nanos() as u64,
        "verify_decode_store_ns": stored.as_nanos() as u64,
        "rate_of_plain": (plain.as_secs_f64() / stored.as_secs_f64() * 1000.0).round() / 1000.0,
    });
    println!("{line}");
}

fn beat(key: &Keypair) -> Vec<u8> {
    let meta = ["role=worker", "zone=eu-1", "rack=17", "version=1.2.3", "address=10.0.0.1:8822"];
    let beat = Heartbeat {
        server: server_of(&key.public().to_peer_id()),
        ttl: Some(Duration::from_secs(10)),
        host: "node-0000001.example".into(),
        meta: meta.map(Into::into).to_vec(),
        sent_at: None,
        addrs: Default::default(),
    };
    beat.encode()
}
