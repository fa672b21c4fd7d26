"""What OpenAI's APIs answer: completions and responses whole and streamed, tokens, errors."""

from __future__ import annotations

from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.genai.operations import AskedCall, Failure, InferenceResult, Message, Usage
from nexus_otel.genai.plain import item, listed
from nexus_otel.instrumentors._openai_content import chat_message, item_message

_FINISH: Final = {"tool_calls": "tool_call", "function_call": "tool_call"}
_INCOMPLETE: Final = {"max_output_tokens": "length"}


def chat_response(value: Any) -> InferenceResult | None:
    """Read a chat completion, as an object or as JSON."""
    choices = item(value, "choices")
    if choices is None:
        return None
    output = [chat_message(message) for c in choices if (message := item(c, "message")) is not None]
    reasons = [item(choice, "finish_reason") for choice in choices]
    return InferenceResult(
        id=item(value, "id"),
        model=item(value, "model"),
        finish_reasons=tuple(_FINISH.get(reason, reason) for reason in reasons if reason),
        usage=usage(item(value, "usage")),
        output=output,
        calls=_calls(output),
        attributes=_attributes(value),
    )


def completion_response(value: Any) -> InferenceResult | None:
    """Read a completion of a text, as an object or as JSON."""
    choices = item(value, "choices")
    if choices is None:
        return None
    names = ("id", "model", "usage", "service_tier", "system_fingerprint")
    chat = [{"message": said(item(c, "text")), "finish_reason": item(c, "finish_reason")} for c in choices]
    return chat_response({**{name: item(value, name) for name in names}, "choices": chat})


def said(text: Any) -> dict[str, Any]:
    """Return the message of a chat that says a text."""
    return {"role": "assistant", "content": text}


def response_response(value: Any) -> InferenceResult | None:
    """Read a response, as an object or as JSON."""
    items = item(value, "output")
    if items is None:
        return None
    found = [item_message(each) for each in items]
    told = [part for message in found if message.role == "assistant" for part in message.parts]
    done = {part.get("id") for message in found if message.role == "tool" for part in message.parts}
    output = (Message("assistant", told),) if told else ()
    calls = tuple(call for call in _calls(output) if call.id not in done)
    reason = _reason(value, asks=bool(calls))
    return InferenceResult(
        id=item(value, "id"),
        model=item(value, "model"),
        finish_reasons=(reason,) if reason else (),
        usage=usage(item(value, "usage")),
        output=output,
        calls=calls,
        attributes=_attributes(value),
        failure=said_failure(item(value, "error")) if reason == "error" else None,
    )


def said_failure(error: Any) -> Failure:
    """Read a failure that is an answer: in a response, or an event of its stream."""
    code = item(error, "code")
    return Failure(str(code or "error"), item(error, "message"))


def _reason(value: Any, *, asks: bool) -> str | None:
    """Return why a response ended, in the conventions' words; None for one that has not."""
    match item(value, "status"):
        case "completed":
            return "tool_call" if asks else "stop"
        case "incomplete":
            said = str(item(item(value, "incomplete_details"), "reason"))
            return _INCOMPLETE.get(said, said)
        case "failed":
            return "error"
    return None


def _calls(output: Any) -> tuple[AskedCall, ...]:
    asked = [part for message in output for part in message.parts if part["type"] == "tool_call"]
    return tuple(AskedCall(part["id"], str(part["name"]), part["arguments"]) for part in asked)


def _attributes(value: Any) -> dict[str, Any]:
    counted = item(value, "usage")
    found = {
        semconv.USAGE_AUDIO_INPUT: _audio(item(counted, "prompt_tokens_details")),
        semconv.USAGE_AUDIO_OUTPUT: _audio(item(counted, "completion_tokens_details")),
        semconv.OPENAI_RESPONSE_TIER: item(value, "service_tier"),
        semconv.OPENAI_FINGERPRINT: item(value, "system_fingerprint"),
    }
    return {name: said for name, said in found.items() if said}


def _audio(details: Any) -> int | None:
    count = item(details, "audio_tokens")
    return count if isinstance(count, int) and count > 0 else None


def usage(counted: Any) -> Usage:
    """Read tokens, as chat completions name them or as responses do; both count cached and reasoning ones in.

    DeepSeek names its cached tokens apart.
    """
    given, read = item(counted, "prompt_tokens"), item(counted, "prompt_cache_hit_tokens")
    details, thought = item(counted, "prompt_tokens_details"), item(counted, "completion_tokens_details")
    output = item(counted, "completion_tokens")
    if given is None:
        given, details = item(counted, "input_tokens"), item(counted, "input_tokens_details")
        output, thought = item(counted, "output_tokens"), item(counted, "output_tokens_details")
    return Usage(
        input_tokens=given,
        output_tokens=output,
        cache_read_tokens=item(details, "cached_tokens") or read or None,
        cache_write_tokens=item(details, "cache_write_tokens") or None,
        reasoning_tokens=item(thought, "reasoning_tokens") or None,
    )


def answered(error: BaseException) -> InferenceResult | None:
    """Read the completion that the SDK raises over: `LengthFinishReasonError` of `parse`."""
    return chat_response(item(error, "completion"))


def failure(error: BaseException) -> Failure:
    """Read an exception of the SDK.

    The type that the provider names, where that is one of an error; it says `requests` or `tokens` where a rate limit
    was hit, and then the code tells.
    """
    kind, code = item(error, "type"), item(error, "code")
    named = isinstance(kind, str) and kind.lower().endswith("error")
    message = item(item(error, "body"), "message") or str(error)
    return Failure(str((kind if named else code or kind) or type(error).__name__), message, code and str(code))


def embedding_response(value: Any) -> InferenceResult | None:
    """Read embeddings, as an object or as JSON; in JSON the vectors may be encoded."""
    data = item(value, "data")
    if data is None:
        return None
    vector = item(next(iter(listed(data)), None), "embedding")
    counted = usage(item(value, "usage"))
    return InferenceResult(
        model=item(value, "model"),
        usage=Usage(counted.input_tokens),
        attributes={semconv.EMBEDDING_DIMENSIONS: len(vector)} if isinstance(vector, list) else {},
    )
