"""Traces in files of others and of ours: OTLP JSON lines, OTLP protobuf, segments of a store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

import orjson

from nexus_otel.config import NexusError
from nexus_otel.export.read import StoredEvent, StoredLink, StoredSpan

_MAGIC_BYTES: Final = 16
_MOST_LINE: Final = 256 * 1024 * 1024


class UnreadableFileError(NexusError):
    """A file holds no traces that can be read."""


Told = Callable[[str], None]
"""Told in one line what was left out."""


def spans_in(path: Path, told: Told) -> Iterator[StoredSpan]:
    """Yield the spans in a file, in the order in which they stand there.

    Args:
        path: OTLP JSON, a request a line (as the collector's file exporter and `nexus-otel export` write it) or one in
            all; OTLP protobuf; or a segment of a store.
        told: Told what could not be read.

    Raises:
        UnreadableFileError: There is no such file, or nothing in it can be read.
    """
    try:
        with path.open("rb") as file:
            first = file.read(_MAGIC_BYTES).lstrip()[:1]
    except OSError as error:
        raise UnreadableFileError(f"cannot read {path}: {error.strerror}") from None
    if first in {b"{", b"["}:
        with path.open("rb") as file:
            yield from spans_of_lines(file, str(path), told)
    elif path.suffix == ".nxs" or is_segment(path):
        yield from _of_segment(path, told)
    else:
        yield from _of_protobuf(path)


def spans_of_lines(lines: IO[bytes] | Iterable[bytes], name: str, told: Told) -> Iterator[StoredSpan]:
    """Yield the spans of OTLP JSON, a request a line or one in all.

    Raises:
        UnreadableFileError: No line is OTLP JSON.
    """
    read, bad, rest = 0, 0, b""
    for line in lines:
        rest += line
        if not rest.strip():
            continue
        try:
            request = orjson.loads(rest)
        except orjson.JSONDecodeError:
            if len(rest) < _MOST_LINE and _is_open(rest):
                continue  # pretty-printed: it goes on
            bad, rest = bad + 1, b""
            continue
        rest = b""
        found = list(_of_json(request))
        read += bool(found)
        bad += not found
        yield from found
    bad += bool(rest.strip())
    if not read:
        raise UnreadableFileError(f"{name} holds no traces: expected OTLP as JSON lines, protobuf, or a segment")
    if bad:
        told(f"{bad} lines of {name} that are no traces")


def _is_open(text: bytes) -> bool:
    """Whether a JSON text has more opening brackets than closing ones, as far as can be told without parsing it."""
    return text.count(b"{") > text.count(b"}") or text.count(b"[") > text.count(b"]")


# -- OTLP JSON ---------------------------------------------------------------------------------------------------------


def _of_json(request: Any) -> Iterator[StoredSpan]:
    for one in request if isinstance(request, list) else [request]:
        for entry in _list(one, "resourceSpans"):
            resource = _attributes(_dict(entry, "resource"))
            for scoped in _list(entry, "scopeSpans"):
                scope = _dict(scoped, "scope")
                for span in _list(scoped, "spans"):
                    if isinstance(span, Mapping):
                        yield _span(span, resource, scope)


def _span(span: Mapping[str, Any], resource: dict[str, Any], scope: Mapping[str, Any]) -> StoredSpan:
    status = _dict(span, "status")
    return StoredSpan(
        trace_id=str(span.get("traceId", "")).lower(),
        span_id=str(span.get("spanId", "")).lower(),
        parent_id=str(span.get("parentSpanId", "")).lower(),
        name=str(span.get("name", "")),
        kind=_int(span.get("kind")),
        start_ns=_int(span.get("startTimeUnixNano")),
        end_ns=_int(span.get("endTimeUnixNano")) or None,
        attributes=_attributes(span),
        events=[
            StoredEvent(str(one.get("name", "")), _int(one.get("timeUnixNano")), _attributes(one))
            for one in _list(span, "events")
            if isinstance(one, Mapping)
        ],
        links=[
            StoredLink(str(one.get("traceId", "")), str(one.get("spanId", "")), _attributes(one))
            for one in _list(span, "links")
            if isinstance(one, Mapping)
        ],
        status=_status(status.get("code")),
        status_message=str(status.get("message", "")),
        scope=str(scope.get("name", "")),
        scope_version=str(scope.get("version", "")),
        resource=resource,
    )


def _list(value: Any, name: str) -> list[Any]:
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, list) else []


def _dict(value: Any, name: str) -> Mapping[str, Any]:
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _int(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def _status(code: Any) -> int:
    names = {"STATUS_CODE_ERROR": 2, "STATUS_CODE_OK": 1}
    return names.get(code, 0) if isinstance(code, str) and not code.isdigit() else _int(code)


def _attributes(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        str(one.get("key")): _value(one.get("value")) for one in _list(value, "attributes") if isinstance(one, Mapping)
    }


def _value(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return None
    for form, read in _FORMS.items():
        if form in value:
            return read(value[form])
    return None


_FORMS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "stringValue": str,
    "boolValue": bool,
    "intValue": _int,
    "doubleValue": lambda value: float(value) if isinstance(value, int | float) else None,
    "arrayValue": lambda value: [_value(one) for one in _list(value, "values")],
    "kvlistValue": lambda value: {
        str(one.get("key")): _value(one.get("value")) for one in _list(value, "values") if isinstance(one, Mapping)
    },
    "bytesValue": str,
}


# -- the others --------------------------------------------------------------------------------------------------------


def is_segment(path: Path) -> bool:
    """Whether a file is a segment of a store, by what stands in it."""
    from nexus_otel.export.segment import ForeignFileError, read_records

    try:
        return read_records(path).header is not None
    except (ForeignFileError, OSError, ValueError):
        return False


def _of_segment(path: Path, told: Told) -> Iterator[StoredSpan]:
    from nexus_otel.export.read import stored
    from nexus_otel.export.scan import Scan

    scan = Scan(None, files=[path])
    if not scan.trace_ids:
        raise UnreadableFileError(f"{path} holds no spans that can be read")
    if scan.skipped:
        told(f"{scan.skipped} damaged {'record' if scan.skipped == 1 else 'records'} in {path}")
    yield from stored(scan)


def _of_protobuf(path: Path) -> Iterator[StoredSpan]:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    from nexus_otel.export.otlp_json import message_json

    try:
        request = ExportTraceServiceRequest.FromString(path.read_bytes())
    except DecodeError:
        request = ExportTraceServiceRequest()
    if not request.resource_spans:
        raise UnreadableFileError(f"{path} holds no traces: expected OTLP as JSON lines, protobuf, or a segment")
    yield from _of_json(message_json(request))
