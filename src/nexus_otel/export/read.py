"""Reads the local store: the spans of all processes, those of dead ones brought to an end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from nexus_otel.export.otlp_json import message_json
from nexus_otel.export.scan import Scan, Span


@dataclass(slots=True)
class StoredEvent:
    """An event of a span."""

    name: str
    time_ns: int
    attributes: dict[str, Any]


@dataclass(slots=True)
class StoredLink:
    """A link of a span to another."""

    trace_id: str
    span_id: str
    attributes: dict[str, Any]


@dataclass(slots=True)
class StoredSpan:
    """A span as the store has it.

    Attributes:
        parent_id: "" for a root.
        kind: As in OTLP: 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
        end_ns: None while the span is open.
        status: 0 unset, 1 ok, 2 error.
        open: Whether the span goes on in a living process.
        died: Whether its process ended before it did.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    start_ns: int
    end_ns: int | None
    attributes: dict[str, Any]
    events: list[StoredEvent]
    links: list[StoredLink]
    status: int
    status_message: str
    scope: str
    scope_version: str
    resource: dict[str, Any]
    open: bool = False
    died: bool = False


@dataclass(slots=True)
class Store:
    """What the local store holds.

    Attributes:
        spans: All spans, by start.
        skipped: How many damaged records were passed over.
        files: The segments that were read.
        foreign: A line for each file among them that is none.
    """

    spans: list[StoredSpan] = field(default_factory=list)
    skipped: int = 0
    files: list[Path] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)


def read_store(home: Path, pid: int | None = None) -> Store:
    """Return what is stored in `home`; an empty store where there is none.

    Args:
        home: The folder of the local store.
        pid: The process whose segments are read; all when not given.
    """
    scan = Scan(home, pid)
    return Store(stored(scan), scan.skipped, scan.files, scan.foreign)


def stored(scan: Scan, trace_ids: Iterable[bytes] | None = None) -> list[StoredSpan]:
    """Return the spans of the traces, by start; of all traces when not given."""
    return sorted(map(_stored, scan.spans(trace_ids)), key=lambda span: (span.start_ns, span.trace_id))


# -- as Python values ----------------------------------------------------------------------------------


def _stored(found: Span) -> StoredSpan:
    span, scope = found.span, found.scope.scope
    return StoredSpan(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        kind=span.kind,
        start_ns=span.start_time_unix_nano,
        end_ns=None if found.open else span.end_time_unix_nano,
        attributes=_plain(span.attributes),
        events=[_event(event) for event in span.events],
        links=[_link(link) for link in span.links],
        status=span.status.code,
        status_message=span.status.message,
        scope=scope.name,
        scope_version=scope.version,
        resource=_plain(found.around.resource.attributes),
        open=found.open,
        died=found.died,
    )


def _event(event: Any) -> StoredEvent:
    return StoredEvent(event.name, event.time_unix_nano, _plain(event.attributes))


def _link(link: Any) -> StoredLink:
    return StoredLink(link.trace_id.hex(), link.span_id.hex(), _plain(link.attributes))


def _plain(pairs: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return _plain(value.kvlist_value.values)
        case form:
            return getattr(value, form)


# -- as OTLP JSON --------------------------------------------------------------------------------------


def requests_json(home: Path, trace_ids: Collection[str] | None = None) -> Iterator[str]:
    """Yield the stored traces as OTLP JSON, one ExportTraceServiceRequest a line.

    Spans still open in a living process are left out.

    Args:
        home: The folder of the local store.
        trace_ids: In lower-case hex; all traces when not given.
    """
    wanted = None if trace_ids is None else {bytes.fromhex(trace_id) for trace_id in trace_ids}
    traces: dict[bytes, list[Span]] = defaultdict(list)
    for found in Scan(home).spans(wanted):
        if not found.open:
            traces[found.span.trace_id].append(found)
    for spans in traces.values():
        spans.sort(key=_start)
    for spans in sorted(traces.values(), key=lambda spans: _start(spans[0])):
        yield orjson.dumps(_request(spans)).decode()


def _start(found: Span) -> int:
    start: int = found.span.start_time_unix_nano
    return start


def _request(spans: list[Span]) -> dict[str, Any]:
    """Return one trace, its spans under their resource and scope, each of these once."""
    resources: dict[bytes, tuple[dict[str, Any], dict[bytes, dict[str, Any]]]] = {}
    for found in spans:
        key = found.around.resource.SerializeToString() + found.around.schema_url.encode()
        if key not in resources:
            resources[key] = (_around("resource", found.around), {})
        scopes = resources[key][1]
        key = found.scope.scope.SerializeToString() + found.scope.schema_url.encode()
        if key not in scopes:
            scopes[key] = {**_around("scope", found.scope), "spans": []}
        scopes[key]["spans"].append(message_json(found.span))
    around = [{**one, "scopeSpans": list(scopes.values())} for one, scopes in resources.values()]
    return {"resourceSpans": around}


def _around(name: str, message: Any) -> dict[str, Any]:
    schema = {"schemaUrl": message.schema_url} if message.schema_url else {}
    return {name: message_json(getattr(message, name)), **schema}
