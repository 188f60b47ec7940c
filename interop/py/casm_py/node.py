"""The node: a libp2p host that joins the topic of its namespace."""

import contextlib
import hashlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.ping import PingService
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.gossipsub import PROTOCOL_ID, PROTOCOL_ID_V11, PROTOCOL_ID_V12, GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.security.tls.transport import PROTOCOL_ID as TLS
from libp2p.security.tls.transport import TLSTransport
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from .heartbeat import LEAVE_TTL_MS, Heartbeat, Record, Table

MAX_MESSAGE = 1 << 20
RECONNECT = 3  # seconds
# A plain stream: what comes goes back when it has ended.
ECHO = TProtocol("/interop/echo/1")


async def receive(stream) -> bytes:
    """All up to the end."""
    pieces = []
    with contextlib.suppress(StreamEOF):
        while piece := await stream.read(65536):
            pieces.append(piece)
    return b"".join(pieces)


async def send(stream, data: bytes) -> None:
    """Sends all of it, and ends it."""
    for at in range(0, len(data), 65536):
        await stream.write(data[at : at + 65536])
    await stream.close_write()


@dataclass
class Options:
    """What a node is told at its start."""

    ns: str
    listen: list[str]
    heartbeat: Heartbeat
    security: str | None = None
    observer: bool = False
    lazy: bool = False


class Lazy(GossipSub):
    """In nobody's mesh: what it tells goes by IHAVE and IWANT alone."""

    async def handle_graft(self, graft_msg, sender_peer_id: ID) -> None:
        # The library takes whoever asks, whatever its degrees are.
        await self.emit_prune(graft_msg.topicID, sender_peer_id, False, False)


class Node:
    """A CASM node that publishes heartbeats and keeps a table of them."""

    def __init__(self, options: Options, emit: Callable[..., None]):
        self.options = options
        self.heartbeat = options.heartbeat
        self._emit = emit
        self._table = Table()
        self._beat = trio.Event()
        self._anchors: set[str] = set()
        key = create_new_key_pair()
        transports = {
            NOISE: lambda: NoiseTransport(key, noise_privkey=create_noise_key_pair().private_key),
            TLS: lambda: TLSTransport(key),
        }
        chosen = {"noise": [NOISE], "tls": [TLS]}.get(options.security or "", [NOISE, TLS])
        self.host = new_host(key_pair=key, sec_opt={name: transports[name]() for name in chosen})
        router, degrees = (Lazy, (0, 0, 0)) if options.lazy else (GossipSub, (6, 4, 12))
        self._router = router(
            protocols=[PROTOCOL_ID_V12, PROTOCOL_ID_V11, PROTOCOL_ID],
            degree=degrees[0],
            degree_low=degrees[1],
            degree_high=degrees[2],
            heartbeat_interval=1,
            # Ten a second is less than a cluster of fifty nodes says.
            max_messages_per_topic_per_second=1_000_000,
            # All peers of a test have the same address.
            eclipse_protection_enabled=False,
        )
        self.pubsub = Pubsub(self.host, self._router, max_inbound_rpc_size=MAX_MESSAGE)
        # Sequence numbers count nanoseconds; the library's start at seconds.
        self.pubsub.counter = time.time_ns()

    @property
    def id(self) -> str:
        """The peer id in base58."""
        return self.host.get_id().to_base58()

    def addrs(self) -> list[str]:
        """Where the node listens, each with its `/p2p/<id>`."""
        texts = [str(addr) for addr in self.host.get_addrs()]
        return [t if "/p2p/" in t else f"{t}/p2p/{self.id}" for t in texts]

    async def run(self, serve: Callable) -> None:
        """Runs until `serve`, which gets a nursery, returns; then says goodbye."""
        listen = [Multiaddr(addr) for addr in self.options.listen]
        async with (
            self.host.run(listen_addrs=listen),
            background_trio_service(self.pubsub),
            background_trio_service(self._router),
        ):
            self.host.set_stream_handler(ECHO, self._echo)
            await self.pubsub.wait_until_ready()
            self.pubsub.set_topic_validator(self.options.ns, self._validate, False)
            subscription = await self.pubsub.subscribe(self.options.ns)
            self._emit("listening", peer=self.id, addrs=self.addrs())
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._receive, subscription)
                nursery.start_soon(self._expire)
                nursery.start_soon(self._watch)
                nursery.start_soon(self._reconnect)
                if not self.options.observer:
                    nursery.start_soon(self._heartbeats)
                await serve(nursery)
                nursery.cancel_scope.cancel()
            if not self.options.observer:
                await self._leave()

    def _validate(self, _forwarder: ID, message) -> bool:
        try:
            source = ID(message.from_id).to_base58()
            if len(message.seqno) != 8:
                raise ValueError(f"a sequence number of {len(message.seqno)} bytes")
            heartbeat = Heartbeat.decode(message.data)
        except ValueError as error:
            self._emit("error", kind="Invalid", message=str(error))
            return False
        record = Record(source, int.from_bytes(message.seqno), heartbeat)
        change = self._table.upsert(record, trio.current_time())
        if change == "joined" or change == "updated" and heartbeat.ttl_ms > LEAVE_TTL_MS:
            self._emit(f"peer-{change}", record=record.fields())
        return change != "stale"

    async def _receive(self, subscription) -> None:
        # The validator has done the work.
        while True:
            await subscription.get()

    async def _expire(self) -> None:
        while True:
            for record in self._table.expire(trio.current_time()):
                left = record.heartbeat.ttl_ms <= LEAVE_TTL_MS
                self._emit("peer-left", peer=record.peer, reason="left" if left else "expired")
            await trio.sleep(0.05)

    async def _watch(self) -> None:
        known: set[str] = set()
        hearers: set[str] = set()
        while True:
            now = {peer.to_base58() for peer in self.host.get_connected_peers()}
            for peer in now - known:
                self._emit("connected", peer=peer)
            for peer in known - now:
                self._emit("disconnected", peer=peer)
            known = now
            subscribed = {p.to_base58() for p in self.pubsub.peer_topics.get(self.options.ns, ())}
            if subscribed - hearers:
                self._beat.set()
            hearers = subscribed
            await trio.sleep(0.2)

    async def _reconnect(self) -> None:
        while True:
            await trio.sleep(RECONNECT)
            connected = {peer.to_base58() for peer in self.host.get_connected_peers()}
            for addr in list(self._anchors):
                if addr.rsplit("/", 1)[1] not in connected:
                    # It fails for as long as the other is away.
                    with trio.move_on_after(RECONNECT), contextlib.suppress(BaseLibp2pError):
                        await self.connect(addr)

    async def _heartbeats(self) -> None:
        while True:
            self._beat = trio.Event()
            await self.pubsub.publish(self.options.ns, self.heartbeat.encode())
            with trio.move_on_after(self.heartbeat.ttl_ms / 1000 * random.uniform(0.5, 1)):
                await self._beat.wait()

    async def _leave(self) -> None:
        last = replace(self.heartbeat, ttl_ms=LEAVE_TTL_MS)
        await self.pubsub.publish(self.options.ns, last.encode())
        # Closing throws away what is queued: a round trip behind it shows that
        # it has gone out.
        with trio.move_on_after(1):
            for peer in self.host.get_connected_peers():
                # A peer that is gone needs no goodbye.
                with contextlib.suppress(BaseLibp2pError):
                    await self.ping(peer.to_base58())

    def update(self, heartbeat: Heartbeat) -> None:
        """Changes the heartbeat, and sends it."""
        self.heartbeat = heartbeat
        self._beat.set()

    async def connect(self, addr: str) -> str:
        """Dials a multiaddr that ends in `/p2p/<id>`, and again whenever the
        connection is lost: there is no discovery here."""
        self._anchors.add(addr)
        info = info_from_p2p_addr(Multiaddr(addr))
        await self.host.connect(info)
        return info.peer_id.to_base58()

    async def _echo(self, stream) -> None:
        await send(stream, await receive(stream))

    async def open_stream(self, addr: str, protocol: str, size: int) -> dict:
        """Sends so many bytes, ends them, and reads what comes back."""
        info = info_from_p2p_addr(Multiaddr(addr))
        await self.host.connect(info)
        stream = await self.host.new_stream(info.peer_id, [TProtocol(protocol)])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, stream, b"s" * size)
            got = await receive(stream)
        return {"bytes": len(got), "sha256": hashlib.sha256(got).hexdigest()}

    async def ping(self, peer: str) -> float:
        """One round trip, in milliseconds."""
        return (await PingService(self.host).ping(ID.from_base58(peer)))[0]

    async def join(self, topic: str) -> None:
        """Joins a topic by its exact name."""
        subscription = await self.pubsub.subscribe(topic)
        self._nursery.start_soon(self._listen, topic, subscription)

    async def _listen(self, topic: str, subscription) -> None:
        while True:
            message = await subscription.get()
            source = ID(message.from_id).to_base58()
            if source != self.id:
                self._emit("message", topic=topic, source=source, text=message.data.decode())

    async def say(self, topic: str, text: str) -> None:
        """Publishes on a topic."""
        await self.pubsub.publish(topic, text.encode())

    def records(self) -> list[Record]:
        """The table."""
        return self._table.records()

    def mesh(self) -> list[str]:
        """The peers of the topic's mesh."""
        return [peer.to_base58() for peer in self._router.mesh.get(self.options.ns, ())]

    def peers(self) -> list[dict]:
        """What identify brought of each connected peer."""
        store = self.host.get_peerstore()
        peers = []
        for peer in self.host.get_connected_peers():
            envelope = store.get_peer_record(peer)
            signed = envelope and {
                "seq": str(envelope.record().seq),
                "addrs": [str(addr) for addr in envelope.record().addrs],
            }
            peers.append(
                {
                    "peer": peer.to_base58(),
                    "protocols": list(store.get_protocols(peer)),
                    "signed_record": signed,
                }
            )
        return peers
