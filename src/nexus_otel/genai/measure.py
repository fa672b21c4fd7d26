"""Facts of a history that are kept when its content is not: count, length, and what makes two histories the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from nexus_otel.genai.operations import Message, Part


def text_bytes(text: str) -> int:
    """Return the UTF-8 length of a text."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def message_bytes(messages: Iterable[Message]) -> int:
    """Return the UTF-8 length of the texts, arguments and results of messages; nothing is serialised for it."""
    total = 0
    for message in messages:
        for part in message.parts:
            content = part.get("content")
            if content.__class__ is str and part["type"] == "text":
                total += len(content) if content.isascii() else text_bytes(content)
            else:
                total += sum(_length(value, 0) for key, value in part.items() if key not in _NAMES)
    return total


_NAMES: Final = frozenset({"type", "id", "name", "modality"})


_MAX_DEPTH: Final = 16


def _length(value: Any, depth: int) -> int:
    if isinstance(value, str):
        return text_bytes(value)
    if depth > _MAX_DEPTH:
        return 0
    if isinstance(value, Mapping):
        return sum(len(str(key)) + _length(item, depth + 1) for key, item in value.items())
    if isinstance(value, list | tuple):
        return sum(_length(item, depth + 1) for item in value)
    return len(str(value)) if isinstance(value, int | float) else 0


def fingerprints(messages: Sequence[Message]) -> list[int]:
    """Return one hash per prefix of a history: element n is that of the first n + 1 messages.

    Only meaningful within a process: built on the cached hashes of the strings themselves.
    """
    return list(accumulate(messages, extended, initial=0))[1:]


def extended(fingerprint: int, message: Message) -> int:
    """Return the fingerprint of a history with one more message."""
    return hash((fingerprint, message.role, *(_key(part) for part in message.parts)))


def _key(part: Part) -> int:
    kind = part.get("type")
    if kind == "text":
        return hash((kind, part.get("content")))
    if kind == "tool_call":
        return hash((kind, part.get("id"), part.get("name")))
    if kind == "tool_call_response":
        return hash((kind, part.get("id"), _frozen(part.get("response"))))
    return hash(kind)


def _frozen(value: Any, depth: int = 0) -> Any:
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, Mapping):
        return tuple((str(key), _frozen(item, depth + 1)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(_frozen(item, depth + 1) for item in value)
    return value if isinstance(value, str | int | float | bool) else None
