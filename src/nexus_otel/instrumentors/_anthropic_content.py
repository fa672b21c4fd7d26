"""Anthropic's content blocks as message parts of the conventions."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final

from nexus_otel.genai.plain import item, listed, to_plain

Part = dict[str, Any]


def parts(content: Any) -> list[Part]:
    """Return the parts of a message's content: a text, or blocks as dicts or objects."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "content": content}]
    found: list[Part] = []
    for block in listed(content):
        kind = item(block, "type")
        if kind == "text":
            found.append({"type": "text", "content": item(block, "text")})
        elif kind in ("image", "document"):
            found += _media(block, kind)
        else:
            found.append(_part(block, str(kind)))
    return found


def answer(content: Any) -> Any:
    """Return a tool's answer: a lone text as that text, blocks as parts, anything else as it is."""
    if not isinstance(content, list | tuple):
        return content
    found = parts(content)
    if len(found) == 1 and found[0].get("type") == "text":
        return found[0]["content"]
    return found


def _part(block: Any, kind: str) -> Part:
    if isinstance(block, str):
        return {"type": "text", "content": block}
    if kind.endswith("_tool_result") and kind != "tool_result":
        return _server_result(block, kind)
    reader = _READERS.get(kind)
    return reader(block) if reader is not None else _other(block, kind)


def _tool_result(block: Any) -> Part:
    part = {
        "type": "tool_call_response",
        "id": item(block, "tool_use_id"),
        "response": answer(item(block, "content")),
    }
    if item(block, "is_error"):
        part["is_error"] = True
    return part


def _media(block: Any, kind: str) -> list[Part]:
    """Return the parts of an image or a document; none for a file, which is the library's to read."""
    source = item(block, "source")
    data, mime = item(source, "data"), item(source, "media_type")
    match item(source, "type"):
        case "content":
            return parts(item(source, "content"))
        case "base64" if not isinstance(data, str):
            return []
        case "base64":
            return [{"type": "blob", "modality": kind, "mime_type": mime, "content": data}]
        case "text":
            encoded = base64.b64encode(str(data).encode()).decode()
            return [{"type": "blob", "modality": kind, "mime_type": mime or "text/plain", "content": encoded}]
        case "url":
            return [{"type": "uri", "modality": kind, "uri": item(source, "url")}]
        case "file":
            return [{"type": "file", "modality": kind, "file_id": item(source, "file_id")}]
    return [_other(block, kind)]


def _server_call(block: Any) -> Part:
    name = item(block, "name")
    return {
        "type": "server_tool_call", "id": item(block, "id"), "name": name,
        "server_tool_call": {"type": name, "input": to_plain(item(block, "input"))},
    }  # fmt: skip


def _server_result(block: Any, kind: str) -> Part:
    response = {"type": kind.removesuffix("_tool_result"), "content": to_plain(item(block, "content"))}
    return {
        "type": "server_tool_call_response",
        "id": item(block, "tool_use_id"),
        "server_tool_call_response": response,
    }


def _other(block: Any, kind: str) -> Part:
    plain = to_plain(block)
    return {**plain, "type": kind} if isinstance(plain, Mapping) else {"type": kind}


_READERS: Final[Mapping[str, Callable[[Any], Part]]] = {
    "thinking": lambda block: {"type": "reasoning", "content": item(block, "thinking")},
    "redacted_thinking": lambda _block: {"type": "reasoning", "content": ""},
    "tool_use": lambda block: {
        "type": "tool_call", "id": item(block, "id"), "name": item(block, "name"), "arguments": item(block, "input"),
    },
    "tool_result": _tool_result,
    "server_tool_use": _server_call,
}  # fmt: skip
