"""Topics for asyncio."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from . import _casm
from ._aio import Stream, Subscription, _call

if TYPE_CHECKING:
    from . import Message

    Full = Literal["drop_oldest", "drop_newest"]


class Topic:
    """A handle of a topic. All handles of a topic in one node share it; it is
    left with the last of them and of their subscriptions, or with the node."""

    def __init__(self, native: _casm.Topic) -> None:
        self._native = native

    @property
    def name(self) -> str:
        """The topic's name, as it was given."""
        return self._native.name

    @property
    def full_name(self) -> str:
        """What gossip calls it: ``/casm/1.0.0/<namespace>/topic/<name>``, or its
        exact name."""
        return self._native.full_name

    async def publish(self, data: bytes | bytearray | memoryview) -> int:
        """Publishes, and returns to how many peers the message was sent; they
        hand it on. 0 is no error. Waits while the node's own queues are full, for
        10 seconds at most."""
        native = self._native
        peers: int = await _call(lambda done: native._publish(data, done))
        return peers

    def subscribe(
        self, *, queue: int | None = None, full: Full | None = None, echo: bool = False
    ) -> Stream[Message]:
        """What comes from now on. ``queue`` messages may wait, 1024 if nothing
        else is said; ``full`` is which are lost when more come. The node's own
        messages come with ``echo`` alone."""
        return Stream(self._native.subscribe(queue=queue, full=full, echo=echo))

    def on_message(
        self,
        callback: Callable[[Message], object],
        *,
        queue: int | None = None,
        full: Full | None = None,
        echo: bool = False,
    ) -> Subscription[Message]:
        """Calls ``callback(message)`` with what comes from now on; see
        ``subscribe``."""
        return Subscription(self.subscribe(queue=queue, full=full, echo=echo), callback)

    def peers(self) -> list[str]:
        """The ids of the connected peers that have joined the topic."""
        return self._native.peers()

    async def wait_for_peers(self, n: int) -> list[str]:
        """Waits until ``n`` connected peers have joined the topic, and returns
        their ids."""
        native = self._native
        peers: list[str] = await _call(lambda done: native._wait_for_peers(n, done))
        return peers

    def close(self) -> None:
        """Lets the handle go, as the end of a ``with`` does; others, and
        subscriptions, go on."""
        self._native.close()

    def __enter__(self) -> Topic:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<aio.Topic {self._native!r}>"
