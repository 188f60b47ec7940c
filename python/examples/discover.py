"""Discover who is on the local network: run it on several machines.

    python discover.py [NAMESPACE]
"""

import sys

import casm


def main() -> None:
    namespace = sys.argv[1] if len(sys.argv) > 1 else "discover"
    with casm.Node(namespace) as node, node.events() as events:
        print(f"I am {node.id}", flush=True)
        for event in events:
            match event:
                case casm.PeerJoined(record) if record.peer != node.id:
                    print(f"+ {record.peer} on {record.host}", flush=True)
                case casm.PeerLeft(peer, reason):
                    print(f"- {peer} ({reason})", flush=True)
                case _:
                    pass


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
