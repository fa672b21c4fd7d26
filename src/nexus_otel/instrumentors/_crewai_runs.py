"""What CrewAI runs: crews and flows are workflows, agents are agents, named as their author names them."""

from __future__ import annotations

from typing import Any, Final

from nexus_otel._guard import quietly
from nexus_otel.engine.target import Call
from nexus_otel.genai.operations import (
    AgentResult,
    AgentRun,
    Batch,
    Conversation,
    Detail,
    Message,
    Remark,
    Retrieval,
    RetrievalResult,
)
from nexus_otel.genai.plain import item, listed, to_json
from nexus_otel.instrumentors._crewai_messages import messages

_OWN: Final = "crewai."
"""The library runs its own loops as flows: a class that it defines is plumbing."""


def crew_request(call: Call) -> AgentRun | None:
    """Read the start of a crew; one that streams starts when it is read, by the same method."""
    crew = call.instance
    if getattr(crew, "stream", False):
        return None
    inputs = call.arguments.get("inputs")
    return AgentRun(
        getattr(crew, "name", None) or None,
        workflow=True,
        conversation=lambda: _given(inputs),
        subject=id(crew),
    )


def flow_request(call: Call) -> AgentRun | None:
    """Read the start of a flow; the id of its state, where its user gives one, is that of the conversation."""
    flow = call.instance
    kind = type(flow)
    if kind.__module__.startswith(_OWN) or getattr(flow, "stream", False):
        return None
    inputs = call.arguments.get("inputs")
    return AgentRun(
        getattr(flow, "name", None) or kind.__name__,
        _text(item(inputs, "id")),
        workflow=True,
        conversation=lambda: _given(inputs),
        subject=id(flow),
    )


def task_request(call: Call) -> AgentRun:
    """Read an agent's work on a task of a crew."""
    agent = call.instance
    return AgentRun(_written(agent, "role"), description=_written(agent, "goal"), subject=id(agent))


def agent_request(call: Call) -> AgentRun | None:
    """Read an agent that works by itself, since 1.9 in a running event loop by the coroutine that it returns."""
    if quietly(call.wrapped.__globals__.get("is_inside_event_loop", bool)) and call.wrapped.__name__ == "kickoff":
        return None
    agent = call.instance
    given = call.arguments.get("messages")
    subject = getattr(agent, "original_agent", None) or agent
    return AgentRun(
        _written(subject, "role"),
        description=_written(subject, "goal"),
        conversation=lambda: Conversation(messages(given)),
        subject=id(subject),
    )


def answer(value: Any) -> AgentResult | None:
    """Read what a crew, a flow or an agent returned."""
    raw = value if isinstance(value, str) else item(value, "raw")
    text = raw if isinstance(raw, str) else to_json(value)
    return AgentResult((Message("assistant", [{"type": "text", "content": text}]),)) if value is not None else None


def batch_request(_call: Call) -> Batch:
    """Read a crew that is run for each of several inputs."""
    return Batch()


def step_request(call: Call) -> Detail:
    """Read a task of a crew."""
    return Detail(f"task {getattr(call.instance, 'name', None) or ''}".rstrip())


def method_request(call: Call) -> Detail | None:
    """Read a method of a flow."""
    if type(call.instance).__module__.startswith(_OWN):
        return None
    return Detail(f"method {call.arguments.get('method_name')}")


def limit_reached(_call: Call) -> Remark:
    """Read that an agent has no step left: its model is asked for a last answer."""
    return Remark(AgentResult(closed_by="limit"))


def search_request(call: Call) -> Retrieval:
    """Read a search in an agent's or a crew's knowledge."""
    args = call.arguments
    query = args.get("query")
    return Retrieval(
        _text(getattr(getattr(call.instance, "storage", None), "collection_name", None)),
        "\n".join(map(str, listed(query))) if not isinstance(query, str) else query,
        args.get("results_limit"),
    )


def search_response(value: Any) -> RetrievalResult:
    """Read what was found."""
    found = []
    for one in listed(value):
        text = item(one, "content") or item(one, "context")
        found.append({"id": item(one, "id"), "score": item(one, "score"), "content": text})
    return RetrievalResult(found)


def _given(inputs: Any) -> Conversation:
    return Conversation([Message("user", [{"type": "text", "content": to_json(inputs)}])] if inputs else [])


def _written(agent: Any, name: str) -> str | None:
    """Return a text of an agent as its author wrote it: a crew puts its inputs into it."""
    return _text(getattr(agent, f"_original_{name}", None) or getattr(agent, name, None))


def _text(value: Any) -> str | None:
    return str(value).strip() if value else None
