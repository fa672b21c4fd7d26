"""One agent run, as it is inferred from model calls; and what decides whether a call belongs to it."""

from __future__ import annotations

import itertools
import sys
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import get_ident
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span

from nexus_otel import config, semconv
from nexus_otel._guard import quietly
from nexus_otel.engine.scope import AGENT, INFERS, SEAT
from nexus_otel.genai.measure import fingerprints
from nexus_otel.genai.operations import (
    AgentRun,
    AgentTotals,
    AskedCall,
    Conversation,
    Failure,
    Inference,
    Outcome,
    Part,
    ToolCall,
    ToolResult,
    answered_calls,
)
from nexus_otel.genai.recorder import Recorder
from nexus_otel.normal import normalise


def this_task() -> tuple[int, int]:
    """Return what tells this thread, and the asyncio task in it, from others."""
    asyncio = sys.modules.get("asyncio")
    task = None if asyncio is None else quietly(asyncio.current_task)
    return get_ident(), id(task)


@dataclass(slots=True)
class Awaited:
    """A tool call that the model asked for and nobody has answered yet."""

    asked: AskedCall
    since_ns: int
    known: bool | None
    schema: Any
    executed: bool = False


@dataclass(slots=True, weakref_slot=True, eq=False)
class Run:
    """One open run.

    Attributes:
        span: Its root; never current.
        context: The root as the parent of what the run does, with the ambient baggage.
        ambient: The span that was current when it opened.
        prefix: Fingerprint of its last request's messages, with their number.
        answered: The same, with the answer.
        resumable: Whether a request with the same prefix goes on with it: after a failure or a pause.
        signature: What tells its agent from another: instructions and tools.
        parent: The run whose tool it is part of.
        task: Where it began.
        error: The last exception that a span of it ended with, where it is given.
        priced: Whether what it costs is counted: a limit asks for it.
        given: Whether a library makes it and says when it ends; else it is inferred.
        waiting: Whether its model asked for tools, with ids or without, and has no answer yet.
        nested: The runs that are part of it.
        recent: The names of the tools that its model asked for last.
        leaving: Whether it ends with the calls that are under way: the instrumentation is off.
    """

    agent: AgentRun
    recorder: Recorder
    span: Span
    context: Context
    ambient: trace.SpanContext
    client: int
    signature: int
    start_ns: int
    parent: Run | None = None
    tools: dict[str, Any] = field(default_factory=dict)
    totals: AgentTotals = field(default_factory=AgentTotals)
    awaited: OrderedDict[str, Awaited] = field(default_factory=OrderedDict)
    prefix: int = 0
    prefix_length: int = 0
    answered: int = 0
    history: int = 0
    resumable: bool = False
    failed: Failure | None = None
    error: BaseException | None = None
    response_id: str | None = None
    in_flight: int = 0
    last_ns: int = 0
    closed: bool = False
    waiting: bool = False
    given: bool = False
    priced: bool = False
    leaving: bool = False
    nested: list[Run] = field(default_factory=list)
    recent: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    task: Any = field(default_factory=this_task)

    def asked_for(self, call: ToolCall) -> Awaited | None:
        """Return the call that a tool's execution answers: by its id, else by name and arguments, the oldest first."""
        if call.id is not None:
            found = self.awaited.get(call.id)
            return found if found is not None and not found.executed else None
        waiting = [one for one in self.awaited.values() if not one.executed and one.asked.name == call.name]
        same = [one for one in waiting if one.asked.arguments is call.arguments]
        same = same or [one for one in waiting if one.asked.arguments == call.arguments]
        if not same and waiting:
            said = normalise(call.arguments)
            same = [one for one in waiting if normalise(one.asked.arguments) == said]
        return same[0] if same else None

    def note(self, error: BaseException | None) -> None:
        """Remember the exception that a span of this run ended with: it is recorded there.

        Only what a library runs remembers it, to its own end: an inferred run stays open long after a failure, and an
        exception holds the frames it went through.
        """
        if error is not None:
            for run in self.upwards():
                run.error = error if run.given else None

    def count_tool_call(self) -> None:
        """Count a tool call of this run, and of those that it is part of."""
        for run in self.upwards():
            run.totals.tool_calls += 1

    @property
    def resting(self) -> bool:
        """Whether no model call of it, or of a run that is part of it, is under way."""
        return self.in_flight <= 0 and all(nested.closed or nested.resting for nested in self.nested)

    def upwards(self) -> Iterator[Run]:
        """Yield this run and those it is part of."""
        run: Run | None = self
        while run is not None:
            yield run
            run = run.parent


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model call stands: its run, the parent of its span, and whether it only serves a tool of the run."""

    run: Run
    context: Context
    aside: bool = False


class Seat:
    """Who calls a method that makes its model calls in tasks of its own: its task, and the run that they belong to."""

    __slots__ = ("run", "task")

    def __init__(self) -> None:
        self.task = this_task()
        self.run: weakref.ref[Run] | None = None


class Request:
    """A model call as the table sees it."""

    __slots__ = ("ambient", "answers", "conversation", "here", "operation", "prefixes", "task")

    def __init__(self, operation: Inference, conversation: Conversation, ambient: Context) -> None:
        self.operation = operation
        self.conversation = conversation
        self.ambient = ambient
        self.here = trace.get_current_span(ambient).get_span_context()
        self.answers = answered_calls(conversation.messages or ())
        self.prefixes = fingerprints(conversation.messages or ())
        seat = ambient.get(SEAT)
        self.task = seat.task if isinstance(seat, Seat) else this_task()


def derive(run: Run, awaited: Awaited, answer: Part, now_ns: int) -> None:
    """Record the execution of a tool that was seen only by its answer."""
    asked = awaited.asked
    call = ToolCall(asked.name, asked.arguments, asked.id, schema=awaited.schema, known=awaited.known)
    span = run.recorder.start_tool(call, run.context, run.agent, awaited.since_ns, **{semconv.DERIVED: True})
    result = ToolResult(answer.get("response"), is_error=bool(answer.get("is_error")))
    run.recorder.end_tool(span, call, result, Outcome(end_ns=max(now_ns, awaited.since_ns)))


def same_ambient(run: Run, here: trace.SpanContext) -> bool:
    """Whether a call is still in the trace that its run was opened in."""
    own = run.span.get_span_context().trace_id
    return here.trace_id in (run.ambient.trace_id, own) if here.is_valid else not run.ambient.is_valid


def has_prefix(run: Run, prefixes: Sequence[int]) -> bool:
    """Whether a history begins with the run's last request."""
    return 0 < run.prefix_length <= len(prefixes) and prefixes[run.prefix_length - 1] == run.prefix


def given_run(ambient: Context) -> Run | None:
    """Return the nearest run above that a library made, if it is open."""
    run = ambient.get(AGENT)
    return run if isinstance(run, Run) and not run.closed else None


def owning_run(ambient: Context) -> Run | None:
    """Return the run above that a library made if what is done here is the agent's own, as no tool's is."""
    return None if ambient.get(INFERS) else given_run(ambient)


def has_agent(ambient: Context) -> bool:
    """Whether an agent span of somebody else is the current one."""
    attributes = getattr(trace.get_current_span(ambient), "attributes", None)
    return attributes is not None and attributes.get(semconv.OPERATION) == semconv.INVOKE_AGENT


_INSTRUCTING: Final = frozenset({"system", "developer"})


def signature_of(conversation: Conversation) -> int:
    """Return what tells one agent from another: its instructions, given apart or as the first messages, and tools."""
    first = itertools.takewhile(lambda message: message.role in _INSTRUCTING, conversation.messages or ())
    parts = itertools.chain(conversation.system, *(message.parts for message in first))
    system = tuple(str(part.get("content")) for part in parts)
    return hash((system, tuple(str(tool.get("name")) for tool in conversation.tools)))


_named: str | None = None


def name_agent(name: str) -> None:
    """Say what agent this process is, where no setting does; the first to say so holds."""
    global _named  # noqa: PLW0603 - one process, one name
    _named = _named or name


def agent_name() -> str:
    """Return the name of the agent that this process is: the service's, else a client's, else the script's."""
    return config.current().service_name or config.resource_service_name() or _named or _script_name()


def was_recorded(recorded: BaseException | None, error: BaseException | None) -> bool:
    """Whether `error` is the exception that an inner span was given, or was raised from it."""
    for _ in range(8):
        if error is None or error is recorded:
            break
        error = error.__cause__ or error.__context__
    return error is not None and error is recorded


def _script_name() -> str:
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name).removesuffix(".__main__")
    path = sys.argv[0] if sys.argv else ""
    return Path(path).stem if path not in ("", "-c", "-") else "agent"
