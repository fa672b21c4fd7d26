"""What OpenAI's APIs stream: completions and responses, gathered from their events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nexus_otel.genai.operations import Failure, InferenceResult
from nexus_otel.genai.plain import item, to_json
from nexus_otel.instrumentors._openai_content import reasoning_of
from nexus_otel.instrumentors._openai_responses import chat_response, response_response, said, said_failure


class ChatFold:
    """Gathers the chunks of a streamed chat completion."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}

    @property
    def complete(self) -> bool:
        """Whether every choice was finished."""
        return bool(self._choices) and all(choice.finish_reason for choice in self._choices.values())

    def add(self, chunk: Any) -> None:
        """Take one chunk."""
        choices = chunk.choices
        ends = not choices
        for given in choices or ():
            choice = self._choices.get(given.index)
            if choice is None:
                choice = self._choices[given.index] = _Choice()
            choice.add(self.delta(given))
            if given.finish_reason:
                choice.finish_reason = given.finish_reason
                ends = True
        if ends or not self._head:
            for name in ("id", "model", "service_tier", "system_fingerprint"):
                if found := item(chunk, name):
                    self._head[name] = found
        if (counted := item(chunk, "usage")) is not None:
            self._head["usage"] = _counts(counted)

    def delta(self, choice: Any) -> Any:
        """Return what a choice adds."""
        return choice.delta

    def result(self) -> InferenceResult:
        """Return the completion so far."""
        choices = [choice.whole() for _, choice in sorted(self._choices.items())]
        return chat_response({**self._head, "choices": choices}) or InferenceResult()


class CompletionFold(ChatFold):
    """Gathers the chunks of a streamed completion of a text."""

    def delta(self, choice: Any) -> Any:
        """Return what a choice adds."""
        return said(choice.text)


def _counts(usage: Any) -> Any:
    """Return a copy of the tokens of a chunk, which belongs to the application."""
    dump = getattr(usage, "model_dump", None)
    return dump(warnings=False) if dump is not None else dict(usage)


class _Choice:
    """One choice of a streamed completion."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self._content: list[str] = []
        self._texts = {"content": self._content}
        self._calls: list[dict[str, Any]] = []

    def add(self, delta: Any) -> None:
        """Take what a chunk adds."""
        if delta is None:
            return
        text = item(delta, "content")
        if text and isinstance(text, str):
            self._content.append(text)
        else:
            self._add_other(delta, text)
        for call in item(delta, "tool_calls") or ():
            self._call(item(call, "index"), item(call, "id"), item(call, "function") or item(call, "custom"))

    def _add_other(self, delta: Any, content: Any) -> None:
        if isinstance(content, list):
            self._content += [str(text) for part in content if (text := item(part, "text"))]
        for name, read in (("refusal", item(delta, "refusal")), ("reasoning_content", reasoning_of(delta))):
            if read and isinstance(read, str):
                self._texts.setdefault(name, []).append(read)
        if (legacy := item(delta, "function_call")) is not None:
            self._call(0, None, legacy)

    def _call(self, index: Any, call_id: Any, body: Any) -> None:
        """Take a piece of a call; some servers number all calls 0, or none, and tell them apart by their ids."""
        same = [call for call in self._calls if call["index"] == index]
        found = same[-1] if same else None
        if found is None or (call_id and found["id"] and call_id != found["id"]):
            found = {"index": index, "id": call_id, "name": "", "arguments": []}
            self._calls.append(found)
        found["id"] = found["id"] or call_id
        found["name"] = found["name"] or item(body, "name") or ""
        if piece := item(body, "arguments") or item(body, "input"):
            found["arguments"].append(piece if isinstance(piece, str) else to_json(piece))

    def whole(self) -> Mapping[str, Any]:
        """Return the choice so far."""
        calls = [
            {"id": call["id"], "function": {"name": call["name"], "arguments": "".join(call["arguments"])}}
            for call in self._calls
        ]
        texts = {name: "".join(pieces) for name, pieces in self._texts.items() if pieces}
        return {
            "message": {"role": "assistant", **texts, "tool_calls": calls},
            "finish_reason": self.finish_reason,
        }


class ResponseFold:
    """Gathers the events of a streamed response; the last one has all of it."""

    def __init__(self) -> None:
        self.complete = False
        self._result: InferenceResult | None = None
        self._failure: Failure | None = None
        self._head: dict[str, Any] = {"status": "in_progress"}
        self._items: dict[int, tuple[dict[str, Any], list[str]]] = {}

    def add(self, event: Any) -> None:
        """Take one event."""
        kind = event.type or item(event, "event") or ""  # what it does not know, 1.66 gives as event and data
        if kind.endswith(".delta"):
            if (started := self._items.get(item(event, "output_index"))) is not None and isinstance(event.delta, str):
                started[1].append(event.delta)
        elif kind == "response.output_item.added":
            self._items[event.output_index] = (_started(event.item), [])
        elif kind == "response.created":
            self._head |= {"id": event.response.id, "model": event.response.model}
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            self._result = response_response(event.response)
            self.complete = True
        elif kind == "error":
            self._failure = said_failure(item(event, "data") or event)

    def result(self) -> InferenceResult:
        """Return the response so far."""
        items = [_finished(begun, "".join(pieces)) for _, (begun, pieces) in sorted(self._items.items())]
        result = self._result or response_response({**self._head, "output": items}) or InferenceResult()
        result.failure = result.failure or self._failure
        return result


def _started(given: Any) -> dict[str, Any]:
    names = ("type", "id", "call_id", "name", "role")
    return {name: value for name in names if (value := item(given, name)) is not None}


def _finished(begun: dict[str, Any], text: str) -> dict[str, Any]:
    match begun.get("type"):
        case "message":
            return {**begun, "content": text}
        case "reasoning":
            return {**begun, "summary": [{"text": text}] if text else []}
        case "custom_tool_call":
            return {**begun, "input": text}
    return {**begun, "arguments": text}
