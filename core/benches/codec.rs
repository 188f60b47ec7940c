//! Times the heartbeat codec: `cargo xtask bench codec`. Prints one JSON line.

mod clock;

use casm::cluster::Heartbeat;
use clock::Clock;
use std::{hint::black_box, time::Duration};

const TIMES: u32 = 200_000;

fn main() {
    let beat = Heartbeat {
        server: 0x0123_4567_89ab_cdef,
        ttl: Some(Duration::from_secs(10)),
        host: "node-0000001.example".into(),
        meta: ["role=worker", "zone=eu-1", "rack=17", "version=1.2.3", "address=10.0.0.1:8822"]
            .map(Into::into)
            .to_vec(),
        sent_at: None,
        addrs: Default::default(),
    };
    let bytes = beat.encode();
    assert_eq!(Heartbeat::decode(&bytes).as_ref(), Ok(&beat));
    let line = serde_json::json!({
        "bench": "codec",
        "impl": "casm",
        "bytes": bytes.len(),
        "encode_ns": time(|| drop(black_box(black_box(&beat).encode()))),
        "decode_ns": time(|| drop(black_box(Heartbeat::decode(black_box(&bytes))))),
    });
    println!("{line}");
}

fn time(mut run: impl FnMut()) -> f64 {
    (0..TIMES / 10).for_each(|_| run());
    let start = Clock::start();
    (0..TIMES).for_each(|_| run());
    (start.elapsed().as_nanos() as f64 / f64::from(TIMES)).round()
}
