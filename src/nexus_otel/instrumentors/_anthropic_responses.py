"""What the Anthropic API answers: messages whole and streamed, tokens, errors, and what tools gave back."""

from __future__ import annotations

from typing import Any, Final

from nexus_otel.genai.operations import AskedCall, Failure, InferenceResult, Message, ToolResult, Usage
from nexus_otel.genai.plain import item, json_or_text
from nexus_otel.instrumentors._anthropic_content import answer, parts

_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_call",
    "refusal": "content_filter",
    "pause_turn": "pause",
}


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


def failure(error: BaseException) -> Failure:
    """Read an exception of the SDK: the provider's error type, else the exception's name."""
    said = item(item(error, "body"), "error")
    return Failure(item(said, "type") or type(error).__name__, item(said, "message") or str(error))


def tool_response(value: Any) -> ToolResult:
    """Read what a tool gave back."""
    return ToolResult(answer(value))
