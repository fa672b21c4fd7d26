"""What a model call tells of its agent: the tools it was given, and whether a person spoke."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.detect.model import AgentView, Offered, SpanView

_MOST_TOOLS: Final = 2_000
_MOST_TEXT: Final = 1 << 20
_TURN: Final = "turn"


def parsed(value: Any) -> Any:
    """Return an attribute that is JSON as what it stands for; None where it is none."""
    if not isinstance(value, str):
        return value
    if len(value) > _MOST_TEXT:
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def learn(offered: Offered, span: SpanView) -> None:
    """Take the tools of a model call, where they were recorded."""
    tools = parsed(span.attributes.get(semconv.TOOL_DEFINITIONS))
    if not isinstance(tools, Sequence) or isinstance(tools, str):
        return
    for tool in tools[:_MOST_TOOLS]:
        if not isinstance(tool, Mapping):
            continue
        if tool.get("type") not in {"function", None}:
            offered.partial = True  # the provider's own, or a way to more tools
        if (name := tool.get("name")) is not None:
            offered.schemas[str(name)] = tool.get("parameters")


def user_turn(agent: AgentView, span: SpanView) -> int:
    """Return 1 where a person has spoken since the agent's last model call, as far as messages or their number tell."""
    said = _user_messages(span)
    if said is None:
        return 0
    before = agent.state.get(_TURN)
    agent.state[_TURN] = said
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
