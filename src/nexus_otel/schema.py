"""Tool arguments against the tool's JSON schema: rule and path of each violation, never a value."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

MAX_SCHEMA_BYTES: Final = 65_536
MAX_ARGUMENT_BYTES: Final = 32_768
_MAX_VALIDATORS: Final = 256
_MAX_ERRORS: Final = 10
_PRIMITIVES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
}  # fmt: skip
_ANNOTATIONS: Final = frozenset({"type", "title", "description", "default", "examples"})
_validators: OrderedDict[bytes, Any] = OrderedDict()


def schema_errors(schema: Any, arguments: Any) -> tuple[str, ...] | None:
    """Return the violations of `schema` by `arguments`, as `rule:path`.

    A key that the schema does not know is `unknown:KEY` when the schema leaves additional properties open: whether
    the tool takes it only its answer can tell.

    Args:
        schema: The tool's JSON schema.
        arguments: The arguments the model gave.

    Returns:
        Nothing for valid arguments, None where it was not checked (no schema, too large, not a schema).
    """
    if not isinstance(schema, Mapping) or not schema:
        return None
    arguments = _object(arguments)
    if not isinstance(arguments, Mapping):
        return ("type:",)
    if _plainly_valid(schema, arguments):
        return ()
    return _checked(schema, arguments)


def _object(arguments: Any) -> Any:
    """Return arguments given as the JSON of an object as that object: so libraries hand them on."""
    if not isinstance(arguments, str) or len(arguments) > MAX_ARGUMENT_BYTES:
        return arguments
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def _plainly_valid(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> bool:
    """Whether flat arguments of primitive types match, decided without the validator; False means "ask it"."""
    properties = schema.get("properties")
    if schema.get("type") != "object" or not isinstance(properties, Mapping):
        return False
    if not set(schema) <= {
        "type",
        "properties",
        "required",
        "additionalProperties",
        "title",
        "description",
        "$schema",
    }:
        return False
    if any(name not in arguments for name in schema.get("required") or ()):
        return False
    return all(_is_primitive(properties.get(name), value) for name, value in arguments.items())


def _is_primitive(schema: Any, value: Any) -> bool:
    if not isinstance(schema, Mapping) or not _ANNOTATIONS.issuperset(schema):
        return False
    kind = schema.get("type")
    kinds = _PRIMITIVES.get(kind) if isinstance(kind, str) else None
    if kinds is None or not isinstance(value, kinds):
        return False
    return not isinstance(value, bool) or bool in kinds


def _checked(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> tuple[str, ...] | None:
    try:
        text = json.dumps(schema, sort_keys=True)
        if len(text) > MAX_SCHEMA_BYTES or len(json.dumps(arguments)) > MAX_ARGUMENT_BYTES:
            return None
    except (TypeError, ValueError):
        return None
    validator = _validator(text)
    if validator is None:
        return None
    found: list[str] = []
    try:
        for error in validator.iter_errors(arguments):
            found.extend(_described(error))
            if len(found) >= _MAX_ERRORS:
                break
    except Exception:  # noqa: BLE001 - a reference that leads nowhere, a schema that is none: it cannot be checked
        return None
    return tuple(dict.fromkeys(found + _unknown_keys(schema, arguments)))[:_MAX_ERRORS]


def _validator(text: str) -> Any:
    """Return the validator of a schema, cached by hash; None where it is not a schema."""
    key = blake2b(text.encode(), digest_size=16).digest()
    if key in _validators:
        _validators.move_to_end(key)
        return _validators[key]
    import jsonschema
    import referencing

    try:
        schema = _without_patterns(json.loads(text))
        jsonschema.Draft202012Validator.check_schema(schema)
        # an empty registry: a reference is never fetched
        validator = jsonschema.Draft202012Validator(schema, registry=referencing.Registry())
    except jsonschema.SchemaError:
        validator = None
    _validators[key] = validator
    if len(_validators) > _MAX_VALIDATORS:
        _validators.popitem(last=False)
    return validator


def _without_patterns(schema: Any) -> Any:
    """Return the schema without `pattern` and `format`: a foreign regular expression may take for ever."""
    if isinstance(schema, dict):
        drop = {"format", "pattern", "patternProperties"}
        return {
            key: _without_patterns(value)
            for key, value in schema.items()
            if key not in drop or (isinstance(value, dict) and key != "patternProperties")
        }
    if isinstance(schema, list):
        return [_without_patterns(item) for item in schema]
    return schema


def _described(error: Any) -> list[str]:
    path = ".".join(str(part) for part in error.absolute_path)
    prefix = f"{path}." if path else ""
    if error.validator == "required":
        return [f"required:{prefix}{name}" for name in error.validator_value if name not in error.instance]
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        return [f"additionalProperties:{prefix}{name}" for name in error.instance if name not in known]
    return [f"{error.validator}:{path}"]


def _unknown_keys(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or "additionalProperties" in schema:
        return []
    return [f"unknown:{name}" for name in arguments if name not in properties]
