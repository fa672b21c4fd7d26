"""Spans as OTLP protobuf, without protobuf: one span becomes one ExportTraceServiceRequest.

The bytes of several requests joined are again one request. Field numbers are opentelemetry-proto's,
what is set and what is left out follows the official encoder, release 1.45.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from struct import Struct
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan

from nexus_otel import semconv
from nexus_otel.genai.content import Apart

_DOUBLE: Final = Struct("<d").pack
_FIXED64: Final = Struct("<Q").pack
_FLAGS: Final = Struct("<I").pack
_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200
_LIMIT: Final = 1 << 63
_MAX_DEPTH: Final = 32
_BOOLS: Final = (b"\x10\x00", b"\x10\x01")
LONG_SPAN: Final = 1_536
"""From this size on a span is given in parts."""
_CACHED: Final = 2_048
"""Distinct attribute keys, resources or scopes remembered before a cache starts anew."""


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_SMALL: Final = [_varint(number) for number in range(4_096)]
_SHORT: Final = [b"\x12" + _varint(size + 2) + b"\x0a" + _varint(size) for size in range(126)]
"""What stands before a string of `size` bytes as the value of a KeyValue."""


def varint(number: int) -> bytes:
    """Return a number of at least 0 in base 128."""
    return _SMALL[number] if number < 4_096 else _varint(number)  # noqa: PLR2004 - the size of the table


def sized(tag: bytes, body: bytes) -> bytes:
    """Return a field of bytes: `tag`, the length of `body`, `body`."""
    return tag + varint(len(body)) + body


def utf8(text: str) -> bytes:
    """Return `text` in UTF-8, lone surrogates replaced."""
    try:
        return str.encode(text)
    except UnicodeEncodeError:
        return str.encode(text, "utf-8", "replace")


# -- values --------------------------------------------------------------------------------------------


def _any(value: Any, depth: int = 0) -> bytes | None:
    """Return an AnyValue, or None where the value has no place in one."""
    form = _FORMS.get(type(value))
    if form is None:
        form = next((form for kind, form in _FORMS.items() if isinstance(value, kind)), None)
    return None if form is None or depth > _MAX_DEPTH else form(value, depth)


def _integer(value: int, _depth: int) -> bytes:
    if 0 <= value < _LIMIT:
        return b"\x18" + varint(value)
    if -_LIMIT <= value < 0:
        return b"\x18" + _varint(value + (1 << 64))
    return sized(b"\x0a", utf8(str(value)))


def _array(values: Sequence[Any], depth: int) -> bytes | None:
    parts: list[bytes] = []
    for value in values:
        body = _any(value, depth + 1)
        if body is None:
            return None
        parts += (b"\x0a", varint(len(body)), body)
    return sized(b"\x2a", b"".join(parts))


def _mapping(values: Mapping[Any, Any], depth: int) -> bytes | None:
    parts: list[bytes] = []
    for key, value in values.items():
        body = _any(value, depth + 1)
        if body is None:
            return None
        pair = sized(b"\x0a", utf8(str(key))) + sized(b"\x12", body)
        parts += (b"\x0a", varint(len(pair)), pair)
    return sized(b"\x32", b"".join(parts))


_FORMS: Final[dict[type, Callable[[Any, int], bytes | None]]] = {
    type(None): lambda _value, _depth: b"",
    bool: lambda value, _depth: _BOOLS[value],
    str: lambda value, _depth: sized(b"\x0a", utf8(value)),
    int: _integer,
    float: lambda value, _depth: b"\x21" + _DOUBLE(value),
    bytes: lambda value, _depth: sized(b"\x3a", value),
    tuple: _array,
    Sequence: _array,
    Mapping: _mapping,
}
"""How values are written, by type; subtypes are looked for in this order."""

_keys: dict[str, bytes] = {}


def _key(key: str) -> bytes:
    if len(_keys) >= _CACHED:
        _keys.clear()
    made = _keys[key] = sized(b"\x0a", utf8(key))
    return made


def _attributes(out: list[bytes], tag: bytes, pairs: Iterable[tuple[str, Any]]) -> None:
    """Add each pair as a KeyValue under `tag`; pairs whose value has no form are left out."""
    known, small = _keys, _SMALL
    for key, value in pairs:
        head = known.get(key) or _key(key)
        if type(value) is str:
            data = value.encode() if value.isascii() else utf8(value)
            size = len(data)
            if size < 126:  # noqa: PLR2004 - one byte holds its length and that of the AnyValue
                out += (
                    tag,
                    small[len(head) + size + 4] if len(head) < _CACHED else _varint(len(head) + size + 4),
                )
                out += (head, _SHORT[size], data)
                continue
            before = b"\x0a" + varint(size)  # the text stays apart: `texts` takes it out of the span
            inner = b"\x12" + varint(len(before) + size) + before
            out += (tag, varint(len(head) + len(inner) + size), head + inner, data)
            continue
        body = _any(value)
        if body is not None:
            inner = b"\x12" + varint(len(body))
            out += (tag, varint(len(head) + len(inner) + len(body)), head, inner, body)


def _pairs(attributes: Any) -> Iterable[tuple[str, Any]]:
    """Return the items; of the SDK's BoundedAttributes those of the dict inside, which iterates in C."""
    if not attributes:
        return ()
    held = getattr(attributes, "_dict", None)
    return held.items() if type(held) is dict else attributes.items()


# -- resource and scope --------------------------------------------------------------------------------

_around: dict[tuple[int, int], tuple[Any, Any, bytes, bytes, bytes]] = {}


def _surroundings(resource: Any, scope: Any) -> tuple[Any, Any, bytes, bytes, bytes]:
    """Return what stands around a span, remembered by identity: both objects, and their bytes."""
    key = (id(resource), id(scope))
    found = _around.get(key)
    if found is None:
        if len(_around) >= _CACHED:
            _around.clear()
        schema = _text(b"\x1a", scope.schema_url) if scope is not None else b""
        # the objects are held so that their identities stay theirs
        found = _around[key] = (resource, scope, _resource(resource), _scope(scope), schema)
    return found


def _text(tag: bytes, text: str | None) -> bytes:
    return sized(tag, utf8(text)) if text else b""


def _resource(resource: Any) -> bytes:
    parts: list[bytes] = []
    _attributes(parts, b"\x0a", _pairs(resource.attributes))
    return sized(b"\x0a", b"".join(parts)) + _text(b"\x1a", resource.schema_url)


def _scope(scope: Any) -> bytes:
    if scope is None:
        return b"\x0a\x00"
    parts = [_text(b"\x0a", scope.name), _text(b"\x12", scope.version)]
    _attributes(parts, b"\x1a", _pairs(scope.attributes))
    return sized(b"\x0a", b"".join(parts))


# -- spans ---------------------------------------------------------------------------------------------


def encode_span(span: ReadableSpan, apart: Apart | None = None) -> bytes:
    """Return `span` as an ExportTraceServiceRequest.

    Args:
        span: An ended span of the SDK.
        apart: Content of the span that is not on it: further attributes, those of its last `exception`
            event, and the description of the status.
    """
    return _request(span, b"".join(_span(span, apart)))


def encode_parts(span: ReadableSpan, apart: Apart | None = None) -> list[bytes]:
    """Return `encode_span` in parts: what stands around the span, then the span, each long text by itself.

    A span below `LONG_SPAN` is one part.
    """
    parts = _span(span, apart)
    size = sum(map(len, parts))
    if size < LONG_SPAN:
        return [_request(span, b"".join(parts))]
    before, after = _enclosing(span, size)
    return [before, *parts, after]


def encode_begin(span: ReadableSpan) -> bytes:
    """Return a span that has just begun as a request: its end is not set."""
    return encode_span(span)


def _request(span: ReadableSpan, body: bytes) -> bytes:
    before, after = _enclosing(span, len(body))
    return b"".join((before, body, after))


def _enclosing(span: ReadableSpan, size: int) -> tuple[bytes, bytes]:
    """Return what stands before and after a span of `size` bytes in its request."""
    *_held, resource, scope, schema = _surroundings(span.resource, span.instrumentation_scope)
    before = scope + b"\x12" + varint(size)
    inner = len(before) + size + len(schema)
    length = varint(inner)
    outer = varint(len(resource) + 1 + len(length) + inner)
    return b"".join((b"\x0a", outer, resource, b"\x12", length, before)), schema


def _span(span: ReadableSpan, apart: Apart | None) -> list[bytes]:
    context, parent = span.context, span.parent
    out = [
        b"\x0a\x10",
        context.trace_id.to_bytes(16, "big"),
        b"\x12\x08",
        context.span_id.to_bytes(8, "big"),
    ]
    if context.trace_state:
        out.append(_text(b"\x1a", ",".join(f"{key}={value}" for key, value in context.trace_state.items())))
    if parent:
        out += (b"\x22\x08", parent.span_id.to_bytes(8, "big"))
    out.append(_text(b"\x2a", span.name) + b"\x30" + _SMALL[span.kind.value + 1])
    if span.start_time:
        out.append(b"\x39" + _FIXED64(span.start_time))
    if span.end_time:
        out.append(b"\x41" + _FIXED64(span.end_time))
    held = getattr(span, "_attributes", None)
    pairs = _pairs(span.attributes if held is None else held)
    _attributes(out, b"\x4a", pairs if apart is None else {**dict(pairs), **apart.attributes}.items())
    _lists(out, span, apart)
    _status(out, span.status, apart)
    out.append(b"\x85\x01" + _flags(parent))
    return out


def _lists(out: list[bytes], span: ReadableSpan, apart: Apart | None) -> None:
    """Add events, links, and how much was dropped of everything."""
    if dropped := span.dropped_attributes:
        out.append(b"\x50" + varint(dropped))
    if events := span.events:
        _events(out, events, apart)
    if dropped := span.dropped_events:
        out.append(b"\x60" + varint(dropped))
    out.extend(sized(b"\x6a", _link(link)) for link in span.links)
    if dropped := span.dropped_links:
        out.append(b"\x70" + varint(dropped))


def _events(out: list[bytes], events: Sequence[Any], apart: Apart | None) -> None:
    extra = apart.exception if apart is not None else None
    failed = [event for event in events if event.name == semconv.EXCEPTION_EVENT] if extra else None
    for event in events:
        pairs = _pairs(event.attributes)
        if extra and failed and event is failed[-1]:
            pairs = {**dict(pairs), **extra}.items()
        parts = [
            b"\x09" + _FIXED64(event.timestamp) if event.timestamp else b"",
            _text(b"\x12", event.name),
        ]
        _attributes(parts, b"\x1a", pairs)
        if event.dropped_attributes:
            parts.append(b"\x20" + varint(event.dropped_attributes))
        out.append(sized(b"\x5a", b"".join(parts)))


def _link(link: Any) -> bytes:
    context = link.context
    parts = [
        b"\x0a\x10",
        context.trace_id.to_bytes(16, "big"),
        b"\x12\x08",
        context.span_id.to_bytes(8, "big"),
    ]
    _attributes(parts, b"\x22", _pairs(link.attributes))
    if link.dropped_attributes:
        parts.append(b"\x28" + varint(link.dropped_attributes))
    parts.append(b"\x35" + _flags(context))
    return b"".join(parts)


def _status(out: list[bytes], status: Any, apart: Apart | None) -> None:
    if status is None:
        return
    text = status.description
    if apart is not None and apart.status is not None:
        text = apart.status
    code = status.status_code.value
    out.append(sized(b"\x7a", _text(b"\x12", text) + (b"\x18" + _SMALL[code] if code else b"")))


def _flags(context: Any) -> bytes:
    return _FLAGS(_HAS_IS_REMOTE | _IS_REMOTE if context and context.is_remote else _HAS_IS_REMOTE)
