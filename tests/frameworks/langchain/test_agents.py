"""Runs of agents over an instrumented SDK: the tree of each, its sums, and the context of whoever calls."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from typing import Annotated, Any

import anthropic
import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import ToolException, tool
from langgraph.checkpoint.memory import MemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, create_react_agent
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from nexus_otel.instrumentors.anthropic import AnthropicInstrumentor
from nexus_otel.instrumentors.langchain import LangChainInstrumentor
from nexus_otel.instrumentors.langgraph import LangGraphInstrumentor
from tests.fakes.provider import API_ERROR, PROMPT_TOO_LONG, Dropped, Reply, ToolUse, Usage
from tests.frameworks.langchain.langchain_cases import NEW, chain_of, client, graph
from tests.kit.cases import CANARY
from tests.kit.conventions import violations
from tests.kit.recording import content_mode, instrumented, parent_id, span_id, trace_id, values

ALL = (LangChainInstrumentor, LangGraphInstrumentor, AnthropicInstrumentor)
KEY = "agents"
QUESTION = {"messages": [("user", "Where is it?")]}
THREAD: Any = {"configurable": {"thread_id": "t1"}}
ONE_TOOL = "invoke_agent keeper\n  chat claude-test\n  execute_tool find\n  chat claude-test"


def asks(*tools: ToolUse, **more: Any) -> Reply:
    return Reply("I look.", tools=tools or [ToolUse("find", {"bird": "tit"})], **more)


DONE = Reply("In the cage.")


@pytest.fixture
def seen():
    with instrumented(*ALL) as recording:
        yield recording
    ours = [span for span in recording.spans if span.name != "batch"]
    assert [problem for span in ours for problem in violations(span)] == []


@pytest.fixture
def model(provider):
    with client(provider.url, KEY) as made:
        yield made


@tool
def find(bird: str) -> str:
    """Finds a bird."""
    with trace.get_tracer("mine").start_as_current_span("of the tool") as span:
        span.set_attribute("thread", threading.current_thread().name)
    return f"{bird}: {trace.get_current_span().name}"


def plays(provider, *steps):
    provider.load(steps, KEY)


def sums(seen):
    return tuple(
        sum(values(span).get(f"gen_ai.usage.{kind}_tokens", 0) for span in seen.spans) for kind in ("input", "output")
    )


async def read(stream):
    return [event async for event in stream]


WAYS = {
    "invoke": lambda agent: agent.invoke(QUESTION, THREAD),
    "stream": lambda agent: list(agent.stream(QUESTION, THREAD)),
    "stream of tokens": lambda agent: list(agent.stream(QUESTION, THREAD, stream_mode="messages")),
    "ainvoke": lambda agent: asyncio.run(agent.ainvoke(QUESTION, THREAD)),
    "astream": lambda agent: asyncio.run(read(agent.astream(QUESTION, THREAD))),
    "astream of tokens": lambda agent: asyncio.run(
        read(agent.astream(QUESTION, THREAD, stream_mode=["messages", "values"]))
    ),
    "astream_events": lambda agent: asyncio.run(read(agent.astream_events(QUESTION, THREAD, version="v2"))),
    "batch": lambda agent: agent.batch([QUESTION], THREAD),
}


@pytest.fixture(autouse=True)
def no_shared_client():
    yield
    import sys

    shared = getattr(sys.modules.get("langchain_anthropic._client_utils"), "_get_default_async_httpx_client", None)
    if shared is not None:
        shared.cache_clear()  # among event loops it is of no use


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("way", WAYS)
def test_a_run_is_one_tree_however_it_is_called(seen, model, provider, way):
    usage = Usage(input=30, output=9, cache_read=12, cache_write=5)
    plays(provider, asks(usage=usage), DONE)
    before = otel_context.get_current()
    WAYS[way](graph(model))
    assert otel_context.get_current() is before
    assert seen.tree() == ONE_TOOL
    assert len({trace_id(span) for span in seen.spans}) == 1
    assert {values(span)["gen_ai.conversation.id"] for span in seen.spans} == {"t1"}
    assert sums(seen) == provider.usage_sent(KEY)
    root = values(seen.one("invoke_agent"))
    assert (root["nexus.usage.input_tokens"], root["nexus.usage.output_tokens"]) == provider.usage_sent(KEY)
    assert (root["nexus.run.steps"], root["nexus.run.tool_calls"]) == (2, 1)
    chat = values(seen.all("chat")[0])
    assert (chat["gen_ai.response.id"], chat["gen_ai.usage.cache_read.input_tokens"]) == ("msg_0001", 12)
    assert ("gen_ai.response.time_to_first_chunk" in chat) == ("tokens" in way or "events" in way)


@pytest.mark.parametrize("way", ["invoke", "stream of tokens", "ainvoke"])
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_current_span_in_a_tool_is_the_tool_s(model, provider, way, monkeypatch):
    plays(provider, asks(), DONE)
    with instrumented(*ALL, **content_mode("SPAN_ONLY")) as seen:
        monkeypatch.setattr(trace, "get_tracer", lambda _name: seen.tracer)
        WAYS[way](graph(model, tools=[find]))
    execution = seen.one("execute_tool")
    assert values(execution)["gen_ai.tool.call.result"] == "tit: execute_tool find"
    assert parent_id(seen.one("of the tool")) == span_id(execution)


def test_parallel_tools_are_each_one_span(seen, model, provider):
    plays(provider, asks(*[ToolUse("find", {"bird": name}) for name in ("tit", "jay", "owl")]), DONE)
    graph(model).invoke(QUESTION)
    assert seen.names == {"invoke_agent keeper": 1, "chat claude-test": 2, "execute_tool find": 3}
    assert len({values(span)["gen_ai.tool.call.id"] for span in seen.all("execute_tool")}) == 3
    assert {parent_id(span) for span in seen.all("execute_tool")} == {span_id(seen.one("invoke_agent"))}


def test_unknown_tools_and_refused_arguments_are_failures(seen, model, provider):
    plays(provider, asks(ToolUse("feed", {"bird": "tit"}), ToolUse("find", {"name": "tit"})), DONE)
    graph(model).invoke(QUESTION)
    feed, refused = values(seen.one("execute_tool feed")), values(seen.one("execute_tool find"))
    assert (feed["error.type"], feed["nexus.tool.known"], feed["nexus.derived"]) == ("unknown_tool", False, True)
    assert refused["error.type"] == "ValidationError"
    assert refused["nexus.tool.error.class"] == "bad_arguments"
    assert "required:bird" in refused["nexus.tool.schema_errors"]
    assert "nexus.derived" not in refused
    assert seen.one("invoke_agent").status.status_code is StatusCode.UNSET
    assert values(seen.one("invoke_agent"))["nexus.run.tool_calls"] == 2


def test_a_failure_that_is_told_to_the_model_is_the_tool_s(seen, model, provider):
    @tool
    def find(bird: str) -> str:
        """Finds a bird."""
        raise ToolException(f"TimeoutError: no {bird} in 5 s")

    find.handle_tool_error = True
    plays(provider, asks(), DONE)
    graph(model, tools=[find]).invoke(QUESTION)
    execution = seen.one("execute_tool")
    assert execution.status.status_code is StatusCode.ERROR
    assert values(execution)["error.type"] == "TimeoutError"
    assert seen.one("invoke_agent").status.status_code is StatusCode.UNSET


def test_a_failure_that_ends_the_run_is_an_exception_once(seen, model, provider):
    @tool
    def find(bird: str) -> str:
        """Finds a bird."""
        raise LookupError(bird)

    from langgraph.prebuilt import ToolNode

    plays(provider, asks())
    built = StateGraph(MessagesState)
    built.add_node("model", lambda state: {"messages": [model.bind_tools([find]).invoke(state["messages"])]})
    built.add_node("tools", ToolNode([find], handle_tool_errors=False))
    built.add_edge(START, "model")
    built.add_edge("model", "tools")
    with pytest.raises(LookupError):
        built.compile().invoke(QUESTION)
    assert [span.name for span in seen.spans if span.events] == ["execute_tool find"]
    assert values(seen.one("invoke_agent"))["error.type"] == "LookupError"


def test_the_limit_of_steps_is_the_run_s_failure(seen, model, provider):
    plays(provider, asks(), asks(), asks())
    with pytest.raises(GraphRecursionError):
        graph(model).invoke(QUESTION, {"recursion_limit": 3})
    assert values(seen.one("invoke_agent"))["error.type"] == "GraphRecursionError"
    assert seen.names["chat claude-test"] == 2


def test_a_limit_that_raises_nothing_is_said(seen, model, provider):
    plays(provider, asks(), asks())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        agent = create_react_agent(model, [find])
    agent.invoke(QUESTION, {"recursion_limit": 2})
    root = seen.one("invoke_agent")
    assert values(root)["nexus.run.closed_by"] == "limit"
    assert root.name == "invoke_agent kit"
    assert root.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(("step", "error"), [
    (API_ERROR, "api_error"), (Dropped(), "APIConnectionError"), (PROMPT_TOO_LONG, "invalid_request_error"),
])  # fmt: skip
def test_what_the_provider_refuses_is_the_run_s_failure(seen, model, provider, step, error):
    plays(provider, asks(), step)
    with pytest.raises(anthropic.APIError):
        graph(model).invoke(QUESTION)
    assert seen.tree() == ONE_TOOL
    failed = seen.all("chat")[1]
    assert values(failed)["error.type"] == error
    assert [event.name for event in failed.events] == ["exception"]
    assert seen.one("invoke_agent").status.status_code is StatusCode.ERROR
    assert not seen.one("invoke_agent").events
    assert ("nexus.context.tokens" in values(failed)) == (step is PROMPT_TOO_LONG)


def test_an_interrupt_is_no_failure_and_the_rest_is_a_run_of_the_same_conversation(seen, model, provider):
    types = pytest.importorskip("langgraph.types")
    if not hasattr(types, "interrupt"):
        pytest.skip("interrupts came later")

    @tool
    def find(bird: str) -> str:
        """Finds a bird."""
        return str(types.interrupt(f"May I look for {bird}?"))

    plays(provider, asks(), DONE)
    agent = graph(model, tools=[find], checkpointer=MemorySaver())
    agent.invoke(QUESTION, THREAD)
    agent.invoke(types.Command(resume="yes"), THREAD)
    assert seen.tree() == (
        "invoke_agent keeper\n  chat claude-test\n  execute_tool find\n"
        "invoke_agent keeper\n  execute_tool find\n  chat claude-test"
    )
    first, second = seen.all("invoke_agent")
    assert values(first)["nexus.run.closed_by"] == "interrupt"
    assert {span.status.status_code for span in seen.spans} == {StatusCode.UNSET}
    assert "nexus.run.closed_by" not in values(second)
    assert {values(span)["gen_ai.conversation.id"] for span in seen.spans} == {"t1"}


def test_what_the_framework_adds_is_no_argument(model, provider):
    @tool
    def find(bird: str, state: Annotated[dict, InjectedState]) -> str:
        """Finds a bird."""
        return f"{bird}, {len(state['messages'])} messages"

    plays(provider, asks(), DONE)
    with instrumented(*ALL, **content_mode("SPAN_ONLY")) as seen:
        graph(model, tools=[find]).invoke(QUESTION)
    execution = values(seen.one("execute_tool"))
    assert execution["gen_ai.tool.call.arguments"] == '{"bird":"tit"}'
    assert execution["gen_ai.tool.call.result"] == "tit, 2 messages"


# -- inside one another ------------------------------------------------------------------------------------------------


def test_an_agent_in_a_tool_is_part_of_the_run(seen, model, provider):
    expert = graph(model, "expert")

    @tool
    def ask(question: str) -> str:
        """Asks the expert."""
        return str(expert.invoke({"messages": [("user", question)]})["messages"][-1].content)

    plays(provider, asks(ToolUse("ask", {"question": "where?"})), asks(), DONE, DONE)
    graph(model, tools=[ask]).invoke(QUESTION, THREAD)
    inner = "\n".join(f"    {line}" for line in ONE_TOOL.replace("keeper", "expert").splitlines())
    assert seen.tree() == (f"invoke_agent keeper\n  chat claude-test\n  execute_tool ask\n{inner}\n  chat claude-test")
    assert {values(span)["gen_ai.conversation.id"] for span in seen.spans} == {"t1"}
    assert values(seen.one("invoke_agent keeper"))["nexus.run.steps"] == 4
    assert sums(seen) == provider.usage_sent(KEY)


def test_agents_in_a_workflow_are_runs_of_it(seen, model, provider):
    built = StateGraph(MessagesState)
    built.add_node("first", graph(model, "first"))
    built.add_node("second", graph(model, "second"))
    built.add_edge(START, "first")
    built.add_edge("first", "second")
    plays(provider, asks(), DONE, DONE)
    team = built.compile()
    team.name = "team"
    team.invoke(QUESTION)
    assert seen.tree() == (
        "invoke_workflow team\n  invoke_agent first\n    chat claude-test\n    execute_tool find\n    chat claude-test\n"
        "  invoke_agent second\n    chat claude-test"
    )


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_graph_that_calls_its_tools_by_hand_is_a_workflow_with_a_run(seen, model, provider, asynchronous):
    bound, built = model.bind_tools([find]), StateGraph(MessagesState)

    def act(state):
        calls = state["messages"][-1].tool_calls
        return {"messages": [ToolMessage(find.invoke(call["args"]), tool_call_id=call["id"]) for call in calls]}

    built.add_node("model", lambda state: {"messages": [bound.invoke(state["messages"])]})
    built.add_node("act", act)
    built.add_edge(START, "model")
    built.add_conditional_edges("model", lambda state: "act" if state["messages"][-1].tool_calls else END)
    built.add_edge("act", "model")
    flow = built.compile()
    flow.name = "flow"
    plays(provider, asks(), DONE)
    if asynchronous:
        asyncio.run(flow.ainvoke(QUESTION))
    else:
        flow.invoke(QUESTION)
    run = "\n".join(f"  {line}" for line in ONE_TOOL.replace("keeper", "kit").splitlines())
    assert seen.tree() == f"invoke_workflow flow\n{run}"
    assert "nexus.derived" not in values(seen.one("execute_tool"))


def test_items_of_a_batch_are_runs_apart(seen, model, provider):
    plays(provider, DONE, DONE)
    with seen.tracer.start_as_current_span("batch") as batch:
        graph(model).batch([QUESTION, QUESTION])
    roots = seen.all("invoke_agent")
    assert len({trace_id(span) for span in seen.spans}) == 3
    assert [[link.context.span_id for link in root.links] for root in roots] == [[batch.context.span_id]] * 2


def test_a_chain_around_a_loop_step_is_no_run(seen, model, provider):
    from langchain_core.prompts import ChatPromptTemplate

    step = ChatPromptTemplate.from_messages([("placeholder", "{history}")]) | model.bind_tools([find])
    plays(provider, asks(), DONE)

    async def loop():
        history: list[Any] = [("user", "Where is it?")]
        while (answer := await step.ainvoke({"history": history})).tool_calls:
            (call,) = answer.tool_calls
            history += [answer, ToolMessage(find.invoke(call["args"]), tool_call_id=call["id"])]

    asyncio.run(loop())
    assert seen.tree() == ONE_TOOL.replace("keeper", "kit")


def test_nodes_are_spans_when_asked_for(model, provider):
    plays(provider, asks(), DONE)
    with instrumented(*ALL, NEXUS_DETAIL="full") as seen:
        graph(model).invoke(QUESTION)
    assert seen.tree() == (
        "invoke_agent keeper\n  model\n    chat claude-test\n  tools\n    execute_tool find\n  model\n    chat claude-test"
    )


# -- how reading ends --------------------------------------------------------------------------------------------------


def test_a_stream_that_is_left_ends(seen, model, provider):
    plays(provider, asks(), DONE)
    stream = graph(model).stream(QUESTION)
    next(stream)
    assert not trace.get_current_span().get_span_context().is_valid
    del stream
    gc.collect()
    assert values(seen.one("invoke_agent"))["nexus.run.closed_by"] == "closed"


def test_a_stream_of_a_model_that_is_closed_ends(seen, model, provider):
    plays(provider, Reply("A long answer, in pieces."))
    stream = model.stream("q")
    assert isinstance(next(stream), AIMessage)
    stream.close()
    assert values(seen.one("chat"))["nexus.stream.outcome"] == "closed"


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_cancelled_run_is_no_failure(seen, model, provider):
    plays(provider, Reply("late", delay_s=20))

    async def run():
        task = asyncio.create_task(graph_of_awaits(model).ainvoke(QUESTION))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert values(seen.one("invoke_agent"))["nexus.run.closed_by"] == "cancelled"
    assert {span.status.status_code for span in seen.spans} == {StatusCode.UNSET}


def graph_of_awaits(model):
    from langgraph.prebuilt import ToolNode

    async def ask(state):
        return {"messages": [await model.ainvoke(state["messages"])]}

    built = StateGraph(MessagesState)
    built.add_node("model", ask)
    built.add_node("tools", ToolNode([find]))
    built.add_edge(START, "model")
    built.add_edge("model", "tools")
    built.add_edge("tools", END)
    return built.compile()


# -- content -----------------------------------------------------------------------------------------------------------


def test_nothing_that_was_said_is_recorded_unasked(model, provider):
    plays(provider, asks(ToolUse("find", {"bird": CANARY}), ToolUse("feed", {"bird": CANARY})), Reply(CANARY))
    with instrumented(*ALL, NEXUS_DETAIL="full") as seen:
        graph(model).invoke({"messages": [("user", CANARY)]}, THREAD)
        plays(provider, Reply(CANARY))
        chain_of(model).invoke({"name": CANARY})
    assert CANARY not in seen.text()


@pytest.mark.skipif(not NEW, reason="create_agent came with langchain 1.0")
def test_an_agent_of_langchain_has_its_name(seen, model, provider):
    from langchain.agents import create_agent

    plays(provider, asks(), DONE)
    create_agent(model, [find], system_prompt="Be brief.", name="keeper").invoke(QUESTION)
    assert seen.tree() == ONE_TOOL


@pytest.mark.skipif(not NEW, reason="middleware came with langchain 1.0")
def test_a_limit_of_middleware_is_said(seen, model, provider):
    from langchain.agents import create_agent
    from langchain.agents.middleware import ModelCallLimitMiddleware

    plays(provider, asks(), DONE)
    limit = ModelCallLimitMiddleware(run_limit=1, exit_behavior="end")
    create_agent(model, [find], middleware=[limit]).invoke(QUESTION)
    assert values(seen.one("invoke_agent"))["nexus.run.closed_by"] == "limit"
