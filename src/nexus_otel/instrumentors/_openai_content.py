"""OpenAI's content as message parts of the conventions: of chat messages, and of the items of the Responses API."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from nexus_otel.genai.operations import Message, Part
from nexus_otel.genai.plain import item, json_or_text, listed, to_plain

_TEXTS: Final = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""Kinds of content that are text, and the field that holds it."""
_AUDIO: Final = {"wav": "audio/wav", "mp3": "audio/mpeg"}
_DATA_URL: Final = re.compile(r"data:([^;,]*)[^,]*;base64,", re.ASCII)


def parts(content: Any) -> list[Part]:
    """Return the parts of a message's content: a text, or pieces as dicts or objects; none of an empty text."""
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [{"type": "text", "content": content}]
    return [_part(piece) for piece in listed(content)]


def _part(piece: Any) -> Part:
    if isinstance(piece, str):
        return {"type": "text", "content": piece}
    kind = str(item(piece, "type"))
    if (field := _TEXTS.get(kind)) is not None:
        return {"type": "text", "content": item(piece, field)}
    reader = _MEDIA.get(kind)
    return (reader(piece) if reader is not None else None) or _other(piece, kind)


def _image(piece: Any) -> Part | None:
    given = item(piece, "image_url")
    return _file(item(piece, "file_id"), given if isinstance(given, str) else item(given, "url"), None, "image")


def _audio(piece: Any) -> Part | None:
    sound = item(piece, "input_audio")
    return _file(None, item(sound, "data"), _AUDIO.get(str(item(sound, "format"))), "audio")


def _document(piece: Any) -> Part | None:
    given = item(piece, "file")
    given = piece if given is None else given
    mime, _ = mimetypes.guess_type(str(item(given, "filename")))
    data = item(given, "file_data")
    return _file(item(given, "file_id"), item(given, "file_url") if data is None else data, mime, "document")


def _file(file_id: Any, data: Any, mime: str | None, modality: str) -> Part | None:
    """Return the part of a file that the provider has, of an address, or of base64 data; None where it is nothing."""
    found: dict[str, Any] = {"modality": modality}
    if isinstance(file_id, str):
        found |= {"type": "file", "file_id": file_id}
    elif not isinstance(data, str):
        return None
    elif (url := _DATA_URL.match(data)) is not None:
        found |= {"type": "blob", "content": data[url.end() :]}
        mime = url.group(1) or mime
    elif "://" in data[:16]:
        found |= {"type": "uri", "uri": data}
    else:
        found |= {"type": "blob", "content": data}
    return {**found, "mime_type": mime} if mime is not None else found


_MEDIA: Final[Mapping[str, Callable[[Any], Part | None]]] = {
    "image_url": _image, "input_image": _image, "input_audio": _audio, "file": _document, "input_file": _document,
}  # fmt: skip


def _other(value: Any, kind: str) -> Part:
    plain = to_plain(value)
    return {**plain, "type": kind} if isinstance(plain, Mapping) else {"type": kind}


def answer(content: Any) -> Any:
    """Return a tool's answer: a lone text as that text, pieces as parts, anything else as it is."""
    if not isinstance(content, list | tuple):
        return content
    found = parts(content)
    if len(found) == 1 and found[0].get("type") == "text":
        return found[0]["content"]
    return found


# -- chat messages -----------------------------------------------------------------------------------------------------


def chat_message(given: Any) -> Message:
    """Read one message of a chat, given or answered."""
    role = str(item(given, "role"))
    if role in ("tool", "function"):
        response = {"type": "tool_call_response", "id": item(given, "tool_call_id")}
        return Message("tool", [{**response, "response": answer(item(given, "content"))}])
    found = parts(item(given, "content"))
    if role == "assistant":
        if text := reasoning_of(given):
            found.insert(0, _reasoning(text))
        if refusal := item(given, "refusal"):
            found.append({"type": "text", "content": refusal})
        found += [_chat_call(call) for call in listed(item(given, "tool_calls"))]
        if (call := item(given, "function_call")) is not None:
            found.append(_tool_call(None, item(call, "name"), item(call, "arguments")))
    return Message(role, found, item(given, "name"))


def reasoning_of(given: Any) -> Any:
    """Return the thoughts in a message or a delta: not OpenAI's, but of servers that speak like it (DeepSeek, vLLM)."""
    return item(given, "reasoning_content") or item(given, "reasoning")


def _chat_call(call: Any) -> Part:
    body = item(call, "custom") if item(call, "type") == "custom" else item(call, "function")
    given = item(body, "arguments")
    return _tool_call(item(call, "id"), item(body, "name"), item(body, "input") if given is None else given)


def _tool_call(call_id: Any, name: Any, arguments: Any) -> Part:
    given = json_or_text(arguments) if isinstance(arguments, str) and arguments else arguments
    return {"type": "tool_call", "id": call_id, "name": name, "arguments": given}


def _reasoning(text: Any) -> Part:
    return {"type": "reasoning", "content": text}


# -- items of the Responses API ----------------------------------------------------------------------------------------


def history(given: Any) -> list[Message]:
    """Read the input of a response: a text, or items; what the model said in one turn is one message."""
    if isinstance(given, str):
        return [Message("user", parts(given))]
    found: list[Message] = []
    for each in listed(given):
        message = item_message(each)
        if message.role == "assistant" and found and found[-1].role == "assistant":
            found[-1] = Message("assistant", [*found[-1].parts, *message.parts])
        else:
            found.append(message)
    return found


def item_message(given: Any) -> Message:
    """Read one item of a response's input or output."""
    kind = str(item(given, "type") or "message")
    if kind == "message":
        return Message(str(item(given, "role")), parts(item(given, "content")))
    if kind.endswith("_call_output"):
        response = answer(item(given, "output"))
        return Message("tool", [{"type": "tool_call_response", "id": item(given, "call_id"), "response": response}])
    if kind == "reasoning":
        texts = [item(text, "text") for text in listed(item(given, "summary")) or listed(item(given, "content"))]
        return Message("assistant", [_reasoning(text) for text in texts] or [_reasoning("")])
    return Message("assistant", [_call(given, kind) if kind.endswith("_call") else _other(given, kind)])


def _call(given: Any, kind: str) -> Part:
    """Read a call: the application's to make where it has a `call_id`, else one that the provider made."""
    name = item(given, "name") or kind.removesuffix("_call")
    if (call_id := item(given, "call_id")) is not None:
        fields = ("arguments", "input", "action", "operation")
        values = (value for field in fields if (value := item(given, field)) is not None)
        return _tool_call(call_id, name, next(values, None))
    if kind == "image_generation_call" and isinstance(picture := item(given, "result"), str):
        return {"type": "blob", "modality": "image", "content": picture}
    made = {**_other(given, kind), "type": name}
    return {"type": "server_tool_call", "id": item(given, "id"), "name": name, "server_tool_call": made}


def definition(tool: Any) -> dict[str, Any]:
    """Read one tool that is offered: flat or, in a chat, nested; one that the provider runs is named by its kind."""
    kind = str(item(tool, "type") or "function")
    inner = item(tool, kind) if kind in ("function", "custom") else None
    body = tool if inner is None else inner
    found = {
        "type": kind,
        "name": item(body, "name") or item(body, "server_label") or kind,
        "description": item(body, "description"),
        "parameters": item(body, "parameters"),
    }
    return {name: value for name, value in found.items() if value is not None}
