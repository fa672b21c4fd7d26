"""A span that is too large for a destination, with its long values cut: JSON stays JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from nexus_otel import semconv
from nexus_otel._guard import quietly
from nexus_otel.export.decode import plain
from nexus_otel.export.died import parsed, spans_of
from nexus_otel.genai.content import cut_text, fitted

_LIMITS: Final = (262_144, 65_536, 16_384, 4_096, 1_024, 256)
"""How long a value may be, in bytes, from one try to the next."""


def ever_shorter(payload: bytes) -> Iterator[bytes]:
    """Yield the request with its values cut more and more, as long as that makes it smaller."""
    size = len(payload)
    for limit in _LIMITS:
        cut = quietly(_cut, payload, limit)
        if cut is not None and len(cut) < size:
            size = len(cut)
            yield cut


def _cut(payload: bytes, limit: int) -> bytes | None:
    request = parsed(payload)
    if request is None:
        return None
    for found in spans_of(request):
        cut = [pair.key for pair in found.span.attributes if _shorten(pair.value, limit)]
        for one in (*found.span.events, *found.span.links):
            cut += [pair.key for pair in one.attributes if _shorten(pair.value, limit)]
        if cut:
            known = next((one for one in found.span.attributes if one.key == semconv.TRUNCATED), None)
            names = (known or found.span.attributes.add(key=semconv.TRUNCATED)).value.array_value.values
            for name in sorted({*cut} - {one.string_value for one in names}):
                names.add(string_value=name)
    shorter: bytes = request.SerializeToString()
    return shorter


def _shorten(value: Any, limit: int) -> bool:
    """Cut a value that is longer than `limit` bytes; whether it was."""
    if value.ByteSize() <= limit:
        return False
    if value.WhichOneof("value") != "string_value":
        value.string_value = fitted(plain(value), limit)
        return True
    text = value.string_value
    whole = quietly(orjson.loads, text) if text[:1] in {"[", "{"} else None
    value.string_value = cut_text(text, limit) if whole is None else fitted(whole, limit)
    return True
