//! Streams that nobody reads, beside heartbeats.

use casm::{Event, Node, NodeBuilder};
use futures::AsyncWriteExt;
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// What every wait in these tests is bounded by; none is expected to come near.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it happens within 60 s")
}

fn builder(listen: &str) -> NodeBuilder {
    Node::builder().namespace("test").listen(listen).boot(["none"]).pex(None)
}

/// All streams that a peer may have are open in both directions and full, and
/// nobody reads; what each node says of itself is heard by the other all the same.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_stall_hold_up_no_heartbeat() {
    // What negotiating the protocol takes of it is left out.
    const WINDOW: usize = (256 << 10) - 1024;
    for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
        let (a, b) =
            (builder(listen).start().await.unwrap(), builder(listen).start().await.unwrap());
        soon(a.connect(b.info())).await.unwrap();
        soon(a.wait_for(2)).await.unwrap();
        soon(b.wait_for(2)).await.unwrap();
        let mut kept = Vec::new();
        let mut written: Vec<Arc<AtomicUsize>> = Vec::new();
        for (from, to) in [(&a, &b), (&b, &a)] {
            let mut incoming = to.accept_streams("/stall/1").unwrap();
            for _ in 0..64 {
                let mut stream = soon(from.open_stream(to.id(), "/stall/1")).await.unwrap();
                kept.push(soon(incoming.next()).await.unwrap());
                let count = Arc::new(AtomicUsize::new(0));
                written.push(count.clone());
                tokio::spawn(async move {
                    while let Ok(n) = stream.write(&[0; 16 << 10]).await {
                        count.fetch_add(n, Ordering::Relaxed);
                    }
                });
            }
            // The other direction has a protocol of its own.
            drop(incoming);
        }
        // Each has filled its window, and so none takes from another one's.
        soon(async {
            while written.iter().any(|count| count.load(Ordering::Relaxed) < WINDOW) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        for round in ["1", "2"] {
            for (says, hears) in [(&a, &b), (&b, &a)] {
                let mut events = hears.events();
                let change =
                    says.update_meta(|meta| drop(meta.insert("round".into(), round.into())));
                soon(change).await.unwrap();
                let heard = |event: Event| match event {
                    Event::PeerUpdated { record } => {
                        record.peer() == says.id() && record.meta().get("round") == Some(round)
                    }
                    _ => false,
                };
                soon(async { while !heard(events.next().await.unwrap()) {} }).await;
            }
        }
        // They are still full.
        assert_eq!(a.connected(), [b.id()]);
        drop(kept);
        a.close().await.unwrap();
        b.close().await.unwrap();
    }
}
