"""What a destination says to a request, whatever the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import orjson

from nexus_otel._guard import quietly

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_REJECTED: Final = ("rejectedSpans", "rejectedLogRecords", "rejectedDataPoints")


class Outcome(Enum):
    """What became of a request."""

    DELIVERED = "delivered"
    AGAIN = "to be sent again soon"
    REFUSED = "refused; to be sent again later"
    TOO_LARGE = "too large"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a destination said.

    Attributes:
        outcome: What became of the request.
        what: The status, or the kind of failure, for a log line.
        wait_s: How long it asked us to wait; None when it did not.
        rejected: How many items of a delivered request it did not take.
        reason: Why, in its words; they may be long.
    """

    outcome: Outcome
    what: str
    wait_s: float | None = None
    rejected: int = 0
    reason: str = ""


# -- partial success -----------------------------------------------------------------------------------------


def rejected(answer: bytes) -> int:
    """Return the number of rejected items in an Export*ServiceResponse: field 1 of its field 1."""
    partial = first(answer, 1, b"")
    count: int = first(partial, 1, 0)
    return count


def reason(answer: bytes) -> str:
    """Return why items were rejected: field 2 of that field."""
    text: bytes = first(first(answer, 1, b""), 2, b"")
    return text.decode("utf-8", "replace")


def rejected_json(answer: bytes) -> int:
    """Return the number of rejected items in an Export*ServiceResponse in JSON."""
    return quietly(_rejected_json, answer) or 0


def reason_json(answer: bytes) -> str:
    """Return why items were rejected by an Export*ServiceResponse in JSON."""
    return str(quietly(_reason_json, answer) or "")


def _reason_json(answer: bytes) -> Any:
    return orjson.loads(answer)["partialSuccess"].get("errorMessage")


def _rejected_json(answer: bytes) -> int:
    partial = orjson.loads(answer)["partialSuccess"]
    return next((int(partial[name]) for name in _REJECTED if name in partial), 0)


# -- protobuf ------------------------------------------------------------------------------------------------


def first(message: bytes, number: int, default: Any) -> Any:
    """Return the first field of a number that is of the type of `default`, which is returned where there is none."""
    try:
        found = (value for known, value in fields(message) if known == number and isinstance(value, type(default)))
        return next(found, default)
    except (IndexError, ValueError):
        return default


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field of a protobuf message.

    Raises:
        ValueError: It is no message.
        IndexError: It is cut off.
    """
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == _VARINT:
            number, position = _varint(message, position)
            yield tag >> 3, number
            continue
        if kind not in {_FIXED64, _BYTES, _FIXED32}:
            raise ValueError("not protobuf")
        size = 8 if kind == _FIXED64 else 4
        if kind == _BYTES:
            size, position = _varint(message, position)
        yield tag >> 3, message[position : position + size]
        position += size


def _varint(message: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - the last byte
            return number, position
