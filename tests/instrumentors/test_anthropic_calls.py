"""The Anthropic instrumentor, call by call: what only this SDK has, and what a table of cases does not show."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import json
import weakref
from pathlib import Path
from typing import Any

import anthropic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from nexus_otel import semconv
from nexus_otel.instrumentors._anthropic_responses import usage
from nexus_otel.instrumentors.anthropic import AnthropicInstrumentor
from tests.fakes.provider import (
    PROMPT_TOO_LONG,
    Dropped,
    Failure,
    Reply,
    ToolUse,
    Usage,
    demo_script,
    rate_limited,
)
from tests.instrumentors.anthropic_cases import (
    ASK,
    FIND,
    REFUSED,
    RICH,
    SAID,
    TOOLS,
    async_client,
    client,
    find,
    helper,
    loop,
    run_tools,
)
from tests.instrumentors.anthropic_lines import has, needs
from tests.kit.cases import CANARY, loaded
from tests.kit.conventions import violations
from tests.kit.recording import AGENT, instrumented, parent_id, span_id, trace_id, values

CONTENT = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}


@pytest.fixture
def play(provider):
    """Make clients that a script of their own answers."""
    with contextlib.ExitStack() as stack:

        def connect(*steps, **options):
            return stack.enter_context(client(provider.url, loaded(steps, provider), **options))

        yield connect


@pytest.fixture
def seen():
    with instrumented(AnthropicInstrumentor) as recording:
        yield recording


def attempt(function, *args, **kwargs):
    with contextlib.suppress(anthropic.APIError):
        return function(*args, **kwargs)


def play_async(provider, *steps):
    return async_client(provider.url, loaded(steps, provider))


# -- failures ----------------------------------------------------------------------------------------------------------


def test_an_overflow_is_described_in_our_own_words(play, seen):
    attempt(play(PROMPT_TOO_LONG).messages.create, **ASK)
    assert seen.one().status.description == "context length: 212000 > 200000"


def test_the_provider_s_words_are_not_recorded(play, seen):
    attempt(play(REFUSED).messages.create, **ASK)
    (event,) = seen.one().events
    assert seen.one().status.description is None
    assert "exception.message" not in event.attributes


@pytest.mark.parametrize("variable", [CONTENT, {"NEXUS_ERROR_MESSAGES": "true"}], ids=["content", "messages"])
def test_the_provider_s_words_are_recorded_when_asked_for(play, variable):
    with instrumented(AnthropicInstrumentor, **variable) as seen:
        attempt(play(REFUSED).messages.create, **ASK)
    (event,) = seen.one().events
    assert seen.one().status.description == event.attributes["exception.message"] == REFUSED.message


def test_an_exception_is_recorded_by_type_and_place(play, seen):
    attempt(play(rate_limited()).messages.create, **ASK)
    (event,) = seen.one().events
    lines = event.attributes["exception.stacktrace"].splitlines()
    assert event.attributes["exception.type"] == "anthropic.RateLimitError"
    assert any("_base_client.py" in line for line in lines)
    assert all(line.startswith('  File "') for line in lines)


def test_an_exception_is_an_event_of_the_innermost_span_only(play):
    with instrumented(AnthropicInstrumentor) as seen:
        attempt(play(REFUSED).messages.create, **ASK, tools=TOOLS)
    assert values(seen.one("invoke_agent"))["error.type"] == "invalid_request_error"
    assert [len(span.events) for span in (seen.one("invoke_agent"), seen.one("chat"))] == [0, 1]


def test_an_exception_is_a_log_event_where_logs_are_exported(play, seen):
    attempt(play(rate_limited()).messages.create, **ASK)
    (record,) = seen.logs
    assert record.event_name == "gen_ai.client.operation.exception"
    assert record.severity_number.value == 13
    assert dict(record.attributes)["exception.type"] == "anthropic.RateLimitError"
    assert (record.trace_id, record.span_id) == (trace_id(seen.one()), span_id(seen.one()))


def test_with_the_names_of_the_packages_errors_are_qualified_and_no_events(play):
    with instrumented(AnthropicInstrumentor, NEXUS_SEMCONV="pkg") as seen:
        attempt(play(rate_limited()).messages.create, **ASK)
    (point,) = seen.points["gen_ai.client.operation.duration"]
    assert values(seen.one())["error.type"] == "anthropic.RateLimitError"
    assert point.attributes["error.type"] == "anthropic.RateLimitError"
    assert seen.one().events == ()


def test_with_the_names_of_the_packages_messages_have_their_finish_reason(play):
    with instrumented(AnthropicInstrumentor, NEXUS_SEMCONV="pkg", **CONTENT) as seen:
        play(SAID).messages.create(**ASK)
    (message,) = json.loads(values(seen.one())["gen_ai.output.messages"])
    assert message["finish_reason"] == "stop"


def test_with_the_names_of_the_conventions_they_have_none(play):
    with instrumented(AnthropicInstrumentor, **CONTENT) as seen:
        play(SAID).messages.create(**ASK)
    (message,) = json.loads(values(seen.one())["gen_ai.output.messages"])
    assert "finish_reason" not in message


def test_an_interrupt_is_recorded_and_passes(provider, seen, monkeypatch):
    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt

    with client(provider.url, "key") as connected:
        monkeypatch.setattr(connected._client, "send", interrupt)
        with pytest.raises(KeyboardInterrupt):
            connected.messages.create(**ASK)
    assert values(seen.one())["error.type"] == "KeyboardInterrupt"


# -- retries -----------------------------------------------------------------------------------------------------------


def test_a_retry_says_why_and_how_long(play, seen):
    play(rate_limited(30), SAID, max_retries=2).messages.create(**ASK)
    (event,) = seen.one().events
    attributes = dict(event.attributes)
    assert 0.02 < attributes.pop("nexus.retry.wait") < 5
    assert attributes == {"nexus.retry.attempt": 1, "nexus.retry.cause": "429", "http.response.status_code": 429}


def test_a_retry_after_a_lost_connection_has_no_status(play, seen):
    play(Dropped(), SAID, max_retries=2).messages.create(**ASK)
    (event,) = seen.one().events
    assert event.attributes["nexus.retry.cause"] == "connection_error"
    assert "http.response.status_code" not in event.attributes


def test_a_retry_is_not_due_to_an_error_that_the_caller_handles(play, seen):
    try:
        play(rate_limited()).messages.create(**ASK)
    except anthropic.RateLimitError:
        play(Dropped(), SAID, max_retries=1).messages.create(**ASK)
    (event,) = seen.spans[-1].events
    assert event.attributes["nexus.retry.cause"] == "connection_error"


def test_every_retry_is_an_event_of_the_one_span(play, seen):
    attempt(play(*[rate_limited()] * 3, max_retries=2).messages.create, **ASK)
    assert [event.name for event in seen.one().events] == ["nexus.retry", "nexus.retry", "exception"]
    assert [event.attributes["nexus.retry.attempt"] for event in seen.one().events[:2]] == [1, 2]


def test_a_retried_call_lasts_from_the_first_try(play, seen):
    play(rate_limited(50), SAID, max_retries=1).messages.create(**ASK)
    span = seen.one()
    assert span.end_time - span.start_time > 50_000_000


# -- what a response says ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "recorded"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_call"),
        ("refusal", "content_filter"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_finish_reasons_are_normalised(play, seen, said, recorded, streamed):
    connected = play(Reply("Hm.", stop_reason=said))
    helper(connected) if streamed else connected.messages.create(**ASK)
    assert values(seen.one())["gen_ai.response.finish_reasons"] == (recorded,)


FULL = (
    SAID,
    RICH,
    Reply(""),
    Reply(tools=[ToolUse("find", {"bird": CANARY, "n": [1, {"a": None}]}), ToolUse("feed")]),
    Reply("See.", thinking="Hm.", raw_blocks=[{"type": "redacted_thinking", "data": "xyz"}]),
    Reply(
        raw_blocks=[
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "bird"}},
            {
                "type": "web_search_tool_result",
                "tool_use_id": "srvtoolu_1",
                "content": [
                    {
                        "type": "web_search_result",
                        "url": "http://x",
                        "title": "t",
                        "encrypted_content": "e",
                        "page_age": None,
                    }
                ],
            },
        ]
    ),
)


@pytest.mark.parametrize("reply", FULL, ids=range(len(FULL)))
def test_a_stream_says_what_the_whole_message_says(play, reply):
    with instrumented(AnthropicInstrumentor, **CONTENT) as seen:
        for streamed in (False, True):
            connected = play(reply)
            list(connected.messages.create(**ASK, stream=True)) if streamed else connected.messages.create(**ASK)
    whole, streamed = (values(span) for span in seen.spans)
    for name in ("gen_ai.request.stream", "gen_ai.response.time_to_first_chunk"):
        del streamed[name]
    assert streamed == whole
    assert [problem for span in seen.spans for problem in violations(span)] == []


@given(st.integers(0, 10**9), st.none() | st.integers(0, 10**9), st.none() | st.integers(0, 10**9))
def test_input_tokens_are_fresh_read_and_written_ones(fresh, read, written):
    counted = {"input_tokens": fresh, "cache_read_input_tokens": read, "cache_creation_input_tokens": written}
    assert usage(counted).input_tokens == fresh + (read or 0) + (written or 0)


def test_unknown_tokens_are_unknown_and_not_nothing():
    assert usage(None).input_tokens is None
    assert usage({"output_tokens": 0}).output_tokens == 0


def test_a_stream_that_is_cut_says_what_it_knows(play, seen):
    stream = play(Reply("A long answer.", usage=Usage(input=5, cache_read=7), cut_after=4)).messages.create(
        **ASK, stream=True
    )
    with contextlib.suppress(Exception):
        list(stream)
    attributes = values(seen.one())
    assert attributes["gen_ai.usage.input_tokens"] == 12
    assert attributes["gen_ai.response.id"] == "msg_0001"
    assert "gen_ai.response.finish_reasons" not in attributes


# -- what is given -----------------------------------------------------------------------------------------------------

BLOCKS = [
    {"type": "text", "text": "Look."},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 4000}},
    {"type": "image", "source": {"type": "url", "url": "http://x/y.png"}},
    {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
    {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "inner"}]}},
]


def asked(seen):
    return json.loads(values(seen.one())["gen_ai.input.messages"])


def test_blocks_become_parts_of_the_conventions(play):
    with instrumented(AnthropicInstrumentor, **CONTENT) as seen:
        play(SAID).messages.create(**{**ASK, "messages": [{"role": "user", "content": BLOCKS}]})
    (message,) = asked(seen)
    kinds = [(part["type"], part.get("modality")) for part in message["parts"]]
    assert kinds[:5] == [
        ("text", None), ("blob", "image"), ("uri", "image"), ("file", "document"), ("blob", "document"),
    ]  # fmt: skip
    assert violations(seen.one()) == []


def test_a_picture_is_its_size_and_hash(play):
    with instrumented(AnthropicInstrumentor, **CONTENT) as seen:
        play(SAID).messages.create(**{**ASK, "messages": [{"role": "user", "content": BLOCKS}]})
    blob = asked(seen)[0]["parts"][1]
    assert (blob["content"], blob["byte_size"], blob["mime_type"]) == ("", 3000, "image/png")
    assert len(blob["sha256"]) == 64
    assert "AAAA" not in seen.text()


def test_blocks_of_a_reply_can_be_given_back(play):
    with instrumented(AnthropicInstrumentor, **CONTENT) as seen:
        connected = play(RICH, SAID)
        reply = connected.messages.create(**ASK)
        history = [
            *ASK["messages"],
            {"role": "assistant", "content": reply.content},
            {"role": "user", "content": "Go on"},
        ]
        connected.messages.create(**{**ASK, "messages": history})
    said = json.loads(values(seen.spans[0])["gen_ai.output.messages"])[0]
    assert json.loads(values(seen.spans[1])["gen_ai.input.messages"])[1] == said


def test_thinking_is_a_part_of_its_own(play):
    with instrumented(AnthropicInstrumentor, **CONTENT) as seen:
        play(RICH).messages.create(**ASK)
    (message,) = json.loads(values(seen.one())["gen_ai.output.messages"])
    assert [part["type"] for part in message["parts"]] == ["reasoning", "text"]


def test_the_parameters_of_a_request_are_recorded(play, seen):
    more = {"stop_sequences": ["END"], **({"output_config": {"effort": "low"}} if has("output_config") else {})}
    extra = {"temperature": 0, "top_p": 1, "top_k": 5}
    play(SAID).messages.create(**ASK, **more, extra_body=extra)
    attributes = values(seen.one())
    assert attributes["gen_ai.request.stop_sequences"] == ("END",)
    assert attributes.get("gen_ai.request.reasoning.level") == ("low" if has("output_config") else None)
    assert (attributes["gen_ai.request.temperature"], attributes["gen_ai.request.top_p"]) == (0.0, 1.0)
    assert attributes["gen_ai.request.top_k"] == 5
    assert violations(seen.one()) == []


def test_a_copy_of_a_client_is_recorded_too(play, seen):
    play(SAID).with_options(timeout=5).messages.create(**ASK)
    assert seen.names == {"chat claude-test": 1}


# -- responses that are not read ---------------------------------------------------------------------------------------


def test_a_response_that_is_not_read_ends_its_span(play, seen):
    with play(SAID).messages.with_streaming_response.create(**ASK):
        assert seen.spans == []
    assert values(seen.one())["nexus.stream.outcome"] == "closed"


@pytest.mark.parametrize("read", ["iter_lines", "iter_text", "iter_bytes"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_response_read_by_pieces_ends_its_span(play, seen, read, streamed):
    more = {"stream": True} if streamed else {}
    with play(SAID).messages.with_streaming_response.create(**ASK, **more) as response:
        read = list(getattr(response, read)())
    assert read
    assert seen.one().status.status_code is StatusCode.UNSET


async def test_an_async_response_that_is_not_read_ends_its_span(provider, seen):
    async with play_async(provider, SAID) as connected, connected.messages.with_streaming_response.create(**ASK):
        assert seen.spans == []
    assert values(seen.one())["nexus.stream.outcome"] == "closed"


def test_a_user_s_error_while_a_response_is_open_is_recorded(play, seen):
    with pytest.raises(LookupError), play(SAID).messages.with_streaming_response.create(**ASK):
        raise LookupError
    assert values(seen.one())["error.type"] == "LookupError"


# -- cancellation ------------------------------------------------------------------------------------------------------


async def test_a_cancelled_call_is_no_failure(provider, seen):
    async with play_async(provider, Reply("late", delay_s=30)) as connected:
        task = asyncio.ensure_future(connected.messages.create(**ASK))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    span = seen.one()
    assert span.status.status_code is StatusCode.UNSET
    assert values(span)["nexus.stream.outcome"] == "cancelled"
    assert span.events == ()


# -- tools that the SDK runs -------------------------------------------------------------------------------------------


@needs("tool runner")
def test_a_tool_s_own_spans_are_below_it(play, seen):
    def look(bird: str) -> str:
        """Looks."""
        with seen.tracer.start_as_current_span("look it up"):
            return bird

    runner = play(FIND, SAID).beta.messages.tool_runner(**ASK, tools=[anthropic.beta_tool(look, name="find")])
    runner.until_done()
    assert seen.tree() == (
        f"invoke_agent {AGENT}\n"
        "  chat claude-test\n"
        "  execute_tool find\n"
        "    look it up\n"
        "  chat claude-test"
    )  # fmt: skip


@needs("tool runner")
def test_a_model_call_of_a_tool_is_below_it(play, seen):
    other = play(Reply("A bird."))

    def ask(bird: str) -> str:
        """Asks."""
        return other.messages.create(**ASK).content[0].text

    play(FIND, SAID).beta.messages.tool_runner(**ASK, tools=[anthropic.beta_tool(ask, name="find")]).until_done()
    assert seen.tree() == (
        f"invoke_agent {AGENT}\n"
        "  chat claude-test\n"
        "  execute_tool find\n"
        "    chat claude-test\n"
        "  chat claude-test"
    )  # fmt: skip
    assert values(seen.one("invoke_agent"))["nexus.run.steps"] == 3


@needs("tool runner")
def test_a_tool_that_raises_is_an_error_without_its_words(play, seen):
    def fail(bird: str) -> str:
        """Fails."""
        raise LookupError(f"no {bird} here")

    play(FIND, SAID).beta.messages.tool_runner(**ASK, tools=[anthropic.beta_tool(fail, name="find")]).until_done()
    span = seen.one("execute_tool")
    attributes = values(span)
    assert attributes["error.type"] == "LookupError"
    assert attributes["nexus.tool.failed"] is True
    assert attributes["nexus.tool.error.class"] in {"not_found", "other"}
    assert CANARY not in seen.text()
    assert violations(span) == []


@needs("tool runner")
def test_a_tool_that_the_runner_does_not_have_gets_a_derived_span(play, seen):
    warns = has("warning of unknown tools")
    with pytest.warns(UserWarning, match="not found in tool runner") if warns else contextlib.nullcontext():
        run_tools(play(Reply(tools=[ToolUse("fly")]), SAID)).until_done()
    attributes = values(seen.one("execute_tool"))
    assert attributes["nexus.derived"] is True
    assert attributes["nexus.tool.known"] is False
    assert attributes["error.type"] == "unknown_tool"


@needs("tool runner")
def test_a_runner_that_is_stopped_early_ends_its_run(play):
    with instrumented(AnthropicInstrumentor) as seen:
        run_tools(play(FIND, SAID), max_iterations=1).until_done()
    # the first lines of the SDK do not run the tools of the last answer
    assert {name for name in seen.names if not name.startswith("execute_tool")} == {
        f"invoke_agent {AGENT}",
        "chat claude-test",
    }
    assert values(seen.one("invoke_agent"))["nexus.run.closed_by"] == "exit"


@needs("tool runner")
async def test_two_runners_in_one_loop_keep_their_tools(provider, seen):
    from tests.instrumentors.anthropic_cases import run_tools_async

    async def one() -> Any:
        async with play_async(provider, FIND, SAID) as connected:
            return await run_tools_async(connected).until_done()

    await asyncio.gather(one(), one())
    tree = f"invoke_agent {AGENT}\n  chat claude-test\n  execute_tool find\n  chat claude-test"
    assert seen.tree() == f"{tree}\n{tree}"


@pytest.mark.parametrize(
    ("choice", "tools", "opens"),
    [
        ({"type": "auto"}, 2, True),
        ({"type": "any"}, 2, True),
        ({"type": "any"}, 1, False),
        ({"type": "tool", "name": "find"}, 2, False),
        ({"type": "none"}, 2, True),
    ],
    ids=["auto", "any", "any of one", "tool", "none"],
)
def test_a_tool_that_is_forced_is_no_run(play, choice, tools, opens):
    with instrumented(AnthropicInstrumentor) as seen:
        play(SAID).messages.create(**ASK, tools=TOOLS[:tools], tool_choice=choice)
    assert [span.name for span in seen.spans if span.parent is None] == [
        f"invoke_agent {AGENT}" if opens else "chat claude-test"
    ]


# -- the loop ----------------------------------------------------------------------------------------------------------


def test_a_loop_is_one_trace(play, seen):
    loop(play(FIND, SAID).messages.create)
    assert len({trace_id(span) for span in seen.spans}) == 1
    assert [parent_id(span) for span in seen.all("chat")] == [span_id(seen.one("invoke_agent"))] * 2


def test_the_current_span_of_the_application_stays_current(play, seen):
    with seen.tracer.start_as_current_span("application") as mine:
        loop(play(FIND, SAID).messages.create)
        assert trace.get_current_span() is mine


def test_a_failing_request_is_not_blamed_on_the_tool(play, seen):
    connected = play(FIND, Failure(400, "invalid_request_error", "no"), max_retries=0)
    attempt(loop, connected.messages.create)
    assert values(seen.one("execute_tool"))["nexus.tool.failed"] is False


@needs("tool runner")
def test_beta_tools_are_plain_functions_again(play, seen):
    assert anthropic.beta_tool(find, name="find").call({"bird": "wren"}) == "wren: in the cage"
    assert values(seen.one())["gen_ai.tool.name"] == "find"


# -- streams in a loop, and how long they live -------------------------------------------------------------------------


@contextlib.contextmanager
def without_collections():
    gc.disable()
    yield
    gc.enable()


def dropped(connected):
    """Whether the response of a stream is closed as soon as nobody holds the stream."""
    stream = connected.messages.create(**ASK, stream=True)
    next(stream)
    response = stream.response
    with without_collections():
        del stream
        return response.is_closed


def test_a_dropped_stream_gives_its_connection_back_as_soon_as_without_us(play, provider):
    bare = dropped(play(SAID))
    with instrumented(AnthropicInstrumentor) as seen:
        assert dropped(play(SAID)) == bare
        gc.collect()  # before 1.0 a stream is part of a cycle, with us and without
        assert values(seen.one())["nexus.stream.outcome"] == "abandoned"


def test_a_stream_that_was_read_is_not_kept_alive(play, seen):
    stream = play(SAID).messages.create(**ASK, stream=True)
    list(stream)
    reference = weakref.ref(stream)
    with without_collections():
        del stream
        assert reference() is None


def test_a_raw_response_is_not_kept_alive(play, seen):
    response = play(SAID).messages.with_raw_response.create(**ASK)
    response.parse()
    reference = weakref.ref(response)
    with without_collections():
        del response
        assert reference() is None


def test_a_stream_that_is_closed_while_an_error_is_handled_did_not_fail(play, seen):
    try:
        {}["gone"]
    except KeyError:
        stream = play(SAID).messages.create(**ASK, stream=True)
        next(stream)
        stream.close()
    assert seen.one().status.status_code is StatusCode.UNSET
    assert values(seen.one())["nexus.stream.outcome"] == "closed"


@pytest.mark.parametrize("names", ["main", "pkg"])
def test_the_chunks_of_a_stream_are_measured(play, names):
    with instrumented(AnthropicInstrumentor, NEXUS_SEMCONV=names) as seen:
        events = list(play(SAID).messages.create(**ASK, stream=True))
    table = semconv.PKG_METRICS if names == "pkg" else semconv.MAIN_METRICS
    (first,), (gaps,) = seen.points[table["first_chunk"].name], seen.points[table["chunk"].name]
    assert (first.count, gaps.count) == (1, len(events) - 1)


def test_a_stream_whose_bytes_are_read_ends_its_span(play, seen):
    stream = play(SAID).messages.create(**ASK, stream=True)
    assert b"message_stop" in b"".join(stream.response.iter_bytes())
    assert seen.names == {"chat claude-test": 1}
    assert seen.one().status.status_code is StatusCode.UNSET


def test_a_stream_that_is_closed_once_the_tool_is_known_goes_on_in_its_run(play, seen):
    connected = play(FIND, SAID)
    messages = list(ASK["messages"])
    with connected.messages.stream(**{**ASK, "messages": messages}, tools=TOOLS) as stream:
        for event in stream:
            if event.type == "content_block_stop" and event.content_block.type == "tool_use":
                messages += [
                    {"role": "assistant", "content": stream.current_message_snapshot.content},
                    {"role": "user", "content": [answer_of(event.content_block.id)]},
                ]
                break
    connected.messages.create(**{**ASK, "messages": messages}, tools=TOOLS)
    assert seen.tree() == (
        f"invoke_agent {AGENT}\n"
        "  chat claude-test\n"
        "  execute_tool find\n"
        "  chat claude-test"
    )  # fmt: skip


def answer_of(id_):
    return {"type": "tool_result", "tool_use_id": id_, "content": "in the cage"}


@pytest.mark.parametrize("raw", ["with_raw_response", "with_streaming_response"])
def test_a_loop_of_raw_responses_is_one_run(play, seen, raw):
    connected = play(FIND, SAID)

    def create(**request):
        if raw == "with_raw_response":
            return connected.messages.with_raw_response.create(**request).parse()
        with connected.messages.with_streaming_response.create(**request) as response:
            return response.parse()

    loop(create)
    assert seen.names == {f"invoke_agent {AGENT}": 1, "chat claude-test": 2, "execute_tool find": 1}


def test_a_loop_of_streams_is_one_run(play, seen):
    connected = play(FIND, SAID)

    def create(**request):
        with connected.messages.stream(**request) as stream:
            return stream.get_final_message()

    loop(create)
    assert seen.names == {f"invoke_agent {AGENT}": 1, "chat claude-test": 2, "execute_tool find": 1}


# -- threads that the provider holds -----------------------------------------------------------------------------------


@needs("thread")
def test_a_thread_sends_parses_and_streams(play, seen):
    thread = play(SAID, SAID, SAID).beta.messages.thread(model="claude-test", max_tokens=64)
    thread.send({"role": "user", "content": "one"})
    thread.parse({"role": "user", "content": "two"})
    with thread.stream({"role": "user", "content": "three"}) as stream:
        stream.until_done()
    assert seen.names == {"chat claude-test": 3}
    assert [values(span)["gen_ai.response.id"] for span in seen.spans] == ["msg_0001", "msg_0002", "msg_0003"]
    assert [problem for span in seen.spans for problem in violations(span)] == []


@needs("thread")
def test_a_thread_with_tools_is_one_run(play, seen):
    thread = play(FIND, SAID).beta.messages.thread(model="claude-test", max_tokens=64, tools=TOOLS)
    thread.send({"role": "user", "content": "where?"})
    thread.send({"role": "user", "content": [answer_of("toolu_0001")]})
    assert seen.names == {f"invoke_agent {AGENT}": 1, "chat claude-test": 2, "execute_tool find": 1}


# -- the example -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def example():
    path = Path(__file__).parents[2] / "examples" / "anthropic_agent.py"
    spec = importlib.util.spec_from_file_location("anthropic_agent", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("how", ["create", "stream", "async", pytest.param("tool_runner", marks=needs("tool runner"))])
def test_the_example_is_one_trace_however_it_is_written(provider, seen, example, how):
    key = loaded(demo_script(), provider)
    example.answer(how, {"base_url": provider.url, "api_key": key}, "claude-test", example.QUESTION)
    root = values(seen.one("invoke_agent"))
    assert seen.names == {
        f"invoke_agent {AGENT}": 1,
        "chat claude-test": 5,
        "execute_tool get_weather": 3,
        "execute_tool to_fahrenheit": 2,
    }
    assert len({trace_id(span) for span in seen.spans}) == 1
    assert (root["nexus.usage.input_tokens"], root["nexus.usage.output_tokens"]) == provider.usage_sent(key)
    assert [s.name for s in seen.spans if "error.type" in values(s)] == ["execute_tool get_weather"]
    assert [problem for span in seen.spans for problem in violations(span)] == []
