"""What models answer LlamaIndex: whole, streamed, and in failing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.genai.operations import Failure, InferenceResult, Message, Usage
from nexus_otel.genai.plain import item
from nexus_otel.instrumentors._llama_index_messages import calls, parts


def chat_response(value: Any) -> InferenceResult | None:
    """Read a `ChatResponse` or `CompletionResponse`, with what it keeps of the provider's own answer (`raw`)."""
    if value is None:
        return None
    told, raw = item(value, "message"), item(value, "raw")
    plain = item(value, "text")
    output = parts(told) if told is not None else [{"type": "text", "content": plain}] if plain else []
    reason = _reason(raw) or item(item(told, "additional_kwargs"), "stop_reason")
    model = item(raw, "model")
    return InferenceResult(
        id=_text(item(raw, "id")),
        model=_text(model),
        finish_reasons=(_FINISH.get(str(reason).lower(), str(reason).lower()),) if reason else (),
        usage=_usage(value, told, raw),
        output=(Message("assistant", output),),
        calls=calls(output),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_call",
    "tool_calls": "tool_call",
    "function_call": "tool_call",
    "refusal": "content_filter",
    "safety": "content_filter",
    "pause_turn": "pause",
}


def _reason(raw: Any) -> Any:
    choices = item(raw, "choices")
    first = choices[0] if isinstance(choices, Sequence) and choices else None
    return item(raw, "stop_reason") or item(item(raw, "delta"), "stop_reason") or item(first, "finish_reason")


def _usage(value: Any, told: Any, raw: Any) -> Usage:
    """Read tokens; Anthropic alone counts cached ones apart from `input_tokens`."""
    told_usage = item(item(told, "additional_kwargs"), "usage")
    counted = item(raw, "usage") or told_usage or item(value, "additional_kwargs")
    given = item(counted, "input_tokens")
    if given is None:
        details = item(counted, "prompt_tokens_details")
        return Usage(
            item(counted, "prompt_tokens"),
            item(counted, "completion_tokens"),
            item(details, "cached_tokens") or None,
            reasoning_tokens=item(item(counted, "completion_tokens_details"), "reasoning_tokens") or None,
        )
    read, written = item(counted, "cache_read_input_tokens"), item(counted, "cache_creation_input_tokens")
    return Usage(
        given + (read or 0) + (written or 0),
        item(counted, "output_tokens"),
        read or item(item(counted, "input_tokens_details"), "cached_tokens") or None,
        written or None,
        item(item(counted, "output_tokens_details"), "reasoning_tokens") or None,
    )


class TextFold:
    """Gathers what a stream said so far, for one that is not read to its end: the last event has the whole answer."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def add(self, response: Any) -> None:
        """Take one event."""
        if (piece := response.delta) is not None:
            self._pieces.append(piece)

    def result(self) -> InferenceResult | None:
        """Return the text so far."""
        said = "".join(self._pieces)
        return InferenceResult(output=(Message("assistant", [{"type": "text", "content": said}]),)) if said else None


def failure(error: BaseException) -> Failure:
    """Read an exception of a provider's SDK: the provider's error type, else the exception's name."""
    body = item(error, "body")
    told = item(body, "error") or body
    kind = item(told, "type")
    return Failure(kind if isinstance(kind, str) else type(error).__name__, str(error))


def embedding_response(value: Any) -> InferenceResult | None:
    """Read a vector, or a list of them."""
    vector = value[0] if isinstance(value, list) and value and isinstance(value[0], list) else value
    size = len(vector) if isinstance(vector, list) else 0
    return InferenceResult(attributes={semconv.EMBEDDING_DIMENSIONS: size} if size else {})
