"""Stream managers that are not the SDK's own: of another wrapper, or of a line that we do not know."""

from __future__ import annotations

import gc

import anthropic
import pytest
from anthropic.resources.messages import AsyncMessages, Messages
from anthropic.types import Message

from nexus_otel.instrumentors.anthropic import AnthropicInstrumentor
from tests.kit.recording import instrumented, values

ASKED = {"model": "claude-test", "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]}
MESSAGE = Message.construct(
    id="msg_1", type="message", role="assistant", model="claude-test", stop_reason="end_turn",
    content=[], usage=anthropic.types.Usage.construct(input_tokens=3, output_tokens=2),
)  # fmt: skip


class Stream:
    current_message_snapshot = MESSAGE

    def __init__(self, events=2, error=None):
        self._events = [object()] * events
        self._error = error
        self.closed = False

    def __iter__(self):
        return self

    def __next__(self):
        if self._events:
            return self._events.pop()
        if self._error is not None:
            raise self._error
        raise StopIteration

    def close(self):
        self.closed = True


class AsyncStream(Stream):
    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return next(self)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self):
        self.closed = True


class Manager:
    def __init__(self, stream):
        self.stream = stream

    def __enter__(self):
        return self.stream

    def __exit__(self, *error):
        self.stream.close()


class AsyncManager(Manager):
    async def __aenter__(self):
        return self.stream

    async def __aexit__(self, *error):
        await self.stream.aclose()


@pytest.fixture
def managed(monkeypatch):
    """Returns a function that makes the SDK's `stream` give a manager around a stream."""

    def make(stream):
        kind, owner = (AsyncManager, AsyncMessages) if isinstance(stream, AsyncStream) else (Manager, Messages)
        monkeypatch.setattr(owner, "stream", lambda _self, **_given: kind(stream))
        return anthropic.AsyncAnthropic(api_key="x") if kind is AsyncManager else anthropic.Anthropic(api_key="x")

    return make


def test_it_is_read_to_its_end(managed):
    client = managed(Stream())
    with instrumented(AnthropicInstrumentor) as seen:
        manager = client.messages.stream(**ASKED)
        assert isinstance(manager, Manager)
        assert seen.spans == []
        with manager as stream:
            assert isinstance(stream, Stream)
            assert len(list(stream)) == 2
    assert values(seen.one())["gen_ai.usage.input_tokens"] == 3
    assert "nexus.stream.outcome" not in values(seen.one())


async def test_it_is_read_to_its_end_async(managed):
    client = managed(AsyncStream())
    with instrumented(AnthropicInstrumentor) as seen:
        async with client.messages.stream(**ASKED) as stream:
            assert len([event async for event in stream]) == 2
    assert values(seen.one())["gen_ai.response.finish_reasons"] == ("stop",)


def test_it_is_closed_early(managed):
    inner = Stream()
    client = managed(inner)
    with instrumented(AnthropicInstrumentor) as seen, client.messages.stream(**ASKED) as stream:
        next(stream)
    assert inner.closed
    assert values(seen.one())["nexus.stream.outcome"] == "closed"


def test_the_block_around_it_raises(managed):
    client = managed(Stream())
    with instrumented(AnthropicInstrumentor) as seen:
        with pytest.raises(ValueError, match="mine"), client.messages.stream(**ASKED):
            raise ValueError("mine")
        gc.collect()
    assert values(seen.one())["error.type"] == "ValueError"


def test_it_fails_while_it_is_read(managed):
    client = managed(Stream(error=ConnectionError("cut")))
    with (
        instrumented(AnthropicInstrumentor) as seen,
        pytest.raises(ConnectionError),
        client.messages.stream(**ASKED) as stream,
    ):
        list(stream)
    assert values(seen.one())["error.type"] == "ConnectionError"
