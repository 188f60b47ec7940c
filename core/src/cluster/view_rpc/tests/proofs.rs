//! Records that come with what proves them, and with what does not.

use super::*;
use crate::pubsub::signed::SignedMessage;

const SEQ: u64 = 1 << 60;

fn key(n: u8) -> Keypair {
    Keypair::ed25519_from_bytes([n; 32]).unwrap()
}

fn beat(host: &str) -> Heartbeat {
    let (ttl, meta) = (Some(Duration::from_secs(10)), vec!["b=1".into(), "a=2".into()]);
    Heartbeat { server: 7, ttl, host: host.into(), meta, sent_at: None, addrs: Default::default() }
}

fn signed(n: u8, topic: &str, seq: u64, beat: &Heartbeat) -> Vec<u8> {
    SignedMessage::sign(&key(n), topic, seq, &beat.encode()).unwrap().encoded().to_vec()
}

/// A view of records with these proofs.
fn proven_by(proofs: &[(u8, Vec<u8>)]) -> View {
    let mut table = empty();
    for (n, signed) in proofs {
        let (peer, from, beat, via) = (peer(*n), peer(*n), &beat("h"), Via::Gossip);
        let roles = Roles::NONE;
        let arrival = Arrival { peer, seq: SEQ, from, beat, signed, via, roles };
        let now = Now { elapsed: Duration::ZERO, unix_nanos: u64::MAX / 2 };
        assert!(table.insert(now, arrival).is_accepted());
    }
    table.view()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_verified_hearsay_is_told_and_forgery_ends_the_query() {
    const TCP: &str = "/ip4/127.0.0.1/tcp/0";
    let a = rpc::TestVat::start(TCP, RpcLimits::default()).await;
    let b = rpc::TestVat::start(TCP, RpcLimits::default()).await;
    let good = |n| signed(n, "casm", SEQ, &beat("h"));
    let local = proven_by(&[(1, good(1)), (2, Vec::new()), (3, good(3))]);
    let served = std::sync::Arc::new(std::sync::Mutex::new(local.clone()));
    let latest = served.clone();
    let _export = serve(&b.vat, move || latest.lock().unwrap().clone()).unwrap();
    a.host.connect(&b.info()).await.unwrap();
    let remote = RemoteView::connect(a.vat.clone(), b.host.id()).await.unwrap();
    for query in [Query::all(), Query::all().reverse()] {
        let found = collect(remote.iter(query.clone())).await.unwrap();
        assert_eq!(found, local.iter(query).collect::<Vec<_>>());
        assert!(found.iter().all(|r| r.verified() == (r.peer() != peer(2))), "{found:?}");
    }
    assert!(remote.get(&peer(3)).await.unwrap().unwrap().verified());
    assert!(!remote.get(&peer(2)).await.unwrap().unwrap().verified());
    assert!(local.iter(Query::all()).all(|record| record.verified()));

    let mut forged = good(1);
    *forged.last_mut().unwrap() ^= 1;
    let long = Heartbeat { meta: vec![format!("k={}", "v".repeat(4200))], ..beat("h") };
    for wrong in [
        forged,
        b"no message".to_vec(),
        good(4),
        signed(1, "other", SEQ, &beat("h")),
        signed(1, "casm", SEQ + 1, &beat("h")),
        signed(1, "casm", SEQ, &beat("other")),
        signed(1, "casm", SEQ, &Heartbeat { ttl: None, ..beat("h") }),
        signed(1, "casm", SEQ, &long),
    ] {
        *served.lock().unwrap() = proven_by(&[(3, good(3)), (1, wrong)]);
        for error in [
            collect(remote.iter(Query::all())).await.err(),
            collect(remote.iter(Query::all().reverse())).await.err(),
            remote.get(&peer(1)).await.err(),
            remote.count(&Query::all()).await.err(),
        ] {
            let error = error.expect("it is forged");
            assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
            assert!(error.message().contains(&peer(1).to_base58()), "{error}");
        }
        assert!(remote.get(&peer(3)).await.unwrap().unwrap().verified());
    }
    // What was said an hour ago, and can have been kept by anybody, proves nothing;
    // and that costs no other record its proof.
    let now = Duration::from_nanos(crate::record::unix_nanos());
    for (ago, verified) in [(3600, false), (60, true)] {
        let sent_at = Some(now - Duration::from_secs(ago));
        let said = signed(1, "casm", SEQ, &Heartbeat { sent_at, ..beat("h") });
        *served.lock().unwrap() = proven_by(&[(1, said), (3, good(3))]);
        let found = collect(remote.iter(Query::all())).await.unwrap();
        assert_eq!(found.len(), 2);
        for record in found {
            assert_eq!(record.verified(), verified || record.peer() == peer(3), "{ago} {record:?}");
        }
    }
    // A proof that is too long to be kept is none.
    *served.lock().unwrap() = proven_by(&[(1, vec![7; Table::MAX_SIGNED + 1])]);
    assert!(!remote.get(&peer(1)).await.unwrap().unwrap().verified());
    a.close().await;
    b.close().await;
}
