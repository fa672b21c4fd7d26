"""How replies and failures look in OpenAI's Responses API, whole and streamed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .dialect import Frame, Ids, Json, pieces
from .openai_wire import CREATED, OpenAI, error_details, sse
from .steps import Failure, Reply, Usage

_INCOMPLETE = {"max_tokens": "max_output_tokens", "refusal": "content_filter"}


class Responses(OpenAI):
    """`POST /v1/responses`: output items in the order reasoning, message, raw items, function calls."""

    def reply(self, reply: Reply, body: Json, ids: Ids) -> Json:
        cut = _INCOMPLETE.get(reply.stop_reason or "")
        return {
            "id": ids("resp_"),
            "object": "response",
            "created_at": CREATED,
            "status": "incomplete" if cut else "completed",
            "error": None,
            "incomplete_details": {"reason": cut} if cut else None,
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "model": body["model"],
            "output": _output(reply, ids),
            "parallel_tool_calls": body.get("parallel_tool_calls", True),
            "previous_response_id": body.get("previous_response_id"),
            "reasoning": {"effort": None, "summary": None, **(body.get("reasoning") or {})},
            "service_tier": "default",
            "store": body.get("store", True),
            "temperature": body.get("temperature", 1.0),
            "text": body.get("text") or {"format": {"type": "text"}},
            "tool_choice": body.get("tool_choice", "auto"),
            "tools": body.get("tools", []),
            "top_p": body.get("top_p", 1.0),
            "truncation": "disabled",
            "usage": _usage(reply.usage),
            "metadata": body.get("metadata") or {},
            **({"conversation": _conversation(body["conversation"])} if body.get("conversation") else {}),
        }

    def stream(self, whole: Json, body: Json) -> Iterator[Frame]:
        for number, event in enumerate(_events(whole)):
            yield sse({**event, "sequence_number": number}, event["type"]), "usage" in event.get("response", ())

    def stream_error(self, failure: Failure) -> bytes:
        details = error_details(failure)
        event = {"type": "error", "code": details["code"], "message": details["message"], "param": None}
        return sse({**event, "sequence_number": 99}, "error")

    def garbage(self, streamed: bool) -> bytes:
        broken = b'{"type": "response.created", "respon'
        return b"event: response.created\ndata: " + broken + b"\n\n" if streamed else broken


def _conversation(given: Any) -> Json:
    return {"id": given} if isinstance(given, str) else {"id": given["id"]}


def _output(reply: Reply, ids: Ids) -> list[Json]:
    items: list[Json] = []
    if reply.thinking:
        summary = [{"type": "summary_text", "text": reply.thinking}]
        items.append({"id": ids("rs_"), "type": "reasoning", "summary": summary})
    parts: list[Json] = []
    if reply.text:
        parts.append({"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []})
    if reply.refusal:
        parts.append({"type": "refusal", "refusal": reply.refusal})
    if parts:
        base = {"id": ids("msg_"), "type": "message", "status": "completed", "role": "assistant"}
        items.append({**base, "content": parts})
    items += [dict(item) for item in reply.raw_blocks]
    for tool in reply.tools:
        call = {"call_id": tool.id or ids("call_"), "name": tool.name, "arguments": json.dumps(dict(tool.input))}
        items.append({"id": ids("fc_"), "type": "function_call", "status": "completed", **call})
    return items


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.whole_input,
        "input_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.thinking or 0},
        "total_tokens": usage.whole_input + usage.output,
    }


def _events(whole: Json) -> Iterator[Json]:
    opening = {name: value for name, value in whole.items() if name != "usage"}
    opening |= {"status": "in_progress", "output": [], "incomplete_details": None}
    yield {"type": "response.created", "response": opening}
    yield {"type": "response.in_progress", "response": opening}
    for index, item in enumerate(whole["output"]):
        empty, events = _item_parts(item)
        yield {"type": "response.output_item.added", "output_index": index, "item": empty}
        for event in events:
            yield {"item_id": item.get("id"), "output_index": index, **event}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": f"response.{whole['status']}", "response": whole}


def _item_parts(item: Json) -> tuple[Json, list[Json]]:
    """The item as it starts, and the events that fill it; other kinds come whole."""
    match item["type"]:
        case "message":
            events = [event for at, part in enumerate(item["content"]) for event in _content_events(at, part)]
            return {**item, "status": "in_progress", "content": []}, events
        case "reasoning":
            events = [event for at, part in enumerate(item["summary"]) for event in _summary_events(at, part)]
            return {**item, "summary": []}, events
        case "function_call":
            kind, arguments = "response.function_call_arguments", item["arguments"]
            events = [{"type": f"{kind}.delta", "delta": piece} for piece in pieces(arguments)]
            done = {"type": f"{kind}.done", "arguments": arguments, "name": item["name"]}
            return {**item, "status": "in_progress", "arguments": ""}, [*events, done]
        case _:
            return item, []


def _content_events(at: int, part: Json) -> Iterator[Json]:
    kind, field = ("output_text", "text") if part["type"] == "output_text" else ("refusal", "refusal")
    yield {"type": "response.content_part.added", "content_index": at, "part": {**part, field: ""}}
    more: Json = {"logprobs": []} if field == "text" else {}
    for piece in pieces(part[field]):
        yield {"type": f"response.{kind}.delta", "content_index": at, "delta": piece, **more}
    yield {"type": f"response.{kind}.done", "content_index": at, field: part[field], **more}
    yield {"type": "response.content_part.done", "content_index": at, "part": part}


def _summary_events(at: int, part: Json) -> Iterator[Json]:
    kind = "response.reasoning_summary"
    yield {"type": f"{kind}_part.added", "summary_index": at, "part": {**part, "text": ""}}
    for piece in pieces(part["text"]):
        yield {"type": f"{kind}_text.delta", "summary_index": at, "delta": piece}
    yield {"type": f"{kind}_text.done", "summary_index": at, "text": part["text"]}
    yield {"type": f"{kind}_part.done", "summary_index": at, "part": part}
