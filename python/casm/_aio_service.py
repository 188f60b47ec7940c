"""The tasks in which the handlers of services run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from . import _casm, _service
from ._aio import _call

if TYPE_CHECKING:
    from .aio import Node

Bytes: TypeAlias = "bytes | bytearray | memoryview"

# What handlers are, and what they give.
Handler = TypeVar("Handler", bound="Callable[[_casm.Request], Awaitable[Bytes | None]]")
Given = TypeVar("Given", bound="Awaitable[Bytes | None]")
StreamHandler = TypeVar("StreamHandler", bound="Callable[[_casm.Request], AsyncIterable[Bytes]]")
Parts = TypeVar("Parts", bound="AsyncIterable[Bytes]")

AnyHandler: TypeAlias = Callable[[_casm.Request], Any]

# The id of the node of which a handler runs.
handling: ContextVar[str | None] = ContextVar("handling", default=None)


def serve(
    node: Node,
    name: str,
    handler: AnyHandler | None,
    stream: bool,
    version: str,
    max_inflight: int,
    listed: bool,
    allow: str | Sequence[str] | None,
) -> Any:
    """Serves a service on the running loop, or gives what does so with a handler."""
    if handler is None:
        return lambda given: serve(
            node, name, given, stream, version, max_inflight, listed, allow
        )
    _service.check(handler)
    loop = asyncio.get_running_loop()
    # A loop keeps no task by itself.
    tasks: set[asyncio.Task[None]] = set()
    work = _send_parts if stream else _answer

    def begin(request: _casm.Request) -> None:
        if request.cancelled:
            # It waited for too long while the loop was busy.
            return
        task = loop.create_task(_run(node.id, work, request, handler))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        request._on_cancel(lambda: _soon(loop, task.cancel))

    def on_request(request: _casm.Request) -> None:
        # One for which there is no loop any more is dropped, and fails.
        _soon(loop, begin, request)

    requests = _casm.serve(
        node._node, name, stream, version, max_inflight, listed, allow, on_request=on_request
    )
    return _service.Serving(requests, handler)


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *args: Any) -> None:
    try:
        loop.call_soon_threadsafe(call, *args)
    except RuntimeError:
        # The loop is closed.
        pass


async def _run(node: str, work: Any, request: _casm.Request, handler: AnyHandler) -> None:
    handling.set(node)
    try:
        await work(request, handler)
    except (asyncio.CancelledError, GeneratorExit):
        # The latter if its loop was closed before it was done.
        request._fail("the handler was cancelled")
    except BaseException as error:
        _service.fail(request, handler, error)


async def _answer(request: _casm.Request, handler: AnyHandler) -> None:
    given: Any = handler(request)
    if isinstance(given, Awaitable):
        given = await given
    _service.answer(request, given)


async def _send_parts(request: _casm.Request, handler: AnyHandler) -> None:
    parts: Any = handler(request)
    async for part in parts:
        await _send(request, part)
    request._answer(b"")


async def _send(request: _casm.Request, part: bytes) -> None:
    await _call(lambda done: request._send_part(part, done))
