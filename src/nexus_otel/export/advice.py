"""What a person can do about an answer that refuses data: one clause, naming the setting and its value, never a key."""

from __future__ import annotations

from typing import Final

from nexus_otel.export.destinations import HTTP, JSON, in_force

_KEY: Final = frozenset({"401", "403", "UNAUTHENTICATED", "PERMISSION_DENIED"})
_ADDRESS: Final = frozenset({"404", "405", "UNIMPLEMENTED", "NOT_FOUND"})
_FORM: Final = frozenset({"400", "415", "INVALID_ARGUMENT"})


def advice(signal: str, what: str) -> str:
    """Return what to look at, "" where nothing is known.

    Args:
        signal: traces, logs or metrics.
        what: The answer, such as `status 401` or a code of gRPC.
    """
    code = what.removeprefix("status ")
    if code in _KEY:
        name, value = in_force(signal, "HEADERS")
        return f": check the key in {name}, which is {'set' if value else 'not set'}"
    if code in _ADDRESS:
        return f": check {in_force(signal, 'ENDPOINT')[0]}"
    if code in _FORM:
        name, value = in_force(signal, "PROTOCOL")
        if code == "415" and value == JSON:
            return f": it takes no {JSON}, set {name}={HTTP}"
        return f": check {name}, which is {value or 'not set: http/protobuf'}"
    if code.isdigit() and code.startswith("3"):
        return f": it has moved, set {in_force(signal, 'ENDPOINT')[0]} to where it is now"
    return ""
