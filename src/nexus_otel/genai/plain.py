"""Any value as JSON: bounded in depth and size, safe with cycles, never by a foreign `repr`."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from nexus_otel._guard import quietly

MAX_DEPTH: Final = 24
MAX_ITEMS: Final = 10_000
MAX_VALUES: Final = 100_000
_OPTIONS: Final = orjson.OPT_NON_STR_KEYS


def to_json(value: Any) -> str:
    """Return `value` as JSON text. Never raises; what has no JSON form appears as its type's name in angle brackets."""
    try:
        return orjson.dumps(value, default=_plain_once, option=_OPTIONS).decode()
    except (TypeError, ValueError, RecursionError):
        return orjson.dumps(to_plain(value), option=_OPTIONS).decode()


def to_plain(value: Any) -> Any:
    """Return `value` in dicts, lists, texts and numbers that JSON can hold."""
    return _Plain().of(value, 0)


class _Plain:
    """One conversion; bounded in depth and in values, for a value may hold itself, more than once."""

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def of(self, value: Any, depth: int) -> Any:
        """Return a value and all in it."""
        self._left -= 1
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, str):
            return value if value.isascii() else value.encode("utf-8", "replace").decode()
        if isinstance(value, int):
            return value if -(2**63) <= value < 2**63 else str(value)
        if depth >= MAX_DEPTH or self._left < 0:
            return "..."
        found = quietly(self._inside, value, depth)
        return _name(value) if found is None else found

    def _inside(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            pairs = itertools.islice(value.items(), MAX_ITEMS)
            return {str(self.of(key, MAX_DEPTH)): self.of(item, depth + 1) for key, item in pairs}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.of(item, depth + 1) for item in itertools.islice(value, MAX_ITEMS)]
        return self.of(_plain_once(value), depth + 1)


def _plain_once(value: Any) -> Any:
    """Return one level of an object that JSON does not know, as something it may know."""
    found = quietly(_one_level, value)
    return _name(value) if found is None else found


def _one_level(value: Any) -> Any:
    if hasattr(type(value), "model_dump"):
        return _dumped(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name, None) for f in dataclasses.fields(value)}
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, Mapping):
        return dict(itertools.islice(value.items(), MAX_ITEMS))
    if isinstance(value, Sequence | set | frozenset):
        return list(itertools.islice(value, MAX_ITEMS))
    return str(int(value)) if isinstance(value, int) else None


def _name(value: Any) -> str:
    return f"<{type(value).__name__}>"


def _dumped(model: Any) -> Any:
    return model.model_dump(mode="json", exclude_none=True, warnings=False)


def json_or_text(text: str) -> Any:
    """Return the object that `text` is the JSON of, else the text: a model's arguments may be cut or malformed."""
    try:
        return json.loads(text)
    except ValueError:
        return text


class OneShotError(Exception):
    """A value can be read only once, and the library has to be the one that does."""


def is_reread(value: Any) -> bool:
    """Whether reading `value` twice gives the same: a collection, a model or a class, not an iterator."""
    if isinstance(value, Collection | type) or not isinstance(value, Iterable):
        return True
    return hasattr(type(value), "model_dump")


def listed(value: Any) -> Sequence[Any]:
    """Return the items of a list that a caller passed; nothing for None.

    Raises:
        OneShotError: It is an iterator.
    """
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return value
    if not is_reread(value):
        raise OneShotError
    return list(value)


def item(value: Any, name: str) -> Any:
    """Return a field of a mapping or an attribute of an object; None where there is none or it was left out.

    SDKs take both forms for the same thing, and mark what was not given by objects of types of their own.
    """
    kind = value.__class__
    if kind is dict:
        found = value.get(name)
    else:
        is_mapping = _MAPPINGS.get(kind)
        if is_mapping is None:
            is_mapping = _is_mapping(kind)
        found = value.get(name) if is_mapping else getattr(value, name, None)
    if found.__class__ in _GIVEN or type(found).__name__ not in _NOT_GIVEN:
        return found
    return None


def _is_mapping(kind: type) -> bool:
    """Return how the fields of a type are read, found out once per type: an abstract class is slow to ask."""
    if len(_MAPPINGS) > _MAX_TYPES:
        _MAPPINGS.clear()
    found = _MAPPINGS[kind] = issubclass(kind, Mapping)
    return found


_MAPPINGS: Final[dict[type, bool]] = {}
_MAX_TYPES: Final = 1_000
_GIVEN: Final = frozenset({str, int, float, bool, list, dict, tuple, type(None)})
_NOT_GIVEN: Final = frozenset({"NotGiven", "Omit"})


def server_of(*urls: Any) -> tuple[str | None, int | None]:
    """Return host and port of the first of these that is a URL; that of its scheme, where it names no port."""
    url = next((each for each in urls if isinstance(each, str) and "//" in each), None)
    found = quietly(_server, url) if url is not None else None
    return found or (None, None)


def _server(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
