"""Runs of LlamaIndex: one trace each, whatever happens in them, alone and over Anthropic's SDK."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest
from llama_index.core.instrumentation.dispatcher import instrument_tags
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context, StartEvent, StopEvent, Workflow, step
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from nexus_otel.instrumentors.anthropic import AnthropicInstrumentor
from nexus_otel.instrumentors.llama_index import LlamaIndexInstrumentor, listener
from tests.fakes.provider import API_ERROR, PROMPT_TOO_LONG, Dropped, Reply, ToolUse, rate_limited
from tests.frameworks.llama_index.make import (
    FINISHES,
    LIMITS,
    MODEL,
    AgentWorkflow,
    ReActAgent,
    agent,
    closed,
    feed,
    find,
    kept,
    llm,
)
from tests.kit.conventions import violations
from tests.kit.recording import content_mode, instrumented, trace_id, values

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

FIND = ToolUse("find", {"bird": "jay"})
FEED = ToolUse("feed", {"bird": "jay"})
ASK, DONE = Reply("I look.", tools=[FIND]), Reply("It sits in the cage.")
CHAT = f"chat {MODEL}"
ONE_TOOL = f"invoke_agent keeper\n  {CHAT}\n  execute_tool find\n  {CHAT}"


@pytest.fixture(params=["alone", "over the SDK"])
def seen(request):
    beneath = () if request.param == "alone" else (AnthropicInstrumentor,)
    with instrumented(LlamaIndexInstrumentor, *beneath) as recording:
        yield recording
        assert [problem for span in recording.spans for problem in violations(span)] == []
        assert len(listener._open) == 0


def ran(make):
    """Run what is made in a loop of its own, and see that it leaves the context as it was."""

    async def main():
        here = otel_context.get_current()
        try:
            return await make()
        finally:
            assert otel_context.get_current() is here
            await closed()

    return asyncio.run(main())


def asked(provider, *steps, key=""):
    provider.load(steps, key)
    return kept(llm(provider.url, key))


def span(seen, name):
    return next(each for each in seen.spans if each.name.startswith(name))


def of(seen, name):
    return values(span(seen, name))


def sums(seen):
    chats = [values(each) for each in seen.all("chat")]
    names = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
    return tuple(sum(each.get(name, 0) for each in chats) for name in names)


# -- one tree ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [True, False] if LIMITS else [True])
def test_a_run_is_one_tree(seen, provider, streaming):
    model = asked(provider, ASK, DONE)
    options = {"streaming": streaming} if LIMITS else {}
    answer = ran(lambda: agent(model, **options).run("where?"))
    assert str(answer) == "It sits in the cage."
    assert seen.tree() == ONE_TOOL
    root = of(seen, "invoke_agent")
    assert root["gen_ai.agent.description"] == "Keeps birds."
    assert (root["nexus.run.steps"], root["nexus.run.tool_calls"]) == (2, 1)
    tool = of(seen, "execute_tool")
    assert (tool["gen_ai.tool.call.id"], tool["nexus.tool.known"], tool["nexus.tool.failed"]) == (
        "toolu_0001",
        True,
        False,
    )
    assert "Finds a bird." in tool["gen_ai.tool.description"]
    chat = of(seen, "chat")
    assert (chat["gen_ai.provider.name"], chat["gen_ai.request.model"]) == ("anthropic", MODEL)
    if AnthropicInstrumentor()._recorder is not None or FINISHES:
        assert sums(seen) == provider.usage_sent()
        assert (root["nexus.usage.input_tokens"], root["nexus.usage.output_tokens"]) == provider.usage_sent()
        assert chat["gen_ai.response.finish_reasons"] == ("tool_call",)


def test_the_sdk_beneath_adds_what_it_knows(seen, provider):
    model = asked(provider, rate_limited(), ASK, DONE)
    model.max_retries = 1
    model = kept(llm(provider.url, max_retries=1))
    ran(lambda: agent(model).run("where?"))
    chat = span(seen, "chat")
    assert values(chat)["server.address"] == "127.0.0.1"
    if AnthropicInstrumentor()._recorder is not None:
        assert values(chat)["gen_ai.response.id"] == "msg_0001"
        assert [event.name for event in chat.events] == ["nexus.retry"]


def test_tools_asked_for_together(seen, provider):
    model = asked(provider, Reply(tools=[FIND, FEED, FIND]), DONE)
    ran(lambda: agent(model).run("where?"))
    assert sorted(seen.names.elements()) == sorted(
        ["invoke_agent keeper", CHAT, CHAT, "execute_tool find", "execute_tool find", "execute_tool feed"]
    )
    ids = {values(each)["gen_ai.tool.call.id"] for each in seen.all("execute_tool")}
    assert ids == {"toolu_0001", "toolu_0002", "toolu_0003"}
    assert of(seen, "invoke_agent")["nexus.run.tool_calls"] == 3


def test_runs_at_once_are_traces_apart(seen, provider):
    async def both():
        models = [asked(provider, ASK, DONE, key=key) for key in ("a", "b", "c")]
        await asyncio.gather(*[agent(model).run("where?") for model in models])

    ran(both)
    assert len({trace_id(each) for each in seen.spans}) == 3
    assert sorted(seen.tree().split("\ninvoke")) == sorted([ONE_TOOL, *[ONE_TOOL.removeprefix("invoke")] * 2])


def test_what_a_caller_does_meanwhile_is_no_part_of_the_run(seen, provider):
    async def both():
        handler = agent(asked(provider, ASK, DONE, key="a")).run("where?")
        await asked(provider, DONE, key="b").achat([ChatMessage("what else?")])
        await handler

    ran(both)
    assert len({trace_id(each) for each in seen.spans}) == 2
    assert [each.name for each in seen.spans if each.parent is None] in (
        ["invoke_agent keeper", CHAT],
        [CHAT, "invoke_agent keeper"],
    )


def test_events_can_be_streamed_meanwhile(seen, provider):
    async def stream():
        handler = agent(asked(provider, ASK, DONE)).run("where?")
        kinds = [type(event).__name__ async for event in handler.stream_events()]
        await handler
        return kinds

    assert "ToolCallResult" in ran(stream)
    assert seen.tree() == ONE_TOOL


def test_runs_in_threads_do_not_mix(seen, provider):
    async def run(model):
        await _run(agent(model))
        await model._aclient.close()

    def work(key):
        asyncio.run(run(asked(provider, ASK, DONE, key=key)))

    threads = [threading.Thread(target=work, args=(str(key),)) for key in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({trace_id(each) for each in seen.spans}) == 4
    assert len(seen.spans) == 16


async def _run(one, *args, **kwargs):
    return await one.run(*(args or ("where?",)), **kwargs)


def test_the_span_of_a_tool_is_current_in_it(seen, provider):
    inside = []

    def look(bird: str) -> str:
        """Looks."""
        inside.append(trace.get_current_span().get_span_context().span_id)
        return bird

    model = asked(provider, Reply(tools=[ToolUse("look", {"bird": "jay"})]), DONE)
    ran(lambda: _run(agent(model, look)))
    assert inside == [span(seen, "execute_tool").context.span_id]


def test_an_agent_in_a_tool_is_nested(seen, provider):
    inner = agent(asked(provider, ASK, DONE, key="inner"), name="helper")

    async def delegate(task: str) -> str:
        """Gives a task to a helper."""
        return str(await inner.run(task))

    model = asked(provider, Reply(tools=[ToolUse("delegate", {"task": "find it"})]), DONE)
    ran(lambda: _run(agent(model, delegate)))
    assert seen.tree() == (
        f"invoke_agent keeper\n  {CHAT}\n  execute_tool delegate\n    invoke_agent helper\n"
        f"      {CHAT}\n      execute_tool find\n      {CHAT}\n  {CHAT}"
    )
    roots = [values(each) for each in seen.all("invoke_agent")]
    assert [root["nexus.run.steps"] for root in roots] == [4, 2]


def test_agents_that_hand_over_are_parts_of_a_workflow(seen, provider):
    handover = ToolUse("handoff", {"to_agent": "feeder", "reason": "it is hungry"})
    model = asked(provider, Reply(tools=[handover]), Reply(tools=[FEED]), DONE)
    team = AgentWorkflow(
        agents=[agent(model, find, name="finder", can_handoff_to=["feeder"]), agent(model, feed, name="feeder")],
        root_agent="finder",
    )
    ran(lambda: _run(team))
    assert seen.tree() == (
        f"invoke_workflow kit\n  invoke_agent finder\n    {CHAT}\n    execute_tool handoff\n"
        f"  invoke_agent feeder\n    {CHAT}\n    execute_tool feed\n    {CHAT}"
    )
    root = of(seen, "invoke_workflow kit")
    assert (root["nexus.run.steps"], root["nexus.run.tool_calls"]) == (3, 2)


def test_an_agent_that_asks_in_text(seen, provider):
    ask = Reply('Thought: I look.\nAction: find\nAction Input: {"bird": "jay"}')
    wrong = Reply('Thought: I look.\nAction: fly\nAction Input: {"to": "jay"}')
    done = Reply("Thought: I can answer without using any more tools.\nAnswer: in the cage")
    model = asked(provider, ask, wrong, done)
    assert str(ran(lambda: _run(agent(model, kind=ReActAgent)))) == "in the cage"
    assert seen.tree() == f"invoke_agent keeper\n  {CHAT}\n  execute_tool find\n  {CHAT}\n  execute_tool fly\n  {CHAT}"
    assert of(seen, "execute_tool fly")["error.type"] == "unknown_tool"
    assert "nexus.tool.schema_errors" not in of(seen, "execute_tool find")


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("use", "error", "known"),
    [
        (ToolUse("find", {"bird": "dodo"}), "ValueError", True),
        (ToolUse("find", {"dog": "rex"}), "TypeError", True),
        (ToolUse("fly", {"to": "jay"}), "unknown_tool", False),
    ],
)
def test_a_tool_that_fails(seen, provider, use, error, known):
    ran(lambda: _run(agent(asked(provider, Reply(tools=[use]), DONE))))
    assert seen.tree() == ONE_TOOL.replace("find", use.name)
    tool = of(seen, "execute_tool")
    assert (tool["error.type"], tool["nexus.tool.known"], tool["nexus.tool.failed"]) == (error, known, True)
    assert "error.type" not in of(seen, "invoke_agent")
    if error == "TypeError":
        assert tool["nexus.tool.schema_errors"] == ("required:bird", "unknown:dog")


@pytest.mark.parametrize(
    ("failure", "error"),
    [(API_ERROR, "api_error"), (PROMPT_TOO_LONG, "invalid_request_error"), (Dropped(), "APIConnectionError")],
)
def test_a_provider_that_fails(seen, provider, failure, error):
    with pytest.raises(Exception):  # noqa: B017, PT011 - the version decides which
        ran(lambda: _run(agent(asked(provider, failure))))
    assert seen.tree() == f"invoke_agent keeper\n  {CHAT}"
    chat = span(seen, "chat")
    assert values(chat)["error.type"] == error
    assert [event.name for event in chat.events] == ["exception"]
    assert span(seen, "invoke_agent").events == ()
    assert "error.type" in of(seen, "invoke_agent")
    if failure is PROMPT_TOO_LONG:
        assert values(chat)["nexus.error.class"] == "context_overflow"
        assert values(chat)["nexus.context.limit"] == 200000


def test_a_stream_that_breaks(seen, provider):
    with pytest.raises(Exception):  # noqa: B017, PT011 - as above
        ran(lambda: _run(agent(asked(provider, Reply("I look.", cut_after=3)))))
    assert seen.tree() == f"invoke_agent keeper\n  {CHAT}"
    assert "error.type" in of(seen, "chat")


@pytest.mark.skipif(not LIMITS, reason="there is no limit")
def test_a_limit_of_steps_that_raises(seen, provider):
    with pytest.raises(Exception, match="Max iterations"):
        ran(lambda: _run(agent(asked(provider, ASK, ASK, ASK)), "where?", max_iterations=2))
    assert seen.tree() == f"invoke_agent keeper\n  {CHAT}\n  execute_tool find\n  {CHAT}"
    root = span(seen, "invoke_agent")
    assert values(root)["error.type"] == "WorkflowRuntimeError"
    assert [event.name for event in root.events] == ["exception"]


def _can_generate():
    try:
        from llama_index.core.agent.workflow.base_agent import DEFAULT_EARLY_STOPPING_PROMPT  # noqa: F401
    except ImportError:
        return False
    return True


@pytest.mark.skipif(not _can_generate(), reason="the limit always raises")
def test_a_limit_of_steps_that_asks_for_a_last_answer(seen, provider):
    one = agent(asked(provider, ASK, ASK, DONE))
    ran(lambda: _run(one, "where?", max_iterations=2, early_stopping_method="generate"))
    assert seen.tree() == f"invoke_agent keeper\n  {CHAT}\n  execute_tool find\n  {CHAT}\n  {CHAT}"
    root = of(seen, "invoke_agent")
    assert root["nexus.run.closed_by"] == "limit"
    assert "error.type" not in root


def test_a_run_that_is_cancelled(seen, provider):
    async def cancelled():
        handler = agent(asked(provider, Reply("slow", delay_s=30))).run("where?")
        await asyncio.sleep(0.2)
        await handler.cancel_run()
        with pytest.raises(Exception):  # noqa: B017, PT011 - as above
            await handler

    ran(cancelled)
    assert seen.tree() == f"invoke_agent keeper\n  {CHAT}"
    assert [values(each).get("error.type") for each in seen.spans] == [None, None]


# -- models ------------------------------------------------------------------------------------------------------------


MESSAGES = [ChatMessage("where?")]


async def last(stream):
    return [chunk async for chunk in await stream][-1].message.content


WAYS = {
    "chat": lambda model: model.chat(MESSAGES).message.content,
    "stream": lambda model: list(model.stream_chat(MESSAGES))[-1].message.content,
    "complete": lambda model: model.complete("where?").text,
    "stream_complete": lambda model: list(model.stream_complete("where?"))[-1].text,
    "achat": lambda model: ran(lambda: _awaited(model)),
    "astream": lambda model: ran(lambda: last(model.astream_chat(MESSAGES))),
}


async def _awaited(model):
    return (await model.achat(MESSAGES)).message.content


@pytest.mark.parametrize("way", WAYS)
def test_a_model_call_is_one_span(seen, provider, way):
    before = otel_context.get_current()
    assert WAYS[way](asked(provider, DONE)) == "It sits in the cage."
    assert otel_context.get_current() is before
    assert seen.tree() == CHAT
    chat = of(seen, "chat")
    assert chat.get("gen_ai.request.stream", False) is ("stream" in way)
    assert ("gen_ai.response.time_to_first_chunk" in chat) is ("stream" in way)
    assert "nexus.stream.outcome" not in chat


@pytest.mark.parametrize("how", ["never read", "dropped", "closed"])
def test_a_stream_that_nobody_reads_on(seen, provider, how):
    stream = asked(provider, Reply("one two three four")).stream_chat(MESSAGES)
    if how != "never read":
        next(stream)
    if how == "closed":
        stream.close()
    del stream
    gc.collect()
    assert [each.name for each in seen.spans] == [CHAT]
    assert of(seen, "chat")["nexus.stream.outcome"] == "abandoned"


def test_the_reader_of_a_stream_is_not_in_its_span(seen, provider):
    for _chunk in asked(provider, DONE).stream_chat(MESSAGES):
        assert not trace.get_current_span().get_span_context().is_valid


def test_predict_is_the_call_it_makes(seen, provider):
    from llama_index.core.prompts import PromptTemplate

    assert asked(provider, DONE).predict(PromptTemplate("where is {bird}?"), bird="jay") == "It sits in the cage."
    assert seen.tree() == CHAT


# -- workflows, tools by hand, tags ------------------------------------------------------------------------------------


class Flow(Workflow):
    """A user's own."""

    @step
    async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
        """Ask once."""
        answer = await ev.model.achat([ChatMessage("where?")])
        return StopEvent(result=str(answer.message.content))


def test_a_workflow_of_the_users_own(seen, provider):
    assert ran(lambda: _run_flow(model=asked(provider, DONE))) == "It sits in the cage."
    assert seen.tree() == f"invoke_workflow Flow\n  {CHAT}"
    assert of(seen, "invoke_workflow")["nexus.run.steps"] == 1


async def _run_flow(**given):
    return await Flow().run(**given)


def test_steps_are_spans_when_every_detail_is_asked_for(provider):
    with instrumented(LlamaIndexInstrumentor, NEXUS_DETAIL="full") as seen:
        ran(lambda: _run_flow(model=asked(provider, DONE)))
    assert seen.tree() == f"invoke_workflow Flow\n  Flow.only\n    {CHAT}"


def test_a_tool_that_is_called_by_hand(seen):
    tool = FunctionTool.from_defaults(find)
    assert tool.call(bird="jay").content == "jay: in the cage"
    assert tool("jay").content == "jay: in the cage"
    assert seen.tree() == "execute_tool find\nexecute_tool find"


def test_tags_of_the_user_are_on_every_span(seen, provider):
    async def tagged():
        with instrument_tags({"session_id": "s1", "tenant": "zoo"}):
            return await agent(asked(provider, ASK, DONE)).run("where?")

    ran(tagged)
    assert {values(each).get("session.id") for each in seen.spans} == {"s1"}
    assert {values(each).get("nexus.metadata.tenant") for each in seen.spans} == {"zoo"}


def test_nothing_is_recorded_of_an_unsampled_run(provider):
    with instrumented(LlamaIndexInstrumentor, AnthropicInstrumentor, sampler=ALWAYS_OFF) as seen:
        ran(lambda: _run(agent(asked(provider, ASK, DONE))))
    assert seen.spans == []


def test_content_is_recorded_when_asked_for(provider):
    with instrumented(LlamaIndexInstrumentor, **content_mode("SPAN_ONLY")) as seen:
        ran(lambda: _run(agent(asked(provider, ASK, DONE))))
    root, chat, tool, last = [values(each) for each in seen.spans]
    assert "where?" in root["gen_ai.input.messages"]
    assert "It sits in the cage." in root["gen_ai.output.messages"]
    assert "tool_call" in chat["gen_ai.output.messages"]
    assert '"find"' in chat["gen_ai.tool.definitions"]
    assert "jay" in tool["gen_ai.tool.call.arguments"]
    assert tool["gen_ai.tool.call.result"] == "jay: in the cage"
    assert "tool_call_response" in last["gen_ai.input.messages"]
