"""Spans as the SDK has them, from an ExportTraceServiceRequest: what an exporter of somebody else's takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from nexus_otel.export.died import parsed

_KINDS: Final = {
    1: SpanKind.INTERNAL,
    2: SpanKind.SERVER,
    3: SpanKind.CLIENT,
    4: SpanKind.PRODUCER,
    5: SpanKind.CONSUMER,
}
_STATUS: Final = {0: StatusCode.UNSET, 1: StatusCode.OK, 2: StatusCode.ERROR}
_IS_REMOTE: Final = 0x200


def readable(body: bytes) -> list[ReadableSpan]:
    """Return the spans of a request; none where it is none."""
    request = parsed(body)
    return list(_spans(request)) if request is not None else []


def _spans(request: Any) -> Iterator[ReadableSpan]:
    for around in request.resource_spans:
        resource = Resource(_attributes(around.resource.attributes), around.schema_url)
        for scoped in around.scope_spans:
            scope = InstrumentationScope(
                scoped.scope.name, scoped.scope.version, scoped.schema_url, _attributes(scoped.scope.attributes)
            )
            for span in scoped.spans:
                yield _span(span, resource, scope)


def _span(span: Any, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=_context(span),
        parent=_parent(span),
        resource=resource,
        attributes=_attributes(span.attributes),
        events=[Event(one.name, _attributes(one.attributes), one.time_unix_nano) for one in span.events],
        links=[
            Link(_context(one, remote=bool(one.flags & _IS_REMOTE)), _attributes(one.attributes)) for one in span.links
        ],
        kind=_KINDS.get(span.kind, SpanKind.INTERNAL),
        status=_status(span.status),
        start_time=span.start_time_unix_nano,
        end_time=span.end_time_unix_nano,
        instrumentation_scope=scope,
    )


def _context(message: Any, remote: int = 0) -> SpanContext:
    state = TraceState.from_header([message.trace_state]) if message.trace_state else TraceState()
    trace_id, span_id = int.from_bytes(message.trace_id), int.from_bytes(message.span_id)
    return SpanContext(trace_id, span_id, bool(remote), TraceFlags(message.flags & 0xFF), state)


def _parent(span: Any) -> SpanContext | None:
    if not span.parent_span_id:
        return None
    remote = bool(span.flags & _IS_REMOTE)
    trace_id, span_id = int.from_bytes(span.trace_id), int.from_bytes(span.parent_span_id)
    return SpanContext(trace_id, span_id, remote, TraceFlags(span.flags & 0xFF))


def _status(status: Any) -> Status:
    code = _STATUS.get(status.code, StatusCode.UNSET)
    return Status(code, status.message if code is StatusCode.ERROR and status.message else None)


def _attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: plain(pair.value) for pair in pairs}


def plain(value: Any) -> Any:
    """Return an AnyValue as Python has it."""
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            values: Sequence[Any] = tuple(plain(one) for one in value.array_value.values)
            return values
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case form:
            return getattr(value, form)
