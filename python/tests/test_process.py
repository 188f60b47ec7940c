"""Import, exit, fork and signals: each in a Python of its own."""

import signal
import subprocess
import sys

import pytest
from conftest import PATIENCE

# How often the exits are tried.
EXITS = 50


def test_import_starts_no_thread_and_imports_nothing_slow(python):
    done = python("""
assert len(os.listdir("/proc/self/task")) == 1
done = {"asyncio", "logging", "typing", "concurrent.futures", "subprocess"} & sys.modules.keys()
""")
    assert done.returncode == 0, done.stderr
    bare = subprocess.run(
        [sys.executable, "-c", "import casm, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
    )
    assert not {"asyncio", "logging", "typing", "subprocess"} & set(bare.stdout.split())


NEVER_CLOSED = """
node = casm.Node(**options())
other = casm.Node(**options(namespace=node.namespace))
node.on_event(lambda event: None)
node.on_change(lambda change: time.sleep(0.001))
other.connect(node.info())
node.wait_for(2)
threading.Thread(target=node.events().next, daemon=True).start()
casm._casm.bench_events(node, 10**9, lambda event: None)
"""


def test_exit_without_close_never_hangs_or_aborts(python):
    for attempt in range(EXITS):
        done = python(NEVER_CLOSED)
        assert (done.returncode, done.stderr) == (0, ""), (attempt, done.stderr)


def test_exit_without_close_says_goodbye():
    program = """
import casm, sys, json
node = casm.Node(sys.argv[1], listen="/ip4/127.0.0.1/tcp/0", boot="none")
node.connect(sys.argv[2:])
# Who is gone before it was seen is no one's loss.
node.wait_for(1, timeout=60, query="host:seen")
"""
    import casm
    import casm.testing

    with casm.testing.cluster(1, ttl=3600) as (node,), node.events() as events:
        def answer(event):
            if isinstance(event, casm.PeerJoined):
                node.set_host("seen")

        node.on_event(answer)
        subprocess.run(
            [sys.executable, "-c", program, node.namespace, *node.addrs()],
            check=True,
            timeout=PATIENCE,
        )
        while not isinstance(event := events.next(timeout=PATIENCE), casm.PeerLeft):
            pass
        assert event.reason == "left"


WORKER = """
import multiprocessing, sys, threading, time
import casm

def work(namespace, addrs, threads):
    node = casm.Node(namespace, listen="/ip4/127.0.0.1/tcp/0", boot="none")
    node.on_event(lambda event: None)
    node.connect(addrs, timeout=60)
    # Who is gone before it was seen is no one's loss.
    node.wait_for(1, timeout=60, query="host:seen")
    threading.Thread(target=node.events().next, daemon=True).start()
    if threads:
        threading.Thread(target=goes_on, args=(node,)).start()

def goes_on(node):
    while works():
        time.sleep(0.01)
    node.set_host("goes on")
    # A goodbye may overtake what was said just before.
    node.wait_for(1, timeout=60, query="host:again")
    node.close()

def works():
    # Whether the worker's function has not returned yet.
    frame = sys._current_frames()[threading.main_thread().ident]
    while frame is not None and frame.f_code is not work.__code__:
        frame = frame.f_back
    return frame is not None

if __name__ == "__main__":
    how, threads, namespace, *addrs = sys.argv[1:]
    # A forked worker has of its parent what is arranged for a program's end.
    key = casm.Key.generate()
    process = multiprocessing.get_context(how).Process(
        target=work, args=(namespace, addrs, threads == "threads")
    )
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""


@pytest.mark.parametrize("threads", ["threads", "no threads"])
@pytest.mark.parametrize("how", ["fork", "forkserver", "spawn"])
def test_exit_of_a_worker_of_multiprocessing_says_goodbye(tmp_path, how, threads):
    import casm
    import casm.testing

    file = tmp_path / "worker.py"
    file.write_text(WORKER)
    with casm.testing.cluster(1, ttl=3600) as (node,), node.events() as events:
        def answer(event):
            if isinstance(event, casm.PeerJoined):
                node.set_host("seen")
            elif isinstance(event, casm.PeerUpdated) and event.record.host == "goes on":
                node.set_host("again")

        node.on_event(answer)
        arguments = [how, threads, node.namespace, *node.addrs()]
        subprocess.run([sys.executable, file, *arguments], check=True, timeout=PATIENCE)
        hosts = []
        while not isinstance(event := events.next(timeout=PATIENCE), casm.PeerLeft):
            if isinstance(event, casm.PeerUpdated):
                hosts.append(event.record.host)
        assert event.reason == "left"
        assert ("goes on" in hosts) == (threads == "threads")


def test_exit_inside_a_callback_that_never_returns(python):
    done = python("""
node = casm.Node(**options())
started = threading.Event()
def forever(event):
    started.set()
    while True:
        time.sleep(0.01)
casm._casm.bench_events(node, 1, forever)
started.wait()
""")
    assert (done.returncode, done.stderr) == (0, "")


def test_exit_with_a_pending_asyncio_wait(python):
    done = python("""
import asyncio
async def main():
    node = await casm.aio.Node(**options())
    node.on_event(print)
    asyncio.ensure_future(node.wait_for(100))
    await asyncio.sleep(0.05)
asyncio.run(main())
""")
    assert (done.returncode, done.stderr) == (0, "")


# Python warns of every fork of a program with threads.
UNWARNED = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
"""

FORK = """
node = casm.Node(**options())
node.on_event(lambda event: None)
node.wait_for(1)
pid = os.fork()
if pid == 0:
    try:
        for call in (node.view, node.addrs, lambda: node.wait_for(1), node.events):
            try:
                call()
            except casm.ClosedError as error:
                assert "start a node in this process" in str(error), error
            else:
                os._exit(3)
        assert node.closed
        node.close()
        del node
        with casm.Node(**options()) as child:
            with casm.Node(**options(namespace=child.namespace)) as other:
                got = threading.Event()
                child.on_event(lambda event: got.set())
                other.connect(child.info())
                child.wait_for(2, timeout=60)
                assert got.wait(60)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(2)
    EXIT
assert os.waitpid(pid, 0)[1] == 0
assert len(node.view()) == 1
node.close()
"""


@pytest.mark.parametrize("leave", ["os._exit(0)", "sys.exit(0)"])
def test_a_forked_child_raises_or_starts_anew_and_never_hangs(python, leave):
    done = python(UNWARNED + FORK.replace("EXIT", leave))
    assert (done.returncode, done.stderr) == (0, "")


def test_forked_children_have_keys_of_their_own(python):
    done = python(UNWARNED + """
casm.Key.generate()
casm.Node(**options()).close()
ids = []
for _ in range(3):
    r, w = os.pipe()
    if os.fork() == 0:
        with casm.Node(**options()) as node:
            os.write(w, f"{node.id} {casm.Key.generate().peer}".encode())
        os._exit(0)
    os.wait()
    ids += os.read(r, 1000).split()
assert len(set(ids)) == 6, ids
""")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "wait",
    [
        "node.wait_for(100)",
        "[e for e in node.events()]",
        "list(node.subscribe('meta:never=there'))",
    ],
)
def test_ctrl_c_raises_keyboard_interrupt_in_a_blocked_call(wait):
    program = f"""
import casm, casm.testing, sys
node = casm.Node(**casm.testing.options())
try:
    print("waiting", flush=True)
    {wait}
except KeyboardInterrupt:
    print("interrupted", flush=True)
    assert len(node.view()) <= 1
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (0, "interrupted\n", "")


def test_ctrl_c_ends_an_asyncio_program(python):
    done = python("""
import asyncio, signal
async def main():
    async with casm.aio.Node(**options()) as node:
        asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGINT)
        await node.wait_for(100)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
""")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_node_that_is_dropped_closes(python):
    done = python("""
import gc
a = casm.Node(**options(ttl=3600))
b = casm.Node(**options(namespace=a.namespace, ttl=3600))
b.connect(a.info())
a.wait_for(2, timeout=60)
events = a.events()
del b
gc.collect()
while not isinstance(events.next(timeout=60), casm.PeerLeft):
    pass
""")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_node_that_is_dropped_while_its_callback_runs_never_deadlocks(python):
    done = python("""
for _ in range(20):
    node = casm.Node(**options())
    running = threading.Event()
    def callback(event):
        running.set()
        sum(range(1000))
    casm._casm.bench_events(node, 10**9, callback)
    running.wait()
    del node, callback
""")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_log_handler_may_call_casm_and_is_never_called_under_a_lock(python):
    done = python("""
import logging
node = casm.Node(**options())
handled = threading.Event()
class Handler(logging.Handler):
    def emit(self, record):
        assert len(node.view()) >= 0 and node.addrs()
        casm.forward_logs("debug")
        handled.set()
logging.getLogger("casm").addHandler(Handler())
logging.getLogger("casm").setLevel(logging.DEBUG)
casm.forward_logs("debug")
with casm.testing.cluster(2):
    assert handled.wait(60)
casm.forward_logs("off")
""")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_module_runs_or_points_to_the_program(python, tmp_path):
    run = lambda path: subprocess.run(  # noqa: E731
        [sys.executable, "-m", "casm", "--version"],
        capture_output=True,
        text=True,
        env={**__import__("os").environ, "PATH": path},
    )
    done = run(str(tmp_path))
    assert done.returncode == 1 and "cargo install casm-cli" in done.stderr
    program = tmp_path / "casm"
    program.write_text("#!/bin/sh\necho program $*\n")
    program.chmod(0o755)
    done = run(str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "program --version\n")
