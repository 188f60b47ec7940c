"""Exit, fork and signals while services, topics, streams and channels are in use:
each in a Python of its own."""

import signal
import subprocess
import sys

import pytest
from conftest import PATIENCE

# How often the exits are tried.
EXITS = 50

# Two nodes that use all there is, and wait in every way.
IN_USE = """
a = casm.Node(**options())
b = casm.Node(**options(namespace=a.namespace))
b.connect(a.info())
b.wait_for(2)
a.wait_for(2)

def stuck(request):
    time.sleep(600)

def endless(request):
    while True:
        yield bytes(1000)

a.serve("stuck", stuck)
a.serve_stream("endless", endless)
a.serve("echo", lambda request: request.data)
a.on_stream("/silent/1", lambda stream, peer: stream.read(1))
topic = b.topic("news")
told = topic.on_message(lambda message: time.sleep(0.001), echo=True)
messages = topic.subscribe(echo=True)
stream = b.open_stream(a.info(), "/silent/1")
stream.write(b"")
parts = b.call_stream("endless", peer=a.id)
next(parts)
b.wait_for(1, query="service:stuck")
replies = b.call_all("stuck", timeout=None)
view = b.view_of(a.id)
own = a.channel("own", 10)
own.send(b"1")
own.send(b"2")
other = b.open_channel("own", a.id)
job = other.take()
turns = a.semaphore("turns", 1)
lease = turns.acquire()
theirs = b.open_semaphore("turns", a.id)
"""

WAITING = """
def flood():
    while True:
        topic.publish(bytes(100))
        time.sleep(0.0001)

for wait in (
    flood,
    lambda: b.call("stuck", peer=a.id, timeout=None),
    lambda: a.call("stuck", timeout=None),
    lambda: list(parts),
    lambda: list(replies),
    lambda: list(messages),
    lambda: topic.wait_for_peers(9),
    lambda: stream.read(1),
    lambda: [stream.write(bytes(65536)) for _ in range(1000)],
    lambda: list(a.channel("none")),
    lambda: b.open_channel("own", a.id).take() and other.recv(),
    lambda: a.channel("nobody").send(b"x"),
    lambda: casm.select([a.channel("none").receiving(), a.channel("full").sending(b"x")]),
    theirs.acquire,
    turns.acquire,
    lease.wait_lost,
):
    threading.Thread(target=wait, daemon=True).start()
while a.service_stats("stuck").in_flight < 2:
    time.sleep(0.001)
"""


def test_exit_without_close_never_hangs_or_aborts(python):
    for attempt in range(EXITS):
        done = python(IN_USE + WAITING)
        assert (done.returncode, done.stderr) == (0, ""), (attempt, done.stderr)


def test_exit_of_an_asyncio_program_that_closed_nothing(python):
    done = python("""
import asyncio
async def main():
    a = await casm.aio.Node(**options())
    b = await casm.aio.Node(**options(namespace=a.namespace))
    await b.connect(a.info())
    await b.wait_for(2)
    begun = asyncio.Event()
    async def stuck(request):
        begun.set()
        await asyncio.sleep(600)
    async def silent(reader, writer):
        await reader.read()
    a.serve("stuck", stuck)
    a.on_stream("/silent/1", silent)
    reader, writer = await b.open_stream(a.info(), "/silent/1")
    topic = b.topic("news")
    topic.on_message(print)
    waits = [
        b.call("stuck", peer=a.id, timeout=None),
        reader.read(),
        a.channel("none").recv(),
        topic.wait_for_peers(9),
    ]
    for wait in waits:
        asyncio.ensure_future(wait)
    await begun.wait()
asyncio.run(main())
""")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_handler_whose_loop_is_closed_has_not_failed(python):
    done = python("""
import asyncio
async def main():
    node = await casm.aio.Node(**options())
    begun = asyncio.Event()
    async def stuck(request):
        begun.set()
        await asyncio.sleep(600)
    node.serve("stuck", stuck)
    call = asyncio.ensure_future(node.call("stuck", timeout=None))
    await begun.wait()
    return node, call
loop = asyncio.new_event_loop()
kept = loop.run_until_complete(main())
loop.close()
""")
    # asyncio itself says that there are tasks left.
    assert done.returncode == 0 and "failed" not in done.stderr, done.stderr


CALLS = """
THEIRS = {
    "call": lambda: b.call("echo", peer=a.id, timeout=None),
    "call_all": lambda: b.call_all("echo", timeout=None),
    "call_stream": lambda: b.call_stream("endless", peer=a.id),
    "serve": lambda: a.serve("more", len),
    "service_stats": lambda: a.service_stats("echo"),
    "parts": lambda: [next(parts) for _ in range(1000)],
    "replies": lambda: next(replies),
    "messages": lambda: [next(messages) for _ in range(1000)],
    "topic": lambda: b.topic("more"),
    "publish": lambda: topic.publish(b"x"),
    "peers": topic.peers,
    "wait_for_peers": lambda: topic.wait_for_peers(1),
    "subscribe": topic.subscribe,
    "on_message": lambda: topic.on_message(print),
    "open_stream": lambda: b.open_stream(a.id, "/silent/1"),
    "read": lambda: stream.read(1),
    "write": lambda: stream.write(b"x"),
    "close_write": stream.close_write,
    "count": view.count,
    "iter": lambda: list(view.iter()),
    "send": lambda: own.send(b"x"),
    "recv": lambda: own.recv(),
    "theirs": lambda: other.recv(),
    "select": lambda: casm.select([own.receiving()]),
    "done": job.done,
    "acquire": turns.acquire,
    "wait_lost": lease.wait_lost,
    "semaphore": lambda: a.semaphore("more", 1),
}
"""

FORK = """
import gc, signal, warnings
warnings.simplefilter("ignore", DeprecationWarning)
topic.publish(b"x")
pid = os.fork()
if pid == 0:
    signal.alarm(45)
    try:
        for name, call in THEIRS.items():
            try:
                call()
            except casm.ClosedError as error:
                assert "start a node in this process" in str(error), (name, error)
            else:
                raise AssertionError(name)
        assert stream.closed is False and "closed" in repr(stream)
        assert told.cancelled and lease.lost and job.lost
        assert repr(own) and repr(theirs) and own.name and theirs.owner and topic.name
        assert (own.waiting, other.in_doubt) == (None, 0)
        for end in (stream.close, stream.reset, messages.cancel, parts.cancel, told.cancel,
                    topic.close, lease.release, echo.stop):
            end()
        del a, b, topic, told, messages, stream, parts, replies, view, own, other, job
        del turns, lease, theirs, echo, call, end, THEIRS
        gc.collect()
        with casm.testing.cluster(2) as (c, d):
            c.serve("echo", lambda request: request.data)
            assert d.call("echo", b"child", peer=c.id) == b"child"
    except BaseException as error:
        import traceback
        traceback.print_exc()
        os._exit(2)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
# Nothing of the child's came here.
assert b.call("echo", b"x", peer=a.id) == b"x"
assert next(messages).data == b"x"
assert not lease.lost and not job.lost and not stream.closed
job.done()
assert other.recv() == b"2"
next(parts)
topic.publish(b"y")
assert next(messages).data == b"y"
os._exit(0)
"""


def test_a_forked_child_reaches_nothing_of_its_parent_and_never_hangs(python):
    program = IN_USE.replace('a.serve("echo"', 'echo = a.serve("echo"')
    done = python(program + CALLS + FORK)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_handler_may_fork(python):
    done = python("""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
node = casm.Node(**options())

@node.serve("forks")
def forks(request):
    pid = os.fork()
    if pid == 0:
        # This thread alone goes on, and asks for the next request.
        return b"child"
    return b"%d" % os.waitpid(pid, 0)[1]

assert node.call("forks", timeout=45) == b"0"
node.close()
""")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "wait",
    [
        "b.call('stuck', peer=a.id, timeout=None)",
        "b.call('nobody', wait=True, timeout=None)",
        "list(b.call_all('stuck', timeout=None))",
        "b.serve_stream('quiet', lambda r: (stuck(r) for _ in '1')); "
        "list(a.call_stream('quiet', peer=b.id))",
        "list(b.topic('quiet').subscribe())",
        "topic.wait_for_peers(9)",
        "stream.read(1)",
        "stream.readall()",
        "[stream.write(bytes(65536)) for _ in range(1000)]",
        "a.channel('none').recv()",
        "a.channel('none').take()",
        "list(a.channel('none'))",
        "a.channel('none').send(b'x')",
        "a.channel('none'); b.open_channel('none', a.id).recv()",
        "a.channel('none'); b.open_channel('none', a.id).send(b'x')",
        "casm.select([a.channel('none').receiving(), a.channel('none').sending(b'x')])",
        "turns.acquire()",
        "theirs.acquire()",
        "lease.wait_lost()",
        "a.close(grace=600)",
    ],
)
def test_ctrl_c_raises_keyboard_interrupt_in_a_blocked_call(wait):
    program = f"""
import casm, casm.testing, sys, threading, time
options = casm.testing.options
{IN_USE}
try:
    print("waiting", flush=True)
    {wait}
except KeyboardInterrupt:
    print("interrupted", flush=True)
    assert b.view()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "waiting\n", process.communicate(timeout=PATIENCE)[1]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (0, "interrupted\n", "")


def test_a_close_that_nobody_waits_for_any_more_goes_on(python):
    done = python("""
import asyncio, contextlib, signal

def served():
    node = casm.Node(**options())
    begun, go = threading.Event(), threading.Event()
    def slow(request):
        begun.set()
        go.wait()
    node.serve("slow", slow)
    def ask():
        with contextlib.suppress(casm.CasmError):
            node.call("slow", timeout=None)
    threading.Thread(target=ask, daemon=True).start()
    begun.wait()
    return node, go

# Ctrl-C during the grace: it serves nothing more, and closes when it can.
node, go = served()
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    node.close(grace=600)
except KeyboardInterrupt:
    assert not node.closed
else:
    raise AssertionError
go.set()
while not node.closed:
    time.sleep(0.01)

async def main():
    other = await casm.aio.Node(**options())
    begun, go = asyncio.Event(), asyncio.Event()
    async def slow(request):
        begun.set()
        await go.wait()
    other.serve("slow", slow)
    call = asyncio.ensure_future(other.call("slow", timeout=None))
    await begun.wait()
    try:
        await asyncio.wait_for(other.close(grace=600), 0.1)
    except asyncio.TimeoutError:
        assert not other.closed
    else:
        raise AssertionError
    go.set()
    while not other.closed:
        await asyncio.sleep(0.01)
    with contextlib.suppress(casm.CasmError):
        await call
asyncio.run(main())
""")
    assert (done.returncode, done.stderr) == (0, "")
