"""Tools of DSPy: what is called, what is offered, and what a model asks for that there is not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import isfunction
from typing import Any, Final

from nexus_otel.engine.target import Call
from nexus_otel.genai.operations import AgentRun, ToolCall, ToolResult
from nexus_otel.genai.plain import item, json_or_text
from nexus_otel.instrumentors._dspy_notes import Ended

_ASKED: Final = re.compile(
    r"""(?:\[\[ \s\#\#\s next_tool_name \s\#\#\s \]\] \s* | "next_tool_name" \s*:\s* " | <next_tool_name> \s*)
        ([\w.\-:/]{1,128})""",
    re.VERBOSE,
)
"""The tool that an answer names in the text protocol of `ReAct`, in the words of the chat, JSON and XML adapters."""
_ARGUMENTS: Final = re.compile(r"\[\[ ## next_tool_args ## \]\]\s*(\{[^\n]{0,4000}\})")
_UNKNOWN: Final = "unknown tool"


class Agent(AgentRun):
    """A run of a module, which is kept to look up its tools."""

    __slots__ = ("module",)
    module: Any


def given_tools(module: Any) -> Mapping[str, Any]:
    """Return the tools of an agent by name, without those by which it ends its own loop."""
    tools = item(module, "tools")
    if not isinstance(tools, Mapping):
        return {}
    return {str(name): tool for name, tool in tools.items() if not is_sentinel(tool)}


def is_sentinel(tool: Any) -> bool:
    """Whether it is a function of DSPy itself, by which the model says that it is done: `finish`, `submit`."""
    function = item(tool, "func")
    return isfunction(function) and str(function.__module__).startswith("dspy.predict.")


def schema(tool: Any) -> dict[str, Any] | None:
    """Return the JSON schema of a tool's arguments, as DSPy offers it to a model."""
    args = item(tool, "args")
    if not isinstance(args, Mapping):
        return None
    required = [name for name, about in args.items() if not (isinstance(about, Mapping) and "default" in about)]
    return {"type": "object", "properties": dict(args), "required": required}


def definitions(tools: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return tools as definitions of the conventions."""
    return [_definition(name, tool) for name, tool in tools.items()]


def _definition(name: str, tool: Any) -> dict[str, Any]:
    found = {"type": "function", "name": name, "description": item(tool, "desc"), "parameters": schema(tool)}
    return {key: value for key, value in found.items() if value is not None}


def tool_request(call: Call) -> ToolCall:
    """Read the execution of a tool, or one that the model asked for and there is not."""
    if (unknown := call.kwargs.get("unknown")) is not None:
        return ToolCall(unknown.name, unknown.arguments, known=False, derived=True)
    tool, inputs = call.instance, call.kwargs.get("inputs")
    arguments = item(inputs, "kwargs")
    offered = given_tools(getattr(call.kwargs.get("above"), "module", None)).values()
    return ToolCall(
        str(item(tool, "name") or type(tool).__name__),
        arguments if arguments is not None else inputs,
        description=item(tool, "desc") or None,
        schema=schema(tool),
        known=True if any(tool is each for each in offered) else None,
    )


def tool_response(ended: Ended | str) -> ToolResult:
    """Read what a tool gave back."""
    if isinstance(ended, str):
        return ToolResult(_UNKNOWN, is_error=True)
    return ToolResult(ended.outputs)


@dataclass(frozen=True, slots=True)
class Asked:
    """A tool that a model asked for in its text."""

    name: str
    arguments: Any = None


def unknown_tools(run: AgentRun | None, inputs: Any) -> Iterator[Asked]:
    """Yield the tools that a model asks for in its text and its agent does not have.

    Args:
        run: The agent's.
        inputs: What an adapter is given to read: the signature and the text.
    """
    text = item(inputs, "completion")
    fields = getattr(item(inputs, "signature"), "output_fields", ())
    tools = item(getattr(run, "module", None), "tools")
    if not isinstance(text, str) or "next_tool_name" not in fields or not isinstance(tools, Mapping):
        return
    found = _ASKED.search(text)
    if found is not None and found[1] not in tools:
        given = _ARGUMENTS.search(text)
        yield Asked(found[1], json_or_text(given[1]) if given is not None else None)
