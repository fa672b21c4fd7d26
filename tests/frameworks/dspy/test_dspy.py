"""DSPy in the kit: what holds for every instrumentor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy
import pytest
from opentelemetry.trace import SpanKind

from nexus_otel.instrumentors.dspy import DSPyInstrumentor
from tests.fakes.provider import BAD_KEY, Reply
from tests.frameworks.dspy.programs import (
    ANSWER,
    FIND,
    FINISH,
    HAS_REACT_V2,
    PLAIN,
    QUESTION,
    RICH,
    SUBMIT,
    VERSION,
    Pipeline,
    agent,
    agent_v2,
    asks,
    async_client,
    client,
    fail,
    find_async,
)
from tests.kit.cases import CANARY, Case, Expected, Library
from tests.kit.faults import FAULTS
from tests.kit.suite import Conformance
from tests.kit.undoing import Undoing

pytestmark = pytest.mark.filterwarnings("ignore")

LIBRARY = Library(
    instrumentor=DSPyInstrumentor,
    client=client,
    async_client=async_client,
    noise="Logging.async_success_handler|unclosed|Event loop is closed",
)
INPUT, OUTPUT, DEFINITIONS = "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.tool.definitions"
NOTHING_MORE: Mapping[str, Any] = {}


def chat(more: Mapping[str, Any] = NOTHING_MORE, parent: str | None = None, without: tuple[str, ...] = ()) -> Expected:
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-test",
        "gen_ai.request.max_tokens": 64,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.id": str,
        "gen_ai.response.model": "gpt-test",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "server.address": "127.0.0.1",
        "server.port": int,
        "nexus.message.count": 2,
        "nexus.message.bytes": int,
    }
    attributes = {name: value for name, value in attributes.items() if name not in without} | dict(more)
    return Expected(name="chat gpt-test", attributes=attributes, parent=parent, content=(INPUT, OUTPUT))


def failed(error: str, parent: str | None, more: Mapping[str, Any] = NOTHING_MORE) -> Expected:
    answered = ("id", "model", "finish_reasons")
    without = (
        *(f"gen_ai.response.{name}" for name in answered),
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
    )
    plain = chat({"error.type": error, **more}, parent, without)
    return Expected(
        name=plain.name,
        attributes=plain.attributes,
        parent=parent,
        error=error,
        events=("exception",),
        content=(INPUT,),
    )


def workflow(name: str, steps: int = 1, **more: Any) -> Expected:
    attributes = {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": name,
        "nexus.usage.input_tokens": 100 * steps,
        "nexus.usage.output_tokens": 20 * steps,
        "nexus.run.steps": steps,
        "nexus.run.tool_calls": 0,
    }
    return Expected(
        name=f"invoke_workflow {name}",
        attributes=attributes,
        kind=SpanKind.INTERNAL,
        content=(INPUT, OUTPUT),
        **more,
    )


def unanswered(name: str, error: str, steps: int) -> Expected:
    attributes = {
        "gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": name, "error.type": error,
        "nexus.run.steps": steps, "nexus.run.tool_calls": 0,
    }  # fmt: skip
    return Expected(
        name=f"invoke_workflow {name}", attributes=attributes, kind=SpanKind.INTERNAL, error=error, content=(INPUT,)
    )


def run(name: str, steps: int, tools: int, **more: Any) -> Expected:
    attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": name,
        "gen_ai.response.finish_reasons": ("stop",),
        "nexus.usage.input_tokens": 100 * steps,
        "nexus.usage.output_tokens": 20 * steps,
        "nexus.run.steps": steps,
        "nexus.run.tool_calls": tools,
        **more,
    }
    content = (INPUT, OUTPUT, DEFINITIONS)
    return Expected(name=f"invoke_agent {name}", attributes=attributes, kind=SpanKind.INTERNAL, content=content)


def tool(parent: str, more: Mapping[str, Any] = NOTHING_MORE, name: str = "find") -> Expected:
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "Finds a bird.",
        "gen_ai.agent.name": parent.partition(" ")[2],
        "nexus.tool.known": True,
        "nexus.tool.failed": False,
        "nexus.tool.answer.form": "other",
        "nexus.tool.call.arguments.hash": str,
        "nexus.tool.call.result.hash": str,
        **more,
    }
    content = ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result")
    return Expected(
        name=f"execute_tool {name}", attributes=attributes, kind=SpanKind.INTERNAL, parent=parent, content=content
    )


# -- calls -------------------------------------------------------------------------------------------------------------


def predict(_lm: Any) -> Any:
    return dspy.Predict("question -> answer")(question=QUESTION).toDict()


def react(_lm: Any) -> Any:
    return agent()(question=QUESTION).toDict()


async def react_async(_lm: Any) -> Any:
    return (await agent(dspy.Tool(find_async, name="find")).acall(question=QUESTION)).toDict()


def react_v2(_lm: Any) -> Any:
    with dspy.context(adapter=dspy.ChatAdapter(use_native_function_calling=True)):
        return agent_v2()(question=QUESTION).answer


def pipeline(_lm: Any) -> Any:
    return Pipeline()(question=QUESTION).toDict()


def react_failing(_lm: Any) -> Any:
    return agent(dspy.Tool(fail, name="find", desc="Finds a bird."))(question=QUESTION).toDict()


async def react_failing_async(_lm: Any) -> Any:
    return (await agent(dspy.Tool(fail, name="find", desc="Finds a bird.")).acall(question=QUESTION)).toDict()


def react_forward(_lm: Any) -> Any:
    return agent().forward(question=QUESTION).toDict()


def ask(lm: Any) -> Any:
    return lm(QUESTION)


async def ask_async(lm: Any) -> Any:
    return await lm.acall(QUESTION)


def search(_lm: Any) -> Any:
    with dspy.context(rm=lambda query, k: [dspy.Example(long_text=f"{query} {k}")]):
        return dspy.Retrieve(k=1).forward(CANARY).passages, CANARY


NAME = "question -> answer"
FLOW = f"invoke_workflow {NAME}"
AGENT = "invoke_agent dspy.ReAct"
OF_REACT = (
    run("dspy.ReAct", 3, 1), chat(parent=AGENT), tool(AGENT), chat(parent=AGENT), chat(parent=AGENT),
)  # fmt: skip
LONE = {"nexus.message.count": 1}
FAILED = {
    name: value
    for name, value in tool(AGENT).attributes.items()
    if name not in ("nexus.tool.answer.form", "nexus.tool.call.result.hash")
}
FAILED |= {
    "nexus.tool.failed": True, "nexus.tool.failed.how": "status", "nexus.tool.error.class": str,
    "nexus.tool.error.hash": str, "error.type": "LookupError",
}  # fmt: skip
OF_FAILING = (
    *OF_REACT[:2],
    Expected(
        name="execute_tool find", attributes=FAILED, kind=SpanKind.INTERNAL, parent=AGENT, error="LookupError",
        events=("exception",), content=("gen_ai.tool.call.arguments",),
    ),
    *OF_REACT[3:],
)  # fmt: skip
THE_RICH = {
    "gen_ai.usage.input_tokens": 37,
    "gen_ai.usage.output_tokens": 50,
    "gen_ai.usage.cache_read.input_tokens": 30,
    "gen_ai.usage.reasoning.output_tokens": 12,
}
REFUSED = "invalid_api_key" if VERSION >= (3, 4) else "AuthenticationError"
TRIES = 1 if VERSION >= (3, 4) else 2  # another adapter is tried, whatever was amiss
JSON = {"gen_ai.output.type": "json"}
V2 = "invoke_agent dspy.ReActV2"
ASKING = {"gen_ai.response.finish_reasons": ("tool_call",), "nexus.message.count": int}
CASES = (
    Case(id="lm", call=ask, steps=[PLAIN], spans=[chat(LONE)]),
    Case(id="lm-async", call=ask_async, steps=[PLAIN], spans=[chat(LONE)]),
    Case(id="lm-bad-key", call=ask, steps=[BAD_KEY], spans=[failed(REFUSED, None, LONE)], fails=Exception),
    Case(id="rich", call=ask, steps=[Reply(CANARY, usage=RICH)], spans=[chat({**THE_RICH, **LONE})]),
    Case(id="predict", call=predict, steps=[PLAIN], spans=[workflow(NAME), chat(parent=FLOW)]),
    Case(
        id="pipeline",
        call=pipeline,
        steps=[PLAIN, PLAIN],
        spans=[workflow("Pipeline", 2), *[chat(parent="invoke_workflow Pipeline")] * 2],
    ),
    Case(id="react-forward", call=react_forward, steps=[FIND, FINISH, ANSWER], spans=OF_REACT),
    Case(id="react", call=react, steps=[FIND, FINISH, ANSWER], spans=OF_REACT),
    Case(id="react-failing", call=react_failing, steps=[FIND, FINISH, ANSWER], spans=OF_FAILING),
    Case(id="react-failing-async", call=react_failing_async, steps=[FIND, FINISH, ANSWER], spans=OF_FAILING),
    Case(id="react-async", call=react_async, steps=[FIND, FINISH, ANSWER], spans=OF_REACT),
    *(
        [
            Case(
                id="react-v2",
                call=react_v2,
                steps=[asks(("find", {"bird": CANARY})), SUBMIT],
                spans=[
                    run("dspy.ReActV2", 2, 1),
                    chat(ASKING, V2),
                    tool(V2, {"gen_ai.tool.call.id": str}),
                    chat(ASKING, V2),
                ],
            )
        ]
        if HAS_REACT_V2
        else []
    ),
)  # fmt: skip


if VERSION >= (3,):  # before, the JSON adapter's own error hides the provider's
    CASES += (
        Case(
            id="bad-key",
            call=predict,
            steps=[BAD_KEY] * TRIES,
            spans=[
                unanswered(NAME, REFUSED, TRIES),
                failed(REFUSED, FLOW),
                *[failed(REFUSED, FLOW, JSON)] * (TRIES - 1),
            ],
            fails=Exception,
        ),
    )


class TestConformance(Conformance):
    library = LIBRARY
    cases = CASES
    reached = frozenset(FAULTS) - {"fold", "deferred", "fold.add", "fold.result", "recorder.retry"}


class TestUndoing(Undoing):
    library = LIBRARY
    case = Case(
        id="search",
        call=search,
        spans=[Expected(name="retrieval", attributes={})],
    )
