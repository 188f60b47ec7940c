//! What a paused node does with topics, services, streams and channels: what is its
//! own works, what needs another node fails at once with `Paused`, and both are there
//! again after the resume.

mod members;

use casm::{
    ChannelOptions, ErrorKind, Node, Result, Target,
    service::{CallOptions, Parts, Request},
};
use futures::{AsyncReadExt, AsyncWriteExt};
use members::*;
use std::{convert::Infallible, fmt::Debug, future::pending, time::Duration};

/// A loop that would wait for the resume, or for some deadline, fails in this.
const AT_ONCE: Duration = Duration::from_secs(5);

async fn is_paused<T: Debug>(what: &str, call: impl Future<Output = Result<T>>) {
    let call = tokio::time::timeout(AT_ONCE, call).await;
    let error = call.unwrap_or_else(|_| panic!("{what} waits")).expect_err(what);
    assert_eq!(error.kind(), ErrorKind::Paused, "{what}: {error}");
}

/// What waits when the node is paused, or comes at once.
fn waits<T: Send + 'static>(
    call: impl Future<Output = Result<T>> + Send + 'static,
) -> tokio::task::JoinHandle<Result<T>> {
    tokio::spawn(call)
}

async fn resumed(a: &Node, b: &Node) {
    a.resume().await.unwrap();
    for node in [a, b] {
        soon(node.wait_for(2)).await.unwrap();
    }
    // The record that was left is another one than that of who is back.
    until(|| b.view().get(&a.id()).is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_of_others_fail_and_own_ones_answer() {
    let [a, b] = cluster().await;
    for node in [&a, &b] {
        node.serve("both", echo).unwrap();
    }
    a.serve("own", echo).unwrap();
    b.serve("echo", echo).unwrap();
    b.serve("hangs", |_: Request| pending::<Result<Vec<u8>, Infallible>>()).unwrap();
    b.serve_stream("parts", |_: Request, parts: Parts| async move {
        let _ = parts.send(b"one".to_vec()).await;
        pending::<Result<(), Infallible>>().await
    })
    .unwrap();
    for (node, name, n) in [(&a, "both", 2), (&a, "hangs", 1), (&a, "parts", 1), (&b, "own", 1)] {
        sees(node, name, n).await;
    }
    assert_eq!(soon(a.call("echo", "hi")).await.unwrap().data, b"hi");

    let calling = ["once", "idempotent"].map(|how| {
        let a = a.clone();
        let options = match how {
            "once" => CallOptions::new().timeout(None),
            _ => CallOptions::new().timeout(None).idempotent(),
        };
        waits(async move { a.call_with("hangs", "", options).await })
    });
    let awaiting = waits({
        let a = a.clone();
        async move { a.call_with("never", "", CallOptions::new().timeout(None).wait()).await }
    });
    let mut parts = a.call_stream("parts", "", CallOptions::new()).unwrap();
    assert_eq!(soon(parts.next()).await.unwrap().unwrap(), b"one");
    until(|| b.service_stats("hangs").unwrap().in_flight == 2).await;
    a.pause().await.unwrap();

    for call in calling {
        is_paused("a call that was under way", async { call.await.unwrap() }).await;
    }
    is_paused("a call that waits for a member", async { awaiting.await.unwrap() }).await;
    is_paused("parts", async { parts.next().await.unwrap() }).await;
    until(|| b.service_stats("hangs").unwrap().in_flight == 0).await;
    is_paused("a call", a.call("echo", "")).await;
    is_paused("a call of nobody's", a.call("never", "")).await;
    let options = CallOptions::new().timeout(None).wait();
    is_paused("a call that would wait", a.call_with("echo", "", options)).await;
    is_paused("a call of one", a.call_with("echo", "", to(&b))).await;
    let mut parts = a.call_stream("parts", "", CallOptions::new()).unwrap();
    is_paused("parts", async { parts.next().await.unwrap() }).await;
    let mut replies = a.call_all("both", "", CallOptions::new()).unwrap();
    for _ in 0..2 {
        let reply = soon(replies.next()).await.unwrap();
        match reply.peer == a.id() {
            true => drop(reply.result.unwrap()),
            false => is_paused("one of all", async { reply.result }).await,
        }
    }
    for name in ["own", "both", "both", "both", "both", "both"] {
        assert_eq!(soon(a.call(name, "home")).await.unwrap().peer, a.id());
    }
    a.serve("later", echo).unwrap();
    let error = soon(b.call("own", "")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "who has left serves nothing: {error}");

    resumed(&a, &b).await;
    assert_eq!(soon(a.call_with("echo", "again", to(&b))).await.unwrap().data, b"again");
    for name in ["own", "later"] {
        let wait = || CallOptions::new().wait();
        assert_eq!(soon(b.call_with(name, "back", wait())).await.unwrap().peer, a.id());
    }
    close([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_live_on_and_nothing_is_published() {
    let [a, b] = cluster().await;
    let [from, to] = [&a, &b].map(|node| node.topic("news").unwrap());
    let [mut back, mut there] = [&from, &to].map(|topic| topic.subscribe());
    for topic in [&from, &to] {
        soon(topic.wait_for_peers(1)).await.unwrap();
    }
    assert_eq!(soon(from.publish("1")).await.unwrap(), 1);
    assert_eq!(soon(there.next()).await.unwrap().data(), b"1");

    a.pause().await.unwrap();
    is_paused("publish", from.publish("lost")).await;
    assert_eq!(from.peers(), []);
    let later = a.topic("later").unwrap();
    let mut late = later.subscribe();
    is_paused("publish on a new one", later.publish("lost")).await;
    until(|| to.peers().is_empty()).await;
    assert_eq!(soon(to.publish("missed")).await.unwrap(), 0);
    let peers = waits({
        let from = from.clone();
        async move { from.wait_for_peers(1).await }
    });

    resumed(&a, &b).await;
    assert_eq!(soon(peers).await.unwrap().unwrap(), [b.id()], "a wait goes on over a pause");
    soon(to.wait_for_peers(1)).await.unwrap();
    assert_eq!(soon(from.publish("2")).await.unwrap(), 1);
    assert_eq!(soon(there.next()).await.unwrap().data(), b"2", "once each, and no more");
    soon(to.publish("3")).await.unwrap();
    // What was published meanwhile may come, or not.
    while soon(back.next()).await.unwrap().data() != b"3" {}
    let other = b.topic("later").unwrap();
    soon(other.wait_for_peers(1)).await.unwrap();
    soon(other.publish("4")).await.unwrap();
    assert_eq!(soon(late.next()).await.unwrap().data(), b"4");
    close([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_and_are_taken_again_after_the_resume() {
    const SHOUT: &str = "/shout/1";
    let [a, b] = cluster().await;
    let _served = [&a, &b].map(|node| {
        let shout = |mut stream: casm::ByteStream, _| async move {
            let mut byte = [0];
            while matches!(stream.read(&mut byte).await, Ok(1)) {
                let _ = stream.write_all(&byte.map(|b| b.to_ascii_uppercase())).await;
                let _ = stream.flush().await;
            }
        };
        node.on_stream(SHOUT, shout).unwrap()
    });
    async fn asks(stream: &mut casm::ByteStream) {
        stream.write_all(b"x").await.unwrap();
        stream.flush().await.unwrap();
        let mut byte = [0];
        soon(stream.read_exact(&mut byte)).await.unwrap();
        assert_eq!(&byte, b"X");
    }
    let mut streams = [
        soon(a.open_stream(b.id(), SHOUT)).await.unwrap(),
        soon(b.open_stream(a.id(), SHOUT)).await.unwrap(),
    ];
    for stream in &mut streams {
        asks(stream).await;
    }
    a.pause().await.unwrap();
    for stream in &mut streams {
        let read = soon(stream.read(&mut [0])).await;
        assert!(!matches!(read, Ok(1..)), "{read:?}");
    }
    is_paused("open_stream", a.open_stream(b.id(), SHOUT)).await;
    is_paused("open_stream", a.open_stream(b.info(), SHOUT)).await;

    resumed(&a, &b).await;
    asks(&mut soon(a.open_stream(b.id(), SHOUT)).await.unwrap()).await;
    asks(&mut soon(b.open_stream(a.id(), SHOUT)).await.unwrap()).await;
    close([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_of_others_fail_and_own_ones_work() {
    let [a, b] = cluster().await;
    let options = || ChannelOptions::new().capacity(2);
    let [own, theirs] =
        [(&a, "own"), (&b, "theirs")].map(|(n, c)| n.channel(c, options()).unwrap());
    let far = soon(a.open_channel("theirs", Target::from(b.id()))).await.unwrap();
    let ours = soon(b.open_channel("own", Target::from(a.id()))).await.unwrap();
    b.semaphore("leader", 1).await.unwrap();
    let leader = soon(a.open_semaphore("leader", Target::from(b.id()))).await.unwrap();
    soon(far.send("1")).await.unwrap();
    assert_eq!(soon(theirs.recv()).await.unwrap(), b"1");
    // A job that is not done goes back with the connection.
    soon(ours.send("2")).await.unwrap();
    let job = soon(ours.take()).await.unwrap();
    let receiving = waits({
        let far = far.clone();
        async move { far.recv().await }
    });

    a.pause().await.unwrap();
    is_paused("a receive that waits", async { receiving.await.unwrap() }).await;
    is_paused("recv", far.recv()).await;
    is_paused("send", far.send("lost")).await;
    is_paused("send with a deadline", far.send_timeout("lost", 2 * AT_ONCE)).await;
    is_paused("open", a.open_channel("theirs", Target::from(b.id()))).await;
    is_paused("open by name", a.open_channel("theirs", None)).await;
    is_paused("acquire", leader.acquire()).await;
    is_paused("open a semaphore", a.open_semaphore("leader", Target::from(b.id()))).await;
    soon(job.lost()).await;
    assert_eq!(soon(own.recv()).await.unwrap(), b"2");
    soon(own.send("3")).await.unwrap();
    a.channel("later", options()).unwrap();

    resumed(&a, &b).await;
    assert_eq!(soon(ours.recv()).await.unwrap(), b"3");
    soon(far.send("4")).await.unwrap();
    assert_eq!(soon(theirs.recv()).await.unwrap(), b"4", "what failed was not sent");
    drop(soon(leader.acquire()).await.unwrap());
    soon(b.open_channel("later", Target::from(a.id()))).await.unwrap();
    close([a, b]).await;
}
