"""The completion hook of the conventions: an organisation's own code that takes what was said, to keep it elsewhere.

Named by `OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK`, from the entry points `opentelemetry_genai_completion_hook`; its
types are those of `opentelemetry-util-genai` (1.3b0), which has to be installed. It runs whatever the sampler and the
content setting say, before the span is written, and may set attributes on it.
"""

from __future__ import annotations

import base64
import importlib
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any, Final

from nexus_otel._environ import variables
from nexus_otel._guard import guard, note_once
from nexus_otel.genai.operations import Conversation, InferenceResult, Message, Part

VARIABLE: Final = "OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK"
_PARTS: Final = {
    "text": "TextPart",
    "reasoning": "ReasoningPart",
    "tool_call": "ToolCallRequestPart",
    "tool_call_response": "ToolCallResponsePart",
    "server_tool_call": "ServerToolCallPart",
    "server_tool_call_response": "ServerToolCallResponsePart",
    "file": "FilePart",
    "uri": "UriPart",
    "blob": "BlobPart",
}
_CALLING: Final = guard("calling the completion hook")


class CompletionHook:
    """The hook that was configured, and the types that it is given."""

    def __init__(self, hook: Any, types: Any) -> None:
        self._hook = hook
        self._types = types

    @classmethod
    def configured(cls) -> CompletionHook | None:
        """Return the hook that the environment names; None where it names none, or none that can be had."""
        name = variables().get(VARIABLE, "").strip()
        if not name:
            return None
        try:
            loader = importlib.import_module("opentelemetry.util.genai.completion_hook")
            types = importlib.import_module("opentelemetry.util.genai.types")
        except ImportError:
            note_once("hook", "nexus-otel: %s=%r needs the package opentelemetry-util-genai", VARIABLE, name)
            return None
        hook = loader.load_completion_hook()
        # the package's own guard logs an exception with its message, which may hold what was said
        return cls(getattr(hook, "_wrapped", hook), types)

    def call(self, span: Any, conversation: Conversation | None, result: InferenceResult | None) -> None:
        """Give the hook what was asked and answered."""
        with _CALLING:
            asked = conversation or Conversation()
            answer = result or InferenceResult()
            self._hook.on_completion(
                inputs=[self._types.InputMessage(m.role, self._parts(m.parts)) for m in asked.messages or ()],
                outputs=list(self._outputs(answer)),
                system_instruction=self._parts(asked.system),
                tool_definitions=[self._definition(tool) for tool in asked.tools] or None,
                span=span,
                log_record=None,
            )

    def _outputs(self, answer: InferenceResult) -> Iterable[Any]:
        messages: list[Message] = list(answer.output)
        for message, reason in zip_longest(messages, answer.finish_reasons[: len(messages)]):
            yield self._types.OutputMessage(message.role, self._parts(message.parts), reason)

    def _parts(self, parts: Iterable[Part]) -> list[Any]:
        return [self._part(part) for part in parts]

    def _part(self, part: Part) -> Any:
        kind = getattr(self._types, _PARTS.get(str(part.get("type")), ""), None)
        if kind is None:
            return dict(part)
        given = {name: part.get(name) for name in kind.__dataclass_fields__ if name != "type"}
        if part["type"] == "blob":
            given["content"] = base64.b64decode(str(part.get("content") or ""))
        return kind(**given)

    def _definition(self, tool: Mapping[str, Any]) -> Any:
        name = str(tool.get("name"))
        if tool.get("type") == "function":
            return self._types.FunctionToolDefinition(name, tool.get("description"), tool.get("parameters"))
        return self._types.GenericToolDefinition(name, str(tool.get("type")))
