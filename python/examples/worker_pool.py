"""Jobs that are done whatever becomes of the workers.

    python jobs.py boss 100
    python jobs.py worker
    python jobs.py worker

The boss owns a channel of jobs and one of results. Workers come and go, and take
jobs: one that is killed, or stopped, loses none, since what it has not done goes
back to the channel. So a job may be done twice, and a result come twice.
"""

import contextlib
import json
import sys
import threading
import time

import casm

BOSS = casm.Query.match_meta("role", "boss")


def boss(count: int) -> None:
    with casm.Node("jobs", meta={"role": "boss"}) as node:
        jobs = node.channel("jobs", capacity=10)
        results = node.channel("results", capacity=10)
        print(f"boss is {node.id}", flush=True)

        def submit() -> None:
            for number in range(count):
                jobs.send(str(number).encode())
            jobs.close()

        threading.Thread(target=submit, daemon=True).start()
        done: set[int] = set()
        while len(done) < count:
            result = json.loads(results.recv())
            if result["number"] not in done:
                done.add(result["number"])
                print(f"{result['number']}² = {result['square']}", flush=True)
        print(f"all {count} are done", flush=True)


def worker() -> None:
    with casm.Node("jobs", meta={"role": "worker"}) as node:
        record = node.wait_for(1, query=BOSS).lookup(BOSS)
        assert record is not None
        jobs = node.open_channel("jobs", record.peer)
        results = node.open_channel("results", record.peer)
        print(f"worker {node.id}", flush=True)
        try:
            while True:
                with jobs.take() as job:
                    number = int(job.data)
                    print(f"at {number}", flush=True)
                    time.sleep(0.02)
                    results.send(json.dumps({"number": number, "square": number**2}).encode())
                    # It may have gone back, with the connection: then it is done again.
                    with contextlib.suppress(casm.NotFoundError):
                        job.done()
        # All are done, or the boss has gone.
        except (casm.ClosedError, casm.UnreachableError):
            print("no more jobs", flush=True)


if __name__ == "__main__":
    try:
        match sys.argv[1:]:
            case ["boss", number]:
                boss(int(number))
            case ["worker"]:
                worker()
            case _:
                sys.exit("usage: jobs.py boss NUMBER | jobs.py worker")
    except KeyboardInterrupt:
        pass
