"""Tool calls of traces in which only model calls were recorded: read from the messages of the calls around each.

Instrumentors of a provider's SDK record nothing else. What a model asks for stands in its answer, and what came back in
the messages of a later call; in between nobody watched (`contract.md` section 2, derived tool spans).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.detect.facts import AskedCall, asked_calls, parsed
from nexus_otel.detect.model import MODEL, SpanView
from nexus_otel.detect.normalise import normalised

_MOST: Final = 100_000
"""Calls of one trace."""


def with_tool_calls(trace: Sequence[SpanView]) -> list[SpanView]:
    """Return the spans of a trace with those of its tool calls, where none were recorded and messages tell of them."""
    for span in trace:
        attributes = normalised(span.attributes)
        if attributes is not span.attributes:
            span.rename(attributes)
    models = [span for span in trace if span.operation in MODEL]
    if not models or any(span.operation == semconv.EXECUTE_TOOL for span in trace):
        return list(trace)
    return [*trace, *_calls(sorted(models, key=lambda span: span.start_ns))]


def _calls(models: Iterable[SpanView]) -> Iterator[SpanView]:
    waiting: dict[str, tuple[AskedCall, SpanView]] = {}
    for span in models:
        if waiting:
            for call_id, answer in _answers(span):
                asked = waiting.pop(call_id, None)
                if asked is not None:
                    yield _view(*asked, answer, span)
        for call in asked_calls(span.attributes.get(semconv.OUTPUT_MESSAGES)):
            if call.id and len(waiting) < _MOST:
                waiting[call.id] = call, span


def _answers(span: SpanView) -> Iterator[tuple[str, Any]]:
    """Give the ids and answers of the tool calls in the messages that a model was given."""
    messages = parsed(span.attributes.get(semconv.INPUT_MESSAGES))
    for message in messages if isinstance(messages, list) else ():
        parts = message.get("parts") if isinstance(message, Mapping) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, Mapping) and part.get("type") == "tool_call_response":
                yield str(part.get("id")), part.get("response", part.get("result"))


def _view(call: AskedCall, asked: SpanView, answer: Any, told: SpanView) -> SpanView:
    """Return the span of a call, from the answer that asks for it to the call that is told; its id is the former's."""
    attributes: dict[str, Any] = {
        semconv.OPERATION: semconv.EXECUTE_TOOL,
        semconv.TOOL_NAME: call.tool,
        semconv.TOOL_CALL_ID: call.id,
        semconv.DERIVED: True,
    }
    for name, value in ((semconv.TOOL_ARGUMENTS, call.arguments), (semconv.TOOL_RESULT, answer)):
        if value is not None:
            attributes[name] = value if isinstance(value, str) else json.dumps(value, default=str)
    start_ns = max(asked.end_ns, asked.start_ns)
    return SpanView(
        asked.trace_id, asked.span_id, asked.parent_id, f"{semconv.EXECUTE_TOOL} {call.tool}", start_ns,
        max(start_ns, told.start_ns), attributes,
    )  # fmt: skip
