"""Sends a file over a stream, and goes on where it stopped when it breaks.

    python file_transfer.py send FILE
    python file_transfer.py fetch COPY

The protocol: the receiver says from which byte on it wants the file, in eight bytes,
big-endian. The sender says in eight more how long the file is, and sends the rest of
it. So the receiver knows an end from a break. It is that of the examples in Rust and for
Node.js.
"""

import shutil
import sys
import threading
import time
from pathlib import Path

import casm

PROTOCOL = "/example/file/1"
SENDER = casm.Query.match_meta("role", "sender")
# A sender that says nothing for so many seconds is given up.
PATIENCE = 10


def send(path: Path) -> None:
    def handler(stream: casm.ByteStream, peer: str) -> None:
        start = number(stream)
        with path.open("rb") as file:
            stream.write(path.stat().st_size.to_bytes(8, "big"))
            file.seek(start)
            shutil.copyfileobj(file, stream, 1 << 16)
        print(f"{peer} has it from {start} on", flush=True)

    with casm.Node("files", meta={"role": "sender"}) as node:
        node.on_stream(PROTOCOL, handler)
        print(f"sender {node.id}", flush=True)
        threading.Event().wait()


def number(stream: casm.ByteStream) -> int:
    """Eight bytes, in however many pieces they come."""
    data = b""
    while len(data) < 8:
        piece = stream.read(8 - len(data))
        if not piece:
            raise EOFError("it ended early")
        data += piece
    return int.from_bytes(data, "big")


def fetch(path: Path) -> None:
    with casm.Node("files") as node:
        while True:
            for sender in node.wait_for(1, query=SENDER).iter(SENDER):
                try:
                    if fetch_from(node, sender, path):
                        return
                # It may have gone, and its record be there still.
                except (casm.CasmError, EOFError) as error:
                    print(f"not from {sender.peer}: {error}", flush=True)
            time.sleep(0.2)


def fetch_from(node: casm.Node, sender: casm.Record, path: Path) -> bool:
    """Fetches what is missing, and says whether that was all."""
    with path.open("ab") as file, node.open_stream(sender, PROTOCOL, PATIENCE) as stream:
        stream.timeout = PATIENCE
        have = file.tell()
        stream.write(have.to_bytes(8, "big"))
        length = number(stream)
        print(f"{have} of {length} bytes are there", flush=True)
        try:
            while have < length and (piece := stream.read(1 << 16)):
                have += file.write(piece)
        except casm.CasmError:
            # Over some transports a break looks as an end does.
            pass
    if have < length:
        print(f"it broke after {have} bytes", flush=True)
    else:
        print(f"all {have} bytes are there", flush=True)
    return have >= length


if __name__ == "__main__":
    try:
        match sys.argv[1:]:
            case ["send", file]:
                send(Path(file))
            case ["fetch", file]:
                fetch(Path(file))
            case _:
                sys.exit("usage: file_transfer.py send FILE | fetch COPY")
    except KeyboardInterrupt:
        pass
