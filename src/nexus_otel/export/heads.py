"""Which span a record holds and when it began, read from the first bytes of it, as `wire` writes them."""

from __future__ import annotations

from struct import Struct
from typing import Final

_FIXED64: Final = Struct("<Q").unpack_from
_RESOURCE = _SCOPE = 0x0A
_INNER: Final = 0x12
_SCHEMA: Final = 0x1A
_BEFORE_KIND: Final = (0x1A, 0x22, 0x2A)
"""Tags of trace state, parent and name, in this order; each may be missing."""
_KIND: Final = 0x30
_START: Final = 0x39


def head(data: bytes, start: int, end: int) -> tuple[bytes, int] | None:
    """Return the key (trace id, span id) and the start of the one span in a request.

    Args:
        data: What holds the request.
        start: Where it begins.
        end: Where it ends.

    Returns:
        None where it holds several spans, or is encoded in another way.
    """
    try:
        return _head(data, start, end)
    except (IndexError, ValueError):
        return None


def _head(data: bytes, start: int, end: int) -> tuple[bytes, int] | None:
    position, stop = _field(data, start, 0x0A)
    if stop != end:
        return None
    _body, position = _field(data, position, _RESOURCE)
    if data[position] == _SCHEMA:
        _body, position = _field(data, position, _SCHEMA)
    position, stop = _field(data, position, _INNER)
    if stop != end:
        return None
    _body, position = _field(data, position, _SCOPE)
    position, stop = _field(data, position, _INNER)
    if stop != end and _field(data, stop, _SCHEMA)[1] != end:
        return None
    return _of_span(data, position, stop)


def _of_span(data: bytes, position: int, stop: int) -> tuple[bytes, int] | None:
    if data[position : position + 2] != b"\x0a\x10" or data[position + 18 : position + 20] != b"\x12\x08":
        return None
    key = data[position + 2 : position + 18] + data[position + 20 : position + 28]
    position += 28
    for tag in _BEFORE_KIND:
        if data[position] == tag:
            _body, position = _field(data, position, tag)
    if data[position] == _KIND:
        position += 2
    if data[position] != _START or position + 9 > stop:
        return None
    return key, _FIXED64(data, position + 1)[0]


def _field(data: bytes, position: int, tag: int) -> tuple[int, int]:
    """Return where the body of a field of bytes begins and ends.

    Raises:
        ValueError: There is another field.
        IndexError: There is none.
    """
    if data[position] != tag:
        raise ValueError(tag)
    size, position = data[position + 1], position + 2
    shift = 7
    if size > 0x7F:  # noqa: PLR2004 - more bytes follow
        size &= 0x7F
        while shift < 64:  # noqa: PLR2004 - the longest
            byte = data[position]
            position += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:  # noqa: PLR2004 - the last
                break
    return position, position + size
