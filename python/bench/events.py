"""Events delivered to a callback per second, and records read from a view.

`--peer eclipse-zenoh` measures that in the same way: 64-byte messages from a
publisher to a callback in the same session.
"""

import argparse
import json
import threading
import time


def ours(count: int, records: int) -> dict[str, float]:
    import casm
    import casm.testing
    from casm import _casm

    with casm.testing.cluster(1, meta={"role": "worker"}) as (node,):
        done = threading.Event()
        left = count

        def callback(event: casm.Event) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                done.set()

        start = time.perf_counter()
        subscription = _casm.bench_events(node, count, callback)
        done.wait()
        events = count / (time.perf_counter() - start)
        assert subscription.dropped == 0

    view = _casm.bench_view(records)
    rates = []
    for _ in range(20):
        # The thread's own time, and the median: this is a measure of the code,
        # not of who else runs here.
        start = time.thread_time()
        for record in view.iter():
            record.peer, record.host, record.meta["role"]  # noqa: B018
        rates.append(records / (time.thread_time() - start))
    return {"events_per_s": round(events), "records_per_s": round(sorted(rates)[10])}


def zenoh(count: int) -> dict[str, float]:
    import zenoh

    config = zenoh.Config()
    # Nothing leaves this process.
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("listen/endpoints", "[]")
    received = 0

    def callback(sample: zenoh.Sample) -> None:
        nonlocal received
        received += 1

    with zenoh.open(config) as session:
        subscriber = session.declare_subscriber("bench", callback)
        publisher = session.declare_publisher("bench")
        payload = bytes(64)
        start = time.perf_counter()
        for _ in range(count):
            publisher.put(payload)
        while received < count:
            time.sleep(0.001)
        rate = count / (time.perf_counter() - start)
        subscriber.undeclare()
    return {"events_per_s": round(rate)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--peer", choices=["eclipse-zenoh"])
    args = parser.parse_args()
    figures = zenoh(args.count // 10) if args.peer else ours(args.count, args.records)
    name = args.peer or "casm"
    print(json.dumps({"bench": "events", "language": "python", "name": name, **figures}))
