"""Reads the local store: the spans of all processes, those of dead ones brought to an end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from nexus_otel._guard import quietly
from nexus_otel.export.died import Found, parsed, spans_of
from nexus_otel.export.otlp_json import message_json
from nexus_otel.export.owner import Owner
from nexus_otel.export.places import store_folders
from nexus_otel.export.segment import (
    BEGIN,
    NOTE,
    SEALED,
    SPANS,
    ForeignFileError,
    Records,
    is_orphan,
    read_records,
    segments,
)


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
    reading = _Reading(home, pid)
    spans = sorted(map(_stored, reading.spans()), key=lambda span: (span.start_ns, span.trace_id))
    return Store(spans, reading.skipped, reading.files, reading.foreign)


# -- records -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Span(Found):
    """A span, and what became of it."""

    open: bool = False
    died: bool = False


@dataclass(slots=True)
class _Process:
    """What the segments of one process say of spans that did not end."""

    begun: dict[bytes, _Span] = field(default_factory=dict)
    latest_ns: int = 0
    last: Path | None = None


class _Reading:
    """One pass over the segments of a store."""

    def __init__(self, home: Path, pid: int | None = None) -> None:
        self._ended: dict[bytes, _Span] = {}
        self._processes: dict[Owner | None, _Process] = defaultdict(_Process)
        self.skipped = 0
        self.files: list[Path] = []
        self.foreign: list[str] = []
        for folder in store_folders(home):
            for path in segments(folder):
                if pid is None or path.stem.split("-")[2:3] == [str(pid)]:
                    self._read(path)

    def _read(self, path: Path) -> None:
        try:
            records = read_records(path)
        except ForeignFileError as error:
            self.foreign.append(str(error))
            return
        except OSError:  # deleted by its process in the meantime, or not ours to read
            return
        self.files.append(path)
        process = self._processes[records.header.owner if records.header else None]
        begun, sealed = self._take(records, process)
        if not sealed:  # a sealed segment's open spans stand in the next one too
            process.begun.update(begun)
            process.last = path
        self.skipped += records.skipped
        if records.torn and (records.header is None or quietly(is_orphan, path, records.header.owner)):
            self.skipped += 1

    def _take(self, records: Records, process: _Process) -> tuple[dict[bytes, _Span], bool]:
        begun: dict[bytes, _Span] = {}
        sealed = False
        for kind, payload, _end in records:
            sealed = sealed or (kind == NOTE and SEALED in (quietly(orjson.loads, payload) or ()))
            if kind not in {SPANS, BEGIN}:
                continue
            request = parsed(payload)
            if request is None:
                self.skipped += 1
                continue
            for found in map(_span, spans_of(request)):
                process.latest_ns = max(process.latest_ns, found.latest_ns)
                (self._ended if kind == SPANS else begun).setdefault(found.key, found)
        return begun, sealed

    def spans(self) -> Iterator[_Span]:
        """Yield each span once."""
        yield from self._ended.values()
        for owner, process in self._processes.items():
            left = {key: found for key, found in process.begun.items() if key not in self._ended}
            if not left or process.last is None:
                continue
            died = owner is None or quietly(is_orphan, process.last, owner) is True
            for found in left.values():
                found.open, found.died = not died, died
                if died:
                    found.finish(process.latest_ns)
                yield found


def _span(found: Found) -> _Span:
    return _Span(found.span, found.around, found.scope)


# -- as Python values ----------------------------------------------------------------------------------


def _stored(found: _Span) -> StoredSpan:
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
    traces: dict[bytes, list[_Span]] = defaultdict(list)
    for found in _Reading(home).spans():
        if not found.open and (wanted is None or found.span.trace_id in wanted):
            traces[found.span.trace_id].append(found)
    for spans in traces.values():
        spans.sort(key=_start)
    for spans in sorted(traces.values(), key=lambda spans: _start(spans[0])):
        yield orjson.dumps(_request(spans)).decode()


def _start(found: _Span) -> int:
    start: int = found.span.start_time_unix_nano
    return start


def _request(spans: list[_Span]) -> dict[str, Any]:
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
