"""What the types promise: mypy and pyright, both strict, look at this, and nobody runs it."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import casm
import casm.aio

# What a decorator makes is a service, and still its handler.


def threads(node: casm.Node) -> None:
    @node.serve("shout", workers=2, allow="worker")
    def shout(request: casm.Request, loud: bool = True) -> bytes:
        return request.data.upper() if loud else request.data

    @node.serve_stream("tail", allow=["admin", "worker"])
    def tail(request: casm.Request) -> Iterator[bytes]:
        yield casm.Answer(request.data, {"k": "v"})

    def local(request: casm.Request) -> bytes:
        # As its handler, also where one is wanted.
        handlers: list[Callable[[casm.Request], bytes]] = [shout]
        parts: Iterator[bytes] = tail(request)
        return shout(request, loud=False) + handlers[0](request) + b"".join(parts)

    nothing: casm.Serving[Callable[[casm.Request], None]] = node.serve("nothing", lambda _: None)
    nothing.stop()
    with node.serve("local", local) as serving, node.serve("echo", lambda r: r.data) as echo:
        print(serving.name, echo.name)
    answer: casm.Answer = node.call("shout", b"x", peer=node.id)
    headers: dict[str, str] = answer.headers
    print(answer.upper() + b"", headers.get("k"), answer.peer or "")

    shout("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    node.serve("text", text)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportCallIssue]
    node.serve("none")(3)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    node.serve_stream("one", local)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportCallIssue]


def text(request: casm.Request) -> str:
    return str(request.data)


async def loop(node: casm.aio.Node) -> None:
    @node.serve("shout", max_inflight=2, allow=("worker",))
    async def shout(request: casm.Request, loud: bool = True) -> bytes | None:
        return request.data.upper() if loud else None

    @node.serve_stream("tail", allow=["admin", "worker"])
    async def tail(request: casm.Request) -> AsyncIterator[bytes]:
        yield request.data

    async def along(request: casm.Request) -> casm.Answer:
        return casm.Answer(await shout(request, loud=False) or b"", request.headers)

    async def some(request: casm.Request) -> AsyncIterator[casm.Answer]:
        async for part in tail(request):
            yield casm.Answer(part)

    handler: Callable[[casm.Request], Coroutine[Any, Any, bytes | None]] = shout
    with node.serve("along", along) as serving, node.serve_stream("some", some):
        answered: Callable[[casm.Request], Coroutine[Any, Any, casm.Answer]] = serving
        print(handler, answered, node.serve("again", serving).name)
    answer: casm.Answer = await node.call("along")
    print(answer.headers, answer.peer)

    node.serve("text", text)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportCallIssue]
    node.serve_stream("one", along)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportCallIssue]
    node.serve("parts", some)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportCallIssue]

    @node.serve("at-once")  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    def at_once(request: casm.Request) -> bytes:
        return request.data

    print(at_once)  # pyright: ignore[reportUnknownArgumentType]
