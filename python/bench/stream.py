"""How fast bytes go over one stream from a process to another, on the loopback
interface.

`--peer iroh` sends them over a stream of iroh, which has QUIC alone. In a network
of its own: it would look for others.
"""

import argparse
import asyncio
import json
import queue
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

PROTOCOL = "/bench/1"
LISTEN = {"quic": "/ip4/127.0.0.1/udp/0/quic-v1", "tcp": "/ip4/127.0.0.1/tcp/0"}


def pieces(args: argparse.Namespace) -> Iterator[bytes]:
    piece = bytes(args.piece)
    for _ in range(args.bytes // args.piece):
        yield piece
    if rest := args.bytes % args.piece:
        yield bytes(rest)


class Sender:
    """This program again, which sends; in a `with`."""

    def __init__(self, args: argparse.Namespace, transport: str, to: str) -> None:
        said = ["--bytes", str(args.bytes), "--piece", str(args.piece), "--transport", transport]
        if args.peer:
            said += ["--peer", args.peer]
        self.process = subprocess.Popen([sys.executable, __file__, *said, "--send-to", to])

    def __enter__(self) -> None:
        pass

    def __exit__(self, failed: object, *_: object) -> None:
        if failed:
            self.process.kill()
        if self.process.wait() != 0 and not failed:
            raise RuntimeError("the sender failed")


class Received:
    """Counts what comes. The first bytes tell when to begin."""

    def __init__(self) -> None:
        self.count = 0
        self.start = self.cpu = 0.0

    def more(self, piece: bytes) -> None:
        if not self.count:
            self.start, self.cpu = time.perf_counter(), time.process_time()
        self.count += len(piece)

    def figures(self, expected: int) -> dict[str, float]:
        took, cpu = time.perf_counter() - self.start, time.process_time() - self.cpu
        if self.count != expected:
            raise RuntimeError(f"{self.count} bytes of {expected} came")
        gib = self.count / 2**30
        return {
            "seconds": round(took, 3),
            "mib_per_s": round(gib * 1024 / took, 1),
            "receiver_cpu_s_per_gib": round(cpu / gib, 3),
        }


def ours(args: argparse.Namespace, transport: str) -> dict[str, float]:
    import casm
    import casm.testing

    found: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def receive(stream: casm.ByteStream, _: str) -> None:
        received = Received()
        try:
            while piece := stream.read(args.piece):
                received.more(piece)
            figures = received.figures(args.bytes)
            stream.write(b"all")
            stream.close_write()
            found.put(figures)
        except BaseException as error:
            found.put(error)

    with casm.Node(**casm.testing.options(listen=LISTEN[transport], namespace="bench")) as node:
        node.on_stream(PROTOCOL, receive)
        addr = f"{node.addrs()[0]}".split("/p2p/")[0] + f"/p2p/{node.id}"
        with Sender(args, transport, addr):
            figures = found.get(timeout=600)
        if isinstance(figures, BaseException):
            raise figures
        return figures


def send_ours(args: argparse.Namespace, transport: str) -> None:
    import casm
    import casm.testing

    with (
        casm.Node(**casm.testing.options(listen=LISTEN[transport], namespace="bench")) as node,
        node.open_stream(args.send_to, PROTOCOL, timeout=60) as stream,
    ):
        for piece in pieces(args):
            stream.write(piece)
        stream.close_write()
        if stream.read() != b"all":
            raise RuntimeError("the receiver has not all")


async def endpoint() -> Any:
    import iroh

    alone = iroh.RelayMode.disabled()
    return await iroh.Endpoint.bind(
        iroh.EndpointOptions(
            preset=iroh.preset_minimal(),
            bind_addr="127.0.0.1:0",
            alpns=[PROTOCOL.encode()],
            relay_mode=alone,
        )
    )


async def irohs(args: argparse.Namespace) -> dict[str, float]:
    node = await endpoint()
    (addr, *_) = node.bound_sockets()
    received = Received()
    with Sender(args, "quic", f"{node.id()}@{addr}"):
        incoming = await asyncio.wait_for(node.accept_next(), 60)
        connection = await (await incoming.accept()).connect()
        both = await connection.accept_bi()
        receiving = both.recv()
        while piece := await receiving.read(args.piece):
            received.more(piece)
        figures = received.figures(args.bytes)
        await both.send().write_all(b"all")
        await both.send().finish()
        await connection.closed()
    await node.close()
    return figures


async def send_irohs(args: argparse.Namespace) -> None:
    import iroh

    node = await endpoint()
    id, addr = args.send_to.split("@")
    to = iroh.EndpointAddr(iroh.EndpointId.from_string(id), None, [addr])
    connection = await node.connect(to, PROTOCOL.encode())
    both = await connection.open_bi()
    sending = both.send()
    for piece in pieces(args):
        await sending.write_all(piece)
    await sending.finish()
    if await both.recv().read_to_end(10) != b"all":
        raise RuntimeError("the receiver has not all")
    connection.close(0, b"")
    await node.close()


def main(args: argparse.Namespace) -> None:
    for transport in ["quic"] if args.peer else args.transport.split(","):
        if args.send_to:
            asyncio.run(send_irohs(args)) if args.peer else send_ours(args, transport)
            continue
        figures = asyncio.run(irohs(args)) if args.peer else ours(args, transport)
        told = {"bench": "stream", "language": "python", "name": args.peer or "casm"}
        asked = {"transport": transport, "bytes": args.bytes, "piece": args.piece}
        print(json.dumps({**told, **asked, **figures}), flush=True)


def alone(said: list[str]) -> int:
    """Runs this program in a network of its own, which has loopback only."""
    up = 'ip link set lo up && exec "$@"'
    command = ["unshare", "--net", "--map-root-user", "sh", "-c", up, "sh"]
    return subprocess.run([*command, sys.executable, __file__, *said, "--alone"]).returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bytes", type=int, default=1 << 30)
    parser.add_argument("--piece", type=int, default=65536)
    parser.add_argument("--transport", default="quic,tcp")
    parser.add_argument("--peer", choices=["iroh"])
    # What this program says to itself.
    parser.add_argument("--send-to", help=argparse.SUPPRESS)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer and not (args.send_to or args.alone):
        sys.exit(alone(sys.argv[1:]))
    main(args)
