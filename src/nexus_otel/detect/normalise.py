"""Attributes of OpenInference and of OpenLLMetry in the names of the GenAI conventions.

Read from openinference-semantic-conventions 0.1.42 and from the names that OpenLLMetry 0.62 and before it write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from nexus_otel import semconv

_INFERENCE_KIND: Final = "openinference.span.kind"
_TRACELOOP_KIND: Final = "traceloop.span.kind"
_REQUEST_TYPE: Final = "llm.request.type"
_OLD_INPUT: Final = "gen_ai.usage.prompt_tokens"

_OPERATIONS: Final = {
    "LLM": semconv.CHAT,
    "TOOL": semconv.EXECUTE_TOOL,
    "AGENT": semconv.INVOKE_AGENT,
    "RETRIEVER": semconv.RETRIEVAL,
    "EMBEDDING": semconv.EMBEDDINGS,
    "WORKFLOW": semconv.INVOKE_WORKFLOW,
    "CHAT": semconv.CHAT,
    "COMPLETION": semconv.TEXT_COMPLETION,
    "LLM_REQUEST": semconv.CHAT,
}
_RENAMED: Final = {
    "llm.model_name": semconv.REQUEST_MODEL,
    "llm.request.model_name": semconv.REQUEST_MODEL,
    "llm.response.model_name": semconv.RESPONSE_MODEL,
    "llm.provider": semconv.PROVIDER,
    "gen_ai.system": semconv.PROVIDER,
    "llm.token_count.prompt": semconv.USAGE_INPUT,
    "llm.token_count.completion": semconv.USAGE_OUTPUT,
    "llm.token_count.prompt_details.cache_read": semconv.USAGE_CACHE_READ,
    "llm.token_count.prompt_details.cache_write": semconv.USAGE_CACHE_WRITE,
    _OLD_INPUT: semconv.USAGE_INPUT,
    "gen_ai.usage.completion_tokens": semconv.USAGE_OUTPUT,
    "gen_ai.usage.cache_read_input_tokens": semconv.USAGE_CACHE_READ,
    "gen_ai.usage.cache_creation_input_tokens": semconv.USAGE_CACHE_WRITE,
    "tool.name": semconv.TOOL_NAME,
    "tool_call.id": semconv.TOOL_CALL_ID,
    "agent.name": semconv.AGENT_NAME,
    "session.id": semconv.CONVERSATION_ID,
}
_FINISHED: Final = {
    "llm.finish_reason", "llm.response.finish_reason", "llm.response.stop_reason",
    "gen_ai.response.finish_reason", "gen_ai.response.stop_reason", "gen_ai.completion.0.finish_reason",
}  # fmt: skip
_REASONS: Final = {
    "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_call",
    "tool_calls": "tool_call", "function_call": "tool_call",
}  # fmt: skip
_MESSAGES: Final = (
    ("llm.input_messages.", semconv.INPUT_MESSAGES),
    ("llm.output_messages.", semconv.OUTPUT_MESSAGES),
    ("gen_ai.prompt.", semconv.INPUT_MESSAGES),
    ("gen_ai.completion.", semconv.OUTPUT_MESSAGES),
)
_TOOLS: Final = ("llm.tools.", "llm.request.functions.")
_MOST_MESSAGES: Final = 2_000
_ANSWER_REPR: Final = re.compile(
    r"content=(?P<quote>['\"])(?P<content>.*?)(?P=quote) (?:name|tool_call_id|id|\w+_kwargs)=", re.DOTALL
)

Attributes = Mapping[str, Any]


def normalised(attributes: Attributes) -> Attributes:
    """Return attributes under the names of the conventions; the same ones where they have them already.

    What stands there under a name of the conventions stays; messages and tools become the JSON of the conventions.
    """
    if not (
        _INFERENCE_KIND in attributes
        or _TRACELOOP_KIND in attributes
        or _REQUEST_TYPE in attributes
        or _OLD_INPUT in attributes
    ):
        return attributes
    out: dict[str, Any] = dict(attributes)
    for name, value in attributes.items():
        if name in _RENAMED:
            out.setdefault(_RENAMED[name], value)
        elif name in _FINISHED:
            out.setdefault(semconv.RESPONSE_FINISH_REASONS, (_REASONS.get(str(value), str(value)),))
    kind = attributes.get(_INFERENCE_KIND) or attributes.get(_TRACELOOP_KIND) or attributes.get(_REQUEST_TYPE)
    if operation := _OPERATIONS.get(str(kind).upper()):
        out.setdefault(semconv.OPERATION, operation)
    _add_names(out, attributes)
    operation = str(out.get(semconv.OPERATION))
    if operation == semconv.EXECUTE_TOOL:
        _add_tool_call(out, attributes)
    elif operation in semconv.MODEL_OPERATIONS:
        _add_messages(out, attributes)
    return out


def _add_names(out: dict[str, Any], attributes: Attributes) -> None:
    """Add the name that Traceloop's decorators give a tool, an agent or a workflow."""
    name = attributes.get("traceloop.entity.name")
    key = {
        semconv.EXECUTE_TOOL: semconv.TOOL_NAME,
        semconv.INVOKE_AGENT: semconv.AGENT_NAME,
        semconv.INVOKE_WORKFLOW: semconv.WORKFLOW_NAME,
    }.get(str(out.get(semconv.OPERATION)))
    if name is not None and key is not None:
        out.setdefault(key, name)


# -- tools -------------------------------------------------------------------------------------------------------------


def _add_tool_call(out: dict[str, Any], attributes: Attributes) -> None:
    given = attributes.get("input.value", attributes.get("traceloop.entity.input"))
    if given is not None:
        out.setdefault(semconv.TOOL_ARGUMENTS, _given(given))
    answer = attributes.get("output.value", attributes.get("traceloop.entity.output"))
    if answer is not None:
        out.setdefault(semconv.TOOL_RESULT, _answer(answer))


def _given(recorded: Any) -> Any:
    """Return a tool's arguments without what a decorator or a callback wraps around them."""
    value = _json(recorded)
    if isinstance(value, dict):
        if value.keys() >= {"args", "kwargs"}:
            value = value["kwargs"] or value["args"]
        elif isinstance(value.get("inputs"), dict):
            value = value["inputs"]
        elif "input_str" in value:
            value = _json(value["input_str"])
        elif value.get("type") == "tool_call" and isinstance(value.get("args"), dict):
            value = value["args"]
    return value if isinstance(value, str) else _text(value)


def _answer(recorded: Any) -> Any:
    """Return a tool's answer out of the message that LangChain makes of it, whose ids differ every time."""
    value = _json(recorded)
    while isinstance(value, dict) and value.keys() == {"output"}:
        value = _json(value["output"])
    if isinstance(value, dict) and "content" in value and value.keys() & {"tool_call_id", "status"}:
        content = value["content"]
        value = {"error": content} if value.get("status") == "error" else content
    if isinstance(value, str):
        found = _ANSWER_REPR.match(value)
        return found["content"] if found is not None else value
    return _text(value)


# -- messages ----------------------------------------------------------------------------------------------------------


def _add_messages(out: dict[str, Any], attributes: Attributes) -> None:
    for prefix, name in _MESSAGES:
        if name not in out and (items := _items(attributes, prefix)):
            out[name] = _text([_message(item) for item in items])
    for prefix in _TOOLS:
        if semconv.TOOL_DEFINITIONS not in out and (items := _items(attributes, prefix)):
            out[semconv.TOOL_DEFINITIONS] = _text([tool for item in items if (tool := _tool(item))])


def _items(attributes: Attributes, prefix: str) -> list[dict[str, Any]]:
    """Return what is flattened under `prefix`, as PREFIX.N.KEY, in the order of N."""
    found: dict[int, dict[str, Any]] = {}
    for name, value in attributes.items():
        if name.startswith(prefix):
            number, _, key = name[len(prefix) :].partition(".")
            if number.isdecimal() and key and len(found) < _MOST_MESSAGES:
                found.setdefault(int(number), {})[key.removeprefix("message.").removeprefix("tool.")] = value
    return [found[number] for number in sorted(found)]


def _message(item: Mapping[str, Any]) -> dict[str, Any]:
    role, text = str(item.get("role", "")), item.get("content")
    if role in {"tool", "function"} or "tool_call_id" in item:
        return {
            "role": "tool",
            "parts": [{"type": "tool_call_response", "id": item.get("tool_call_id"), "response": text}],
        }
    parts = [{"type": "text", "content": text}] if text else []
    parts += [{"type": "text", "content": said} for said in _said(item)]
    for flat in _items(item, "tool_calls."):
        call = {key.removeprefix("tool_call.").removeprefix("function."): value for key, value in flat.items()}
        arguments = call.get("arguments")
        parts.append(
            {"type": "tool_call", "id": call.get("id"), "name": call.get("name"), "arguments": _json(arguments)}
        )
    return {"role": role, "parts": parts}


def _said(item: Mapping[str, Any]) -> Iterator[str]:
    for content in _items(item, "contents."):
        if text := content.get("message_content.text"):
            yield str(text)


def _tool(item: Mapping[str, Any]) -> dict[str, Any] | None:
    value = _json(item["json_schema"]) if "json_schema" in item else dict(item)
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("parameters"), str):
        value["parameters"] = _json(value["parameters"])
    return value


def _text(value: Any) -> str:
    return json.dumps(value, default=str)


def _json(value: Any) -> Any:
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "[", '"'):
        return value if not isinstance(value, Sequence) or isinstance(value, str) else list(value)
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
