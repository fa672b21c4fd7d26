"""A span as the detectors see it, and what they find."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from nexus_otel import semconv

TOOL_ERROR: Final = "tool_error"
RETRY: Final = "retry"
LOOP: Final = "loop"
HALLUCINATED_ACTION: Final = "hallucinated_action"
CONTEXT_OVERFLOW: Final = "context_overflow"
LATENCY_SPIKE: Final = "latency_spike"
MODES: Final = (LOOP, HALLUCINATED_ACTION, CONTEXT_OVERFLOW, TOOL_ERROR, RETRY, LATENCY_SPIKE)
"""Every failure mode, the telling ones first."""
INFO: Final = "info"
WARNING: Final = "warning"
ERROR: Final = "error"
LEVELS: Final = (INFO, WARNING, ERROR)

MODEL: Final = semconv.MODEL_OPERATIONS
RUNS: Final = frozenset({semconv.INVOKE_AGENT, semconv.INVOKE_WORKFLOW})


@dataclass(slots=True)
class SpanView:
    """A span that has ended, or begins (`end_ns` is 0 then), in the names of the GenAI conventions.

    Attributes:
        trace_id: 32 hex digits, with `span_id` of 16 and the `parent_id`, empty for a root.
        start_ns: Nanoseconds since the epoch, with `end_ns`.
        attributes: By name; JSON attributes are text.
        failed: Whether its status is ERROR.
        message: The status's text.
        events: Name, time in nanoseconds and attributes of each.
        resource: The attributes of the resource.
        facts: What `facts` read of it, once for all detectors.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    failed: bool = False
    message: str = ""
    events: Sequence[tuple[str, int, Mapping[str, Any]]] = ()
    resource: Mapping[str, Any] = field(default_factory=dict)
    facts: Any = None
    _operation: str | None = None

    @property
    def operation(self) -> str:
        """The GenAI operation; empty for any other span."""
        found = self._operation
        if found is None:
            found = self._operation = str(self.attributes.get(semconv.OPERATION, ""))
        return found

    def rename(self, attributes: Mapping[str, Any]) -> None:
        """Take the same attributes under other names."""
        self.attributes, self._operation = attributes, None

    @property
    def tool(self) -> str:
        """The name of the tool that it executes; empty for any other span."""
        return str(self.attributes.get(semconv.TOOL_NAME, ""))

    @property
    def seconds(self) -> float:
        """How long it took."""
        return max(0, self.end_ns - self.start_ns) / 1e9

    def number(self, name: str) -> int | None:
        """Return an attribute that is a whole number; None where it is none."""
        value = self.attributes.get(name)
        return value if type(value) is int else None


@dataclass(slots=True)
class Finding:
    """One failure, found at the span where it became certain.

    Attributes:
        mode: One of `MODES`.
        level: One of `LEVELS`.
        title: One line of names, counts, classes and ids, never a value of somebody's data.
        trace_id: The trace of the run.
        span_id: Where it became certain.
        evidence: Span ids in the order of time.
        data: Facts that can be JSON; `cause` ties findings of one cause together.
        advice: What to do, where that is certain.
        count: How often it was seen so far.
        key: What makes it one: a later finding of a run with the same mode and key replaces it, as its update.
        stage: How far it has come within its level: an update of a higher stage is worth another line of a log.
    """

    mode: str
    level: str
    title: str
    trace_id: str
    span_id: str
    evidence: Sequence[str] = ()
    data: dict[str, Any] = field(default_factory=dict)
    advice: str | None = None
    count: int = 1
    key: Any = None
    stage: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return it as one line of `diagnose --json` has it."""
        return {
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "mode": self.mode,
            "level": self.level,
            "title": self.title,
            "count": self.count,
            "evidence": list(self.evidence),
            "data": self.data,
            "advice": self.advice,
        }


@dataclass(slots=True)
class Offered:
    """The tools that an agent's model was given.

    Attributes:
        schemas: Their JSON schemas by name.
        partial: Whether there may be more.
        recorded: What the last model call told of them.
    """

    schemas: dict[str, Any] = field(default_factory=dict)
    partial: bool = False
    recorded: Any = None


@dataclass(slots=True)
class AgentView:
    """One agent of a run: the nearest agent span above a span, or the run itself.

    Attributes:
        span_id: Of the agent's span.
        name: The agent's.
        turn: Counts the user's messages: a finding never needs calls of two turns.
        offered: Its tools, as far as its model calls told.
        state: What detectors keep for it, by their mode.
    """

    span_id: str
    name: str
    turn: int = 0
    offered: Offered = field(default_factory=Offered)
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class RunView:
    """One run that goes on: what all detectors share.

    Attributes:
        trace_id: Its trace.
        root_id: Its first span.
        start_ns: When it began.
        agents: Its agents by span id.
        steps: Model calls so far.
        tokens: Input and output tokens so far, with `output_tokens` of them, of the `model` that was asked last and its
            `provider`.
        state: What detectors keep for the whole run, by their mode.
        found: The findings so far, by mode and key.
    """

    trace_id: str
    root_id: str
    start_ns: int
    last_ns: int = 0
    agents: dict[str, AgentView] = field(default_factory=dict)
    steps: int = 0
    tokens: int = 0
    output_tokens: int = 0
    model: str = ""
    provider: str = ""
    state: dict[str, Any] = field(default_factory=dict)
    found: dict[tuple[str, Any], Finding] = field(default_factory=dict)


class Detector(Protocol):
    """Finds one mode, span by span. All of its state is in the run and its agents, and is bounded."""

    mode: str

    def seen(self, span: SpanView, agent: AgentView, run: RunView) -> Iterable[Finding]:
        """Take a span that has ended; gives what it shows, an earlier finding again where it grew."""

    def over(self, run: RunView) -> Iterable[Finding]:
        """Take the end of a run; gives what only the whole shows."""
