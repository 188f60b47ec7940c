"""The README's snippets and the examples, in a network of their own: there,
nodes find each other with no configuration, and nobody else hears of it."""

import os
import re
import subprocess
import sys
import tempfile
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


def test_the_example_worker_pool(programs):
    example = PYTHON / "examples/worker_pool.py"
    boss = programs.start(example, "boss")
    for number in (2, 3):
        worker = programs.start(example, "worker")
        name = lines_until(worker, "^worker ").split()[1]
        lines_until(boss, rf"^{name} says {number}² = {number * number}$")
    worker.kill()
    lines_until(boss, "^left$")


def test_the_example_service(programs):
    example = PYTHON / "examples/service.py"
    first, second = programs.start(example, "Ann"), programs.start(example, "Bob")
    lines_until(first, "^hello Ann, this is Python$")
    lines_until(second, "^hello Bob, this is Python$")


def test_the_example_of_a_fixture():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", PYTHON / "examples/test_with_a_cluster.py"],
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
    )
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout
