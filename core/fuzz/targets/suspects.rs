//! What neighbours say of who has crashed: what is read keeps its limits and is the same
//! when it is written again, and no message of one accuser removes anybody.
#![no_main]

use casm::cluster::{
    Action, Arrival, Detector, Heartbeat, Limits, Now, Roles, Suspects, Suspicion, Table, Via,
};
use libfuzzer_sys::fuzz_target;
use libp2p::{PeerId, identity::Keypair};
use std::time::Duration;

const NOW: Duration = Duration::from_secs(100);

fn peer(seed: u8) -> PeerId {
    let key = Keypair::ed25519_from_bytes([seed; 32]).expect("any 32 bytes are a key");
    key.public().to_peer_id()
}

/// The table of one of six, of which the others are established.
fn table() -> Table {
    let mut limits = Limits::default();
    limits.probation = Duration::from_secs(1);
    let mut table = Table::new(peer(1), limits, Detector::default(), 1);
    let beat = Heartbeat {
        server: 1,
        ttl: Some(Duration::from_secs(60)),
        host: "h".into(),
        meta: vec![],
        sent_at: Some(Duration::from_secs(1)),
        addrs: Default::default(),
    };
    for n in 0..5 {
        let now = Now { elapsed: Duration::from_secs(20 * n), unix_nanos: 1 << 60 };
        table.insert_own(now, n, (&beat, b"x"), Roles::NONE);
        for seed in 2..7 {
            let (peer, via, roles) = (peer(seed), Via::Gossip, Roles::NONE);
            let arrival =
                Arrival { peer, seq: n, from: peer, beat: &beat, signed: b"x", via, roles };
            table.insert(now, arrival);
        }
    }
    table
}

thread_local! {
    static TABLE: Table = table();
}

fuzz_target!(|data: &[u8]| {
    if let Ok(suspects) = Suspects::decode(data) {
        assert!(data.len() <= Suspects::MAX_LEN && suspects.0.len() <= Suspects::MAX);
        assert_eq!(Suspects::decode(&suspects.encode()).as_ref(), Ok(&suspects));
    }
    TABLE.with(|table| {
        let mut suspicion = Suspicion::new(peer(1), false, Duration::ZERO);
        for (from, seq) in [(peer(2), 1), (peer(2), 2), (peer(99), 1)] {
            suspicion.hear(NOW, (from, seq), data, table);
        }
        let mut now = NOW;
        while let Some(next) = suspicion.next() {
            assert!(next > now && suspicion.len() <= Suspects::MAX, "it comes to rest");
            now = next;
            for action in suspicion.act(now, table) {
                assert!(!matches!(action, Action::Remove(..)), "one accuser is not enough");
            }
        }
    });
});
