"""LlamaIndex's messages and content blocks as message parts of the conventions, tools as definitions."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from nexus_otel.genai.operations import AskedCall, Message
from nexus_otel.genai.plain import item, listed, to_json, to_plain

Part = dict[str, Any]


def message(told: Any) -> Message:
    """Read a `ChatMessage`; one of role tool is the answer to a call (`additional_kwargs["tool_call_id"]`)."""
    role = _word(item(told, "role"))
    if role in ("tool", "function"):
        answer = {"type": "tool_call_response", "id": _more(told, "tool_call_id"), "response": text(told)}
        return Message("tool", [answer])
    return Message(role, parts(told))


def parts(told: Any) -> list[Part]:
    """Return the parts of a message; up to 0.13 tool calls are beside its blocks, in the provider's form."""
    blocks = [part for block in item(told, "blocks") or () for part in _block(block)]
    if not any(part["type"] == "tool_call" for part in blocks):
        blocks += [_asked(call) for call in listed(_more(told, "tool_calls"))]
    return blocks


def text(told: Any) -> str:
    """Return the text of a message or of a tool's output, as the framework joins it."""
    return str(item(told, "content") or "")


def calls(output: Sequence[Part]) -> tuple[AskedCall, ...]:
    """Return the tool calls among the parts of an answer."""
    asked = (part for part in output if part["type"] == "tool_call")
    return tuple(AskedCall(part["id"], str(part["name"]), part["arguments"]) for part in asked)


def said(value: Any) -> list[Message]:
    """Return what a workflow was given or gave back as a message: a text, or JSON."""
    if value is None:
        return []
    content = value if isinstance(value, str) else to_json(to_plain(value))
    return [Message("user", [{"type": "text", "content": content}])]


def definition(tool: Any) -> dict[str, Any]:
    """Read one tool that is offered, in the form of any provider."""
    inner = item(tool, "function") or item(tool, "toolSpec") or tool
    schema = next((item(inner, name) for name in _SCHEMAS if item(inner, name) is not None), None)
    found = {
        "type": "function",
        "name": item(inner, "name"),
        "description": item(inner, "description"),
        "parameters": item(schema, "json") if item(tool, "toolSpec") is not None else schema,
    }
    return {name: value for name, value in found.items() if value is not None}


def json_or_text(told: Any) -> Any:
    """Return the object that a text is the JSON of, else what was told: a model's arguments may be malformed."""
    try:
        return json.loads(told) if isinstance(told, str) else told
    except ValueError:
        return told


_SCHEMAS: Final = ("parameters", "input_schema", "inputSchema", "parameters_json_schema")


def _word(role: Any) -> str:
    return str(getattr(role, "value", role))


def _more(told: Any, name: str) -> Any:
    return item(item(told, "additional_kwargs"), name)


def _asked(call: Any) -> Part:
    function = item(call, "function") or call
    given = item(function, "arguments")
    return {
        "type": "tool_call",
        "id": item(call, "call_id") or item(call, "id"),
        "name": item(function, "name"),
        "arguments": json_or_text(item(function, "input") if given is None else given),
    }


def _block(block: Any) -> list[Part]:
    kind = str(item(block, "block_type"))
    if kind == "text":
        content = item(block, "text")
        return [{"type": "text", "content": content}] if content else []
    if kind == "thinking":
        return [{"type": "reasoning", "content": item(block, "content") or ""}]
    if kind == "tool_call":
        arguments = json_or_text(item(block, "tool_kwargs"))
        return [{"type": "tool_call", "id": item(block, "tool_call_id"), "name": item(block, "tool_name"),
                 "arguments": arguments}]  # fmt: skip
    if kind in _MEDIA:
        return _media(block, kind)
    return [] if kind in ("cache", "cache_point") else [{"type": kind}]


_MEDIA: Final[Mapping[str, str]] = {"image": "image", "audio": "audio", "video": "video", "document": "data"}
"""Kinds of blocks, and the field that holds the bytes: as base64, but for a document's."""


def _media(block: Any, kind: str) -> list[Part]:
    """Return the part of an image and the like; none for a file or a stream, which is the library's to read."""
    mime, data, url = item(block, f"{kind}_mimetype"), item(block, _MEDIA[kind]), item(block, "url")
    if isinstance(data, bytes):
        content = data.decode("ascii", "replace") if _is_base64(data) else base64.b64encode(data).decode()
        return [{"type": "blob", "modality": kind, "mime_type": mime, "content": content}]
    return [{"type": "uri", "modality": kind, "uri": str(url)}] if url is not None else []


def _is_base64(data: bytes) -> bool:
    """Whether bytes are base64 already, as LlamaIndex keeps those of its blocks."""
    return data[:64].isascii() and len(data) % 4 == 0 and data[:64].replace(b"+", b"").replace(b"/", b"").isalnum()
