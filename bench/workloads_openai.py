"""The same work on OpenAI's SDK: chat completions over an in-process transport, and the spans a hand would write."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import openai
from encoded import provider
from opentelemetry import trace
from workloads import CHUNKS

__all__ = ["CHUNKS", "by_hand", "client", "one_call", "one_stream", "provider", "request", "streamed_by_hand"]

MODEL = "gpt-bench"
TOOL = {
    "type": "function",
    "function": {
        "name": "lookup",
        "description": "Looks a word up.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}
USAGE = {
    "prompt_tokens": 996, "completion_tokens": 20, "total_tokens": 1016,
    "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 32},
}  # fmt: skip
_HEAD = {"id": "chatcmpl-bench", "created": 1, "model": MODEL, "service_tier": "default"}
ANSWER = {
    **_HEAD, "object": "chat.completion", "usage": USAGE,
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "The answer is 42."}}
    ],
}  # fmt: skip


def _events() -> bytes:
    def chunk(choices: list[Any], usage: Any = None) -> dict[str, Any]:
        return {**_HEAD, "object": "chat.completion.chunk", "choices": choices, "usage": usage}

    word = {"index": 0, "delta": {"content": "word "}, "finish_reason": None}
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    chunks = [*[chunk([word])] * CHUNKS, chunk([end]), chunk([], USAGE)]
    return "".join(f"data: {json.dumps(each)}\n\n" for each in chunks).encode() + b"data: [DONE]\n\n"


def client() -> openai.OpenAI:
    """Return a client whose provider is a function in this process."""
    answer, events = json.dumps(ANSWER).encode(), _events()

    def respond(request: httpx2.Request) -> httpx2.Response:
        streamed = b'"stream":true' in request.content.replace(b" ", b"")
        kind = "text/event-stream" if streamed else "application/json"
        return httpx2.Response(200, content=events if streamed else answer, headers={"content-type": kind})

    return openai.OpenAI(api_key="none", http_client=httpx2.Client(transport=httpx2.MockTransport(respond)))


def request(size: int = 20, messages: int = 3, *, tools: bool = False) -> dict[str, Any]:
    """Return a request with `messages` messages of `size` characters, after the instructions."""
    roles = ("user", "assistant")
    history = [{"role": roles[n % 2], "content": ("lorem ipsum " * (size // 12 + 1))[:size]} for n in range(messages)]
    asked = [{"role": "system", "content": "Answer briefly."}, *history]
    return {"model": MODEL, "max_tokens": 100, "messages": asked, **({"tools": [TOOL]} if tools else {})}


def one_call(sdk: openai.OpenAI, asked: dict[str, Any]) -> Callable[[], Any]:
    """Return a model call."""
    return lambda: sdk.chat.completions.create(**asked)


def one_stream(sdk: openai.OpenAI, asked: dict[str, Any]) -> Callable[[], Any]:
    """Return a streamed model call, read to its end."""

    def call() -> None:
        for _chunk in sdk.chat.completions.create(stream=True, stream_options={"include_usage": True}, **asked):
            pass

    return call


def by_hand(call: Callable[[], Any], asked: dict[str, Any], tracer: trace.Tracer) -> Callable[[], Any]:
    """Return the call inside the span that somebody would write for it by hand: the floor."""
    start = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": MODEL,
             "server.address": "api.openai.com", "server.port": 443}  # fmt: skip

    def traced() -> None:
        with tracer.start_as_current_span(f"chat {MODEL}", kind=trace.SpanKind.CLIENT, attributes=start) as span:
            reply = call()
            if not span.is_recording():
                return
            read = reply if reply is not None else openai.types.chat.ChatCompletion.construct(**ANSWER)
            given = [
                {"role": m["role"], "parts": [{"type": "text", "content": m["content"]}]} for m in asked["messages"]
            ]
            said = [{"role": "assistant", "parts": [{"type": "text", "content": "The answer is 42."}]}]
            span.set_attributes(
                {
                    "gen_ai.request.max_tokens": asked["max_tokens"],
                    "gen_ai.response.id": read.id,
                    "gen_ai.response.model": MODEL,
                    "gen_ai.response.finish_reasons": ("stop",),
                    "gen_ai.usage.input_tokens": 996,
                    "gen_ai.usage.output_tokens": 20,
                    "gen_ai.usage.cache_read.input_tokens": 64,
                    "gen_ai.usage.cache_write.input_tokens": 32,
                    "openai.api.type": "chat_completions",
                    "openai.response.service_tier": "default",
                    "gen_ai.input.messages": json.dumps(given),
                    "gen_ai.output.messages": json.dumps(said),
                }
            )

    return traced


def streamed_by_hand(sdk: openai.OpenAI, asked: dict[str, Any], tracer: trace.Tracer) -> Callable[[], Any]:
    """Return the streamed call with its text gathered by hand: the floor of a chunk."""

    def call() -> None:
        pieces: list[str] = []
        for chunk in sdk.chat.completions.create(stream=True, stream_options={"include_usage": True}, **asked):
            if chunk.choices and chunk.choices[0].delta.content:
                pieces.append(chunk.choices[0].delta.content)

    return by_hand(call, asked, tracer)
