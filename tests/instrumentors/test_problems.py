"""The problems that users have with other instrumentations of this kind, each as a test named after it."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import logging
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import anthropic
import pytest

from nexus_otel.instrumentors.anthropic import AnthropicInstrumentor
from tests.fakes.provider import Reply, ToolUse, Usage
from tests.instrumentors.anthropic_cases import (
    ASK,
    FIND,
    SAID,
    TOOLS,
    async_client,
    client,
    loop,
    loop_async,
    run_tools,
)
from tests.instrumentors.anthropic_lines import has, needs
from tests.kit.cases import CANARY, loaded
from tests.kit.fixtures import Kept
from tests.kit.recording import AGENT, instrumented, parent_id, span_id, trace_id, values

CONTENT = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}
COSTLY = Reply("Found.", usage=Usage(input=7, output=50, cache_read=30, cache_write=4))


@pytest.fixture
def seen():
    with instrumented(AnthropicInstrumentor) as recording:
        yield recording


async def test_problem_1_no_context_is_detached_elsewhere(provider, seen, opentelemetry_is_silent):
    async with async_client(provider.url, loaded([SAID, SAID], provider)) as connected:
        streams = [await connected.messages.create(**ASK, stream=True) for _ in range(2)]
        await asyncio.create_task(anext(streams[0]))
        await asyncio.create_task(streams[0].close())
        await asyncio.create_task(anext(streams[1]))
        streams.clear()
        gc.collect()
        await asyncio.sleep(0)
    assert opentelemetry_is_silent.lines == []
    assert len(seen.spans) == 2


async def test_problem_2_the_steps_of_an_async_run_are_not_roots(provider, seen):
    async with async_client(provider.url, loaded([FIND, SAID], provider)) as connected:
        await asyncio.create_task(loop_async(connected.messages.create))
    assert [span.name for span in seen.spans if span.parent is None] == [f"invoke_agent {AGENT}"]


@needs("tool runner")
def test_problem_3_the_tokens_of_a_trace_are_those_that_were_billed(provider, seen):
    key = loaded([Reply(tools=[ToolUse("find", {"bird": "x"})], usage=COSTLY.usage), COSTLY], provider)
    with client(provider.url, key) as connected:
        run_tools(connected).until_done()
    summed = [sum(values(s).get(f"gen_ai.usage.{w}_tokens", 0) for s in seen.spans) for w in ("input", "output")]
    assert tuple(summed) == provider.usage_sent(key)


def test_problem_4_a_stream_that_is_left_early_is_seen(provider, seen):
    with client(provider.url, loaded([SAID], provider)) as connected:
        for _ in connected.messages.create(**ASK, stream=True):
            break
        gc.collect()
        assert seen.names == {"chat claude-test": 1}


def test_problem_5_what_the_caller_gets_is_the_library_s(provider, seen):
    with client(provider.url, loaded([SAID] * 3, provider)) as connected:
        message = connected.messages.create(**ASK)
        stream = connected.messages.create(**ASK, stream=True)
        assert isinstance(stream, anthropic.Stream)
        with stream as entered:
            assert entered is stream
        assert stream.response.status_code == 200
        with connected.messages.stream(**ASK) as helped:
            assert "".join(helped.text_stream) == SAID.text
            assert helped.get_final_text() == SAID.text
    assert copy.deepcopy(message) == pickle.loads(pickle.dumps(message)) == message  # noqa: S301 - our own


@pytest.mark.parametrize("split", [Usage(input=9, output=1), Usage(input=9, output=50, cache_read=3, thinking=12)])
def test_problem_6_a_stream_s_usage_is_merged_over_its_events(provider, seen, split):
    key = loaded([Reply("x", usage=split)], provider)
    with client(provider.url, key) as connected:
        list(connected.messages.create(**ASK, stream=True))
    attributes = values(seen.one())
    assert (attributes["gen_ai.usage.input_tokens"], attributes["gen_ai.usage.output_tokens"]) == provider.usage_sent(
        key
    )


def test_problem_7_cached_tokens_are_counted_once(provider, seen):
    with client(provider.url, loaded([COSTLY], provider)) as connected:
        connected.messages.create(**ASK)
    attributes = values(seen.one())
    assert attributes["gen_ai.usage.input_tokens"] == 7 + 30 + 4
    assert attributes["gen_ai.usage.cache_read.input_tokens"] == 30
    assert attributes["gen_ai.usage.cache_write.input_tokens"] == 4


def test_problem_8_a_method_that_is_gone_is_one_warning_by_name(provider, monkeypatch):
    from anthropic.resources.beta.messages.messages import Messages

    monkeypatch.delattr(Messages, "create")
    with (
        Kept("nexus_otel") as kept,
        instrumented(AnthropicInstrumentor) as seen,
        client(provider.url, loaded([SAID], provider)) as connected,
    ):
        connected.messages.create(**ASK)
    (line,) = kept.lines
    assert (
        f"anthropic {anthropic.__version__} has no anthropic.resources.beta.messages.messages.Messages.create" in line
    )
    assert seen.names == {"chat claude-test": 1}


def test_problem_9_a_tool_that_failed_is_not_fine(provider, seen):
    def results(reply):
        ids = [block.id for block in reply.content if block.type == "tool_use"]
        return [{"type": "tool_result", "tool_use_id": i, "content": "no such bird", "is_error": True} for i in ids]

    with client(provider.url, loaded([FIND, SAID], provider)) as connected:
        messages = list(ASK["messages"])
        reply = connected.messages.create(**{**ASK, "messages": messages}, tools=TOOLS)
        messages += [{"role": "assistant", "content": reply.content}, {"role": "user", "content": results(reply)}]
        connected.messages.create(**{**ASK, "messages": messages}, tools=TOOLS)
    assert values(seen.one("execute_tool"))["error.type"] == "tool_error"


async def test_problem_10_control_flow_is_no_error(provider, seen):
    async with async_client(provider.url, loaded([Reply("late", delay_s=30)], provider)) as connected:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(connected.messages.create(**ASK), 0.05)
    assert "error.type" not in values(seen.one())


def test_problem_11_a_thread_does_not_lose_the_run(provider, seen):
    with client(provider.url, loaded([FIND, SAID], provider)) as connected, ThreadPoolExecutor(1) as pool:
        loop(lambda **request: pool.submit(connected.messages.create, **request).result())
    assert len({trace_id(span) for span in seen.spans}) == 1
    assert [parent_id(span) for span in seen.all("chat")] == [span_id(seen.one("invoke_agent"))] * 2


def test_problem_13_prompts_stay_out_of_everything_unless_asked_for(provider, seen):
    with client(provider.url, loaded([FIND, SAID], provider)) as connected:
        loop(connected.messages.create)
    assert CANARY not in seen.text()


def test_problem_14_a_payload_is_cut_in_its_structure(provider):
    limits = {"NEXUS_MAX_ATTRIBUTE_BYTES": "20000", "NEXUS_MAX_SPAN_BYTES": "30000"}
    history = [{"role": "user" if n % 2 == 0 else "assistant", "content": f"{n} " + "x" * 40_000} for n in range(51)]
    with (
        instrumented(AnthropicInstrumentor, **CONTENT, **limits) as seen,
        client(provider.url, loaded([SAID], provider)) as connected,
    ):
        connected.messages.create(**{**ASK, "messages": history})
    attributes = values(seen.one())
    kept = json.loads(attributes["gen_ai.input.messages"])
    assert sum(len(str(value)) for value in attributes.values()) < 32_000
    assert kept[0]["parts"][0]["content"].startswith("0 ")
    assert kept[-1]["parts"][0]["content"].startswith("50 ")
    assert attributes["nexus.truncated"] == ("gen_ai.input.messages",)
    assert attributes["nexus.message.count"] == 51


@needs("tool runner")
def test_problem_15_what_cannot_be_serialised_does_no_harm(provider):
    class Ugly:
        def __repr__(self):
            raise RuntimeError

    def answer(bird: str) -> str:
        """Answers."""
        return Ugly()

    with instrumented(AnthropicInstrumentor, **CONTENT) as seen:
        tool = anthropic.beta_tool(answer, name="find")
        result = tool.call({"bird": "x"})
    assert isinstance(result, Ugly)
    assert "Ugly" in values(seen.one())["gen_ai.tool.call.result"]


def test_problem_20_calls_that_race_keep_their_parents(provider, seen):
    keys = [loaded([FIND, SAID], provider) for _ in range(16)]
    together = threading.Barrier(16)

    def converse(key):
        with client(provider.url, key) as connected:
            together.wait()
            loop(connected.messages.create)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(converse, keys))
    tree = f"invoke_agent {AGENT}\n  chat claude-test\n  execute_tool find\n  chat claude-test"
    assert seen.tree() == "\n".join([tree] * 16)


@pytest.mark.parametrize("absent", [anthropic.NOT_GIVEN, getattr(anthropic, "omit", anthropic.NOT_GIVEN)])
def test_problem_23_what_was_not_given_is_no_attribute(provider, seen, absent):
    given = dict.fromkeys(("system", "tools", "stop_sequences", "tool_choice", *["thinking"] * has("thinking")), absent)
    with (
        Kept("opentelemetry.attributes", logging.DEBUG) as kept,
        client(provider.url, loaded([SAID], provider)) as connected,
    ):
        connected.messages.create(**{**ASK, **given})
    assert kept.lines == []
    assert seen.names == {"chat claude-test": 1}
    assert not any("NotGiven" in str(value) or "Omit" in str(value) for value in values(seen.one()).values())
