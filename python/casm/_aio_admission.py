"""Whom a node takes, in the asyncio form. Nothing here waits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import _casm


class Admission:
    """What a node has of calls that say whom it takes."""

    @property
    def _node(self) -> _casm.Node:
        raise NotImplementedError

    def allow(self, ids: str | Iterable[str]) -> None:
        """Takes these peers too. With the first one there is an allow list, and who
        is not on it gets no connection and no answer, and is in no view. This node
        itself is always taken. ``ids`` is a peer id, or several; here and below."""
        self._node.allow(ids)

    def disallow(self, ids: str | Iterable[str]) -> None:
        """Takes peers off the allow list. When the last one has gone, nobody is
        taken: ``allow_all`` takes everybody. Without an allow list it does nothing."""
        self._node.disallow(ids)

    def allow_all(self) -> None:
        """Does without an allow list: everybody is taken who is not denied."""
        self._node.allow_all()

    def set_allowed(self, ids: str | Iterable[str]) -> None:
        """Puts these in the place of the allow list, in one step: none of them means
        that nobody is taken."""
        self._node.set_allowed(ids)

    def deny(self, ids: str | Iterable[str]) -> None:
        """Doesn't take these peers any more, whether they are allowed or not: their
        connections are closed, and they leave the view, with the reason ``left``."""
        self._node.deny(ids)

    def undeny(self, ids: str | Iterable[str]) -> None:
        """Takes peers off the deny list. They come back by themselves."""
        self._node.undeny(ids)

    def set_denied(self, ids: str | Iterable[str]) -> None:
        """Puts these in the place of the deny list, in one step."""
        self._node.set_denied(ids)

    def allowed(self) -> list[str] | None:
        """The allow list, in the order of the ids; ``None`` if there is none and
        everybody is taken."""
        return self._node.allowed()

    def denied(self) -> list[str]:
        """The deny list, in the order of the ids."""
        return self._node.denied()

    def renew(self, certificate: bytes | bytearray | memoryview) -> None:
        """Puts another certificate, as its file has it, in the place of this node's,
        before that one ends. Connections go on."""
        self._node.renew(certificate)

    def revoke(self, revocations: bytes | bytearray | memoryview) -> int:
        """Puts out those whose certificates these revocations, as a file has them,
        take back: here and wherever members are. Returns how many were new here."""
        return self._node.revoke(revocations)
