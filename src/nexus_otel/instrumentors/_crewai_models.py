"""Model calls as CrewAI makes them: one method for all providers, messages and tools in OpenAI's form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel._guard import quietly
from nexus_otel.engine.target import Call
from nexus_otel.genai.operations import (
    Conversation,
    Failure,
    Inference,
    InferenceResult,
    Message,
    Remark,
    Usage,
)
from nexus_otel.genai.plain import item, server_of, to_json
from nexus_otel.instrumentors._crewai_messages import asked_calls, asked_part, definitions, messages

_PROVIDERS: Final = {
    "claude": "anthropic",
    "azure": "azure.ai.openai",
    "azure_openai": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "aws": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
}
"""CrewAI's words for providers where the conventions have others."""
_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "max_tokens": "length",
    "tool_use": "tool_call",
    "tool_calls": "tool_call",
    "refusal": "content_filter",
    "safety": "content_filter",
}
_PARAMETERS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "temperature": (semconv.REQUEST_TEMPERATURE, float),
    "top_p": (semconv.REQUEST_TOP_P, float),
    "max_tokens": (semconv.REQUEST_MAX_TOKENS, int),
    "stop_sequences": (
        semconv.REQUEST_STOP_SEQUENCES,
        lambda words: [words] if isinstance(words, str) else list(words),
    ),
}


def model_request(call: Call) -> Inference:
    """Read a call of a model."""
    model, args = call.instance, call.arguments
    given = args.get("messages")
    address, port = server_of(*(item(model, name) for name in ("base_url", "api_base", "endpoint")))
    provider, name = _provider_and_model(model)
    return Inference(
        provider=provider,
        model=name,
        request=lambda: _parameters(model),
        conversation=lambda: Conversation(messages(args.get("messages")), tools=definitions(args.get("tools"))),
        offers_tools=bool(args.get("tools")),
        address=address,
        port=port,
        stream=bool(item(model, "stream")),
        client=id(model),
        history=id(given),
    )


def _provider_and_model(model: Any) -> tuple[str, Any]:
    """Return who answers, and the model's own name: LiteLLM's begin with who answers, where the class does not say."""
    told, name = item(model, "provider"), item(model, "model")
    before, slash, own = str(name).partition("/")
    named = bool(slash) and (item(model, "is_litellm") or not told)
    word = str((before if named else told) or "openai").lower()
    return _PROVIDERS.get(word, word), own if named else name


def _parameters(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (attribute, convert) in _PARAMETERS.items():
        value = item(model, name)
        if value and (known := quietly(convert, value)) is not None:
            found[attribute] = known
    return found


def model_response(value: Any) -> InferenceResult:
    """Read what a model answered: a text, tool calls, or an object of the form that was asked for."""
    if isinstance(value, list):
        asked = asked_calls(value)
        return InferenceResult(output=(Message("assistant", [asked_part(one) for one in asked]),), calls=asked)
    text = value if isinstance(value, str) else to_json(value)
    return InferenceResult(output=(Message("assistant", [{"type": "text", "content": text}]),))


def completed(call: Call) -> Remark:
    """Read what CrewAI tells of an answer besides."""
    args = call.arguments
    reason, id_ = args.get("finish_reason"), args.get("response_id")
    word = str(reason).lower() if reason else None
    reasons = (_FINISH.get(word, word),) if word else ()
    return Remark(InferenceResult(id=str(id_) if id_ else None, finish_reasons=reasons))


def counted(call: Call) -> Remark:
    """Read the tokens of one answer of a provider, as CrewAI counts them: input includes cached."""
    used = next(iter(call.arguments.values()), None)
    asked, said = item(used, "prompt_tokens_details"), item(used, "completion_tokens_details")  # LiteLLM's form
    return Remark(
        InferenceResult(
            usage=Usage(
                _first(used, "prompt_tokens", "prompt_token_count", "input_tokens"),
                _first(used, "completion_tokens", "candidates_token_count", "output_tokens"),
                _first(used, "cached_prompt_tokens", "cached_tokens") or _first(asked, "cached_tokens") or None,
                _first(used, "cache_creation_tokens") or _first(asked, "cache_creation_tokens") or None,
                _first(used, "reasoning_tokens") or _first(said, "reasoning_tokens") or None,
            )
        )
    )


def _first(used: Any, *names: str) -> int | None:
    return next((value for name in names if isinstance(value := item(used, name), int)), None)


def failure(error: BaseException) -> Failure:
    """Read an exception of a provider's SDK, or of CrewAI."""
    said = item(item(error, "body"), "error")
    return Failure(item(said, "type") or type(error).__name__, item(said, "message") or str(error))
