"""Callbacks: on one thread, with no lock held, whatever they do."""

import gc
import logging
import queue
import threading

import casm
import casm.aio
import casm.testing
import pytest
from casm import _casm
from conftest import PATIENCE


def flood(node, count, callback):
    """So many events, and the subscription once all are delivered."""
    done = threading.Event()
    left = count

    def counted(event):
        nonlocal left
        left -= 1
        try:
            callback(event)
        finally:
            if left == 0:
                done.set()

    subscription = _casm.bench_events(node, count, counted)
    assert done.wait(PATIENCE)
    return subscription


def test_one_dispatcher_thread_per_node_delivers_all_callbacks(node):
    seen = set()
    for _ in range(3):
        flood(node, 100, lambda event: seen.add(threading.get_ident()))
    assert len(seen) == 1 and threading.get_ident() not in seen


def test_a_callback_is_told_that_a_peer_has_failed(node):
    events = queue.Queue()
    subscription = _casm.bench_failed(node, events.put)
    left = events.get(timeout=PATIENCE)
    assert isinstance(left, casm.PeerLeft)
    assert (left.peer, left.reason, left.name) == (node.id, "failed", "peer-left")
    subscription.cancel()


@pytest.mark.parametrize("by_config", [False, True])
def test_a_callback_that_is_given_at_the_start_hears_the_first_event(by_config):
    events, options = queue.Queue(), casm.testing.options(ttl=3600)
    if by_config:
        start = lambda: casm.Node.start(casm.Config(**options), on_event=events.put)  # noqa: E731
    else:
        start = lambda: casm.Node(**options, on_event=events.put)  # noqa: E731
    with start() as node, casm.Node(**options) as other:
        first = events.get(timeout=PATIENCE)
        assert isinstance(first, casm.Listening)
        assert (first.peer, first.addrs) == (node.id, node.addrs())
        other.connect(node.info())
        connected = lambda event: isinstance(event, casm.Connected) and event.peer == other.id  # noqa: E731
        while not connected(events.get(timeout=PATIENCE)):
            pass


def test_what_is_given_at_the_start_and_cannot_be_called_is_refused():
    for start in (casm.Node, casm.aio.Node):
        with pytest.raises(TypeError, match="callback: 3"):
            start(**casm.testing.options(), on_event=3)


def test_no_thread_is_started_before_a_callback_is_given(python):
    """In a Python of its own, where no other thread comes or goes."""
    done = python("""
import _thread
node = casm.Node(**options())
list(node.find_peers(limit=1, timeout=0.01))
assert _thread._count() == 0
called = threading.Event()
subscriptions = [node.on_event(lambda event: None) for _ in range(3)]
casm._casm.bench_events(node, 1, lambda event: called.set())
assert called.wait(60)
assert _thread._count() == 1, _thread._count()
""")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_callback_that_throws_is_logged_and_counted_and_delivery_goes_on(node, caplog):
    delivered = []

    def throws(event):
        delivered.append(event)
        if len(delivered) % 2:
            raise ValueError("thrown by a callback")

    with caplog.at_level(logging.ERROR, "casm"):
        subscription = flood(node, 10, throws)
    # The count of the last one follows its call.
    wait_until(lambda: subscription.failed == 5)
    assert len(delivered) == 10
    assert sum("thrown by a callback" in str(r.exc_info[1]) for r in caplog.records) == 5


def wait_until(condition):
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.01)):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not become true")


def test_delivery_goes_on_when_the_log_handler_fails_too(node, capfd):
    class Fails(logging.Handler):
        def emit(self, record):
            raise RuntimeError("a handler that fails")

    def fails(event):
        raise ValueError("a callback that fails")

    handler = Fails()
    logging.getLogger("casm").addHandler(handler)
    try:
        subscription = flood(node, 10, fails)
        wait_until(lambda: subscription.failed == 10)
    finally:
        logging.getLogger("casm").removeHandler(handler)
    assert "a handler that fails" in capfd.readouterr().err


def test_delivery_goes_on_when_standard_error_is_closed(python):
    """As that of a daemon may be: to it logging writes when nobody has set it up."""
    done = python("""
sys.stderr.close()
node = casm.Node(**options())
done = threading.Event()
calls = 0

def fails(event):
    global calls
    calls += 1
    if calls == 10:
        done.set()
    raise ValueError("a callback that fails")

subscription = casm._casm.bench_events(node, 10, fails)
assert done.wait(60)
node.close()
print(subscription.failed)
""")
    assert (done.returncode, done.stdout.strip()) == (0, "10"), done


def test_close_works_from_inside_a_callback(node):
    outcome = queue.Queue()

    def close(event):
        node.close()
        try:
            node.view()
        except casm.ClosedError as error:
            outcome.put(error)

    _casm.bench_events(node, 1, close)
    assert isinstance(outcome.get(timeout=PATIENCE), casm.ClosedError)
    assert node.closed


def test_calls_from_inside_a_callback_work(node):
    outcome = queue.Queue()

    def calls(event):
        node.set_meta({"set": "inside"})
        with casm.testing.cluster(1, namespace=node.namespace) as (other,):
            other.connect(node.info())
            outcome.put(len(node.wait_for(2, timeout=PATIENCE)))
        node.on_event(outcome.put).cancel()

    _casm.bench_events(node, 1, calls)
    assert outcome.get(timeout=PATIENCE) == 2


def test_no_lock_is_held_while_a_callback_runs(node):
    """Another thread can do everything with the node meanwhile."""
    outcome = queue.Queue()

    def work():
        with node.on_event(print), node.on_change(print) as changes, node.events():
            changes.cancel()
            node.set_meta({"from": "a thread"})
            outcome.put(len(node.view()))
        node.close()
        outcome.put(node.closed)

    def callback(event):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(PATIENCE)
        outcome.put(thread.is_alive())

    _casm.bench_events(node, 1, callback)
    assert [outcome.get(timeout=2 * PATIENCE) for _ in range(3)] == [1, True, False]


def test_a_cancelled_subscription_calls_nothing_more(node):
    calls = []
    holder = []
    got = threading.Event()

    def cancel(event):
        got.wait(PATIENCE)
        calls.append(event)
        holder[0].cancel()

    holder.append(_casm.bench_events(node, 1000, cancel))
    got.set()
    # What is delivered after it comes after what was left of it.
    wait_until(lambda: calls)
    flood(node, 10, lambda event: None)
    assert len(calls) == 1 and holder[0].cancelled
    with node.on_event(calls.append) as subscription:
        assert not subscription.cancelled
    assert subscription.cancelled


def test_a_subscription_that_nobody_holds_goes_on(node):
    calls = []
    node.on_event(calls.append)
    gc.collect()
    with casm.Node(**casm.testing.options(namespace=node.namespace)) as other:
        other.connect(node.info(), timeout=PATIENCE)
        wait_until(lambda: any(isinstance(event, casm.PeerJoined) for event in calls))


def test_the_oldest_events_are_dropped_when_a_callback_is_too_slow_and_counted(node):
    """The queue of events is bounded: 4096."""
    go = threading.Event()
    events = []

    def slow(event):
        go.wait(PATIENCE)
        events.append(event)

    # Changes of the node's own record are what can be made fast.
    with node.on_change(slow, casm.Query.all()) as subscription:
        for n in range(5000):
            node.set_meta({"n": str(n)})
        go.set()
        wait_until(lambda: events and events[-1].record and events[-1].record.meta.get("n") == "4999")
        assert subscription.dropped > 0
        (gap,) = [e for e in events if e.kind == "dropped"]
        assert (gap.count, gap.record) == (subscription.dropped, None)
        # After the gap the whole picture comes again.
        assert events[events.index(gap) + 1].kind == "current"
        assert subscription.failed == 0


def test_another_thread_ticks_during_a_blocked_call(node):
    ticks = 0
    stop = threading.Event()

    def tick():
        nonlocal ticks
        while not stop.is_set():
            ticks += 1
            stop.wait(0.001)

    ticker = threading.Thread(target=tick)
    ticker.start()
    with pytest.raises(casm.TimeoutError):
        node.wait_for(2, timeout=0.3)
    stop.set()
    ticker.join()
    assert ticks > 10


def test_logging_set_up_is_idempotent_and_records_arrive(node, caplog):
    for level in ("debug", "off", "DEBUG"):
        casm.forward_logs(level)
    with caplog.at_level(logging.DEBUG, "casm"):
        with pytest.raises(casm.UnreachableError):
            node.connect(f"/ip4/127.0.0.1/tcp/1/p2p/{casm.Key.generate().peer}")
        with casm.testing.cluster(2):
            wait_until(lambda: any(r.name.startswith("casm.") for r in caplog.records))
    casm.forward_logs("off")


def test_a_log_handler_that_is_stuck_holds_up_no_node():
    begun, go_on = threading.Event(), threading.Event()

    class Stuck(logging.Handler):
        def emit(self, record):
            begun.set()
            go_on.wait(PATIENCE)

    logger, handler = logging.getLogger("casm"), Stuck()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(1)
    casm.forward_logs("trace")
    try:
        with casm.testing.cluster(2):
            assert begun.wait(PATIENCE)
            # More nodes log more than there is room for, find each other, and leave.
            for _ in range(3):
                with casm.testing.cluster(3):
                    pass
        assert not go_on.is_set()
    finally:
        go_on.set()
        casm.forward_logs("off")
        logger.removeHandler(handler)
        logger.setLevel(level)
