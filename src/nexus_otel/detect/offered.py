"""What a model call tells of its agent: the tools it was given, and whether a person spoke."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.detect.facts import parsed
from nexus_otel.detect.model import AgentView, Offered, SpanView

_MOST_TOOLS: Final = 2_000
_TURN: Final = "turn"
_ANSWERED: Final = "answered"


def learn(offered: Offered, span: SpanView) -> None:
    """Take the tools of a model call, where they were recorded; those of the last call again cost nothing."""
    recorded = span.attributes.get(semconv.TOOL_DEFINITIONS)
    if recorded is None or recorded == offered.recorded:
        return
    offered.recorded = recorded
    tools = parsed(recorded)
    if not isinstance(tools, Sequence) or isinstance(tools, str):
        return
    for tool in tools[:_MOST_TOOLS]:
        if not isinstance(tool, Mapping):
            continue
        if tool.get("type") not in {"function", "custom", None}:
            offered.partial = True  # the provider's own, or a way to more tools
        if isinstance(tool.get("function"), Mapping):
            tool = tool["function"]  # noqa: PLW2901 - as OpenAI's API has it
        if (name := tool.get("name")) is not None:
            offered.schemas[str(name)] = tool.get("parameters", tool.get("input_schema"))


def tool_ended(agent: AgentView) -> None:
    """Take that a tool has answered: what the agent's model is told next is that, whoever is said to say it."""
    agent.state[_ANSWERED] = True


def user_turn(agent: AgentView, span: SpanView) -> int:
    """Return 1 where a person has spoken since the agent's last model call, as far as messages tell.

    After a tool's answer nobody has: agents whose protocol is text hand answers back in the name of the user.
    """
    if agent.state.pop(_ANSWERED, False) and _TURN in agent.state:
        return 0
    said = _user_messages(span)
    if said is None:
        return 0
    before = agent.state.get(_TURN)
    agent.state[_TURN] = max(said, before or 0)
    return int(before is not None and said > before)


def _user_messages(span: SpanView) -> int | None:
    """Return how many messages of a person a model call was given; None where that was not recorded."""
    messages = parsed(span.attributes.get(semconv.INPUT_MESSAGES))
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        return None
    return sum(1 for message in messages if isinstance(message, Mapping) and _is_a_person_s(message))


def _is_a_person_s(message: Mapping[str, Any]) -> bool:
    parts = message.get("parts")
    if message.get("role") != "user" or not isinstance(parts, Sequence):
        return False
    return any(isinstance(part, Mapping) and part.get("type") != "tool_call_response" for part in parts)
