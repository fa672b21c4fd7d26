"""The facts of a tool call and of a model call: those of our spans, or the same from others' content."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nexus_otel import normal, semconv
from nexus_otel.detect.model import AgentView, SpanView
from nexus_otel.schema import schema_errors

TRANSIENT: Final = frozenset({"rate_limit", "timeout", "server"})
"""Classes of errors after which the same call may be right (`failures.md` 3.1)."""
_HASHER: Final = normal.Hasher(b"within one process")
_CALL_KEYS: Final = (semconv.TOOL_ARGUMENTS, semconv.TOOL_RESULT)
_MOST_TEXT: Final = 1 << 20
_AROUND: Final = "around"


@dataclass(slots=True)
class ToolFacts:
    """One tool call as the detectors see it.

    Attributes:
        tool: Its name.
        call: Hash of name and arguments; None where nothing of the arguments is known.
        answer: Hash of what came back, the masked error where it failed; None where nothing of it is known.
        failed: Whether it failed in any way.
        how: What said so: status, field or text.
        error_class: The error's class, where it failed.
        error: Hash of the error's text without its values, where it failed.
        error_type: `error.type`, where it is known.
        words: What it said when it failed, where content is there.
        known: Whether it is among the tools offered; None where that is not known.
        schema_errors: Rule and path of each violation; None where it was not checked.
        form: How the answer reads: empty, pending, terminal or other.
        id: The id of the call the model asked for.
        derived: Whether nobody watched the execution.
    """

    tool: str
    call: str | None
    answer: str | None
    failed: bool = False
    how: str = ""
    error_class: str = ""
    error: str = ""
    error_type: str = ""
    words: str = ""
    known: bool | None = None
    schema_errors: tuple[str, ...] | None = None
    form: str = "other"
    id: str = ""
    derived: bool = False

    @property
    def transient(self) -> bool:
        """Whether the same call may be right a little later."""
        return self.failed and self.error_class in TRANSIENT

    @property
    def cause(self) -> str:
        """What ties findings of one cause together: the tool, with the class of its error or its very call."""
        return f"{self.tool}:{self.error_class or self.call}"


def tool_facts(span: SpanView, agent: AgentView) -> ToolFacts | None:
    """Return the facts of a span that executes a tool, read once.

    None for any other span, and for one around another of the same tool: two libraries recorded one call.
    """
    facts = span.facts
    if facts is None:
        facts = span.facts = _read(span, agent)
    return facts if type(facts) is ToolFacts else None


def model_facts(span: SpanView, agent: AgentView) -> ModelFacts | None:
    """Return the facts of a span that is a model call, read once; None for any other span."""
    facts = span.facts
    if facts is None:
        facts = span.facts = _read(span, agent)
    return facts if type(facts) is ModelFacts else None


def _read(span: SpanView, agent: AgentView) -> ToolFacts | ModelFacts | str:
    """Return the facts of a span; a word where it has none."""
    operation = span.operation
    if operation in semconv.MODEL_OPERATIONS:
        return _model(span)
    if operation != semconv.EXECUTE_TOOL or not span.tool:
        return "other"
    around = agent.state.get(_AROUND) == (span.span_id, span.tool)
    agent.state[_AROUND] = span.parent_id, span.tool
    if around:
        return _AROUND
    return _ours(span) if semconv.ARGUMENTS_HASH in span.attributes else _foreign(span, agent)


def _ours(span: SpanView) -> ToolFacts:
    get = span.attributes.get
    known, errors = get(semconv.TOOL_KNOWN), get(semconv.TOOL_SCHEMA_ERRORS)
    facts = ToolFacts(span.tool, str(get(semconv.ARGUMENTS_HASH)), _text(get(semconv.RESULT_HASH)))
    facts.known = known if known is True or known is False else None
    facts.schema_errors = tuple(map(str, errors)) if isinstance(errors, tuple | list) else None
    facts.form = str(get(semconv.TOOL_ANSWER_FORM) or "other")
    facts.id = str(get(semconv.TOOL_CALL_ID) or "")
    facts.derived = get(semconv.DERIVED) is True
    if get(semconv.TOOL_FAILED) is True or span.failed:
        _add_failure(facts, span)
    elif error_type := get(semconv.ERROR_TYPE):
        facts.error_type = str(error_type)
    return facts


def _add_failure(facts: ToolFacts, span: SpanView) -> None:
    get = span.attributes.get
    facts.failed = True
    facts.how = str(get(semconv.TOOL_FAILED_HOW) or "status")
    facts.error_class = str(get(semconv.TOOL_ERROR_CLASS) or "other")
    facts.error_type = str(get(semconv.ERROR_TYPE) or "")
    error = str(get(semconv.TOOL_ERROR_HASH) or "")
    facts.error = error or facts.error_type or "error"
    facts.answer = facts.answer or error or None
    facts.words = _said(span)


def _foreign(span: SpanView, agent: AgentView) -> ToolFacts:
    get, tool = span.attributes.get, span.tool
    arguments, answer = (_bounded(get(key)) for key in _CALL_KEYS)
    by_status = span.failed or semconv.ERROR_TYPE in span.attributes
    failure = normal.tool_failure(tool, answer) if answer is not None and not by_status else None
    failed = by_status or failure is not None
    words = _said(span) if failed else ""
    error_type = str(get(semconv.ERROR_TYPE) or "")
    facts = ToolFacts(
        tool=tool,
        call=_HASHER.arguments(tool, arguments) if arguments is not None or answer is not None else None,
        answer=_HASHER.result(tool, answer) if answer is not None else None,
        failed=failed,
        how=("status" if by_status else failure.how if failure is not None else "") if failed else "",
        error_class=normal.error_class(f"{error_type}: {words}") if failed else "",
        error=_HASHER.text(normal.masked_error(words or error_type)) if failed else "",
        error_type=error_type,
        words=words,
        form=normal.answer_form(answer) if answer is not None else "other",
        id=str(get(semconv.TOOL_CALL_ID) or ""),
        derived=get(semconv.DERIVED) is True,
    )
    if facts.answer is None and failed:
        facts.answer = facts.error
    facts.known, facts.schema_errors = checked(agent, tool, arguments)
    return facts


def checked(agent: AgentView, tool: str, arguments: Any) -> tuple[bool | None, tuple[str, ...] | None]:
    """Return whether an agent was offered a tool, and how the arguments violate its schema; None is not known."""
    schemas = agent.offered.schemas
    if tool not in schemas:
        return (False if schemas and not agent.offered.partial else None), None
    if arguments is None:
        return True, None
    return True, schema_errors(schemas[tool], arguments)


def _said(span: SpanView) -> str:
    """Return what a failed call said: its answer, its status, or its exception."""
    answer = span.attributes.get(semconv.TOOL_RESULT)
    if answer:
        return answer_text(answer)[: normal.PREFIX_CHARACTERS]
    for name, _at, attributes in reversed(span.events):
        if name == semconv.EXCEPTION_EVENT and attributes.get(semconv.EXCEPTION_MESSAGE):
            kind = str(attributes.get(semconv.EXCEPTION_TYPE) or "error").rpartition(".")[2]
            return f"{kind}: {attributes[semconv.EXCEPTION_MESSAGE]}"[: normal.PREFIX_CHARACTERS]
    return span.message[: normal.PREFIX_CHARACTERS]


def answer_text(answer: Any) -> str:
    """Return an answer in words: itself, or the texts of its parts."""
    if isinstance(answer, str):
        return answer
    if isinstance(answer, Sequence) and not isinstance(answer, bytes | bytearray):
        texts = [str(part.get("content") or part.get("text") or "") for part in answer if isinstance(part, Mapping)]
        if any(texts):
            return " ".join(texts)
    return normal.normalise(answer)


def _bounded(value: Any) -> Any:
    """Return recorded content without what is too long to be judged; None where there is none."""
    return value[:_MOST_TEXT] if isinstance(value, str) else value


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def parsed(value: Any) -> Any:
    """Return an attribute that is JSON as what it stands for; None where it is none."""
    if not isinstance(value, str):
        return value
    if len(value) > _MOST_TEXT:
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


# -- model calls -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class AskedCall:
    """A tool call in a model's answer: its id, name and arguments, as they were recorded."""

    id: str
    tool: str
    arguments: Any


def finish_reasons(span: SpanView) -> tuple[str, ...]:
    """Return why a model stopped, in the conventions' words."""
    reasons = span.attributes.get(semconv.RESPONSE_FINISH_REASONS)
    if isinstance(reasons, str):
        return (reasons,)
    if type(reasons) is tuple:
        return reasons
    return tuple(map(str, reasons)) if isinstance(reasons, list) else ()


def is_whole(attributes: Mapping[str, Any], name: str) -> bool:
    """Whether an attribute was recorded without being cut."""
    truncated = attributes.get(semconv.TRUNCATED)
    return not (isinstance(truncated, tuple | list) and name in truncated)


def was_cut(span: SpanView) -> bool:
    """Whether a model's answer was cut by the limit of its output."""
    reasons = finish_reasons(span)
    return "length" in reasons or "max_tokens" in reasons


def asked_calls(recorded: Any) -> list[AskedCall]:
    """Return the tool calls in the messages of a model's answer, as they were recorded."""
    messages = parsed(recorded)
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        return []
    return [asked for message in messages if isinstance(message, Mapping) for asked in _asked(message.get("parts"))]


def _asked(parts: Any) -> list[AskedCall]:
    if not isinstance(parts, Sequence) or isinstance(parts, str):
        return []
    return [
        AskedCall(str(part.get("id") or ""), str(part["name"]), part.get("arguments"))
        for part in parts
        if isinstance(part, Mapping) and part.get("type") == "tool_call" and part.get("name")
    ]


@dataclass(slots=True)
class ModelFacts:
    """One model call as the detectors see it.

    Attributes:
        model: As asked for, else as answered.
        input_tokens: With those of the cache; None where not known, as all of these.
        output_tokens: With those of reasoning.
        max_tokens: The limit of the output that was asked for.
        messages: Messages of the request.
        size: UTF-8 bytes of the request's texts.
        overflow: Whether it failed for its length, with the two numbers that the error gave.
        overflow_tokens: The prompt's length as the error gave it.
        overflow_limit: The model's limit as the error gave it.
        first_chunk_s: Seconds to the first chunk.
    """

    model: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    max_tokens: int | None = None
    messages: int | None = None
    size: int | None = None
    overflow: bool = False
    overflow_tokens: int | None = None
    overflow_limit: int | None = None
    first_chunk_s: float | None = None


def _model(span: SpanView) -> ModelFacts:
    attributes, number = span.attributes, span.number
    get = attributes.get
    facts = ModelFacts(str(get(semconv.REQUEST_MODEL) or get(semconv.RESPONSE_MODEL) or ""))
    facts.input_tokens, facts.output_tokens = number(semconv.USAGE_INPUT), number(semconv.USAGE_OUTPUT)
    facts.max_tokens = number(semconv.REQUEST_MAX_TOKENS)
    facts.messages = number(semconv.MESSAGE_COUNT)
    if facts.messages is None:
        facts.messages, facts.size = _measured(get(semconv.INPUT_MESSAGES))
    else:
        facts.size = number(semconv.MESSAGE_BYTES)
    chunk = get(semconv.RESPONSE_FIRST_CHUNK)
    if isinstance(chunk, int | float) and not isinstance(chunk, bool):
        facts.first_chunk_s = float(chunk)
    if get(semconv.ERROR_CLASS) == "context_overflow":
        facts.overflow = True
        facts.overflow_tokens, facts.overflow_limit = number(semconv.CONTEXT_TOKENS), number(semconv.CONTEXT_LIMIT)
    elif span.failed or semconv.ERROR_TYPE in attributes:
        _read_overflow(facts, span)
    return facts


def _measured(recorded: Any) -> tuple[int | None, int | None]:
    """Return the number of recorded messages and how long they are together; None where there are none."""
    messages = parsed(recorded)
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        return None, None
    return len(messages), len(recorded if isinstance(recorded, str) else str(recorded))


def _read_overflow(facts: ModelFacts, span: SpanView) -> None:
    code = str(span.attributes.get(semconv.ERROR_CODE) or span.attributes.get(semconv.ERROR_TYPE) or "")
    found = normal.context_overflow(_said(span), code)
    if found is not None or "ContextWindowExceeded" in code:
        facts.overflow = True
        facts.overflow_tokens = found.tokens if found is not None else None
        facts.overflow_limit = found.limit if found is not None else None
