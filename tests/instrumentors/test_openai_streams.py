"""Streams of chat: the tokens that their last chunk tells, and connections that cannot be closed."""

from __future__ import annotations

import asyncio
import importlib
import json
from typing import Any

import openai
import pytest
from opentelemetry.trace import StatusCode

from nexus_otel.instrumentors.openai import OpenAIInstrumentor
from tests.instrumentors.openai_cases import ASK
from tests.kit.recording import instrumented, values

PROMPT, ANSWER = "prompt_tokens_details", "completion_tokens_details"
READ, WRITTEN = "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_write.input_tokens"
HEARD, SPOKEN = "gen_ai.usage.audio.input_tokens", "gen_ai.usage.audio.output_tokens"
DETAILS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "all": (
        {
            PROMPT: {"cached_tokens": 5, "cache_write_tokens": 10, "audio_tokens": 7},
            ANSWER: {"audio_tokens": 2, "reasoning_tokens": 3},
        },
        {READ: 5, WRITTEN: 10, HEARD: 7, SPOKEN: 2, "gen_ai.usage.reasoning.output_tokens": 3},
    ),
    "some": ({PROMPT: {"audio_tokens": 7}}, {HEARD: 7}),
    "none": ({}, {}),
    "empty": ({PROMPT: {}, ANSWER: {}}, {}),
    "null": ({PROMPT: None, ANSWER: None}, {}),
    "zero": ({PROMPT: {"cached_tokens": 0, "audio_tokens": 0}, ANSWER: {"reasoning_tokens": 0}}, {}),
    "negative": ({PROMPT: {"cache_write_tokens": 10, "audio_tokens": -3}, ANSWER: {"audio_tokens": -2}}, {WRITTEN: 10}),
}


def body(details: dict[str, Any]) -> bytes:
    """Return three chunks: a text, the reason, the tokens."""
    common = {"id": "chatcmpl-1", "created": 1, "model": "gpt-test", "object": "chat.completion.chunk"}
    chunks = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "hello"}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, **details}},
    ]
    events = [json.dumps({**common, **chunk}) for chunk in chunks]
    return "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode()


def http() -> Any:
    """Return the HTTP library of the SDK that is installed."""
    names = (kind.__module__.partition(".")[0] for kind in openai.DefaultHttpxClient.__mro__)
    return importlib.import_module(next(name for name in names if name.startswith("httpx")))


def client(kind: Any, content: Any) -> Any:
    def respond(_request: Any) -> Any:
        given = {"content": content} if isinstance(content, bytes) else {"stream": content}
        return http().Response(200, headers={"content-type": "text/event-stream"}, **given)

    made = http().AsyncClient if kind is openai.AsyncOpenAI else http().Client
    transport = http().MockTransport(respond)
    return kind(api_key="k", base_url="http://models.example", http_client=made(transport=transport), max_retries=0)


# -- tokens ------------------------------------------------------------------------------------------------------------


def read(content: bytes, seen: Any, *, leave: bool) -> int:
    """Read a stream in a `with` block, to the end or to the chunk with the tokens; returns how many chunks came."""
    count = 0
    with client(openai.OpenAI, content).chat.completions.create(**ASK, stream=True) as stream:
        for chunk in stream:
            count += 1
            assert seen.spans == []
            if leave and chunk.usage is not None:
                break
    return count


async def read_async(content: bytes, seen: Any, *, leave: bool) -> int:
    count = 0
    async with await client(openai.AsyncOpenAI, content).chat.completions.create(**ASK, stream=True) as stream:
        async for chunk in stream:
            count += 1
            assert seen.spans == []
            if leave and chunk.usage is not None:
                break
    return count


@pytest.mark.parametrize("details", DETAILS)
@pytest.mark.parametrize("leave", [False, True])
@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_stream_has_the_tokens_of_its_last_chunk_when_it_ends(details, leave, way):
    told, expected = DETAILS[details]
    with instrumented(OpenAIInstrumentor) as seen:
        if way == "sync":
            assert read(body(told), seen, leave=leave) == 3
        else:
            assert asyncio.run(read_async(body(told), seen, leave=leave)) == 3
    attributes = values(seen.one())
    assert attributes["gen_ai.response.finish_reasons"] == ("stop",)
    tokens = {name: value for name, value in attributes.items() if name.startswith("gen_ai.usage.")}
    assert tokens == {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 20, **expected}


# -- a connection that cannot be closed --------------------------------------------------------------------------------


def unclosable() -> Any:
    """Return the body of a response whose connection fails when it is closed."""

    class Unclosable(http().SyncByteStream):
        def __iter__(self) -> Any:
            yield from body({}).splitlines(keepends=True)

        def close(self) -> None:
            raise OSError("cannot be closed")

    return Unclosable()


def unclosable_async() -> Any:
    class Unclosable(http().AsyncByteStream):
        async def __aiter__(self) -> Any:
            for line in body({}).splitlines(keepends=True):
                yield line

        async def aclose(self) -> None:
            raise OSError("cannot be closed")

    return Unclosable()


def close(stream: Any) -> None:
    next(stream)
    stream.close()


def fail_inside(stream: Any) -> None:
    with stream:
        next(stream)
        raise LookupError("no parrot")


async def close_async(stream: Any) -> None:
    await anext(stream)
    await stream.close()


async def fail_inside_async(stream: Any) -> None:
    async with stream:
        await anext(stream)
        raise LookupError("no parrot")


async def run_async(end: Any) -> None:
    await end(await client(openai.AsyncOpenAI, unclosable_async()).chat.completions.create(**ASK, stream=True))


def failed(end: Any) -> tuple[str, ...]:
    """Read a stream that cannot be closed; returns the names of what was raised, and of what that came over."""
    with pytest.raises((OSError, LookupError)) as raised:  # noqa: PT012 - one of two calls
        if end.__name__.endswith("async"):
            asyncio.run(run_async(end))
        else:
            end(client(openai.OpenAI, unclosable()).chat.completions.create(**ASK, stream=True))
    names, error = [], raised.value
    while error is not None:
        names.append(type(error).__name__)
        error = error.__context__
    return tuple(names)


@pytest.mark.parametrize(
    ("end", "raised"),
    [
        (close, ("OSError",)),
        (close_async, ("OSError",)),
        (fail_inside, ("OSError", "LookupError")),
        (fail_inside_async, ("OSError", "LookupError")),
    ],
)
def test_a_close_that_fails_is_a_failure_and_what_it_is_without_us(end, raised):
    assert failed(end) == raised
    with instrumented(OpenAIInstrumentor) as seen:
        assert failed(end) == raised
        assert seen.open == {}
    span = seen.one()
    assert (span.status.status_code, values(span)["error.type"]) == (StatusCode.ERROR, raised[-1])
    assert "nexus.stream.outcome" not in values(span)
