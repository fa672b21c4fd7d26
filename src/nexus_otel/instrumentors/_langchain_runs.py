"""Runs of LangChain and LangGraph: which chain or graph is an agent, its name, what went in and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nexus_otel.engine.target import Call
from nexus_otel.genai.operations import AgentResult, AgentRun, Conversation, Message, Passage
from nexus_otel.genai.plain import item, to_json
from nexus_otel.instrumentors._langchain_config import conversation_id
from nexus_otel.instrumentors._langchain_messages import as_message, split

CONTROL_FLOW: Final = {
    "GraphInterrupt": "interrupt",
    "ParentCommand": "handoff",
    "GraphDrained": "drained",
    "GraphBubbleUp": "control_flow",
}
"""LangGraph's exceptions that are no failures (`langgraph.errors`)."""
_INTERRUPT: Final = "__interrupt__"
_LIMITS: Final = ("Model call limits exceeded", "Tool call limit", "Sorry, need more steps")
"""How the message begins that ends a run at a limit: LangChain's middleware, LangGraph's `create_react_agent`."""
_UNNAMED: Final = frozenset({"LangGraph", "Pregel", "StateGraph", "CompiledStateGraph", "CompiledGraph"})


def graph_request(call: Call) -> AgentRun:
    """Read a call of a graph: an agent, or a workflow where it has no tools for a model."""
    graph, args = call.instance, call.arguments
    own = item(graph, "config")
    is_agent = _is_agent(graph, item(own, "metadata"))
    return AgentRun(
        _graph_name(graph, item(own, "metadata")),
        conversation_id(args.get("config")) or conversation_id(own),
        workflow=not is_agent,
        conversation=None if is_agent else (lambda: _given(args.get("input"))),
        subject=id(graph),
        outermost=not is_agent,
    )


def _is_agent(graph: Any, metadata: Any) -> bool:
    if item(metadata, "lc_agent_name") or item(metadata, "ls_integration") == "langchain_create_agent":
        return True
    nodes = item(graph, "nodes")
    return isinstance(nodes, Mapping) and any(_runs_tools(item(node, "bound")) for node in nodes.values())


def _runs_tools(bound: Any) -> bool:
    return any(kind.__name__ == "ToolNode" for kind in type(bound).__mro__)


def _graph_name(graph: Any, metadata: Any) -> str | None:
    """Return the name that the user gave; one of `@entrypoint` has that of its function."""
    if isinstance(name := item(metadata, "lc_agent_name") or item(graph, "name"), str) and name not in _UNNAMED:
        return name
    nodes = item(graph, "nodes")
    return next(iter(nodes)) if isinstance(nodes, Mapping) and len(nodes) == 1 else None


def chain_request(call: Call) -> AgentRun | Passage:
    """Read a call of a chain: a workflow, but not a model with what reads its answer, or the step of a loop."""
    chain, args = call.instance, call.arguments
    steps = item(chain, "steps")
    if isinstance(steps, list) and steps and (_is_model(steps[0]) or _asks_for_tools(steps[-1])):
        return Passage()
    name = item(chain, "name")
    return AgentRun(
        name if isinstance(name, str) else None,
        conversation_id(args.get("config")),
        workflow=True,
        conversation=lambda: _given(args.get("input")),
        subject=id(chain),
        outermost=True,
    )


def _is_model(step: Any) -> bool:
    """Whether a step is a model, itself or with arguments bound to it."""
    for _ in range(8):
        if any(kind.__name__ == "BaseLanguageModel" for kind in type(step).__mro__):
            return True
        step = item(step, "bound")
        if step is None:
            return False
    return False


def _asks_for_tools(step: Any) -> bool:
    return bool(item(item(step, "kwargs"), "tools")) and _is_model(step)


# -- what went in and came out -----------------------------------------------------------------------------------------


def run_response(value: Any) -> AgentResult:
    """Read what a graph or a chain returned."""
    fold = RunFold()
    fold.add(value)
    return fold.result()


class RunFold:
    """Gathers what a run streams: texts are joined, of states the last one is kept."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._last: Message | None = None
        self._closed_by: str | None = None

    def add(self, event: Any) -> None:
        """Take what is needed of one event, in any mode of streaming."""
        if isinstance(event, tuple):  # the mode, or the part of the graph, is told before it
            event = next((part for part in event if isinstance(part, dict)), None)
            if event is None or "langgraph_step" in event:  # a token with its metadata
                return
        if isinstance(event, str):
            self._texts.append(event)
        elif isinstance(piece := item(event, "content"), str) and item(event, "tool_call_chunks") is not None:
            self._texts.append(piece)
        elif event is not None:
            self._state(event)

    def _state(self, state: Any) -> None:
        interrupted = isinstance(state, Mapping) and _INTERRUPT in state
        if interrupted or item(state, "interrupts"):
            self._closed_by = "interrupt"
        last = _last_message(item(state, "value") or state)
        if last is not None:
            self._last = last
            text = next((str(part.get("content")) for part in last.parts if part.get("type") == "text"), "")
            self._closed_by = "limit" if text.startswith(_LIMITS) else self._closed_by

    def result(self) -> AgentResult:
        """Return what came of it."""
        text = "".join(self._texts)
        said = Message("assistant", [{"type": "text", "content": text}]) if text else self._last
        return AgentResult((said,) if said is not None else (), self._closed_by)


def _last_message(state: Any) -> Message | None:
    """Return the last message of a state, of the update that a node made to it, or the value as text."""
    if item(state, "content") is not None and item(state, "type") is not None:
        return as_message(state)
    if isinstance(state, Mapping):
        for told in (state, *state.values()):
            messages = told.get("messages") if isinstance(told, Mapping) else None
            if isinstance(messages, list):
                return as_message(messages[-1]) if messages else None
    return Message("assistant", [{"type": "text", "content": to_json(state)}])


def _given(value: Any) -> Conversation:
    """Read the input of a workflow."""
    messages = value.get("messages") if isinstance(value, Mapping) else value
    if isinstance(messages, list) and messages:
        system, history = split(messages)
        return Conversation(history, system)
    text = value if isinstance(value, str) else to_json(value)
    return Conversation([Message("user", [{"type": "text", "content": text}])])
