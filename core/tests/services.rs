//! Services between nodes on the loopback interface.

mod members;

use casm::{
    ErrorKind, Index, Node, Query,
    service::{CallOptions, Ended, Parts, Reply, Request, ServeOptions},
};
use futures::{StreamExt, future::join_all};
use members::*;
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_found_and_answers_over_the_network_and_at_home() {
    let [a, b] = cluster().await;
    let error = a.call("shout", "hi").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let (own, other) = (a.id(), b.id());
    b.serve_with(
        "shout",
        &ServeOptions::default().version("2"),
        move |request: Request| async move {
            assert!(request.peer() == own || request.peer() == other);
            assert!(request.time_left().unwrap() <= Duration::from_secs(10));
            let headers = request.headers().clone();
            let data = String::from_utf8(request.data().to_vec())?.to_uppercase().into();
            Ok::<_, std::string::FromUtf8Error>(Reply { data, headers })
        },
    )
    .unwrap();
    sees(&a, "shout", 1).await;
    let record = a.view().get(&other).unwrap();
    assert_eq!(record.services().collect::<Vec<_>>(), [("shout", "2")]);
    let reply = a.call_with("shout", "hi", CallOptions::new().header("k", "v")).await.unwrap();
    assert_eq!((reply.text().unwrap(), &*reply.headers["k"], reply.peer), ("HI", "v", other));
    let reply = b.call("shout", "home").await.unwrap();
    assert_eq!((reply.text().unwrap(), reply.peer, reply.headers.len()), ("HOME", other, 0));
    assert_eq!(a.call_with("shout", "", to(&b)).await.unwrap().data, b"");
    let error = a.call("shout", &b"\xff"[..]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Remote);
    assert!(error.message().starts_with("invalid utf-8"), "{error}");

    let stats = b.service_stats("shout").unwrap();
    assert_eq!((stats.calls, stats.in_flight), (4, 0));
    assert_eq!(stats.failures.into_iter().collect::<Vec<_>>(), [("remote", 1)]);
    let metrics = b.metrics().encode();
    for line in [
        "casm_service_calls_total{service=\"shout\"} 4",
        "casm_service_failures_total{service=\"shout\",kind=\"remote\"} 1",
        "casm_service_in_flight{service=\"shout\"} 0",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    assert_eq!(a.service_stats("shout").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(b.services(), ["shout"]);
    close([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_acceptable_is_named() {
    let [a, b] = cluster().await;
    let kind = |result: casm::Result<_>| result.map(drop).unwrap_err().kind();
    for name in ["", "a b", &"x".repeat(49), "\u{e9}"] {
        assert_eq!(kind(a.serve(name, echo)), ErrorKind::Config);
        assert_eq!(a.call(name, "").await.unwrap_err().kind(), ErrorKind::Config);
    }
    let serving = a.serve("echo", echo).unwrap();
    assert_eq!(kind(a.serve("echo", echo)), ErrorKind::Busy);
    let none = ServeOptions::default().max_inflight(0);
    assert_eq!(kind(a.serve_with("x", &none, echo)), ErrorKind::Config);
    let error = a.set_meta([("svc.echo".to_owned(), "1".to_owned())].into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);

    sees(&b, "echo", 1).await;
    let most = vec![7; 1 << 20];
    assert_eq!(b.call("echo", most.clone()).await.unwrap().data, most);
    let error = b.call("echo", vec![0; (1 << 20) + 1]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let many = (0..17).fold(CallOptions::new(), |o, n| o.header(n.to_string(), ""));
    assert_eq!(b.call_with("echo", "", many).await.unwrap_err().kind(), ErrorKind::TooLarge);
    let never = CallOptions::new().timeout(Duration::ZERO);
    assert_eq!(b.call_with("echo", "", never).await.unwrap_err().kind(), ErrorKind::Config);

    a.serve("large", async |_| Ok::<_, Infallible>(vec![0; (1 << 20) + 1])).unwrap();
    a.serve("bad", async |_| -> Result<(), Infallible> { panic!("on purpose") }).unwrap();
    a.serve_stream("parts", async |_, _| Ok::<_, Infallible>(())).unwrap();
    let along = |headers: &[(String, String)]| Reply {
        headers: headers.iter().cloned().collect(),
        ..Reply::default()
    };
    let [many, long, nameless] = [
        along(&std::array::from_fn::<_, 17, _>(|n| (n.to_string(), String::new()))),
        along(&[("k".into(), "v".repeat(4 << 10))]),
        along(&[(String::new(), "v".into())]),
    ];
    for (name, reply) in [("many", many), ("long", long), ("nameless", nameless)] {
        a.serve(name, move |_| std::future::ready(Ok::<_, Infallible>(reply.clone()))).unwrap();
    }
    for (name, kind) in [
        ("many", ErrorKind::TooLarge),
        ("long", ErrorKind::TooLarge),
        // As anything else that is wrong with a handler.
        ("nameless", ErrorKind::Remote),
        ("large", ErrorKind::TooLarge),
        ("bad", ErrorKind::Remote),
        ("parts", ErrorKind::Invalid),
        ("nobody", ErrorKind::NotFound),
    ] {
        let error = b.call_with(name, "", to(&a)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    let mut parts = b.call_stream("echo", "", to(&a)).unwrap();
    assert_eq!(parts.next().await.unwrap().unwrap_err().kind(), ErrorKind::Invalid);

    serving.stop();
    assert_eq!(b.call_with("echo", "", to(&a)).await.unwrap_err().kind(), ErrorKind::NotFound);
    soon(async {
        while b.view().lookup(&Query::service("echo")).is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    a.serve("echo", echo).unwrap();
    a.close().await.unwrap();
    assert_eq!(kind(a.serve("late", echo)), ErrorKind::Closed);
    b.close().await.unwrap();
    assert_eq!(b.call("echo", "").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_busy_or_closing_or_gone_is_passed_over() {
    let [caller, busy, other] = cluster().await;
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let one = ServeOptions::default().max_inflight(1);
    busy.serve_with("work", &one, move |_| {
        let gate = opened.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            Ok::<_, Infallible>("slow")
        }
    })
    .unwrap();
    other.serve("work", async |_| Ok::<_, Infallible>("quick")).unwrap();
    sees(&caller, "work", 2).await;
    let held = {
        let (caller, options) = (caller.clone(), to(&busy).timeout(None));
        tokio::spawn(async move { caller.call_with("work", "", options).await })
    };
    until(|| busy.service_stats("work").unwrap().in_flight == 1).await;
    for _ in 0..20 {
        assert_eq!(caller.call("work", "").await.unwrap().text().unwrap(), "quick");
    }
    let error = caller.call_with("work", "", to(&busy)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(busy.service_stats("work").unwrap().failures["busy"] >= 1);

    // What was begun is answered before the node goes; what comes goes elsewhere.
    let closing = {
        let busy = busy.clone();
        tokio::spawn(async move { busy.close_within(Duration::from_secs(60)).await })
    };
    let told = async {
        loop {
            let error = caller.call_with("work", "", to(&busy)).await.unwrap_err();
            if error.kind() == ErrorKind::Unreachable {
                return;
            }
        }
    };
    soon(told).await;
    sees(&caller, "work", 1).await;
    assert!(!closing.is_finished());
    gate.add_permits(1);
    assert_eq!(held.await.unwrap().unwrap().text().unwrap(), "slow");
    soon(closing).await.unwrap().unwrap();
    for _ in 0..5 {
        assert_eq!(caller.call("work", "").await.unwrap().text().unwrap(), "quick");
    }
    close([caller, other]).await;
}

/// Never answers, and counts.
fn stuck(node: &Node, service: &str) -> Arc<AtomicUsize> {
    let begun = Arc::new(AtomicUsize::new(0));
    let count = begun.clone();
    node.serve(service, move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<Result<(), Infallible>>()
    })
    .unwrap();
    begun
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_begun_is_not_done_again_unless_it_may_be() {
    for idempotent in [false, true] {
        let [caller, lost, other] = cluster().await;
        let begun = stuck(&lost, "work");
        sees(&caller, "work", 1).await;
        let called = {
            let mut options = CallOptions::new().timeout(None);
            if idempotent {
                options = options.idempotent();
            }
            let caller = caller.clone();
            tokio::spawn(async move { caller.call_with("work", "", options).await })
        };
        until(|| begun.load(Ordering::SeqCst) == 1).await;
        other.serve("work", async |_| Ok::<_, Infallible>("done")).unwrap();
        sees(&caller, "work", 2).await;
        caller.disconnect(lost.id()).await;
        let result = soon(called).await.unwrap();
        match idempotent {
            true => assert_eq!(result.unwrap().text().unwrap(), "done"),
            false => assert_eq!(result.unwrap_err().kind(), ErrorKind::Unreachable),
        }
        lost.close_within(Duration::ZERO).await.unwrap();
        close([caller, other]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_for_the_first_that_serves_it() {
    let [a, b] = cluster().await;
    let waiting = {
        let a = a.clone();
        tokio::spawn(async move {
            a.call_with("late", "x", CallOptions::new().wait().timeout(None)).await
        })
    };
    let short = CallOptions::new().wait().timeout(Duration::from_millis(50));
    assert_eq!(a.call_with("late", "", short).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(!waiting.is_finished());
    b.serve("late", echo).unwrap();
    assert_eq!(soon(waiting).await.unwrap().unwrap().data, b"x");
    close([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_that_match_are_asked() {
    let nodes: [Node; 3] = cluster().await;
    for (n, node) in nodes.iter().enumerate() {
        node.serve("who", move |_| async move { Ok::<_, Infallible>(n.to_string()) }).unwrap();
    }
    sees(&nodes[0], "who", 3).await;
    for n in 0..3 {
        let only = CallOptions::new().matching(Query::matching(Index::meta("n", n)));
        for _ in 0..3 {
            let reply = nodes[0].call_with("who", "", only.clone()).await.unwrap();
            assert_eq!(reply.text().unwrap(), n.to_string());
        }
    }
    let nobody = CallOptions::new().matching(Query::matching(Index::meta("n", 9)));
    let error = nodes[0].call_with("who", "", nobody).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    close(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_are_asked_and_the_end_has_a_reason() {
    let nodes: [Node; 3] = cluster().await;
    let caller = &nodes[0];
    for (n, node) in nodes.iter().enumerate() {
        node.serve("who", move |_| async move { Ok::<_, Infallible>(n.to_string()) }).unwrap();
    }
    nodes[1].serve("fails", async |_| Err::<(), _>("no luck")).unwrap();
    stuck(&nodes[2], "fails");
    sees(caller, "who", 3).await;
    sees(caller, "fails", 2).await;

    let mut replies = caller.call_all("who", "", CallOptions::new()).unwrap();
    let mut said = Vec::new();
    while let Some(reply) = soon(replies.next()).await {
        let n = reply.result.unwrap().text().unwrap().to_owned();
        assert_eq!(reply.peer, nodes[n.parse::<usize>().unwrap()].id());
        said.push(n);
    }
    said.sort();
    assert_eq!(
        (said, replies.ended()),
        (vec!["0".into(), "1".into(), "2".into()], Some(Ended::All))
    );

    let mut replies = caller.call_all("who", "", CallOptions::new().limit(2)).unwrap();
    assert_eq!(replies.by_ref().count().await, 2);
    assert_eq!(replies.ended(), Some(Ended::Limit));

    let mut limits = limits();
    loop {
        let soon_over = CallOptions::new().timeout(limits.next().unwrap());
        let mut replies = caller.call_all("fails", "", soon_over).unwrap();
        let Some(reply) = replies.next().await else { continue };
        let error = reply.result.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Remote, "no luck"));
        assert!(replies.next().await.is_none());
        assert_eq!(replies.ended(), Some(Ended::Timeout));
        break;
    }
    until(|| nodes[2].service_stats("fails").unwrap().in_flight == 0).await;

    let mut none = caller.call_all("nobody", "", CallOptions::new()).unwrap();
    assert!(none.next().await.is_none() && none.ended() == Some(Ended::All));
    for node in nodes {
        node.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_or_is_out_of_time_ends_the_handler() {
    let [a, b] = cluster().await;
    let begun = Arc::new(std::sync::Mutex::new(Vec::new()));
    let has_begun = |what: &str| begun.lock().unwrap().iter().any(|data| data == what);
    let (ended, mut ends) = mpsc::unbounded_channel();
    let begins = begun.clone();
    b.serve("stuck", move |request: Request| {
        let data = str::from_utf8(request.data()).unwrap().to_owned();
        begins.lock().unwrap().push(data.clone());
        let (cancelled, ended) = (request.cancelled(), ended.clone());
        tokio::spawn(async move {
            cancelled.await;
            assert!(request.is_cancelled());
            ended.send(data).unwrap();
        });
        std::future::pending::<Result<(), Infallible>>()
    })
    .unwrap();
    sees(&a, "stuck", 1).await;
    for caller in [&a, &b] {
        let mut limits = limits();
        let late = loop {
            let (name, limit) = (format!("late {}", caller.id()), limits.next().unwrap());
            let short = CallOptions::new().timeout(limit);
            let error = caller.call_with("stuck", &*name, short).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
            if has_begun(&name) {
                break name;
            }
        };
        while soon(ends.recv()).await.unwrap() != late {}

        let gone = format!("gone {}", caller.id());
        tokio::select! {
            result = caller.call("stuck", &*gone) => panic!("{result:?}"),
            () = until(|| has_begun(&gone)) => {}
        }
        while soon(ends.recv()).await.unwrap() != gone {}
    }
    let cut = {
        let a = a.clone();
        tokio::spawn(async move { a.call("stuck", "cut").await })
    };
    until(|| has_begun("cut")).await;
    b.disconnect(a.id()).await;
    assert_eq!(soon(cut).await.unwrap().unwrap_err().kind(), ErrorKind::Unreachable);
    while soon(ends.recv()).await.unwrap() != "cut" {}
    assert_eq!(b.service_stats("stuck").unwrap().calls, begun.lock().unwrap().len() as u64);
    until(|| b.service_stats("stuck").unwrap().in_flight == 0).await;
    close([a, b]).await;
}

async fn count(request: Request, parts: Parts) -> casm::Result<()> {
    let n: u32 = str::from_utf8(request.data()).unwrap().parse().unwrap();
    for part in 0..n {
        parts.send(part.to_be_bytes()).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_come_in_order_and_a_slow_reader_holds_up_its_own_alone() {
    let [a, b] = cluster().await;
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    b.serve_stream("count", count).unwrap();
    b.serve_stream("endless", move |_, parts: Parts| {
        let sent = counted.clone();
        async move {
            while parts.send(vec![0; 64 << 10]).await.is_ok() {
                sent.fetch_add(1, Ordering::SeqCst);
            }
            Ok::<_, Infallible>(())
        }
    })
    .unwrap();
    b.serve("echo", echo).unwrap();
    sees(&a, "count", 1).await;
    sees(&a, "endless", 1).await;
    for caller in [&a, &b] {
        let parts = caller.call_stream("count", "1000", CallOptions::new()).unwrap();
        let parts: Vec<_> = soon(parts.map(Result::unwrap).collect()).await;
        assert!(parts.iter().cloned().eq((0..1000u32).map(|n| n.to_be_bytes().to_vec())));

        let mut endless = caller.call_stream("endless", "", CallOptions::new()).unwrap();
        assert_eq!(soon(endless.next()).await.unwrap().unwrap().len(), 64 << 10);
        // It stops while nobody reads.
        let mut before = usize::MAX;
        soon(async {
            while before != sent.load(Ordering::SeqCst) {
                before = sent.load(Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        })
        .await;
        let so_far = sent.swap(0, Ordering::SeqCst);
        assert!(so_far < 64, "{so_far} parts wait");
        drop(endless);
        until(|| b.service_stats("endless").unwrap().in_flight == 0).await;
    }
    // Who keeps what sends the parts keeps nobody waiting.
    let kept = Arc::new(std::sync::Mutex::new(Vec::new()));
    let keeps = kept.clone();
    b.serve_stream("keeps", move |_, parts: Parts| {
        let kept = keeps.clone();
        async move {
            parts.send("one").await?;
            kept.lock().unwrap().push(parts);
            Ok::<_, casm::Error>(())
        }
    })
    .unwrap();
    for caller in [&a, &b] {
        let parts = caller.call_stream("keeps", "", to(&b)).unwrap();
        let parts: Vec<_> = soon(parts.map(Result::unwrap).collect()).await;
        assert_eq!(parts, [b"one"]);
    }
    let late = kept.lock().unwrap().pop().unwrap();
    assert_eq!(late.send("two").await.unwrap_err().kind(), ErrorKind::Cancelled);

    let short = CallOptions::new().timeout(Duration::from_millis(200));
    let parts: Vec<_> = soon(a.call_stream("endless", "", short).unwrap().collect()).await;
    assert_eq!(parts.last().unwrap().as_ref().unwrap_err().kind(), ErrorKind::Timeout);
    let error = soon(a.call_stream("nobody", "", CallOptions::new()).unwrap().next()).await;
    assert_eq!(error.unwrap().unwrap_err().kind(), ErrorKind::NotFound);
    close([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_slow_readers_hold_up_no_caller_and_one_more_is_refused() {
    let [a, b] = cluster().await;
    b.serve_stream_with(
        "parts",
        &ServeOptions::default().max_inflight(100),
        async |_, parts: Parts| {
            while parts.send(vec![0; 64 << 10]).await.is_ok() {}
            Ok::<_, Infallible>(())
        },
    )
    .unwrap();
    b.serve("echo", echo).unwrap();
    sees(&a, "echo", 1).await;
    sees(&a, "parts", 1).await;
    let slow: Vec<_> =
        (0..64).map(|_| a.call_stream("parts", "", CallOptions::new()).unwrap()).collect();
    until(|| b.service_stats("parts").unwrap().in_flight == 64).await;
    let mut one_more = a.call_stream("parts", "", CallOptions::new()).unwrap();
    assert_eq!(soon(one_more.next()).await.unwrap().unwrap_err().kind(), ErrorKind::Busy);
    for n in 0..200 {
        let data = vec![n as u8; 1000];
        assert_eq!(soon(a.call("echo", data.clone())).await.unwrap().data, data);
    }
    let large = vec![3; 1 << 20];
    assert_eq!(soon(a.call("echo", large.clone())).await.unwrap().data, large);
    let rest = b.metrics().encode();
    assert!(rest.contains("casm_service_refused_total{reason=\"part-streams\"} 1"), "{rest}");
    // Each of them goes on where it was.
    for mut reader in slow {
        for _ in 0..3 {
            assert_eq!(soon(reader.next()).await.unwrap().unwrap().len(), 64 << 10);
        }
    }
    until(|| b.service_stats("parts").unwrap().in_flight == 0).await;
    close([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_calls_at_once_are_all_answered() {
    let [a, b] = cluster().await;
    b.serve("echo", echo).unwrap();
    sees(&a, "echo", 1).await;
    let calls = (0..12u8).map(|n| {
        let a = a.clone();
        async move {
            let data = vec![n; 1 << 20];
            assert_eq!(a.call("echo", data.clone()).await.unwrap().data, data);
        }
    });
    soon(join_all(calls)).await;
    close([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_closes_its_node_is_not_waited_for() {
    let [a, b] = cluster().await;
    let closing = b.clone();
    b.serve("die", move |_| {
        let node = closing.clone();
        async move {
            node.close_within(Duration::from_secs(600)).await.unwrap();
            Ok::<_, Infallible>(())
        }
    })
    .unwrap();
    sees(&a, "die", 1).await;
    let error = soon(a.call_with("die", "", CallOptions::new().timeout(None))).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Remote), "{error}");
    soon(b.ended()).await;
    a.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_that_is_given_up_closes_at_once() {
    let [a, b] = cluster().await;
    let begun = stuck(&b, "stuck");
    let call = {
        let (a, to) = (a.clone(), to(&b));
        tokio::spawn(async move { a.call_with("stuck", "", to.timeout(None)).await })
    };
    until(|| begun.load(Ordering::SeqCst) == 1).await;
    let grace = Duration::from_secs(600);
    let closing = tokio::time::timeout(Duration::from_millis(100), b.close_within(grace));
    assert!(closing.await.is_err());
    soon(b.ended()).await;
    assert!(soon(call).await.unwrap().is_err());
    close([a]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_may_call_others_and_its_own() {
    let [a, b] = cluster().await;
    a.serve("inner", echo).unwrap();
    for (node, other) in [(&a, "b"), (&b, "a")] {
        let (inner, name) =
            (node.clone(), format!("outer-{}", if other == "b" { "a" } else { "b" }));
        node.serve(&name, move |request: Request| {
            let node = inner.clone();
            async move { node.call("inner", request.data()).await.map(|reply| reply.data) }
        })
        .unwrap();
    }
    sees(&b, "inner", 1).await;
    sees(&a, "outer-b", 1).await;
    let all = (0..64).map(|n: u32| {
        let (a, b) = (a.clone(), b.clone());
        async move {
            let reply = a.call("outer-b", n.to_string()).await.unwrap();
            assert_eq!(reply.text().unwrap(), n.to_string());
            assert_eq!(b.call("outer-b", "x").await.unwrap().data, b"x");
        }
    });
    soon(join_all(all)).await;
    close([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_listed_is_found_by_who_names_the_node() {
    let [a, b] = cluster().await;
    let hidden = ServeOptions::default().listed(false);
    let names: Vec<String> = (0..1000).map(|n| format!("s{n}")).collect();
    for name in &names {
        b.serve_with(name, &hidden, echo).unwrap();
    }
    assert_eq!(a.call_with("s999", "x", to(&b)).await.unwrap().data, b"x");
    assert_eq!(a.call("s999", "").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(a.view().get(&b.id()).unwrap().services().count(), 0);
    assert_eq!(b.services().len(), 1000);
    // The record has room for some sixty names that are listed.
    let error = (0..100).find_map(|n| b.serve(&format!("listed{n}"), echo).err()).unwrap();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    close([a, b]).await;
}
