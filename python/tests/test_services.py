"""Services: handlers on threads and in tasks, and what becomes of those that
fail, hang, or give what is no answer."""

import _thread
import asyncio
import gc
import pickle
import threading
import time

import casm
import casm.aio
import casm.testing
import pytest
from conftest import PATIENCE


def until(holds):
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it never held"
        time.sleep(0.005)


def threads():
    """How many threads Python has started, when those of closed nodes have ended."""
    seen = []

    def settled():
        seen.append(_thread._count())
        return len(seen) > 20 and len(set(seen[-20:])) == 1

    until(settled)
    return seen[-1]


def sees(node, service, n=1):
    node.wait_for(n, timeout=PATIENCE, query=f"service:{service}")


def test_a_service_is_called_with_what_it_is_given(pair):
    a, b = pair

    @b.serve("shout", version="2", max_inflight=8)
    def shout(request):
        assert request.peer in (a.id, b.id)
        assert time.monotonic() < request.deadline < time.monotonic() + 11
        assert not request.cancelled
        return request.data.upper() + request.headers.get("k", "").encode()

    sees(a, "shout")
    record = a.view().get(b.id)
    assert record.services == {"shout": "2"} and record.channels == []
    assert "svc.shout" not in record.meta
    assert a.call("shout", b"hi") == b"HI"
    assert a.call("shout", bytearray(b"hi"), headers={"k": "v"}) == b"HIv"
    assert a.call("shout", memoryview(b"hi")[:1], peer=record) == b"H"
    assert b.call("shout") == b""
    stats = b.service_stats("shout")
    assert (stats.calls, stats.failures, stats.in_flight) == (4, {}, 0)
    assert b.services() == ["shout"] and shout.name == "shout"
    assert repr(shout) == "<Serving 'shout'>"
    shout.stop()
    with pytest.raises(casm.NotFoundError):
        a.call("shout", peer=b.id)
    with pytest.raises(casm.NotFoundError):
        b.service_stats("shout")


def test_an_answer_has_headers_and_says_whose_it_is(pair):
    a, b = pair
    b.serve("plain", lambda request: request.data)
    b.serve("along", lambda request: casm.Answer(request.data.upper(), request.headers))
    # Who gives what a call gave hands its headers on.
    b.serve("on", lambda request: b.call("along", request.data, headers={"k": "v"}))
    plain = a.call("plain", b"x" * 1000, peer=b.id)
    assert isinstance(plain, casm.Answer) and isinstance(plain, bytes)
    assert (plain, plain.headers, plain.peer) == (b"x" * 1000, {}, b.id)
    along = a.call("along", b"hi", headers={"k": "v", "\u00e9": "\u00e9"}, peer=b.id)
    assert (along, along.headers, along.peer) == (b"HI", {"k": "v", "\u00e9": "\u00e9"}, b.id)
    assert {along: 1}[b"HI"] == 1 and repr(along) == "b'HI'" and type(along[:1]) is bytes
    assert a.call("on", b"x", peer=b.id).headers == {"k": "v"}
    sees(a, "along")
    (reply,) = a.call_all("along", b"hi", headers={"k": "v"})
    assert (reply.data, reply.headers) == (b"HI", {"k": "v"})

    same = pickle.loads(pickle.dumps(along))
    assert (same, same.headers, same.peer) == (along, along.headers, along.peer)
    own = casm.Answer(bytearray(b"x"))
    assert (own, own.headers, own.peer) == (b"x", {}, None) and casm.Answer() == b""
    for wrong in [lambda: casm.Answer(3), lambda: casm.Answer("x"), lambda: casm.Answer(b"", {"k": 1})]:
        with pytest.raises(TypeError):
            wrong()

    for headers, error in [
        ({str(n): "" for n in range(17)}, casm.TooLargeError),
        ({"k": "v" * 4096}, casm.TooLargeError),
        ({"": "v"}, casm.RemoteError),
    ]:
        with b.serve("wrong", lambda _, headers=headers: casm.Answer(b"", headers)):
            with pytest.raises(error, match="headers"):
                a.call("wrong", peer=b.id)


def test_a_peer_is_named_in_any_way(pair):
    a, b = pair
    b.serve("echo", lambda request: request.data)
    b.channel("jobs", 8)
    b.semaphore("leader", 8)
    sees(a, "echo")

    async def awaits(peer):
        async with casm.aio.Node(a.namespace, listen="/ip4/127.0.0.1/tcp/0", boot="none") as node:
            # It has heard of nobody.
            await node.connect(b.addrs())
            assert await node.call("echo", b"x", peer=peer) == b"x"
            await (await node.open_channel("jobs", peer)).send(b"x")
            await node.open_semaphore("leader", peer)

    for peer in (a.view().get(b.id), b.info(), b.id, b.addrs(), b.addrs()[0]):
        assert a.call("echo", b"x", peer=peer) == b"x"
        a.open_channel("jobs", peer, PATIENCE).send(b"x")
        a.open_semaphore("leader", peer, PATIENCE)
        asyncio.run(awaits(peer))
        for _ in range(2):
            assert b.open_channel("jobs", b.id).recv(timeout=PATIENCE) == b"x"


def test_what_a_handler_raises_is_told_without_its_stack(pair, caplog):
    a, b = pair
    silent = type("Silent", (Exception,), {"__str__": lambda _: 1 / 0})
    for name, handler, said in [
        ("raises", lambda _: 1 / 0, "division by zero"),
        ("exits", lambda _: exit("no"), "no"),
        ("wordless", lambda _: (_ for _ in ()).throw(KeyboardInterrupt), "KeyboardInterrupt"),
        ("silent", lambda _: (_ for _ in ()).throw(silent()), "Silent"),
        ("wrong", lambda _: "text", "str, and not bytes"),
    ]:
        b.serve(name, handler)
        with pytest.raises(casm.RemoteError, match=said) as raised:
            a.call(name, peer=b.id)
        assert "File" not in str(raised.value) and raised.value.kind == "Remote"
    assert len([r for r in caplog.records if r.name == "casm"]) == 5
    b.serve("large", lambda _: bytes((1 << 20) + 1))
    with pytest.raises(casm.TooLargeError):
        a.call("large", peer=b.id)
    b.serve("nothing", lambda _: None)
    assert a.call("nothing", peer=b.id) == b""


def test_without_certificates_a_service_for_a_role_is_for_its_own_node_alone(pair):
    a, b = pair
    b.serve("one", lambda request: request.data, allow="worker")
    b.serve("two", lambda request: request.data, allow=["admin", "worker"])

    @b.serve_stream("parts", allow=("worker",))
    def parts(request):
        yield request.data

    sees(a, "parts")
    record = a.view().get(b.id)
    assert record.roles == [] and set(record.services) == {"one", "two", "parts"}
    assert a.view().count(casm.Query.role("worker")) == a.view().count("role:worker") == 0
    with pytest.raises(casm.NotFoundError, match="the role `worker`"):
        a.call("one", peer=b.id)
    with pytest.raises(casm.NotFoundError, match="`admin` or `worker`"):
        a.call("two")
    with pytest.raises(casm.NotFoundError, match="the role `worker`"):
        list(a.call_stream("parts", peer=b.id))
    assert b.call("one", b"x") == b"x" and list(b.call_stream("parts", b"x")) == [b"x"]
    assert b.service_stats("one").failures == {"notFound": 1}
    with pytest.raises(casm.InvalidError, match="role"):
        a.view_of(b.id, timeout=PATIENCE).count("role:worker", timeout=PATIENCE)


def test_what_is_not_acceptable_is_refused(pair):
    a, b = pair
    for call, error in [
        (lambda: a.serve("a b", len), casm.ConfigError),
        (lambda: a.serve("x", 3), TypeError),
        (lambda: a.serve("x", len, workers=0), ValueError),
        (lambda: a.serve("x", len, max_inflight=0), casm.ConfigError),
        (lambda: a.serve("x", len, allow="two words"), casm.ConfigError),
        (lambda: a.serve("x", len, allow=["x", ""]), casm.ConfigError),
        (lambda: a.serve("x", len, allow=3), TypeError),
        (lambda: a.call("x", "text"), TypeError),
        (lambda: a.call("x", bytes((1 << 20) + 1)), casm.TooLargeError),
        (lambda: a.call("x", timeout=0), casm.ConfigError),
        (lambda: a.call("x", timeout=-1), casm.ConfigError),
        (lambda: a.call("x", peer="nobody"), casm.CasmError),
        (lambda: a.call("x", where="role=w"), casm.ConfigError),
        (lambda: a.call("x"), casm.NotFoundError),
        (lambda: a.set_meta({"svc.x": "1"}), casm.ConfigError),
        (lambda: casm.Config(meta={"chan.x": "1"}) and casm.Node(meta={"chan.x": "1"}), ValueError),
    ]:
        with pytest.raises(error):
            call()
    a.serve("x", lambda _: b"")
    with pytest.raises(casm.BusyError):
        a.serve("x", lambda _: b"")


def test_other_threads_run_while_a_call_waits_and_a_timeout_ends_the_handler(pair):
    a, b = pair
    begun, ended = threading.Event(), threading.Event()

    @b.serve("slow")
    def slow(request):
        begun.set()
        until(lambda: request.cancelled)
        ended.set()

    # Of some calls the time is over before they are there.
    while not begun.is_set():
        with pytest.raises(casm.TimeoutError):
            a.call("slow", peer=b.id, timeout=0.2)
    assert ended.wait(PATIENCE)
    until(lambda: b.service_stats("slow").in_flight == 0)


def in_background(call):
    """Runs a call on a thread; what it gives or raises is in the list."""
    result = []

    def run():
        try:
            result.append(call())
        except casm.CasmError as error:
            result.append(error.kind)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, result


def test_what_waited_in_vain_is_not_worked_on_and_hung_workers_make_it_busy(pair):
    a, b = pair
    begun, go = [], threading.Event()

    @b.serve("stuck", workers=2, max_inflight=6)
    def stuck(request):
        begun.append(request.data)
        go.wait(PATIENCE)
        return request.data

    def ask(data, timeout):
        return in_background(lambda: a.call("stuck", data, peer=b.id, timeout=timeout))

    in_vain = [ask(b"vain", 0.5) for _ in range(6)]
    for thread, result in in_vain:
        thread.join()
        assert result == ["Timeout"]
    # Two are worked on, and take their places; those that waited take none.
    until(lambda: b.service_stats("stuck").in_flight == 2)
    assert begun == [b"vain"] * 2
    waiting = [ask(b"waits", PATIENCE) for _ in range(4)]
    until(lambda: b.service_stats("stuck").in_flight == 6)
    with pytest.raises(casm.BusyError):
        a.call("stuck", peer=b.id)
    go.set()
    for thread, result in waiting:
        thread.join()
        assert result == [b"waits"]
    assert begun == [b"vain"] * 2 + [b"waits"] * 4
    until(lambda: b.service_stats("stuck").in_flight == 0)
    assert b.service_stats("stuck").calls == 10


def test_of_more_than_can_be_done_the_newest_is_done_in_time(pair):
    a, b = pair
    begun, go = [], threading.Event()

    @b.serve("slow", workers=1)
    def slow(request):
        begun.append(request.data)
        if request.data == b"first":
            go.wait(PATIENCE)

    calls = []
    for data, timeout in [(b"first", PATIENCE), (b"old", 4), (b"new", PATIENCE)]:
        came = b.service_stats("slow").calls
        calls.append(in_background(lambda: a.call("slow", data, peer=b.id, timeout=timeout)))
        until(lambda: b.service_stats("slow").calls > came)
        if data == b"old":
            # Until more than half of its time is over.
            until(lambda begin=time.monotonic(): time.monotonic() > begin + 2.2)
    go.set()
    for thread, _ in calls:
        thread.join()
    assert begun[:2] == [b"first", b"new"]


def test_threads_are_started_as_they_are_needed(pair):
    a, b = pair
    count = _thread._count
    before, go = threads(), threading.Event()
    for n in range(20):
        b.serve(f"s{n}", lambda _: go.wait(PATIENCE) and b"", workers=8)
    until(lambda: count() >= before + 20)
    assert count() == before + 20
    calls = [in_background(lambda: a.call("s0", peer=b.id)) for _ in range(20)]
    until(lambda: b.service_stats("s0").in_flight == 20)
    until(lambda: count() == before + 20 + 7 + 20)
    go.set()
    for thread, result in calls:
        thread.join()
        assert result == [b""]


def test_threads_end_with_their_service_or_its_node(pair):
    a, b = pair
    before, count = threads(), _thread._count
    kept = [b.serve("kept", len), b.serve_stream("parts", len), b.serve("stopped", len)]
    until(lambda: count() == before + 3)
    kept.pop().stop()
    until(lambda: count() == before + 2)
    b.close()
    # Though what served them is held.
    until(lambda: count() <= before)
    assert [serving.name for serving in kept] == ["kept", "parts"]


def test_parts_come_in_order_and_a_reader_that_goes_ends_the_generator(pair):
    a, b = pair
    closed = threading.Event()

    @b.serve_stream("count")
    def count(request):
        yield from (b"%d" % n for n in range(int(request.data)))

    @b.serve_stream("endless")
    def endless(request):
        try:
            while True:
                yield bytes(1000)
        finally:
            closed.set()

    @b.serve_stream("breaks")
    def breaks(request):
        yield b"one"
        raise ValueError("no more")

    sees(a, "count")
    assert list(a.call_stream("count", b"300")) == [b"%d" % n for n in range(300)]
    with a.call_stream("endless", peer=b.id) as parts:
        assert len(next(parts)) == 1000
    del parts
    assert closed.wait(PATIENCE)
    parts = a.call_stream("breaks", peer=b.id)
    assert next(parts) == b"one"
    with pytest.raises(casm.RemoteError, match="no more"):
        next(parts)
    with pytest.raises(casm.InvalidError):
        a.call("count", b"1", peer=b.id)


def test_all_are_asked_and_the_end_has_a_reason(pair):
    a, b = pair
    a.serve("who", lambda _: b"a")
    b.serve("who", lambda _: b"b")
    b.serve("fails", lambda _: 1 / 0)
    sees(a, "who", 2)
    replies = a.call_all("who", timeout=PATIENCE)
    assert replies.ended is None
    assert {reply.peer: reply.data for reply in replies} == {a.id: b"a", b.id: b"b"}
    assert replies.ended == "all"
    replies = a.call_all("who", limit=1)
    assert len(list(replies)) == 1 and replies.ended == "limit"
    sees(a, "fails")
    (reply,) = a.call_all("fails", headers={"k": "v"})
    assert reply.data is None and isinstance(reply.error, casm.RemoteError)
    only = {reply.data for reply in a.call_all("who", where=f"peer:{b.id}")}
    assert only == {b"b"}


def test_a_handler_may_call_its_node_and_close_it(pair):
    a, b = pair
    b.serve("inner", lambda request: request.data)
    b.serve("outer", lambda request: b.call("inner", request.data))
    assert a.call("outer", b"x", peer=b.id) == b"x"
    b.serve("die", lambda _: b.close(grace=600))
    with pytest.raises((casm.UnreachableError, casm.RemoteError)):
        a.call("die", peer=b.id, timeout=PATIENCE)
    until(lambda: b.closed)


def test_a_close_waits_for_what_was_begun(pair):
    a, b = pair
    begun = threading.Event()

    @b.serve("slow")
    def slow(request):
        begun.set()
        time.sleep(0.3)
        return b"done"

    answers = []
    call = threading.Thread(target=lambda: answers.append(a.call("slow", peer=b.id)))
    call.start()
    assert begun.wait(PATIENCE)
    b.close()
    call.join()
    assert answers == [b"done"]


def test_a_service_goes_on_when_nobody_holds_it(pair):
    a, b = pair
    b.serve("kept", lambda _: b"still")
    gc.collect()
    assert a.call("kept", peer=b.id) == b"still"


def test_a_program_that_serves_ends_by_itself(python):
    done = python("""
node = casm.Node(**options())
node.serve("stuck", lambda request: time.sleep(600))
threading.Thread(target=lambda: node.call("stuck", timeout=None), daemon=True).start()
while node.service_stats("stuck").in_flight == 0:
    time.sleep(0.01)
""")
    assert done.returncode == 0, done.stderr


def test_coroutines_answer_and_are_cancelled(pair):
    a, _ = pair
    config = casm.testing.options()
    config["namespace"] = a.namespace

    async def main():
        async with casm.aio.Node(**config) as node:
            await node.connect(a.info())
            await node.wait_for(3)
            begun, cancelled = asyncio.Event(), asyncio.Event()

            @node.serve("echo")
            async def echo(request):
                await asyncio.sleep(0)
                return request.data

            @node.serve("stuck")
            async def stuck(request):
                begun.set()
                try:
                    await asyncio.sleep(600)
                except asyncio.CancelledError:
                    cancelled.set()
                    raise

            @node.serve_stream("count")
            async def count(request):
                for n in range(int(request.data)):
                    yield b"%d" % n

            @node.serve("along")
            async def along(request):
                await asyncio.sleep(0)
                return casm.Answer(request.data, {"k": "v"})

            answer = await node.call("along", b"x")
            assert (answer, answer.headers, answer.peer) == (b"x", {"k": "v"}, node.id)
            assert await asyncio.to_thread(a.call, "along", b"y", peer=node.id) == b"y"

            async def fails(request):
                raise ValueError("no luck")

            node.serve("fails", fails)
            assert await node.call("echo", b"x") == b"x"
            assert await asyncio.to_thread(a.call, "echo", b"y", peer=node.id) == b"y"
            calls = [node.call("echo", b"%d" % n) for n in range(50)]
            assert await asyncio.gather(*calls) == [b"%d" % n for n in range(50)]
            with pytest.raises(casm.RemoteError, match="no luck"):
                await node.call("fails")
            # Of some calls the time is over before they are there.
            while not begun.is_set():
                with pytest.raises(casm.TimeoutError):
                    await node.call("stuck", timeout=0.1)
            await asyncio.wait_for(cancelled.wait(), PATIENCE)
            begun.clear()
            cancelled.clear()
            waiting = asyncio.create_task(node.call("stuck", timeout=None))
            await begun.wait()
            waiting.cancel()
            await asyncio.wait_for(cancelled.wait(), PATIENCE)
            parts = [part async for part in node.call_stream("count", b"100")]
            assert parts == [b"%d" % n for n in range(100)]
            replies = node.call_all("echo", b"z")
            assert [reply.data async for reply in replies] == [b"z"]
            assert replies.ended == "all"

            @node.serve("die")
            async def die(request):
                await node.close(grace=600)

            with pytest.raises(casm.CasmError):
                await node.call("die")

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_a_loop_that_is_busy_works_on_nothing_that_waited_in_vain(pair):
    a, _ = pair
    config = casm.testing.options(namespace=a.namespace)

    async def main():
        async with casm.aio.Node(**config) as node:
            await node.connect(a.info())
            await node.wait_for(3)
            begun = 0

            @node.serve("work", max_inflight=4)
            async def work(request):
                nonlocal begun
                begun += 1
                return request.data

            # The loop is busy meanwhile: it does nothing else.
            for _ in range(50):
                try:
                    a.call("work", bytes(1000), peer=node.id, timeout=0.2)
                except casm.TimeoutError:
                    continue
                except casm.BusyError:
                    break
            else:
                raise AssertionError("it takes more than may be in flight")
            while node.service_stats("work").in_flight:
                await asyncio.sleep(0.01)
            assert begun == 0
            assert await node.call("work", b"x") == b"x"

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_calls_of_a_closed_node_say_so(node):
    node.close()
    for call in [
        lambda: node.serve("x", len),
        lambda: node.serve_stream("x", len),
        lambda: node.call("x"),
        lambda: node.call_all("x"),
        lambda: node.call_stream("x"),
        node.services,
        lambda: node.service_stats("x"),
    ]:
        with pytest.raises(casm.ClosedError):
            call()
