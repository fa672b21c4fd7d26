"""The JSON schema of a function's arguments, as far as its signature says it for certain."""

from __future__ import annotations

import enum
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from nexus_otel._guard import quietly

_TYPES: Final[Mapping[Any, str]] = {
    str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object", type(None): "null",
}  # fmt: skip


def schema_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the schema; what an annotation does not say for certain may be anything.

    Args:
        function: Its first parameter is left out where it is called `self` or `cls`.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if parameters and parameters[0].name in {"self", "cls"}:
        parameters = parameters[1:]
    hints = quietly(typing.get_type_hints, inspect.unwrap(function)) or {}
    open_ended = any(one.kind is one.VAR_KEYWORD for one in parameters)
    named = [one for one in parameters if one.kind not in {one.VAR_KEYWORD, one.VAR_POSITIONAL}]
    return {
        "type": "object",
        "properties": {one.name: _schema(hints.get(one.name, Any)) for one in named},
        "required": [one.name for one in named if one.default is one.empty],
        "additionalProperties": open_ended,
    }


def _schema(hint: Any) -> dict[str, Any]:
    if hint in _TYPES:
        return {"type": _TYPES[hint]}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _schema(arguments[0])
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in {typing.Union, types.UnionType}:
        options = [_schema(option) for option in arguments]
        return {"anyOf": options} if all(options) else {}
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return {"type": "object"}
    if inspect.isclass(origin) and issubclass(origin, Sequence) and origin is not tuple:
        return {"type": "array", "items": _schema(arguments[0])} if arguments else {"type": "array"}
    if inspect.isclass(hint) and issubclass(hint, enum.Enum):
        return {}
    return {}
