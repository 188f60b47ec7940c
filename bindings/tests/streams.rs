//! Byte streams of the facade, over real nodes on the loopback interface.

use casm_bindings::{
    Batch, ByteStream, DEFAULT_TIMEOUT, Dispatcher, Error, ErrorKind, Listener, Node, Options,
    Peer, Piece, Query, Result, block, spawn, time_limit,
};
use std::{
    net::TcpListener,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    within(PATIENCE, future)
}

fn within<T>(time: Duration, future: impl Future<Output = Result<T>>) -> Result<T> {
    block("the test", future, Some(time), || Ok(()))
}

fn node(listen: &str) -> Node {
    let options = Options {
        listen: vec![listen.into()],
        boot: Some(vec!["none".into()]),
        ..Options::default()
    };
    wait(Node::start(options, Dispatcher::default())).unwrap()
}

/// Hands over the streams that come.
struct Streams(Sender<ByteStream>);

impl Listener<ByteStream> for Streams {
    fn deliver(&self, batch: &mut Batch<ByteStream>) {
        batch.for_each(|stream| drop(self.0.send(stream)));
    }
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    result.err().map(|error: Error| error.kind()).expect("an error")
}

/// Both ends of a stream.
fn pair(a: &Node, b: &Node, came: &Receiver<ByteStream>) -> (ByteStream, ByteStream) {
    let addrs: Vec<String> = b.addrs().unwrap();
    let here = wait(a.open_stream(addrs, "/x/1".into(), Some(PATIENCE))).unwrap();
    (here, came.recv_timeout(PATIENCE).unwrap())
}

fn read(stream: &ByteStream, most: usize) -> Result<Vec<u8>> {
    wait(stream.read(most)).map(Piece::into_vec)
}

fn read_all(stream: &ByteStream) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        match read(stream, 1 << 16).unwrap() {
            piece if piece.is_empty() => return all,
            piece => all.extend(piece),
        }
    }
}

#[test]
fn bytes_go_both_ways_and_calls_can_be_called_off() {
    for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
        let (a, b) = (node(listen), node(listen));
        let (sender, came) = channel();
        let served = b.on_stream("/x/1", Streams(sender)).unwrap();
        let ((here, there), dispatcher) = (pair(&a, &b, &came), Dispatcher::default());
        assert_eq!((here.peer(), there.peer(), there.protocol()), (b.id(), a.id(), "/x/1"));

        // A read that was called off has taken nothing.
        assert_eq!(kind(within(Duration::from_millis(20), there.read(10))), ErrorKind::Timeout);
        wait(here.write(b"hello".to_vec())).unwrap();
        assert_eq!(read(&there, 2).unwrap(), b"he");
        // Nor has one whose result nobody took; nothing is read before that.
        let untaken = wait(there.read(2)).unwrap();
        assert_eq!(kind(wait(there.read(10))), ErrorKind::Busy);
        drop(untaken);
        drop(wait(there.read(10)).unwrap());
        assert_eq!(read(&there, 1).unwrap(), b"l");
        drop(wait(there.read(1)).unwrap());
        assert_eq!(read(&there, 10).unwrap(), b"l");
        assert_eq!(read(&there, 10).unwrap(), b"o");
        assert_eq!(kind(read(&there, 0)), ErrorKind::Config);

        // When one is called off, another may begin at once.
        for _ in 0..20 {
            let ((begins, begun), (ends, ended)) = (channel(), channel());
            let read = there.read(1);
            let call = async move {
                begins.send(()).unwrap();
                read.await
            };
            let done = move |result: Result<Piece>| ends.send(kind(result)).unwrap();
            let reading = spawn("read", &dispatcher, call, None, done).unwrap();
            begun.recv_timeout(PATIENCE).unwrap();
            reading.cancel();
            let next = within(Duration::from_millis(1), there.read(1));
            assert_eq!(kind(next), ErrorKind::Timeout);
            assert_eq!(ended.recv_timeout(PATIENCE).unwrap(), ErrorKind::Cancelled);
        }

        // Each end closes its own.
        let many = vec![5; 1 << 20];
        let sends = {
            let (here, many) = (here.clone(), many.clone());
            thread::spawn(move || {
                wait(here.write(many)).unwrap();
                wait(here.close_write()).unwrap();
            })
        };
        assert_eq!(read_all(&there).len(), many.len());
        sends.join().unwrap();
        wait(here.close_write()).unwrap();
        assert_eq!(kind(wait(here.write(b"more".to_vec()))), ErrorKind::Closed);
        wait(there.write(b"bye".to_vec())).unwrap();
        wait(there.close()).unwrap();
        wait(there.close()).unwrap();
        assert_eq!(kind(read(&there, 1)), ErrorKind::Closed);
        assert_eq!(read_all(&here), b"bye");

        // By a record as well.
        let view = wait(a.wait_for(Query::all(), 2)).unwrap();
        let record = view.iter(Query::all()).find(|r| r.peer().to_base58() == b.id()).unwrap();
        let again = wait(a.open_stream(Peer::Record(record), "/x/1".into(), None)).unwrap();
        drop(came.recv_timeout(PATIENCE).unwrap());
        drop(again);

        served.cancel();
        while wait(a.open_stream(b.id(), "/x/1".into(), None)).is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(kind(wait(a.open_stream(b.id(), "/x/1".into(), None))), ErrorKind::Protocol);
        assert_eq!(kind(wait(a.open_stream(b.id(), "/casm/x".into(), None))), ErrorKind::Config);
    }
}

#[test]
fn a_write_that_is_called_off_half_way_resets_the_stream() {
    let (a, b) = (node("/ip4/127.0.0.1/tcp/0"), node("/ip4/127.0.0.1/tcp/0"));
    let (sender, came) = channel();
    let _served = b.on_stream("/x/1", Streams(sender)).unwrap();
    let (here, there) = pair(&a, &b, &came);
    // More than the peer has room for.
    let many = vec![1; 4 << 20];
    assert_eq!(kind(within(Duration::from_millis(100), here.write(many))), ErrorKind::Timeout);
    assert!(here.is_closed());
    assert_eq!(kind(wait(here.write(b"x".to_vec()))), ErrorKind::Closed);
    let broken = loop {
        match read(&there, 1 << 16) {
            Ok(piece) => assert!(!piece.is_empty(), "it is no end"),
            Err(error) => break error,
        }
    };
    assert_eq!(broken.kind(), ErrorKind::Unreachable, "{broken}");
    assert_eq!(kind(wait(there.write(b"x".to_vec()))), ErrorKind::Unreachable);
}

#[test]
fn one_call_at_a_time_reads_and_a_reset_ends_it() {
    let (a, b) = (node("/ip4/127.0.0.1/tcp/0"), node("/ip4/127.0.0.1/tcp/0"));
    let (sender, came) = channel();
    let _served = b.on_stream("/x/1", Streams(sender)).unwrap();
    let (here, there) = pair(&a, &b, &came);
    let reading = |stream: &ByteStream| {
        let stream = stream.clone();
        thread::spawn(move || {
            loop {
                match read(&stream, 1) {
                    // The test looks whether it reads.
                    Err(error) if error.kind() == ErrorKind::Busy => thread::yield_now(),
                    read => return read,
                }
            }
        })
    };
    let waits = reading(&here);
    while kind(within(Duration::from_millis(5), here.read(1))) != ErrorKind::Busy {}
    here.reset();
    assert_eq!(kind(waits.join().unwrap()), ErrorKind::Closed);
    assert_eq!(kind(read(&there, 1)), ErrorKind::Unreachable);

    // A stream ends with its node, and keeps it from closing by being dropped.
    let (here, _there) = pair(&a, &b, &came);
    let waits = reading(&here);
    drop(a.clone());
    wait(a.close(None, false)).unwrap();
    assert_eq!(kind(waits.join().unwrap()), ErrorKind::Closed);
    assert_eq!(kind(wait(here.write(b"x".to_vec()))), ErrorKind::Closed);
    assert_eq!(kind(a.on_stream("/y/1", Streams(channel().0))), ErrorKind::Closed);
}

/// A peer that takes connections, and says nothing.
fn mute() -> (Vec<String>, TcpListener) {
    const ID: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (vec![format!("/ip4/127.0.0.1/tcp/{port}/p2p/{ID}")], listener)
}

#[test]
fn what_is_opened_has_a_time_limit() {
    let a = node("/ip4/127.0.0.1/tcp/0");
    let (addrs, _listener) = mute();
    let (limit, peer) = (Some(Duration::from_millis(50)), || Some(Peer::from(addrs.clone())));
    let stream = wait(a.open_stream(addrs.clone(), "/x/1".into(), limit));
    let channel = wait(a.open_channel("jobs".into(), peer(), limit));
    let semaphore = wait(a.open_semaphore("leader".into(), peer(), limit));
    assert_eq!([kind(stream), kind(channel), kind(semaphore)], [ErrorKind::Timeout; 3]);
}

#[test]
fn a_time_limit_is_the_default_if_nothing_is_said_and_none_if_it_is_infinite() {
    assert_eq!(DEFAULT_TIMEOUT, Duration::from_secs(10));
    assert_eq!(time_limit("timeout", None).unwrap(), Some(DEFAULT_TIMEOUT));
    assert_eq!(time_limit("timeout", Some(f64::INFINITY)).unwrap(), None);
    assert_eq!(time_limit("timeout", Some(0.5)).unwrap(), Some(Duration::from_millis(500)));
    for wrong in [-1.0, f64::NAN, f64::NEG_INFINITY] {
        assert_eq!(kind(time_limit("timeout", Some(wrong))), ErrorKind::Config);
    }
}
