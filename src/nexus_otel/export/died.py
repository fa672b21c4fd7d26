"""The spans in a record as protobuf messages, and the end of those whose process is no more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel._guard import quietly
from nexus_otel.export.segment import BEGIN, SPANS

DIED: Final = "process ended before this span did"
PROCESS_ENDED: Final = "process_ended"
_ERROR: Final = 2


@dataclass(slots=True)
class Found:
    """A span, with the messages it stands in."""

    span: Any
    around: Any
    scope: Any

    @property
    def key(self) -> bytes:
        """The trace id and the span id."""
        key: bytes = self.span.trace_id + self.span.span_id
        return key

    @property
    def latest_ns(self) -> int:
        """The latest time in the span."""
        times = [self.span.start_time_unix_nano, self.span.end_time_unix_nano]
        latest: int = max(times + [event.time_unix_nano for event in self.span.events])
        return latest

    def finish(self, end_ns: int) -> None:
        """End the span as one whose process is no more."""
        span = self.span
        span.end_time_unix_nano = max(end_ns, span.start_time_unix_nano)
        span.status.code = _ERROR
        span.status.message = DIED
        span.attributes.add(key=semconv.REPLAYED).value.bool_value = True
        span.attributes.add(key=semconv.ERROR_TYPE).value.string_value = PROCESS_ENDED


def parsed(payload: bytes) -> Any:
    """Return the request in a record, None where it is none."""
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

    return quietly(trace_service_pb2.ExportTraceServiceRequest.FromString, payload)


def spans_of(request: Any) -> Iterator[Found]:
    """Yield the spans of a request."""
    for around in request.resource_spans:
        for scope in around.scope_spans:
            for span in scope.spans:
                yield Found(span, around, scope)


def died(records: Iterable[tuple[int, bytes]]) -> list[bytes]:
    """Return a request for each span that began and did not end in the records of a dead process.

    Args:
        records: Kind and payload of all its records.
    """
    begun: dict[bytes, Any] = {}
    ended: set[bytes] = set()
    latest = 0
    for kind, payload in records:
        request = parsed(payload) if kind in {SPANS, BEGIN} else None
        for found in spans_of(request) if request is not None else ():
            latest = max(latest, found.latest_ns)
            if kind == SPANS:
                ended.add(found.key)
            else:
                begun[found.key] = (request, found)
    left = [begun[key] for key in begun if key not in ended]
    for _request, found in left:
        found.finish(latest)
    return [request.SerializeToString() for request, _found in left]
