"""What a library did, as values: the only words between instrumentors, the engine and the attributes.

Nobody changes a value that somebody else made. Those that are made at each call are not frozen, which would cost more
than all that is done with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nexus_otel import semconv

Part = Mapping[str, Any]
"""One part of a message in the conventions' form: `{"type": "text", "content": ...}`, a tool call, its answer."""


@dataclass(slots=True)
class Message:
    """One message in the conventions' form.

    Attributes:
        role: system, user, assistant, tool or the provider's own word.
        parts: Its parts, in order.
        name: Of who said it, where a role has several.
    """

    role: str
    parts: Sequence[Part]
    name: str | None = None


@dataclass(slots=True)
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


@dataclass(slots=True)
class Usage:
    """Tokens billed for one model call, as the conventions count: input includes cached, output includes reasoning."""

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
        operation: chat, text_completion, generate_content or embeddings.
        address: Host of the provider, with its `port`.
        stream: Whether the answer was asked for as a stream.
        client: `id()` of what made the call; calls of one client belong together more likely than others.
        history: `id()` of the list of messages: a loop often appends to one list.
        conversation_id: The provider's id of the conversation; that of the run where it has none.
        request: Reads the request's parameters, as attribute name and value.
        conversation: Reads what the model was given.
        traces_itself: Whether the library makes the span of this call, by its user's choice; ours is added to it.
        offers_tools: Whether the model may ask for tools: cheap to know before anything is read.
    """

    provider: str
    model: str | None
    request: Callable[[], Mapping[str, Any]]
    conversation: Callable[[], Conversation]
    offers_tools: bool = False
    traces_itself: bool = False
    operation: str = semconv.CHAT
    address: str | None = None
    port: int | None = None
    stream: bool = False
    client: int = 0
    history: int = 0
    conversation_id: str | None = None

    @property
    def embeds(self) -> bool:
        """Whether it is an embeddings call: no step of a run, and no part of a model call around it."""
        return self.operation == semconv.EMBEDDINGS


@dataclass(slots=True)
class AskedCall:
    """A tool call that a model asked for.

    Attributes:
        id: Of the call.
        name: The tool's.
        arguments: As given, object or text.
    """

    id: str | None
    name: str
    arguments: Any


@dataclass(slots=True)
class InferenceResult:
    """What came of a model call.

    Attributes:
        id: The response's id, with the `model` that answered.
        finish_reasons: In the conventions' words, one per choice.
        usage: Tokens as the provider counted them.
        output: One message per choice.
        calls: The tool calls asked for.
        attributes: Further span attributes.
        failure: How it failed, where the library gives that as a value and raises nothing.
    """

    id: str | None = None
    model: str | None = None
    finish_reasons: tuple[str, ...] = ()
    usage: Usage = field(default_factory=Usage)
    output: Sequence[Message] = ()
    calls: Sequence[AskedCall] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    failure: Failure | None = None


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
        derived: Whether nobody executed it: it is known from what was said of it.
    """

    name: str
    arguments: Any = None
    id: str | None = None
    description: str | None = None
    kind: str = "function"
    schema: Any = None
    known: bool | None = None
    derived: bool = False


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave back: its answer, and whether the library marked it as an error."""

    answer: Any = None
    is_error: bool = False


@dataclass(slots=True)
class AgentRun:
    """One run of an agent, or of a workflow around agents and model calls.

    Attributes:
        name: The agent's or the workflow's own, never the name of a class; None: the service's.
        conversation_id: Of the conversation it belongs to, as the library or its user knows it.
        workflow: Whether it is no loop that a model drives: a chain, graph, crew, flow or pipeline.
        description: What the agent says of itself.
        conversation: Reads what it was given; where there is none, its first model call tells.
        subject: `id()` of what runs: where one of its methods calls another, that is one run.
        outermost: Whether it is left out inside another run.
        apart: Whether it is a run of its own, in a trace of its own that is linked to what is around it: an item of a
            batch.
    """

    name: str | None
    conversation_id: str | None = None
    workflow: bool = False
    description: str | None = None
    conversation: Callable[[], Conversation] | None = None
    subject: int = 0
    outermost: bool = False
    apart: bool = False

    @property
    def operation(self) -> str:
        """The name of the operation."""
        return semconv.INVOKE_WORKFLOW if self.workflow else semconv.INVOKE_AGENT


@dataclass(frozen=True, slots=True)
class AgentResult:
    """What came of a run that a library makes.

    Attributes:
        output: Its answer; where there is none, its last model call's.
        closed_by: What ended it other than its own end, such as a limit of the framework that raises nothing.
        conversation_id: Where it is known only now.
        failure: How it failed, where the library returns that as a value.
        finish_reasons: In the conventions' words; where there are none, its last model call's.
    """

    output: Sequence[Message] = ()
    closed_by: str | None = None
    conversation_id: str | None = None
    failure: Failure | None = None
    finish_reasons: tuple[str, ...] = ()


@dataclass(slots=True)
class Retrieval:
    """One search in a store of documents.

    Attributes:
        source: The store's name.
        query: What is searched for; content.
        top_k: How many documents are asked for.
        provider: Who runs the store, by the conventions' names.
        address: Host of the store, with its `port`.
        outermost: Whether it is left out inside another search.
    """

    source: str | None = None
    query: str | None = None
    top_k: int | None = None
    provider: str | None = None
    address: str | None = None
    port: int | None = None
    outermost: bool = False


@dataclass(frozen=True, slots=True)
class RetrievalResult:
    """The documents found, as `id`, `score` and further keys, best first; content."""

    documents: Sequence[Mapping[str, Any]] = ()


@dataclass(slots=True)
class Detail:
    """A step that is neither a model's nor a tool's.

    Attributes:
        name: Of the span.
        attributes: Known when it starts.
        asked: Whether a person asked for it; one of a framework is recorded with `NEXUS_DETAIL=full` only.
    """

    name: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    asked: bool = False


@dataclass(frozen=True, slots=True)
class DetailResult:
    """What a person says came of a step of theirs; content."""

    output: Any = None


@dataclass(slots=True)
class Retry:
    """A provider SDK waits before it tries a call again: which retry, and why (status code or error name)."""

    attempt: int
    cause: str
    status: int | None = None


@dataclass(frozen=True, slots=True)
class RetryResult:
    """How many seconds an SDK chose to wait, where the call is not the wait itself."""

    wait_s: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Items that are run side by side: each run begun there is one of its own, where no run is around them."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A method around model calls that its library may make in tasks of its own: they are its caller's all the same."""


@dataclass(frozen=True, slots=True)
class Remark:
    """What a library says of the step that is open, in passing: it will not be in what that step returns or raises.

    Attributes:
        result: Of a model call (tokens are added up), a tool call or a run: the nearest step of that kind.
        error: What the open tool call raised and the library keeps for itself; a later remark takes it back.
    """

    result: InferenceResult | ToolResult | AgentResult
    error: BaseException | None = None


Operation = Inference | ToolCall | AgentRun | Retrieval | Detail | Retry | Batch | Passage | Remark
Result = InferenceResult | ToolResult | AgentResult | RetrievalResult | DetailResult | RetryResult


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


@dataclass(slots=True)
class Outcome:
    """How an operation ended.

    Attributes:
        failure: How it failed, if it did.
        exception: The exception that said so.
        stream: closed, abandoned or cancelled where a stream was not read to its end.
        first_chunk_s: Seconds from the request to the first chunk of a stream.
        chunk_gaps_s: Seconds between the chunks that followed.
        duration_s: How long it took, where that was measured and not derived.
        end_ns: When it ended, in nanoseconds since the epoch; now when not given.
        closed_by: What ended a run other than its own end.
    """

    failure: Failure | None = None
    exception: BaseException | None = None
    stream: str | None = None
    first_chunk_s: float | None = None
    chunk_gaps_s: Sequence[float] = ()
    duration_s: float | None = None
    end_ns: int | None = None
    closed_by: str | None = None


@dataclass(slots=True)
class AgentTotals:
    """What an agent run came to.

    Attributes:
        steps: Model calls.
        tool_calls: Tool calls that were answered.
        input_tokens: Sum over the model calls, with `output_tokens`.
        cost: US dollars, as far as prices are known.
        finish_reasons: Of the last model call.
        content: What the first model call was given and the last one answered, as it was captured there.
        closed_by: What ended it other than its last answer: idle, exit, parent, limit, or what its library says.
    """

    steps: int = 0
    tool_calls: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    finish_reasons: tuple[str, ...] = ()
    content: dict[str, Any] = field(default_factory=dict)
    closed_by: str | None = None

    def add(self, used: Usage) -> None:
        """Add the tokens of one model call; what the provider did not say counts as unknown, not as 0."""
        if used.input_tokens is not None:
            self.input_tokens = (self.input_tokens or 0) + used.input_tokens
        if used.output_tokens is not None:
            self.output_tokens = (self.output_tokens or 0) + used.output_tokens


def answered_calls(messages: Sequence[Message]) -> list[Part]:
    """Return the tool answers at the end of a history: those after its last assistant message."""
    answers: list[Part] = []
    for message in reversed(messages):
        if message.role == "assistant":
            break
        found = [part for part in message.parts if part.get("type") == "tool_call_response"]
        answers[:0] = found
    return answers
