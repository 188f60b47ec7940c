"""What services answer."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Answer(bytes):
    """What a service answers: bytes, and what comes along with them.

    ``Node.call`` gives one. A handler whose answer has headers returns one; who
    returns what a call gave hands its headers on::

        @node.serve("resize")
        def resize(request):
            return casm.Answer(thumbnail(request.data), {"content-type": "image/webp"})

    At most 16 headers, whose keys and values have 4 KiB together; with more, the
    caller gets a ``TooLargeError``.
    """

    _headers: dict[str, str]
    _peer: str | None

    def __new__(
        cls,
        data: bytes | bytearray | memoryview = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        if not isinstance(data, (bytes, bytearray, memoryview)):
            kind = type(data).__name__
            raise TypeError(f"data: bytes, bytearray or memoryview, and not {kind}")
        given = {} if headers is None else dict(headers)
        for item in given.items():
            if not all(isinstance(text, str) for text in item):
                raise TypeError(f"headers: {item!r}: give strings, both the key and the value")
        return answered(data, given, None, cls)

    @property
    def headers(self) -> dict[str, str]:
        """What comes along with it."""
        return self._headers

    @property
    def peer(self) -> str | None:
        """The id of who answered; None of what is still to be sent."""
        return self._peer


Answer.__module__ = "casm"


def answered(
    data: Any, headers: dict[str, str], peer: str | None, cls: type[Answer] = Answer
) -> Answer:
    """The answer of a peer, if one is said."""
    answer = bytes.__new__(cls, data)
    answer._headers = headers
    answer._peer = peer
    return answer
