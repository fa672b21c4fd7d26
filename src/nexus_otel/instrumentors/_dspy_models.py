"""Model calls of DSPy: what is asked for, what came of it, how it failed; embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.engine.target import Call
from nexus_otel.genai.operations import AskedCall, Conversation, Failure, Inference, InferenceResult, Message, Usage
from nexus_otel.genai.plain import item, listed, server_of
from nexus_otel.instrumentors._dspy_lm15 import request_conversation, request_parameters
from nexus_otel.instrumentors._dspy_names import provider_and_model
from nexus_otel.instrumentors._dspy_notes import Ended, Note
from nexus_otel.instrumentors._openai_content import chat_message
from nexus_otel.instrumentors._openai_requests import chat_conversation, request_attributes
from nexus_otel.instrumentors._openai_responses import usage

_COUNTED: Final = frozenset({"anthropic", "aws.bedrock", "gcp.gemini", "gcp.vertex_ai"})
"""Providers that send the tokens of a stream unasked."""
_FINISH: Final = {"tool_calls": "tool_call", "function_call": "tool_call"}


def lm_request(call: Call) -> Inference:
    """Read the beginning of a model call: `prompt`, `messages` and `kwargs` over what the model was made with."""
    lm, told = call.instance, call.kwargs
    provider, model = provider_and_model(item(lm, "model"))
    given = {**(item(lm, "kwargs") or {}), **(told.get("kwargs") or {})}
    address, port = _server(given)
    request = _typed(told.get("prompt"), given)
    offered = item(request, "tools") if request is not None else given.get("tools")
    return Inference(
        provider=provider,
        model=model,
        operation=semconv.TEXT_COMPLETION if item(lm, "model_type") == "text" else semconv.CHAT,
        request=lambda: request_parameters(request) if request is not None else request_attributes(given),
        conversation=lambda: _conversation(told, given, request),
        offers_tools=bool(offered),
        address=address,
        port=port,
        stream=bool(told.get("streamed")),
        client=id(lm),
    )


def _typed(prompt: Any, given: Mapping[str, Any]) -> Any:
    """Return the request of DSPy's own client, where the model is called with one (from 3.4)."""
    candidates = (prompt, given.get("request"))
    return next((each for each in candidates if type(each).__name__ == "Request" and hasattr(each, "messages")), None)


def _conversation(told: Mapping[str, Any], given: Mapping[str, Any], request: Any) -> Conversation:
    if request is not None:
        return request_conversation(request)
    messages = told.get("messages") or [{"role": "user", "content": told.get("prompt")}]
    return chat_conversation({**given, "messages": messages})


def _server(given: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """Return host and port of the provider, where the model was made for one."""
    return server_of(given.get("api_base"), given.get("base_url"))


def lm_response(ended: Ended) -> InferenceResult:
    """Read the end of a model call."""
    note = ended.note
    if note is None:
        return said(ended.outputs)
    result = said(ended.outputs if note.outputs is None else note.outputs)
    known = counted(note)
    return replace(
        known, usage=Usage() if _is_estimated(ended) else known.usage, output=result.output, calls=result.calls
    )


def said(outputs: Any) -> InferenceResult:
    """Return answers as a result."""
    output = [_answer(each) for each in _said(outputs)]
    asked = [part for message in output for part in message.parts if part["type"] == "tool_call"]
    calls = tuple(AskedCall(part["id"], str(part["name"]), part["arguments"]) for part in asked)
    return InferenceResult(output=output, calls=calls)


def counted(note: Note) -> InferenceResult:
    """Return what is known of a model call besides its answers."""
    return InferenceResult(
        id=item(note.responses[0], "id"),
        model=note.model,
        finish_reasons=tuple(why for each in note.responses for why in _reasons(each)),
        usage=Usage() if note.cached else _usage(note),
        attributes={semconv.CACHE_HIT: True} if note.cached else {},
    )


def _said(outputs: Any) -> list[Any]:
    """Return the answers: a list, or the message of a response of DSPy's own client."""
    if isinstance(outputs, list | tuple):
        return list(outputs)
    return [{"text": text}] if isinstance(text := item(item(outputs, "message"), "text"), str) else []


def _answer(output: Any) -> Message:
    """Read one answer: a text, or a dict with the text and what else was said."""
    if isinstance(output, str) or output is None:
        return chat_message({"role": "assistant", "content": output})
    names = ("reasoning_content", "tool_calls")
    return chat_message(
        {"role": "assistant", "content": item(output, "text"), **{name: item(output, name) for name in names}}
    )


def _reasons(response: Any) -> tuple[str, ...]:
    """Return why an answer ended, one word a choice, of LiteLLM's response or of that of DSPy's own client."""
    said = [item(choice, "finish_reason") for choice in listed(item(response, "choices"))]
    reasons = said or [item(response, "finish_reason")]
    return tuple(_FINISH.get(str(reason), str(reason)) for reason in reasons if reason)


def _is_estimated(ended: Ended) -> bool:
    """Whether the tokens are LiteLLM's guess: of a stream whose provider was not asked to send any."""
    operation, told = getattr(ended.step, "operation", None), ended.step.call.kwargs
    if not told.get("streamed") or told.get("asks_for_usage") or getattr(operation, "provider", None) in _COUNTED:
        return False
    return ended.note is not None and any(hasattr(response, "_hidden_params") for response in ended.note.responses)


def _usage(note: Note) -> Usage:
    """Read tokens: counted as OpenAI does; what was written to a cache is named otherwise."""
    counted = usage(note.usage)
    details = item(note.usage, "prompt_tokens_details")
    written = item(details, "cache_creation_tokens") or item(note.usage, "cache_creation_input_tokens")
    counted.cache_write_tokens = counted.cache_write_tokens or written or None
    return counted


def failure(error: BaseException) -> Failure:
    """Read an exception of a model call: the provider's word for it, else the exception's name.

    DSPy's own client has the provider's code in `provider_code`, and a word of DSPy's in `code`; LiteLLM has the
    provider's `type` and `code`, as OpenAI's SDK does.
    """
    said, name = item(error, "provider_code"), type(error).__name__
    if hasattr(error, "llm_provider"):
        kind = item(error, "type")
        said = kind if isinstance(kind, str) and kind.endswith("error") else item(error, "code")
    code = said if isinstance(said, str) and said else None
    overflow = "context_length_exceeded" if name == "ContextWindowExceededError" else None
    return Failure(code or name, str(item(error, "message") or error), code or overflow)


# -- embeddings --------------------------------------------------------------------------------------------------------


def embedding_request(call: Call) -> Inference | None:
    """Read a call of an embedder; one that is a function of the user's asks nobody."""
    name = item(call.instance, "model")
    if not isinstance(name, str):
        return None
    provider, model = provider_and_model(name)
    address, port = _server({**(item(call.instance, "default_kwargs") or {}), **call.kwargs})
    return Inference(provider, model, dict, Conversation, operation=semconv.EMBEDDINGS, address=address, port=port)


def embedding_response(vectors: Any) -> InferenceResult:
    """Read the vectors of an embedder."""
    shape = item(vectors, "shape")
    return InferenceResult(attributes={semconv.EMBEDDING_DIMENSIONS: int(shape[-1])} if shape else {})
