//! What waits for an answer when a node closes.

use super::hostile::{node, soon};
use crate::{
    ErrorKind,
    service::{CallOptions, Parts},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Parts wait on both sides, and in each place between them.
#[tokio::test(flavor = "multi_thread")]
async fn parts_end_when_the_node_of_either_closes_though_some_wait() {
    for (asks, closes) in [(0, 0), (0, 1), (1, 1)] {
        let nodes = [node().await, node().await];
        nodes[0].connect(&nodes[1].info()).await.unwrap();
        let sent = Arc::new(AtomicUsize::new(0));
        let count = sent.clone();
        let endless = move |_, parts: Parts| {
            let count = count.clone();
            async move {
                loop {
                    parts.send("part").await?;
                    count.fetch_add(1, Ordering::SeqCst);
                }
                #[expect(unreachable_code, reason = "it has a type")]
                Ok::<_, crate::Error>(())
            }
        };
        nodes[1].serve_stream("endless", endless).unwrap();
        let mut parts =
            nodes[asks].call_stream("endless", "", CallOptions::new().peer(nodes[1].id())).unwrap();
        soon(parts.next()).await.unwrap().unwrap();
        // About as many as there is room for.
        soon(async {
            let mut before = 0;
            while before < 5 || before != sent.load(Ordering::SeqCst) {
                before = sent.load(Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        nodes[closes].close_within(Duration::ZERO).await.unwrap();
        let error = loop {
            match soon(parts.next()).await.expect("it has not ended well") {
                Ok(part) => assert_eq!(part, b"part"),
                Err(error) => break error,
            }
        };
        let kind = if asks == closes { ErrorKind::Closed } else { ErrorKind::Unreachable };
        assert_eq!(error.kind(), kind, "{error}");
        assert!(soon(parts.next()).await.is_none());
        for node in nodes {
            node.close().await.unwrap();
        }
    }
}
