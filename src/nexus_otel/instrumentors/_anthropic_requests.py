"""What a call of the Anthropic SDK asks for: model, parameters, conversation, tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.engine import stainless
from nexus_otel.engine.native import native_chosen
from nexus_otel.engine.target import Call
from nexus_otel.genai.operations import Conversation, Inference, Message, ToolCall
from nexus_otel.genai.plain import item, listed
from nexus_otel.instrumentors._anthropic_content import parts

_PROVIDERS: Final = (("Bedrock", "aws.bedrock"), ("Vertex", "gcp.vertex_ai"))


def message_request(call: Call) -> Inference:
    """Read a call of `create`, `stream` or `parse`."""
    args = call.arguments
    client = getattr(call.instance, "_client", None)
    address, port = stainless.server(client)
    return Inference(
        provider=_provider(client),
        model=item(args, "model"),
        request=lambda: request_attributes(args),
        conversation=lambda: conversation(call.arguments),
        offers_tools=bool(args.get("tools")),
        traces_itself=native_chosen(client),
        address=address,
        port=port,
        stream=bool(item(args, "stream")) or call.wrapped.__name__ == "stream",
        client=id(client),
        history=id(args.get("messages")),
    )


def _provider(client: Any) -> str:
    """Return who answers: what the SDK says of its client, else what the client's name says."""
    told = getattr(client, "_gen_ai_provider_name", None)
    if isinstance(told, str):
        return told
    name = type(client).__name__
    return next((provider for part, provider in _PROVIDERS if part in name), "anthropic")


def request_attributes(args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request; those that left the signature may come in `extra_body`."""
    extra = item(args, "extra_body")
    given = {**extra, **args} if isinstance(extra, Mapping) else args
    found: dict[str, Any] = {}
    for name, (attribute, convert) in _PARAMETERS.items():
        if name in given and (value := convert(item(given, name))) is not None:
            found[attribute] = value
    if (output := item(given, "output_config")) is not None:
        if (effort := item(output, "effort")) is not None:
            found[semconv.REQUEST_REASONING_LEVEL] = effort
        if item(output, "format") is not None:
            found[semconv.OUTPUT_TYPE] = "json"
    return found


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _texts(value: Any) -> tuple[str, ...] | None:
    return tuple(str(text) for text in value) if isinstance(value, list | tuple) and value else None


_PARAMETERS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "max_tokens": (semconv.REQUEST_MAX_TOKENS, lambda value: value),
    "temperature": (semconv.REQUEST_TEMPERATURE, _number),
    "top_p": (semconv.REQUEST_TOP_P, _number),
    "top_k": (semconv.REQUEST_TOP_K, lambda value: value),
    "stop_sequences": (semconv.REQUEST_STOP_SEQUENCES, _texts),
    "output_format": (semconv.OUTPUT_TYPE, lambda value: None if value is None else "json"),
}


def conversation(args: Mapping[str, Any]) -> Conversation:
    """Read what the model was given."""
    tools = [definition(tool) for tool in listed(item(args, "tools"))]
    choice = item(args, "tool_choice")
    kind = item(choice, "type")
    forced = kind == "tool" or (kind == "any" and len(tools) == 1)
    thread = item(args, "thread") or item(item(args, "extra_body"), "thread")
    return Conversation(
        messages=[Message(str(item(m, "role")), parts(item(m, "content"))) for m in listed(item(args, "messages"))],
        system=parts(item(args, "system")),
        tools=tools,
        continues=item(thread, "previous_message_id") if item(thread, "type") == "continue" else None,
        opens_run=not forced,
    )


def definition(tool: Any) -> dict[str, Any]:
    """Read one tool that is offered: of the caller, or one that the provider runs."""
    kind = item(tool, "type") or "custom"
    found = {
        "type": "function" if kind == "custom" else kind,
        "name": item(tool, "name"),
        "description": item(tool, "description"),
        "parameters": item(tool, "input_schema"),
    }
    return {name: value for name, value in found.items() if value is not None}


def tool_request(call: Call) -> ToolCall:
    """Read the execution of a tool by the tool runner."""
    tool = call.instance
    given = next(iter(call.arguments.values()), None)
    return ToolCall(tool.name, given, description=tool.description, schema=item(tool, "input_schema"))
