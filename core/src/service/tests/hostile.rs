//! A node among peers that break the rules.

use crate::{
    ErrorKind, Node, PeerId,
    rpc::{Limits, Remote, TestVat},
    schema::service_capnp::{service, services},
    service::{CallOptions, EXPORTED, NAME, Request, ServeOptions, wire},
};
use capnp_rpc::new_client;
use futures::future::join_all;
use std::{convert::Infallible, rc::Rc, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

const TCP: &str = "/ip4/127.0.0.1/tcp/0";

pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it happens within 60 s")
}

pub(super) async fn node() -> Node {
    Node::builder().listen(TCP).boot(["none"]).pex(None).start().await.unwrap()
}

fn serve_echo(node: &Node) {
    let echo = |request: Request| async move { Ok::<_, Infallible>(request.data().to_vec()) };
    node.serve("echo", echo).unwrap();
}

/// Does what its name says.
struct Bad(String);

struct BadServices;

impl services::Server for BadServices {
    async fn get(
        self: Rc<Self>,
        params: services::GetParams,
        mut results: services::GetResults,
    ) -> capnp::Result<()> {
        let name = params.get()?.get_name()?.to_string()?;
        if name == "no-service" {
            return Err(capnp::Error::failed("there is none".into()));
        }
        results.get().set_service(new_client(Bad(name)));
        Ok(())
    }
}

impl service::Server for Bad {
    async fn call(
        self: Rc<Self>,
        _: service::CallParams,
        mut results: service::CallResults,
    ) -> capnp::Result<()> {
        let mut answer = results.get().init_answer();
        match &*self.0 {
            "unknown-kind" => {
                let mut failed = answer.init_failed();
                failed.set_kind("surprise");
                failed.set_message("\u{1b}[2Jgone\u{202e}");
            }
            "steers" => {
                let mut failed = answer.init_failed();
                failed.set_kind("remote");
                failed.set_message("\u{1b}[2J");
            }
            "huge" => answer.set_ok(&vec![0; wire::MAX_DATA + 1000]),
            "headers" => {
                answer.reborrow().init_headers(5000);
                answer.set_ok(b"x");
            }
            "nothing" => {}
            "never" => std::future::pending().await,
            "late" => tokio::time::sleep(Duration::from_millis(300)).await,
            "overloaded" => return Err(capnp::Error::overloaded("no".into())),
            _ => return Err(capnp::Error::failed("no".into())),
        }
        Ok(())
    }

    async fn stream(
        self: Rc<Self>,
        params: service::StreamParams,
        mut results: service::StreamResults,
    ) -> capnp::Result<()> {
        let parts = params.get()?.get_parts()?;
        drop(params);
        let send = |len: usize| {
            let mut request = parts.part_request();
            request.get().set_data(&vec![1; len]);
            request.send()
        };
        match &*self.0 {
            "endless" => loop {
                send(1000).await?;
            },
            "large-part" => {
                send(wire::MAX_PART + 1).await?;
                parts.end_request().send().promise.await?;
            }
            "not-begun" => {
                send(10).await?;
                parts.end_request().send().promise.await?;
                results.get().init_answer().init_failed().set_kind("busy");
            }
            "overloaded" => {
                send(10).await?;
                parts.end_request().send().promise.await?;
                return Err(capnp::Error::overloaded("no".into()));
            }
            "no-end" => {
                send(10).await?;
                // The last call is waited for, the parts are not.
                let _ = parts.end_request().send().promise.await;
                send(10).await?;
            }
            _ => {}
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_answers_nonsense_costs_its_own_call_alone() {
    let (node, bad) = (node().await, TestVat::start(TCP, Limits::default()).await);
    let _export = bad
        .vat
        .export_with(NAME, EXPORTED, |_, _| -> services::Client { new_client(BadServices) })
        .unwrap();
    node.connect(&bad.info()).await.unwrap();
    let to = || CallOptions::new().peer(bad.host.id()).timeout(Duration::from_secs(30));
    for (name, kind) in [
        ("unknown-kind", ErrorKind::Protocol),
        ("steers", ErrorKind::Remote),
        ("huge", ErrorKind::Protocol),
        ("headers", ErrorKind::Protocol),
        ("overloaded", ErrorKind::Busy),
        ("fails", ErrorKind::Protocol),
        ("no-service", ErrorKind::Protocol),
    ] {
        let error = soon(node.call_with(name, "x", to())).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(!error.message().contains(['\u{1b}', '\u{202e}']), "{error:?}");
    }
    assert_eq!(soon(node.call_with("nothing", "x", to())).await.unwrap().data, b"");
    for name in ["never", "late"] {
        let short = to().timeout(Duration::from_millis(100));
        let error = soon(node.call_with(name, "x", short)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{name}: {error}");
    }
    // What comes too late is nobody's answer.
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(soon(node.call_with("nothing", "x", to())).await.unwrap().data, b"");

    let mut endless = node.call_stream("endless", "", to().timeout(None)).unwrap();
    for _ in 0..100 {
        assert_eq!(soon(endless.next()).await.unwrap().unwrap().len(), 1000);
    }
    drop(endless);
    let mut large = node.call_stream("large-part", "", to()).unwrap();
    let error = soon(large.next()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    for name in ["not-begun", "overloaded"] {
        let mut parts = node.call_stream(name, "", to()).unwrap();
        assert_eq!(soon(parts.next()).await.unwrap().unwrap().len(), 10);
        let error = soon(parts.next()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
    let mut parts = node.call_stream("no-end", "", to()).unwrap();
    assert_eq!(soon(parts.next()).await.unwrap().unwrap().len(), 10);
    while let Some(part) = soon(parts.next()).await {
        assert_eq!(part.unwrap().len(), 10);
    }
    assert_eq!(soon(node.call_with("nothing", "x", to())).await.unwrap().data, b"");
    node.close().await.unwrap();
    bad.close().await;
}

async fn ask(
    services: &services::Client,
    name: &str,
    fill: impl FnOnce(service::call_params::Builder),
) -> capnp::Result<String> {
    let mut get = services.get_request();
    get.get().set_name(name);
    let mut call = get.send().pipeline.get_service().call_request();
    fill(call.get());
    let response = call.send().promise.await?;
    let answer = wire::read_answer(response.get()?.get_answer()?)?;
    Ok(answer.map_or_else(|failure| failure.kind.name().to_owned(), |_| "ok".to_owned()))
}

async fn connect(vat: &TestVat, to: PeerId) -> Remote<services::Client> {
    vat.vat.connect_as(to, NAME, EXPORTED).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_not_acceptable_are_answered_with_a_failure() {
    let (node, bad) = (node().await, TestVat::start(TCP, Limits::default()).await);
    serve_echo(&node);
    bad.host.connect(&node.info()).await.unwrap();
    let remote = connect(&bad, node.id()).await;
    let work = remote.with(|services: services::Client| async move {
        let mut said = Vec::new();
        said.push(ask(&services, "echo", |mut p| p.set_request(b"x")).await?);
        said.push(ask(&services, "nobody", |_| ()).await?);
        said.push(ask(&services, &"n".repeat(10_000), |_| ()).await?);
        let large = vec![0; wire::MAX_DATA + 1];
        said.push(ask(&services, "echo", |mut p| p.set_request(&large)).await?);
        let many = |p: service::call_params::Builder| {
            p.init_headers(17);
        };
        said.push(ask(&services, "echo", many).await?);
        let long = "v".repeat(5000);
        let header = |p: service::call_params::Builder| p.init_headers(1).get(0).set_value(&*long);
        said.push(ask(&services, "echo", header).await?);
        let not_utf8 = capnp::text::Reader(b"\xff");
        let header = |p: service::call_params::Builder| p.init_headers(1).get(0).set_key(not_utf8);
        said.push(ask(&services, "echo", header).await.unwrap_err().to_string());
        Ok(said)
    });
    let said = soon(work).await.unwrap();
    assert_eq!(said[..6], ["ok", "notFound", "notFound", "tooLarge", "tooLarge", "tooLarge"]);
    let metrics = node.metrics().encode();
    for line in [
        "casm_service_refused_total{reason=\"too-large\"} 3",
        "casm_service_refused_total{reason=\"not-found\"} 2",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    node.close().await.unwrap();
    bad.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_calls_of_one_peer_take_nothing_from_another() {
    // It reads on, however much it has to write.
    let greedy = Limits { queued_bytes: 64 << 20, total_bytes: 256 << 20, ..Limits::default() };
    let (node, bad, good) = (node().await, TestVat::start(TCP, greedy).await, self::node().await);
    let eight = ServeOptions::default().max_inflight(8);
    node.serve_with("stuck", &eight, |_| std::future::pending::<Result<(), Infallible>>()).unwrap();
    serve_echo(&node);
    bad.host.connect(&node.info()).await.unwrap();
    good.connect(&node.info()).await.unwrap();
    let remote = connect(&bad, node.id()).await;
    let flood = remote.with(|services: services::Client| async move {
        let data = vec![0; 1000];
        let calls = (0..10_000).map(|_| {
            let (services, data) = (&services, &data);
            async move {
                let asked = ask(services, "stuck", |mut p| p.set_request(data));
                match tokio::time::timeout(Duration::from_secs(5), asked).await {
                    Ok(Ok(said)) => said,
                    Ok(Err(error)) => format!("{:?}", error.kind),
                    Err(_) => "waits".into(),
                }
            }
        });
        Ok(join_all(calls).await)
    });
    let quick = async {
        for n in 0..100u32 {
            let to = CallOptions::new().peer(node.id()).timeout(Duration::from_secs(50));
            let data = n.to_string();
            assert_eq!(
                good.call_with("echo", data.clone(), to).await.unwrap().text().unwrap(),
                data
            );
        }
    };
    let (said, ()) = soon(async { tokio::join!(flood, quick) }).await;
    let said = said.unwrap();
    let count = |word: &str| said.iter().filter(|said| *said == word).count();
    assert_eq!(count("waits"), 8);
    assert_eq!(count("busy") + count("Overloaded"), 9992, "{:?}", &said[..20]);
    assert_eq!(node.service_stats("stuck").unwrap().calls, 8);
    drop(remote);
    soon(async {
        while node.service_stats("stuck").unwrap().in_flight > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    node.close().await.unwrap();
    good.close().await.unwrap();
    bad.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_a_peer_does_not_take_keep_no_other_from_calling() {
    let (node, bad, good) =
        (node().await, TestVat::start(TCP, Limits::default()).await, self::node().await);
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    node.serve_with("large", &ServeOptions::default().max_inflight(100), move |_| {
        let gate = opened.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            Ok::<_, Infallible>(vec![0; wire::MAX_DATA])
        }
    })
    .unwrap();
    serve_echo(&node);
    bad.host.connect(&node.info()).await.unwrap();
    good.connect(&node.info()).await.unwrap();
    let remote = connect(&bad, node.id()).await;
    let (asked, until) = (node.clone(), std::sync::mpsc::channel::<()>());
    let reader = tokio::spawn(async move {
        remote
            .with(|services: services::Client| async move {
                let calls = (0..100).map(|_| ask(&services, "large", |_| ()));
                let mut calls = std::pin::pin!(join_all(calls));
                let all = async {
                    while asked.service_stats("large").unwrap().calls < 100 {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                tokio::select! { _ = &mut calls => {}, () = all => {} }
                gate.add_permits(100);
                // The vat's thread reads nothing meanwhile.
                let _ = until.1.recv();
                Ok(calls.await)
            })
            .await
    });
    // All of them but what there is room for is let go.
    soon(async {
        let let_go = || node.service_stats("large").unwrap().failures.get("tooLarge").copied();
        while let_go().is_none_or(|n| n < 30) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let data = vec![7; wire::MAX_DATA];
    for caller in [&good, &node] {
        let to = CallOptions::new().peer(node.id()).timeout(Duration::from_secs(50));
        assert_eq!(caller.call_with("echo", data.clone(), to).await.unwrap().data, data);
    }
    // Who takes them in the end has those that were held.
    drop(until.0);
    let said = soon(reader).await.unwrap().unwrap();
    let count = |word: &str| said.iter().filter(|said| said.as_ref().unwrap() == word).count();
    // One or two were on their way.
    assert!((64..=70).contains(&count("ok")), "{said:?}");
    assert_eq!(count("ok") + count("tooLarge"), 100);
    node.close().await.unwrap();
    good.close().await.unwrap();
    bad.close().await;
}
