"""How long a question takes to a node of the same process, over TCP on the
loopback interface, and back: the record of a peer from that node's view.

`--peer eclipse-zenoh` asks a queryable for 64 bytes, over TCP without encryption.
"""

import argparse
import json
import socket
import time
from collections.abc import Callable


def measure(ask: Callable[[], object], count: int) -> dict[str, float]:
    for _ in range(count // 10):
        ask()
    took = []
    start = time.perf_counter()
    for _ in range(count):
        before = time.perf_counter()
        ask()
        took.append(time.perf_counter() - before)
    rate = count / (time.perf_counter() - start)
    took.sort()
    return {
        "roundtrips_per_s": round(rate),
        "p50_us": round(took[count // 2] * 1e6),
        "p99_us": round(took[count * 99 // 100] * 1e6),
    }


def ours(count: int) -> dict[str, float]:
    import casm.testing

    with casm.testing.cluster(2) as (asker, other):
        view = asker.view_of(other.id)
        assert view.get(asker.id) is not None
        return measure(lambda: view.get(asker.id, timeout=60), count)


def zenoh(count: int) -> dict[str, float]:
    import zenoh

    with socket.create_server(("127.0.0.1", 0)) as unused:
        endpoint = f'["tcp/127.0.0.1:{unused.getsockname()[1]}"]'

    def config(way: str) -> zenoh.Config:
        config = zenoh.Config()
        config.insert_json5("scouting/multicast/enabled", "false")
        config.insert_json5("listen/endpoints", "[]")
        config.insert_json5(f"{way}/endpoints", endpoint)
        return config

    with zenoh.open(config("listen")) as other, zenoh.open(config("connect")) as asker:
        answer = bytes(64)
        queryable = other.declare_queryable("bench", lambda query: query.reply("bench", answer))

        def ask() -> int:
            return sum(reply.ok is not None for reply in asker.get("bench"))

        while not ask():
            time.sleep(0.01)
        figures = measure(ask, count)
        queryable.undeclare()
        return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--peer", choices=["eclipse-zenoh"])
    args = parser.parse_args()
    figures = (zenoh if args.peer else ours)(args.count)
    name = args.peer or "casm"
    print(json.dumps({"bench": "roundtrip", "language": "python", "name": name, **figures}))
