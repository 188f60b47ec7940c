"""How asyncio awaits a call of the native part."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from . import _casm

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
