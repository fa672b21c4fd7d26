"""A model library in this process, and its instrumentor: what the engine does is seen without any network."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from nexus_otel.engine.instrumentor import Instrumentor
from nexus_otel.engine.target import Call, Target
from nexus_otel.genai.operations import (
    AskedCall,
    Conversation,
    Failure,
    Inference,
    InferenceResult,
    Message,
    ToolCall,
    ToolResult,
    Usage,
)

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOLS = ({"type": "function", "name": "add", "parameters": SCHEMA}, {"type": "function", "name": "wait"})


# -- the library -------------------------------------------------------------------------------------------------------


@dataclass
class Asked:
    """A tool call that the model asks for."""

    name: str = "add"
    arguments: dict[str, Any] = field(default_factory=lambda: {"n": 1})
    id: str | None = ""


@dataclass
class Answer:
    """What a model says: in the end a text, before that the tools that it wants."""

    text: str = "done"
    calls: tuple[Asked, ...] = ()
    id: str | None = None
    reason: str | None = None
    usage: tuple[int, int] = (10, 5)


class ModelError(Exception):
    """The model failed."""


class Model:
    """Says what it was told to say, call by call; the last thing again and again.

    Args:
        says: Answers, or exceptions to raise.
        ids: Whether its calls and answers have ids; every model counts its own, so that models repeat them.
    """

    def __init__(self, *says: Answer | Exception, ids: bool = True) -> None:
        self._says = list(says) or [Answer()]
        self._with_ids = ids
        self._ids = itertools.count(1)
        self._answers = itertools.count(1)
        self.asked = 0

    def ask(
        self, messages: Any, tools: Any = TOOLS, system: str = "", *, forced: bool = False, continues: str | None = None
    ) -> Answer:
        """Answer a history."""
        said = self._says[min(self._turn(messages), len(self._says) - 1)]
        self.asked += 1
        if isinstance(said, Exception):
            raise said
        return self._answer(said)

    def _turn(self, _messages: Any) -> int:
        return self.asked

    def _answer(self, said: Answer) -> Answer:
        if not self._with_ids:
            return Answer(said.text, tuple(Asked(c.name, c.arguments, None) for c in said.calls), None, said.reason)
        calls = tuple(Asked(c.name, c.arguments, c.id or f"call_{next(self._ids)}") for c in said.calls)
        return Answer(said.text, calls, f"answer_{next(self._answers)}", said.reason, said.usage)

    async def ask_async(self, messages: Any, tools: Any = TOOLS, system: str = "") -> Answer:
        """Answer a history, after others had their turn."""
        await asyncio.sleep(0)
        return self.ask(messages, tools, system)


class Cached(Model):
    """A model whose answers, with their ids, depend only on the length of the history: there is a cache before it."""

    def _turn(self, messages: Any) -> int:
        return len(messages) // 2

    def _answer(self, said: Answer) -> Answer:
        return said


class Tool:
    """A tool that the library executes."""

    def __init__(self, name: str = "add", work: Callable[[], Any] | None = None) -> None:
        self.name = name
        self._work = work

    def call(self, arguments: Any, id: str | None = None) -> Any:  # noqa: A002 - as libraries call it
        """Add one, do what it is for, or fail."""
        if self._work is not None:
            return self._work()
        if arguments.get("n") is None:
            raise LookupError("no number")
        return str(arguments["n"] + 1)


# -- how it is used ----------------------------------------------------------------------------------------------------


def user(text: str = "please") -> dict[str, Any]:
    return {"role": "user", "text": text}


def said(answer: Answer) -> dict[str, Any]:
    return {"role": "assistant", "answer": answer}


def answers(answer: Answer, *texts: Any, error: bool = False) -> list[dict[str, Any]]:
    """Return what a loop appends: the model's message, and an answer to each of its calls."""
    given = itertools.chain(texts, itertools.repeat("2"))
    results = [{"role": "tool", "id": c.id, "answer": next(given), "error": error} for c in answer.calls]
    return [said(answer), *results]


def loop(model: Model, *texts: Any, question: str = "please", error: bool = False, **more: Any) -> list[Any]:
    """Ask and answer, on one list of messages, until the model wants no tool; returns the list."""
    messages = [user(question)]
    while (answer := model.ask(messages, **more)).calls:
        messages += answers(answer, *texts, error=error)
    return [*messages, said(answer)]


async def loop_async(model: Model, question: str = "please") -> None:
    messages = [user(question)]
    while (answer := await model.ask_async(messages)).calls:
        messages += answers(answer)


def calls(*names: str, **more: Any) -> Answer:
    return Answer("", tuple(Asked(name) for name in names or ("add",)), **more)


# -- the instrumentor --------------------------------------------------------------------------------------------------


def _part(message: dict[str, Any]) -> Iterable[dict[str, Any]]:
    if "answer" in message and message["role"] == "assistant":
        answer = message["answer"]
        if answer.text:
            yield {"type": "text", "content": answer.text}
        for call in answer.calls:
            yield {"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments}
    elif message["role"] == "tool":
        part = {"type": "tool_call_response", "id": message["id"], "response": message["answer"]}
        yield {**part, "is_error": True} if message["error"] else part
    else:
        yield {"type": "text", "content": message["text"]}


def model_request(call: Call) -> Inference:
    args = call.arguments
    tools = args.get("tools", TOOLS)

    def conversation() -> Conversation:
        return Conversation(
            messages=[Message(m["role"], tuple(_part(m))) for m in args["messages"]],
            system=[{"type": "text", "content": args["system"]}] if args.get("system") else (),
            tools=list(tools),
            continues=args.get("continues"),
            opens_run=not args.get("forced", False),
        )

    return Inference(
        provider="toy",
        model="toy-1",
        request=dict,
        conversation=conversation,
        offers_tools=bool(tools),
        client=id(call.instance),
        history=id(args["messages"]),
    )


def model_response(answer: Answer) -> InferenceResult:
    return InferenceResult(
        id=answer.id,
        model="toy-1",
        finish_reasons=(answer.reason or ("tool_call" if answer.calls else "stop"),),
        usage=Usage(*answer.usage),
        output=(Message("assistant", tuple(_part(said(answer)))),),
        calls=tuple(AskedCall(call.id, call.name, call.arguments) for call in answer.calls),
    )


def tool_request(call: Call) -> ToolCall:
    args = call.arguments
    return ToolCall(call.instance.name, args["arguments"], args.get("id"))


def tool_response(value: Any) -> ToolResult:
    return ToolResult(value)


def failure(error: BaseException) -> Failure:
    return Failure(type(error).__name__, str(error))


class ToyInstrumentor(Instrumentor):
    """Records the model and the tools of this module."""

    package = "toy"
    requires = ("toy >= 1",)
    targets = (
        Target(module=__name__, name="Model.ask", request=model_request, response=model_response, failure=failure),
        Target(
            module=__name__, name="Model.ask_async", request=model_request, response=model_response, failure=failure
        ),
        Target(module=__name__, name="Tool.call", request=tool_request, response=tool_response),
    )
