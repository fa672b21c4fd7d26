"""What the conventions say of a span, a log event and the messages in them, as a list of what breaks them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from nexus_otel import semconv

# -- types -------------------------------------------------------------------------------------------------------------

_TYPES: Final[Mapping[str, type]] = {"string": str, "int": int, "double": float, "bool": bool}


def _has_type(value: Any, kind: str) -> bool:
    if kind == "string[]":
        return isinstance(value, tuple) and all(type(item) is str for item in value)
    return type(value) is _TYPES[kind]


# -- attributes per operation ------------------------------------------------------------------------------------------

_SAMPLING: Final = {
    "gen_ai.request.max_tokens": "int",
    "gen_ai.request.temperature": "double",
    "gen_ai.request.top_p": "double",
    "gen_ai.request.top_k": "int",
    "gen_ai.request.frequency_penalty": "double",
    "gen_ai.request.presence_penalty": "double",
    "gen_ai.request.stop_sequences": "string[]",
    "gen_ai.request.seed": "int",
    "gen_ai.request.choice.count": "int",
    "gen_ai.output.type": "string",
}
_SERVER: Final = {"server.address": "string", "server.port": "int"}
_COMMON: Final = {"gen_ai.operation.name": "string", "error.type": "string", "gen_ai.conversation.id": "string"}
_MESSAGES: Final = {
    "gen_ai.input.messages": "string",
    "gen_ai.output.messages": "string",
    "gen_ai.system_instructions": "string",
    "gen_ai.tool.definitions": "string",
}
_MODALITIES: Final = {
    f"gen_ai.usage.{modality}.{kind}": "int"
    for modality in ("text", "image", "audio")
    for kind in ("input_tokens", "output_tokens", "cache_read.input_tokens")
}
_INFERENCE: Final = {
    **_COMMON,
    **_SAMPLING,
    **_SERVER,
    **_MESSAGES,
    **_MODALITIES,
    "gen_ai.provider.name": "string",
    "gen_ai.request.model": "string",
    "gen_ai.request.stream": "bool",
    "gen_ai.request.reasoning.level": "string",
    "gen_ai.request.previous_response.id": "string",
    "gen_ai.prompt.name": "string",
    "gen_ai.prompt.version": "string",
    "gen_ai.response.id": "string",
    "gen_ai.response.model": "string",
    "gen_ai.response.finish_reasons": "string[]",
    "gen_ai.response.time_to_first_chunk": "double",
    "gen_ai.usage.input_tokens": "int",
    "gen_ai.usage.output_tokens": "int",
    "gen_ai.usage.cache_read.input_tokens": "int",
    "gen_ai.usage.cache_write.input_tokens": "int",
    "gen_ai.usage.reasoning.output_tokens": "int",
    "gen_ai.conversation.compacted": "bool",
    "openai.api.type": "string",
    "openai.request.service_tier": "string",
    "openai.response.service_tier": "string",
    "openai.response.system_fingerprint": "string",
}
_TOOL: Final = {
    **_COMMON,
    "gen_ai.tool.name": "string",
    "gen_ai.tool.type": "string",
    "gen_ai.tool.call.id": "string",
    "gen_ai.tool.description": "string",
    "gen_ai.tool.call.arguments": "string",
    "gen_ai.tool.call.result": "string",
    "gen_ai.agent.name": "string",
}
_AGENT: Final = {
    **_COMMON,
    **_SAMPLING,
    **_MESSAGES,
    "gen_ai.agent.name": "string",
    "gen_ai.agent.description": "string",
    "gen_ai.data_source.id": "string",
    "gen_ai.request.model": "string",
    "gen_ai.response.finish_reasons": "string[]",
    "gen_ai.usage.input_tokens": "int",
    "gen_ai.usage.output_tokens": "int",
}
_WORKFLOW: Final = {
    **_COMMON,
    "gen_ai.workflow.name": "string",
    "gen_ai.input.messages": "string",
    "gen_ai.output.messages": "string",
}
_EMBEDDINGS: Final = {
    **_COMMON,
    **_SERVER,
    "gen_ai.provider.name": "string",
    "gen_ai.request.model": "string",
    "gen_ai.response.model": "string",
    "gen_ai.request.encoding_formats": "string[]",
    "gen_ai.embeddings.dimension.count": "int",
    "gen_ai.usage.input_tokens": "int",
}
_RETRIEVAL: Final = {
    **_COMMON,
    **_SERVER,
    "gen_ai.provider.name": "string",
    "gen_ai.request.model": "string",
    "gen_ai.data_source.id": "string",
    "gen_ai.retrieval.top_k": "int",
    "gen_ai.retrieval.query.text": "string",
    "gen_ai.retrieval.documents": "string",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """What the spans of one operation look like.

    Attributes:
        kinds: The span kinds it may have.
        attributes: The attributes it may have, with their types.
        required: Those that it must have.
        named_by: The attribute whose value follows the operation in the span's name.
        own: The beginnings of the names of ours that it may have.
    """

    kinds: frozenset[SpanKind]
    attributes: Mapping[str, str]
    required: frozenset[str]
    named_by: str
    own: tuple[str, ...] = ()


_CLIENT: Final = frozenset({SpanKind.CLIENT})
_INTERNAL: Final = frozenset({SpanKind.INTERNAL})
_ANYWHERE: Final = (
    "nexus.truncated", "nexus.metadata.", "nexus.replayed", "nexus.findings", "nexus.keep", "nexus.name", "nexus.step",
    "nexus.status", "nexus.unended", "user.id", "session.id", "gen_ai.conversation.id", "deployment.environment.name",
    "gen_ai.agent.version", "service.version", "vcs.ref.head.revision",
)  # fmt: skip
_MODEL: Final = Operation(
    _CLIENT | _INTERNAL,
    _INFERENCE,
    frozenset({"gen_ai.provider.name", "gen_ai.request.model"}),
    "gen_ai.request.model",
    ("nexus.cache.", "nexus.message.", "nexus.error.", "nexus.context.", "nexus.stream."),
)
OPERATIONS: Final[Mapping[str, Operation]] = {
    "chat": _MODEL,
    "generate_content": _MODEL,
    "text_completion": _MODEL,
    "execute_tool": Operation(
        _INTERNAL, _TOOL, frozenset({"gen_ai.tool.name"}), "gen_ai.tool.name", ("nexus.tool.", "nexus.derived")
    ),
    "invoke_agent": Operation(
        _INTERNAL, _AGENT, frozenset(), "gen_ai.agent.name",
        ("nexus.usage.", "nexus.run.", "nexus.error.", "nexus.context."),
    ),
    "invoke_workflow": Operation(
        _INTERNAL, _WORKFLOW, frozenset(), "gen_ai.workflow.name", ("nexus.usage.", "nexus.run.", "nexus.error.", "nexus.context.")
    ),
    "embeddings": Operation(
        _CLIENT, _EMBEDDINGS, frozenset({"gen_ai.provider.name"}), "gen_ai.request.model", ("nexus.error.",)
    ),
    "retrieval": Operation(_CLIENT, _RETRIEVAL, frozenset(), "gen_ai.data_source.id"),
}  # fmt: skip

_FORBIDDEN: Final = re.compile(
    r"gen_ai\.(system|prompt|completion|is_streaming|token\.type|agent\.id)$"
    r"|gen_ai\.(prompt|completion)\.\d|gen_ai\.usage\.(prompt|completion|total)_tokens$"
    r"|gen_ai\.openai\.|gen_ai\.usage\.cache_creation\.|gen_ai\.usage\.reasoning_tokens$|llm\.|traceloop\."
)
_FORBIDDEN_EVENT: Final = re.compile(r"gen_ai\.((system|user|assistant|tool)\.message|choice|content\.)")
_EXCEPTION: Final = {"exception.type": "string", "exception.message": "string", "exception.stacktrace": "string"}
_EVENTS: Final[Mapping[str, Mapping[str, str]]] = {
    "exception": _EXCEPTION,
    "nexus.retry": {
        "nexus.retry.attempt": "int",
        "nexus.retry.wait": "double",
        "nexus.retry.cause": "string",
        "http.response.status_code": "int",
    },
    "nexus.finding": {
        "nexus.finding.mode": "string",
        "nexus.finding.level": "string",
        "nexus.finding.title": "string",
        "nexus.finding.count": "int",
        "nexus.finding.evidence": "string[]",
    },
}
_FINISH: Final = frozenset({"stop", "length", "content_filter", "tool_call", "compaction", "error", "pause"})


# -- spans -------------------------------------------------------------------------------------------------------------


def violations(span: ReadableSpan) -> list[str]:
    """Return what a span has that the conventions do not allow, and lacks that they require."""
    attributes = dict(span.attributes or {})
    name = attributes.get("gen_ai.operation.name")
    operation = OPERATIONS.get(str(name))
    if operation is None:
        return [f"{span.name}: no such operation: {name!r}"]
    found = [
        *_identity(span, operation, attributes),
        *_attributes(operation, attributes),
        *_relations(attributes),
        *_status(span, attributes),
        *_content(attributes),
    ]
    for event in span.events:
        found += _event(event)
    return [f"{span.name}: {problem}" for problem in found]


def _identity(span: ReadableSpan, operation: Operation, attributes: Mapping[str, Any]) -> Iterator[str]:
    name, by = attributes["gen_ai.operation.name"], attributes.get(operation.named_by)
    expected = f"{name} {by}" if by else name
    if span.name != expected:
        yield f"the name should be {expected!r}"
    if span.kind not in operation.kinds:
        yield f"the kind is {span.kind}"
    scope = span.instrumentation_scope
    if scope is None or not scope.name or not scope.version:
        yield f"the scope is {scope}"
    elif scope.schema_url != semconv.SCHEMA_URL:
        yield f"the schema URL is {scope.schema_url}"
    if not span.end_time or not span.start_time or span.end_time < span.start_time:
        yield f"it lasts from {span.start_time} to {span.end_time}"


def _attributes(operation: Operation, attributes: Mapping[str, Any]) -> Iterator[str]:
    for name in operation.required - set(attributes):
        yield f"{name} is required"
    for name, value in attributes.items():
        kind = _kind(operation, name)
        if _FORBIDDEN.match(name) or kind is None:
            yield f"{name} does not belong there"
        elif not _has_type(value, kind):
            yield f"{name} should be {kind}: {value!r}"


def _kind(operation: Operation, name: str) -> str | None:
    if name in operation.attributes:
        return operation.attributes[name]
    if name.startswith("nexus.metadata.") or (name in _ANYWHERE and name not in semconv.OWN):
        return "string"
    if name in semconv.OWN and name.startswith((*operation.own, *_ANYWHERE)):
        return semconv.OWN[name].kind
    return None


def _relations(attributes: Mapping[str, Any]) -> Iterator[str]:
    if "server.port" in attributes and "server.address" not in attributes:
        yield "a port without an address"
    if attributes.get("gen_ai.request.stream") is False:
        yield "gen_ai.request.stream is set only when true"
    if "gen_ai.response.time_to_first_chunk" in attributes and "gen_ai.request.stream" not in attributes:
        yield "a first chunk without a stream"
    whole = attributes.get("gen_ai.usage.input_tokens")
    cached = sum(attributes.get(f"gen_ai.usage.cache_{what}.input_tokens", 0) for what in ("read", "write"))
    if cached and (whole is None or whole < cached):
        yield f"{whole} input tokens do not include {cached} cached ones"
    for reason in attributes.get("gen_ai.response.finish_reasons", ()):
        if reason not in _FINISH:
            yield f"the finish reason {reason!r} is not normalised"
    for name in attributes:
        if name.endswith(".hash") and not re.fullmatch(r"[0-9a-f]{16}", str(attributes[name])):
            yield f"{name} is no hash: {attributes[name]!r}"


def _status(span: ReadableSpan, attributes: Mapping[str, Any]) -> Iterator[str]:
    code = span.status.status_code
    if code is StatusCode.OK:
        yield "the status is OK"
    if (code is StatusCode.ERROR) != ("error.type" in attributes):
        yield f"the status is {code.name} and error.type is {attributes.get('error.type')!r}"
    if code is StatusCode.UNSET and span.status.description:
        yield f"a description without an error: {span.status.description!r}"


def _event(event: Event) -> Iterator[str]:
    if _FORBIDDEN_EVENT.match(event.name) or event.name not in _EVENTS:
        yield f"the event {event.name} does not belong there"
        return
    known = _EVENTS[event.name]
    for name, value in (event.attributes or {}).items():
        if name not in known:
            yield f"{name} does not belong to the event {event.name}"
        elif not _has_type(value, known[name]):
            yield f"{name} should be {known[name]}: {value!r}"


# -- content -----------------------------------------------------------------------------------------------------------

_PARTS: Final[Mapping[str, Mapping[str, type]]] = {
    "text": {"content": str},
    "reasoning": {"content": str},
    "tool_call": {"name": str},
    "tool_call_response": {"response": object},
    "server_tool_call": {"name": str, "server_tool_call": dict},
    "server_tool_call_response": {"server_tool_call_response": dict},
    "blob": {"modality": str, "content": str},
    "file": {"modality": str, "file_id": str},
    "uri": {"modality": str, "uri": str},
    "compaction": {},
}
_ROLES: Final = frozenset({"system", "user", "assistant", "tool", "developer"})


def _content(attributes: Mapping[str, Any]) -> Iterator[str]:
    for name in ("gen_ai.input.messages", "gen_ai.output.messages"):
        yield from _parsed(name, attributes, message_violations)
    yield from _parsed("gen_ai.system_instructions", attributes, _instruction_violations)
    yield from _parsed("gen_ai.tool.definitions", attributes, _definition_violations)


def _parsed(name: str, attributes: Mapping[str, Any], check: Any) -> Iterator[str]:
    text = attributes.get(name)
    if text is None:
        return
    try:
        value = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        yield f"{name} is no JSON: {text[:80]!r}"
        return
    for problem in check(value):
        yield f"{name}: {problem}"


def message_violations(messages: Any) -> Iterator[str]:
    """Return where messages have not the form of the conventions."""
    if not isinstance(messages, list | tuple) or not messages:
        yield f"no list of messages: {messages!r}"
        return
    for message in messages:
        extra = set(message) - {"role", "parts", "name", "finish_reason"}
        if extra or message.get("role") not in _ROLES:
            yield f"a message {sorted(message)} of {message.get('role')!r}"
        parts = message.get("parts")
        if not isinstance(parts, list | tuple):
            yield f"parts should be a list: {parts!r}"
            continue
        yield from _part_violations(parts)


def _part_violations(parts: Iterable[Any]) -> Iterator[str]:
    for part in parts:
        kind = part.get("type")
        if not isinstance(kind, str):
            yield f"a part without a type: {part!r}"
            continue
        for field, expected in _PARTS.get(kind, {}).items():
            if field not in part or not isinstance(part[field], expected):
                yield f"the {field} of a {kind} part should be {expected.__name__}: {part.get(field)!r}"
        if kind in {"tool_call", "tool_call_response"} and not isinstance(part.get("id"), str | None):
            yield f"the id of a {kind} part is {part['id']!r}"
        if kind.startswith("server_tool_call") and "type" not in (part.get(kind) or {}):
            yield f"a {kind} part without its own type"


def _instruction_violations(parts: Any) -> Iterator[str]:
    if not isinstance(parts, list | tuple) or any(part.get("type") != "text" for part in parts):
        yield f"instructions are text parts only: {parts!r}"
        return
    yield from _part_violations(parts)


def _definition_violations(tools: Any) -> Iterator[str]:
    if not isinstance(tools, list | tuple) or not tools:
        yield f"no list of tools: {tools!r}"
        return
    for tool in tools:
        if not isinstance(tool.get("type"), str) or not isinstance(tool.get("name"), str):
            yield f"a tool needs a type and a name: {tool!r}"
        if set(tool) - {"type", "name", "description", "parameters"}:
            yield f"a tool has {sorted(tool)}"


# -- log events --------------------------------------------------------------------------------------------------------

_DEBUG, _WARN = 5, 13


def log_violations(record: Any) -> list[str]:
    """Return what is wrong with a log event: the details of a model call, or an exception."""
    attributes = dict(record.attributes or {})
    level = record.severity_number.value if record.severity_number is not None else None
    found = [] if record.trace_id and record.span_id else ["it belongs to no span"]
    match record.event_name:
        case semconv.DETAILS_EVENT:
            return found + list(_details(attributes, level))
        case semconv.EXCEPTION_LOG_EVENT:
            return found + list(_exception(attributes, level))
    return [*found, f"the event is {record.event_name!r}"]


def _details(attributes: Mapping[str, Any], level: int | None) -> Iterator[str]:
    if level != _DEBUG:
        yield f"the severity of the details is {level}"
    content = {name: value for name, value in attributes.items() if name in semconv.CONTENT_ATTRIBUTES}
    yield from (f"{name} should be structured" for name, value in content.items() if isinstance(value, str))
    yield from _content(content)
    plain = {name: value for name, value in attributes.items() if name not in content}
    yield from _attributes(OPERATIONS[str(plain.get("gen_ai.operation.name"))], plain)


def _exception(attributes: Mapping[str, Any], level: int | None) -> Iterator[str]:
    if level != _WARN:
        yield f"the severity of an exception is {level}"
    if not {"exception.type", "exception.message"} & set(attributes):
        yield "an exception without a type and a message"
    for name, value in attributes.items():
        if not _has_type(value, _EXCEPTION.get(name, "string")) or name not in _EXCEPTION:
            yield f"{name} does not belong to an exception: {value!r}"
