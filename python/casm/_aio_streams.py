"""Byte streams as asyncio has them: a reader and a writer over a transport."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from . import _callbacks, _casm

if TYPE_CHECKING:
    from collections.abc import Coroutine

    Call = Callable[..., Coroutine[Any, Any, Any]]

_PIECE = 1 << 16
_HIGH = 1 << 16


class _Transport(asyncio.Transport):
    """Carries bytes between a native stream and a protocol of asyncio's."""

    def __init__(
        self, raw: _casm.RawStream, protocol: asyncio.StreamReaderProtocol, call: Call
    ) -> None:
        super().__init__({"peer": raw.peer, "protocol": raw.protocol})
        self._raw = raw
        self._protocol = protocol
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._high, self._low = _HIGH, _HIGH // 4
        self._paused = False
        self._eof = False
        self._closing = False
        self._lost = False
        self._more = asyncio.Event()
        self._reads = asyncio.Event()
        self._reads.set()
        protocol.connection_made(self)
        # Who forgets a task may find it gone.
        self._tasks = [
            self._loop.create_task(self._read()),
            self._loop.create_task(self._write()),
        ]

    async def _read(self) -> None:
        try:
            while True:
                await self._reads.wait()
                came: _casm.Piece = await self._call(
                    lambda done: self._raw._read(_PIECE, done), _casm.Piece.put_back
                )
                piece = came.take()
                if not piece:
                    break
                self._protocol.data_received(piece)
            # What is written may go on.
            self._protocol.eof_received()
        except Exception as error:
            self._lose(error)

    async def _write(self) -> None:
        try:
            while True:
                while self._waiting:
                    piece = self._waiting.popleft()
                    await self._call(partial(self._raw._write, piece))
                    self._size -= len(piece)
                    if self._paused and self._size <= self._low:
                        self._paused = False
                        self._protocol.resume_writing()
                if self._eof or self._closing:
                    break
                self._more.clear()
                await self._more.wait()
            await self._call(self._raw._close_write)
            while not self._closing:
                self._more.clear()
                await self._more.wait()
            self._raw.reset()
            self._lose(None)
        except Exception as error:
            self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        self._raw.reset()
        self._waiting.clear()
        self._size = 0
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._protocol.connection_lost(error)

    # Of a transport that reads.

    def is_reading(self) -> bool:
        return self._reads.is_set()

    def pause_reading(self) -> None:
        self._reads.clear()

    def resume_reading(self) -> None:
        self._reads.set()

    # Of one that writes.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not data or self._lost:
            return
        if self._eof or self._closing:
            raise RuntimeError("the stream is closed for writing")
        self._waiting.append(bytes(data))
        self._size += len(data)
        self._more.set()
        if self._size > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = 4 * low if low is not None else _HIGH
        self._high, self._low = high, high // 4 if low is None else low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        return self._size

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._eof = True
        self._more.set()

    # Of both.

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True
        self._more.set()

    def abort(self) -> None:
        self._lose(None)

    def get_protocol(self) -> asyncio.StreamReaderProtocol:
        return self._protocol


def pair(
    raw: _casm.RawStream, call: Call
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A reader and a writer on the running loop."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport = _Transport(raw, protocol, call)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class StreamServer:
    """A handler of streams: it runs on the event loop until it is cancelled or the
    node is closed."""

    def __init__(
        self,
        start: Callable[[Callable[[_casm.RawStream], None]], _casm.Subscription],
        handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object],
        call: Call,
    ) -> None:
        if not callable(handler):
            raise TypeError(f"handler: {handler!r} cannot be called")
        self._handler = handler
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._running: set[asyncio.Task[None]] = set()
        self._failed = 0
        self._native = start(self._came)

    def _came(self, raw: _casm.RawStream) -> None:
        try:
            self._loop.call_soon_threadsafe(self._begin, raw)
        except RuntimeError:
            # The loop is closed: nobody handles it any more.
            raw.reset()

    def _begin(self, raw: _casm.RawStream) -> None:
        task = self._loop.create_task(self._handle(raw))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _handle(self, raw: _casm.RawStream) -> None:
        reader, writer = pair(raw, self._call)
        try:
            result = self._handler(reader, writer)
            if asyncio.iscoroutine(result):
                await result
            writer.close()
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                self._failed += 1
                _callbacks.failed(self._handler, error)
            writer.transport.abort()
            if isinstance(error, asyncio.CancelledError):
                raise

    def cancel(self) -> None:
        """Takes no more streams. Those that are being handled go on."""
        self._native.cancel()

    @property
    def dropped(self) -> int:
        """0: what is one too many is reset."""
        return self._native.dropped

    @property
    def failed(self) -> int:
        """How many calls of the handler raised an exception. Each is logged by the
        logger ``casm``."""
        return self._failed

    def __enter__(self) -> StreamServer:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.cancel()
