"""How long a call of another process's service takes, 64 bytes there and 64 back,
over TCP on the loopback interface; and how many calls a second many callers make
at once, each in a thread of its own.

`--peer eclipse-zenoh` asks a queryable, over TCP without encryption.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

NAME = "bench"
DATA = bytes(64)
# Callers at once for which there is room.
MOST = 1024

# The process that answers.
OTHER: list[int] = []

Ask = Callable[[], object]
Figures = dict[str, float | None]


def one_by_one(ask: Ask, count: int) -> Figures:
    for _ in range(count // 10):
        ask()
    took = []
    for _ in range(count):
        before = time.perf_counter()
        ask()
        took.append(time.perf_counter() - before)
    took.sort()
    return {
        "p50_us": round(took[count // 2] * 1e6),
        "p99_us": round(took[count * 99 // 100] * 1e6),
    }


def processor_us() -> float | None:
    """The processor time of this process and of the other one so far, where the
    system tells it."""
    try:
        texts = [Path(f"/proc/{pid}/stat").read_text() for pid in (os.getpid(), *OTHER)]
    except OSError:
        return None
    # Behind the name, which may have anything in it.
    ticks = [int(n) for text in texts for n in text.rpartition(")")[2].split()[11:13]]
    return sum(ticks) / os.sysconf("SC_CLK_TCK") * 1e6


def at_once(ask: Ask, callers: int, seconds: float) -> Figures:
    counts = [0] * callers
    over = threading.Event()

    def caller(n: int) -> None:
        while not over.is_set():
            ask()
            counts[n] += 1

    threads = [threading.Thread(target=caller, args=(n,)) for n in range(callers)]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 5)
    before, start, used = sum(counts), time.perf_counter(), processor_us()
    time.sleep(seconds)
    calls, took = sum(counts) - before, time.perf_counter() - start
    used_then = processor_us()
    over.set()
    for thread in threads:
        thread.join()
    each = None if used is None or used_then is None else round((used_then - used) / calls, 1)
    return {"calls_per_s": round(calls / took), "processor_us_per_call": each}


@contextmanager
def answerer(*args: str) -> Generator[str, None, None]:
    """The other process, which says where it is, and ends when its stdin does."""
    command = [sys.executable, __file__, *args]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdin and process.stdout
        OTHER.append(process.pid)
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def tell(where: str) -> None:
    print(where, flush=True)
    sys.stdin.read()


def answer() -> None:
    import casm.testing

    with casm.Node(**casm.testing.options(namespace=sys.argv[2])) as node:
        node.serve(NAME, lambda request: request.data, max_inflight=MOST)
        tell(f"{node.info().addrs[0]}/p2p/{node.id}")


def ours(measure: Callable[[Ask], Figures]) -> Figures:
    import casm.testing

    namespace = f"bench-{uuid.uuid4()}"
    with (
        answerer("--answer", namespace) as where,
        casm.Node(**casm.testing.options(namespace=namespace)) as node,
    ):
        node.connect(where)
        assert node.call(NAME, DATA, wait=True, timeout=30) == DATA
        return measure(lambda: node.call(NAME, DATA))


def zenoh_session(way: str, endpoint: str):  # noqa: ANN201
    import zenoh

    config = zenoh.Config()
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("listen/endpoints", "[]")
    config.insert_json5(f"{way}/endpoints", f'["{endpoint}"]')
    return zenoh.open(config)


def answer_zenoh() -> None:
    with zenoh_session("listen", sys.argv[2]) as session:
        queryable = session.declare_queryable(NAME, lambda query: query.reply(NAME, query.payload))
        tell(sys.argv[2])
        queryable.undeclare()


def zenoh(measure: Callable[[Ask], Figures]) -> Figures:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        endpoint = f"tcp/127.0.0.1:{unused.getsockname()[1]}"
    with answerer("--answer-zenoh", endpoint), zenoh_session("connect", endpoint) as session:

        def ask() -> int:
            return sum(reply.ok is not None for reply in session.get(NAME, payload=DATA))

        while not ask():
            time.sleep(0.01)
        return measure(ask)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--peer", choices=["eclipse-zenoh"])
    args = parser.parse_args()

    def measure(ask: Ask) -> Figures:
        return {**one_by_one(ask, args.count), **at_once(ask, args.callers, args.seconds)}

    figures = (zenoh if args.peer else ours)(measure)
    told = {"bench": "call", "language": "python", "name": args.peer or "casm"}
    print(json.dumps({**told, "callers": args.callers, **figures}))


if __name__ == "__main__":
    match sys.argv[1:2]:
        case ["--answer"]:
            answer()
        case ["--answer-zenoh"]:
            answer_zenoh()
        case _:
            main()
