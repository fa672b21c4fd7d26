"""Runs made of OTLP spans, to see what a collector does with them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Proto
from opentelemetry.proto.trace.v1.trace_pb2 import Status

MS = 1_000_000


@dataclass
class Made:
    """A span to be sent: its length, status and attributes; `events` are attributes of events."""

    name: str = "chat m"
    lasts_ms: int = 20
    failed: bool = False
    message: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Run:
    """One run: a root and, one after the other, the spans beneath it."""

    root: Made
    steps: list[Made]
    trace_id: str = field(default_factory=lambda: os.urandom(16).hex())

    @property
    def spans(self) -> list[Made]:
        return [self.root, *self.steps]

    def request(self) -> ExportTraceServiceRequest:
        return self.requests(1)[0]

    def requests(self, parts: int) -> list[ExportTraceServiceRequest]:
        """The run in so many requests, the root in the last, as an SDK sends it."""
        spans = self._protos()
        each = max(1, -(-len(spans) // parts))
        return [_request(spans[at : at + each]) for at in range(0, len(spans), each)]

    def _protos(self) -> list[Proto]:
        begun = now = time.time_ns()
        trace, root = bytes.fromhex(self.trace_id), os.urandom(8)
        found = []
        for step in self.steps:
            found.append(_proto(step, trace, os.urandom(8), root, now))
            now += step.lasts_ms * MS
        return [*found, _proto(self.root, trace, root, b"", begun)]


def _request(spans: list[Proto]) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.append(_attribute("service.name", "made"))
    group.scope_spans.add().spans.extend(spans)
    return request


def _proto(made: Made, trace: bytes, span: bytes, parent: bytes, start_ns: int) -> Proto:
    proto = Proto(
        trace_id=trace, span_id=span, parent_span_id=parent, name=made.name, kind=Proto.SPAN_KIND_INTERNAL,
        start_time_unix_nano=start_ns, end_time_unix_nano=start_ns + made.lasts_ms * MS,
        attributes=[_attribute(*pair) for pair in made.attributes.items()],
    )  # fmt: skip
    for event in made.events:
        added = proto.events.add(name="exception", time_unix_nano=start_ns)
        added.attributes.extend(_attribute(*pair) for pair in event.items())
    if made.failed:
        proto.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=made.message))
    return proto


def _attribute(name: str, value: Any) -> KeyValue:
    return KeyValue(key=name, value=_value(value))


def _value(value: Any) -> AnyValue:
    found = AnyValue()
    match value:
        case bool():
            found.bool_value = value
        case int():
            found.int_value = value
        case float():
            found.double_value = value
        case list():
            found.array_value.values.extend(_value(one) for one in value)
        case _:
            found.string_value = value
    return found


def agent(lasts_ms: int = 100, *steps: Made, **attributes: Any) -> Run:
    """A run with a root `invoke_agent`; a keyword's `__` is a dot."""
    named = {name.replace("__", "."): value for name, value in attributes.items()}
    root = Made("invoke_agent made", lasts_ms, attributes={"gen_ai.operation.name": "invoke_agent", **named})
    return Run(root, list(steps) or [Made(attributes={"gen_ai.operation.name": "chat"})])
