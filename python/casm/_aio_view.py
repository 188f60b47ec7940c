"""Other nodes' views for asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _casm
from ._aio import Stream, _call

if TYPE_CHECKING:
    from . import Query, Record


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
