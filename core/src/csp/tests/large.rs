//! Large values, and those who take them slowly.

use super::*;
use crate::{csp::links::PLAIN, schema::csp_capnp::channels};
use futures::future::try_join_all;

const MIB: usize = 1 << 20;

#[tokio::test]
async fn large_values_go_both_ways_over_one_connection() {
    const N: usize = 24;
    // The network holds 256 KiB of it.
    const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
    let start = || Place::start_at(QUIC, Limits::default());
    let (owner, other) = (start().await, start().await);
    let (there, back) = (owner.channel("there", N), owner.channel("back", N));
    for _ in 0..N {
        back.send(vec![1; MIB]).await.unwrap();
    }
    let (sends, receives) = (other.open("there", &owner).await, other.open("back", &owner).await);
    // All of them under way at a time.
    let sent = try_join_all((0..N).map(|_| sends.send(vec![2; MIB])));
    let received = try_join_all((0..N).map(|_| receives.recv()));
    let both = async { tokio::try_join!(sent, received) };
    // Where both ends stop reading, nothing moves for a minute.
    let (_, received) = within(both).await.unwrap();
    assert!(received.iter().all(|value| value.len() == MIB));
    assert_eq!(there.waiting(), Some(N));
    for node in [&owner, &other] {
        assert!(!node.vat.metrics.encode().contains("casm_rpc_ended_total{"), "a stream ended");
    }
    owner.close().await;
    other.close().await;
}

#[tokio::test]
async fn values_for_which_there_is_no_room_are_for_others() {
    const N: usize = 40;
    let (owner, slow, honest) = (Place::start().await, Place::start().await, Place::start().await);
    let own = owner.channel("jobs", N);
    slow.vat.host.connect(&owner.vat.info()).await.unwrap();
    let remote = slow.vat.vat.connect_as::<channels::Client>(owner.id(), "chan", PLAIN);
    let remote = remote.await.unwrap();
    // Asks for many values, and stops the thread on which it would read them.
    let (tell, asked) = tokio::sync::oneshot::channel();
    let (go_on, stopped) = std::sync::mpsc::channel::<()>();
    let asking = tokio::spawn(async move {
        let work = remote.with(async move |channels: channels::Client| {
            let member = hostile::join(&channels, "jobs", 1).await?;
            let leases: Vec<_> = (0..N).map(|_| hostile::lease(&member, 60_000).promise).collect();
            // What was asked is written when there was an answer to something later.
            let mut request = member.renew_request();
            request.get().init_leases(0);
            request.send().promise.await?;
            let _ = tell.send(());
            let _ = stopped.recv();
            drop(leases);
            Ok(())
        });
        work.await
    });
    within(asked).await.unwrap();
    for _ in 0..N {
        within(own.send(vec![3; MIB])).await.unwrap();
    }
    // What its connection takes in is its; all others are to be had.
    let channel = honest.open("jobs", &owner).await;
    let mut got = 0;
    while let Ok(value) = channel.recv_timeout(3000 * MS).await {
        assert_eq!(value.len(), MIB);
        got += 1;
    }
    println!("{got} of {N}");
    let queued = owner.vat.metrics.encode();
    let queued = queued.lines().find_map(|line| line.strip_prefix("casm_rpc_queued_bytes "));
    let queued: usize = queued.unwrap().parse().unwrap();
    assert!(queued < 2 * MIB, "{queued} bytes wait for it");
    assert!(got >= N / 2, "{got} of {N}");
    drop(go_on);
    let _ = within(asking).await;
    for place in [owner, slow, honest] {
        place.close().await;
    }
}
