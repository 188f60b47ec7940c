//! The frames of an exchange of heartbeats: what is read keeps its limits, is
//! the same when it is written again, and can be compared with any view.
#![no_main]

use casm::cluster::{
    Arrival, Detector, Heartbeat, Limits, Now, Table, Via, View, sync_fuzzing as sync,
};
use libfuzzer_sys::fuzz_target;
use libp2p::{PeerId, identity::Keypair};
use std::{cell::OnceCell, time::Duration};

/// Peers in a digest.
const MAX_ENTRIES: usize = 4096;

thread_local! {
    static VIEW: OnceCell<View> = const { OnceCell::new() };
}

fuzz_target!(|data: &[u8]| {
    if let Ok((digest, frame)) = sync::digest(data) {
        assert!(data.starts_with(&frame));
        assert!(digest.entries.len() <= MAX_ENTRIES);
        VIEW.with(|view| {
            let view = view.get_or_init(view_of_some);
            let difference = digest.compare(view);
            assert!(difference.newer.len() <= view.len());
            assert!(difference.older.len() <= digest.entries.len());
        });
    }
    if let Ok((ids, frame)) = sync::ids(data) {
        assert!(data.starts_with(&frame));
        assert!(ids.len() <= 2 + 2 * MAX_ENTRIES);
    }
    let (handed, frames, _) = sync::handed(data);
    assert!(data.starts_with(&frames));
    assert!(handed.iter().all(|(_, message)| message.len() <= Table::MAX_SIGNED));
});

fn view_of_some() -> View {
    let mut table = Table::new(PeerId::random(), Limits::default(), Detector::default(), 1);
    let now = Now { elapsed: Duration::ZERO, unix_nanos: 1 << 60 };
    let ttl = Some(Duration::from_secs(10));
    let beat = Heartbeat { server: 1, ttl, host: "h".into(), meta: vec![], sent_at: None };
    for seed in 1..9 {
        let key = Keypair::ed25519_from_bytes([seed; 32]).expect("any 32 bytes are a key");
        let (peer, seq) = (key.public().to_peer_id(), seed.into());
        let arrival =
            Arrival { peer, seq, from: peer, beat: &beat, signed: b"x", via: Via::Gossip };
        assert!(table.insert(now, arrival).is_accepted());
    }
    table.view()
}
