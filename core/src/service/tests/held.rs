//! What a request takes of what there is for all, and for how long.

use super::hostile::{node, soon};
use crate::{
    ErrorKind, Node,
    service::{CallOptions, Request, ServeOptions, Serving},
};
use futures::FutureExt as _;
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::Notify;

async fn until(what: impl Fn() -> bool) {
    soon(async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A service that keeps its requests, and never answers.
fn keeps(node: &Node, service: &str, max_inflight: usize) -> Arc<Mutex<Vec<Request>>> {
    let kept = Arc::<Mutex<Vec<_>>>::default();
    let keep = kept.clone();
    let options = ServeOptions::default().max_inflight(max_inflight);
    node.serve_with(service, &options, move |request| {
        keep.lock().unwrap().push(request);
        std::future::pending::<Result<(), Infallible>>()
    })
    .unwrap();
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_takes_its_place_and_its_bytes_as_long_as_the_handler_keeps_it() {
    let (a, b) = (node().await, node().await);
    let few = keeps(&b, "few", 2);
    let large = keeps(&b, "large", 1000);
    b.serve("echo", async |request: Request| Ok::<_, Infallible>(request.data().to_vec())).unwrap();
    a.connect(&b.info()).await.unwrap();
    let to = || CallOptions::new().peer(b.id());
    let ask = async |caller: &Node, service: &str, bytes: usize| {
        let short = to().timeout(Duration::from_millis(50));
        caller.call_with(service, vec![0; bytes], short).await.unwrap_err().kind()
    };
    let in_flight = |service: &str| b.service_stats(service).unwrap().in_flight;
    for caller in [&a, &b] {
        while few.lock().unwrap().len() < 2 {
            assert_eq!(ask(caller, "few", 1).await, ErrorKind::Timeout);
        }
        until(|| few.lock().unwrap().iter().all(Request::is_cancelled)).await;
        assert_eq!(ask(caller, "few", 1).await, ErrorKind::Busy);
        assert_eq!(in_flight("few"), 2);
        let mut one = few.lock().unwrap().pop().unwrap();
        one.let_go();
        assert!(one.data().is_empty() && one.is_cancelled());
        until(|| in_flight("few") == 1).await;
        few.lock().unwrap().clear();
        until(|| in_flight("few") == 0).await;
    }

    // A peer has 16 MiB: what it gave up is still held.
    let mut asked = 0;
    while ask(&a, "large", 1 << 20).await != ErrorKind::Busy {
        asked += 1;
        assert!(asked < 1000);
    }
    let held: usize = large.lock().unwrap().iter().map(|request| request.data().len()).sum();
    assert!((4 << 20..=16 << 20).contains(&held), "{held}");
    let data = vec![0; 1 << 20];
    let refused = a.call_with("echo", data.clone(), to()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy, "{refused}");
    large.lock().unwrap().clear();
    assert_eq!(a.call_with("echo", data.clone(), to()).await.unwrap().data, data);
    a.close().await.unwrap();
    b.close().await.unwrap();
}

/// A service whose handler refers to something, and waits to be let go on.
fn refers(node: &Node, service: &str, to: &Arc<()>, go: &Arc<Notify>) -> Serving {
    let (to, go) = (to.clone(), go.clone());
    let handler = move |_| {
        let (_referred, go) = (&to, go.clone());
        async move {
            go.notified().await;
            Ok::<_, Infallible>("done")
        }
    };
    node.serve(service, handler).unwrap()
}

#[tokio::test]
async fn a_handler_is_let_go_of_when_it_is_stopped_though_it_works_on_something() {
    let (node, to, go) = (node().await, Arc::new(()), Arc::default());
    let serving = refers(&node, "slow", &to, &go);
    let mut call = Box::pin(node.call("slow", ""));
    soon(async {
        while node.service_stats("slow").unwrap().in_flight == 0 {
            assert!((&mut call).now_or_never().is_none());
            tokio::task::yield_now().await;
        }
    })
    .await;
    serving.stop();
    until(|| Arc::strong_count(&to) == 1).await;
    go.notify_one();
    assert_eq!(soon(call).await.unwrap().data, b"done");
    node.close().await.unwrap();
}

/// Who holds what a closed node has given keeps none of its handlers.
#[tokio::test]
async fn a_handler_is_let_go_of_when_its_node_closes() {
    for closes in [true, false] {
        let (node, to, go) = (node().await, Arc::new(()), Arc::default());
        let serving = refers(&node, "slow", &to, &go);
        let mut replies = node.call_all("slow", "", CallOptions::new()).unwrap();
        assert!(replies.next().now_or_never().is_none());
        if closes {
            node.close().await.unwrap();
            assert_eq!(node.services(), [""; 0]);
        }
        drop(node);
        until(|| Arc::strong_count(&to) == 1).await;
        serving.stop();
        drop(replies);
    }
}
