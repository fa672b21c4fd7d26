"""What a model of LangChain answers: generations, streamed chunks, tokens, finish reasons, errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nexus_otel.genai.operations import AskedCall, Failure, InferenceResult, Message, Usage
from nexus_otel.genai.plain import item, json_or_text, listed
from nexus_otel.instrumentors._langchain_messages import as_message, asked_calls, parts

_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "complete": "stop",
    "eos_token": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_call",
    "tool_calls": "tool_call",
    "function_call": "tool_call",
    "refusal": "content_filter",
    "safety": "content_filter",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "pause_turn": "pause",
}
_REASONS: Final = ("finish_reason", "stop_reason", "stopReason", "done_reason")


def chat_response(value: Any) -> InferenceResult:
    """Read a `ChatResult`: one generation per choice, or an `LLMResult` that holds them per prompt."""
    generations = [each for group in listed(item(value, "generations")) for each in _choices(group)]
    messages = [item(each, "message") for each in generations]
    told: dict[str, Any] = {**(item(value, "llm_output") or {})}
    for each in generations:
        told |= item(each, "generation_info") or {}
        told |= item(item(each, "message"), "response_metadata") or {}
    counted = next((found for each in messages if (found := item(each, "usage_metadata")) is not None), None)
    if item(counted, "total_cost") == 0:
        counted = None  # out of LangChain's cache: nothing was sent, nothing is billed
    return InferenceResult(
        id=_id(told.get("id")),
        model=item(told, "model_name") or item(told, "model"),
        finish_reasons=tuple(reason for each in generations if (reason := _reason(each)) is not None),
        usage=usage(counted) if counted is not None else _counted(told.get("token_usage")),
        output=[as_message(message) if message is not None else _text(each)
                for message, each in zip(messages, generations, strict=True)],
        calls=[asked for message in messages if message is not None for asked in asked_calls(message)],
    )  # fmt: skip


def _choices(group: Any) -> list[Any]:
    return group if isinstance(group, list) else [group]


def _text(generation: Any) -> Message:
    return Message("assistant", parts(item(generation, "text")))


def _id(told: Any) -> str | None:
    """Return the provider's id of a response; LangChain makes one of its own where there is none."""
    return told if isinstance(told, str) and not told.startswith(("run-", "lc_run-")) else None


def _reason(generation: Any) -> str | None:
    told = {**(item(generation, "generation_info") or {})}
    told |= item(item(generation, "message"), "response_metadata") or {}
    return finish_reason(told)


def finish_reason(told: Mapping[str, Any]) -> str | None:
    """Return why the model stopped, in the conventions' words, by the metadata of a message."""
    reason = next((found for name in _REASONS if isinstance(found := told.get(name), str)), None)
    return None if reason is None else _FINISH.get(reason.lower(), reason.lower())


def usage(counted: Any) -> Usage:
    """Read `usage_metadata`, in which all input counts as input, cached or not."""
    given, made = item(counted, "input_token_details"), item(counted, "output_token_details")
    return Usage(
        input_tokens=item(counted, "input_tokens"),
        output_tokens=item(counted, "output_tokens"),
        cache_read_tokens=item(given, "cache_read") or None,
        cache_write_tokens=item(given, "cache_creation") or None,
        reasoning_tokens=item(made, "reasoning") or None,
    )


def _counted(told: Any) -> Usage:
    """Read `token_usage`, as models that continue texts have it."""
    return Usage(item(told, "prompt_tokens"), item(told, "completion_tokens"))


class ChatFold:
    """Gathers the chunks of a streamed message."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._blocks: dict[Any, dict[str, Any]] = {}
        self._calls: dict[Any, dict[str, Any]] = {}
        self._whole: list[AskedCall] = []
        self._told: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}

    def add(self, chunk: Any) -> None:
        """Take one chunk, or the message of a model that does not stream, or a piece of text."""
        content = item(chunk, "content") if not isinstance(chunk, str) else chunk
        if isinstance(content, str):
            self._text.append(content)
        else:
            for block in listed(content):
                self._block(block)
        pieces = item(chunk, "tool_call_chunks")
        if pieces is None:
            self._whole += asked_calls(chunk)
        for piece in listed(pieces):
            self._piece(piece)
        self._told |= item(chunk, "response_metadata") or {}
        if (counted := item(chunk, "usage_metadata")) is not None:
            if counted.get("input_tokens") and self._usage.get("input_tokens"):
                self._usage = {}  # input is told once, or each time with all there was before (langchain-anthropic 0.2)
            self._count(counted, self._usage)

    def _block(self, block: Any) -> None:
        if isinstance(block, str):
            self._text.append(block)
            return
        at = block.get("index", len(self._blocks))
        known = self._blocks.setdefault(at, {})
        for name, value in block.items():
            joined = name in _JOINED and isinstance(value, str) and name in known
            known[name] = known[name] + value if joined else value

    def _piece(self, piece: Any) -> None:
        index, name, id_ = item(piece, "index"), item(piece, "name"), item(piece, "id")
        at = index if index is not None else len(self._calls) - (name is None)
        known = self._calls.setdefault(at, {"id": None, "name": None, "args": []})
        known["id"] = known["id"] or id_
        known["name"] = known["name"] or name
        known["args"].append(item(piece, "args") or "")

    def _count(self, counted: Mapping[str, Any], into: dict[str, Any]) -> None:
        for name, value in counted.items():
            if isinstance(value, Mapping):
                self._count(value, into.setdefault(name, {}))
            elif isinstance(value, int):
                into[name] = into.get(name, 0) + value

    def result(self) -> InferenceResult:
        """Return the message so far."""
        content: list[Any] = [*self._blocks.values()]
        if self._text and (text := "".join(self._text)):
            content.insert(0, text)
        calls = [AskedCall(each["id"], each["name"] or "", _arguments(each)) for each in self._calls.values()]
        calls += self._whole
        told = [{"id": call.id, "name": call.name, "args": call.arguments} for call in calls]
        reason = finish_reason(self._told)
        return InferenceResult(
            id=_id(self._told.get("id")),
            model=self._told.get("model_name") or self._told.get("model"),
            finish_reasons=(reason,) if reason is not None else (),
            usage=usage(self._usage) if self._usage else Usage(),
            output=[as_message({"type": "ai", "content": content, "tool_calls": told})] if content or told else (),
            calls=calls,
        )


_JOINED: Final = frozenset({"text", "thinking", "reasoning", "signature"})
"""Fields of a block that arrive in pieces."""


def _arguments(call: Mapping[str, Any]) -> Any:
    text = "".join(call["args"])
    return json_or_text(text) if text else {}


def failure(error: BaseException) -> Failure:
    """Read an exception of a model: the provider's error type, where its SDK has one, else the exception's name."""
    body = item(error, "body")
    said = item(body, "error") or body
    kind = item(said, "type")
    return Failure(kind if isinstance(kind, str) else type(error).__name__, item(said, "message") or str(error))
