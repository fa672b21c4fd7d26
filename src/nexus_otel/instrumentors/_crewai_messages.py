"""Messages, tools and tool calls as CrewAI has them: in OpenAI's form, or as objects of a provider's SDK."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from nexus_otel.genai.operations import AskedCall, Message
from nexus_otel.genai.plain import item, listed


def messages(given: Any) -> list[Message]:
    """Return messages: a text, or dicts as OpenAI has them."""
    if isinstance(given, str):
        return [Message("user", _parts(given))]
    return [_message(one) for one in listed(given)]


def _message(given: Any) -> Message:
    role, content = str(item(given, "role")), item(given, "content")
    if role == "tool":
        answer = {"type": "tool_call_response", "id": item(given, "tool_call_id"), "response": content}
        return Message(role, [answer])
    asked = [asked_part(one) for one in asked_calls(item(given, "tool_calls") or ())]
    return Message(role, [*_parts(content), *asked])


def _parts(content: Any) -> list[dict[str, Any]]:
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "content": content}]
    return [_part(one) for one in listed(content)]


def _part(given: Any) -> dict[str, Any]:
    kind = item(given, "type")
    if kind in ("text", "input_text", "output_text"):
        return {"type": "text", "content": item(given, "text")}
    if kind == "image_url":
        return {"type": "uri", "modality": "image", "uri": item(item(given, "image_url"), "url")}
    return {**given, "type": str(kind)} if isinstance(given, Mapping) else {"type": "text", "content": str(given)}


def definitions(tools: Any) -> list[dict[str, Any]]:
    """Return the tools that are offered, as definitions of the conventions."""
    found = []
    for tool in listed(tools):
        said = item(tool, "function") or tool
        wanted = ("name", "description", "parameters")
        known = {name: value for name in wanted if (value := item(said, name)) is not None}
        found.append({"type": "function", **known})
    return found


def asked_calls(given: Iterable[Any]) -> list[AskedCall]:
    """Return the tool calls among objects of any provider's SDK, with the ids and names by which CrewAI answers."""
    return [found for one in given if (found := _asked(one)) is not None]


def _asked(given: Any) -> AskedCall | None:
    said = item(given, "function") or item(given, "function_call") or given
    name = item(said, "name")
    if name is None:
        return None
    ids = (item(given, word) for word in ("call_id", "id", "toolUseId"))
    arguments: Any = next((v for w in ("arguments", "args", "input") if (v := item(said, w)) is not None), {})
    if isinstance(arguments, str):
        arguments = _json_or_text(arguments)
    return AskedCall(next(filter(None, ids), f"call_{id(given)}"), str(name), arguments)


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def asked_part(asked: AskedCall) -> dict[str, Any]:
    """Return a tool call as a part of a message."""
    return {"type": "tool_call", "id": asked.id, "name": asked.name, "arguments": asked.arguments}
