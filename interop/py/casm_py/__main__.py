"""Writes one JSON object per line to stdout, and takes commands, one JSON
object per line, from stdin; the end of the input is a clean leave."""

import argparse
import json
import random
import re
import signal
import socket
import sys
from dataclasses import replace

import trio

from .heartbeat import Heartbeat
from .node import Node, Options


def emit(event: str, **fields) -> None:
    """Writes an event."""
    print(json.dumps({"event": event} | fields), flush=True)


def milliseconds(text: str) -> int:
    """The length of a duration such as 500ms, 10s or 5m."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m)", text)
    if not match:
        raise ValueError(f"duration {text}: write one such as 500ms, 10s or 5m")
    return round(float(match[1]) * {"ms": 1, "s": 1000, "m": 60_000}[match[2]])


def parse_options() -> tuple[Options, list[str]]:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="casm_py", description=__doc__)
    parser.add_argument("--ns", default="casm")
    parser.add_argument("--listen", action="append")
    parser.add_argument("--connect", action="append", default=[])
    parser.add_argument("--host", default=socket.gethostname())
    parser.add_argument("--meta", action="append", default=[])
    parser.add_argument("--ttl", type=milliseconds, default=10_000)
    parser.add_argument("--security", choices=["noise", "tls"])
    parser.add_argument("--observer", action="store_true")
    parser.add_argument("--lazy", action="store_true", help="be in nobody's mesh")
    args = parser.parse_args()
    heartbeat = Heartbeat(args.ttl, random.getrandbits(64), args.host, args.meta)
    listen = args.listen or ["/ip4/127.0.0.1/tcp/0"]
    options = Options(args.ns, listen, heartbeat, args.security, args.observer, args.lazy)
    return options, args.connect


async def execute(node: Node, command: dict) -> dict:
    """Does what a command says, and gives what there is to reply."""
    match command.get("cmd"):
        case "connect":
            return {"peer": await node.connect(command["addr"])}
        case "ping":
            return {"peer": command["peer"], "rtt_ms": await node.ping(command["peer"])}
        case "view":
            records = [record.fields() for record in node.records()]
            return {"n": len(records), "records": records}
        case "peers":
            return {"peers": node.peers()}
        case "stream":
            return await node.open_stream(
                command["addr"], command["protocol"], command["bytes"]
            )
        case "join":
            await node.join(command["topic"])
            return {}
        case "say":
            await node.say(command["topic"], command["text"])
            return {}
        case "stats":
            return {"mesh": node.mesh()}
        case "update":
            change = {k: command[k] for k in ("host", "meta") if k in command}
            if "ttl" in command:
                change["ttl_ms"] = milliseconds(command["ttl"])
            node.update(replace(node.heartbeat, **change))
            return {}
    raise ValueError(f"there is no command {command.get('cmd')}")


async def run_command(node: Node, line: str) -> None:
    """Runs a line of input."""
    command: dict = {}
    try:
        command = json.loads(line)
        with trio.fail_after(15):
            reply = await execute(node, command)
        emit("reply", cmd=command["cmd"], id=command.get("id"), **reply)
    except Exception as error:  # whatever the library raises is the answer
        emit(
            "error",
            cmd=command.get("cmd"),
            id=command.get("id"),
            kind="Protocol",
            message=f"{type(error).__name__}: {error}",
        )


async def read_commands(node: Node, nursery: trio.Nursery) -> None:
    """Starts each command as it comes, until the end of the input."""
    stdin = trio.wrap_file(sys.stdin)
    async for line in stdin:
        nursery.start_soon(run_command, node, line)


async def main() -> None:
    """Runs a node until its input ends or it is interrupted."""
    options, connect = parse_options()
    node = Node(options, emit)

    async def serve(_: trio.Nursery) -> None:
        for addr in connect:
            await run_command(node, json.dumps({"cmd": "connect", "addr": addr}))
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:

                async def until_signal() -> None:
                    async for _ in signals:
                        nursery.cancel_scope.cancel()

                nursery.start_soon(until_signal)
                async with trio.open_nursery() as commands:
                    await read_commands(node, commands)
                nursery.cancel_scope.cancel()

    await node.run(serve)


trio.run(main)
