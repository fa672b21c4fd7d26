"""Arguments that can be read only once: what the library takes from them is kept for our readers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from nexus_otel.engine.target import Call
from nexus_otel.genai.plain import is_reread

_MAX_DEPTH: Final = 8
_PLAIN: Final = frozenset({str, int, float, bool, type(None), bytes})


def tap(value: Any, depth: int = 0) -> tuple[Any, Any]:
    """Return a value for the library and one for our readers: the same, where nothing in it is read only once.

    An iterator becomes one that yields the same, and a list that fills as the library takes from it. Files are left
    alone: SDKs look at their type.
    """
    if value.__class__ in _PLAIN or depth > _MAX_DEPTH:
        return value, value
    if isinstance(value, dict):
        pairs = {key: tap(item, depth + 1) for key, item in value.items()}
        if all(theirs is value[key] for key, (theirs, _) in pairs.items()):
            return value, value
        return {key: theirs for key, (theirs, _) in pairs.items()}, {key: ours for key, (_, ours) in pairs.items()}
    if isinstance(value, list | tuple):
        both = [tap(item, depth + 1) for item in value]
        if all(theirs is item for item, (theirs, _) in zip(value, both, strict=True)):
            return value, value
        return [theirs for theirs, _ in both], [ours for _, ours in both]
    if is_reread(value) or not isinstance(value, Iterator) or hasattr(value, "read"):
        return value, value
    seen: list[Any] = []
    return _recorded(value, seen, depth), seen


def tap_call(call: Call) -> dict[str, Any]:
    """Return the arguments by name for the library; the call keeps those for our readers."""
    both = {name: tap(value) for name, value in call.kwargs.items()}
    if all(theirs is call.kwargs[name] for name, (theirs, _) in both.items()):
        return call.kwargs
    call.kwargs = {name: ours for name, (_, ours) in both.items()}
    call.tapped = True
    return {name: theirs for name, (theirs, _) in both.items()}


def _recorded(values: Iterable[Any], seen: list[Any], depth: int) -> Iterator[Any]:
    for value in values:
        theirs, ours = tap(value, depth + 1)
        seen.append(ours)
        yield theirs
