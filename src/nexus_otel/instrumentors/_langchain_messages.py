"""LangChain's messages in the form of the conventions: blocks of its own and of providers, tool calls, answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from nexus_otel.genai.operations import AskedCall, Message
from nexus_otel.genai.plain import item, listed, to_plain
from nexus_otel.instrumentors import _anthropic_content as anthropic

Part = dict[str, Any]

_ROLES: Final = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "HumanMessageChunk": "user",
                 "SystemMessageChunk": "system", "ToolMessageChunk": "tool", "function": "tool"}  # fmt: skip
_CALLS: Final = frozenset({"tool_use", "input_json_delta", "tool_call", "tool_call_chunk", "function_call"})
"""Blocks that say again what a message's `tool_calls` say."""
_TEXTS: Final = frozenset({"text", "output_text", "input_text"})
_MEDIA: Final = frozenset({"image", "audio", "video", "file", "text-plain", "document"})


def split(messages: Iterable[Any]) -> tuple[list[Any], list[Message]]:
    """Return the instructions that a list of messages begins with, and the messages after them."""
    system: list[Any] = []
    history: list[Message] = []
    for message in messages:
        read = as_message(message)
        if not history and read.role == "system":
            system += read.parts
        else:
            history.append(read)
    return system, history


def as_message(message: Any) -> Message:
    """Return one message, in any of the forms that LangChain takes one in."""
    if isinstance(message, tuple | list) and len(message) == 2:  # noqa: PLR2004 - role and content
        message = {"role": message[0], "content": message[1]}
    if isinstance(message, str):
        message = {"role": "user", "content": message}
    kind = str(item(message, "type") or item(message, "role"))
    if kind.startswith(("tool", "Tool")):
        return Message("tool", [_answer(message)])
    role = str(item(message, "role") or kind) if kind == "chat" else _ROLES.get(kind, kind)
    found = parts(item(message, "content"))
    found += [_call(asked) for asked in asked_calls(message)]
    return Message(role, found)


def _answer(message: Any) -> Part:
    part: Part = {
        "type": "tool_call_response",
        "id": item(message, "tool_call_id"),
        "response": answer(item(message, "content")),
    }
    if item(message, "status") == "error":
        part["is_error"] = True
    return part


def _call(asked: AskedCall) -> Part:
    return {"type": "tool_call", "id": asked.id, "name": asked.name, "arguments": asked.arguments}


def asked_calls(message: Any) -> list[AskedCall]:
    """Return the tool calls of a message, those whose arguments are no JSON too."""
    calls = [*listed(item(message, "tool_calls")), *listed(item(message, "invalid_tool_calls"))]
    return [AskedCall(item(call, "id"), str(item(call, "name") or ""), item(call, "args")) for call in calls]


def answer(content: Any) -> Any:
    """Return a tool's answer: a lone text as that text, blocks as parts, anything else as it is."""
    if not isinstance(content, list):
        return content
    found = parts(content)
    return found[0]["content"] if len(found) == 1 and found[0].get("type") == "text" else found


def parts(content: Any) -> list[Part]:
    """Return the parts of a message's content: a text, or blocks in LangChain's form or a provider's."""
    if isinstance(content, str):
        return [{"type": "text", "content": content}] if content else []
    found: list[Part] = []
    for block in listed(content):
        if isinstance(block, str):
            found.append({"type": "text", "content": block})
        elif isinstance(block, Mapping) and block.get("type") not in _CALLS:
            found += _parts(block, str(block.get("type")))
    return found


def _parts(block: Mapping[str, Any], kind: str) -> list[Part]:
    if kind in _TEXTS:
        return [{"type": "text", "content": block.get("text", "")}]
    if kind == "reasoning":
        return [{"type": "reasoning", "content": _reasoning(block)}]
    if kind == "image_url":
        url = block.get("image_url")
        return [_media({"url": url.get("url") if isinstance(url, Mapping) else url}, "image")]
    if kind in _MEDIA and "source" not in block:
        return [_media(block, "document" if kind in {"file", "text-plain"} else kind)]
    return anthropic.parts([block])


def _reasoning(block: Mapping[str, Any]) -> str:
    """Return the text of a reasoning block: LangChain's own form, or summaries as OpenAI gives them."""
    if isinstance(told := block.get("reasoning"), str):
        return told
    said = block.get("summary") or block.get("content")
    return "".join(str(item(one, "text") or "") for one in said) if isinstance(said, list) else str(said or "")


def _media(block: Mapping[str, Any], modality: str) -> Part:
    """Return a block of media: by address, by the provider's id, or the data itself."""
    mime = block.get("mime_type")
    if isinstance(url := block.get("url"), str):
        head, _, data = url.partition(";base64,")
        if data and head.startswith("data:"):
            return _blob(modality, head.removeprefix("data:"), data)
        return {"type": "uri", "modality": modality, "uri": url} | ({"mime_type": mime} if mime else {})
    if isinstance(data := block.get("base64", block.get("data")), str):
        return _blob(modality, mime, data)
    if (file_id := block.get("file_id", block.get("id"))) is not None:
        return {"type": "file", "modality": modality, "file_id": file_id}
    plain = to_plain(block)
    return {**plain, "type": modality} if isinstance(plain, Mapping) else {"type": modality}


def _blob(modality: str, mime: Any, data: str) -> Part:
    return {"type": "blob", "modality": modality, "mime_type": mime or "application/octet-stream", "content": data}


def definition(tool: Any) -> Part:
    """Return a tool as it is offered to a model, out of the form of whichever provider it was given in."""
    told = item(tool, "function") or item(tool, "toolSpec") or tool
    schema = item(told, "parameters") or item(told, "input_schema") or item(item(told, "inputSchema"), "json")
    kind = item(tool, "type")
    found = {
        "type": "function" if schema is not None or kind in {None, "custom"} else kind,
        "name": item(told, "name") or kind,
        "description": item(told, "description"),
        "parameters": schema,
    }
    return {name: value for name, value in found.items() if value is not None}


def definitions(tools: Sequence[Any]) -> list[Part]:
    """Return the tools offered; Google's client takes them in groups."""
    found: list[Part] = []
    for tool in tools:
        group = item(tool, "function_declarations") or item(tool, "functionDeclarations")
        found += [definition(each) for each in (listed(group) if group is not None else (tool,))]
    return found
