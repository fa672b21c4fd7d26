"""What a manual span is, by its name and what is said of it: a tool's execution, a model call, a step, or anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nexus_otel import normal, semconv
from nexus_otel._guard import note_once
from nexus_otel.genai.operations import (
    AgentResult,
    Conversation,
    Detail,
    DetailResult,
    Failure,
    Inference,
    InferenceResult,
    Message,
    ToolCall,
    ToolResult,
    Usage,
)
from nexus_otel.genai.plain import to_json

SUCCESS: Final = "success"
ERROR: Final = "error"
TIMEOUT: Final = "timeout"
STATUSES: Final = (SUCCESS, ERROR, TIMEOUT)
OTHER: Final = "_OTHER"
"""The conventions' word for what is none of the known values."""
_MODEL_NAMES: Final = frozenset({"llm-call", "llm_call", "model-call", "model_call"})
_STEP_NAMES: Final = frozenset({"agent-step", "agent_step", "step"})
_PROVIDERS: Final = (
    ("claude", "anthropic"), ("gpt", "openai"), ("o1", "openai"), ("o3", "openai"), ("o4", "openai"),
    ("gemini", "gcp.gemini"), ("mistral", "mistral_ai"), ("command", "cohere"), ("deepseek", "deepseek"),
    ("grok", "x_ai"), ("sonar", "perplexity"),
)  # fmt: skip
"""How the names of a provider's models begin; gateways put the provider before a slash."""
_ARGUMENTS: Final = ("input", "arguments", "tool_input", "args")
_ANSWERS: Final = ("result", "result_preview", "output", "answer")
_TEXTS: Final = ("text", "content", *_ANSWERS)

Described = ToolCall | Inference | Detail


def described(name: str, metadata: Mapping[str, Any]) -> tuple[Described, dict[str, Any], dict[str, Any]]:
    """Return what a span is, our attributes of it, and what of its metadata says something else.

    Args:
        name: As its author calls it.
        metadata: `tool` makes it a tool's execution, with `input`; `model` a model call, as does the name `llm-call`;
            the name `agent-step` or `step` a step, with `step` as its number.
    """
    rest = dict(metadata)
    own: dict[str, Any] = {semconv.NAME: name}
    number = rest.get("step")
    if isinstance(number, int):
        own[semconv.STEP] = rest.pop("step")
    if tool := rest.pop("tool", None):
        return ToolCall(str(tool), _taken(rest, _ARGUMENTS)), own, rest
    if "model" in rest or name in _MODEL_NAMES:
        return _inference(rest.pop("model", None), rest.pop("provider", None)), own, rest
    shown = f"step {number}" if name in _STEP_NAMES and isinstance(number, int) else name
    return Detail(shown, asked=True), own, rest


def _inference(model: Any, provider: Any) -> Inference:
    named = str(model) if model is not None else None
    return Inference(str(provider) if provider else _provider(named or ""), named, dict, nothing_read)


def nothing_read() -> Conversation:
    """Return what is known of a conversation that nobody told."""
    return Conversation(None)


def _provider(model: str) -> str:
    """Return who has a model of this name, as far as its name tells; `_OTHER` where it does not."""
    prefix, _, rest = model.rpartition("/")
    name = (rest or prefix).lower()
    return next((provider for start, provider in _PROVIDERS if name.startswith(start)), OTHER)


def _taken(values: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((values.pop(name) for name in names if name in values), None)


# -- the end -----------------------------------------------------------------------------------------------------------


def status_of(status: Any) -> str:
    """Return a status as it is recorded; another word than ours is kept, and told once."""
    text = status[:64] if isinstance(status, str) else f"<{type(status).__name__}>"
    if text not in STATUSES:
        note_once(
            f"status {text}", "nexus-otel: status=%r: expected %s; it is recorded as it is", text, ", ".join(STATUSES)
        )
    return text


def failure_of(status: str, output: Any) -> Failure | None:
    """Return how a span failed, by its status and the `error` in its output."""
    said = output.get("error") if isinstance(output, Mapping) else None
    if status == TIMEOUT:
        return Failure("timeout", str(said) if said is not None else None)
    if status != ERROR:
        return None
    text = str(said) if said is not None else ""
    return Failure(normal.error_name(text) or OTHER, text or None)


def tool_result(output: Any, failure: Failure | None) -> ToolResult | None:
    """Return a tool's answer; None where it gave none and failed."""
    answer = _answer(output, _ANSWERS)
    if answer is None and failure is not None:
        return None
    return ToolResult(answer, is_error=failure is not None)


def tool_arguments(output: Any) -> Any:
    """Return the arguments that only the end tells."""
    return next((output[name] for name in _ARGUMENTS if name in output), None) if isinstance(output, Mapping) else None


def model_result(output: Any) -> InferenceResult | None:
    """Return what a model call's output says: tokens, the number of messages, the text."""
    if not isinstance(output, Mapping):
        return None if output is None else InferenceResult(output=_message(output))
    count = _count(output, "message_count")
    text = next((output[name] for name in _TEXTS if output.get(name) is not None), None)
    reason = output.get("finish_reason")
    return InferenceResult(
        model=str(output["model"]) if output.get("model") else None,
        finish_reasons=(str(reason),) if reason else (),
        usage=Usage(_count(output, "input_tokens"), _count(output, "output_tokens")),
        output=_message(text) if text is not None else (),
        attributes={semconv.MESSAGE_COUNT: count} if count is not None else {},
    )


def is_model_call(output: Any) -> bool:
    """Whether only the output of a span reveals that it was a model call."""
    return isinstance(output, Mapping) and "input_tokens" in output and "output_tokens" in output


def run_result(output: Any) -> AgentResult:
    """Return what a run's output says."""
    answer = _answer(output, _TEXTS)
    return AgentResult(_message(answer) if answer is not None else ())


def detail_result(output: Any) -> DetailResult | None:
    """Return what a step's output says."""
    return None if output is None else DetailResult(output)


def _answer(output: Any, names: tuple[str, ...]) -> Any:
    """Return what an output says came of it: under its usual name, else all of it but the error."""
    if not isinstance(output, Mapping):
        return output
    if (found := next((name for name in names if name in output), None)) is not None:
        return output[found]
    rest = {name: value for name, value in output.items() if name not in {"error", "tool", *_ARGUMENTS}}
    return rest or None


def _message(said: Any) -> tuple[Message, ...]:
    text = said if isinstance(said, str) else to_json(said)
    return (Message("assistant", [{"type": "text", "content": text}]),)


def _count(output: Mapping[str, Any], name: str) -> int | None:
    value = output.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
