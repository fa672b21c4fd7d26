"""How replies and failures look in the Anthropic Messages protocol, whole and streamed."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from .dialect import Dialect, Frame, Ids, Json, missing, pieces
from .steps import Failure, Reply, Usage

MESSAGES = "/v1/messages"
COUNT = "/v1/messages/count_tokens"


class Anthropic(Dialect):
    """The Messages API."""

    request_id_header = "request-id"

    def refusal(self, path: str, body: Any) -> Failure | None:
        if urlsplit(path).path not in {MESSAGES, COUNT}:
            return Failure(404, "not_found_error", f"Not found: {path}")
        required = ("model", "messages") if self._counts(path) else ("model", "max_tokens", "messages")
        return missing(body, required, "{}: Field required")

    def unscripted(self, path: str, raw: bytes) -> Json | None:
        return {"input_tokens": len(raw) // 4} if self._counts(path) else None

    def reply(self, reply: Reply, body: Json, ids: Ids) -> Json:
        blocks = content(reply, lambda: ids("toolu_"))
        return message(reply, ids("msg_"), body["model"], blocks)

    def error(self, failure: Failure, request_id: str) -> Json:
        return error(failure, request_id)

    def stream(self, whole: Json, body: Json) -> Iterator[Frame]:
        for event in events(whole):
            yield sse(event), event["type"] == "message_delta"

    def stream_error(self, failure: Failure) -> bytes:
        return sse(error(failure, "req_cut"))

    def garbage(self, streamed: bool) -> bytes:
        if streamed:
            return b'event: message_start\ndata: {"type": "message_st\n\n'
        return b'{"id": "msg_0001", "type": "mess'

    def _counts(self, path: str) -> bool:
        return urlsplit(path).path == COUNT


def content(reply: Reply, tool_id: Callable[[], str]) -> list[Json]:
    """The content blocks of a reply.

    Args:
        reply: What the model says.
        tool_id: Gives an id for each tool use that has none.
    """
    blocks: list[Json] = []
    if reply.thinking:
        signature = base64.b64encode(hashlib.sha256(reply.thinking.encode()).digest()).decode()
        blocks.append({"type": "thinking", "thinking": reply.thinking, "signature": signature})
    if reply.text:
        blocks.append({"type": "text", "text": reply.text})
    blocks += [dict(block) for block in reply.raw_blocks]
    for tool in reply.tools:
        use = {"id": tool.id or tool_id(), "name": tool.name, "input": dict(tool.input)}
        blocks.append({"type": "tool_use", **use})
    return blocks


def message(reply: Reply, message_id: str, model: str, blocks: list[Json]) -> Json:
    """The whole message, as an answer that is not streamed gives it."""
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": blocks,
        "stop_reason": reply.stop_reason or ("tool_use" if reply.tools else "end_turn"),
        "stop_sequence": None,
        "usage": {**_input_usage(reply.usage), **_output_usage(reply.usage), "service_tier": "standard"},
    }


def error(failure: Failure, request_id: str) -> Json:
    """The body of an error answer."""
    details = {"type": failure.type, "message": failure.message}
    return {"type": "error", "error": details, "request_id": request_id}


def events(whole: Json) -> Iterator[Json]:
    """The events that stream a message; the usage of the last but one is cumulative."""
    usage = whole["usage"]
    opening = {**usage, "output_tokens": min(1, usage["output_tokens"])}
    opening.pop("output_tokens_details", None)
    start = {**whole, "content": [], "stop_reason": None, "usage": opening}
    yield {"type": "message_start", "message": start}
    yield {"type": "ping"}
    for index, block in enumerate(whole["content"]):
        empty, deltas = _block_parts(block)
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ending = {"stop_reason": whole["stop_reason"], "stop_sequence": whole["stop_sequence"]}
    closing = {name: count for name, count in usage.items() if name != "service_tier"}
    yield {"type": "message_delta", "delta": ending, "usage": closing}
    yield {"type": "message_stop"}


def sse(event: Json) -> bytes:
    """One event as the lines of a server-sent event."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _input_usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
    }


def _output_usage(usage: Usage) -> Json:
    counts: Json = {"output_tokens": usage.output}
    if usage.thinking is not None:
        counts["output_tokens_details"] = {"thinking_tokens": usage.thinking}
    return counts


def _block_parts(block: Json) -> tuple[Json, list[Json]]:
    """The block as it starts, and the deltas that fill it; other kinds come whole."""
    match block:
        case {"type": "text", "text": str(text)}:
            return {**block, "text": ""}, [{"type": "text_delta", "text": p} for p in pieces(text)]
        case {"type": "thinking", "thinking": str(thought), "signature": str(signature)}:
            deltas = [{"type": "thinking_delta", "thinking": p} for p in pieces(thought)]
            deltas.append({"type": "signature_delta", "signature": signature})
            return {**block, "thinking": "", "signature": ""}, deltas
        case {"type": "tool_use" | "server_tool_use", "input": dict(given)}:
            parts = ("", *pieces(json.dumps(given)))
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
            return {**block, "input": {}}, deltas
        case _:
            return block, []
