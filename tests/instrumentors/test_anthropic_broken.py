"""Streams whose connection breaks beneath the SDK: the caller gets the very exception, the span what there was so far."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic
import pytest
from opentelemetry.trace import StatusCode

from nexus_otel.instrumentors.anthropic import AnthropicInstrumentor
from tests.fakes.steps import Reply, Usage
from tests.fakes.wire import content, events, message, sse
from tests.instrumentors.anthropic_cases import ASK
from tests.instrumentors.test_anthropic_platforms import http
from tests.kit.conventions import violations
from tests.kit.recording import content_mode, instrumented, values

REPLY = Reply("The parrot sits in its cage.", usage=Usage(input=30, output=50, cache_read=12))
EVENTS = [
    sse(event)
    for event in events(message(REPLY, "msg_1", "claude-test", content(REPLY, lambda: "toolu_1")))
    if event["type"] != "ping"
]
SO_FAR = {0: None, 1: "", 3: "The par"}
"""The text that has come with so many events; the third is the first piece of it."""
READERS = ("create", "helper", "create-async", "helper-async")


def broken(count: int, error: Exception) -> Any:
    """Yield the body of a response that breaks after some events."""
    yield from EVENTS[:count]
    raise error


async def broken_async(count: int, error: Exception) -> Any:
    for event in EVENTS[:count]:
        yield event
    raise error


def client(kind: Any, body: Any) -> Any:
    def respond(_request: Any) -> Any:
        return http().Response(200, content=body, headers={"content-type": "text/event-stream"})

    http_client = (http().AsyncClient if kind is anthropic.AsyncAnthropic else http().Client)(
        transport=http().MockTransport(respond)
    )
    return kind(api_key="k", base_url="http://models.example", http_client=http_client, max_retries=0)


def read_sync(made: Any, reader: str, got: list[str]) -> None:
    if reader == "create":
        got.extend(event.type for event in made.messages.create(**ASK, stream=True))
    else:
        with made.messages.stream(**ASK) as stream:
            got.extend(event.type for event in stream)


async def read_async(made: Any, reader: str, got: list[str]) -> None:
    if reader == "create-async":
        async for event in await made.messages.create(**ASK, stream=True):
            got.append(event.type)  # noqa: PERF401 - what came before the failure is wanted
    else:
        async with made.messages.stream(**ASK) as stream:
            async for event in stream:
                got.append(event.type)  # noqa: PERF401


def read(reader: str, count: int) -> list[str]:
    """Read a stream that breaks; returns the types of the events that came before."""
    got: list[str] = []
    error = ConnectionResetError("broken")
    with pytest.raises(ConnectionResetError) as raised:  # noqa: PT012 - one of two calls
        if reader.endswith("async"):
            asyncio.run(read_async(client(anthropic.AsyncAnthropic, broken_async(count, error)), reader, got))
        else:
            read_sync(client(anthropic.Anthropic, broken(count, error)), reader, got)
    assert raised.value is error
    return got


@pytest.mark.parametrize("count", SO_FAR)
@pytest.mark.parametrize("reader", READERS)
def test_a_connection_that_breaks_is_an_error_with_what_came_so_far(reader, count):
    bare = read(reader, count)
    with instrumented(AnthropicInstrumentor, **content_mode("SPAN_ONLY")) as seen:
        assert read(reader, count) == bare
    span, attributes = seen.one(), values(seen.one())
    assert violations(span) == []
    assert (span.status.status_code, attributes["error.type"]) == (StatusCode.ERROR, "ConnectionResetError")
    assert "gen_ai.response.finish_reasons" not in attributes
    assert attributes.get("gen_ai.usage.input_tokens") == (42 if count else None)
    assert attributes.get("gen_ai.response.id") == ("msg_1" if count else None)
    assert [event.name for event in span.events] == ["exception"]
    assert _text(attributes) == (SO_FAR[count] or None)


def _text(attributes: Any) -> str | None:
    """Return the text of the answer as far as it was recorded."""
    messages = json.loads(attributes.get("gen_ai.output.messages", "[]"))
    return "".join(part["content"] for each in messages for part in each["parts"]) or None
