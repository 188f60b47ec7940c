"""Jobs, and a pool of workers that grows and shrinks with them.

    python worker_pool.py boss 1000
    python worker_pool.py pool 8
    python worker_pool.py worker

The boss owns a channel of jobs and one of results, and says in its record how many
jobs wait. A pool starts workers while there are more of them than its workers keep up
with, and ends workers when there are fewer; a worker may as well be started by hand.
One that is killed, or stopped, loses no job: what it has not done goes back to the
channel. So a job may be done twice, and a result come twice.

The boss, the pool and the workers may as well be those of Node.js's example.
"""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time

import casm

BOSS = casm.Query.match_meta("role", "boss")
# Jobs that may wait for each worker of a pool.
EACH = 10


def boss(count: int) -> None:
    with casm.Node("jobs", meta={"role": "boss", "waiting": "0"}) as node:
        jobs = node.channel("jobs", capacity=100)
        results = node.channel("results", capacity=10)
        print(f"boss is {node.id}", flush=True)

        def submit() -> None:
            for number in range(count):
                jobs.send(str(number).encode())

        def tell() -> None:
            while True:
                node.update_meta({"waiting": str(jobs.waiting)})
                time.sleep(0.5)

        for work in (submit, tell):
            threading.Thread(target=work, daemon=True).start()
        done: set[int] = set()
        while len(done) < count:
            result = json.loads(results.recv())
            if result["number"] not in done:
                done.add(result["number"])
                print(f"{result['number']}² = {result['square']}", flush=True)
        print(f"all {count} are done", flush=True)
        # Until it is interrupted: the pool shrinks meanwhile.
        threading.Event().wait()


def pool(most: int) -> None:
    workers: list[subprocess.Popen[bytes]] = []
    with casm.Node("jobs", meta={"role": "pool"}) as node:
        try:
            for change in node.subscribe(BOSS):
                if change.kind == "left":
                    break
                if change.record is None:
                    continue
                waiting = int(change.record.meta["waiting"])
                wanted = max(1, min(most, waiting // EACH))
                # Those that were killed are started again.
                workers = [worker for worker in workers if worker.poll() is None]
                while len(workers) > wanted:
                    # It gives back what it has.
                    workers[-1].send_signal(signal.SIGINT)
                    workers.pop().wait()
                while len(workers) < wanted:
                    workers.append(subprocess.Popen([sys.executable, __file__, "worker"]))
                print(f"{waiting} jobs wait for {len(workers)} workers", flush=True)
        finally:
            for worker in workers:
                worker.send_signal(signal.SIGINT)
            for worker in workers:
                worker.wait()


def worker() -> None:
    with casm.Node("jobs", meta={"role": "worker"}) as node:
        record = node.wait_for(1, query=BOSS).lookup(BOSS)
        assert record is not None
        jobs = node.open_channel("jobs", record)
        results = node.open_channel("results", record)
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
        # The boss has gone.
        except (casm.ClosedError, casm.UnreachableError):
            print("no more jobs", flush=True)


if __name__ == "__main__":
    try:
        match sys.argv[1:]:
            case ["boss", number]:
                boss(int(number))
            case ["pool", number]:
                pool(int(number))
            case ["worker"]:
                worker()
            case _:
                sys.exit("usage: worker_pool.py boss NUMBER | pool NUMBER | worker")
    except KeyboardInterrupt:
        pass
