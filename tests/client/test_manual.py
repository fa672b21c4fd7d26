"""The manual API: traces, spans, decorators, metadata; and the documentation's agent, run as it is printed."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anthropic
import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace
from opentelemetry.trace import StatusCode

import nexus_otel
from nexus_otel import NexusClient, NexusError
from nexus_otel.bootstrap import activate
from nexus_otel.engine import streams
from nexus_otel.instrumentors.anthropic import AnthropicInstrumentor
from tests.engine.toy import Answer, Model, Tool, ToyInstrumentor, calls
from tests.engine.toy_framework import Agent, FrameworkInstrumentor
from tests.fakes.otlp import Receiver
from tests.fakes.provider import Reply, ToolUse, Usage
from tests.kit.conventions import violations
from tests.kit.fixtures import failures_allowed
from tests.kit.recording import content_mode, instrumented, trace_id, values

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/manual.md").read_text("utf-8")
NO_CONTENT = content_mode("NO_CONTENT")


def recorded(**environment):
    """Return a block in which spans of hand-written code are recorded, with the Anthropic SDK instrumented."""
    return _Global(environment)


class _Global:
    def __init__(self, environment):
        self._block = instrumented(AnthropicInstrumentor, **environment)

    def __enter__(self):
        recording = self._block.__enter__()
        otel_trace._TRACER_PROVIDER = recording.tracer_provider
        activate._allowed = None
        return recording

    def __exit__(self, *error):
        activate._allowed = None
        try:
            return self._block.__exit__(*error)
        finally:
            otel_trace._TRACER_PROVIDER = None


@pytest.fixture
def seen():
    with recorded() as recording:
        yield recording


@pytest.fixture(autouse=True)
def context_as_before():
    before = otel_context.get_current()
    yield
    after = otel_context.get_current()
    otel_context.attach(before)
    assert after is before


def span(seen, name):
    return next(each for each in seen.spans if each.name.startswith(name))


def check(seen):
    assert [p for each in seen.spans if "gen_ai.operation.name" in values(each) for p in violations(each)] == []


# -- the documentation's agent -----------------------------------------------------------------------------------------


def blocks():
    return re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def article(provider, key, tools=None):
    """Return the names of the five blocks, run as they are printed, with what they need around them."""

    async def look(arguments):
        return f"found {arguments['key']}"

    async def answers(step, response):
        return [
            {
                "type": "tool_result",
                "tool_use_id": use.id,
                "content": await names["call_tool"](step, use.name, use.input),
            }
            for use in response.content
            if use.type == "tool_use"
        ]

    names = {
        "client": anthropic.AsyncAnthropic(base_url=provider.url, api_key=key, max_retries=0),
        "TOOLS": {"look": look, **(tools or {})},
        "TOOL_DEFINITIONS": [{"name": "look", "input_schema": {"type": "object"}}],
        "CONTEXT_LIMIT": 1_000,
        "answers": answers,
    }
    for block in blocks()[:5]:
        exec(compile(block, "docs/manual.md", "exec"), names)  # noqa: S102 - the page's own code
    return names


def go(names, function, *arguments):
    """Return what a function of the page gives."""

    async def run():
        async with names["client"]:
            return await names[function](*arguments)

    return asyncio.run(run())


STEPS = [Reply(tools=[ToolUse("look", {"key": "a"})], usage=Usage(10, 2)), Reply("done", usage=Usage(20, 3))]
TREE = (
    "invoke_agent research-agent\n  step 0\n    chat claude-test\n    execute_tool look\n  step 1\n    chat claude-test"
)


def test_a_run_as_documented(seen, provider):
    provider.load(STEPS, "k")
    assert go(article(provider, "k"), "run_agent", "hello") == "done"
    assert seen.tree() == TREE
    root = values(span(seen, "invoke_agent"))
    assert (root["nexus.usage.input_tokens"], root["nexus.usage.output_tokens"]) == provider.usage_sent("k")
    assert root["nexus.run.steps"] == 2
    assert root["nexus.run.tool_calls"] == 1
    assert root["gen_ai.input.messages"] == '[{"role":"user","parts":[{"type":"text","content":"hello"}]}]'
    assert "done" in root["gen_ai.output.messages"]
    assert {values(each)["gen_ai.agent.version"] for each in seen.spans} == {"1.2.0"}
    tool = values(span(seen, "execute_tool"))
    assert tool["gen_ai.tool.call.arguments"] == '{"key":"a"}'
    assert tool["gen_ai.tool.call.result"] == "found a"
    assert tool["gen_ai.tool.call.id"] == "toolu_0001"
    assert "nexus.derived" not in tool
    check(seen)


def test_a_failing_tool_as_documented(seen, provider):
    async def look(arguments):
        raise LookupError("nothing there")

    provider.load(STEPS, "k")
    with pytest.raises(LookupError):
        go(article(provider, "k", {"look": look}), "run_agent", "hello")
    tool = span(seen, "execute_tool look")
    assert tool.status.status_code is StatusCode.ERROR
    assert values(tool)["nexus.tool.failed"] is True
    assert values(tool)["gen_ai.tool.call.arguments"] == '{"key":"a"}'
    assert span(seen, "invoke_agent").status.status_code is StatusCode.ERROR
    assert values(span(seen, "step 0"))["nexus.unended"] is True


def test_the_warning_of_the_token_tracking(seen, provider, capsys):
    provider.load([Reply("done", usage=Usage(900, 3))], "k")
    go(article(provider, "k"), "run_agent", "hello")
    assert capsys.readouterr().out == "warning: 900 of 1000 tokens used at step 0\n"


def test_the_step_limit_as_documented(seen, provider):
    provider.load([Reply(tools=[ToolUse("look", {"key": "a"})])] * 20, "k")
    with pytest.raises(RuntimeError, match="exceeded 20 steps"):
        go(article(provider, "k"), "run_agent", "hello")
    assert values(span(seen, "invoke_agent"))["nexus.run.steps"] == 20
    last = span(seen, "step 19")
    assert last.status.status_code is StatusCode.ERROR
    assert last.status.description == "loop: exceeded 20 steps"
    assert span(seen, "invoke_agent").status.description == "loop: exceeded 20 steps"


def test_metadata_as_documented(seen, provider):
    provider.load(STEPS, "k")
    go(article(provider, "k"), "handle_request", "hello", "u81", "s1")
    assert seen.tree() == TREE
    for each in seen.spans:
        found = values(each)
        assert found["user.id"] == "u81"
        assert found["session.id"] == "s1"
        assert found["deployment.environment.name"] == "production"
        assert found["vcs.ref.head.revision"] == "9ab12f0"


def test_decorators_as_documented(seen):
    names = {}
    exec(compile(blocks()[6], "docs/manual.md", "exec"), names)  # noqa: S102 - the page's own code
    assert names["read"]("x") == "x"
    assert seen.tree() == "invoke_agent reader\n  gather\n    execute_tool search"
    assert values(span(seen, "execute_tool"))["gen_ai.tool.description"] == "Search the index."


# -- traces and spans --------------------------------------------------------------------------------------------------


def test_nothing_has_to_be_awaited(seen):
    nexus = NexusClient(agent_id="a")
    trace = nexus.start_trace()
    step = trace.start_span("agent-step", {"step": 3})
    step.end()
    trace.end(output={"result": 1})
    assert seen.tree() == "invoke_agent a\n  step 3"


def test_everything_can_be_awaited(seen):
    async def run():
        trace = await NexusClient(agent_id="a").start_trace()
        span = await trace.start_span("x")
        assert await span.end() is None
        assert await trace.end() is None

    asyncio.run(run())
    assert seen.tree() == "invoke_agent a\n  x"


@pytest.mark.parametrize("way", ["with", "async with"])
def test_a_block_ends_as_an_error_with_its_exception(seen, way):
    async def run():
        async with NexusClient(agent_id="a").start_trace() as trace, trace.start_span("x"):
            raise KeyError("mine")

    def block():
        with NexusClient(agent_id="a").start_trace() as trace, trace.start_span("x"):
            raise KeyError("mine")

    with pytest.raises(KeyError):
        block() if way == "with" else asyncio.run(run())
    assert {values(each)["error.type"] for each in seen.spans} == {"KeyError"}
    assert [[event.name for event in each.events] for each in (span(seen, "x"), span(seen, "invoke"))] == [
        ["exception"],
        [],
    ]


def test_an_end_in_a_block_counts(seen):
    with NexusClient(agent_id="a").start_trace() as trace:
        trace.end(status="timeout", output={"error": "too slow"})
    assert values(seen.spans[0])["error.type"] == "timeout"
    assert values(seen.spans[0])["nexus.status"] == "timeout"


def test_a_second_end_changes_nothing(seen, caplog):
    trace = NexusClient(agent_id="a").start_trace()
    trace.end(status="success")
    with failures_allowed():
        trace.end(status="error")
    assert seen.spans[0].status.status_code is StatusCode.UNSET
    assert "ended twice" in caplog.text


def test_an_unknown_status_is_recorded_and_told(seen, caplog):
    with failures_allowed():
        NexusClient(agent_id="a").start_trace().end(status="fine")
    assert values(seen.spans[0])["nexus.status"] == "fine"
    assert "status='fine'" in caplog.text


def test_spans_that_are_open_end_with_their_trace(seen):
    trace = NexusClient(agent_id="a").start_trace()
    trace.start_span("outer").start_span("inner")
    trace.end()
    assert seen.tree() == "invoke_agent a\n  outer\n    inner"
    assert values(span(seen, "inner"))["nexus.unended"] is True
    assert values(span(seen, "outer"))["nexus.unended"] is True
    assert "nexus.unended" not in values(span(seen, "invoke_agent"))


def test_a_trace_that_nobody_ends_ends_with_its_object(seen):
    before = otel_context.get_current()
    NexusClient(agent_id="a").start_trace()
    gc.collect()
    otel_context.attach(before)
    assert values(seen.spans[0])["nexus.unended"] is True


def test_what_is_open_ends_with_the_process(seen):
    before = otel_context.get_current()
    trace = NexusClient(agent_id="a").start_trace()
    inner = trace.start_span("x")
    streams.end_open()
    otel_context.attach(before)
    assert values(span(seen, "x"))["nexus.unended"] is True
    assert inner is not None


def test_two_traces_of_one_task_are_two_traces(seen):
    nexus = NexusClient(agent_id="a")
    first = nexus.start_trace()
    second = nexus.start_trace()
    second.end()
    first.end()
    assert len({trace_id(each) for each in seen.spans}) == 2


def test_tasks_do_not_mix(seen):
    async def one(nexus, number):
        async with nexus.start_trace(metadata={"user_id": f"u{number}"}) as trace:
            await asyncio.sleep(0)
            async with trace.start_span("x"):
                await asyncio.sleep(0)

    async def run():
        await asyncio.gather(*(one(NexusClient(agent_id="a"), number) for number in range(20)))

    asyncio.run(run())
    found = {}
    for each in seen.spans:
        found.setdefault(trace_id(each), set()).add(values(each)["user.id"])
    assert len(found) == 20
    assert all(len(users) == 1 for users in found.values())


def test_a_span_ended_in_another_thread(seen):
    trace = NexusClient(agent_id="a").start_trace()
    inner = trace.start_span("x")
    thread = threading.Thread(target=inner.end)
    thread.start()
    thread.join()
    trace.end()
    assert seen.tree() == "invoke_agent a\n  x"


def test_a_span_started_in_another_thread_is_part_of_the_trace(seen):
    trace = NexusClient(agent_id="a").start_trace()

    def work():
        trace.start_span("x").end()
        assert otel_trace.get_current_span() is otel_trace.INVALID_SPAN

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    trace.end()
    assert seen.tree() == "invoke_agent a\n  x"


def test_what_is_over_can_be_added(seen):
    with NexusClient(agent_id="a").start_trace() as trace:
        trace.add_span("fetch", input={"q": 1}, output={"n": 2})
        trace.add_span("store", error="disk full")
    assert span(seen, "store").status.description == "disk full"
    assert values(span(seen, "fetch"))["nexus.output"] == '{"n":2}'


def test_only_the_output_reveals_a_model_call(seen):
    with NexusClient(agent_id="a").start_trace() as trace:
        trace.start_span("thinking").end(output={"input_tokens": 7, "output_tokens": 2, "model": "m"})
    found = values(span(seen, "chat m"))
    assert found["gen_ai.operation.name"] == "chat"
    assert found["gen_ai.usage.input_tokens"] == 7
    assert values(span(seen, "invoke_agent"))["nexus.usage.input_tokens"] == 7


def test_usage_is_not_written_twice(seen, provider):
    provider.load([Reply("hi", usage=Usage(10, 2))], "k")
    with (
        NexusClient(agent_id="a").start_trace() as trace,
        anthropic.Anthropic(base_url=provider.url, api_key="k") as client,
    ):
        outer = trace.start_span("thinking")
        client.messages.create(model="claude-test", max_tokens=9, messages=[{"role": "user", "content": "x"}])
        outer.end(output={"input_tokens": 10, "output_tokens": 2})
    assert seen.tree() == "invoke_agent a\n  thinking\n    chat claude-test"
    assert values(span(seen, "invoke_agent"))["nexus.usage.input_tokens"] == 10
    assert "gen_ai.usage.input_tokens" not in values(span(seen, "thinking"))


class Odd:
    def __repr__(self):
        raise RuntimeError


ODD = {
    "object": Odd(), "inside": {1: Odd()}, "bytes": b"x", "nan": float("nan"), "set": {"a": {1, 2}}, "code": lambda: 1,
}  # fmt: skip


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_a_value_of_any_kind_is_no_exception(seen, value):
    with failures_allowed(), NexusClient(agent_id="a").start_trace(metadata={"odd": value, "input": value}) as trace:
        trace.start_span("x", {"tool": "t", "input": value}).end(output=value)
        trace.start_span("y").end(status=value, output=value)
    assert len(seen.spans) == 3


# -- content and secrets -----------------------------------------------------------------------------------------------


def test_secrets_are_not_recorded(seen):
    given = {"api_key": "abc", "nested": {"password": "abc", "max_tokens": 5}, "note": "sk-" + "a" * 30}
    with NexusClient(agent_id="a").start_trace(metadata=given):
        pass
    found = values(seen.spans[0])
    assert found["nexus.metadata.api_key"] == "[redacted]"
    assert found["nexus.metadata.nested"] == '{"password":"[redacted]","max_tokens":5}'
    assert found["nexus.metadata.note"] == "[redacted]"


def test_with_content_off_only_what_identifies_is_recorded():
    with (
        recorded(**NO_CONTENT) as seen,
        NexusClient(agent_id="a").start_trace(metadata={"input": "canary", "user_id": "u", "x": "canary"}) as trace,
    ):
        trace.start_span("t", {"tool": "t", "input": "canary"}).end(output={"result": "canary"})
        trace.end(status="error", output={"error": "canary"})
    assert "canary" not in seen.text()
    assert {values(each)["user.id"] for each in seen.spans} == {"u"}
    assert values(span(seen, "execute_tool"))["nexus.tool.call.arguments.hash"]


# -- metadata ----------------------------------------------------------------------------------------------------------


def test_a_block_gives_metadata_to_every_span_inside(seen, provider):
    provider.load(STEPS[1:], "k")
    with nexus_otel.context(user_id="u", tags=["a", "b"], n=1), nexus_otel.context(user_id="v"):
        with seen.tracer.start_as_current_span("somebody's"):
            pass
        with anthropic.Anthropic(base_url=provider.url, api_key="k") as client:
            client.messages.create(model="claude-test", max_tokens=9, messages=[{"role": "user", "content": "x"}])
    seen.tracer.start_span("after").end()
    for each in seen.spans[:2]:
        assert values(each)["user.id"] == "v"
        assert values(each)["nexus.metadata.tags"] == ("a", "b")
        assert values(each)["nexus.metadata.n"] == 1
    assert "user.id" not in values(seen.spans[2])


def test_a_block_inside_a_trace_adds_to_it(seen):
    with NexusClient(agent_id="a").start_trace(metadata={"user_id": "u"}) as trace, nexus_otel.context(step_kind="x"):
        trace.start_span("x").end()
    found = values(span(seen, "x"))
    assert found["user.id"] == "u"
    assert found["nexus.metadata.step_kind"] == "x"


def test_threads_take_it_along_when_asked(seen):
    def work():
        seen.tracer.start_span("work").end()

    with ThreadPoolExecutor(1) as pool:
        with nexus_otel.context(user_id="u"):
            pool.submit(work).result()
        with nexus_otel.context(user_id="u", threads=True):
            pool.submit(work).result()
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        pool.submit(work).result()
    assert ["user.id" in values(each) for each in seen.spans] == [False, True, True, False]


def test_variables_give_it_to_the_whole_process():
    with recorded(NEXUS_USER_ID="u", NEXUS_ENVIRONMENT="prod", GIT_SHA="abc") as seen, NexusClient().start_trace():
        pass
    found = values(seen.spans[0])
    assert (found["user.id"], found["deployment.environment.name"], found["vcs.ref.head.revision"]) == (
        "u",
        "prod",
        "abc",
    )


def test_what_may_travel_is_baggage():
    from opentelemetry import baggage

    with recorded(NEXUS_BAGGAGE="user_id") as seen:
        with nexus_otel.context(user_id="u", session_id="s"):
            assert dict(baggage.get_all()) == {"user_id": "u"}
        token = otel_context.attach(baggage.set_baggage("user_id", "far"))
        seen.tracer.start_span("x").end()
        otel_context.detach(token)
    assert values(seen.spans[0])["user.id"] == "far"


def test_every_span_of_a_framework_s_run_has_it():
    with instrumented(FrameworkInstrumentor, ToyInstrumentor) as seen, nexus_otel.context(user_id="u", plan="pro"):
        Agent(Model(calls(), Answer("done")), Tool()).invoke("q")
    assert len(seen.spans) == 4
    assert {values(each)["user.id"] for each in seen.spans} == {"u"}
    assert {values(each)["nexus.metadata.plan"] for each in seen.spans} == {"pro"}


def test_a_run_arrives_at_a_collector_as_an_instrumented_one_does(provider, tmp_path):
    provider.load(STEPS, "k")
    program = """
import asyncio, pathlib, sys
sys.path.insert(0, str(pathlib.Path(sys.argv[1])))
import nexus_otel
nexus_otel.instrument()
from tests.client.test_manual import article, go
class Where:
    url = sys.argv[2]
print(go(article(Where, "k"), "handle_request", "hello", "u81", "s1"))
nexus_otel.flush(5)
"""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "NEXUS_"))}
    with Receiver() as receiver:
        given = {**kept, "NEXUS_HOME": str(tmp_path), "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        command = [sys.executable, "-c", program, str(ROOT), provider.url]
        done = subprocess.run(command, env=given, capture_output=True, text=True)
        spans = receiver.wait_spans(6)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    names = {span.span_id: span.name for span in spans}
    assert sorted(f"{names.get(span.parent_id, '')} > {span.name}" for span in spans) == [
        " > invoke_agent research-agent",
        "invoke_agent research-agent > step 0",
        "invoke_agent research-agent > step 1",
        "step 0 > chat claude-test",
        "step 0 > execute_tool look",
        "step 1 > chat claude-test",
    ]
    assert {span.attributes["user.id"] for span in spans} == {"u81"}


# -- decorators --------------------------------------------------------------------------------------------------------


class Box:
    @nexus_otel.tool
    def method(self, n: int) -> int:
        return n

    @nexus_otel.tool(name="later")
    async def coroutine(self, n: int) -> int:
        return n

    @nexus_otel.tool
    def stream(self, n: int):
        yield from map(str, range(n))

    @nexus_otel.tool
    async def astream(self, n: int):
        for number in range(n):
            yield number


def test_every_kind_of_function_is_recorded(seen):
    async def collect():
        return [item async for item in Box().astream(2)]

    assert Box().method(1) == 1
    assert asyncio.run(Box().coroutine(n=2)) == 2
    assert list(Box().stream(2)) == ["0", "1"]
    assert asyncio.run(collect()) == [0, 1]
    assert [each.name for each in seen.spans] == [
        "execute_tool method", "execute_tool later", "execute_tool stream", "execute_tool astream"
    ]  # fmt: skip


def test_a_tool_s_exception_is_recorded_and_raised(seen):
    @nexus_otel.tool
    def fails():
        raise LookupError("no")

    with pytest.raises(LookupError):
        fails()
    assert values(seen.spans[0])["error.type"] == "LookupError"


def test_a_tool_s_arguments_are_checked_against_its_signature(seen):
    @nexus_otel.tool
    def add(n: int):
        return n

    add("x")
    assert values(seen.spans[0])["nexus.tool.schema_errors"] == ("type:n",)


def test_wrong_arguments_fail_as_without_us(seen):
    with pytest.raises(TypeError, match="unexpected keyword"):
        Box().method(m=1)
    assert not seen.spans


def test_a_tool_is_the_call_that_the_model_asked_for(seen, provider):
    @nexus_otel.tool
    def look(key: str) -> str:
        return "found"

    provider.load(STEPS, "k")
    ask = {"model": "claude-test", "max_tokens": 9, "tools": [{"name": "look", "input_schema": {"type": "object"}}]}
    messages = [{"role": "user", "content": "x"}]
    with anthropic.Anthropic(base_url=provider.url, api_key="k") as client:
        answer = client.messages.create(messages=messages, **ask)
        result = [
            {"type": "tool_result", "tool_use_id": answer.content[0].id, "content": look(**answer.content[0].input)}
        ]
        client.messages.create(
            messages=[*messages, {"role": "assistant", "content": answer.content}, {"role": "user", "content": result}],
            **ask,
        )
    assert seen.names == {"invoke_agent kit": 1, "chat claude-test": 2, "execute_tool look": 1}
    assert values(span(seen, "execute_tool"))["gen_ai.tool.call.id"] == "toolu_0001"


# -- construction ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [{"api_key": ""}, {"agent_id": 3}, {"base_url": "nexus"}, {"base_url": "ftp://x"}, {"base_url": ""}]
)
def test_wrong_arguments_of_a_client_are_told(given):
    with pytest.raises(NexusError, match=next(iter(given))):
        NexusClient(**given)


def test_switched_off_it_does_nothing():
    with recorded(NEXUS_ENABLED="false") as seen, NexusClient().start_trace() as trace:
        trace.start_span("x").end(output={"a": 1})
    assert not seen.spans


@pytest.mark.parametrize("metadata", [{"model": "m"}, {"tool": "look"}, {}])
def test_when_a_span_has_ended_what_was_current_before_is_so_again(seen, metadata):
    client = NexusClient(agent_id="a")
    for _run in range(2):
        with client.start_trace(metadata={"input": "go"}) as trace:
            before = otel_context.get_current()
            with trace.start_span("work", metadata) as span:
                span.end(output={"input_tokens": 1})
            assert otel_context.get_current() is before
    assert len({one.context.trace_id for one in seen.spans}) == 2
