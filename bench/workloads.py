"""What is measured: calls of the real Anthropic SDK over an in-process transport, and the spans a hand would write."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import anthropic
import httpx2
from encoded import provider
from opentelemetry import trace

__all__ = [
    "CHUNKS", "by_hand", "client", "dripping_client", "one_call", "one_stream", "provider", "read_by_hand",
    "read_stream", "request", "streamed_by_hand",
]  # fmt: skip

CHUNKS = 200
MODEL = "claude-bench"
TOOL = {
    "name": "lookup",
    "description": "Looks a word up.",
    "input_schema": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
}
USAGE = {"input_tokens": 900, "output_tokens": 20, "cache_read_input_tokens": 64, "cache_creation_input_tokens": 32}
ANSWER = {
    "id": "msg_bench", "type": "message", "role": "assistant", "model": MODEL, "stop_reason": "end_turn",
    "stop_sequence": None, "content": [{"type": "text", "text": "The answer is 42."}], "usage": USAGE,
}  # fmt: skip


def _events() -> bytes:
    return _opening() + _delta("word ") * CHUNKS + _closing(CHUNKS)


def _opening() -> bytes:
    message = {**ANSWER, "content": [], "stop_reason": None}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    return _event({"type": "message_start", "message": message}) + _event(block)


def _delta(text: str) -> bytes:
    return _event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})


def _closing(chunks: int) -> bytes:
    ending = {"stop_reason": "end_turn", "stop_sequence": None}
    told = {"type": "message_delta", "delta": ending, "usage": {"output_tokens": chunks}}
    return b"".join(map(_event, ({"type": "content_block_stop", "index": 0}, told, {"type": "message_stop"})))


def _event(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def client() -> anthropic.Anthropic:
    """Return a client whose provider is a function in this process."""
    answer, events = json.dumps(ANSWER).encode(), _events()

    def respond(request: httpx2.Request) -> httpx2.Response:
        streamed = b'"stream":true' in request.content.replace(b" ", b"")
        kind = "text/event-stream" if streamed else "application/json"
        return httpx2.Response(200, content=events if streamed else answer, headers={"content-type": kind})

    transport = httpx2.MockTransport(respond)
    return anthropic.Anthropic(api_key="none", http_client=httpx2.Client(transport=transport), open_telemetry=False)


def dripping_client(chunks: int, gap_s: float) -> anthropic.AsyncAnthropic:
    """Return an asynchronous client whose streams give a chunk every `gap_s` seconds; its text is when it was due."""

    async def drip() -> AsyncIterator[bytes]:
        due = time.perf_counter()
        yield _opening()
        for _chunk in range(chunks):
            due += gap_s
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            yield _delta(f"{due:.6f} ")
        yield _closing(chunks)

    def respond(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=drip(), headers={"content-type": "text/event-stream"})

    transport = httpx2.MockTransport(respond)
    http = httpx2.AsyncClient(transport=transport)
    return anthropic.AsyncAnthropic(api_key="none", http_client=http, open_telemetry=False)


def request(size: int = 20, messages: int = 3, *, tools: bool = False) -> dict[str, Any]:
    """Return a request with `messages` messages of `size` characters."""
    roles = ("user", "assistant")
    history = [{"role": roles[n % 2], "content": ("lorem ipsum " * (size // 12 + 1))[:size]} for n in range(messages)]
    return {
        "model": MODEL,
        "max_tokens": 100,
        "system": "Answer briefly.",
        "messages": history,
        **({"tools": [TOOL]} if tools else {}),
    }


def one_call(sdk: anthropic.Anthropic, asked: dict[str, Any]) -> Callable[[], Any]:
    """Return a model call."""
    return lambda: sdk.messages.create(**asked)


def one_stream(sdk: anthropic.Anthropic, asked: dict[str, Any]) -> Callable[[], Any]:
    """Return a streamed model call, read to its end."""

    def call() -> None:
        for _event in sdk.messages.create(stream=True, **asked):
            pass

    return call


STARTING = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic", "gen_ai.request.model": MODEL,
            "server.address": "api.anthropic.com", "server.port": 443}  # fmt: skip


def by_hand(call: Callable[[], Any], asked: dict[str, Any], tracer: trace.Tracer) -> Callable[[], Any]:
    """Return the call inside the span that somebody would write for it by hand: the floor."""

    def traced() -> None:
        with tracer.start_as_current_span(f"chat {MODEL}", kind=trace.SpanKind.CLIENT, attributes=STARTING) as span:
            reply = call()
            if span.is_recording():
                span.set_attributes(_attributes(asked, reply))

    return traced


def _attributes(asked: dict[str, Any], reply: Any) -> dict[str, Any]:
    read = reply if reply is not None else anthropic.types.Message.construct(**ANSWER)
    history = [{"role": m["role"], "parts": [{"type": "text", "content": m["content"]}]} for m in asked["messages"]]
    return {
        "gen_ai.request.max_tokens": asked["max_tokens"],
        "gen_ai.response.id": read.id,
        "gen_ai.response.model": MODEL,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 996,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 64,
        "gen_ai.usage.cache_write.input_tokens": 32,
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": asked["system"]}]),
        "gen_ai.input.messages": json.dumps(history),
        "gen_ai.output.messages": json.dumps(
            [{"role": "assistant", "parts": [{"type": "text", "content": "The answer is 42."}]}]
        ),
    }


def streamed_by_hand(sdk: anthropic.Anthropic, asked: dict[str, Any], tracer: trace.Tracer) -> Callable[[], Any]:
    """Return the streamed call with its text gathered by hand: the floor of a chunk."""

    def call() -> None:
        pieces: list[str] = []
        for event in sdk.messages.create(stream=True, **asked):
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                pieces.append(event.delta.text)

    return by_hand(call, asked, tracer)


async def read_stream(sdk: anthropic.AsyncAnthropic, asked: dict[str, Any], late: list[float]) -> None:
    """Read a dripping stream; put into `late` how many seconds after its time each chunk came."""
    async for event in await sdk.messages.create(stream=True, **asked):
        if event.type == "content_block_delta":
            late.append(time.perf_counter() - float(event.delta.text))


async def read_by_hand(
    sdk: anthropic.AsyncAnthropic, asked: dict[str, Any], late: list[float], tracer: trace.Tracer
) -> None:
    """The same inside a span written by hand."""
    pieces: list[str] = []
    with tracer.start_as_current_span(f"chat {MODEL}", kind=trace.SpanKind.CLIENT, attributes=STARTING) as span:
        async for event in await sdk.messages.create(stream=True, **asked):
            if event.type == "content_block_delta":
                late.append(time.perf_counter() - float(event.delta.text))
                pieces.append(event.delta.text)
        span.set_attributes(_attributes(asked, None))
