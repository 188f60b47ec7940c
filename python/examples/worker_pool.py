"""A pool of workers that come and go, and a boss who always knows them.

    python worker_pool.py worker
    python worker_pool.py boss

A worker says of itself where it takes jobs. The boss follows a live query, and
gives each new worker a job.
"""

import socket
import socketserver
import sys
import threading

import casm

POOL = casm.Query.match_meta("role", "worker")


class Job(socketserver.StreamRequestHandler):
    """One job: a line with a number comes, its square goes back."""

    def handle(self) -> None:
        number = int(self.rfile.readline())
        self.wfile.write(f"{number * number}\n".encode())


def own_ip(node: casm.Node) -> str:
    """An IP address of this machine that others can reach."""
    return next(addr.split("/")[2] for addr in node.info().addrs if addr.startswith("/ip4/"))


def worker() -> None:
    with socketserver.ThreadingTCPServer(("", 0), Job) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        with casm.Node("pool") as node:
            node.set_meta({"role": "worker", "addr": f"{own_ip(node)}:{port}"})
            print(f"worker {node.id} at port {port}", flush=True)
            threading.Event().wait()


def boss() -> None:
    with casm.Node("pool", meta={"role": "boss"}) as node:
        for number, change in enumerate(node.subscribe(POOL), start=2):
            if change.record is None or change.kind not in ("current", "joined"):
                print(change.kind, flush=True)
                continue
            host, port = change.record.meta["addr"].rsplit(":", 1)
            with socket.create_connection((host, int(port)), timeout=10) as worker:
                worker.sendall(f"{number}\n".encode())
                answer = int(worker.makefile().readline())
            print(f"{change.record.peer} says {number}² = {answer}", flush=True)


if __name__ == "__main__":
    roles = {"worker": worker, "boss": boss}
    if sys.argv[1:] not in ([role] for role in roles):
        sys.exit("usage: worker_pool.py worker|boss")
    try:
        roles[sys.argv[1]]()
    except KeyboardInterrupt:
        pass
