"""Long texts in spans: kept once in a segment, and put back where they stood when the span is read.

A model call carries the whole history of its run, so a run of n steps has each message up to n times. The parts of an
encoded span that are long are cut out of it (messages one by one), and a segment has each of them once, as a record
(BLOB) before the first span that needs it. The record of such a span (CUT) holds the rest, and which texts belong
where. Joined again, it is byte for byte what the encoder made.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from struct import Struct, pack, unpack_from
from typing import Final

LONG_BYTES: Final = 256
"""From this size on a part of a span is kept apart."""
_MESSAGE_BYTES: Final = 64
"""From this size on a message of a list is; the short ones are many times there too."""
_BOUNDARY: Final = b',{"role":'
"""Where the next message begins in the JSON of several; found within a message it does no harm."""
_MOST_BYTES: Final = 32 * 1024 * 1024
"""No span is larger; `genai.content` lets 8 MB of content through."""
_MOST_LOST: Final = 1024 * 1024
"""How far ahead a number may be of those before it, which were lost."""

_HEAD: Final = Struct("<24sQI")
"""Of a CUT record: the span's ids, its start, and how many gaps there are."""
_GAP_BYTES: Final = 12
"""For each gap: the bytes before it, the number of the text that belongs there, and its size."""
_NUMBER: Final = Struct("<I")

Lookup = Callable[[int], bytes | None]
"""Returns the text with a number; None where it was lost."""


class Cut:
    """An encoded span, with its long texts apart.

    Attributes:
        parts: The whole of it, in order.
        texts: For each long text in it: how many bytes stand before it since the last one, its hash, and itself.
    """

    __slots__ = ("_key", "_rest", "_size", "_start_ns", "parts", "texts")

    def __init__(self, key: bytes, start_ns: int, parts: Sequence[bytes]) -> None:
        self._key = key
        self._start_ns = start_ns
        self._size = sum(map(len, parts))
        self.parts = parts
        self._rest: list[bytes | memoryview] = [parts[0]]
        self.texts: list[tuple[int, bytes, bytes | memoryview]] = []
        before = len(parts[0])
        for part in parts[1:]:
            if len(part) < LONG_BYTES:
                self._rest.append(part)
                before += len(part)
                continue
            for piece in _pieces(part):
                if len(piece) < _MESSAGE_BYTES:
                    self._rest.append(piece)
                    before += len(piece)
                else:
                    self.texts.append((before, blake2b(piece, digest_size=16).digest(), piece))
                    before = 0

    def __len__(self) -> int:
        return self._size

    def payload(self, numbers: Sequence[int]) -> bytes:
        """Return the payload of its record, given the numbers of its texts."""
        table: list[int] = []
        for number, (before, _digest, text) in zip(numbers, self.texts, strict=True):
            table += (before, number, len(text))
        head = _HEAD.pack(self._key, self._start_ns, len(self.texts))
        return b"".join((head, pack(f"<{len(table)}I", *table), *self._rest))


def cut(key: tuple[int, int], start_ns: int, parts: Sequence[bytes]) -> Cut | None:
    """Return a span with its long texts apart; None where there is none.

    Args:
        key: Its trace id and span id.
        start_ns: When it began.
        parts: The request that holds it, as `wire.encode_parts` returns it.
    """
    if len(parts) == 1:
        return None
    ids = key[0].to_bytes(16, "big") + key[1].to_bytes(8, "big")
    made = Cut(ids, start_ns, parts)
    return made if made.texts else None


def _pieces(part: bytes) -> Iterator[bytes | memoryview]:
    """Yield a long part in pieces: the messages of a list one by one, and what stands between them."""
    start, end, view = 0, len(part), memoryview(part)
    if part[:1] == b"[" and part[-1:] == b"]":
        yield b"["
        start, end = 1, end - 1
    while (found := part.find(_BOUNDARY, start, end)) >= 0:
        yield view[start:found]
        yield b","
        start = found + 1
    yield view[start:end]
    if end < len(part):
        yield b"]"


class Known:
    """The texts that a segment holds, by hash."""

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}

    def records(self, span: Cut) -> tuple[list[bytes], bytes]:
        """Return the payloads of the texts that the segment lacks, known from now on, and the span's."""
        numbers, new = [], []
        for _before, digest, text in span.texts:
            number = self._numbers.get(digest)
            if number is None:
                number = self._numbers[digest] = len(self._numbers)
                new.append(_NUMBER.pack(number) + text)
            numbers.append(number)
        return new, span.payload(numbers)


# -- reading -----------------------------------------------------------------------------------------------------------


def number_of(payload: bytes) -> int:
    """Return the number of the text in a BLOB record; -1 where it has none."""
    return int(_NUMBER.unpack_from(payload)[0]) if len(payload) >= _NUMBER.size else -1


def text_of(payload: bytes) -> bytes:
    """Return the text in a BLOB record."""
    return payload[_NUMBER.size :]


def head_of(data: bytes, start: int, end: int) -> tuple[bytes, int] | None:
    """Return the key and the start of the span in a CUT record, whose payload lies so in `data`."""
    if end - start < _HEAD.size:
        return None
    key, start_ns, _count = _HEAD.unpack_from(data, start)
    return key, start_ns


def joined(payload: bytes, lookup: Lookup) -> tuple[bytes, int] | None:
    """Return the request of a CUT record, and how many of its texts were lost.

    A lost text is made up for by a JSON object of its size, so that the rest can be read.

    Args:
        payload: The record's.
        lookup: Gives the texts.

    Returns:
        None where it is not sound.
    """
    if len(payload) < _HEAD.size:
        return None
    count = _HEAD.unpack_from(payload)[2]
    place = _HEAD.size + count * _GAP_BYTES
    if place > len(payload):
        return None
    table = unpack_from(f"<{count * 3}I", payload, _HEAD.size)
    if sum(table[2::3]) > _MOST_BYTES or place + sum(table[::3]) > len(payload):
        return None
    view, lost = memoryview(payload), 0
    out: list[bytes | memoryview] = []
    for before, number, size in zip(table[::3], table[1::3], table[2::3], strict=True):
        text = lookup(number)
        if text is None or len(text) != size:
            text, lost = _LOST[:size].ljust(size - 1) + b"}", lost + 1
        out += (view[place : place + before], text)
        place += before
    return b"".join((*out, view[place:])), lost


_LOST: Final = b'{"role":"lost","parts":[]'
"""What stands for a text whose record is damaged; filled with blanks."""


class Places:
    """Where the texts of a file stand, by number; 16 bytes each."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found = array("Q")

    def add(self, number: int, start: int, end: int) -> None:
        """Note from where to where the text with a number lies."""
        found = self._found
        ahead = number - len(found) // 2
        if not 0 <= ahead <= _MOST_LOST:
            return
        found.extend((0, 0) * ahead)
        found.extend((start, end))

    def get(self, number: int) -> tuple[int, int] | None:
        """Return from where to where the text lies."""
        found = self._found
        if number * 2 >= len(found) or not found[number * 2]:
            return None
        return found[number * 2], found[number * 2 + 1]
