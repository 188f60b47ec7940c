"""Byte streams as files, and the threads on which their handlers run."""

from __future__ import annotations

import io

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    from typing_extensions import Buffer

    from . import _casm

_PIECE = 1 << 16


class ByteStream(io.RawIOBase):
    """A stream of bytes to and from a peer, as a raw file: it can be read and
    written at the same time, by a thread each.

    ``close()`` and the end of a ``with`` end what is written, so that the peer
    reads to the end, and read no more; ``close_write()`` leaves reading open. A
    ``with`` that ends by an exception, and a stream that is no longer used, reset
    it: to the peer it is broken, as far as its transport tells that (over QUIC it
    looks as the end does). So a protocol should say how much is to come.
    """

    timeout: float | None
    """How many seconds each call may take; None: as long as it needs. A read after
    a ``TimeoutError`` goes on where it was; a write of which some had gone out
    resets the stream."""

    def __init__(self, raw: _casm.RawStream, timeout: float | None = None) -> None:
        self._raw = raw
        self.timeout = timeout
        # Of a `readall` that has not come to the end.
        self._early: list[bytes] = []

    @property
    def peer(self) -> str:
        """The id of the peer at the other end."""
        return self._raw.peer

    @property
    def protocol(self) -> str:
        """The protocol."""
        return self._raw.protocol

    def readable(self) -> bool:
        """True."""
        return True

    def writable(self) -> bool:
        """True."""
        return True

    def _limit(self, timeout: float | None) -> float | None:
        return self.timeout if timeout is None else timeout

    def read(self, size: int | None = -1, /, timeout: float | None = None) -> bytes:
        """What is there, ``size`` bytes at most, and at least one; empty at the
        end. All up to the end if ``size`` is negative or None.

        Raises:
            UnreachableError: if the peer reset the stream, or the connection was
                lost.
        """
        if size is None or size < 0:
            return self.readall(timeout)
        if size == 0:
            return b""
        if self._early:
            early = b"".join(self._early)
            self._early = [early[size:]] if len(early) > size else []
            return early[:size]
        return self._raw.read(size, self._limit(timeout))

    def readall(self, timeout: float | None = None) -> bytes:
        """All up to the end. ``timeout`` is for each piece of it."""
        while piece := self._raw.read(_PIECE, self._limit(timeout)):
            self._early.append(piece)
        pieces, self._early = self._early, []
        return b"".join(pieces)

    def readinto(self, buffer: Buffer, /) -> int:
        """Reads into a buffer what is there, as far as it has room."""
        view = memoryview(buffer).cast("B")
        piece = self.read(len(view))
        view[: len(piece)] = piece
        return len(piece)

    def write(self, data: Buffer, /, timeout: float | None = None) -> int:
        """Writes all of it, and returns how many bytes that were. Waits while the
        peer has no room for them."""
        self._raw.write(data, self._limit(timeout))
        return len(data) if isinstance(data, bytes) else memoryview(data).nbytes

    def close_write(self, timeout: float | None = None) -> None:
        """Ends what is written: the peer reads to the end. Reading goes on."""
        self._raw.close_write(self._limit(timeout))

    def close(self, timeout: float | None = None) -> None:
        """Ends what is written, and reads no more. A second call does nothing."""
        if self.closed:
            return
        try:
            self._raw.close(self._limit(timeout))
        finally:
            super().close()

    def reset(self) -> None:
        """Ends it at once, for a thread that waits for it too. To the peer it is
        broken, unless it was closed for writing."""
        self._raw.reset()
        super().close()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        if exc_type is None:
            self.close()
        else:
            self.reset()

    def __del__(self) -> None:
        # A file would be closed here: that may wait, and tell the peer that all
        # is well.
        pass

    def __repr__(self) -> str:
        closed = " closed" if self.closed or self._raw.closed else ""
        return f"<ByteStream {self.protocol} to {self.peer}{closed}>"


ByteStream.__module__ = "casm"


class Handler:
    """Hands streams to a handler, on threads of its own."""

    def __init__(self, handler: Callable[[ByteStream, str], object], workers: int) -> None:
        from ._workers import Pool

        if not callable(handler):
            raise TypeError(f"handler: {handler!r} cannot be called")
        self._handler = handler
        self._pool = Pool(workers)
        self.subscription: _casm.Subscription | None = None

    def __call__(self, raw: _casm.RawStream) -> None:
        self._pool.submit(raw.peer, lambda: self._handle(raw))

    def _handle(self, raw: _casm.RawStream) -> None:
        from ._callbacks import failed

        stream = ByteStream(raw)
        try:
            self._handler(stream, stream.peer)
            stream.close()
        except BaseException as error:
            if self.subscription is not None:
                self.subscription._count_failure()
            failed(self._handler, error)
            stream.reset()


def opened(raw: Any) -> ByteStream:
    """For the native part."""
    return ByteStream(raw)
