"""The scripted provider, driven by the Anthropic SDK, and the example agent on it."""

from __future__ import annotations

import http.client
import importlib.util
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anthropic
import pytest
from anthropic import beta_tool

from tests.fakes import provider as fakes
from tests.fakes.provider import Dropped, Garbage, Provider, Reply, ToolUse, Usage

ASK = {"model": "claude-test", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}
RICH = Reply(
    "It is sunny today.",
    thinking="The user wants weather.",
    tools=[ToolUse("get_weather", {"city": "Paris", "days": [1, 2]}), ToolUse("now")],
    usage=Usage(input=7, output=50, cache_read=30, cache_write=4, thinking=12),
    raw_blocks=[{"type": "redacted_thinking", "data": "xyz"}],
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
        clients.append(anthropic.Anthropic(base_url=provider.url, api_key=key, **options))
        return clients[-1]

    yield client
    for each in clients:
        each.close()


# --- The provider ----------------------------------------------------------------------------


def test_a_reply_is_a_message(provider, connect):
    provider.load([RICH])
    reply = connect().messages.create(**ASK)
    assert [block.type for block in reply.content] == [
        "thinking",
        "text",
        "redacted_thinking",
        "tool_use",
        "tool_use",
    ]
    assert (reply.id, reply.model, reply.stop_reason) == ("msg_0001", "claude-test", "tool_use")
    assert [(b.id, b.input) for b in reply.content[3:]] == [
        ("toolu_0001", {"city": "Paris", "days": [1, 2]}),
        ("toolu_0002", {}),
    ]
    assert reply.usage.output_tokens_details.thinking_tokens == 12
    assert provider.usage_sent() == (41, 50)


def test_a_stream_adds_up_to_the_message(provider, connect):
    provider.load([RICH], "whole")
    provider.load([RICH], "streamed")
    whole = connect("whole").messages.create(**ASK)
    with connect("streamed").messages.stream(**ASK) as stream:
        streamed = stream.get_final_message()
    assert streamed.model_dump(exclude_none=True) == whole.model_dump(exclude_none=True)
    assert provider.usage_sent("streamed") == provider.usage_sent("whole")


def test_a_stream_comes_in_pieces(provider, connect):
    provider.load([RICH])
    with connect().messages.create(**ASK, stream=True) as stream:
        events = list(stream)
    deltas = [event.delta.type for event in events if event.type == "content_block_delta"]
    assert deltas.count("text_delta") > 2
    assert deltas.count("input_json_delta") > 4
    assert deltas.index("signature_delta") == deltas.count("thinking_delta") > 1
    assert events[0].message.usage.cache_read_input_tokens == 30
    assert events[0].message.usage.output_tokens == 1
    assert events[-2].usage.output_tokens == 50
    assert events[-1].type == "message_stop"


def test_a_stream_has_one_ping(provider, connect):
    provider.load([Reply("Hello")])
    with connect().messages.with_streaming_response.create(**ASK, stream=True) as response:
        lines = list(response.iter_lines())
    assert lines.count("event: ping") == 1


async def test_the_async_client_gets_the_same(provider):
    provider.load([Reply("one"), Reply("two")])
    async with anthropic.AsyncAnthropic(base_url=provider.url, api_key="test") as client:
        one = await client.messages.create(**ASK)
        async with client.messages.stream(**ASK) as stream:
            two = await stream.get_final_text()
    assert (one.content[0].text, two) == ("one", "two")


def test_the_tool_runner_runs_to_the_end(provider, connect):
    asked = []

    @beta_tool
    def double(number: int) -> str:
        """Double a number."""
        asked.append(number)
        return str(2 * number)

    provider.load([Reply(tools=[ToolUse("double", {"number": 21})]), Reply("42")])
    runner = connect().beta.messages.tool_runner(**ASK, tools=[double])
    assert runner.until_done().content[0].text == "42"
    assert asked == [21]
    assert [request.status for request in provider.requests] == [200, 200]


def test_requests_are_recorded(provider, connect):
    provider.load([Reply("Hello"), fakes.OVERLOADED, Dropped()])
    client = connect("the-key")
    client.messages.create(**ASK)
    for error in (anthropic.APIStatusError, anthropic.APIConnectionError):
        with pytest.raises(error):
            client.messages.create(**ASK)
    first, second, third = provider.requests
    assert (first.path, first.body, first.key) == ("/v1/messages", ASK, "the-key")
    assert first.headers["content-type"] == "application/json"
    assert first.reply["content"] == [{"type": "text", "text": "Hello"}]
    assert (second.status, second.reply["error"]["type"]) == (529, "overloaded_error")
    assert (third.status, third.reply) == (None, None)
    assert provider.usage_sent() == (100, 20)


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (fakes.PROMPT_TOO_LONG, anthropic.BadRequestError),
        (fakes.BAD_KEY, anthropic.AuthenticationError),
        (fakes.rate_limited(2500), anthropic.RateLimitError),
        (fakes.API_ERROR, anthropic.InternalServerError),
        (fakes.OVERLOADED, anthropic.APIStatusError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_is_the_error_of_the_sdk(provider, connect, failure, error, stream):
    provider.load([failure])
    with pytest.raises(error) as caught:
        connect().messages.create(**ASK, stream=stream)
    assert caught.value.status_code == failure.status
    assert caught.value.body["error"] == {"type": failure.type, "message": failure.message}
    assert caught.value.request_id == "req_0001"
    assert failure.headers.items() <= dict(caught.value.response.headers).items()


def test_a_rate_limit_is_retried_when_it_says(provider, connect):
    provider.load([fakes.rate_limited(retry_after_ms=20), Reply("Hello")])
    began = time.monotonic()
    reply = connect(max_retries=1).messages.create(**ASK)
    assert reply.content[0].text == "Hello"
    assert 0.02 <= time.monotonic() - began < 0.4  # by itself the SDK would wait longer
    assert [request.status for request in provider.requests] == [429, 200]


def test_a_cut_stream_raises(provider, connect):
    provider.load([Reply("Hello", cut_after=4)])
    seen = []
    stream = connect().messages.create(**ASK, stream=True)
    with stream, pytest.raises(Exception, match="incomplete chunked read"):
        seen.extend(event.type for event in stream)
    assert seen == ["message_start", "content_block_start", "content_block_delta"]  # and a ping
    assert provider.usage_sent() == (0, 0)


def test_a_stream_can_end_with_an_error(provider, connect):
    provider.load([Reply("Hello", cut_after=3, cut_error=fakes.OVERLOADED)])
    stream = connect().messages.create(**ASK, stream=True)
    with stream, pytest.raises(anthropic.APIStatusError, match="overloaded_error"):
        list(stream)


def test_a_dropped_connection_is_a_connection_error(provider, connect):
    provider.load([Dropped(), Reply("Hello")])
    reply = connect(max_retries=1).messages.create(**ASK)
    assert reply.content[0].text == "Hello"


@pytest.mark.parametrize("stream", [False, True])
def test_garbage_cannot_be_read(provider, connect, stream):
    provider.load([Garbage()])
    with pytest.raises((ValueError, anthropic.APIError)):
        list(connect().messages.create(**ASK, stream=stream))


def test_an_exhausted_script_says_so_once(provider, connect):
    provider.load([])
    with pytest.raises(anthropic.InternalServerError, match="script_exhausted"):
        connect(max_retries=2).messages.create(**ASK)
    assert len(provider.requests) == 1


def test_a_wrong_request_takes_no_step(provider, connect):
    provider.load([Reply("Hello")])
    with pytest.raises(anthropic.BadRequestError, match="max_tokens: Field required"):
        connect().post("/v1/messages", body={"model": "m", "messages": []}, cast_to=object)
    assert connect().messages.create(**ASK).id == "msg_0001"


def test_counting_tokens_takes_no_step(provider, connect):
    provider.load([Reply("Hello")])
    short = connect().messages.count_tokens(model="m", messages=ASK["messages"])
    long = connect().messages.count_tokens(model="m", messages=ASK["messages"] * 9)
    assert long.input_tokens > short.input_tokens > 0
    assert connect().messages.create(**ASK).id == "msg_0001"


def test_a_batch_takes_no_step_and_has_its_results(provider, connect):
    provider.load([Reply("Hello")])
    batches = connect().messages.batches
    made = batches.create(requests=[{"custom_id": "one", "params": ASK}])
    assert batches.retrieve(made.id).processing_status == "ended"
    (result,) = batches.results(made.id)
    assert result.result.message.content[0].text == "answered"
    assert [request.status for request in provider.requests] == [200, 200, 200, 200]  # results look the batch up first
    assert connect().messages.create(**ASK).id == "msg_0001"


def test_delays_are_kept(provider, connect):
    provider.load([Reply("Hello", delay_s=30), Reply("abc", chunk_delay_s=0.02)])
    with pytest.raises(anthropic.APITimeoutError):
        connect(timeout=0.1).messages.create(**ASK)
    began = time.monotonic()
    with connect().messages.stream(**ASK) as stream:
        stream.until_done()
    assert time.monotonic() - began >= 0.02 * 7


def test_closing_does_not_wait_for_delays(connect):
    began = time.monotonic()
    with Provider() as provider:
        provider.load([Reply("Hello", delay_s=30)])
        client = anthropic.Anthropic(base_url=provider.url, api_key="k", max_retries=0, timeout=0.1)
        with client, pytest.raises(anthropic.APITimeoutError):
            client.messages.create(**ASK)
    assert time.monotonic() - began < 5


def test_connections_are_kept_alive(provider):
    provider.load([Reply("one"), fakes.API_ERROR, Reply("three")])
    connection = http.client.HTTPConnection(provider.url.removeprefix("http://"))
    sockets = set()
    for stream in (True, False, False):
        body = json.dumps({**ASK, "stream": stream})
        connection.request("POST", "/v1/messages", body)
        connection.getresponse().read()
        sockets.add(connection.sock)
    connection.close()
    assert len(sockets) == 1
    assert None not in sockets


def test_fifty_clients_follow_their_own_scripts(provider, connect):
    keys = [f"key-{number}" for number in range(50)]
    for key in keys:
        provider.load([Reply(f"{key} a", tools=[ToolUse("t")]), Reply(f"{key} b")], key)

    def run(client):
        replies = [client.messages.create(**ASK) for _ in range(2)]
        return [(reply.id, reply.content[0].text, reply.content[-1].type) for reply in replies]

    client = connect()
    with ThreadPoolExecutor(50) as pool:
        found = list(pool.map(run, [client.with_options(api_key=key) for key in keys]))
    assert found == [[("msg_0001", f"{key} a", "tool_use"), ("msg_0002", f"{key} b", "text")] for key in keys]
    assert len(provider.requests) == 100
    assert {provider.usage_sent(key) for key in keys} == {(200, 40)}


@pytest.mark.parametrize("header", [{"x-api-key": "mine"}, {"authorization": "Bearer mine"}, {"X-Api-Key": "mine"}])
def test_a_key_is_read_from_either_header(provider, header):
    provider.load([Reply("mine")], "mine")
    connection = http.client.HTTPConnection(provider.url.removeprefix("http://"))
    connection.request("POST", "/v1/messages?beta=true", json.dumps(ASK), header)
    reply = json.load(connection.getresponse())
    connection.close()
    assert reply["content"] == [{"type": "text", "text": "mine"}]


def test_a_key_without_a_script_follows_the_default(provider, connect):
    provider.load([Reply("default")])
    provider.load([Reply("mine")], "mine")
    texts = [connect(key).messages.create(**ASK).content[0].text for key in ("mine", "other")]
    assert texts == ["mine", "default"]


# --- The example agent -----------------------------------------------------------------------


@pytest.fixture
def example(monkeypatch):
    for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    path = Path(__file__).parents[2] / "examples" / "anthropic_agent.py"
    spec = importlib.util.spec_from_file_location("anthropic_agent", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("how", ["create", "stream", "async", "tool_runner"])
def test_the_example_answers_offline(example, capsys, how):
    example.main(["--how", how])
    assert capsys.readouterr().out == (
        "Paris has 18 °C and sun, Oslo -3 °C and snow. The weather service does not know Atlantis. "
        "18 °C is 64.4 °F. -3 °C is 26.6 °F.\n"
    )


@pytest.mark.parametrize("how", ["create", "stream", "async", "tool_runner"])
def test_the_example_sends_its_results_back(example, provider, monkeypatch, how):
    provider.load(fakes.demo_script())
    monkeypatch.setenv("ANTHROPIC_BASE_URL", provider.url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    example.main(["--how", how])
    results = [request.body["messages"][-1]["content"] for request in provider.requests[1:]]
    ids = [[result["tool_use_id"][-1] for result in message] for message in results]
    assert ids == [["1", "2"], ["3"], ["4"], ["5"]]
    assert [result["content"] for result in results[0]] == ["18 °C, sunny", "-3 °C, snow"]
    assert results[1][0]["is_error"] is True
    assert [results[2][0]["content"], results[3][0]["content"]] == ["64.4 °F", "26.6 °F"]


@pytest.mark.parametrize("steps", [0, 2, 9])
def test_the_demo_has_as_many_tool_steps_as_asked(steps):
    replies = fakes.demo_script(steps)
    assert [bool(reply.tools) for reply in replies] == [True] * steps + [False]
