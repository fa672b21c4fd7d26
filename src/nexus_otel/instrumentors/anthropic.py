"""Anthropic SDK: model calls (`messages`, `beta.messages`) and the tools that its tool runner executes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.engine import stainless
from nexus_otel.engine.instrumentor import Instrumentor
from nexus_otel.engine.native import keep_choice, native_chosen, remember_choice, silence_helper, silence_native
from nexus_otel.engine.target import Call, Target
from nexus_otel.genai.operations import (
    AskedCall,
    Conversation,
    Failure,
    Inference,
    InferenceResult,
    Message,
    Retry,
    ToolCall,
    ToolResult,
    Usage,
)
from nexus_otel.genai.plain import item, listed
from nexus_otel.instrumentors._anthropic_content import answer, json_or_text, parts

_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_call",
    "refusal": "content_filter",
    "pause_turn": "pause",
}
_PROVIDERS: Final = (
    ("Bedrock", "aws.bedrock"),
    ("Vertex", "gcp.vertex_ai"),
    ("Foundry", "azure.ai.inference"),
)


# -- requests ----------------------------------------------------------------------------------------------------------


def message_request(call: Call) -> Inference:
    """Read a call of `create`, `stream` or `parse`."""
    args = call.arguments
    client = getattr(call.instance, "_client", None)
    address, port = stainless.server(client)
    return Inference(
        provider=_provider(type(client).__name__),
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


@functools.cache
def _provider(client: str) -> str:
    return next((name for part, name in _PROVIDERS if part in client), "anthropic")


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


# -- responses ---------------------------------------------------------------------------------------------------------


def message_response(value: Any) -> InferenceResult | None:
    """Read a message, as an object or as JSON."""
    if item(value, "type") != "message" and item(value, "content") is None:
        return None
    output = parts(item(value, "content"))
    reason = item(value, "stop_reason")
    return InferenceResult(
        id=item(value, "id"),
        model=item(value, "model"),
        finish_reasons=(_FINISH.get(reason, reason),) if reason else (),
        usage=usage(item(value, "usage")),
        output=(Message("assistant", output),),
        calls=tuple(
            AskedCall(part["id"], str(part["name"]), part["arguments"])
            for part in output
            if part["type"] == "tool_call"
        ),
    )


def usage(counted: Any) -> Usage:
    """Read tokens; Anthropic counts cached ones apart from `input_tokens`, as 0 where nothing is cached."""
    given, read, written = (
        item(counted, name) for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    known = [count for count in (given, read, written) if count is not None]
    return Usage(
        input_tokens=sum(known) if known else None,
        output_tokens=item(counted, "output_tokens"),
        cache_read_tokens=read or None,
        cache_write_tokens=written or None,
        reasoning_tokens=item(item(counted, "output_tokens_details"), "thinking_tokens"),
    )


class MessageFold:
    """Gathers the events of a streamed message."""

    def __init__(self) -> None:
        self.complete = False
        self._message: dict[str, Any] = {"type": "message", "content": []}
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, tuple[dict[str, Any], list[str]]] = {}

    def add(self, event: Any) -> None:
        """Take one event."""
        kind = event.type
        if kind == "content_block_delta":
            delta = event.delta
            part = delta.type
            if part == "text_delta":
                self._blocks[event.index][1].append(delta.text)
            elif part == "input_json_delta":
                self._blocks[event.index][1].append(delta.partial_json)
            elif part == "thinking_delta":
                self._blocks[event.index][1].append(delta.thinking)
        elif kind == "content_block_start":
            self._blocks[event.index] = (_started(event.content_block), [])
        elif kind == "message_start":
            self._message |= {"id": event.message.id, "model": event.message.model}
            self._count(event.message.usage)
        elif kind == "message_delta":
            self._message["stop_reason"] = event.delta.stop_reason
            self._count(event.usage)
        elif kind == "message_stop":
            self.complete = True

    def _count(self, counted: Any) -> None:
        for name in (
            "input_tokens",
            "output_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
        ):
            if (count := item(counted, name)) is not None:
                self._usage[name] = count
        if (thinking := item(item(counted, "output_tokens_details"), "thinking_tokens")) is not None:
            self._usage["output_tokens_details"] = {"thinking_tokens": thinking}

    def result(self) -> InferenceResult:
        """Return the message so far."""
        content = [_finished(block, "".join(pieces)) for _, (block, pieces) in sorted(self._blocks.items())]
        result = message_response({**self._message, "content": content, "usage": self._usage})
        return result or InferenceResult()


_TEXT_OF: Final = {"text": "text", "thinking": "thinking"}


def _started(block: Any) -> dict[str, Any]:
    names = ("type", "id", "name", "text", "thinking", "input", "data", "tool_use_id", "content")
    return {name: value for name in names if (value := item(block, name)) is not None}


def _finished(block: dict[str, Any], text: str) -> dict[str, Any]:
    if (name := _TEXT_OF.get(block["type"])) is not None:
        return {**block, name: block.get(name, "") + text}
    return {**block, "input": json_or_text(text)} if text else block


# -- failures, retries, tools ------------------------------------------------------------------------------------------


def failure(error: BaseException) -> Failure:
    """Read an exception of the SDK: the provider's error type, else the exception's name."""
    said = item(item(error, "body"), "error")
    return Failure(item(said, "type") or type(error).__name__, item(said, "message") or str(error))


def retry_request(call: Call) -> Retry:
    """Read the SDK's wait before it tries a request again."""
    status = item(call.arguments.get("response"), "status_code")
    return Retry(int(call.arguments.get("retries_taken") or 0) + 1, str(status or "connection_error"), status)


def tool_request(call: Call) -> ToolCall:
    """Read the execution of a tool by the tool runner."""
    tool = call.instance
    given = next(iter(call.arguments.values()), None)
    return ToolCall(tool.name, given, description=tool.description, schema=item(tool, "input_schema"))


def tool_response(value: Any) -> ToolResult:
    """Read what a tool gave back."""
    return ToolResult(answer(value))


def _messages(module: str, classes: Iterable[str]) -> Iterable[Target]:
    for owner in classes:
        for method in ("create", "parse", "stream"):
            yield Target(
                module=module,
                name=f"{owner}.{method}",
                request=message_request,
                response=message_response,
                failure=failure,
                fold=MessageFold,
                settle=stainless.settle,
                deferred=stainless.defer if method == "stream" else None,
                optional=method == "parse",
            )


def _retries(owner: str) -> Target:
    name = f"{owner}._sleep_for_retry"
    return Target(module="anthropic._base_client", name=name, request=retry_request, optional=True)


def _tool(owner: str) -> Target:
    module = "anthropic.lib.tools._beta_functions"
    return Target(module=module, name=f"{owner}.call", request=tool_request, response=tool_response, optional=True)


class AnthropicInstrumentor(Instrumentor):
    """Records the model calls of the Anthropic SDK, and the tools of its tool runner."""

    package = "anthropic"
    requires = ("anthropic >= 0.51.0, < 3",)
    targets = (
        *_messages("anthropic.resources.messages.messages", ("Messages", "AsyncMessages")),
        *_messages("anthropic.resources.beta.messages.messages", ("Messages", "AsyncMessages")),
        *(_retries(owner) for owner in ("SyncAPIClient", "AsyncAPIClient")),
        *(_tool(owner) for owner in ("BetaFunctionTool", "BetaAsyncFunctionTool")),
    )
    replacements = (
        ("anthropic._response", "APIResponse.parse", stainless.observe_parse),
        ("anthropic._response", "AsyncAPIResponse.parse", stainless.observe_parse),
        ("anthropic._base_client", "BaseClient._tracer", silence_native),
        ("anthropic._base_client", "BaseClient._set_open_telemetry", remember_choice),
        ("anthropic._base_client", "BaseClient._copy_open_telemetry", keep_choice),
        ("anthropic.lib.tools._beta_runner", "start_tool_runner_span", silence_helper),
        ("anthropic.lib.tools._beta_runner", "tool_use_span", silence_helper),
    )
