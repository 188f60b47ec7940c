"""One of several programs leads, and another takes over when it can't.

    python leader.py keeper
    python leader.py candidate
    python leader.py candidate

The keeper owns a semaphore that one may hold. Who holds it leads, until it gives
the lease back, dies, is stopped (try `kill -STOP`), or loses the keeper. What a
leader does should carry its token: one that was stopped and goes on does not know
yet that another leads.
"""

import sys
import threading

import casm

KEEPER = casm.Query.match_meta("role", "keeper")


def keeper() -> None:
    with casm.Node("leader", meta={"role": "keeper"}) as node:
        node.semaphore("leader", 1)
        print(f"keeper {node.id}", flush=True)
        threading.Event().wait()


def candidate() -> None:
    with casm.Node("leader", meta={"role": "candidate"}) as node:
        record = node.wait_for(1, query=KEEPER).lookup(KEEPER)
        assert record is not None
        leader = node.open_semaphore("leader", record.peer)
        while True:
            print("I follow", flush=True)
            with leader.acquire() as lease:
                print(f"I lead with token {lease.token}", flush=True)
                lease.wait_lost()
            print("I lead no longer", flush=True)


if __name__ == "__main__":
    roles = {"keeper": keeper, "candidate": candidate}
    if sys.argv[1:] not in ([role] for role in roles):
        sys.exit("usage: leader.py keeper|candidate")
    try:
        roles[sys.argv[1]]()
    except KeyboardInterrupt:
        pass
