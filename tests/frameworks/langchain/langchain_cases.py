"""LangChain as the kit uses it: model calls in every form, chains, tools and loops, on ChatAnthropic."""

from __future__ import annotations

import importlib.metadata
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import anthropic
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from opentelemetry.trace import SpanKind
from pydantic import BaseModel, Field

from nexus_otel.engine.target import release
from nexus_otel.instrumentors.langchain import LangChainInstrumentor
from nexus_otel.instrumentors.langgraph import LangGraphInstrumentor
from tests.fakes.provider import API_ERROR, OVERLOADED, PROMPT_TOO_LONG, Reply, ToolUse, Usage
from tests.kit.cases import CANARY, Case, Expected, Library
from tests.kit.recording import AGENT

NEW = release(importlib.metadata.version("langchain-core")) >= (1,)


@contextmanager
def client(url: str, key: str, **options: Any) -> Iterator[ChatAnthropic]:
    with_options = {"max_retries": 0, "max_tokens": 64, **options}
    model = ChatAnthropic(model="claude-test", base_url=url, api_key=key, **with_options)
    try:
        yield model
    finally:
        if "_client" in model.__private_attributes__:  # its own, before langchain-anthropic 0.3.15
            model._client.close()


@asynccontextmanager
async def async_client(url: str, key: str, **options: Any) -> AsyncIterator[ChatAnthropic]:
    """Give a model its own HTTP client: LangChain shares one between the models of an address, and so event loops."""
    with client(url, key, **options) as model:
        own = anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=0)
        if "_async_client" in model.__private_attributes__:
            model._async_client = own
        else:
            vars(model)["_async_client"] = own
        async with own:
            yield model


LIBRARY = Library(instrumentor=LangChainInstrumentor, client=client, async_client=async_client)
GRAPHS = Library(instrumentor=LangGraphInstrumentor, client=client, async_client=async_client)

# -- what is asked -----------------------------------------------------------------------------------------------------

ASK = [SystemMessage(f"Be brief, {CANARY}."), HumanMessage(f"Where is the {CANARY}?")]
SAID = Reply(f"The {CANARY} sits in its cage.")
FIND = Reply(f"I look for the {CANARY}.", tools=[ToolUse("find", {"bird": CANARY})])
RICH = Reply(f"I found the {CANARY}.", thinking=f"They want the {CANARY}.", usage=Usage(7, 50, 30, 4))


class Bird(BaseModel):
    """What is looked for."""

    bird: str = Field(description=f"Such as {CANARY}.")


@tool(args_schema=Bird)
def find(bird: str) -> str:
    """Finds a bird."""
    return f"{bird}: in the cage"


def plain(value: Any) -> Any:
    """Return a value without the ids that LangChain makes up."""
    if isinstance(value, BaseMessage):
        return (type(value).__name__, value.content, getattr(value, "tool_calls", None), value.response_metadata,
                getattr(value, "usage_metadata", None), getattr(value, "status", None))  # fmt: skip
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def invoke(model: Any) -> Any:
    return plain(model.invoke(ASK))


async def ainvoke(model: Any) -> Any:
    return plain(await model.ainvoke(ASK))


def stream(model: Any) -> Any:
    return plain(list(model.stream(ASK)))


async def astream(model: Any) -> Any:
    return plain([chunk async for chunk in model.astream(ASK)])


def chain_of(model: Any) -> Any:
    prompt = ChatPromptTemplate.from_messages([("system", "Be brief, {name}."), ("user", "Where is the {name}?")])
    return prompt | model | StrOutputParser()


def chain(model: Any) -> Any:
    return chain_of(model).invoke({"name": CANARY})


async def chain_async(model: Any) -> Any:
    return await chain_of(model).ainvoke({"name": CANARY})


def chain_stream(model: Any) -> Any:
    return list(chain_of(model).stream({"name": CANARY}))


async def chain_stream_async(model: Any) -> Any:
    return [text async for text in chain_of(model).astream({"name": CANARY})]


def structured(model: Any) -> Any:
    bird = {"type": "string", "description": f"Such as {CANARY}."}
    schema = {"title": "find", "type": "object", "properties": {"bird": bird}, "description": "A bird."}
    return model.with_structured_output(schema).invoke(ASK)


def loop(model: Any) -> Any:
    bound, history = model.bind_tools([find]), list(ASK)
    while (answer := bound.invoke(history)).tool_calls:
        history += [answer, *(find.invoke(call) for call in answer.tool_calls)]
    return plain([*history, answer])


async def loop_async(model: Any) -> Any:
    bound, history = model.bind_tools([find]), list(ASK)
    while (answer := await bound.ainvoke(history)).tool_calls:
        history += [answer, *[await find.ainvoke(call) for call in answer.tool_calls]]
    return plain([*history, answer])


def lone_tool(_model: Any) -> Any:
    return find.invoke({"bird": CANARY})


async def lone_tool_async(_model: Any) -> Any:
    return await find.ainvoke({"bird": CANARY})


class Cages(BaseRetriever):
    """A store of cages."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> Any:
        from langchain_core.documents import Document

        return [Document(f"cage of {query}", metadata={"source": CANARY, "score": 0.5})]


def search(_model: Any) -> Any:
    return [document.page_content for document in Cages(name="cages").invoke(CANARY)]


async def search_async(_model: Any) -> Any:
    return [document.page_content for document in await Cages(name="cages").ainvoke(CANARY)]


# -- what is expected --------------------------------------------------------------------------------------------------

Attributes = Mapping[str, Any]
NOTHING_MORE: Attributes = {}
SYSTEM, INPUT, OUTPUT, DEFINITIONS = (
    "gen_ai.system_instructions",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.tool.definitions",
)
STREAMED = {"gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": float}


def chat(
    more: Attributes = NOTHING_MORE,
    *,
    without: tuple[str, ...] = (),
    parent: str | None = None,
    content: tuple[str, ...] = (SYSTEM, INPUT, OUTPUT),
) -> Expected:
    """The span of a model call that went well, with `more` attributes or other values."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-test",
        "gen_ai.request.max_tokens": 64,
        "gen_ai.response.id": "msg_0001",
        "gen_ai.response.model": "claude-test",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "server.address": "127.0.0.1",
        "server.port": int,
        "nexus.message.count": 1,
        "nexus.message.bytes": 27,
    }
    attributes = {name: value for name, value in attributes.items() if name not in without} | dict(more)
    return Expected(name="chat claude-test", attributes=attributes, parent=parent, content=content)


RESPONSE = tuple(name for name in chat().attributes if name.startswith(("gen_ai.response", "gen_ai.usage")))
NO_ID = ("gen_ai.response.id",) if NEW else ("gen_ai.response.id", "gen_ai.response.model")
"""What ChatAnthropic does not tell of a stream."""


def streamed(*, parent: str | None = None) -> Expected:
    return chat(STREAMED, without=NO_ID, parent=parent)


def failed(error: str, more: Attributes = NOTHING_MORE, *, parent: str | None = None) -> Expected:
    """The span of a model call that raised."""
    expected = chat({"error.type": error, **more}, without=RESPONSE, content=(SYSTEM, INPUT), parent=parent)
    return replace(expected, error=error, events=("exception",))


def tool_span(more: Attributes = NOTHING_MORE, *, parent: str | None = None) -> Expected:
    """The span of a tool that went well."""
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "find",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "Finds a bird.",
        "nexus.tool.failed": False,
        "nexus.tool.answer.form": "other",
        "nexus.tool.call.arguments.hash": str,
        "nexus.tool.call.result.hash": str,
        **more,
    }
    content = ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result")
    return Expected(
        name="execute_tool find", attributes=attributes, kind=SpanKind.INTERNAL, parent=parent, content=content
    )


AGENT_SPAN = f"invoke_agent {AGENT}"
CHAIN_SPAN = f"invoke_workflow {AGENT}"


def run(name: str = AGENT_SPAN, more: Attributes = NOTHING_MORE, content: Any = (SYSTEM, INPUT, OUTPUT)) -> Expected:
    """The root of a run."""
    operation, _, own = name.partition(" ")
    key = "gen_ai.agent.name" if operation == "invoke_agent" else "gen_ai.workflow.name"
    attributes = {"gen_ai.operation.name": operation, key: own, "nexus.run.steps": 0, "nexus.run.tool_calls": 0, **more}
    return Expected(name=name, attributes=attributes, kind=SpanKind.INTERNAL, content=content)


CHAIN_TOTALS = {"nexus.run.steps": 1, "nexus.usage.input_tokens": 100, "nexus.usage.output_tokens": 20}
LOOP_TOTALS = {
    "nexus.run.steps": 2,
    "nexus.run.tool_calls": 1,
    "nexus.usage.input_tokens": 200,
    "nexus.usage.output_tokens": 40,
    "gen_ai.response.finish_reasons": ("stop",),
}


def chained(call: Expected) -> list[Expected]:
    return [run(CHAIN_SPAN, CHAIN_TOTALS, (INPUT, OUTPUT)), replace(call, parent=CHAIN_SPAN)]


def looped() -> list[Expected]:
    given = (SYSTEM, INPUT, OUTPUT, DEFINITIONS)
    in_run = {"gen_ai.agent.name": AGENT, "gen_ai.tool.call.id": "toolu_0001", "nexus.tool.known": True}
    second = {"gen_ai.response.id": "msg_0002", "nexus.message.count": 3, "nexus.message.bytes": int}
    return [
        run(AGENT_SPAN, LOOP_TOTALS),
        chat({"gen_ai.response.finish_reasons": ("tool_call",)}, parent=AGENT_SPAN, content=given),
        tool_span(in_run, parent=AGENT_SPAN),
        chat(second, parent=AGENT_SPAN, content=given),
    ]


def searched() -> Expected:
    attributes = {"gen_ai.operation.name": "retrieval", "gen_ai.data_source.id": "cages"}
    content = ("gen_ai.retrieval.documents", "gen_ai.retrieval.query.text")
    return Expected(name="retrieval cages", attributes=attributes, content=content)


RICH_USAGE = {
    "gen_ai.usage.input_tokens": 41,
    "gen_ai.usage.output_tokens": 50,
    "gen_ai.usage.cache_read.input_tokens": 30,
    "gen_ai.usage.cache_write.input_tokens": 4,
}
OVERFLOW = {
    "nexus.error.class": "context_overflow",
    "nexus.context.tokens": 212_000,
    "nexus.context.limit": 200_000,
}

CASES = (
    Case(id="invoke", call=invoke, steps=[SAID], spans=[chat()]),
    Case(id="ainvoke", call=ainvoke, steps=[SAID], spans=[chat()]),
    Case(id="stream", call=stream, steps=[SAID], spans=[streamed()]),
    Case(id="astream", call=astream, steps=[SAID], spans=[streamed()]),
    Case(id="rich", call=invoke, steps=[RICH], spans=[chat(RICH_USAGE)]),
    Case(id="chain", call=chain, steps=[SAID], spans=chained(chat())),
    Case(id="chain-async", call=chain_async, steps=[SAID], spans=chained(chat())),
    Case(id="chain-stream", call=chain_stream, steps=[SAID], spans=chained(streamed())),
    Case(id="chain-stream-async", call=chain_stream_async, steps=[SAID], spans=chained(streamed())),
    Case(id="structured", call=structured, steps=[FIND],
         spans=[chat({"gen_ai.response.finish_reasons": ("tool_call",)}, content=(SYSTEM, INPUT, OUTPUT, DEFINITIONS))],
         gaps={"test_an_unsampled_call_is_not_read": "which tool is forced tells whether it is a step of a run"}),
    Case(id="loop", call=loop, steps=[FIND, SAID], spans=looped()),
    Case(id="loop-async", call=loop_async, steps=[FIND, SAID], spans=looped()),
    Case(id="tool", call=lone_tool, spans=[tool_span()]),
    Case(id="tool-async", call=lone_tool_async, spans=[tool_span()]),
    Case(id="search", call=search, spans=[searched()]),
    Case(id="search-async", call=search_async, spans=[searched()]),
    Case(id="overloaded", call=invoke, steps=[OVERLOADED], spans=[failed("overloaded_error")],
         fails=anthropic.APIStatusError),
    Case(id="overloaded-async", call=ainvoke, steps=[OVERLOADED], spans=[failed("overloaded_error")],
         fails=anthropic.APIStatusError),
    Case(id="stream-refused", call=stream, steps=[API_ERROR],
         spans=[failed("api_error", {"gen_ai.request.stream": True})], fails=anthropic.APIStatusError),
    Case(id="overflow", call=invoke, steps=[PROMPT_TOO_LONG], spans=[failed("invalid_request_error", OVERFLOW)],
         fails=anthropic.BadRequestError),
    Case(id="chain-fails", call=chain, steps=[OVERLOADED], fails=anthropic.APIStatusError, spans=[
        replace(run(CHAIN_SPAN, {"nexus.run.steps": 1, "error.type": "overloaded_error"}, (INPUT,)),
                error="overloaded_error"),
        failed("overloaded_error", parent=CHAIN_SPAN)]),
)  # fmt: skip

# -- graphs ------------------------------------------------------------------------------------------------------------


def graph(model: Any, name: str | None = "keeper", tools: Any = (find,), **options: Any) -> Any:
    """An agent as LangGraph's pages build one."""
    bound, built = model.bind_tools(list(tools)), StateGraph(MessagesState)
    built.add_node("model", lambda state: {"messages": [bound.invoke(state["messages"])]})
    built.add_node("tools", ToolNode(list(tools)))
    built.add_edge(START, "model")
    built.add_conditional_edges("model", tools_condition)
    built.add_edge("tools", "model")
    compiled = built.compile(**options)
    compiled.name = name or compiled.name
    return compiled


def flow(model: Any) -> Any:
    built = StateGraph(MessagesState)
    built.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    built.add_edge(START, "model")
    built.add_edge("model", END)
    compiled = built.compile()
    compiled.name = "flow"
    return compiled


STATE = {"messages": [HumanMessage(f"Where is the {CANARY}?")]}


def graph_invoke(model: Any) -> Any:
    return plain(graph(model).invoke(STATE))


async def graph_ainvoke(model: Any) -> Any:
    return plain(await graph(model).ainvoke(STATE))


def graph_stream(model: Any) -> Any:
    return plain(list(graph(model).stream(STATE)))


async def graph_astream(model: Any) -> Any:
    return plain([event async for event in graph(model).astream(STATE, stream_mode="values")])


def flow_invoke(model: Any) -> Any:
    return plain(flow(model).invoke(STATE))


KEEPER = run("invoke_agent keeper", content=(OUTPUT,))
GRAPH_CASES = (
    Case(id="graph", call=graph_invoke, steps=[FIND, SAID], spans=[KEEPER]),
    Case(id="graph-async", call=graph_ainvoke, steps=[FIND, SAID], spans=[KEEPER]),
    Case(id="graph-stream", call=graph_stream, steps=[FIND, SAID], spans=[KEEPER]),
    Case(id="graph-stream-async", call=graph_astream, steps=[FIND, SAID], spans=[KEEPER]),
    Case(id="flow", call=flow_invoke, steps=[SAID], spans=[run("invoke_workflow flow", content=(INPUT, OUTPUT))]),
    Case(id="graph-fails", call=graph_invoke, steps=[OVERLOADED], fails=anthropic.APIStatusError, spans=[
        replace(run("invoke_agent keeper", {"error.type": "overloaded_error"}, ()), error="overloaded_error",
                events=("exception",))]),
)  # fmt: skip
