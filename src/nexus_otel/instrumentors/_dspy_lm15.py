"""Requests of DSPy's own client (`dspy.lm15.Request`, from 3.4), with which a model may be called in place of texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from nexus_otel.genai.operations import Conversation, Message, Part
from nexus_otel.genai.plain import item, listed, to_plain
from nexus_otel.instrumentors._openai_requests import request_attributes

_PARAMETERS: Final = ("max_tokens", "temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty")


def request_parameters(request: Any) -> dict[str, Any]:
    """Return the parameters of a request, as attribute name and value."""
    config = item(request, "config")
    given = {name: value for name in _PARAMETERS if (value := item(config, name)) is not None}
    given["stop"] = item(config, "stop") or None
    given["response_format"] = {"type": "json_schema"} if item(config, "response_format") else None
    given["reasoning_effort"] = item(item(config, "reasoning"), "effort")
    return request_attributes({name: value for name, value in given.items() if value is not None})


def request_conversation(request: Any) -> Conversation:
    """Read what the model is given."""
    system = item(request, "system")
    choice = item(item(request, "config"), "tool_choice")
    names = ("type", "name", "description", "parameters")
    tools = [{name: value for name in names if (value := item(tool, name)) is not None} for tool in request.tools]
    return Conversation(
        messages=[Message(str(message.role), _parts(message.parts)) for message in request.messages],
        system=[{"type": "text", "content": system}] if isinstance(system, str) else _parts(listed(system)),
        tools=tools,
        opens_run=not (item(choice, "mode") == "required" and len(item(choice, "allowed") or tools) == 1),
    )


def _parts(parts: Any) -> list[Part]:
    return [_READERS.get(str(item(part, "type")), _other)(part) for part in parts]


def _result(part: Any) -> Part:
    told = _parts(listed(item(part, "content")))
    lone = len(told) == 1 and told[0]["type"] == "text"
    answer = {"type": "tool_call_response", "id": item(part, "id"), "response": told[0]["content"] if lone else told}
    return {**answer, "is_error": True} if item(part, "is_error") else answer


def _other(part: Any) -> Part:
    plain = to_plain(part)
    kind = str(item(part, "type"))
    return {**plain, "type": kind} if isinstance(plain, Mapping) else {"type": kind}


_READERS: Final[Mapping[str, Callable[[Any], Part]]] = {
    "text": lambda part: {"type": "text", "content": item(part, "text")},
    "refusal": lambda part: {"type": "text", "content": item(part, "text")},
    "thinking": lambda part: {"type": "reasoning", "content": item(part, "text")},
    "tool_call": lambda part: {
        "type": "tool_call", "id": item(part, "id"), "name": item(part, "name"), "arguments": item(part, "input"),
    },
    "tool_result": _result,
}  # fmt: skip
