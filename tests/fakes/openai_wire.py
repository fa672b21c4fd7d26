"""How replies and failures look in OpenAI's APIs: chat completions, embeddings, completions, and the errors of all."""

from __future__ import annotations

import base64
import json
import struct
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from .dialect import Dialect, Frame, Ids, Json, missing, pieces
from .steps import OVERFLOW, PROMPT_TOO_LONG, Failure, Reply, Usage

CREATED = 1_790_000_000
FINGERPRINT = "fp_0001"
_FINISH = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "refusal": "content_filter"}
_ERRORS = {
    "authentication_error": ("invalid_request_error", "invalid_api_key"),
    "rate_limit_error": ("requests", "rate_limit_exceeded"),
    "api_error": ("server_error", None),
    "overloaded_error": ("service_unavailable_error", "server_is_overloaded"),
}


class OpenAI(Dialect):
    """What OpenAI's APIs have in common."""

    request_id_header = "x-request-id"
    required: tuple[str, ...] = ("model",)

    def refusal(self, path: str, body: Any) -> Failure | None:
        return missing(body, self.required, "Missing required parameter: '{}'.")

    def error(self, failure: Failure, request_id: str) -> Json:
        return {"error": error_details(failure)}

    def stream_error(self, failure: Failure) -> bytes:
        return sse({"error": error_details(failure)})

    def garbage(self, streamed: bool) -> bytes:
        broken = b'{"id": "chatcmpl-0001", "object": "chat.com'
        return b"data: " + broken + b"\n\n" if streamed else broken


class _Chunked(OpenAI):
    """An API whose stream is chunks of choices, with a last one of the usage if the request asks for it."""

    chunk_kind: str

    def stream(self, whole: Json, body: Json) -> Iterator[Frame]:
        with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        usage = whole["usage"]
        base = {name: value for name, value in whole.items() if name not in {"choices", "usage"}}
        base["object"] = self.chunk_kind
        for choices in self.deltas(whole["choices"]):
            yield sse({**base, "choices": choices, **({"usage": None} if with_usage else {})}), False
        if with_usage:
            yield sse({**base, "choices": [], "usage": usage}), True
        yield b"data: [DONE]\n\n", False

    @abstractmethod
    def deltas(self, choices: list[Json]) -> Iterator[list[Json]]:
        """The choices of each chunk."""


class Chat(_Chunked):
    """`POST /v1/chat/completions`."""

    required = ("model", "messages")
    chunk_kind = "chat.completion.chunk"

    def reply(self, reply: Reply, body: Json, ids: Ids) -> Json:
        message: Json = {"role": "assistant", "content": reply.text or None, "refusal": reply.refusal or None}
        if reply.thinking:
            message["reasoning_content"] = reply.thinking  # as DeepSeek and other compatible servers say it
        if reply.tools:
            message["tool_calls"] = [
                {"id": tool.id or ids("call_"), "type": "function", "function": _function(tool.name, tool.input)}
                for tool in reply.tools
            ]
        choice = {"message": message, "logprobs": None, "finish_reason": finish_reason(reply)}
        return {
            "id": ids("chatcmpl-"),
            "object": "chat.completion",
            "created": CREATED,
            "model": body["model"],
            "choices": [{"index": index, **choice} for index in range(body.get("n") or 1)],
            "usage": chat_usage(reply.usage),
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
        }

    def deltas(self, choices: list[Json]) -> Iterator[list[Json]]:
        for choice in choices:
            for delta in _chat_deltas(choice["message"]):
                yield [{"index": choice["index"], "delta": delta, "logprobs": None, "finish_reason": None}]
        for choice in choices:
            ending = {"delta": {}, "logprobs": None, "finish_reason": choice["finish_reason"]}
            yield [{"index": choice["index"], **ending}]


class Completions(_Chunked):
    """`POST /v1/completions`, which only old and self-hosted models have."""

    required = ("model", "prompt")
    chunk_kind = "text_completion"

    def reply(self, reply: Reply, body: Json, ids: Ids) -> Json:
        choice = {"text": reply.text, "logprobs": None, "finish_reason": finish_reason(reply)}
        return {
            "id": ids("cmpl-"),
            "object": "text_completion",
            "created": CREATED,
            "model": body["model"],
            "choices": [{"index": index, **choice} for index in range(body.get("n") or 1)],
            "usage": chat_usage(reply.usage),
            "system_fingerprint": FINGERPRINT,
        }

    def deltas(self, choices: list[Json]) -> Iterator[list[Json]]:
        for choice in choices:
            for piece in pieces(choice["text"]):
                yield [{**choice, "text": piece, "finish_reason": None}]
            yield [{**choice, "text": ""}]


class Embeddings(OpenAI):
    """`POST /v1/embeddings`: vectors of 8 numbers, or of as many as `dimensions` asks for."""

    required = ("model", "input")

    def reply(self, reply: Reply, body: Json, ids: Ids) -> Json:
        given = body["input"]
        texts = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
        vector = [at / 8 for at in range(body.get("dimensions") or 8)]
        tokens = reply.usage.whole_input
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "index": at, "embedding": _encoded(vector, body)} for at in range(len(texts))
            ],
            "model": body["model"],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    def stream(self, whole: Json, body: Json) -> Iterator[Frame]:
        raise AssertionError("embeddings are not streamed")


def error_details(failure: Failure) -> Json:
    """A failure in OpenAI's words; those that the fakes share are translated."""
    if failure == PROMPT_TOO_LONG:
        failure = OVERFLOW
    kind, code = _ERRORS.get(failure.type, (failure.type, None))
    return {"message": failure.message, "type": kind, "param": None, "code": failure.code or code}


def finish_reason(reply: Reply) -> str:
    """The finish reason of a chat completion; one that is not Anthropic's stays as it is."""
    if reply.stop_reason is None or reply.stop_reason == "tool_use":
        return "tool_calls" if reply.tools else "stop"
    return _FINISH.get(reply.stop_reason, reply.stop_reason)


def chat_usage(usage: Usage) -> Json:
    """Usage as chat completions count it: the prompt includes the cache, the completion the reasoning."""
    return {
        "prompt_tokens": usage.whole_input,
        "completion_tokens": usage.output,
        "total_tokens": usage.whole_input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write},
        "completion_tokens_details": {"reasoning_tokens": usage.thinking or 0},
    }


def sse(data: Json, event: str | None = None) -> bytes:
    """One object as a server-sent event."""
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


def _function(name: str, given: Any) -> Json:
    return {"name": name, "arguments": json.dumps(dict(given))}


def _chat_deltas(message: Json) -> Iterator[Json]:
    yield {"role": "assistant", "content": "" if message["content"] else None}
    for name in ("reasoning_content", "content", "refusal"):
        for piece in pieces(message.get(name) or ""):
            yield {name: piece}
    for index, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        yield {"tool_calls": [{"index": index, **call, "function": {**function, "arguments": ""}}]}
        for piece in pieces(function["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _encoded(vector: list[float], body: Json) -> list[float] | str:
    if body.get("encoding_format") != "base64":
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
