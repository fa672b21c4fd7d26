"""Spans, log records and metrics as plain values, read from OTLP."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

Attributes = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """A moment within a span."""

    name: str
    time_ns: int
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Link:
    """A span that another one points to."""

    trace_id: str
    span_id: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Span:
    """One span; ids are hex, `parent_id` is empty for a root, kind and status are OTLP numbers."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: Attributes
    events: list[Event]
    links: list[Link]
    status: int
    status_message: str
    scope: str
    scope_version: str
    resource: Attributes


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One log record; `name` is its event name, `severity` the OTLP number, ids are hex or empty."""

    name: str
    severity: int
    time_ns: int
    attributes: Attributes
    body: Any
    trace_id: str
    span_id: str
    scope: str
    resource: Attributes


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of one export; each point is its attributes and a value, or `(count, sum)`."""

    name: str
    unit: str
    kind: str
    points: list[tuple[Attributes, Any]]
    scope: str
    resource: Attributes


def spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    """The spans of an export request, in order."""
    for group in request.resource_spans:
        resource = _attributes(group.resource.attributes)
        for scoped in group.scope_spans:
            yield from (_span(span, scoped.scope, resource) for span in scoped.spans)


def logs(request: ExportLogsServiceRequest) -> Iterator[LogRecord]:
    """The log records of an export request, in order."""
    for group in request.resource_logs:
        resource = _attributes(group.resource.attributes)
        for scoped in group.scope_logs:
            yield from (_log(record, scoped.scope.name, resource) for record in scoped.log_records)


def metrics(request: ExportMetricsServiceRequest) -> Iterator[Metric]:
    """The metrics of an export request, in order."""
    for group in request.resource_metrics:
        resource = _attributes(group.resource.attributes)
        for scoped in group.scope_metrics:
            yield from (_metric(metric, scoped.scope.name, resource) for metric in scoped.metrics)


def from_json(text: str | bytes, request: type[Message]) -> Message:
    """Read an OTLP request in its JSON form, strictly.

    Raises:
        ValueError: It is not JSON, has a field OTLP does not have, or an id that is not hex.
    """
    try:
        return json_format.ParseDict(_with_base64_ids(json.loads(text)), request())
    except json_format.ParseError as error:
        raise ValueError(str(error)) from error


def to_json(message: Message) -> bytes:
    """The JSON form of a message without ids."""
    return json_format.MessageToJson(message, indent=None).encode()


def spans_of_json(lines: str | Iterable[str]) -> list[Span]:
    """The spans of OTLP JSON lines, one export request per line; empty lines are skipped.

    Raises:
        ValueError: As `from_json`.
    """
    given = lines.splitlines() if isinstance(lines, str) else lines
    requests = (from_json(line, ExportTraceServiceRequest) for line in given if line.strip())
    return [span for request in requests for span in spans(request)]


_ID_BYTES = {"traceId": 16, "spanId": 8, "parentSpanId": 8}


def _with_base64_ids(value: Any) -> Any:
    """The same JSON in the general protobuf form, where bytes are base64 and not hex."""
    match value:
        case dict():
            return {key: _field(key, inner) for key, inner in value.items()}
        case list():
            return [_with_base64_ids(inner) for inner in value]
        case _:
            return value


def _field(key: str, value: Any) -> Any:
    if "_" in key:
        raise ValueError(f"{key} is not in lowerCamelCase")
    if key not in _ID_BYTES:
        return _with_base64_ids(value)
    raw = bytes.fromhex(value)
    if len(raw) not in {0, _ID_BYTES[key]}:
        raise ValueError(f"{key} {value!r} is not {_ID_BYTES[key]} bytes of hex")
    return base64.b64encode(raw).decode()


def _attributes(pairs: Iterable[Any]) -> Attributes:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [_value(inner) for inner in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case field:
            return getattr(value, field)


def _span(span: Any, scope: Any, resource: Attributes) -> Span:
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        kind=span.kind,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        events=[Event(e.name, e.time_unix_nano, _attributes(e.attributes)) for e in span.events],
        links=[Link(k.trace_id.hex(), k.span_id.hex(), _attributes(k.attributes)) for k in span.links],
        status=span.status.code,
        status_message=span.status.message,
        scope=scope.name,
        scope_version=scope.version,
        resource=resource,
    )


def _log(record: Any, scope: str, resource: Attributes) -> LogRecord:
    return LogRecord(
        name=record.event_name,
        severity=record.severity_number,
        time_ns=record.time_unix_nano,
        attributes=_attributes(record.attributes),
        body=_value(record.body),
        trace_id=record.trace_id.hex(),
        span_id=record.span_id.hex(),
        scope=scope,
        resource=resource,
    )


def _metric(metric: Any, scope: str, resource: Attributes) -> Metric:
    kind = metric.WhichOneof("data")
    points = [(_attributes(p.attributes), _point(p)) for p in getattr(metric, kind).data_points]
    return Metric(metric.name, metric.unit, kind, points, scope, resource)


def _point(point: Any) -> Any:
    if "count" in point.DESCRIPTOR.fields_by_name:
        return point.count, point.sum
    return getattr(point, point.WhichOneof("value"))
