"""Discover who is on the local network: run it on several machines.

    python discover.py [NAMESPACE]
"""

import sys

import casm


def main() -> None:
    namespace = sys.argv[1] if len(sys.argv) > 1 else "discover"
    with casm.Node(namespace) as node, node.subscribe() as changes:
        print(f"I am {node.id}", flush=True)
        for change in changes:
            record = change.record
            if record is None or record.peer == node.id:
                continue
            if change.kind == "left":
                print(f"- {record.peer}", flush=True)
            # Who was there before the subscription is current.
            elif change.kind in ("current", "joined"):
                print(f"+ {record.peer} on {record.host}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
