"""What a node says of itself, in the asyncio form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ._aio import _call

if TYPE_CHECKING:
    from . import _casm


class OwnRecord:
    """What a node has of calls that change its own record."""

    @property
    def _node(self) -> _casm.Node:
        raise NotImplementedError

    async def set_meta(self, meta: dict[str, str]) -> None:
        """Changes what others may know of this node, and tells them."""
        node = self._node
        await _call(lambda done: node._awaited.set_meta(meta, done))

    async def update_meta(self, changes: Mapping[str, str | None]) -> None:
        """Changes some of what others may know of this node, and tells them:
        each key gets the value, or goes if that is ``None``. No other change
        comes between."""
        node = self._node
        await _call(lambda done: node._awaited.update_meta(changes, done))

    async def set_host(self, host: str) -> None:
        """Changes the host name that others read, and tells them."""
        node = self._node
        await _call(lambda done: node._awaited.set_host(host, done))

    async def set_ttl(self, ttl: float) -> None:
        """Changes for how many seconds others keep this node's record, and
        tells them. In a large cluster it may be longer."""
        node = self._node
        await _call(lambda done: node._awaited.set_ttl(ttl, done))
