"""LlamaIndex's agents, workflows, query engines, tools and retrievers: what they are given and give back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from nexus_otel._guard import quietly
from nexus_otel.engine.target import Call
from nexus_otel.genai.operations import (
    AgentResult,
    AgentRun,
    Conversation,
    Detail,
    Message,
    Retrieval,
    RetrievalResult,
    ToolCall,
    ToolResult,
)
from nexus_otel.genai.plain import item
from nexus_otel.instrumentors._llama_index_messages import message, said, text

_AGENT = "Agent"
_DESCRIPTION = "An agent that can perform a task"
"""Name and description of an agent that was given none (`DEFAULT_AGENT_NAME`, `DEFAULT_AGENT_DESCRIPTION`)."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a run, and what ended it other than its answer."""

    value: Any
    closed_by: str | None = None


# -- runs --------------------------------------------------------------------------------------------------------------


def agent_request(call: Call) -> AgentRun:
    """Read the run of an agent: of `AgentWorkflow` with one agent too, which older versions make of an agent's."""
    given = _given(call)
    return AgentRun(**_named(_agent(call.instance)), **_asked(given))


def team_request(call: Call) -> AgentRun:
    """Read the run of an `AgentWorkflow` of several agents."""
    given = _given(call)
    return AgentRun(_workflow_name(call.instance), workflow=True, **_asked(given))


def member_request(call: Call) -> AgentRun:
    """Read the part of a run of several agents that is one agent's."""
    return AgentRun(**_named(call.instance))


def workflow_request(call: Call) -> AgentRun:
    """Read the run of any other workflow."""
    given = _given(call)
    return AgentRun(
        _workflow_name(call.instance),
        workflow=True,
        conversation=lambda: Conversation(said(_plain(given))),
        subject=id(call.instance),
        outermost=True,
    )


def engine_request(call: Call) -> AgentRun:
    """Read a call of a query engine or a chat engine."""
    asked = next(iter(call.arguments.values()), None)
    asked = item(asked, "query_str") or asked
    return AgentRun(
        None,
        workflow=True,
        conversation=lambda: Conversation(said(asked)),
        subject=id(call.instance),
        outermost=True,
    )


def run_response(value: Any) -> AgentResult | None:
    """Read what came of a run: a stop event, an agent's output, or whatever a workflow returns."""
    ended = value if isinstance(value, Ended) else Ended(value)
    answer = ended.value
    if (inner := item(answer, "result")) is not None:
        answer = inner
    told = item(answer, "response")
    if hasattr(told, "role"):
        return AgentResult((message(told),), ended.closed_by)
    output = [Message("assistant", each.parts) for each in said(told if isinstance(told, str) else answer)]
    return AgentResult(output, ended.closed_by)


def _agent(instance: Any) -> Any:
    agents = item(instance, "agents")
    return next(iter(agents.values())) if isinstance(agents, Mapping) and agents else instance


def _named(agent: Any) -> dict[str, Any]:
    name, about = item(agent, "name"), item(agent, "description")
    return {
        "name": str(name) if name and name != _AGENT else None,
        "description": str(about) if about and about != _DESCRIPTION else None,
    }


def _workflow_name(workflow: Any) -> str | None:
    """Return the name of a workflow: as it was given, else that of its user's class; none for one of the framework."""
    if (told := item(workflow, "_workflow_name")) is not None:
        return str(told)
    kind = type(workflow)
    return None if kind.__module__.partition(".")[0] in ("llama_index", "workflows") else kind.__name__


def _given(call: Call) -> Mapping[str, Any]:
    """Return what a run is given by name: from its start event, or in older versions from the call."""
    args = dict(call.arguments)
    more = args.pop("kwargs", None) or {}
    event = args.get("start_event")
    if event is None:
        return more if isinstance(more, Mapping) else {}
    names = ("user_msg", "chat_history", "memory")
    given = {name: item(event, name) for name in names} | {"_event": event}
    return {name: value for name, value in given.items() if value is not None}


def _plain(given: Mapping[str, Any]) -> Any:
    event = given.get("_event")
    if event is None:
        found = dict(given)
    else:
        found = {**(quietly(event.model_dump) or {})}
        found.pop("_data", None)
    return next(iter(found.values())) if len(found) == 1 else found or None


def _asked(given: Mapping[str, Any]) -> dict[str, Any]:
    session = item(given.get("memory"), "session_id")
    return {
        "conversation_id": str(session) if session else None,
        "conversation": lambda: _conversation(given),
    }


def _conversation(given: Mapping[str, Any]) -> Conversation:
    messages = [message(each) for each in given.get("chat_history") or ()]
    asked = given.get("user_msg")
    if asked is not None:
        messages += said(asked) if isinstance(asked, str) else [message(asked)]
    return Conversation(messages)


# -- tools -------------------------------------------------------------------------------------------------------------


def tool_request(call: Call) -> ToolCall:
    """Read the execution of a tool; `tool_id` is the call that it answers, where the agent told."""
    args = dict(call.arguments)
    tool, id_ = call.instance, args.pop("tool_id", None)
    about = tool.metadata
    given = args.pop("kwargs", None) or {}
    context = item(tool, "ctx_param_name")
    named = {name: value for name, value in {**args, **given}.items() if name not in (context, "args")}
    unnamed: Sequence[Any] = args.get("args") or ()
    return ToolCall(
        str(about.name),
        named or (next(iter(unnamed)) if len(unnamed) == 1 else list(unnamed)),
        id=id_,
        description=about.description,
        schema=quietly(_schema, about.fn_schema),
    )


@lru_cache(256)
def _schema(model: Any) -> Any:
    return model.model_json_schema() if model is not None else None


def tool_response(value: Any) -> ToolResult:
    """Read a `ToolOutput`: the text that the model will read."""
    return ToolResult(text(value), bool(item(value, "is_error")))


def refused_request(call: Call) -> ToolCall:
    """Read a call that an agent answered without any tool: there is none of that name."""
    args = call.arguments
    return ToolCall(str(args["tool_name"]), args["tool_kwargs"], id=args["tool_id"], known=False)


# -- searches and the rest ---------------------------------------------------------------------------------------------


def retrieval_request(call: Call) -> Retrieval:
    """Read a call of `retrieve` or `aretrieve`."""
    asked = next(iter(call.arguments.values()), None)
    query = item(asked, "query_str") or asked
    top_k = item(call.instance, "similarity_top_k") or item(call.instance, "_similarity_top_k")
    return Retrieval(query=query if isinstance(query, str) else None, top_k=top_k if isinstance(top_k, int) else None)


def retrieval_response(value: Any) -> RetrievalResult:
    """Read the nodes found."""
    return RetrievalResult([_document(found) for found in value or ()])


def _document(found: Any) -> dict[str, Any]:
    node = item(found, "node")
    score = item(found, "score")
    known = {"id": item(node, "node_id"), "score": score, "content": item(node, "text")}
    return {name: value for name, value in known.items() if value is not None}


def detail_request(call: Call) -> Detail:
    """Read what is neither: a step of a workflow, a method of the framework's own."""
    return Detail(str(call.kwargs["called"]))
