"""Programs of DSPy: modules, agents, evaluations, optimizers, searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nexus_otel.engine.target import Call
from nexus_otel.genai.operations import (
    AgentResult,
    AgentRun,
    Conversation,
    Detail,
    Message,
)
from nexus_otel.genai.plain import item, to_json
from nexus_otel.instrumentors._dspy_names import is_agent, output_names, program_name
from nexus_otel.instrumentors._dspy_notes import Ended
from nexus_otel.instrumentors._dspy_tools import Agent, definitions, given_tools


class Batch(AgentRun):
    """An evaluation, or an optimizer at work: the programs it runs are runs of their own."""

    __slots__ = ()


def module_request(call: Call) -> AgentRun | Detail:
    """Read the beginning of a module: an agent; a program, where it is the outermost; a part of one."""
    module, above = call.instance, call.kwargs.get("above")
    apart = isinstance(above, Batch) or (above is None and bool(call.kwargs.get("item")))
    if not is_agent(module) and above is not None and not apart:
        return Detail(f"module {program_name(module) or type(module).__name__}")
    return _run(module, lambda: _inputs(call.kwargs.get("inputs")), apart=apart)


def forward_request(call: Call) -> AgentRun:
    """Read a call of an agent's `forward`, which people call past the callbacks."""
    return _run(call.instance, lambda: dict(call.arguments), apart=False)


def _run(module: Any, inputs: Any, *, apart: bool) -> AgentRun:
    drives = is_agent(module)
    tools = given_tools(module) if drives else {}

    def conversation() -> Conversation:
        return Conversation(_messages("user", inputs()), tools=definitions(tools))

    made = Agent(program_name(module), workflow=not drives, conversation=conversation, subject=id(module), apart=apart)
    made.module = module
    return made


def batch_request(call: Call) -> Batch:
    """Read the beginning of an evaluation or an optimizer: named by the program that it is about."""
    inputs = call.kwargs.get("inputs") or {}
    given = next((inputs[name] for name in ("program", "student") if inputs.get(name) is not None), None)
    about = program_name(given) if given is not None else None
    verb = str(call.kwargs.get("verb"))
    return Batch(
        f"{verb} {about}" if about else verb, workflow=True, subject=id(call.instance), conversation=Conversation
    )


def adapter_request(call: Call) -> Detail:
    """Read the beginning of an adapter's work."""
    return Detail(f"{call.kwargs.get('verb')} {type(call.instance).__name__}")


def _inputs(told: Any) -> Mapping[str, Any]:
    """Return the inputs of a module by name: `__call__` takes them as `args` and `kwargs`."""
    named = item(told, "kwargs")
    rest = item(told, "args")
    found = dict(named) if isinstance(named, Mapping) else {}
    return {**{str(number): value for number, value in enumerate(rest or ())}, **found}


def _messages(role: str, values: Mapping[str, Any]) -> Sequence[Message]:
    """Return values as one message: a lone text as that text, else the JSON of them."""
    if not values:
        return ()
    lone = next(iter(values.values())) if len(values) == 1 else None
    return (Message(role, [{"type": "text", "content": lone if isinstance(lone, str) else to_json(values)}]),)


def module_response(ended: Ended) -> AgentResult | None:
    """Read what a module returned."""
    run = getattr(ended.step, "run", None)
    return program_result(ended.step.call.instance, ended.outputs, getattr(run, "error", None), _limit(ended.step.call))


def settle_forward(step: Any, value: Any) -> Any:
    """End the run of an agent's `forward`; returns what it returned."""
    result = program_result(step.call.instance, value, step.run.error, dict(step.call.arguments).get("max_iters"))
    step.finish(result)
    return value


def _limit(call: Call) -> Any:
    """Return the limit of steps that an agent was called with."""
    found = item(call.kwargs.get("inputs"), "kwargs")
    return item(found if isinstance(found, Mapping) else call.kwargs, "max_iters")


def program_result(module: Any, outputs: Any, error: BaseException | None, limit: Any) -> AgentResult:
    """Return what came of a program: what its signature promises, and whether it was made to answer.

    Args:
        module: The program.
        outputs: What it returned.
        error: The last exception in it, which it has caught.
        limit: The limit of steps that it was called with.
    """
    values = _values(outputs)
    named = output_names(module)
    promised = {name: values[name] for name in named if name in values} or values
    said = _messages("assistant", promised)
    if not is_agent(module):
        return AgentResult(said)
    closed_by = _closed_by(module, values, error, limit)
    return AgentResult(said, closed_by, finish_reasons=_finish(values, closed_by))


def _values(outputs: Any) -> dict[str, Any]:
    """Return the fields of a prediction, or of a mapping."""
    items = getattr(outputs, "items", None)
    if callable(items):
        return {str(name): value for name, value in items()}
    return {} if outputs is None else {"answer": outputs}


def _closed_by(module: Any, values: Mapping[str, Any], error: BaseException | None, limit: Any) -> str | None:
    """Return what made an agent answer other than its own word, or what it silently left out before."""
    if (reason := values.get("termination_reason")) is not None:
        return None if reason == "submit" else str(reason)
    trajectory = values.get("trajectory")
    if not isinstance(trajectory, Mapping):
        return None
    names = [value for name, value in trajectory.items() if str(name).startswith("tool_name_")]
    if names and "tool_name_0" not in trajectory:
        return "truncated"
    if not names and "thought_0" not in trajectory and error is None:
        return None if any("code" in str(name) for name in trajectory) else "parse_error"
    if names and names[-1] == "finish":
        return None
    if len(names) >= int(limit or getattr(module, "max_iters", None) or 0):
        return "max_iters"
    return "context_window_exceeded" if "ContextWindow" in type(error).__name__ else "parse_error"


def _finish(values: Mapping[str, Any], closed_by: str | None) -> tuple[str, ...]:
    """Return why an agent ended; `error` where it should have said that it is done and did not."""
    if values.get("trajectory") is None and values.get("termination_reason") is None:
        return ()
    return ("stop",) if closed_by in (None, "truncated") else ("error",)
