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


async def _call(start: Callable[[Done], _casm.Pending]) -> Any:
    """Awaits a call of the native part."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def done(result: Any, error: BaseException | None) -> None:
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            pass

    pending = start(done)
    try:
        return await future
    except asyncio.CancelledError:
        pending.cancel()
        raise


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
            items: list[T] = await _call(self._native._next_batch)
            if not items:
                raise StopAsyncIteration
            # Those that wait here when the task is cancelled are not lost.
            self._items = items[::-1]
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
