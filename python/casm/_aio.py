"""How asyncio waits for the native part: calls, streams, callbacks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from . import _callbacks, _casm

if TYPE_CHECKING:
    from typing import Literal

T = TypeVar("T")
Done = Callable[[Any, "BaseException | None"], None]


async def _call(
    start: Callable[[Done], _casm.Pending], give_back: Callable[[Any], object] | None = None
) -> Any:
    """Awaits a call of the native part. ``give_back`` is called with a result that
    nobody gets, because the task was cancelled when it was there already."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def lost(result: Any, error: BaseException | None) -> None:
        if error is None and give_back is not None:
            give_back(result)

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():
            lost(result, error)
        elif error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def done(result: Any, error: BaseException | None) -> None:
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            lost(result, error)

    pending = start(done)
    try:
        return await future
    except (asyncio.CancelledError, GeneratorExit):
        pending.cancel()
        if future.done() and not future.cancelled() and future.exception() is None:
            # Not left to when this is collected: the task keeps the exception, and
            # that the result.
            lost(future.result(), None)
        raise


def _end(started: _casm.Node | tuple[_casm.Node, object]) -> None:
    """Closes a node whose start was called off when it had started already."""
    node = started[0] if isinstance(started, tuple) else started
    node._awaited.close(0.0, False, lambda _result, _error: None)


class Stream(Generic[T]):
    """Events, changes, messages or found peers, for ``async for``. What nobody
    takes in time is dropped, the oldest first if nothing else was asked, and
    counted. It ends when the node is closed, or the stream cancelled."""

    def __init__(self, native: _casm.Stream[T]) -> None:
        self._native = native
        self._items: list[T] = []

    def __aiter__(self) -> Stream[T]:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            # What came for a task that was cancelled is there too.
            items = self._native._take()
            self._items = items[::-1]
            if not items and not await _call(self._native._more):
                raise StopAsyncIteration
        return self._items.pop()

    async def next(self) -> T | None:
        """The next item, or None when the stream is over."""
        return await anext(self, None)

    @property
    def dropped(self) -> int:
        """How many items were lost because nobody took them in time."""
        return self._native.dropped

    @property
    def ended(self) -> Literal["all", "limit", "timeout"] | None:
        """Of the replies of ``call_all``: why they are over, when they are."""
        return None if self._items else self._native.ended

    def cancel(self) -> None:
        """Ends the stream."""
        self._items.clear()
        self._native.cancel()

    async def __aenter__(self) -> Stream[T]:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.cancel()


def _check_callable(callback: object) -> None:
    if not callable(callback):
        raise TypeError(f"callback: {callback!r} cannot be called")


class Subscription(Generic[T]):
    """A callback's subscription: it runs on the event loop until it is
    cancelled or the node is closed."""

    def __init__(self, stream: Stream[T], callback: Callable[[T], object]) -> None:
        _check_callable(callback)
        self._stream = stream
        self._callback = callback
        self._failed = 0
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        async for item in self._stream:
            try:
                result = self._callback(item)
                if asyncio.iscoroutine(result):
                    await result
            except Exception as error:
                self._failed += 1
                _callbacks.failed(self._callback, error)

    def cancel(self) -> None:
        """Calls the callback no more."""
        self._stream.cancel()

    @property
    def dropped(self) -> int:
        """How many items were lost because the callback was too slow."""
        return self._stream.dropped

    @property
    def failed(self) -> int:
        """How many calls of the callback raised an exception. Each is logged by
        the logger ``casm``."""
        return self._failed

    def __enter__(self) -> Subscription[T]:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.cancel()
