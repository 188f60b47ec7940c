"""CASM for asyncio.

    >>> async with casm.aio.Node(namespace="demo") as node:
    ...     await node.wait_for(3)
    ...     async for event in node.events():
    ...         print(event)

Every await can be cancelled, and given a limit with ``asyncio.timeout``.
Callbacks run on the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from . import _callbacks, _casm
from ._errors import ClosedError

if TYPE_CHECKING:
    import os
    from typing import Literal

    from . import Change, Config, Event, Found, Key, PeerInfo, PeerStatus, Query, Record, View

__all__ = ["Node", "RemoteView", "Stream", "Subscription"]

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
    """Events, changes or found peers, for ``async for``. What nobody takes in
    time is dropped, the oldest first, and counted. It ends when the node is
    closed, or the stream cancelled."""

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


class RemoteView:
    """The view of another node, as it is there: each query is answered by that
    node when it is asked."""

    def __init__(self, native: _casm.RemoteView) -> None:
        self._native = native

    @property
    def peer(self) -> str:
        """The id of the node whose view it is."""
        return self._native.peer

    def iter(
        self,
        query: Query | str | None = None,
        *,
        limit: int | None = None,
        reverse: bool | None = None,
    ) -> Stream[Record]:
        """The records that a query finds, as they come."""
        return Stream(self._native.iter(query, limit=limit, reverse=reverse))

    async def lookup(self, query: Query | str) -> Record | None:
        """The first record that a query finds, or None."""
        record: Record | None = await _call(lambda done: self._native._lookup(query, done))
        return record

    async def count(self, query: Query | str | None = None) -> int:
        """How many records a query finds. They are all sent here for that."""
        count: int = await _call(lambda done: self._native._count(query, done))
        return count

    async def get(self, peer: str) -> Record | None:
        """The record of a peer, or None."""
        record: Record | None = await _call(lambda done: self._native._get(peer, done))
        return record

    def __repr__(self) -> str:
        return repr(self._native)


class Node:
    """A member of a cluster, or an observer of one.

    It is started by ``async with``, or by ``await``::

        node = await casm.aio.Node(namespace="demo")

    and closed at the end of the ``async with``, by ``await node.close()``, and
    when the program ends. The arguments are those of ``casm.Config``, and
    ``on_event``: a callback that is called with what happens from the first event
    on, such as where the node listens.
    """

    def __init__(
        self,
        namespace: str | None = None,
        *,
        listen: str | Sequence[str] | None = None,
        boot: str | Sequence[str] | None = None,
        serve: str | Sequence[str] | None = None,
        announce: str | Sequence[str] | None = None,
        announce_only: bool = False,
        host: str | None = None,
        meta: dict[str, str] | None = None,
        ttl: float | None = None,
        observer: bool = False,
        data: str | os.PathLike[str] | None = None,
        pex_tick: float | None = None,
        power: Literal["normal", "low"] | None = None,
        limits: Mapping[str, float | Mapping[str, float]] | None = None,
        key: Key | str | os.PathLike[str] | None = None,
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        self._config = _casm.Config(
            namespace,
            listen=listen,
            boot=boot,
            serve=serve,
            announce=announce,
            announce_only=announce_only,
            host=host,
            meta=meta,
            ttl=ttl,
            observer=observer,
            data=data,
            pex_tick=pex_tick,
            power=power,
            limits=limits,
            key=key,
        )
        if on_event is not None:
            _check_callable(on_event)
        self._on_event = on_event
        self._native: _casm.Node | None = None

    @staticmethod
    async def start(
        config: Config, *, on_event: Callable[[Event], object] | None = None
    ) -> Node:
        """Starts a node. ``on_event`` is called with what happens from the first
        event on."""
        node = Node(on_event=on_event)
        node._config = config
        return await node._start()

    async def _start(self) -> Node:
        if self._native is not None:
            return self
        if self._on_event is None:
            self._native = await _call(lambda done: _casm.start(self._config, done))
        else:
            started = await _call(lambda done: _casm.start(self._config, done, True))
            self._native, events = started
            Subscription(Stream(events), self._on_event)
        return self

    def __await__(self) -> Generator[Any, None, Node]:
        return self._start().__await__()

    async def __aenter__(self) -> Node:
        return await self._start()

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def _node(self) -> _casm.Node:
        if self._native is None:
            raise ClosedError("the node is not started: use `async with`, or await it")
        return self._native

    @property
    def id(self) -> str:
        """The node's peer id. Also of a closed node."""
        return self._node.id

    @property
    def namespace(self) -> str:
        """The cluster's name. Also of a closed node."""
        return self._node.namespace

    @property
    def closed(self) -> bool:
        """Whether the node is closed, or not started yet."""
        return self._native is None or self._native.closed

    def is_paused(self) -> bool:
        """Whether the node is paused, or about to be."""
        return self._node.is_paused()

    def addrs(self) -> list[str]:
        """The multiaddrs at which it can be reached, each with its
        ``/p2p/<id>``: none while it is paused."""
        return self._node.addrs()

    def info(self) -> PeerInfo:
        """Its id and its addresses, for another node's ``connect``."""
        return self._node.info()

    def view(self) -> View:
        """The cluster as this node sees it now."""
        return self._node.view()

    async def wait_for(self, n: int, *, query: Query | str | None = None) -> View:
        """Waits until the view holds ``n`` records, the own one among them, or
        ``n`` that a query finds, and returns it."""
        node = self._node
        view: View = await _call(lambda done: node._wait_for(n, query, done))
        return view

    async def view_of(self, peer: str) -> RemoteView:
        """The view of a connected peer, as it is there."""
        node = self._node
        return RemoteView(await _call(lambda done: node._view_of(peer, done)))

    def events(self) -> Stream[Event]:
        """What happens from now on."""
        return Stream(self._node.events())

    def on_event(self, callback: Callable[[Event], object]) -> Subscription[Event]:
        """Calls ``callback(event)`` with what happens from now on."""
        return Subscription(self.events(), callback)

    def subscribe(
        self,
        query: Query | str | None = None,
        *,
        limit: int | None = None,
        reverse: bool | None = None,
    ) -> Stream[Change]:
        """Follows a query: what it finds now, then every change to that."""
        return Stream(self._node.subscribe(query, limit=limit, reverse=reverse))

    def on_change(
        self,
        callback: Callable[[Change], object],
        query: Query | str | None = None,
        *,
        limit: int | None = None,
        reverse: bool | None = None,
    ) -> Subscription[Change]:
        """Calls ``callback(change)`` with what a query finds now, and with every
        change to that."""
        return Subscription(self.subscribe(query, limit=limit, reverse=reverse), callback)

    def find_peers(
        self,
        namespace: str | None = None,
        *,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> Stream[Found]:
        """Looks for peers: those that peer exchange knows, then where the boot
        addresses say. Ends after ``limit``
        peers or ``timeout`` seconds; without either, when it is cancelled."""
        return Stream(self._node.find_peers(namespace, limit=limit, timeout=timeout))

    async def advertise(self, namespace: str, ttl: float) -> None:
        """Lets others find this node under another namespace too, for ``ttl``
        seconds."""
        node = self._node
        await _call(lambda done: node._advertise(namespace, ttl, done))

    async def connect(self, peer: PeerInfo | str | Sequence[str]) -> str:
        """Connects to a peer, and returns its id. The peer is a ``PeerInfo``,
        multiaddrs that end in ``/p2p/<id>``, or one multiaddr of whoever
        answers there."""
        node = self._node
        id: str = await _call(lambda done: node._connect(peer, done))
        return id

    def connected(self) -> list[str]:
        """The ids of the peers that are connected now."""
        return self._node.connected()

    def peer_status(self, peer: str) -> PeerStatus | None:
        """What is known of a connected peer: its addresses, who made the
        connection, the round-trip time, the program. ``None`` if it isn't
        connected."""
        return self._node.peer_status(peer)

    async def set_meta(self, meta: dict[str, str]) -> None:
        """Changes what others may know of this node, and tells them."""
        node = self._node
        await _call(lambda done: node._set_meta(meta, done))

    async def update_meta(self, changes: Mapping[str, str | None]) -> None:
        """Changes some of what others may know of this node, and tells them:
        each key gets the value, or goes if that is ``None``. No other change
        comes between."""
        node = self._node
        await _call(lambda done: node._update_meta(changes, done))

    async def set_host(self, host: str) -> None:
        """Changes the host name that others read, and tells them."""
        node = self._node
        await _call(lambda done: node._set_host(host, done))

    async def set_ttl(self, ttl: float) -> None:
        """Changes for how many seconds others keep this node's record, and
        tells them."""
        node = self._node
        await _call(lambda done: node._set_ttl(ttl, done))

    def metrics(self) -> str:
        """The node's counters, in the OpenMetrics text format."""
        return self._node.metrics()

    def metrics_snapshot(self) -> dict[str, float]:
        """The values of the node's counters now, each by its name and labels as
        in the text."""
        return self._node.metrics_snapshot()

    async def pause(self) -> None:
        """Leaves the cluster for a while, so that others see it at once, and lets
        every connection and socket go. What needs the network raises
        ``PausedError`` until the node is resumed."""
        await _call(self._node._pause)

    async def resume(self) -> None:
        """Comes back after a pause. Subscriptions are told what has changed
        meanwhile."""
        await _call(self._node._resume)

    async def close(self) -> None:
        """Leaves the cluster, so that others see it at once, and waits until
        nothing of the node is running. A second call does nothing."""
        native = self._native
        if native is not None:
            await _call(native._close)

    def __repr__(self) -> str:
        return f"<aio.Node {self._native!r}>"
