"""What a library did, as values: the only words between instrumentors, the engine and the attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nexus_otel import semconv

Part = Mapping[str, Any]
"""One part of a message in the conventions' form: `{"type": "text", "content": ...}`, a tool call, its answer."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message in the conventions' form.

    Attributes:
        role: system, user, assistant, tool or the provider's own word.
        parts: Its parts, in order.
    """

    role: str
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a model call was given to read.

    Attributes:
        messages: The history, oldest first; None where it cannot be read without consuming it.
        system: Instructions given apart from the history, as text parts.
        tools: The tools offered, as definitions of the conventions (`type`, `name`, `description`, `parameters`).
        continues: Id of the response that the provider continues from, where it holds the history.
        opens_run: Whether tools are offered for the model's own choice; False for a forced response format.
    """

    messages: Sequence[Message] | None = ()
    system: Sequence[Part] = ()
    tools: Sequence[Mapping[str, Any]] = ()
    continues: str | None = None
    opens_run: bool = True


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens billed for one model call, in the conventions' meaning: input includes cached, output includes reasoning."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(slots=True)
class Inference:
    """One logical model call, as it is known before it is made.

    Attributes:
        provider: The provider's name in the conventions.
        model: The model asked for.
        operation: chat, text_completion or generate_content.
        address: Host of the provider, with its `port`.
        stream: Whether the answer was asked for as a stream.
        client: What made the call; calls of one client belong together more likely than others.
        request: Reads the request's parameters, as attribute name and value.
        conversation: Reads what the model was given.
    """

    provider: str
    model: str | None
    request: Callable[[], Mapping[str, Any]]
    conversation: Callable[[], Conversation]
    operation: str = semconv.CHAT
    address: str | None = None
    port: int | None = None
    stream: bool = False
    client: object = None


@dataclass(frozen=True, slots=True)
class AskedCall:
    """A tool call that a model asked for: its id, the tool's name, the arguments as given (object or text)."""

    id: str | None
    name: str
    arguments: Any


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """What came of a model call.

    Attributes:
        id: The response's id, with the `model` that answered.
        finish_reasons: In the conventions' words, one per choice.
        usage: Tokens as the provider counted them.
        output: One message per choice.
        calls: The tool calls asked for.
        attributes: Further span attributes.
    """

    id: str | None = None
    model: str | None = None
    finish_reasons: tuple[str, ...] = ()
    usage: Usage = Usage()
    output: Sequence[Message] = ()
    calls: Sequence[AskedCall] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class ToolCall:
    """One execution of a tool.

    Attributes:
        name: The tool's name.
        arguments: As an object, or the text of it.
        id: Id of the call the model asked for, where the library tells.
        description: What the tool says of itself.
        kind: function, extension or datastore.
        schema: JSON schema of its arguments.
        known: Whether it is among the tools offered; None where that is not known.
    """

    name: str
    arguments: Any = None
    id: str | None = None
    description: str | None = None
    kind: str = "function"
    schema: Any = None
    known: bool | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave back: its answer, and whether the library marked it as an error."""

    answer: Any = None
    is_error: bool = False


@dataclass(slots=True)
class AgentRun:
    """One run of an agent: its name, and the conversation it belongs to."""

    name: str | None
    conversation_id: str | None = None


@dataclass(slots=True)
class Retry:
    """A provider SDK waits before it tries a call again: which retry, and why (status code or error name)."""

    attempt: int
    cause: str
    status: int | None = None


Operation = Inference | ToolCall | AgentRun | Retry


@dataclass(frozen=True, slots=True)
class Failure:
    """How an operation failed.

    Attributes:
        type: `error.type`: the provider's word for it, else the exception's name.
        message: The provider's text; content.
        code: The provider's code, where it has one apart from the type.
    """

    type: str
    message: str | None = None
    code: str | None = None


def answered_calls(messages: Sequence[Message]) -> list[Part]:
    """Return the tool answers at the end of a history: those after its last assistant message."""
    answers: list[Part] = []
    for message in reversed(messages):
        if message.role == "assistant":
            break
        found = [part for part in message.parts if part.get("type") == "tool_call_response"]
        answers[:0] = found
    return answers
