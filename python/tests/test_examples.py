"""The README's snippets and the examples, in a network of their own: there,
nodes find each other with no configuration, and nobody else hears of it."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import PATIENCE

PYTHON = Path(__file__).parents[1]


def snippets(readme: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)


SNIPPETS = snippets(PYTHON / "README.md")


class Programs:
    """Programs in one network namespace that has only a loopback interface."""

    def __init__(self, holder: int) -> None:
        self.enter = ["nsenter", f"--net=/proc/{holder}/ns/net"]
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *command: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*self.enter, sys.executable, *map(str, command)],
            # Nobody types anything.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        self.running.append(process)
        return process


@contextmanager
def network() -> Iterator[Programs]:
    made = "ip link set lo up && echo ready && exec sleep 3600"
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", made], stdout=subprocess.PIPE, text=True
    )
    programs = Programs(holder.pid)
    try:
        if holder.stdout.readline() != "ready\n":
            if os.environ.get("CI"):
                raise RuntimeError("no network namespace can be made here")
            pytest.skip("no network namespace can be made here: run as root")
        yield programs
    finally:
        for process in [*programs.running, holder]:
            process.kill()
            process.wait()
            process.stdout.close()
            if process.stdin:
                process.stdin.close()


@pytest.fixture
def programs() -> Iterator[Programs]:
    with network() as programs:
        yield programs


def lines_until(process: subprocess.Popen[str], wanted: str) -> str:
    """What it prints, up to a line that matches."""
    import threading

    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    text = ""
    try:
        for line in process.stdout:
            text += line
            if re.search(wanted, line):
                return text
    finally:
        timer.cancel()
    raise AssertionError(f"no line matches {wanted!r} in:\n{text}")


def test_the_readme_has_its_snippets():
    assert len(SNIPPETS) == 2


def test_the_snippets_of_the_readme_find_each_other(programs):
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "first.py"), Path(folder, "second.py")
        first.write_text(SNIPPETS[0])
        second.write_text(SNIPPETS[1])
        workers = [programs.start(first) for _ in range(2)]
        for worker in workers:
            lines_until(worker, "^here: 12D3KooW.* worker$")
        boss = programs.start(second)
        for worker in workers:
            lines_until(worker, "^PeerJoined.*boss")
        for _ in workers:
            lines_until(boss, "(current|joined) Record")


def test_the_snippet_of_the_projects_readme(programs):
    (snippet,) = snippets(PYTHON.parent / "README.md")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "snippet.py")
        file.write_text(snippet)
        for program in [programs.start(file) for _ in range(3)]:
            for _ in range(3):
                lines_until(program, "^12D3KooW")


def test_the_example_discover(programs):
    example = PYTHON / "examples/discover.py"
    first, second = programs.start(example), programs.start(example)
    name = lines_until(second, "^I am ").split()[-1]
    lines_until(first, rf"^\+ {name}")
    second.send_signal(2)
    assert second.wait(PATIENCE) == 0
    lines_until(first, rf"^- {name}")


def test_the_example_service(programs):
    example = PYTHON / "examples/service.py"
    first, second = programs.start(example, "Ann"), programs.start(example, "Bob")
    lines_until(first, "^hello Ann, this is Python$")
    lines_until(second, "^hello Bob, this is Python$")


def test_the_example_chat(programs):
    example = PYTHON / "examples/chat.py"
    ann, bob = programs.start(example, "Ann"), programs.start(example, "Bob")
    for one in (ann, bob):
        lines_until(one, "^1 more are here: type$")
    for one, other, name in ((ann, bob, "Ann"), (bob, ann, "Bob")):
        one.stdin.write("hello\n")
        one.stdin.flush()
        lines_until(other, f"^{name}: hello$")
    ann.stdin.close()
    assert ann.wait(PATIENCE) == 0


# Sends half of a file, and then nothing more.
HALF = """
import pathlib, sys, threading, casm
data = pathlib.Path(sys.argv[1]).read_bytes()
def handler(stream, peer):
    stream.read(8)
    stream.write(len(data).to_bytes(8, "big") + data[: len(data) // 2])
    threading.Event().wait()
with casm.Node("files", meta={"role": "sender"}) as node:
    node.on_stream("/example/file/1", handler)
    print("ready", flush=True)
    threading.Event().wait()
"""


def test_the_example_file_transfer_goes_on_where_it_broke(programs):
    example = PYTHON / "examples/file_transfer.py"
    with tempfile.TemporaryDirectory() as folder:
        original, copy = Path(folder, "original"), Path(folder, "copy")
        original.write_bytes(os.urandom(3 << 20))
        half = programs.start("-c", HALF, original)
        lines_until(half, "^ready$")
        fetch = programs.start(example, "fetch", copy)
        end = time.monotonic() + PATIENCE
        while not (copy.exists() and copy.stat().st_size):
            assert time.monotonic() < end, "nothing comes"
            time.sleep(0.01)
        half.kill()
        text = lines_until(fetch, "^it broke after ")
        have = int(text.splitlines()[-1].split()[3])
        assert 0 < have <= 3 << 19
        sender = programs.start(example, "send", original)
        lines_until(fetch, f"^{have} of {3 << 20} bytes are there$")
        lines_until(fetch, f"^all {3 << 20} bytes are there$")
        assert fetch.wait(PATIENCE) == 0
        lines_until(sender, f"^12D3KooW.* has it from {have} on$")
        assert copy.read_bytes() == original.read_bytes()


def test_the_example_fan_in(programs):
    example = PYTHON / "examples/fan_in.py"
    names = ["attic", "cellar", "roof"]
    for name in names:
        lines_until(programs.start(example, "sensor", name), f"^sensor {name} is ")
    collector = programs.start(example, "collector", 3)
    text = lines_until(collector, "^all sensors are done$")
    for name in names:
        assert re.findall(rf"^\d: {name} (\d+)$", text, re.M) == [str(n) for n in range(10)]
    assert collector.wait(PATIENCE) == 0


def children(process: subprocess.Popen[str]) -> list[int]:
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in text.split()]


def test_the_example_worker_pool_grows_and_shrinks(programs):
    example = PYTHON / "examples/worker_pool.py"
    boss = programs.start(example, "boss", 300)
    lines_until(boss, "^boss is ")
    pool = programs.start(example, "pool", 3)
    lines_until(pool, r"^\d+ jobs wait for 3 workers$")
    killed = children(pool)
    assert len(killed) == 3
    os.kill(killed[0], signal.SIGKILL)
    text = lines_until(boss, "^all 300 are done$")
    done = re.findall(r"^(\d+)² = ", text, re.M)
    assert sorted(map(int, done)) == list(range(300))
    lines_until(pool, "^0 jobs wait for 1 workers$")
    assert len(children(pool)) == 1
    boss.send_signal(signal.SIGINT)
    assert pool.wait(PATIENCE) == 0


def test_the_example_worker_pool_whose_workers_are_killed(programs):
    example = PYTHON / "examples/worker_pool.py"
    boss = programs.start(example, "boss", 60)
    lines_until(boss, "^boss is ")
    workers = [programs.start(example, "worker") for _ in range(2)]
    for worker in workers:
        lines_until(worker, "^at ")
        worker.kill()
    last = programs.start(example, "worker")
    text = lines_until(boss, "^all 60 are done$")
    squares = re.findall(r"^(\d+)² = (\d+)$", text, re.M)
    assert sorted(int(number) for number, _ in squares) == list(range(60))
    assert all(int(square) == int(number) ** 2 for number, square in squares)
    boss.send_signal(signal.SIGINT)
    lines_until(last, "^no more jobs$")
    assert last.wait(PATIENCE) == 0


def test_the_example_leader_whose_holder_is_stopped(programs):
    example = PYTHON / "examples/leader.py"
    lines_until(programs.start(example, "keeper"), "^keeper ")
    first = programs.start(example, "candidate")
    token = int(lines_until(first, "^I lead with token ").split()[-1])
    second = programs.start(example, "candidate")
    lines_until(second, "^I follow$")
    first.send_signal(signal.SIGSTOP)
    try:
        higher = int(lines_until(second, "^I lead with token ").split()[-1])
    finally:
        first.send_signal(signal.SIGCONT)
    assert higher > token
    # It learns so when it goes on, and waits for its turn.
    lines_until(first, "^I lead no longer$")
    second.kill()
    assert int(lines_until(first, "^I lead with token ").split()[-1]) > higher


def test_the_example_of_a_fixture():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", PYTHON / "examples/test_with_a_cluster.py"],
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
    )
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout
