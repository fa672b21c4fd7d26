"""What holds for every instrumentor, over LlamaIndex: calls of a model, and an agent with a tool."""

from __future__ import annotations

import warnings
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import anthropic
import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from opentelemetry.trace import SpanKind
from pydantic import BaseModel, Field

from nexus_otel import config
from nexus_otel.instrumentors.llama_index import LlamaIndexInstrumentor
from tests.fakes.provider import API_ERROR, Reply, ToolUse
from tests.frameworks.llama_index.make import FINISHES, MODEL, agent, llm
from tests.kit.cases import CANARY, Case, Expected, Library
from tests.kit.recording import instrumented
from tests.kit.suite import Conformance
from tests.kit.undoing import changed, originals

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@contextmanager
def client(url: str, key: str, **options: Any) -> Any:
    model = llm(url, key, **options)
    try:
        yield model
    finally:
        model._client.close()


@asynccontextmanager
async def async_client(url: str, key: str, **options: Any) -> Any:
    model = llm(url, key, **options)
    try:
        yield model
    finally:
        await model._aclient.close()


LIBRARY = Library(instrumentor=LlamaIndexInstrumentor, client=client, async_client=async_client)
SAID = Reply(f"The {CANARY} sits in its cage.")
ASKS = Reply(f"I look for the {CANARY}.", tools=[ToolUse("find", {"bird": CANARY})])
QUESTION = f"Where is the {CANARY}?"
MESSAGES = [ChatMessage(QUESTION)]
INPUT, OUTPUT, DEFINITIONS = "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.tool.definitions"
RESPONSE = (
    "gen_ai.response.id", "gen_ai.response.model", "gen_ai.response.finish_reasons", "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
)  # fmt: skip


def chat(more: Any = (), *, without: tuple[str, ...] = (), parent: str | None = None) -> Expected:
    """The span of a model call that went well."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.max_tokens": 512,
        "nexus.context.window": 200_000,
        "gen_ai.request.temperature": 0.1,
        "gen_ai.response.id": "msg_0001",
        "gen_ai.response.model": MODEL,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "server.address": "127.0.0.1",
        "server.port": int,
        "nexus.message.count": 1,
        "nexus.message.bytes": int,
    }
    kept = {name: value for name, value in attributes.items() if name not in without} | dict(more)
    return Expected(name=f"chat {MODEL}", attributes=kept, parent=parent, content=(INPUT, OUTPUT))


STREAMED = {"gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": float}
UNKNOWN = RESPONSE[:2] if FINISHES else RESPONSE
"""What a streamed answer does not say without the SDK beneath."""


def failed(error: str) -> Expected:
    """The span of a model call that raised."""
    expected = chat({"error.type": error}, without=RESPONSE)
    return replace(expected, error=error, events=("exception",), content=(INPUT,))


def streamed_in_run(reason: str, count: int) -> Expected:
    finish = {"gen_ai.response.finish_reasons": (reason,)} if FINISHES else {}
    more = {**STREAMED, **finish, "nexus.message.count": count}
    return replace(chat(more, without=UNKNOWN, parent="invoke_agent keeper"), content=(INPUT, OUTPUT, DEFINITIONS))


def run(tool: Expected) -> tuple[Expected, ...]:
    """The spans of a run with one tool call."""
    totals = {"nexus.usage.input_tokens": 200, "nexus.usage.output_tokens": 40} if FINISHES else {}
    finish = {"gen_ai.response.finish_reasons": ("stop",)} if FINISHES else {}
    root = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "keeper",
        "gen_ai.agent.description": "Keeps birds.",
        "nexus.run.steps": 2,
        "nexus.run.tool_calls": 1,
        **totals,
        **finish,
    }
    return (
        Expected(name="invoke_agent keeper", attributes=root, kind=SpanKind.INTERNAL, content=(INPUT, OUTPUT)),
        streamed_in_run("tool_call", 1),
        tool,
        streamed_in_run("stop", 3),
    )


def find_tool() -> Expected:
    """The span of the tool."""
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "find",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": "toolu_0001",
        "gen_ai.tool.description": str,
        "gen_ai.agent.name": "keeper",
        "nexus.tool.known": True,
        "nexus.tool.failed": False,
        "nexus.tool.answer.form": "other",
        "nexus.tool.call.arguments.hash": str,
        "nexus.tool.call.result.hash": str,
    }
    content = ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result")
    return Expected(
        name="execute_tool find", attributes=attributes, kind=SpanKind.INTERNAL, parent="invoke_agent keeper",
        content=content,
    )  # fmt: skip


class Bird(BaseModel):
    bird: str = Field(description=f"Such as a {CANARY}")


def find(bird: str) -> str:
    """Finds a bird."""
    return f"{bird}: in the cage"


async def chat_async(model: Any) -> Any:
    return str(await model.achat(MESSAGES))


async def stream_async(model: Any) -> Any:
    return [str(chunk) async for chunk in await model.astream_chat(MESSAGES)]


async def run_agent(model: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the framework's, by every version of pydantic others
        return str(await agent(model, FunctionTool.from_defaults(find, fn_schema=Bird)).run(QUESTION))


CHAT = Case(id="chat", call=lambda model: str(model.chat(MESSAGES)), steps=[SAID], spans=[chat()])
CASES = (
    CHAT,
    Case(
        id="stream",
        call=lambda model: [str(chunk) for chunk in model.stream_chat(MESSAGES)],
        steps=[SAID],
        spans=[chat({**STREAMED}, without=UNKNOWN)],
    ),
    Case(id="stream-async", call=stream_async, steps=[SAID], spans=[chat({**STREAMED}, without=UNKNOWN)]),
    Case(
        id="fails-async",
        call=chat_async,
        steps=[replace(API_ERROR, message=CANARY)],
        spans=[failed("api_error")],
        fails=anthropic.InternalServerError,
    ),
    Case(id="agent", call=run_agent, steps=[ASKS, SAID], spans=run(find_tool())),
)


class TestConformance(Conformance):
    library = LIBRARY
    cases = CASES
    fault_cases = tuple(case for case in CASES if case.id in ("stream", "fails-async", "agent"))
    reached = frozenset(
        {
            "request", "response", "failure", "fold", "fold.add", "inference.request", "inference.conversation",
            "recorder.start_inference", "recorder.end_inference", "recorder.start_agent", "recorder.end_agent",
            "recorder.start_tool", "recorder.end_tool", "runs.join", "runs.ended", "runs.claim", "finish", "attributes",
            "content", "metrics", "log event",
        }
    )  # fmt: skip


# -- putting it in place and taking it off -----------------------------------------------------------------------------


def test_every_method_of_the_dispatcher_is_replaced_and_comes_back():
    before = originals(LIBRARY)
    assert any(name.endswith("Dispatcher.span_enter") for name in before)
    with instrumented(LlamaIndexInstrumentor):
        assert changed(before, originals(LIBRARY)) == list(before)
    assert changed(before, originals(LIBRARY)) == []


def test_off_and_on_again_records_once(provider):
    for _ in range(2):
        with instrumented(LlamaIndexInstrumentor) as seen:
            LlamaIndexInstrumentor().instrument()
            provider.load([SAID])
            llm(provider.url).chat(MESSAGES)
        assert seen.names == {f"chat {MODEL}": 1}
    provider.load([SAID])
    llm(provider.url).chat(MESSAGES)
    assert len(seen.spans) == 1


def test_a_disabled_one_records_nothing(provider):
    with instrumented() as seen:
        LlamaIndexInstrumentor().instrument(tracer_provider=seen.tracer_provider, only_silence=True)
        provider.load([SAID])
        llm(provider.url).chat(MESSAGES)
        LlamaIndexInstrumentor().uninstrument()
    assert seen.spans == []


def test_a_version_without_the_dispatcher_is_one_warning(monkeypatch, caplog):
    import llama_index.core.instrumentation.dispatcher as there

    monkeypatch.delattr(there.Dispatcher, "span_drop")
    with instrumented(LlamaIndexInstrumentor):
        lines = [record.getMessage() for record in caplog.records if record.name == "nexus_otel"]
    assert len(lines) == 1
    assert "llama-index-core" in lines[0]
    assert "Dispatcher.span_drop" in lines[0]


def test_a_limit_stops_a_run_before_its_next_call(provider):
    provider.load([ASKS] * 4, "limited")
    model = llm(provider.url, "limited")

    async def main():
        try:
            await agent(model, find).run(QUESTION)
        finally:
            await model._aclient.close()

    import asyncio

    with instrumented(LlamaIndexInstrumentor, NEXUS_MAX_STEPS="2") as seen, pytest.raises(Exception, match="steps"):
        asyncio.run(main())
    assert len([request for request in provider.requests if request.key == "limited"]) == 2
    assert seen.names[f"chat {MODEL}"] == 2
    assert config.current().max_steps is None
