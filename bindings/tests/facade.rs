//! The facade over real nodes, which listen on the loopback interface only.

use casm_bindings::{
    Batch, CHECK_EVERY, CallSpec, Dispatcher, Error, ErrorKind, Event, LeaveReason, Listener, Next,
    Node, Options, Query, Request, Requests, Result, ServeSpec, bench_events, bench_failed, block,
    spawn,
};
use std::{
    future::{pending, ready},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    block("the test", future, Some(PATIENCE), || Ok(()))
}

fn options() -> Options {
    Options {
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        boot: Some(vec!["none".into()]),
        ..Options::default()
    }
}

fn node() -> Node {
    wait(Node::start(options(), Dispatcher::default())).unwrap()
}

/// Sends on what it is told, after a closure has seen it.
struct Told<F>(Sender<thread::ThreadId>, F);

impl<F: Fn(u64) + Send + Sync + 'static> Listener<Event> for Told<F> {
    fn deliver(&self, batch: &mut Batch<Event>) {
        for (n, _) in batch.enumerate() {
            (self.1)(n as u64);
            let _ = self.0.send(thread::current().id());
        }
    }
}

fn told<F: Fn(u64) + Send + Sync + 'static>(f: F) -> (Told<F>, Receiver<thread::ThreadId>) {
    let (sender, receiver) = channel();
    (Told(sender, f), receiver)
}

#[test]
fn a_call_that_takes_too_long_gives_timeout_and_one_that_is_interrupted_its_own_error() {
    let limit = Some(Duration::from_millis(10));
    let error = block("wait", pending::<Result<()>>(), limit, || Ok::<_, Error>(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let interrupt = || Err(Error::new(ErrorKind::Cancelled, "a signal"));
    let error = block("wait", pending::<Result<()>>(), None, interrupt).unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Cancelled, "a signal"));
}

#[test]
fn blocking_waits_look_for_signals_at_least_every_100_ms() {
    assert!(CHECK_EVERY <= Duration::from_millis(100));
    let mut left = 3;
    let check = || {
        left -= 1;
        if left == 0 { Err(Error::new(ErrorKind::Cancelled, "a signal")) } else { Ok(()) }
    };
    let error = block("wait", pending::<Result<()>>(), None, check).unwrap_err();
    assert_eq!((error.kind(), left), (ErrorKind::Cancelled, 0));
}

/// Sends on the events that it is told.
struct Events(Sender<Event>);

impl Listener<Event> for Events {
    fn deliver(&self, batch: &mut Batch<Event>) {
        batch.for_each(|event| drop(self.0.send(event)));
    }
}

#[test]
fn events_can_be_had_from_the_first_on() {
    let start = || wait(Node::start_with_events(options(), Dispatcher::default())).unwrap();
    let is_first = |node: &Node, event: &Event| {
        let Event::Listening { peer, addrs } = event else { panic!("{event:?}") };
        assert_eq!(peer.to_base58(), node.id());
        assert_eq!(
            addrs.iter().map(ToString::to_string).collect::<Vec<_>>(),
            node.addrs().unwrap()
        );
    };
    let (node, events) = start();
    let (sender, told) = channel();
    let subscription = events.tell(&node, Events(sender)).unwrap();
    is_first(&node, &told.recv_timeout(PATIENCE).unwrap());
    assert_eq!(subscription.dropped(), 0);
    let (node, events) = start();
    is_first(&node, &wait(events.stream().next_batch()).unwrap()[0]);
    // Of a closed node nobody is called.
    let (node, events) = start();
    wait(node.close(None, false)).unwrap();
    let error = events.tell(&node, Events(channel().0)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[test]
fn what_peer_exchange_knows_is_found_without_discovery() {
    let (first, second) = (node(), node());
    let addrs = first.addrs().unwrap();
    wait(second.connect(addrs)).unwrap();
    // Neither has a boot address. What is known is told until the peer is.
    let found = loop {
        let search = second.find_peers(None, Some(1), Some(Duration::from_millis(200))).unwrap();
        if let [found] = &wait(search.next_batch()).unwrap()[..] {
            break found.clone();
        }
    };
    assert_eq!((found.source.as_str(), found.peer.id.to_base58().as_str()), ("pex", first.id()));
    wait(first.close(None, false)).unwrap();
    wait(second.close(None, false)).unwrap();
}

#[test]
fn a_change_of_meta_sets_and_removes_and_a_wait_counts_what_a_query_finds() {
    let node = node();
    let some = |value: &str| Some(value.to_owned());
    wait(node.update_meta([("a".into(), some("1")), ("b".into(), some("2"))].into())).unwrap();
    wait(node.update_meta([("a".into(), None), ("c".into(), some("3"))].into())).unwrap();
    let query = Query::matching(casm_bindings::Index::meta("c", "3"));
    let view = wait(node.wait_for(query.clone(), 1)).unwrap();
    let fields: Vec<_> = view.lookup(&query).unwrap().fields().map(str::to_owned).collect();
    assert_eq!(fields, ["b=2", "c=3"]);
    wait(node.close(None, false)).unwrap();
}

#[test]
fn a_panic_becomes_an_internal_error() {
    let panics = async { panic!("a panic that is to be caught") };
    let error = wait::<()>(panics).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.message().contains("that is to be caught"), "{error}");
    assert_eq!(
        casm_bindings::guard::<()>("a call", || panic!()).unwrap_err().kind(),
        ErrorKind::Internal
    );
}

#[test]
fn a_call_in_the_background_can_be_cancelled_and_tells_its_result() {
    let dispatcher = Dispatcher::default();
    let (sender, results) = channel();
    let done = move |result: Result<()>| sender.send(result.map_err(|e| e.kind())).unwrap();
    spawn("a call", &dispatcher, ready(Ok(())), None, done.clone()).unwrap();
    assert_eq!(results.recv_timeout(PATIENCE).unwrap(), Ok(()));
    let call = spawn("a call", &dispatcher, pending(), None, done.clone()).unwrap();
    call.cancel();
    assert_eq!(results.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::Cancelled));
    let limit = Some(Duration::from_millis(1));
    spawn("a call", &dispatcher, pending(), limit, done).unwrap();
    assert_eq!(results.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::Timeout));
}

#[test]
fn events_come_on_one_thread_and_a_listener_that_panics_gets_the_next() {
    let node = node();
    wait(node.wait_for(Query::all(), 1)).unwrap();
    let (listener, seen) = told(|n| assert_ne!(n, 100, "a panic that is to be caught"));
    let subscription = bench_events(&node, 10_000, listener).unwrap();
    let threads: Vec<_> = seen.iter().collect();
    assert!(threads.iter().all(|thread| *thread == threads[0]));
    // What was left of the batches that panicked is lost, and counted.
    assert!(!threads.is_empty() && threads.len() < 10_000);
    assert!(subscription.failed() > 0);
    wait(node.close(None, false)).unwrap();
}

/// Sends on who has left, and why.
struct Left(Sender<(String, LeaveReason)>);

impl Listener<Event> for Left {
    fn deliver(&self, batch: &mut Batch<Event>) {
        for event in batch {
            if let Event::PeerLeft { peer, reason } = event {
                let _ = self.0.send((peer.to_base58(), reason));
            }
        }
    }
}

#[test]
fn a_listener_is_told_that_a_peer_has_failed() {
    let node = node();
    wait(node.wait_for(Query::all(), 1)).unwrap();
    let (sender, seen) = channel();
    let subscription = bench_failed(&node, Left(sender)).unwrap();
    let (peer, reason) = seen.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&*peer, reason, reason.name()), (node.id(), LeaveReason::Failed, "failed"));
    drop(subscription);
    wait(node.close(None, false)).unwrap();
}

#[test]
fn a_subscription_cancels_when_it_is_dropped_unless_it_is_kept() {
    let node = node();
    wait(node.wait_for(Query::all(), 1)).unwrap();
    let (listener, seen) = told(|_| {});
    drop(node.on_event(listener).unwrap());
    // The listener goes with the subscription.
    assert!(seen.recv_timeout(PATIENCE).is_err());
    let (listener, seen) = told(|_| {});
    let kept = bench_events(&node, 3, listener).unwrap().keep();
    drop(kept);
    assert_eq!(seen.iter().take(3).count(), 3);
    wait(node.close(None, false)).unwrap();
}

#[test]
fn a_closed_node_gives_closed_and_its_streams_end() {
    let node = node();
    wait(node.wait_for(Query::all(), 1)).unwrap();
    let events = node.events().unwrap();
    let waiting = {
        let node = node.clone();
        thread::spawn(move || wait(node.wait_for(Query::all(), 100)))
    };
    wait(node.close(None, false)).unwrap();
    wait(node.close(None, false)).unwrap();
    assert_eq!(waiting.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    while !wait(events.next_batch()).unwrap().is_empty() {}
    assert!(node.is_closed() && node.dispatcher().is_none());
    for error in [
        node.view().err(),
        node.events().err(),
        node.subscribe(Query::all()).err(),
        wait(node.set_host("h".into())).err(),
        wait(node.view_of(node.id())).err(),
    ] {
        assert_eq!(error.unwrap().kind(), ErrorKind::Closed);
    }
}

#[test]
fn a_search_that_is_still_held_keeps_no_stream_of_a_closed_node_waiting() {
    let node = node();
    let events = node.events().unwrap();
    let search = node.find_peers(None, None, None).unwrap();
    wait(node.close(None, false)).unwrap();
    while !wait(events.next_batch()).unwrap().is_empty() {}
    assert!(wait(search.next_batch()).unwrap().is_empty());
}

#[test]
fn a_paused_node_says_so_keeps_what_it_has_and_comes_back() {
    let (a, b) = (node(), node());
    wait(a.connect(b.addrs().unwrap())).unwrap();
    for node in [&a, &b] {
        wait(node.wait_for(Query::all(), 2)).unwrap();
    }
    let addrs = a.addrs().unwrap();
    wait(a.pause()).unwrap();
    assert!(a.is_paused().unwrap() && a.addrs().unwrap().is_empty());
    assert_eq!(a.view().unwrap().len(), 2);
    let error = wait(a.connect(b.addrs().unwrap())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Paused);
    wait(a.resume()).unwrap();
    assert_eq!((a.is_paused().unwrap(), a.addrs().unwrap()), (false, addrs));
    wait(b.wait_for(Query::all(), 2)).unwrap();
    for node in [&a, &b] {
        wait(node.close(None, false)).unwrap();
    }
    assert_eq!(wait(a.pause()).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_profile_sets_what_is_left_out() {
    let ttl = |options| {
        let node = wait(Node::start(options, Dispatcher::default())).unwrap();
        let ttl = node.view().unwrap().get(&node.info().unwrap().id).unwrap().ttl();
        wait(node.close(None, false)).unwrap();
        ttl
    };
    let low = || Options { power: Some("low".into()), ..options() };
    assert_eq!(ttl(low()), Duration::from_secs(600));
    let given = Some(Duration::from_secs(20));
    assert_eq!(ttl(Options { ttl: given, ..low() }), Duration::from_secs(20));
    let wrong = Options { power: Some("high".into()), ..options() };
    let error = wait(Node::start(wrong, Dispatcher::default())).err().unwrap();
    assert!(error.kind() == ErrorKind::Config && error.message().contains("high"), "{error}");
}

#[test]
fn a_pace_is_adapted_to_a_budget_or_fixed() {
    let ttl = |budget, pace: &str| {
        let (ttl, pace) = (Some(Duration::from_secs(1)), Some(pace.into()));
        let given = Options { ttl, budget, pace, ..options() };
        let node = wait(Node::start(given, Dispatcher::default())).unwrap();
        let ttl = node.view().unwrap().get(&node.info().unwrap().id).unwrap().ttl();
        wait(node.close(None, false)).unwrap();
        ttl.as_millis()
    };
    // One heartbeat in a second, of a node that sends one after 0.3 of its TTL.
    assert_eq!(
        (ttl(Some(1), "auto"), ttl(None, "auto"), ttl(Some(1), "fixed")),
        (3334, 1000, 1000)
    );
    let wrong = [
        (Options { pace: Some("slow".into()), ..options() }, "`auto` or `fixed`"),
        (Options { budget: Some(0), ..options() }, "budget: 0"),
    ];
    for (wrong, said) in wrong {
        let error = wait(Node::start(wrong, Dispatcher::default())).err().unwrap();
        assert!(error.kind() == ErrorKind::Config && error.message().contains(said), "{error}");
    }
}

#[test]
fn a_stream_that_is_cancelled_ends_its_source_though_somebody_holds_it() {
    let node = node();
    let endless = |request: Request| {
        thread::spawn(move || while wait(request.part(vec![0; 1000])).is_ok() {});
    };
    node.serve_stream("endless", ServeSpec::default(), endless).unwrap();
    let parts = node.call_stream("endless", Vec::new(), CallSpec::default()).unwrap();
    assert!(!wait(parts.next_batch()).unwrap().is_empty());
    assert_eq!(node.service_stats("endless").unwrap().in_flight, 1);
    parts.cancel();
    while node.service_stats("endless").unwrap().in_flight > 0 {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(wait(parts.next_batch()).unwrap().is_empty());
    wait(node.close(None, false)).unwrap();
}

/// Threads that wait for requests end with what they wait for, whatever of it is held.
#[test]
fn threads_that_wait_for_requests_end_when_the_service_is_stopped_or_the_node_closed() {
    let serve = |node: &Node, name: &str, stream| {
        node.serve_on_threads(name, ServeSpec::default(), stream, 4).unwrap()
    };
    let waits = |requests: &Arc<Requests>| {
        let (requests, (done, ended)) = (requests.clone(), channel());
        thread::spawn(move || done.send(requests.next().is_none()).unwrap());
        ended
    };
    let ends = |ended: Receiver<bool>| assert!(ended.recv_timeout(PATIENCE).expect("it ends"));

    let node = node();
    let (stopped, requests) = serve(&node, "stopped", false);
    let requests = Arc::new(requests);
    // One that has begun to wait, most likely, and one that comes later.
    let ended = [waits(&requests), waits(&requests)];
    stopped.stop();
    ended.into_iter().for_each(ends);
    ends(waits(&requests));

    let kept = [serve(&node, "calls", false), serve(&node, "parts", true)];
    let kept = kept.map(|(serving, requests)| (serving, Arc::new(requests)));
    let ended = kept.each_ref().map(|(_, requests)| waits(requests));
    // What waits for a thread when the node closes is not waited for.
    let call = node.call("calls".into(), vec![], CallSpec::default());
    let called = thread::spawn(move || wait(call));
    wait(node.close(Some(Duration::ZERO), false)).unwrap();
    assert!(called.join().unwrap().is_err());
    for ended in ended {
        // A request that came before is given out.
        ended.recv_timeout(PATIENCE).expect("it ends");
    }
    for (_, requests) in &kept {
        ends(waits(requests));
    }
}

/// As in a language with a lock round whatever runs: a thread asks with the lock, and
/// waits without. None is woken for a request that another takes, and none sleeps while
/// requests wait.
#[test]
fn threads_of_a_language_with_a_lock_answer_all_requests() {
    const CALLERS: usize = 16;
    const CALLS: usize = 200;
    let node = node();
    let spec = ServeSpec { max_inflight: Some(CALLERS), ..ServeSpec::default() };
    let (_serving, requests) = node.serve_on_threads("echo", spec, false, 4).unwrap();
    let (requests, lock) = (Arc::new(requests), Arc::new(Mutex::new(())));
    let workers = (0..4).map(|_| {
        let (requests, lock) = (requests.clone(), lock.clone());
        thread::spawn(move || {
            let mut woken = None;
            loop {
                let locked = lock.lock().unwrap();
                match requests.try_next(woken.take()) {
                    Next::Given(given) => given.request.answer(given.request.take_data()),
                    Next::End => return,
                    Next::Wait => {
                        drop(locked);
                        woken = requests.wait();
                        if woken.is_none() {
                            return;
                        }
                    }
                }
            }
        })
    });
    let workers: Vec<_> = workers.collect();
    let callers = (0..CALLERS).map(|n| {
        let node = node.clone();
        thread::spawn(move || {
            for call in 0..CALLS {
                let data = vec![n as u8, call as u8];
                let answer = wait(node.call("echo".into(), data.clone(), CallSpec::default()));
                assert_eq!(answer.unwrap().data, data);
            }
        })
    });
    callers.collect::<Vec<_>>().into_iter().for_each(|caller| caller.join().unwrap());
    wait(node.close(None, false)).unwrap();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

#[test]
fn threads_that_wait_for_requests_end_when_the_node_is_dropped() {
    let (requests, (done, ended)) = {
        let node = node();
        let (_serving, requests) =
            node.serve_on_threads("dropped", ServeSpec::default(), false, 4).unwrap();
        (requests, channel())
    };
    thread::spawn(move || done.send(requests.next().is_none()).unwrap());
    assert!(ended.recv_timeout(PATIENCE).expect("it ends"));
}
