"""The scripted provider, driven by OpenAI's SDK."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path

import pytest

from tests.fakes import provider as fakes
from tests.fakes.provider import Dropped, Failure, Garbage, Provider, Reply, ToolUse, Usage

openai = pytest.importorskip("openai")

MESSAGES = [{"role": "user", "content": "Hi"}]
CHAT = {"model": "gpt-test", "messages": MESSAGES}
ASK = {"model": "gpt-test", "input": "Hi"}
RICH = Reply(
    "It is sunny today.",
    thinking="The user wants weather.",
    tools=[ToolUse("get_weather", {"city": "Paris", "days": [1, 2]}), ToolUse("now")],
    usage=Usage(input=7, output=50, cache_read=30, cache_write=4, thinking=12),
)


@pytest.fixture
def provider():
    with Provider() as running:
        yield running


@pytest.fixture
def connect(provider):
    """Make clients of the provider that are closed in the end."""
    clients = []

    def client(key="test", **options):
        options = {"max_retries": 0, "timeout": 5, **options}
        clients.append(openai.OpenAI(base_url=f"{provider.url}/v1", api_key=key, **options))
        return clients[-1]

    yield client
    for each in clients:
        each.close()


def folded(chunks):
    """The text and the calls of a chat stream, put together by hand."""
    text, calls = "", {}
    for chunk in chunks:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for call in choice.delta.tool_calls or ():
                name, arguments = calls.get(call.index, ("", ""))
                calls[call.index] = name + (call.function.name or ""), arguments + call.function.arguments
    return text, list(calls.values())


# --- Chat completions ------------------------------------------------------------------------


def test_a_reply_is_a_completion(provider, connect):
    provider.load([RICH])
    reply = connect().chat.completions.create(**CHAT)
    message = reply.choices[0].message
    assert (reply.id, reply.model, reply.choices[0].finish_reason) == ("chatcmpl-0001", "gpt-test", "tool_calls")
    assert (message.content, message.refusal, message.reasoning_content) == (RICH.text, None, RICH.thinking)
    assert [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls] == [
        ("call_0001", "get_weather", '{"city": "Paris", "days": [1, 2]}'),
        ("call_0002", "now", "{}"),
    ]
    assert (reply.usage.prompt_tokens, reply.usage.prompt_tokens_details.cached_tokens) == (41, 30)
    assert reply.usage.completion_tokens_details.reasoning_tokens == 12
    assert provider.usage_sent() == (41, 50)


@pytest.mark.parametrize("with_usage", [False, True])
def test_a_chat_stream_adds_up(provider, connect, with_usage):
    provider.load([RICH])
    options = {"stream_options": {"include_usage": True}} if with_usage else {}
    chunks = list(connect().chat.completions.create(**CHAT, stream=True, **options))
    calls = [("get_weather", '{"city": "Paris", "days": [1, 2]}'), ("now", "{}")]
    assert folded(chunks) == (RICH.text, calls)
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "tool_calls"
    usages = [chunk.usage.prompt_tokens for chunk in chunks if chunk.usage]
    assert usages == ([41] if with_usage else [])
    assert provider.usage_sent() == ((41, 50) if with_usage else (0, 0))


def test_choices_are_as_many_as_asked(provider, connect):
    provider.load([Reply("one"), Reply("one")])
    client = connect()
    whole = client.chat.completions.create(**CHAT, n=3)
    streamed = list(client.chat.completions.create(**CHAT, n=3, stream=True))
    assert [(c.index, c.message.content) for c in whole.choices] == [(0, "one"), (1, "one"), (2, "one")]
    assert folded(streamed)[0] == "one" * 3


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_is_a_field(provider, connect, stream):
    provider.load([Reply(refusal="I cannot help with that.")])
    reply = connect().chat.completions.create(**CHAT, stream=stream)
    parts = [c.choices[0].delta.refusal for c in reply] if stream else [reply.choices[0].message.refusal]
    assert "".join(part or "" for part in parts) == "I cannot help with that."


@pytest.mark.parametrize(("said", "heard"), [("max_tokens", "length"), ("refusal", "content_filter"), ("odd", "odd")])
def test_a_finish_reason_is_openais(provider, connect, said, heard):
    provider.load([Reply("x", stop_reason=said)])
    assert connect().chat.completions.create(**CHAT).choices[0].finish_reason == heard


# --- Responses -------------------------------------------------------------------------------


def test_a_reply_is_a_response(provider, connect):
    provider.load([RICH])
    reply = connect().responses.create(**ASK, previous_response_id="resp_0000")
    assert [item.type for item in reply.output] == ["reasoning", "message", "function_call", "function_call"]
    assert (reply.id, reply.status, reply.output_text) == ("resp_0001", "completed", RICH.text)
    assert (reply.output[2].call_id, reply.previous_response_id) == ("call_0001", "resp_0000")
    assert (reply.usage.input_tokens, reply.usage.output_tokens_details.reasoning_tokens) == (41, 12)
    assert provider.usage_sent() == (41, 50)


def test_a_response_stream_adds_up(provider, connect):
    provider.load([RICH], "whole")
    provider.load([RICH], "streamed")
    whole = connect("whole").responses.create(**ASK)
    with connect("streamed").responses.stream(**ASK) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert final.output_text == whole.output_text
    assert [item.type for item in final.output] == [item.type for item in whole.output]
    assert kinds.count("response.function_call_arguments.delta") > 2
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert provider.usage_sent("streamed") == provider.usage_sent("whole") == (41, 50)


def test_a_response_can_be_incomplete_or_refused(provider, connect):
    provider.load([Reply("x", stop_reason="max_tokens"), Reply(refusal="No.")])
    client = connect()
    cut, refused = client.responses.create(**ASK), client.responses.create(**ASK)
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert (refused.output[0].content[0].type, refused.output[0].content[0].refusal) == ("refusal", "No.")


# --- The others ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["float", "base64"])
def test_embeddings_are_vectors(provider, connect, form):
    provider.load([Reply(usage=Usage(input=5, output=0))])
    reply = connect().embeddings.create(model="embed-test", input=["a", "b"], dimensions=4, encoding_format=form)
    assert [item.index for item in reply.data] == [0, 1]
    assert form == "base64" or reply.data[0].embedding == [0, 0.125, 0.25, 0.375]
    assert (reply.usage.prompt_tokens, provider.usage_sent()) == (5, (5, 0))


@pytest.mark.parametrize("stream", [False, True])
def test_a_completion_is_text(provider, connect, stream):
    provider.load([Reply("Once upon a time")])
    reply = connect().completions.create(model="old", prompt="Once", stream=stream)
    parts = [part for chunk in reply for part in chunk.choices] if stream else reply.choices
    assert "".join(part.text for part in parts) == "Once upon a time"
    assert parts[-1].finish_reason == "stop"


def test_azure_is_answered_under_its_own_path_and_key(provider):
    provider.load([Reply("Hello")], "azure-key")
    with openai.AzureOpenAI(azure_endpoint=provider.url, api_key="azure-key", api_version="2024-10-21") as client:
        assert client.chat.completions.create(**CHAT).choices[0].message.content == "Hello"
    assert provider.requests[0].path.startswith("/openai/deployments/gpt-test/chat/completions?")


# --- Failures --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (fakes.PROMPT_TOO_LONG, ("BadRequestError", "context_length_exceeded")),
        (fakes.OVERFLOW, ("BadRequestError", "context_length_exceeded")),
        (fakes.BAD_KEY, ("AuthenticationError", "invalid_api_key")),
        (fakes.rate_limited(2500), ("RateLimitError", "rate_limit_exceeded")),
        (fakes.API_ERROR, ("InternalServerError", None)),
        (Failure(404, "not_found", "No such model.", code="model_not_found"), ("NotFoundError", "model_not_found")),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_is_the_error_of_the_sdk(provider, connect, failure, expected, stream):
    provider.load([failure])
    with pytest.raises(getattr(openai, expected[0])) as caught:
        connect().chat.completions.create(**CHAT, stream=stream)
    assert (caught.value.status_code, caught.value.code) == (failure.status, expected[1])
    assert caught.value.request_id == "req_0001"
    assert failure.headers.items() <= dict(caught.value.response.headers).items()


def test_a_rate_limit_is_retried_when_it_says(provider, connect):
    provider.load([fakes.rate_limited(retry_after_ms=20), Reply("Hello")])
    began = time.monotonic()
    assert connect(max_retries=1).responses.create(**ASK).output_text == "Hello"
    assert 0.02 <= time.monotonic() - began < 0.4  # by itself the SDK would wait longer


def test_a_cut_stream_raises(provider, connect):
    provider.load([Reply("Hello", cut_after=3), Reply("Hello", cut_after=3)])
    client = connect()
    for stream in (client.chat.completions.create(**CHAT, stream=True), client.responses.create(**ASK, stream=True)):
        seen = []
        with pytest.raises(Exception, match=r"incomplete chunked read|Connection error"):
            seen.extend(stream)
        assert len(seen) == 3


def test_a_stream_can_end_with_an_error(provider, connect):
    provider.load([Reply("Hello", cut_after=3, cut_error=fakes.OVERLOADED)] * 2)
    client = connect()
    with pytest.raises(openai.APIError, match="Overloaded"):
        list(client.chat.completions.create(**CHAT, stream=True))
    last = list(client.responses.create(**ASK, stream=True))[-1]
    assert (last.type, last.code) == ("error", "server_is_overloaded")


def test_a_dropped_connection_is_a_connection_error(provider, connect):
    provider.load([Dropped(), Reply("Hello")])
    assert connect(max_retries=1).responses.create(**ASK).output_text == "Hello"


@pytest.mark.parametrize("stream", [False, True])
def test_garbage_cannot_be_read(provider, connect, stream):
    provider.load([Garbage()])
    with pytest.raises((ValueError, openai.APIError)):
        list(connect().chat.completions.create(**CHAT, stream=stream))


def test_a_wrong_request_takes_no_step(provider, connect):
    provider.load([Reply("Hello")])
    with pytest.raises(openai.BadRequestError, match="Missing required parameter: 'messages'"):
        connect().post("/chat/completions", body={"model": "m"}, cast_to=object)
    assert connect().chat.completions.create(**CHAT).id == "chatcmpl-0001"


async def test_the_async_client_gets_the_same(provider):
    provider.load([Reply("one"), Reply("two")])
    async with openai.AsyncOpenAI(base_url=f"{provider.url}/v1", api_key="test") as client:
        one = await client.chat.completions.create(**CHAT)
        async with client.responses.stream(**ASK) as stream:
            two = await stream.get_final_response()
    assert (one.choices[0].message.content, two.output_text) == ("one", "two")


# --- The example agent -----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["chat", "stream", "async", "responses"])
def test_the_example_answers_offline(monkeypatch, capsys, how):
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    path = Path(__file__).parents[2] / "examples" / "openai_agent.py"
    spec = importlib.util.spec_from_file_location("openai_agent", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    example.main(["--how", how])
    assert capsys.readouterr().out == (
        "Paris has 18 °C and sun, Oslo -3 °C and snow. The weather service does not know Atlantis. "
        "18 °C is 64.4 °F. -3 °C is 26.6 °F.\n"
    )
