"""Values from one thread to another through a channel of one node.

`--peer queue.Queue` does the same with a queue of the standard library.
"""

import argparse
import json
import queue
import threading
import time
from collections.abc import Callable

CAPACITY = 1000


def measure(
    put: Callable[[bytes], object], get: Callable[[], bytes], seconds: float
) -> dict[str, float]:
    value = bytes(64)
    stop = threading.Event()

    def fill() -> None:
        while not stop.is_set():
            put(value)
        put(b"")

    thread = threading.Thread(target=fill)
    thread.start()
    rate = rate_of(get, seconds)
    stop.set()
    while get():
        pass
    thread.join()
    return {"local_values_per_s": round(rate)}


def rate_of(what: Callable[[], object], seconds: float) -> float:
    count = 0
    start = time.perf_counter()
    while (took := time.perf_counter() - start) < seconds:
        for _ in range(20):
            what()
        count += 20
    return count / took


def ours(seconds: float) -> dict[str, float]:
    import casm.testing

    with casm.testing.cluster(2) as (here, there):
        channel = here.channel("bench", capacity=CAPACITY)
        figures = measure(channel.send, channel.recv, seconds)
        remote = there.open_channel("bench", here.id)
        for name, at in (("here", channel), ("there", remote)):
            # From one thread, with nothing else in the channel.
            def round_trip(at: casm.Channel = at) -> None:
                channel.send(bytes(64))
                at.recv()

            figures[f"send_and_recv_{name}_per_s"] = round(rate_of(round_trip, seconds))
        return figures


def theirs(seconds: float) -> dict[str, float]:
    values: queue.Queue[bytes] = queue.Queue(CAPACITY)
    figures = measure(values.put, values.get, seconds)

    def round_trip() -> None:
        values.put(bytes(64))
        values.get()

    return {**figures, "send_and_recv_here_per_s": round(rate_of(round_trip, seconds))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--peer", choices=["queue.Queue"])
    args = parser.parse_args()
    figures = theirs(args.seconds) if args.peer else ours(args.seconds)
    name = args.peer or "casm"
    print(json.dumps({"bench": "channel", "language": "python", "name": name, **figures}))
