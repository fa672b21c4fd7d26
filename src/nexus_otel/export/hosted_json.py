"""A run as the hosted Nexus service takes it: OTLP JSON, one resource entry, the root first, no empty attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id

_MOST_BYTES: Final = 4_500_000
"""Attributes of one request, in all; the service takes 5 MB."""
_TEXT_BYTES: Final = 200_000
_ERROR: Final = 2
_FIRST: Final = ("gen_ai.", "error.", "user.", "session.", "nexus.")
"""Beginnings of the names that tell most: they are kept where not everything can be."""


def request_of(trace_id: int, spans: Sequence[ReadableSpan], *, is_whole: bool, left_out: int = 0) -> bytes:
    """Return the request for a run.

    Args:
        trace_id: Of the run.
        spans: Its spans that have ended; not empty.
        is_whole: Whether all have: else a root stands in that says so.
        left_out: How many were left out.
    """
    ordered = sorted(spans, key=lambda span: span.start_time or 0)
    ids = {span.context.span_id for span in ordered if span.context is not None}
    roots = [span for span in ordered if span.parent is None or span.parent.span_id not in ids]
    budget = _Budget(_MOST_BYTES)
    made = [_span(span, ids, budget) for span in [*roots[:1], *(one for one in ordered if one is not roots[0])]]
    if not is_whole:
        made = [_stand_in(trace_id, ordered), *made]
    if left_out:
        made[0]["attributes"].append({"key": "nexus.left_out", "value": {"intValue": str(left_out)}})
    name = str(ordered[0].resource.attributes.get("service.name") or "agent")
    scope = {"name": "nexus-otel"}
    entry = {
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": name}}]},
        "scopeSpans": [{"scope": scope, "spans": made}],
    }
    return orjson.dumps({"resourceSpans": [entry]})


def _span(span: ReadableSpan, ids: set[int], budget: _Budget) -> dict[str, Any]:
    context = span.context
    made: dict[str, Any] = {
        "traceId": format_trace_id(context.trace_id) if context is not None else "",
        "spanId": format_span_id(context.span_id) if context is not None else "",
        "name": span.name,
        "kind": span.kind.value + 1,
        "startTimeUnixNano": str(span.start_time or 0),
        "endTimeUnixNano": str(span.end_time or span.start_time or 0),
        "attributes": budget.attributes(span.attributes or {}),
    }
    if span.parent is not None and span.parent.span_id in ids:
        made["parentSpanId"] = format_span_id(span.parent.span_id)
    if span.status.status_code is StatusCode.ERROR:
        said = span.status.description or (span.attributes or {}).get("error.type") or "error"
        made["status"] = {"code": _ERROR, "message": str(said)[:1_000]}
    return made


def _stand_in(trace_id: int, spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    """Return a root for a run that has not ended: nobody can say how it will."""
    return {
        "traceId": format_trace_id(trace_id),
        "spanId": f"{(trace_id & 0xFFFFFFFFFFFFFFFF) or 1:016x}",
        "name": "run not finished",
        "kind": 1,
        "startTimeUnixNano": str(spans[0].start_time or 0),
        "endTimeUnixNano": str(max(span.end_time or 0 for span in spans)),
        "attributes": [],
        "status": {"code": _ERROR, "message": "the run was still going on when its process ended"},
    }


class _Budget:
    """What attributes may still take."""

    def __init__(self, left: int) -> None:
        self._left = left

    def attributes(self, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return attributes, the telling ones first, as far as there is room."""
        made = []
        for name in sorted(given, key=lambda name: (not name.startswith(_FIRST), name)):
            value = _value(given[name])
            size = len(name) + (len(value.get("stringValue", "")) if value is not None else 0)
            if value is not None and size <= self._left:
                self._left -= size
                made.append({"key": name, "value": value})
        return made


def _value(value: Any) -> dict[str, Any] | None:
    match value:
        case None | bytes():
            return None
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value[:_TEXT_BYTES]}
    return {"stringValue": orjson.dumps(value, default=str).decode()[:_TEXT_BYTES]}
