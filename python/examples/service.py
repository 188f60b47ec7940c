"""A service for asyncio: it greets whoever asks. And it asks each member that serves
one, in whatever language that is written.

    python service.py [NAME]
"""

import asyncio
import sys

import casm
import casm.aio


async def greet(request: casm.Request) -> bytes:
    return f"hello {request.data.decode()}, this is Python".encode()


async def main(name: str) -> None:
    async with casm.aio.Node("services") as node:
        node.serve("greet", greet)
        print(f"{name} is {node.id}", flush=True)
        async for change in node.subscribe(casm.Query.service("greet")):
            record = change.record
            if record and change.kind in ("current", "joined") and record.peer != node.id:
                try:
                    answer = await node.call("greet", name.encode(), peer=record)
                    print(answer.decode(), flush=True)
                except casm.CasmError as error:
                    # It may have gone already.
                    print(f"no answer: {error}", flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "somebody"))
    except KeyboardInterrupt:
        pass
