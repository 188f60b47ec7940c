"""The part of Cap'n Proto that a heartbeat needs: one message of one segment,
in packed encoding."""

import struct

MAX_UNPACKED = 1 << 20


def pack(data: bytes) -> bytes:
    """Packs a message, whose length is a multiple of 8."""
    words = [data[i : i + 8] for i in range(0, len(data), 8)]
    out = bytearray()
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        out.append(sum(1 << i for i, byte in enumerate(word) if byte))
        out.extend(byte for byte in word if byte)
        if not any(word):
            zeros = 0
            while at < len(words) and zeros < 255 and not any(words[at]):
                zeros += 1
                at += 1
            out.append(zeros)
        elif all(word):
            # No word is sent as it is: that is allowed, and never wrong.
            out.append(0)
    return bytes(out)


def unpack(packed: bytes) -> bytes:
    """Unpacks a message; ValueError if it is malformed or grows too long."""
    out = bytearray()
    at = 0

    def take(count: int) -> bytes:
        nonlocal at
        if at + count > len(packed):
            raise ValueError("the packed message is cut off")
        at += count
        return packed[at - count : at]

    while at < len(packed):
        tag = take(1)[0]
        present = iter(take(tag.bit_count()))
        out.extend(next(present) if tag & 1 << i else 0 for i in range(8))
        if tag == 0:
            out.extend(bytes(8 * take(1)[0]))
        elif tag == 0xFF:
            out.extend(take(8 * take(1)[0]))
        if len(out) > MAX_UNPACKED:
            raise ValueError(f"the message is longer than {MAX_UNPACKED} bytes")
    return bytes(out)


class Reader:
    """Reads pointers of one segment. Every access is checked."""

    def __init__(self, message: bytes):
        if len(message) < 8:
            raise ValueError("the message has no segment table")
        more, self.words = struct.unpack_from("<II", message)
        if more:
            raise ValueError("the message has several segments")
        self.data = message[8 : 8 + 8 * self.words]
        if len(self.data) < 8 * self.words:
            raise ValueError("the segment is cut off")

    def word(self, at: int) -> int:
        """One word as a number."""
        if not 0 <= at < self.words:
            raise ValueError(f"there is no word {at}")
        return struct.unpack_from("<Q", self.data, 8 * at)[0]

    def _pointer(self, at: int, kind: int) -> tuple[int, int] | None:
        word = self.word(at)
        if word == 0:
            return None
        if word & 3 != kind:
            raise ValueError(f"the pointer in word {at} is of kind {word & 3}")
        offset = struct.unpack("<i", struct.pack("<I", word & 0xFFFFFFFF))[0] >> 2
        return at + 1 + offset, word >> 32

    def _within(self, start: int, words: int) -> None:
        if start < 0 or start + words > self.words:
            raise ValueError("a pointer leads out of the segment")

    def struct(self, at: int) -> tuple[list[int], list[int]]:
        """The data words of a struct, and the places of its pointers."""
        pointer = self._pointer(at, 0)
        if pointer is None:
            raise ValueError("there is no struct")
        start, sizes = pointer
        data, pointers = sizes & 0xFFFF, sizes >> 16
        self._within(start, data + pointers)
        places = range(start, start + data)
        return [self.word(i) for i in places], list(range(start + data, start + data + pointers))

    def text(self, at: int) -> str:
        """A text; empty if the pointer is null."""
        pointer = self._pointer(at, 1)
        if pointer is None:
            return ""
        start, size = pointer
        length = size >> 3
        if size & 7 != 2 or length == 0:
            raise ValueError("the pointer is not one to a text")
        self._within(start, -(-length // 8))
        text = self.data[8 * start : 8 * start + length]
        if text[-1]:
            raise ValueError("the text does not end in a zero")
        return text[:-1].decode()

    def texts(self, at: int) -> list[str]:
        """A list of texts; empty if the pointer is null."""
        pointer = self._pointer(at, 1)
        if pointer is None:
            return []
        start, size = pointer
        if size & 7 != 6:
            raise ValueError("the pointer is not one to a list of texts")
        self._within(start, size >> 3)
        return [self.text(start + i) for i in range(size >> 3)]


class Builder:
    """Builds a message of one segment, word by word."""

    def __init__(self) -> None:
        self.words: list[int] = []

    def allocate(self, count: int) -> int:
        """Adds zeroed words, and gives the number of the first."""
        self.words.extend([0] * count)
        return len(self.words) - count

    def struct(self, at: int, data: int, pointers: int) -> int:
        """Points to a new struct, and gives its first word."""
        target = self.allocate(data + pointers)
        self.words[at] = (target - at - 1) << 2 | data << 32 | pointers << 48
        return target

    def text(self, at: int, text: str) -> None:
        """Points to a new text."""
        data = text.encode() + b"\0"
        padded = data + bytes(-len(data) % 8)
        target = self.allocate(len(padded) // 8)
        self.words[target:] = struct.unpack(f"<{len(padded) // 8}Q", padded)
        self._list(at, target, 2, len(data))

    def texts(self, at: int, texts: list[str]) -> None:
        """Points to a new list of texts."""
        target = self.allocate(len(texts))
        self._list(at, target, 6, len(texts))
        for i, text in enumerate(texts):
            self.text(target + i, text)

    def _list(self, at: int, target: int, size: int, count: int) -> None:
        self.words[at] = 1 | (target - at - 1) << 2 | size << 32 | count << 35

    def finish(self) -> bytes:
        """The message with its segment table."""
        count = len(self.words)
        return struct.pack(f"<II{count}Q", 0, count, *self.words)
