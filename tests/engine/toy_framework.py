"""A framework over the toy library: agents, workflows, searches, a model of its own around the library's, callbacks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

from nexus_otel.engine.instrumentor import Instrumentor
from nexus_otel.engine.listener import Listener, told
from nexus_otel.engine.target import Call, Target
from nexus_otel.genai.operations import (
    AgentResult,
    AgentRun,
    Batch,
    Conversation,
    Detail,
    Inference,
    InferenceResult,
    Message,
    Passage,
    Retrieval,
    RetrievalResult,
    ToolCall,
    ToolResult,
    Usage,
)
from tests.engine.toy import TOOLS, Answer, Model, Tool, answers, failure, model_request, model_response, said, user


class Paused(Exception):  # noqa: N818 - control flow of the framework
    """The run waits for a person."""


class Wrapped:
    """The framework's own view of a model: calls the library's."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def ask(self, messages: Any, tools: Any = TOOLS) -> Answer:
        """Ask the model."""
        return self.model.ask(messages, tools)


class Apart:
    """A model whose calls are made in tasks of their own."""

    def __init__(self, model: Model) -> None:
        self.model = model

    async def ask(self, messages: Any) -> Answer:
        """Ask the model."""
        return await asyncio.create_task(self.model.ask_async(messages))


class Agent:
    """An agent as a framework has it: `invoke` reads its own `stream`."""

    def __init__(self, model: Any, *tools: Any, name: str | None = "helper", workflow: bool = False) -> None:
        self.model = model
        self.tools = {tool.name: tool for tool in tools}
        self.name = name
        self.workflow = workflow

    def invoke(self, question: str, **options: Any) -> str:
        """Return the last thing that is said."""
        return list(self.stream(question, **options))[-1]

    def stream(self, question: str, steps: int = 20, **_options: Any) -> Iterator[str]:
        """Yield what is said, step by step."""
        messages = [user(question)]
        for _ in range(steps):
            answer = self.model.ask(messages)
            if not answer.calls:
                yield answer.text
                return
            results = [self._run(call) for call in answer.calls]
            yield "..."
            messages += answers(answer, *results)
        raise RecursionError("too many steps")

    async def ainvoke(self, question: str, **options: Any) -> str:
        """Return the last thing that is said."""
        return [text async for text in self.astream(question, **options)][-1]

    async def astream(self, question: str, **options: Any) -> AsyncIterator[str]:
        """Yield what is said, step by step."""
        for text in self.stream(question, **options):
            yield text

    def batch(self, questions: list[str]) -> list[str]:
        """Return the last thing that is said to each question."""
        return [self.invoke(question) for question in questions]

    def node(self, work: Any) -> Any:
        """Do some inner step."""
        return work()

    def _run(self, call: Any) -> Any:
        tool = self.tools.get(call.name)
        return "no such tool" if tool is None else self.node(lambda: tool.call(call.arguments, call.id))


class Store:
    """A store of documents."""

    def search(self, query: str) -> list[str]:
        """Return documents."""
        if not query:
            raise ValueError("nothing to look for")
        return ["first", "second"]


class Embedder:
    """Makes vectors."""

    def embed(self, texts: list[str]) -> list[list[float]]:
        """Return a vector a text."""
        return [[0.0, 1.0] for _ in texts]


def agent_request(call: Call) -> AgentRun:
    args, agent = call.arguments, call.instance
    return AgentRun(
        agent.name,
        args.get("conversation"),
        workflow=agent.workflow,
        conversation=lambda: Conversation([Message("user", [{"type": "text", "content": args["question"]}])]),
        subject=id(agent),
        outermost=bool(args.get("outermost")),
        apart=bool(args.get("apart")),
    )


class Last:
    """Keeps the last text."""

    def __init__(self) -> None:
        self._text = ""

    def add(self, event: str) -> None:
        self._text = event

    def result(self) -> AgentResult | None:
        return agent_response(self._text)


def agent_response(value: Any) -> AgentResult:
    return AgentResult((Message("assistant", [{"type": "text", "content": value}]),))


def wrapped_request(call: Call) -> Inference:
    seen = model_request(Call(None, call.instance.model, (), dict(call.arguments)))
    return replace(seen, provider="framework", model="an-alias", request=lambda: {"gen_ai.request.temperature": 1.0})


def wrapped_response(answer: Answer) -> InferenceResult:
    return replace(model_response(answer), id=None, model=None, usage=Usage())


def embed_request(call: Call) -> Inference:
    return Inference("toy", "embed-1", dict, Conversation, operation="embeddings")


def _agent(name: str) -> Target:
    return Target(
        module=__name__,
        name=f"Agent.{name}",
        request=agent_request,
        response=agent_response,
        fold=Last if "stream" in name else None,
        control_flow={"Paused": "interrupt"},
        failure=failure,
    )


def search_response(found: list[str]) -> RetrievalResult:
    return RetrievalResult([{"id": text, "score": 1.0} for text in found])


class FrameworkInstrumentor(Instrumentor):
    """Records the framework."""

    package = "toy"
    targets = (
        *(_agent(name) for name in ("invoke", "stream", "ainvoke", "astream")),
        Target(
            module=__name__, name="Wrapped.ask", request=wrapped_request, response=wrapped_response, failure=failure
        ),
        Target(module=__name__, name="Apart.ask", request=lambda call: Passage()),
        Target(module=__name__, name="Agent.batch", request=lambda call: Batch()),
        Target(module=__name__, name="Agent.node", request=lambda call: Detail("node")),
        Target(
            module=__name__,
            name="Store.search",
            request=lambda call: Retrieval("store", call.arguments["query"], 2),
            response=search_response,
        ),
        Target(
            module=__name__,
            name="Embedder.embed",
            request=embed_request,
            response=lambda value: InferenceResult(
                model="embed-1", usage=Usage(3), attributes={"gen_ai.embeddings.dimension.count": len(value[0])}
            ),
        ),
    )


# -- what calls back ---------------------------------------------------------------------------------------------------

TOLD_AGENT = Target(module=__name__, name="agent", request=agent_request, response=agent_response, failure=failure)
TOLD_MODEL = Target(
    module=__name__,
    name="model",
    request=model_request,
    response=model_response,
    failure=failure,
    fold=Last,
)
TOLD_TOOL = Target(
    module=__name__,
    name="tool",
    request=lambda call: ToolCall(call.arguments["name"], {"n": 1}),
    response=ToolResult,
)
listener = Listener(FrameworkInstrumentor)

__all__ = [
    "Agent",
    "Apart",
    "Embedder",
    "FrameworkInstrumentor",
    "Paused",
    "Store",
    "Tool",
    "Wrapped",
    "listener",
    "said",
    "told",
]
