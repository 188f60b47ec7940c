//! Strangers that connect to a member again and again, over loopback sockets.

mod certified;
mod raw;

use casm::Keypair;
use certified::{QUIC, TCP, member, metric, until};
use std::time::{Duration, Instant};

/// How many handshakes a network may waste at once; then two a second.
const BURST: u64 = 32;
/// How often the stranger comes.
const TRIES: u64 = 150;

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_ends_at_the_gate_is_charged_to_the_network_it_came_from() {
    for listen in [TCP, QUIC] {
        let of = |n| member(n, listen).pex(None).start();
        let [one, other] = [of(1).await.unwrap(), of(2).await.unwrap()];
        one.connect(&other.info()).await.unwrap();
        let addr = one.info().addrs[0].clone();
        let began = Instant::now();
        for nth in 0..TRIES {
            let key = Keypair::generate_ed25519();
            let mut transport = raw::transport(&key, &addr);
            // What comes of it is for the member to say.
            let dial = tokio::time::timeout(Duration::from_secs(1), async {
                let (_, mut muxer) = raw::dial(&mut transport, &addr).await.ok()?;
                let mut stream = raw::open(&mut muxer).await?;
                let told = raw::read_to_end(&mut stream, Duration::from_millis(1));
                raw::on(&mut muxer, told).await
            });
            let _ = dial.await;
            if nth >= BURST
                && metric(&one, "casm_strangers_refused_total{reason=\"no-handshake\"}") > 20
            {
                break;
            }
        }
        until("no handshake is begun any more", || {
            metric(&one, "casm_strangers_refused_total{reason=\"no-handshake\"}") > 20
        })
        .await;
        let (gate, took) = (metric(&one, "casm_admit_refused_total{"), began.elapsed());
        println!("{listen}: {gate} handshakes in {took:?}");
        // One may have been under way each time that it was looked.
        assert!(gate >= BURST && gate <= BURST + 2 * took.as_secs() + 4, "{gate} in {took:?}");
        assert!(one.connected().contains(&other.id()));
        for node in [one, other] {
            node.close().await.unwrap();
        }
    }
}
