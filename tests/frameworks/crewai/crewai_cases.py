"""CrewAI as the kit uses it: crews, flows, agents and models over a scripted provider, and what they make."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from unittest import mock

import anthropic
import crewai
from crewai import LLM, Agent, Crew, Task
from crewai.flow.flow import Flow, listen, start
from crewai.tools import BaseTool
from opentelemetry.trace import SpanKind
from pydantic import BaseModel, Field

from nexus_otel._environ import variables
from nexus_otel.engine.target import release
from nexus_otel.instrumentors.crewai import CrewAIInstrumentor
from tests.fakes.provider import BAD_KEY, Reply, Step, ToolUse, Usage
from tests.kit.cases import CANARY, Case, Expected, Library

VERSION = release(crewai.__version__)
NATIVE = VERSION >= (1, 9)
"""Whether a model is offered tools, and asks for them, in its provider's own form; before, in a text."""
TELLS = VERSION >= (1, 14, 7)
"""Whether CrewAI tells the finish reason and the response's id; before, only the SDK beneath knows."""
MODEL = "claude-sonnet-4-5"
USED = Usage()


class Bird(BaseModel):
    bird: str = Field(description=f"Such as {CANARY}")


class Find(BaseTool):  # type: ignore[misc]
    name: str = "find"
    description: str = "Find a bird."
    args_schema: type[BaseModel] = Bird

    def _run(self, bird: str) -> str:
        if bird == "dodo":
            raise LookupError(f"no {CANARY} here")
        return f"{CANARY}: in the cage"


class Maker:
    """Makes what is run, on a model of a provider at a URL."""

    def __init__(self, url: str, key: str, **options: Any) -> None:
        # 1.0 takes the key from the environment only, though the client's own parameters win
        with mock.patch.dict(variables(), {"ANTHROPIC_API_KEY": "unused"}):
            self.llm: Any = LLM(
                model=f"anthropic/{MODEL}",
                base_url=url,
                client_params={"api_key": key, "default_headers": {"x-note": CANARY}},
                **{"max_retries": 0, "temperature": 0.5, **options},
            )

    def agent(self, role: str = "Keeper", **more: Any) -> Any:
        given = {"tools": [Find()], "llm": self.llm, "max_retry_limit": 0, **more}
        return Agent(role=role, goal="Keep birds", backstory=f"An old {CANARY}", **given)

    def crew(self, *agents: Any, name: str = "aviary", **more: Any) -> Any:
        agents = agents or (self.agent(),)
        tasks = [
            Task(name=f"look {number}", description="Where is the {bird}?", expected_output="A place", agent=agent)
            for number, agent in enumerate(agents)
        ]
        return Crew(name=name, agents=list(agents), tasks=tasks, **more)

    def flow(self) -> Any:
        agent = self.agent(tools=[])

        class Rounds(Flow):  # type: ignore[type-arg]
            @start()
            def ask(self) -> str:
                return str(agent.llm.call(f"Where is the {CANARY}?"))

            @listen(ask)
            async def check(self, said: str) -> str:
                answer = await agent.kickoff_async(f"Is it true: {said}")
                return str(answer.raw)

        return Rounds()


@contextmanager
def client(url: str, key: str, **options: Any) -> Iterator[Maker]:
    maker = Maker(url, key, **options)
    try:
        yield maker
    finally:
        for name in ("client", "_client"):
            if (made := getattr(maker.llm, name, None)) is not None:
                made.close()


@asynccontextmanager
async def async_client(url: str, key: str, **options: Any) -> AsyncIterator[Maker]:
    with client(url, key, **options) as maker:
        try:
            yield maker
        finally:
            for name in ("async_client", "_async_client"):
                if (made := getattr(maker.llm, name, None)) is not None:
                    await made.close()


LIBRARY = Library(instrumentor=CrewAIInstrumentor, client=client, async_client=async_client, noise="deprecated")


# -- what the model says -----------------------------------------------------------------------------------------------


def asks(name: str, usage: Usage = USED, **arguments: Any) -> Reply:
    """Ask for one tool."""
    if NATIVE:
        return Reply("", tools=[ToolUse(name, arguments)], usage=usage)
    return Reply(f"Thought: I look.\nAction: {name}\nAction Input: {json.dumps(arguments)}", usage=usage)


def says(text: str = f"The {CANARY} is in its cage.", usage: Usage = USED) -> Reply:
    """Answer."""
    return Reply(text if NATIVE else f"Thought: I now know the final answer\nFinal Answer: {text}", usage=usage)


FOUND: list[Step] = [asks("find", Usage(100, 20), bird=CANARY), says(usage=Usage(150, 30))]

# -- what is recorded --------------------------------------------------------------------------------------------------

CONTENT = ("gen_ai.input.messages", "gen_ai.output.messages")
ANSWERED = CONTENT[1:]
TOTALS: dict[str, Any] = {
    "nexus.usage.input_tokens": 250,
    "nexus.usage.output_tokens": 50,
    "nexus.run.steps": 2,
    "nexus.run.tool_calls": 1,
}
NOTHING: dict[str, Any] = {"nexus.run.steps": 1, "nexus.run.tool_calls": 0}
STOPPED: dict[str, Any] = {"gen_ai.response.finish_reasons": ("stop",)} if TELLS else {}
ASKED: dict[str, Any] = {"gen_ai.response.finish_reasons": ("tool_call",) if NATIVE else ("stop",)} if TELLS else {}
PROMPT: dict[str, Any] = {"nexus.message.count": int, "nexus.message.bytes": int}


def agent(role: str, parent: str | None = None, error: str | None = None, **attributes: Any) -> Expected:
    """An agent."""
    given = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": role,
        "gen_ai.agent.description": "Keep birds",
        **({"error.type": error} if error else {}),
        **attributes,
    }
    content = CONTENT[:1] if error else CONTENT
    return Expected(
        name=f"invoke_agent {role}",
        attributes=given,
        kind=SpanKind.INTERNAL,
        parent=parent,
        error=error,
        content=content,
    )


def workflow(name: str, *content: str, error: str | None = None, **attributes: Any) -> Expected:
    """A crew or a flow."""
    given = {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": name,
        **({"error.type": error} if error else {}),
        **attributes,
    }
    return Expected(
        name=f"invoke_workflow {name}", attributes=given, kind=SpanKind.INTERNAL, error=error, content=content
    )


def chat(
    parent: str | None, usage: Usage | None = None, error: str | None = None, offers: bool = False, **attributes: Any
) -> Expected:
    """A model call."""
    given: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": int,
        "server.address": "127.0.0.1",
        "server.port": int,
        **PROMPT,
        **({"gen_ai.request.stop_sequences": tuple} if NATIVE and (parent or "").startswith("invoke_agent") else {}),
        **attributes,
    }
    if usage is not None:
        given |= {"gen_ai.usage.input_tokens": usage.input, "gen_ai.usage.output_tokens": usage.output}
        given |= {"gen_ai.response.id": str} if TELLS else {}
    if error is not None:
        given["error.type"] = error
    content = CONTENT if usage is not None else CONTENT[:1]
    if offers and NATIVE:
        content = (*content, "gen_ai.tool.definitions")
    return Expected(
        name=f"chat {MODEL}",
        attributes=given,
        parent=parent,
        error=error,
        events=("exception",) if error else (),
        content=content,
    )


def looked(role: str | None, **attributes: Any) -> Expected:
    """The tool, as an agent uses it, or by itself."""
    given: dict[str, Any] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "find",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "Find a bird.",
        "nexus.tool.call.arguments.hash": str,
        "nexus.tool.call.result.hash": str,
        "nexus.tool.answer.form": "other",
        "nexus.tool.failed": False,
        **({"gen_ai.agent.name": role, "nexus.tool.known": True} if role else {}),
        **({"gen_ai.tool.call.id": str} if NATIVE and role else {}),
        **attributes,
    }
    return Expected(
        name="execute_tool find",
        attributes=given,
        kind=SpanKind.INTERNAL,
        parent=f"invoke_agent {role}" if role else None,
        content=("gen_ai.tool.call.arguments", "gen_ai.tool.call.result"),
    )


FIRST, SECOND = Usage(100, 20), Usage(150, 30)
ROLE = "invoke_agent Keeper"
LOOP = (
    chat(ROLE, FIRST, offers=True, **ASKED),
    looked("Keeper"),
    chat(ROLE, SECOND, offers=True, **STOPPED),
)
CREW = (
    workflow("aviary", *CONTENT, **TOTALS),
    agent("Keeper", "invoke_workflow aviary", **TOTALS, **STOPPED),
    *LOOP,
)
ALONE = (agent("Keeper", **TOTALS, **STOPPED), *LOOP)
INPUTS = {"bird": CANARY}


async def _alone_async(make: Any) -> Any:
    return await make.agent().kickoff_async(f"Where is the {CANARY}?")


async def _crew_async(make: Any) -> Any:
    return await make.crew().kickoff_async(inputs=INPUTS)


async def _crew_native_async(make: Any) -> Any:
    return await make.crew().akickoff(inputs=INPUTS)


async def _flow_async(make: Any) -> Any:
    return await make.flow().kickoff_async()


ROUNDS = (
    workflow("Rounds", *ANSWERED, **{**TOTALS, "nexus.run.tool_calls": int}),
    chat("invoke_workflow Rounds", FIRST, **STOPPED),
    agent(
        "Keeper",
        "invoke_workflow Rounds",
        **{
            "nexus.usage.input_tokens": 150,
            "nexus.usage.output_tokens": 30,
            "nexus.run.steps": 1,
            "nexus.run.tool_calls": 0,
        },
        **STOPPED,
    ),
    chat(ROLE, SECOND, **STOPPED),
)
ROUND: list[Step] = [Reply(f"The {CANARY} is there.", usage=FIRST), says(usage=SECOND)]

REFUSED = Case(
    id="crew-refused",
    call=lambda make: make.crew().kickoff(inputs=INPUTS),
    steps=[BAD_KEY] * 4,
    spans=(
        workflow("aviary", "gen_ai.input.messages", error="authentication_error", **NOTHING),
        agent("Keeper", "invoke_workflow aviary", error="authentication_error", **NOTHING),
        chat(ROLE, error="authentication_error", offers=True),
    ),
    fails=anthropic.AuthenticationError,
)

MORE = (
    Case(id="crew-async", call=_crew_async, steps=FOUND, spans=CREW),
    Case(id="flow-async", call=_flow_async, steps=ROUND, spans=ROUNDS),
)
"""Further ways, which are like others: only their spans are looked at."""
TOOL = Case(id="tool", call=lambda _make: Find().run(bird=CANARY), spans=[looked(None)])
CASES = (
    Case(id="crew", call=lambda make: make.crew().kickoff(inputs=INPUTS), steps=FOUND, spans=CREW),
    Case(id="alone", call=lambda make: make.agent().kickoff(f"Where is the {CANARY}?"), steps=FOUND, spans=ALONE),
    Case(id="alone-async", call=_alone_async, steps=FOUND, spans=ALONE),
    Case(id="flow", call=lambda make: make.flow().kickoff(), steps=ROUND, spans=ROUNDS),
    Case(
        id="model",
        call=lambda make: make.llm.call(f"Where is the {CANARY}?"),
        steps=[Reply(f"The {CANARY} is there.", usage=FIRST)],
        spans=[chat(None, FIRST, **STOPPED)],
    ),
    REFUSED,
    *([Case(id="crew-native-async", call=_crew_native_async, steps=FOUND, spans=CREW)] if VERSION >= (1, 7) else []),
)
