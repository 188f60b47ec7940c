//! What is opened at another node has a time limit, also where that never answers.

use casm::{DEFAULT_TIMEOUT, ErrorKind, Node, NodeBuilder, PeerId, PeerInfo, Result, Target};
use std::{fmt::Debug, future::Future, time::Duration};
use tokio::{
    net::TcpListener,
    time::{Instant, pause, resume},
};

fn builder() -> NodeBuilder {
    Node::builder().namespace("test").listen("/ip4/127.0.0.1/tcp/0").boot(["none"]).pex(None)
}

/// A peer that takes connections, and says nothing.
async fn mute() -> (PeerInfo, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let addrs = vec![format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()];
    (PeerInfo { id: PeerId::random(), addrs }, listener)
}

/// How long it took until this was given up, on a clock that goes on when nothing
/// else does.
async fn given_up<T: Debug>(what: impl Future<Output = Result<T>>) -> Duration {
    let begun = Instant::now();
    let error = what.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.message().contains("within"), "{error}");
    begun.elapsed()
}

#[tokio::test]
async fn what_is_opened_at_a_peer_that_never_answers_is_given_up_in_time() {
    let node = builder().start().await.unwrap();
    let (peer, listener) = mute().await;
    let accepting = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    assert_eq!(DEFAULT_TIMEOUT, Duration::from_secs(10));
    for limit in [None, Some(Duration::from_secs(3))] {
        let expected = limit.unwrap_or(DEFAULT_TIMEOUT);
        pause();
        let took = match limit {
            None => [
                given_up(node.open_stream(&peer, "/x/1")).await,
                given_up(node.open_channel("jobs", Target::from(&peer))).await,
                given_up(node.open_semaphore("leader", Target::from(&peer))).await,
            ],
            Some(limit) => [
                given_up(node.open_stream_within(&peer, "/x/1", limit)).await,
                given_up(node.open_channel_within("jobs", Target::from(&peer), limit)).await,
                given_up(node.open_semaphore_within("leader", Target::from(&peer), limit)).await,
            ],
        };
        resume();
        for took in took {
            assert!((expected..expected + Duration::from_millis(10)).contains(&took), "{took:?}");
        }
    }
    // With no limit it is for the attempts to connect to end it.
    let unlimited = node.open_stream_within(&peer, "/x/1", None);
    let still = tokio::time::timeout(Duration::from_millis(100), unlimited).await;
    assert!(still.is_err(), "{still:?}");
    accepting.abort();
    node.close().await.unwrap();
}
