//! Calls in the background, over real nodes on the loopback interface.

use casm_uniffi::{
    ByteStream, CallOptions, CasmError, Change, ChangeListener, Config, Done, FindOptions,
    ListenerError, Node, PendingUnit, Query, Request, ServiceHandler, StreamListener,
    SubscribeOptions, TopicOptions, select, start_node, start_select,
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Option<f64> = Some(60.0);
const LONG: Duration = Duration::from_secs(60);

fn config(boot: &str) -> Config {
    Config {
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        boot: Some(vec![boot.into()]),
        ..Config::default()
    }
}

fn node() -> Node {
    Node::start(config("none"), PATIENCE, None).unwrap()
}

fn pair() -> [Node; 2] {
    let [a, b] = [node(), node()];
    a.connect(b.addrs().unwrap(), PATIENCE).unwrap();
    a.wait_for(2, PATIENCE, None).unwrap();
    b.wait_for(2, PATIENCE, None).unwrap();
    [a, b]
}

/// The name of the error's variant.
fn kind<T>(result: Result<T, CasmError>) -> String {
    let error = format!("{:?}", result.err().expect("an error"));
    error.split('(').next().unwrap().to_owned()
}

/// Waits, though not for a time: for what others do.
fn until(what: &str, mut there: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !there() {
        assert!(begun.elapsed() < LONG, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Sends something each time that it is told.
struct Tells(mpsc::Sender<thread::ThreadId>);

impl Done for Tells {
    fn done(&self) -> Result<(), ListenerError> {
        let _ = self.0.send(thread::current().id());
        Ok(())
    }
}

fn tells() -> (Arc<dyn Done>, mpsc::Receiver<thread::ThreadId>) {
    let (sender, told) = mpsc::channel();
    (Arc::new(Tells(sender)), told)
}

/// Waits until a call in the background is over, as a language does.
macro_rules! over {
    ($pending:expr) => {{
        let (done, told) = tells();
        $pending.when_done(done);
        told.recv_timeout(LONG).expect("it is told");
    }};
}

/// Its result.
macro_rules! finish {
    ($pending:expr) => {{
        let pending = $pending;
        over!(pending);
        pending.take()
    }};
}

#[test]
fn a_result_is_told_of_and_taken_once() {
    let node = finish!(start_node(config("none"), PATIENCE, None)).unwrap();
    let pending = node.start_wait_for(1, PATIENCE, None);
    let (done, told) = tells();
    pending.when_done(done);
    let thread = told.recv_timeout(LONG).unwrap();
    assert_ne!(thread, thread::current().id());
    // Over already: told before this returns, on this thread.
    let (late, told_late) = tells();
    pending.when_done(late);
    assert_eq!(told_late.try_recv(), Ok(thread::current().id()));
    assert_eq!(pending.take().unwrap().len(), 1);
    let second = pending.take().err().unwrap();
    assert!(matches!(&second, CasmError::Closed(m) if m.contains("wait_for")), "{second}");
    pending.cancel();
    assert_eq!(kind(pending.take()), "Closed");
    drop(pending);
    // Each was told once.
    assert_eq!(told.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Disconnected));
    assert_eq!(told_late.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Disconnected));
    finish!(node.start_close(PATIENCE, None, false)).unwrap();
    assert!(node.closed());
}

#[test]
fn what_is_not_over_cannot_be_taken_and_what_is_wrong_is_its_result() {
    let node = node();
    let pending = node.start_wait_for(9, None, None);
    let early = pending.take().err().unwrap();
    assert!(matches!(&early, CasmError::Busy(m) if m.contains("when_done")), "{early}");
    assert_eq!(kind(finish!(node.start_wait_for(9, Some(0.01), None))), "Timeout");
    assert_eq!(kind(finish!(node.start_wait_for(9, Some(-1.0), None))), "Config");
    assert_eq!(kind(finish!(node.start_set_ttl(-1.0, None))), "Config");
    assert_eq!(kind(finish!(node.start_view_of("nonsense".into(), None))), "Address");
    assert_eq!(kind(finish!(start_select(vec![], None))), "Invalid");
    let bad = Config { ttl: Some(-1.0), ..config("none") };
    assert_eq!(kind(finish!(start_node(bad, None, None))), "Config");
    // One that waits when its node closes.
    let (done, told) = tells();
    pending.when_done(done);
    node.close(PATIENCE, None, false).unwrap();
    told.recv_timeout(LONG).unwrap();
    assert_eq!(kind(pending.take()), "Closed");
    assert_eq!(kind(finish!(node.start_wait_for(1, None, None))), "Closed");
}

/// Keeps what it is asked.
struct Keeps(Mutex<Vec<Arc<Request>>>);

impl ServiceHandler for Keeps {
    fn on_request(&self, request: Arc<Request>) -> Result<(), ListenerError> {
        self.0.lock().unwrap().push(request);
        Ok(())
    }
}

#[test]
fn a_cancelled_call_ends_at_the_other_node_too() {
    let [a, b] = pair();
    let keeps = Arc::new(Keeps(Mutex::default()));
    b.serve("hangs".into(), keeps.clone(), None).unwrap();
    let options = || {
        let peer = Some(b.id());
        Some(CallOptions { peer, timeout: Some(f64::INFINITY), ..CallOptions::default() })
    };
    let ends = |calls: usize| {
        until("the call ends there", || {
            let kept = keeps.0.lock().unwrap();
            kept.len() == calls && kept[calls - 1].cancelled()
        });
    };
    let comes = |calls: usize| until("it comes", || keeps.0.lock().unwrap().len() == calls);

    let cancelled = a.start_call("hangs".into(), vec![], options());
    let (done, told) = tells();
    cancelled.when_done(done);
    comes(1);
    assert!(!keeps.0.lock().unwrap()[0].cancelled());
    cancelled.cancel();
    // At once.
    let error = cancelled.take().unwrap_err();
    assert!(matches!(&error, CasmError::Cancelled(m) if m.contains("call")), "{error}");
    ends(1);
    // Told all the same.
    told.recv_timeout(LONG).unwrap();
    cancelled.cancel();

    // What nobody holds any more is called off as well, and told to who wanted to know.
    let dropped = a.start_call("hangs".into(), vec![], options());
    let (done, told) = tells();
    dropped.when_done(done);
    comes(2);
    drop(dropped);
    ends(2);
    told.recv_timeout(LONG).unwrap();
    assert_eq!(told.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Disconnected));

    // And what stands on a call that answers in parts.
    b.serve_stream("parts".into(), keeps.clone(), None).unwrap();
    let parts = a.call_stream("parts".into(), vec![], options()).unwrap();
    let next = parts.start_next(None);
    comes(3);
    next.cancel();
    parts.cancel();
    ends(3);
    a.close(PATIENCE, None, false).unwrap();
    b.close(PATIENCE, Some(0.0), false).unwrap();
}

#[test]
fn a_value_that_nobody_takes_goes_back() {
    let [a, b] = pair();
    let own = a.channel("jobs".into(), 4, false).unwrap();
    let other = finish!(b.start_open_channel("jobs".into(), Some(a.id()), PATIENCE)).unwrap();
    for (channel, name) in [(&own, "here"), (&other, "elsewhere")] {
        let back = |what: &str| {
            assert_eq!(channel.recv(PATIENCE).unwrap(), b"x", "{name}, {what}");
        };
        finish!(channel.start_send(b"x".to_vec(), PATIENCE)).unwrap();
        let received = channel.start_recv(PATIENCE);
        over!(received);
        received.cancel();
        assert_eq!(kind(received.take()), "Cancelled");
        back("cancelled");
        own.send(b"x".to_vec(), PATIENCE).unwrap();
        let received = channel.start_recv(PATIENCE);
        over!(received);
        drop(received);
        back("dropped");
        own.send(b"x".to_vec(), PATIENCE).unwrap();
        let job = channel.start_take(PATIENCE);
        over!(job);
        job.cancel();
        back("a job");
        own.send(b"x".to_vec(), PATIENCE).unwrap();
        let selected = start_select(vec![Arc::new(channel.receiving())], PATIENCE);
        over!(selected);
        selected.cancel();
        back("selected");
        // One that is waiting takes nothing from who comes later.
        let waits = channel.start_recv(None);
        let selects = start_select(vec![Arc::new(channel.receiving())], None);
        waits.cancel();
        selects.cancel();
        own.send(b"x".to_vec(), PATIENCE).unwrap();
        back("called off");
        own.send(b"x".to_vec(), PATIENCE).unwrap();
        let taken = finish!(channel.start_take(PATIENCE)).unwrap();
        finish!(taken.start_give_back(PATIENCE)).unwrap();
        let taken = finish!(channel.start_take(PATIENCE)).unwrap();
        assert_eq!(taken.data(), b"x");
        finish!(taken.start_done(PATIENCE)).unwrap();
    }
    own.send(b"y".to_vec(), PATIENCE).unwrap();
    let branches = vec![Arc::new(other.receiving())];
    let selected = finish!(start_select(branches, PATIENCE)).unwrap();
    assert_eq!(selected.value, Some(b"y".to_vec()));
    assert_eq!(kind(select(vec![Arc::new(own.receiving())], Some(0.01))), "Timeout");

    let semaphore = finish!(a.start_semaphore("leader".into(), 1, PATIENCE)).unwrap();
    let opened = a.id();
    let elsewhere = finish!(b.start_open_semaphore("leader".into(), Some(opened), PATIENCE));
    let elsewhere = elsewhere.unwrap();
    let lease = elsewhere.start_acquire(PATIENCE);
    over!(lease);
    let waits = semaphore.start_acquire(PATIENCE);
    lease.cancel();
    let lease = finish!(waits).unwrap();
    let lost = lease.start_wait_lost(PATIENCE);
    lease.release();
    finish!(lost).unwrap();
    finish!(own.start_close(PATIENCE)).unwrap();
    a.close(PATIENCE, None, false).unwrap();
    b.close(PATIENCE, None, false).unwrap();
}

#[test]
fn an_item_that_nobody_takes_is_given_to_the_next_call() {
    let node = node();
    let changes = node.subscribe(Query::default()).unwrap();
    node.set_host("one".into(), PATIENCE).unwrap();
    node.set_host("two".into(), PATIENCE).unwrap();
    let host = |change: Option<Change>| match change {
        Some(Change::Current { record } | Change::Joined { record }) => record.host,
        Some(Change::Updated { record, .. }) => record.host,
        other => panic!("{other:?}"),
    };
    // The first comes from the source, and others from what was taken with it.
    let mut hosts = vec![];
    while hosts.last().is_none_or(|host| host != "two") {
        for _ in 0..2 {
            let unread = changes.start_next(PATIENCE);
            over!(unread);
            unread.cancel();
            assert_eq!(kind(unread.take()), "Cancelled");
        }
        let unread = changes.start_next(PATIENCE);
        over!(unread);
        drop(unread);
        hosts.push(host(finish!(changes.start_next(PATIENCE)).unwrap()));
    }
    // Each change came, and each once.
    assert_eq!(hosts.iter().filter(|host| *host == "two").count(), 1);
    assert!(hosts.contains(&"one".to_owned()) || hosts.len() == 1, "{hosts:?}");
    // One that was called off leaves its place.
    let waits = loop {
        let waits = changes.start_next(None);
        // Else the other was first.
        if kind(changes.next(Some(0.02))) == "Busy" {
            break waits;
        }
    };
    waits.cancel();
    node.set_host("three".into(), PATIENCE).unwrap();
    assert_eq!(host(changes.next(PATIENCE).unwrap()), "three");
    let unread = changes.start_next(PATIENCE);
    node.set_host("four".into(), PATIENCE).unwrap();
    over!(unread);
    changes.cancel();
    drop(unread);
    assert!(finish!(changes.start_next(PATIENCE)).unwrap().is_none());

    let events = node.events().unwrap();
    let found = node.find_peers(FindOptions::default()).unwrap();
    assert!(finish!(found.start_next(PATIENCE)).unwrap().is_none());
    let waits = events.start_next(None);
    node.close(PATIENCE, None, false).unwrap();
    over!(waits);
    while finish!(events.start_next(PATIENCE)).unwrap().is_some() {}
}

/// Sends on the streams that it is given.
struct Streams(mpsc::Sender<Arc<ByteStream>>);

impl StreamListener for Streams {
    fn on_stream(&self, stream: Arc<ByteStream>, _: String) -> Result<(), ListenerError> {
        let _ = self.0.send(stream);
        Ok(())
    }
}

#[test]
fn a_stream_that_nobody_takes_is_reset_and_a_read_that_is_called_off_loses_nothing() {
    let [a, b] = pair();
    let (sender, came) = mpsc::channel();
    b.on_stream("/x/1".into(), Arc::new(Streams(sender))).unwrap();
    let open = || a.start_open_stream(vec![b.id()], "/x/1".into(), PATIENCE);
    let opened = open();
    over!(opened);
    let there = came.recv_timeout(LONG).unwrap();
    opened.cancel();
    assert_eq!(kind(finish!(there.start_read(1, PATIENCE))), "Unreachable");

    let here = finish!(open()).unwrap();
    let there = came.recv_timeout(LONG).unwrap();
    for _ in 0..100 {
        let read = there.start_read(9, None);
        read.cancel();
        // At once, with no `Busy`: nothing is left of the one before.
        let read = there.start_read(9, None);
        thread::yield_now();
        read.cancel();
    }
    // What had come when it was called off is read next, in its place.
    here.write(b"well, ".to_vec(), PATIENCE).unwrap();
    for _ in 0..2 {
        let read = there.start_read(6, PATIENCE);
        over!(read);
        read.cancel();
        let read = there.start_read(6, PATIENCE);
        over!(read);
        drop(read);
    }
    let mut came = there.read(2, PATIENCE).unwrap();
    while came.len() < 6 {
        came.extend(there.read(6, PATIENCE).unwrap());
    }
    assert_eq!(came, b"well, ");
    finish!(here.start_write(b"hello".to_vec(), PATIENCE)).unwrap();
    finish!(here.start_close_write(PATIENCE)).unwrap();
    assert_eq!(finish!(there.start_read(9, PATIENCE)).unwrap(), b"hello");
    assert!(finish!(there.start_read(9, PATIENCE)).unwrap().is_empty());
    finish!(there.start_close(PATIENCE)).unwrap();
    assert!(there.closed());
    a.close(PATIENCE, None, false).unwrap();
    b.close(PATIENCE, None, false).unwrap();
}

#[test]
fn a_node_that_starts_for_nobody_is_closed() {
    let first = node();
    let seen = || first.view().unwrap().len();
    let second = start_node(config(&first.addrs().unwrap()[0]), PATIENCE, None);
    over!(second);
    until("it is seen", || seen() == 2);
    second.cancel();
    assert_eq!(kind(second.take()), "Cancelled");
    until("it has left", || seen() == 1);
    first.close(PATIENCE, None, false).unwrap();
}

/// Throws, having counted.
struct Throws(Arc<AtomicUsize>);

impl Done for Throws {
    fn done(&self) -> Result<(), ListenerError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(ListenerError::Failed { reason: "on purpose".into() })
    }
}

/// Does what no `Done` should.
struct Panics;

impl Done for Panics {
    fn done(&self) -> Result<(), ListenerError> {
        panic!("on purpose")
    }
}

#[test]
fn what_is_told_and_fails_hurts_nobody_else() {
    let node = node();
    let count = Arc::new(AtomicUsize::new(0));
    let pending = node.start_wait_for(9, None, None);
    let (done, told) = tells();
    pending.when_done(Arc::new(Throws(count.clone())));
    pending.when_done(done);
    pending.cancel();
    told.recv_timeout(LONG).unwrap();
    // Over: told from within the call, which is fine all the same.
    pending.when_done(Arc::new(Throws(count.clone())));
    assert_eq!(count.load(Ordering::SeqCst), 2);
    let panics = node.start_wait_for(9, None, None);
    panics.when_done(Arc::new(Panics));
    panics.cancel();
    // The thread lives on.
    finish!(node.start_set_host("after".into(), PATIENCE)).unwrap();
    node.close(PATIENCE, None, false).unwrap();
}

/// Waits for a call in the background, as nobody should who is told of changes.
struct Blocks(Arc<Node>, mpsc::Sender<Result<(), CasmError>>);

impl ChangeListener for Blocks {
    fn on_change(&self, _: Change) -> Result<(), ListenerError> {
        let pending: Arc<PendingUnit> = self.0.start_set_host("inside".into(), PATIENCE);
        over!(pending);
        let _ = self.1.send(pending.take());
        Ok(())
    }
}

#[test]
fn a_callback_that_waits_for_a_call_in_the_background_is_told_of_it() {
    let node = Arc::new(node());
    let (sender, ends) = mpsc::channel();
    let subscription = node.on_change(Query::default(), Arc::new(Blocks(node.clone(), sender)));
    let subscription = subscription.unwrap();
    ends.recv_timeout(LONG).unwrap().unwrap();
    subscription.cancel();
    node.close(PATIENCE, None, false).unwrap();
}

#[test]
fn calls_are_cancelled_and_told_from_many_threads() {
    const EACH: usize = 200;
    let node = node();
    let own = node.channel("c".into(), 1000, false).unwrap();
    for _ in 0..EACH {
        own.send(b"x".to_vec(), PATIENCE).unwrap();
    }
    thread::scope(|scope| {
        for n in 0..4 {
            let own = &own;
            scope.spawn(move || {
                for m in 0..EACH {
                    let pending = own.start_recv(None);
                    let (done, told) = tells();
                    pending.when_done(done);
                    if (n + m) % 2 == 0 {
                        thread::yield_now();
                    }
                    pending.cancel();
                    told.recv_timeout(LONG).unwrap();
                    assert_eq!(told.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Disconnected));
                    assert_eq!(kind(pending.take()), "Cancelled");
                }
            });
        }
    });
    // Whenever it was cancelled: nothing is lost.
    assert_eq!(own.waiting(), Some(EACH as u32));
    node.close(PATIENCE, None, false).unwrap();
}

#[test]
fn topics_and_pauses_in_the_background() {
    let [a, b] = pair();
    let topic = a.topic("news".into(), TopicOptions::default()).unwrap();
    let theirs = b.topic("news".into(), TopicOptions::default()).unwrap();
    let messages = theirs.subscribe(SubscribeOptions::default()).unwrap();
    let next = messages.start_next(PATIENCE);
    assert_eq!(finish!(topic.start_wait_for_peers(1, PATIENCE)).unwrap(), [b.id()]);
    assert_eq!(finish!(topic.start_publish(b"x".to_vec(), PATIENCE)).unwrap(), 1);
    assert_eq!(finish!(next).unwrap().unwrap().data, b"x");
    let remote = finish!(a.start_view_of(b.id(), PATIENCE)).unwrap();
    assert_eq!(finish!(remote.start_count(Query::default(), PATIENCE)).unwrap(), 2);
    let found = finish!(remote.start_lookup(Query::default(), PATIENCE)).unwrap();
    let found = found.unwrap().peer;
    assert_eq!(finish!(remote.start_get(found.clone(), PATIENCE)).unwrap().unwrap().peer, found);
    let records = remote.iter(Query::default()).unwrap();
    assert!(finish!(records.start_next(PATIENCE)).unwrap().is_some());
    let replies = a.call_all("nobody".into(), vec![], None).unwrap();
    assert!(finish!(replies.start_next(PATIENCE)).unwrap().is_none());
    let waits = b.start_connect(vec!["/ip4/127.0.0.1/tcp/1".into()], PATIENCE);
    over!(waits);
    assert_eq!(kind(waits.take()), "Unreachable");
    finish!(a.start_pause(PATIENCE)).unwrap();
    assert!(a.is_paused().unwrap());
    assert_eq!(kind(finish!(a.start_connect(vec![b.id()], PATIENCE))), "Paused");
    finish!(a.start_resume(PATIENCE)).unwrap();
    finish!(a.start_update_meta([("k".into(), Some("v".into()))].into(), PATIENCE)).unwrap();
    finish!(a.start_set_meta([].into(), PATIENCE)).unwrap();
    finish!(a.start_advertise("other".into(), 10.0, PATIENCE)).unwrap();
    finish!(a.start_close(PATIENCE, Some(0.0), false)).unwrap();
    b.close(PATIENCE, None, false).unwrap();
}
