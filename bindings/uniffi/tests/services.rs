//! The exported calls of services, over real nodes on the loopback interface.

use casm_uniffi::{
    CallAllOptions, CallOptions, CasmError, Config, Done, ListenerError, Node, PendingMaybeBytes,
    Query, Request, ServeOptions, ServiceHandler,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

const PATIENCE: Option<f64> = Some(60.0);

fn pair() -> [Node; 2] {
    let start = || {
        let config = Config {
            listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
            boot: Some(vec!["none".into()]),
            namespace: Some("services".into()),
            ..Config::default()
        };
        Node::start(config, PATIENCE, None).unwrap()
    };
    let [a, b] = [start(), start()];
    a.connect(b.addrs().unwrap()[..1].to_vec(), PATIENCE).unwrap();
    a.wait_for(2, PATIENCE, None).unwrap();
    b.wait_for(2, PATIENCE, None).unwrap();
    [a, b]
}

fn sees(node: &Node, service: &str) {
    let query = Query { matching: Some(format!("service:{service}")), ..Query::default() };
    node.wait_for(1, PATIENCE, Some(query)).unwrap();
}

/// Answers as its function says.
struct Handler<F>(F);

impl<F: Fn(Arc<Request>) -> Result<(), ListenerError> + Send + Sync> ServiceHandler for Handler<F> {
    fn on_request(&self, request: Arc<Request>) -> Result<(), ListenerError> {
        (self.0)(request)
    }
}

fn handler(
    answer: impl Fn(Arc<Request>) -> Result<(), ListenerError> + Send + Sync + 'static,
) -> Arc<dyn ServiceHandler> {
    Arc::new(Handler(answer))
}

#[test]
fn a_request_is_answered_at_once_or_later_from_another_thread() {
    let [a, b] = pair();
    let options = ServeOptions { version: Some("2".into()), ..ServeOptions::default() };
    let serving = b.serve(
        "shout".into(),
        handler(|request| {
            assert!(!request.cancelled() && request.time_left().unwrap() <= 10.0);
            request.answer(request.data().to_ascii_uppercase(), HashMap::new());
            Ok(())
        }),
        Some(options),
    );
    let serving = serving.unwrap();
    b.serve(
        "later".into(),
        handler(|request| {
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                request.answer(request.headers()["k"].clone().into_bytes(), request.headers());
            });
            Ok(())
        }),
        None,
    )
    .unwrap();
    sees(&a, "shout");
    sees(&a, "later");
    let answer = a.call("shout".into(), b"hi".to_vec(), None).unwrap();
    assert_eq!((answer.data, answer.headers), (b"HI".to_vec(), HashMap::new()));
    let headers = [("k".to_owned(), "v".to_owned())].into();
    let options = CallOptions { headers, peer: Some(b.id()), ..CallOptions::default() };
    let answer = a.call("later".into(), vec![], Some(options)).unwrap();
    assert_eq!((answer.data, answer.peer), (b"v".to_vec(), b.id()));
    assert_eq!(answer.headers["k"], "v");
    let record = a.view().unwrap().get(b.id()).unwrap().unwrap();
    assert_eq!(record.services["shout"], "2");
    assert_eq!(b.service_stats("shout".into()).unwrap().calls, 1);
    assert_eq!(b.services().unwrap(), ["later", "shout"]);
    serving.stop();
    assert_eq!(serving.name(), "shout");
    let options = CallOptions { peer: Some(b.id()), ..CallOptions::default() };
    let gone = a.call("shout".into(), vec![], Some(options));
    assert!(matches!(gone, Err(CasmError::NotFound(_))), "{gone:?}");
    a.close(PATIENCE, None, false).unwrap();
    b.close(PATIENCE, Some(0.0), false).unwrap();
}

#[test]
fn what_fails_is_told_and_so_is_what_is_dropped() {
    let [a, b] = pair();
    let fails = |request: Arc<Request>| {
        request.fail("no luck".into());
        Ok(())
    };
    let throws = |_| Err(ListenerError::Failed { reason: "thrown".into() });
    for (name, answer, said) in [
        ("fails", handler(fails), "no luck"),
        ("throws", handler(throws), "thrown"),
        ("drops", handler(|_| Ok(())), "did not answer"),
    ] {
        b.serve(name.into(), answer, None).unwrap();
        let options = CallOptions { peer: Some(b.id()), ..CallOptions::default() };
        match a.call(name.into(), vec![], Some(options)) {
            Err(CasmError::Remote(message)) => assert!(message.contains(said), "{message}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    let options = CallOptions { timeout: Some(0.0), ..CallOptions::default() };
    let refused = a.call("fails".into(), vec![], Some(options));
    assert!(matches!(refused, Err(CasmError::Config(_))), "{refused:?}");
    let many: HashMap<_, _> = (0..17).map(|n| (n.to_string(), String::new())).collect();
    let answers = move |request: Arc<Request>| {
        request.answer(vec![], many.clone());
        Ok(())
    };
    b.serve("many".into(), handler(answers), None).unwrap();
    let options = CallOptions { peer: Some(b.id()), ..CallOptions::default() };
    let refused = a.call("many".into(), vec![], Some(options));
    assert!(matches!(refused, Err(CasmError::TooLarge(_))), "{refused:?}");
    let options = CallAllOptions { limit: Some(5), ..CallAllOptions::default() };
    sees(&a, "fails");
    let replies = a.call_all("fails".into(), vec![], Some(options)).unwrap();
    let reply = replies.next(PATIENCE).unwrap().unwrap();
    assert_eq!(
        (reply.error.as_deref(), reply.error_kind.as_deref()),
        (Some("no luck"), Some("Remote"))
    );
    assert!(replies.next(PATIENCE).unwrap().is_none());
    assert_eq!(replies.ended().as_deref(), Some("all"));
}

#[test]
fn what_waited_in_vain_while_another_was_told_is_not_told() {
    let [a, b] = pair();
    let (told, begun) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let blocks = move |request: Arc<Request>| {
        told.send(()).unwrap();
        // Until there is nobody to say so.
        let _ = wait.lock().unwrap().recv();
        request.answer(request.data(), HashMap::new());
        assert!(request.data().is_empty());
        Ok(())
    };
    let options = ServeOptions { max_inflight: Some(3), ..ServeOptions::default() };
    b.serve("blocks".into(), handler(blocks), Some(options)).unwrap();
    let call = |timeout| {
        let (peer, timeout) = (Some(b.id()), Some(timeout));
        let options = CallOptions { peer, timeout, ..CallOptions::default() };
        a.call("blocks".into(), b"x".to_vec(), Some(options))
    };
    thread::scope(|scope| {
        let first = scope.spawn(|| call(60.0));
        begun.recv().unwrap();
        let mut in_vain = 0;
        loop {
            match call(0.2) {
                Err(CasmError::Busy(_)) => break,
                Err(CasmError::Timeout(_)) => in_vain += 1,
                other => panic!("{other:?}"),
            }
            assert!(in_vain < 100, "it takes more than may be in flight");
        }
        drop(go);
        assert_eq!(first.join().unwrap().unwrap().data, b"x");
    });
    while b.service_stats("blocks".into()).unwrap().in_flight > 0 {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(begun.try_recv().is_err());
}

#[test]
fn parts_are_sent_from_another_thread_and_a_reader_that_goes_is_noticed() {
    let [a, b] = pair();
    let (gone, ended) = mpsc::channel();
    let endless = move |request: Arc<Request>| {
        let gone = gone.clone();
        thread::spawn(move || {
            let mut sent = 0;
            while request.part(vec![0; 1000], PATIENCE).is_ok() {
                sent += 1;
            }
            gone.send((sent, request.cancelled())).unwrap();
        });
        Ok(())
    };
    b.serve_stream("endless".into(), handler(endless), None).unwrap();
    sees(&a, "endless");
    let parts = a.call_stream("endless".into(), vec![], None).unwrap();
    for _ in 0..5 {
        assert_eq!(parts.next(PATIENCE).unwrap().unwrap().len(), 1000);
    }
    parts.cancel();
    drop(parts);
    let (sent, cancelled) = ended.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(sent >= 5 && cancelled);
}

/// Says that a call is over.
struct Tells(mpsc::Sender<()>);

impl Done for Tells {
    fn done(&self) -> Result<(), ListenerError> {
        let _ = self.0.send(());
        Ok(())
    }
}

fn over(pending: &PendingMaybeBytes) {
    let (sender, told) = mpsc::channel();
    pending.when_done(Arc::new(Tells(sender)));
    told.recv_timeout(Duration::from_secs(60)).unwrap();
}

#[test]
fn an_error_that_nobody_takes_is_told_to_the_next_call() {
    let [a, b] = pair();
    let breaks = |request: Arc<Request>| {
        thread::spawn(move || {
            request.part(b"x".to_vec(), PATIENCE).unwrap();
            request.fail("no luck".into());
        });
        Ok(())
    };
    b.serve_stream("breaks".into(), handler(breaks), None).unwrap();
    let none = ServeOptions { max_inflight: Some(1), ..ServeOptions::default() };
    let (held, holds) = mpsc::channel();
    let busy = move |request| {
        let _ = held.send(request);
        Ok(())
    };
    b.serve_stream("busy".into(), handler(busy), Some(none)).unwrap();
    let call = |name: &str| {
        let options = CallOptions { peer: Some(b.id()), timeout: PATIENCE, ..Default::default() };
        a.call_stream(name.into(), vec![], Some(options)).unwrap()
    };
    let untaken = |parts: &casm_uniffi::PartStream| {
        let cancelled = parts.start_next(PATIENCE);
        over(&cancelled);
        cancelled.cancel();
        assert!(matches!(cancelled.take(), Err(CasmError::Cancelled(_))));
        let dropped = parts.start_next(PATIENCE);
        over(&dropped);
        drop(dropped);
    };
    let parts = call("breaks");
    untaken(&parts);
    assert_eq!(parts.next(PATIENCE).unwrap().unwrap(), b"x");
    untaken(&parts);
    let told = parts.next(PATIENCE);
    assert!(matches!(&told, Err(CasmError::Remote(m)) if m.contains("no luck")), "{told:?}");
    assert_eq!(parts.next(PATIENCE).unwrap(), None);

    // A `Busy` of who serves is none of the call, which others would have to make anew.
    let first = call("busy");
    let waits = first.start_next(PATIENCE);
    let request = holds.recv_timeout(Duration::from_secs(60)).unwrap();
    let second = call("busy");
    untaken(&second);
    let told = second.next(PATIENCE);
    assert!(matches!(&told, Err(CasmError::Busy(m)) if !m.contains("another call")), "{told:?}");
    drop((waits, first, request));
    a.close(PATIENCE, None, false).unwrap();
    b.close(PATIENCE, Some(0.0), false).unwrap();
}

#[test]
fn a_service_for_a_role_is_for_its_own_node_where_there_are_no_certificates() {
    let [a, b] = pair();
    let echo = |request: Arc<Request>| {
        request.answer(request.data(), HashMap::new());
        Ok(())
    };
    let allow = |roles: &[&str]| {
        let allow = roles.iter().map(|role| role.to_string()).collect();
        Some(ServeOptions { allow, ..ServeOptions::default() })
    };
    let refused = b.serve("bad".into(), handler(echo), allow(&["a b"]));
    assert!(matches!(&refused, Err(CasmError::Config(m)) if m.contains("allow")));
    b.serve("work".into(), handler(echo), allow(&["worker"])).unwrap();
    sees(&a, "work");
    let told = a.call("work".into(), vec![], None);
    assert!(matches!(&told, Err(CasmError::NotFound(m)) if m.contains("`worker`")), "{told:?}");
    assert_eq!(b.call("work".into(), b"x".to_vec(), None).unwrap().data, b"x");
    let record = a.view().unwrap().get(b.id()).unwrap().unwrap();
    assert!(record.roles.is_empty());
    let query = Query { matching: Some("role:worker".into()), ..Query::default() };
    assert_eq!(a.view().unwrap().count(query).unwrap(), 0);
    a.close(PATIENCE, None, false).unwrap();
    b.close(PATIENCE, Some(0.0), false).unwrap();
}
