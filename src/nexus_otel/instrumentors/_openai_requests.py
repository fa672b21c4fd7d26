"""What a call of OpenAI's SDK asks for: provider, model, parameters, conversation, tools."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.engine import stainless
from nexus_otel.engine.target import Call
from nexus_otel.genai.operations import Conversation, Inference, Message
from nexus_otel.genai.plain import item, listed
from nexus_otel.instrumentors._openai_content import chat_message, definition, history, parts
from nexus_otel.instrumentors._openai_usage import ask

_AZURE: Final = "azure.ai.openai"
_HOSTS: Final = (
    ("openai.azure.com", _AZURE), ("cognitiveservices.azure.com", _AZURE), ("services.ai.azure.com", _AZURE),
    ("inference.ai.azure.com", "azure.ai.inference"), ("deepseek.com", "deepseek"), ("groq.com", "groq"),
    ("x.ai", "x_ai"), ("mistral.ai", "mistral_ai"), ("perplexity.ai", "perplexity"), ("moonshot.ai", "moonshot_ai"),
    ("moonshot.cn", "moonshot_ai"), ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"), ("amazonaws.com", "aws.bedrock"), ("cohere.com", "cohere"),
    ("cohere.ai", "cohere"), ("anthropic.com", "anthropic"), ("ml.cloud.ibm.com", "ibm.watsonx.ai"),
)  # fmt: skip
"""Domains of providers that speak OpenAI's protocol, by the conventions' names."""


def chat_request(call: Call) -> Inference:
    """Read a call of `chat.completions`."""
    ask(call)
    return _inference(call, "chat_completions", "messages", chat_conversation)


def response_request(call: Call) -> Inference:
    """Read a call of `responses`."""
    operation = _inference(call, "responses", "input", response_conversation)
    given = item(call.arguments, "conversation") or item(item(call.arguments, "extra_body"), "conversation")
    operation.conversation_id = _text(given) or _text(item(given, "id"))
    return operation


def completion_request(call: Call) -> Inference:
    """Read a call of `completions`."""
    ask(call)
    operation = _inference(call, None, "prompt", completion_conversation)
    operation.operation = semconv.TEXT_COMPLETION
    return operation


def embedding_request(call: Call) -> Inference:
    """Read a call of `embeddings`; what is embedded is no message."""
    operation = _inference(call, None, "input", lambda _args: Conversation())
    operation.operation = semconv.EMBEDDINGS
    return operation


def _inference(call: Call, api: str | None, given: str, read: Callable[[Mapping[str, Any]], Conversation]) -> Inference:
    args = call.arguments
    client = getattr(call.instance, "_client", None)
    address, port = stainless.server(client)
    kind = {semconv.OPENAI_API: api} if api is not None else {}
    return Inference(
        provider=provider(type(client).__name__, address),
        model=item(args, "model"),
        request=lambda: {**kind, **request_attributes(args)},
        conversation=lambda: read(call.arguments),
        offers_tools=bool(args.get("tools") or args.get("functions")),
        address=address,
        port=port,
        stream=bool(item(args, "stream")),
        client=id(client),
        history=_identity(args.get(given)),
    )


def _identity(history: Any) -> int:
    """Return what tells a history from others: the list that it is; a text may be a constant, and tells nothing."""
    return id(history) if isinstance(history, list) else -next(_calls)


_calls: Final = itertools.count(1)


@lru_cache(256)
def provider(client: str, host: str | None) -> str:
    """Return who answers a client of that class at that host."""
    if "Azure" in client:
        return _AZURE
    known = (name for domain, name in _HOSTS if host is not None and f".{host}".endswith(f".{domain}"))
    return next(known, "openai")


# -- parameters --------------------------------------------------------------------------------------------------------


def request_attributes(args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request; those that the installed version has no name for come in `extra_body`."""
    extra = item(args, "extra_body")
    given = {**extra, **args} if isinstance(extra, Mapping) else args
    found: dict[str, Any] = {}
    for name, (attribute, convert) in _PARAMETERS.items():
        if name in given and (value := convert(item(given, name))) is not None:
            found[attribute] = value
    return found


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, str):
        return (value,)
    return tuple(str(text) for text in value) if isinstance(value, list | tuple) and value else None


def _format(value: Any) -> str | None:
    """Return the type of output that a format asks for; a class is one of JSON."""
    if value is None or isinstance(value, type):
        return None if value is None else "json"
    kind = item(value, "type")
    return "json" if kind in ("json_object", "json_schema") else _text(kind)


_PARAMETERS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "max_tokens": (semconv.REQUEST_MAX_TOKENS, _whole),
    "max_completion_tokens": (semconv.REQUEST_MAX_TOKENS, _whole),
    "max_output_tokens": (semconv.REQUEST_MAX_TOKENS, _whole),
    "temperature": (semconv.REQUEST_TEMPERATURE, _number),
    "top_p": (semconv.REQUEST_TOP_P, _number),
    "top_k": (semconv.REQUEST_TOP_K, _whole),
    "stop": (semconv.REQUEST_STOP_SEQUENCES, _texts),
    "seed": (semconv.REQUEST_SEED, _whole),
    "n": (semconv.REQUEST_CHOICES, lambda value: _whole(value) if value != 1 else None),
    "frequency_penalty": (semconv.REQUEST_FREQUENCY_PENALTY, _number),
    "presence_penalty": (semconv.REQUEST_PRESENCE_PENALTY, _number),
    "reasoning_effort": (semconv.REQUEST_REASONING_LEVEL, _text),
    "reasoning": (semconv.REQUEST_REASONING_LEVEL, lambda value: _text(item(value, "effort"))),
    "response_format": (semconv.OUTPUT_TYPE, _format),
    "text_format": (semconv.OUTPUT_TYPE, _format),
    "text": (semconv.OUTPUT_TYPE, lambda value: _format(item(value, "format"))),
    "service_tier": (semconv.OPENAI_REQUEST_TIER, lambda value: _text(value) if value != "auto" else None),
    "previous_response_id": (semconv.REQUEST_PREVIOUS_RESPONSE, _text),
    "dimensions": (semconv.EMBEDDING_DIMENSIONS, _whole),
    "encoding_format": (semconv.ENCODING_FORMATS, _texts),
}


# -- conversations -----------------------------------------------------------------------------------------------------


def chat_conversation(args: Mapping[str, Any]) -> Conversation:
    """Read what the model of a chat was given; instructions are messages there."""
    offered = [*listed(item(args, "tools")), *listed(item(args, "functions"))]
    choice = item(args, "tool_choice") or item(args, "function_call")
    return Conversation(
        messages=[chat_message(message) for message in listed(item(args, "messages"))],
        tools=[definition(tool) for tool in offered],
        opens_run=not _forced(choice, len(offered)),
    )


def response_conversation(args: Mapping[str, Any]) -> Conversation:
    """Read what the model of a response was given, but for what the provider holds."""
    tools = listed(item(args, "tools"))
    return Conversation(
        messages=history(item(args, "input")),
        system=parts(item(args, "instructions")),
        tools=[definition(tool) for tool in tools],
        continues=item(args, "previous_response_id"),
        opens_run=not _forced(item(args, "tool_choice"), len(tools)),
    )


def completion_conversation(args: Mapping[str, Any]) -> Conversation:
    """Read the prompts of a completion; one that is given as tokens is no text."""
    given = item(args, "prompt")
    prompts = [given] if isinstance(given, str) else [text for text in listed(given) if isinstance(text, str)]
    return Conversation(messages=[Message("user", parts(prompt)) for prompt in prompts])


def _forced(choice: Any, tools: int) -> bool:
    """Whether the model has no choice of tools: one is named, or there is only one and some must be called."""
    if isinstance(choice, str) or choice is None:
        return choice == "required" and tools == 1
    return str(item(choice, "type")) != "allowed_tools"
