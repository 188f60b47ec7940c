"""Heartbeats, and the table of the newest one of each peer."""

from dataclasses import dataclass, field

from .capnp import Builder, Reader, pack, unpack

DEFAULT_TTL_MS = 10_000
LEAVE_TTL_MS = 1


@dataclass(frozen=True)
class Heartbeat:
    """What a peer says of itself."""

    ttl_ms: int
    server: int
    host: str
    meta: list[str] = field(default_factory=list)

    def encode(self) -> bytes:
        """The data of a pubsub message."""
        builder = Builder()
        root = builder.struct(builder.allocate(1), 2, 2)
        builder.words[root] = self.ttl_ms
        builder.words[root + 1] = self.server
        builder.text(root + 2, self.host)
        builder.texts(root + 3, self.meta)
        return pack(builder.finish())

    @classmethod
    def decode(cls, data: bytes) -> "Heartbeat":
        """Reads the data of a pubsub message; ValueError if it is malformed."""
        reader = Reader(unpack(data))
        words, pointers = reader.struct(0)
        words += [0, 0]
        return cls(
            ttl_ms=words[0] & 0xFFFFFFFF or DEFAULT_TTL_MS,
            server=words[1],
            host=reader.text(pointers[0]) if pointers else "",
            meta=reader.texts(pointers[1]) if len(pointers) > 1 else [],
        )


@dataclass(frozen=True)
class Record:
    """A heartbeat with who sent it."""

    peer: str
    seq: int
    heartbeat: Heartbeat

    def fields(self) -> dict:
        """The record in the JSON of the program `casm`."""
        meta: dict[str, str] = {}
        for text in self.heartbeat.meta:
            key, _, value = text.partition("=")
            meta.setdefault(key, value)
        return {
            "peer": self.peer,
            "server": f"{self.heartbeat.server:016x}",
            "seq": str(self.seq),
            "ttl_ms": self.heartbeat.ttl_ms,
            "host": self.heartbeat.host,
            "meta": meta,
        }


class Table:
    """The newest heartbeat of each peer; the higher sequence number counts."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[Record, float]] = {}

    def upsert(self, record: Record, now: float) -> str:
        """Says what a heartbeat did: stale, joined, updated or renewed."""
        old = self._rows.get(record.peer)
        if old and old[0].seq >= record.seq:
            return "stale"
        self._rows[record.peer] = record, now + record.heartbeat.ttl_ms / 1000
        if old is None:
            return "joined"
        return "renewed" if old[0].heartbeat == record.heartbeat else "updated"

    def expire(self, now: float) -> list[Record]:
        """Takes out the records whose time has passed."""
        gone = [record for record, deadline in self._rows.values() if now > deadline]
        for record in gone:
            del self._rows[record.peer]
        return gone

    def records(self) -> list[Record]:
        """All records."""
        return [record for record, _ in self._rows.values()]
