"""A minimal asyncio service. It greets whoever asks, and asks every greeter that
it finds, in whatever language that is written.

    python service.py [NAME]

The protocol is a line each way; where a service listens is in its meta.
"""

import asyncio
import sys

import casm
import casm.aio


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    name = (await reader.readline()).decode().strip()
    writer.write(f"hello {name}, this is Python\n".encode())
    await writer.drain()
    writer.close()


async def ask(record: casm.Record, name: str) -> str:
    host, port = record.meta["addr"].rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{name}\n".encode())
    answer = (await reader.readline()).decode().strip()
    writer.close()
    return answer


async def main(name: str) -> None:
    server = await asyncio.start_server(greet, "0.0.0.0", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, casm.aio.Node("services") as node:
        ip = next(a.split("/")[2] for a in node.info().addrs if a.startswith("/ip4/"))
        await node.set_meta({"service": "greeter", "addr": f"{ip}:{port}"})
        print(f"{name} is {node.id}", flush=True)
        async for change in node.subscribe("meta:service=greeter"):
            record = change.record
            if record and change.kind in ("current", "joined") and record.peer != node.id:
                print(await ask(record, name), flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "somebody"))
    except KeyboardInterrupt:
        pass
