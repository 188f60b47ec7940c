//! The exported calls over real nodes, which listen on the loopback interface
//! only.

use casm_bindings::{Error, ErrorKind};
use casm_uniffi::{
    CasmError, Change, ChangeListener, Config, Event, EventListener, FindOptions, ListenerError,
    Node, Query, Secret, select,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

const PATIENCE: Option<f64> = Some(60.0);

fn node(boot: &str, role: &str) -> Node {
    let config = Config {
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        boot: Some(vec![boot.into()]),
        meta: [("role".to_owned(), role.to_owned())].into(),
        ..Config::default()
    };
    Node::start(config, PATIENCE, None).unwrap()
}

fn matching(text: &str) -> Query {
    Query { matching: Some(text.into()), ..Query::default() }
}

/// The name of the error's variant.
fn kind<T>(result: Result<T, CasmError>) -> String {
    let error = format!("{:?}", result.err().expect("an error"));
    error.split('(').next().unwrap().to_owned()
}

#[test]
fn what_is_opened_at_a_peer_that_never_answers_is_given_up() {
    let here = node("none", "here");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = format!("/ip4/127.0.0.1/tcp/{port}");
    let limit = Some(0.05);
    let stream = here.open_stream(vec![peer.clone()], "/x/1".into(), limit);
    let channel = here.open_channel("jobs".into(), Some(peer.clone()), limit);
    let semaphore = here.open_semaphore("leader".into(), Some(peer.clone()), limit);
    assert_eq!([kind(stream), kind(channel), kind(semaphore)], ["Timeout"; 3]);
    assert_eq!(kind(here.open_channel("jobs".into(), Some(peer), Some(-1.0))), "Config");
}

#[test]
fn values_and_leases_go_from_node_to_node() {
    let (here, there) = (node("none", "here"), node("none", "there"));
    here.connect(there.addrs().unwrap(), PATIENCE).unwrap();
    // The other end may be told of the connection a moment later.
    there.wait_for(2, PATIENCE, None).unwrap();
    let own = here.channel("jobs".into(), 2, false).unwrap();
    let other = there.open_channel("jobs".into(), Some(here.id()), PATIENCE).unwrap();
    other.send(b"1".to_vec(), PATIENCE).unwrap();
    assert_eq!((own.waiting(), other.waiting(), other.in_doubt()), (Some(1), None, 0));
    assert_eq!(own.recv(PATIENCE).unwrap(), b"1");
    assert_eq!(kind(other.recv(Some(0.05))), "Timeout");
    own.send(b"2".to_vec(), None).unwrap();
    let job = other.take(PATIENCE).unwrap();
    assert_eq!((job.data(), job.lost()), (b"2".to_vec(), false));
    job.done(PATIENCE).unwrap();
    assert_eq!(kind(job.give_back(PATIENCE)), "Closed");
    own.send(b"3".to_vec(), None).unwrap();
    let branches = vec![Arc::new(other.receiving())];
    let selected = select(branches.clone(), PATIENCE).unwrap();
    assert_eq!((selected.index, selected.value), (0, Some(b"3".to_vec())));
    assert_eq!(kind(select(branches, Some(0.05))), "Timeout");
    assert_eq!(kind(other.close(PATIENCE)), "Invalid");
    own.close(None).unwrap();
    assert_eq!(kind(other.recv(PATIENCE)), "Closed");
    assert_eq!(kind(own.send(Vec::new(), None)), "Closed");

    let semaphore = here.semaphore("leader".into(), 1, PATIENCE).unwrap();
    let elsewhere = there.open_semaphore("leader".into(), Some(here.id()), PATIENCE).unwrap();
    let lease = elsewhere.acquire(PATIENCE).unwrap();
    assert_eq!(kind(semaphore.acquire(Some(0.05))), "Timeout");
    assert_eq!(kind(lease.wait_lost(Some(0.05))), "Timeout");
    lease.release();
    assert!(lease.lost() && semaphore.acquire(PATIENCE).unwrap().token() > lease.token());
    assert_eq!(kind(elsewhere.close()), "Invalid");
    here.close(PATIENCE, None, false).unwrap();
    assert_eq!(kind(here.channel("c".into(), 0, false)), "Closed");
    assert_eq!(kind(here.open_channel("c".into(), Some(there.id()), PATIENCE)), "Closed");
    assert_eq!(kind(here.semaphore("c".into(), 1, PATIENCE)), "Closed");
    assert_eq!(kind(here.open_semaphore("c".into(), Some(there.id()), PATIENCE)), "Closed");
    there.close(PATIENCE, None, false).unwrap();
}

/// Sends on what it is told, having failed at the first call.
struct Flaky(mpsc::Sender<Change>, AtomicBool);

impl ChangeListener for Flaky {
    fn on_change(&self, change: Change) -> Result<(), ListenerError> {
        if !self.1.swap(true, Ordering::Relaxed) {
            return Err(ListenerError::Failed { reason: "it is to be counted".into() });
        }
        let _ = self.0.send(change);
        Ok(())
    }
}

/// Is told, and does nothing.
struct Deaf;

impl EventListener for Deaf {
    fn on_event(&self, _: Event) -> Result<(), ListenerError> {
        Ok(())
    }
}

impl ChangeListener for Deaf {
    fn on_change(&self, _: Change) -> Result<(), ListenerError> {
        Ok(())
    }
}

/// Sends on what it is told.
struct Heard(mpsc::Sender<Event>);

impl EventListener for Heard {
    fn on_event(&self, event: Event) -> Result<(), ListenerError> {
        let _ = self.0.send(event);
        Ok(())
    }
}

#[test]
fn a_listener_that_is_given_at_the_start_is_told_the_first_event() {
    let (sender, told) = mpsc::channel();
    let config = Config {
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        boot: Some(vec!["none".into()]),
        ..Config::default()
    };
    let node = Node::start(config, PATIENCE, Some(Arc::new(Heard(sender)))).unwrap();
    let first = told.recv_timeout(Duration::from_secs(60)).unwrap();
    let Event::Listening { peer, addrs } = first else { panic!("{first:?}") };
    assert_eq!((peer, addrs), (node.id(), node.addrs().unwrap()));
    // It goes on, though nobody holds a subscription, until the node is closed.
    node.close(PATIENCE, None, false).unwrap();
    while told.recv_timeout(Duration::from_secs(60)).is_ok() {}
    assert_eq!(told.try_recv().unwrap_err(), mpsc::TryRecvError::Disconnected);
}

#[test]
fn two_nodes_see_each_other() {
    let first = node("none", "boss");
    let second = node(&first.addrs().unwrap()[0], "worker");
    let changes = first.subscribe(matching("meta:role=worker")).unwrap();
    let view = second.wait_for(2, PATIENCE, None).unwrap();
    assert_eq!(view.len(), 2);
    assert_eq!(view.lookup(matching("meta:role=boss")).unwrap().unwrap().peer, first.id());
    let record = view.get(second.id()).unwrap().unwrap();
    assert_eq!(record.addrs, second.info().unwrap().addrs);
    assert_eq!((record.ttl, record.meta["role"].as_str()), (10.0, "worker"));
    assert!(second.connected().unwrap().contains(&first.id()));
    assert_eq!(second.connect(first.addrs().unwrap(), PATIENCE).unwrap(), first.id());
    let remote = first.view_of(second.id(), PATIENCE).unwrap();
    assert_eq!(
        (remote.peer(), remote.count(Query::default(), PATIENCE).unwrap()),
        (second.id(), 2)
    );
    let records = remote.iter(Query::default()).unwrap();
    let peers = std::iter::from_fn(|| records.next(PATIENCE).unwrap()).map(|record| record.peer);
    let mut expected = [first.id(), second.id()];
    let mut peers: Vec<_> = peers.collect();
    expected.sort();
    peers.sort();
    assert_eq!(peers, expected);
    second.close(PATIENCE, None, false).unwrap();
    loop {
        match changes.next(PATIENCE).unwrap() {
            Some(Change::Left { record }) => break assert_eq!(record.peer, second.id()),
            Some(_) => {}
            None => panic!("no record left"),
        }
    }
    first.close(PATIENCE, None, false).unwrap();
}

#[test]
fn a_listener_that_fails_is_counted_and_told_the_next_event() {
    let node = node("none", "boss");
    let (sender, told) = mpsc::channel();
    let listener = Arc::new(Flaky(sender, AtomicBool::default()));
    let subscription = node.on_change(Query::default(), listener).unwrap();
    node.wait_for(1, PATIENCE, None).unwrap();
    node.set_host("first".into(), PATIENCE).unwrap();
    node.set_host("second".into(), PATIENCE).unwrap();
    told.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!((subscription.failed(), subscription.dropped()), (1, 0));
    subscription.cancel();
    node.close(PATIENCE, None, false).unwrap();
}

#[test]
fn every_call_of_a_closed_node_gives_closed() {
    let node = node("none", "boss");
    let (events, changes) = (node.events().unwrap(), node.subscribe(Query::default()).unwrap());
    assert!(!node.closed());
    node.close(PATIENCE, None, false).unwrap();
    node.close(PATIENCE, None, false).unwrap();
    assert!(node.closed() && !node.id().is_empty() && node.namespace() == "casm");
    while events.next(PATIENCE).unwrap().is_some() {}
    while changes.next(PATIENCE).unwrap().is_some() {}
    let id = node.id();
    for kind in [
        kind(node.addrs()),
        kind(node.info()),
        kind(node.view()),
        kind(node.connected()),
        kind(node.peer_status(id.clone())),
        kind(node.metrics()),
        kind(node.metrics_snapshot()),
        kind(node.wait_for(1, None, None)),
        kind(node.view_of(id.clone(), None)),
        kind(node.connect(vec![id], None)),
        kind(node.advertise("other".into(), 1.0, None)),
        kind(node.set_meta([].into(), None)),
        kind(node.update_meta([].into(), None)),
        kind(node.set_host("h".into(), None)),
        kind(node.set_ttl(10.0, None)),
        kind(node.events()),
        kind(node.on_event(Arc::new(Deaf))),
        kind(node.on_change(Query::default(), Arc::new(Deaf))),
        kind(node.subscribe(Query::default())),
        kind(node.find_peers(FindOptions::default())),
    ] {
        assert_eq!(kind, "Closed");
    }
}

#[test]
fn what_cannot_be_is_refused_with_its_kind_and_value() {
    let start = |config| Node::start(config, PATIENCE, None);
    for (config, value) in [
        (Config { namespace: Some("a b".into()), ..Config::default() }, "a b"),
        (Config { ttl: Some(-1.0), ..Config::default() }, "-1"),
        (Config { pex_tick: Some(f64::NAN), ..Config::default() }, "NaN"),
    ] {
        let error = start(config).err().expect("an error");
        assert!(matches!(&error, CasmError::Config(message) if message.contains(value)), "{error}");
    }
    let node = node("none", "boss");
    let view = node.view().unwrap();
    let both = Query { from: Some("host:a".into()), ..matching("host:a") };
    for (kind, expected) in [
        (kind(view.iter(matching("nonsense"))), "Config"),
        (kind(view.count(both.clone())), "Invalid"),
        (kind(node.subscribe(both)), "Invalid"),
        (kind(view.get("nonsense".into())), "Address"),
        (kind(node.view_of("nonsense".into(), PATIENCE)), "Address"),
        (kind(node.connect(vec!["nonsense".into()], PATIENCE)), "Address"),
        (kind(node.wait_for(100, Some(0.01), None)), "Timeout"),
        (kind(node.wait_for(100, Some(f64::INFINITY), None)), "Config"),
        (kind(node.set_ttl(-1.0, None)), "Config"),
        (kind(node.advertise("a b".into(), 1.0, PATIENCE)), "Config"),
        (
            kind(node.find_peers(FindOptions { timeout: Some(-1.0), ..FindOptions::default() })),
            "Config",
        ),
    ] {
        assert_eq!(kind, expected);
    }
    node.close(PATIENCE, None, false).unwrap();
}

#[test]
fn every_error_kind_of_core_has_its_variant() {
    for &expected in ErrorKind::ALL {
        let error = CasmError::from(Error::new(expected, "what, and what to do"));
        assert_eq!(error.to_string(), "what, and what to do");
        assert_eq!(kind::<()>(Err(error)), expected.name());
    }
}

#[test]
fn the_cause_of_an_error_is_told_once() {
    let error = Error::new(ErrorKind::Io, "no key").with_source("no file");
    assert_eq!(CasmError::from(error).to_string(), "no key: no file");
    let error = Error::new(ErrorKind::Io, "no file: make one").with_source("no file");
    assert_eq!(CasmError::from(error).to_string(), "no file: make one");
}

#[test]
fn who_holds_the_secret_is_in_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("swarm.key").display().to_string();
    let secret = Arc::new(Secret::generate().unwrap());
    secret.save(path.clone()).unwrap();
    let read = Secret::parse(std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(read.fingerprint(), secret.fingerprint());
    assert_eq!(kind(secret.save(path.clone())), "Config");
    assert_eq!(kind(Secret::parse(b"/key/swarm/psk/1.0.0/\n".to_vec())), "Config");
    let start = |secret| {
        let config = Config {
            namespace: Some("private".into()),
            listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
            boot: Some(vec!["none".into()]),
            secret,
            ..Config::default()
        };
        Node::start(config, PATIENCE, None).unwrap()
    };
    let member = start(Some(secret));
    let other = start(Some(Arc::new(Secret::load(path).unwrap())));
    let addrs = member.addrs().unwrap();
    other.connect(addrs.clone(), PATIENCE).unwrap();
    assert_eq!(other.wait_for(2, PATIENCE, None).unwrap().len(), 2);
    let strangers = [start(None), start(Some(Arc::new(Secret::generate().unwrap())))];
    for stranger in &strangers {
        assert_eq!(kind(stranger.connect(addrs.clone(), PATIENCE)), "Unreachable");
    }
    for node in strangers.iter().chain([&member, &other]) {
        node.close(PATIENCE, None, false).unwrap();
    }
}

#[test]
fn a_node_pauses_and_comes_back() {
    let node = node("none", "worker");
    node.pause(PATIENCE).unwrap();
    assert!(node.is_paused().unwrap() && node.addrs().unwrap().is_empty());
    let nobody = vec!["/ip4/127.0.0.1/tcp/1".into()];
    assert_eq!(kind(node.connect(nobody, PATIENCE)), "Paused");
    node.resume(PATIENCE).unwrap();
    assert!(!node.is_paused().unwrap() && !node.addrs().unwrap().is_empty());
    node.close(PATIENCE, None, false).unwrap();
    assert_eq!(kind(node.pause(PATIENCE)), "Closed");
}
