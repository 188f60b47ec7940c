"""CASM for asyncio.

    >>> async with casm.aio.Node(namespace="demo") as node:
    ...     await node.wait_for(3)
    ...     async for event in node.events():
    ...         print(event)

Every await can be cancelled, and given a limit with ``asyncio.timeout``. What other
nodes have to answer has one of 10 s if no other ``timeout`` is given.
Callbacks run on the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

from . import _aio_service, _aio_streams, _casm
from ._aio import Stream, Subscription, _call, _check_callable, _end
from ._aio_admission import Admission
from ._aio_channels import Channel, Job, Lease, Semaphore, select
from ._aio_record import OwnRecord
from ._aio_view import RemoteView
from ._errors import ClosedError
from ._topic import Topic

if TYPE_CHECKING:
    import asyncio
    import os
    from typing import Literal

    from . import (
        Answer,
        Change,
        Config,
        Event,
        Found,
        Key,
        PeerInfo,
        PeerReply,
        PeerStatus,
        Query,
        Reachability,
        Record,
        Request,
        Secret,
        ServiceStats,
        Serving,
        View,
    )
    from ._aio_service import AnyHandler, Given, Handler, Parts, StreamHandler

__all__ = [
    "Channel",
    "Job",
    "Lease",
    "Node",
    "RemoteView",
    "Semaphore",
    "Stream",
    "StreamServer",
    "Subscription",
    "Topic",
    "select",
]

StreamServer = _aio_streams.StreamServer


class Node(Admission, OwnRecord):
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
        pace: Literal["auto", "fixed"] | None = None,
        budget: int | None = None,
        limits: Mapping[str, float | Mapping[str, float]] | None = None,
        key: Key | str | os.PathLike[str] | None = None,
        secret: Secret | str | os.PathLike[str] | None = None,
        allow: str | Iterable[str] | None = None,
        deny: str | Iterable[str] | None = None,
        admit: str | Iterable[str] | None = None,
        certificate: str | os.PathLike[str] | bytes | bytearray | memoryview | None = None,
        revoked: str | os.PathLike[str] | None = None,
        relay: bool = False,
        relay_limits: Mapping[str, float] | None = None,
        use_relays: bool = True,
        upnp: bool = False,
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
            pace=pace,
            budget=budget,
            limits=limits,
            key=key,
            secret=secret,
            allow=allow,
            deny=deny,
            admit=admit,
            certificate=certificate,
            revoked=revoked,
            relay=relay,
            relay_limits=relay_limits,
            use_relays=use_relays,
            upnp=upnp,
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
            self._native = await _call(lambda done: _casm.start(self._config, done), _end)
        else:
            started = await _call(lambda done: _casm.start(self._config, done, True), _end)
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
        view: View = await _call(lambda done: node._awaited.wait_for(n, query, done))
        return view

    async def view_of(self, peer: Record | PeerInfo | str | Sequence[str]) -> RemoteView:
        """The view of a peer, as it is there. Connects to it as ``connect`` does."""
        node = self._node
        return RemoteView(await _call(lambda done: node._awaited.view_of(peer, done)))

    def channel(
        self, name: str, capacity: int = 0, *, close_by_others: bool = False
    ) -> Channel:
        """A channel of this node, which others open by its name."""
        return Channel(self._node.channel(name, capacity, close_by_others=close_by_others))

    async def open_channel(
        self,
        name: str,
        peer: Record | PeerInfo | str | Sequence[str] | None = None,
        timeout: float | None = 10.0,
    ) -> Channel:
        """A channel of another node, by its name there: of the one member in whose
        record it stands, if no peer is given. Connects to it as ``connect`` does.
        ``timeout`` is in seconds; None is no limit."""
        node = self._node
        return Channel(
            await _call(lambda done: node._awaited.open_channel(name, peer, timeout, done))
        )

    async def semaphore(self, name: str, n: int) -> Semaphore:
        """A semaphore of this node, of which ``n`` leases are given at a time."""
        node = self._node
        return Semaphore(await _call(lambda done: node._awaited.semaphore(name, n, done)))

    async def open_semaphore(
        self,
        name: str,
        peer: Record | PeerInfo | str | Sequence[str] | None = None,
        timeout: float | None = 10.0,
    ) -> Semaphore:
        """A semaphore of another node, by its name there: of the one member in whose
        record it stands, if no peer is given. Connects to it as ``connect`` does.
        ``timeout`` is in seconds; None is no limit."""
        node = self._node
        return Semaphore(
            await _call(lambda done: node._awaited.open_semaphore(name, peer, timeout, done))
        )

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

    def topic(
        self,
        name: str,
        *,
        exact: bool = False,
        max_data: int | None = None,
        accept: Query | str | None = None,
    ) -> Topic:
        """A handle of a topic, which the node joins if it has not; see
        ``casm.Node.topic``."""
        node = self._node
        return Topic(node.topic(name, exact=exact, max_data=max_data, accept=accept))

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
        await _call(lambda done: node._awaited.advertise(namespace, ttl, done))

    async def connect(self, peer: Record | PeerInfo | str | Sequence[str]) -> str:
        """Connects to a peer, and returns its id. The peer is a ``Record``, an id,
        a ``PeerInfo``, multiaddrs that end in ``/p2p/<id>``, or one multiaddr of
        whoever answers there. An id leads to where the peer's record or peer
        exchange says that it is."""
        node = self._node
        id: str = await _call(lambda done: node._awaited.connect(peer, done))
        return id

    async def open_stream(
        self,
        peer: Record | PeerInfo | str | Sequence[str],
        protocol: str,
        timeout: float | None = 10.0,
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Opens a stream of bytes to a peer, to which it connects as ``connect``
        does: a reader and a writer, as of ``asyncio.open_connection``.
        ``protocol`` is a libp2p protocol id of the program's own, such as
        ``/files/1``. ``timeout`` is in seconds, for opening it; None is no limit.
        ``writer.get_extra_info("peer")`` is the peer's id;
        ``writer.transport.abort()`` resets the stream."""
        begin = self._node._awaited.open_stream
        raw = await _call(lambda done: begin(peer, protocol, timeout, done), _casm.RawStream.reset)
        return _aio_streams.pair(raw, _call)

    def on_stream(
        self,
        protocol: str,
        handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object],
    ) -> StreamServer:
        """Calls ``handler(reader, writer)`` with every stream of a protocol that a
        peer opens, as ``asyncio.start_server`` does; a coroutine runs as a task.
        The stream is closed when the handler returns, and reset if it raises. It
        goes on until it is cancelled or the node is closed."""
        node = self._node
        return StreamServer(lambda came: _casm.on_stream(node, protocol, came), handler, _call)

    def connected(self) -> list[str]:
        """The ids of the peers that are connected now."""
        return self._node.connected()

    def peer_status(self, peer: str) -> PeerStatus | None:
        """What is known of a connected peer: its addresses, who made the
        connection, the round-trip time, the program. ``None`` if it isn't
        connected."""
        return self._node.peer_status(peer)

    def reachability(self) -> Reachability:
        """Whether others can reach this node, and where."""
        return self._node.reachability()

    def metrics(self) -> str:
        """The node's counters, in the OpenMetrics text format."""
        return self._node.metrics()

    def metrics_snapshot(self) -> dict[str, float]:
        """The values of the node's counters now, each by its name and labels as
        in the text."""
        return self._node.metrics_snapshot()

    @overload
    def serve(
        self,
        name: str,
        handler: None = None,
        *,
        version: str = "1",
        max_inflight: int = 64,
        listed: bool = True,
        allow: str | Sequence[str] | None = None,
    ) -> Callable[[Handler], Serving[Handler]]: ...

    @overload
    def serve(
        self,
        name: str,
        handler: Callable[[Request], Given],
        *,
        version: str = "1",
        max_inflight: int = 64,
        listed: bool = True,
        allow: str | Sequence[str] | None = None,
    ) -> Serving[Callable[[Request], Given]]: ...

    def serve(
        self,
        name: str,
        handler: AnyHandler | None = None,
        *,
        version: str = "1",
        max_inflight: int = 64,
        listed: bool = True,
        allow: str | Sequence[str] | None = None,
    ) -> Any:
        """Serves a service: the coroutine function ``handler(request)`` answers with
        bytes, or with an ``Answer``, which has headers too, in a task of its own on this event loop. Without a handler it is a
        decorator. The task is cancelled when nobody waits for the answer any more.
        All else is as of ``casm.Node.serve``."""
        return _aio_service.serve(
            self, name, handler, False, version, max_inflight, listed, allow
        )

    @overload
    def serve_stream(
        self,
        name: str,
        handler: None = None,
        *,
        version: str = "1",
        max_inflight: int = 64,
        listed: bool = True,
        allow: str | Sequence[str] | None = None,
    ) -> Callable[[StreamHandler], Serving[StreamHandler]]: ...

    @overload
    def serve_stream(
        self,
        name: str,
        handler: Callable[[Request], Parts],
        *,
        version: str = "1",
        max_inflight: int = 64,
        listed: bool = True,
        allow: str | Sequence[str] | None = None,
    ) -> Serving[Callable[[Request], Parts]]: ...

    def serve_stream(
        self,
        name: str,
        handler: AnyHandler | None = None,
        *,
        version: str = "1",
        max_inflight: int = 64,
        listed: bool = True,
        allow: str | Sequence[str] | None = None,
    ) -> Any:
        """Serves a service that answers in parts: ``handler(request)`` is an
        asynchronous generator of bytes, up to 64 KiB each. As ``serve`` in all
        else."""
        return _aio_service.serve(
            self, name, handler, True, version, max_inflight, listed, allow
        )

    async def call(
        self,
        name: str,
        data: bytes | bytearray | memoryview = b"",
        *,
        peer: Record | PeerInfo | str | Sequence[str] | None = None,
        where: Query | str | None = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = 10.0,
        wait: bool = False,
        idempotent: bool = False,
    ) -> Answer:
        """Asks a member that serves this, or ``peer`` and nobody else, and returns
        its answer: bytes, which know their ``headers`` and from which ``peer`` they
        are. ``where`` says which members may be asked; with ``wait`` the first
        that serves it is waited for; what is ``idempotent`` may be worked on
        twice."""
        node = self._node
        answer: Answer = await _call(
            lambda done: node._awaited.call(
                name, data, peer, where, headers, timeout, wait, idempotent, done
            )
        )
        return answer

    def call_all(
        self,
        name: str,
        data: bytes | bytearray | memoryview = b"",
        *,
        where: Query | str | None = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = 10.0,
        limit: int | None = None,
    ) -> Stream[PeerReply]:
        """Asks all who serve this now, and gives what they answer as it comes: items
        with ``peer``, and ``data`` or ``error``. ``limit`` is on these. When they are
        over, ``ended`` of what this returns is ``"all"``, ``"limit"`` or
        ``"timeout"``."""
        return Stream(
            self._node.call_all(
                name, data, where=where, headers=headers, timeout=timeout, limit=limit
            )
        )

    def call_stream(
        self,
        name: str,
        data: bytes | bytearray | memoryview = b"",
        *,
        peer: Record | PeerInfo | str | Sequence[str] | None = None,
        where: Query | str | None = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
        wait: bool = False,
        idempotent: bool = False,
    ) -> Stream[bytes]:
        """Asks a member for an answer in parts, which come as they are iterated
        over. ``timeout`` is for all of them."""
        return Stream(
            self._node.call_stream(
                name,
                data,
                peer=peer,
                where=where,
                headers=headers,
                timeout=timeout,
                wait=wait,
                idempotent=idempotent,
            )
        )

    def services(self) -> list[str]:
        """The names of the services that this node serves."""
        return self._node.services()

    def service_stats(self, name: str) -> ServiceStats:
        """What a service that this node serves has done so far."""
        return self._node.service_stats(name)

    async def pause(self) -> None:
        """Leaves the cluster for a while, so that others see it at once, and lets
        every connection and socket go. What needs the network raises
        ``PausedError`` until the node is resumed."""
        await _call(self._node._awaited.pause)

    async def resume(self) -> None:
        """Comes back after a pause. Subscriptions are told what has changed
        meanwhile."""
        await _call(self._node._awaited.resume)

    async def close(self, grace: float = 5.0) -> None:
        """Leaves the cluster, so that others see it at once, and waits until
        nothing of the node is running. Requests that its services work on have
        ``grace`` seconds to be answered before. A second call does nothing."""
        native = self._native
        if native is not None:
            handling = _aio_service.handling.get() == native.id
            await _call(lambda done: native._awaited.close(grace, handling, done))

    def __repr__(self) -> str:
        return f"<aio.Node {self._native!r}>"
