"""Tools of CrewAI: executed by name and arguments; in its text protocol refused, unknown and misread ones too."""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from nexus_otel._guard import quietly
from nexus_otel.engine.target import Call
from nexus_otel.genai.operations import Remark, ToolCall, ToolResult
from nexus_otel.genai.plain import item, listed

_NAMES: Final = "crewai.utilities.string_utils"
_HEAD: Final = "Tool Description: "


def tool_request(call: Call) -> ToolCall:
    """Read a tool's execution, by position or by name."""
    tool = call.instance
    given = call.kwargs or (call.args[0] if len(call.args) == 1 and isinstance(call.args[0], dict) else list(call.args))
    return _call(tool, _name(item(tool, "name")), given)


def invoke_request(call: Call) -> ToolCall:
    """Read an execution whose arguments are one object, or the JSON of it."""
    given = call.arguments.get("input")
    return _call(call.instance, _name(item(call.instance, "name")), _arguments(given))


def action_request(call: Call) -> ToolCall | None:
    """Read what the model asks for as text: `Action` and `Action Input`."""
    args = call.arguments
    action = args.get("agent_action")
    name = _name(item(action, "tool"))
    if not name:
        return None
    tools = {_name(item(tool, "name")): tool for tool in listed(args.get("tools"))}
    found = _call(tools.get(name), name, _arguments(item(action, "tool_input")))
    found.known = name in tools
    return found


def _call(tool: Any, name: str, given: Any) -> ToolCall:
    said = item(tool, "description")
    schema = getattr(item(tool, "args_schema"), "model_json_schema", None)
    return ToolCall(
        name,
        given,
        description=str(said).rpartition(_HEAD)[2] if said else None,
        schema=quietly(schema) if schema is not None else None,
    )


def _name(name: Any) -> str:
    """Return a tool's name as the model is told it (since 1.9)."""
    clean = getattr(sys.modules.get(_NAMES), "sanitize_tool_name", str)
    return str(quietly(clean, str(name)) or name) if name else ""


def _arguments(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given)
    except ValueError:
        return given


def tool_response(value: Any) -> ToolResult:
    """Read what a tool gave back; a `ToolFailure` (since 1.15) is one that it reports."""
    if type(value).__name__ == "ToolFailure":
        return ToolResult(item(value, "message"), is_error=True)
    return ToolResult(value)


def action_response(value: Any) -> ToolResult:
    """Read what the model is told of an action."""
    return ToolResult(item(value, "result"))


def met_error(call: Call) -> Remark:
    """Read the exception of a tool that the model is only told of."""
    error = call.arguments.get("e")
    return Remark(ToolResult(), error if isinstance(error, BaseException) else None)


def met_none(_call: Call) -> Remark:
    """Read that another try of the same call succeeded."""
    return Remark(ToolResult())
