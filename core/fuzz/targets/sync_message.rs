//! The frames of an exchange of heartbeats: what is read keeps its limits, is
//! the same when it is written again, and can be compared with any view.
#![no_main]

use casm::cluster::{
    Arrival, Detector, Heartbeat, Limits, Now, Roles, Table, Via, View,
    sync_fuzzing::{self as sync, Frame},
};
use libfuzzer_sys::fuzz_target;
use libp2p::{PeerId, identity::Keypair};
use std::{cell::OnceCell, time::Duration};

/// Peers in a digest, and bytes of a header.
const MAX_ENTRIES: usize = 4096;
const MAX_HEADER: usize = 1024;

thread_local! {
    static VIEW: OnceCell<View> = const { OnceCell::new() };
}

fuzz_target!(|data: &[u8]| {
    let (frames, _) = sync::frames(data);
    let mut rest = data;
    for (frame, written, len) in frames {
        let (read, left) = rest.split_at(len);
        rest = left;
        match frame {
            // May have said what this node skips.
            Frame::Header(_) => {
                assert!(read.len() <= 5 + MAX_HEADER);
                assert_eq!(sync::frames(&written).0[0].0, frame);
                continue;
            }
            Frame::Digest(digest) => {
                assert!(digest.entries.len() <= MAX_ENTRIES);
                VIEW.with(|view| {
                    let view = view.get_or_init(view_of_some);
                    let difference = digest.compare(view);
                    assert!(difference.newer.len() <= view.len());
                    assert!(difference.older.len() <= digest.entries.len());
                });
            }
            Frame::Wanted(ids) => assert!(ids.len() <= MAX_ENTRIES),
            Frame::Handed(_, message) => assert!(message.len() <= Table::MAX_SIGNED),
            Frame::End { .. } => {}
        }
        assert_eq!(read, written);
    }
});

fn view_of_some() -> View {
    let mut table = Table::new(PeerId::random(), Limits::default(), Detector::default(), 1);
    let now = Now { elapsed: Duration::ZERO, unix_nanos: 1 << 60 };
    let ttl = Some(Duration::from_secs(10));
    let beat = Heartbeat {
        server: 1,
        ttl,
        host: "h".into(),
        meta: vec![],
        sent_at: None,
        addrs: Default::default(),
    };
    for seed in 1..9 {
        let key = Keypair::ed25519_from_bytes([seed; 32]).expect("any 32 bytes are a key");
        let (peer, seq) = (key.public().to_peer_id(), seed.into());
        let arrival = Arrival {
            peer,
            seq,
            from: peer,
            beat: &beat,
            signed: b"x",
            via: Via::Gossip,
            roles: Roles::NONE,
        };
        assert!(table.insert(now, arrival).is_accepted());
    }
    table.view()
}
