//! Streams over loopback sockets.

use super::*;
use crate::{
    ErrorKind, Keypair, PeerInfo, config::Limits, event::EventBus, host::Host, metrics::ByLabel,
};
use futures::{AsyncReadExt, AsyncWriteExt, future::join_all};
use std::{io, time::Duration};
use tokio::time::timeout;

pub(super) struct TestNode {
    pub(super) streams: Streams,
    host: Host,
    scope: Scope,
}

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// What every wait is bounded by; none is expected to come near.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), what).await.expect("it happens within 30 s")
}

impl TestNode {
    async fn start(listen: &str) -> Self {
        let (scope, metrics, limits) = (Scope::default(), Metrics::default(), Limits::default());
        let (key, listen) = (Keypair::generate_ed25519(), [listen.parse().unwrap()]);
        let host = Host::start(key, &listen, &limits, &metrics, EventBus::default(), &scope, 0);
        let host = host.await.unwrap();
        let streams = Streams::new(Connector::new(host.clone()), &metrics, &scope);
        Self { streams, host, scope }
    }

    fn info(&self) -> PeerInfo {
        self.host.record().borrow().info().clone()
    }

    fn refused(&self) -> &ByLabel {
        self.streams.places.refused()
    }

    async fn close(self) {
        assert!(self.scope.close(Duration::from_secs(5)).await);
    }
}

async fn pair(listen: &str) -> (TestNode, TestNode) {
    (TestNode::start(listen).await, TestNode::start(listen).await)
}

#[tokio::test]
async fn bytes_go_both_ways_and_each_end_closes_its_own() {
    for listen in [TCP, QUIC] {
        let (a, b) = pair(listen).await;
        let served = b.streams.on_stream("/echo/1", |mut stream, peer| async move {
            assert_eq!((stream.peer(), stream.protocol()), (peer, "/echo/1"));
            let mut all = Vec::new();
            // Until the other end is closed; this one goes on.
            stream.read_to_end(&mut all).await.unwrap();
            stream.write_all(&all).await.unwrap();
            stream.write_all(b" too").await.unwrap();
            stream.close().await.unwrap();
        });
        let served = served.unwrap();
        assert_eq!(served.protocol(), "/echo/1");
        let mut stream = a.streams.open(b.info(), "/echo/1").await.unwrap();
        assert_eq!((stream.peer(), stream.protocol()), (b.host.id(), "/echo/1"));
        let sent = vec![7; 1 << 20];
        soon(stream.write_all(&sent)).await.unwrap();
        soon(stream.close()).await.unwrap();
        assert!(stream.write_all(b"more").await.is_err());
        let mut back = Vec::new();
        soon(stream.read_to_end(&mut back)).await.unwrap();
        assert_eq!(back, [&sent[..], b" too"].concat());

        // By tokio's traits as well.
        let mut stream = a.streams.open(b.info(), "/echo/1").await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"me").await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut stream).await.unwrap();
        let mut back = String::new();
        soon(tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut back)).await.unwrap();
        assert_eq!(back, "me too");

        // A handle that is dropped stops nothing.
        let kept = served.clone();
        drop(served);
        a.streams.open(b.info(), "/echo/1").await.unwrap();
        kept.stop();
        soon(async {
            while !matches!(a.streams.open(b.info(), "/echo/1").await, Err(e) if e.kind() == ErrorKind::Protocol)
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        let _again = b.streams.accept("/echo/1").unwrap();
        a.close().await;
        b.close().await;
    }
}

#[tokio::test]
async fn a_stream_that_is_dropped_is_reset() {
    let (a, b) = pair(TCP).await;
    let mut incoming = b.streams.accept("/x").unwrap();
    let mut stream = a.streams.open(b.info(), "/x").await.unwrap();
    stream.write_all(b"half").await.unwrap();
    let mut taken = soon(incoming.next()).await.unwrap();
    let mut half = [0; 4];
    soon(taken.read_exact(&mut half)).await.unwrap();
    drop(stream);
    let error = soon(taken.read(&mut half)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let error = soon(taken.write_all(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{error}");
    // An end that is no reset looks otherwise, also if it is dropped at once.
    let mut stream = a.streams.open(b.info(), "/x").await.unwrap();
    stream.close().await.unwrap();
    drop(stream);
    let mut taken = soon(incoming.next()).await.unwrap();
    assert_eq!(soon(taken.read(&mut half)).await.unwrap(), 0);
    a.close().await;
    b.close().await;
}

/// Who reads looks at an end whether it was a reset, and must not keep who writes
/// from being woken.
#[tokio::test]
async fn who_waits_to_write_is_woken_after_the_other_end_is_closed() {
    let (a, b) = pair(TCP).await;
    let mut incoming = b.streams.accept("/x").unwrap();
    let stream = a.streams.open(b.info(), "/x").await.unwrap();
    let mut taken = soon(incoming.next()).await.unwrap();
    let (mut reading, mut writing) = tokio::io::split(stream);
    let many = vec![1; 1 << 20];
    let writes = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut writing, &many).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut writing).await.unwrap();
    });
    taken.close().await.unwrap();
    let reads = tokio::spawn(async move {
        let mut one = [0];
        assert_eq!(tokio::io::AsyncReadExt::read(&mut reading, &mut one).await.unwrap(), 0);
    });
    soon(reads).await.unwrap();
    let mut all = Vec::new();
    soon(taken.read_to_end(&mut all)).await.unwrap();
    assert_eq!(all.len(), 1 << 20);
    soon(writes).await.unwrap();
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn of_a_peer_sixty_four_are_taken_and_the_others_reset() {
    for listen in [TCP, QUIC] {
        let (a, b) = pair(listen).await;
        let mut incoming = b.streams.accept("/x").unwrap();
        let opened = (0..Places::OF_PEER).map(|_| a.streams.open(b.info(), "/x"));
        let mut opened: Vec<_> =
            soon(join_all(opened)).await.into_iter().map(Result::unwrap).collect();
        let error = a.streams.open(b.info(), "/x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        let mut taken = Vec::new();
        for _ in 0..Places::OF_PEER {
            taken.push(soon(incoming.next()).await.unwrap());
        }
        // One who doesn't count.
        let protocol = protocol::check("/x").unwrap();
        let mut more = a.host.open_stream(b.host.id(), protocol).await.unwrap();
        let reset = async {
            let (mut byte, kind) = ([0], b.refused().get_or_create(&[("reason", "peer")]));
            while kind.get() == 0 {
                let _ = timeout(Duration::from_millis(5), incoming.next()).await;
            }
            // Nothing comes, and nothing can be said.
            assert!(!matches!(more.read(&mut byte).await, Ok(1)));
            while more.write_all(&[0; 1000]).await.is_ok() {}
        };
        soon(reset).await;
        // Those that end make room on both sides.
        drop((opened.pop(), taken.pop()));
        opened.push(soon(a.streams.open(b.info(), "/x")).await.unwrap());
        soon(incoming.next()).await.unwrap();
        a.close().await;
        b.close().await;
    }
}

#[tokio::test]
async fn what_is_not_acceptable_is_told_apart() {
    let (a, b) = pair(TCP).await;
    let kind = async |protocol: &str| {
        let opened = a.streams.open(b.info(), protocol).await;
        opened.unwrap_err().kind()
    };
    assert_eq!(kind("/nobody/takes/it").await, ErrorKind::Protocol);
    assert_eq!(kind("/casm/0.0.0/casm/view").await, ErrorKind::Config);
    let error = b.streams.accept("/meshsub/1.2.0").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let taken = b.streams.accept("/x").unwrap();
    let error = b.streams.on_stream("/x", |_, _| std::future::ready(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    drop(taken);
    let mut again = b.streams.accept("/x").unwrap();
    let stream = a.streams.open(b.info(), "/x").await.unwrap();
    drop(soon(again.next()).await.unwrap());
    drop(stream);

    // A handler that panics takes its own stream with it, and no other.
    b.streams
        .on_stream("/panics", |mut stream, _| async move {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            assert_eq!(byte, [0], "on purpose");
            stream.write_all(&byte).await.unwrap();
        })
        .unwrap();
    for says in [1, 0] {
        let mut stream = a.streams.open(b.info(), "/panics").await.unwrap();
        stream.write_all(&[says]).await.unwrap();
        assert_eq!(soon(stream.read_exact(&mut [9])).await.is_ok(), says == 0);
    }

    // What is open ends with the node, and nothing more is taken.
    let mut stream = a.streams.open(b.info(), "/x").await.unwrap();
    let streams = b.streams.clone();
    b.close().await;
    assert!(soon(stream.read_exact(&mut [0])).await.is_err());
    assert!(soon(again.next()).await.is_none());
    assert_eq!(streams.accept("/y").unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(streams.open(a.info(), "/x").await.unwrap_err().kind(), ErrorKind::Closed);
    a.close().await;
}
